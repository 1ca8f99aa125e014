"""What became of a graph on its way to a run: what is needed, passes, placement, order, memory and generated code.

Policy: everything here is read from the graph, the Program and the executable, nothing is computed anew.

State: none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphflow.program import PassRecord, Program
from graphflow.runtime.explanation_text import LIMIT, text_of
from graphflow.runtime.provenance import NO_ORIGIN, Origin, Placement


@dataclass(frozen=True, repr=False)
class Explanation:
    """`session.explain(...)`: print it, or read its fields."""

    program: Program
    code: str  # what the backend generated, with the user's lines
    native: str = ""  # the code of native kernels, where there are some: too long to be printed with the rest
    origin: Origin = NO_ORIGIN
    placements: tuple[Placement, ...] = ()  # of each instruction, in their order

    @property
    def passes(self) -> tuple[PassRecord, ...]:
        """What each pass did."""
        return self.program.record

    @property
    def pruned(self) -> tuple[str, ...]:
        """The names of the graph's ops that these fetches do not need."""
        return self.origin.pruned

    @property
    def peak_before(self) -> int | None:
        """Bytes at the peak if nothing were reused."""
        return None if self.program.memory is None else self.program.memory.peak_before

    @property
    def peak_after(self) -> int | None:
        """Bytes at the peak as planned."""
        return None if self.program.memory is None else self.program.memory.peak_after

    def text(self, limit: int | None = LIMIT) -> str:
        """All of it as text, lists cut after so many lines; `limit=None` leaves nothing out."""
        return text_of(self.program, self.origin, self.placements, self.code, self.native, limit)

    def to_json(self) -> str:
        """All of it as JSON."""
        program, memory = self.program, self.program.memory
        data = {
            "level": program.level,
            "graph": self.origin._asdict(),
            "passes": [record._asdict() for record in program.record],
            "instructions": _instructions(program, self.placements),
            "groups": [group._asdict() for group in program.groups],
            "schedule": None if program.schedule is None else _schedule(program),
            "memory": None
            if memory is None
            else {"arena": memory.size, "peak_before": memory.peak_before, "peak_after": memory.peak_after},
            "code": self.code,
            "native": self.native,
        }
        return json.dumps(data, allow_nan=False)

    def _repr_svg_(self) -> Any:
        return self.program._repr_svg_()

    def _repr_html_(self) -> Any:
        return self.program._repr_html_()

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        number = len(self.program.instructions)
        return f"<Explanation of {number} instruction{'s' * (number != 1)}; print it>"


def _instructions(program: Program, placements: Sequence[Placement]) -> list[dict[str, Any]]:
    out = []
    for number, ins in enumerate(program.instructions):
        made = [program.values[v] if v >= 0 else None for v in ins.outputs]
        place = placements[number] if number < len(placements) else Placement(ins.op.name, "")
        out.append({
            "op": ins.op.name, "type": ins.type, "inputs": list(ins.inputs), "outputs": list(ins.outputs),
            "dtypes": [known and known.dtype.name for known in made],
            "shapes": [None if known is None or known.dims is None else list(known.dims) for known in made],
            "source": str(ins.op.source), "device": place.device, "asked": place.asked, "why": place.why,
        })  # fmt: skip
    return out


def _schedule(program: Program) -> dict[str, Any]:
    schedule = program.schedule
    assert schedule is not None
    return {**schedule._asdict(), "tasks": [task._asdict() for task in schedule.tasks]}
