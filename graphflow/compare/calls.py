"""What was executed, call by call, eagerly or by a compiled program: the material for counts and for pictures.

Policy: both ways are told in the same words, so that they can stand side by side: a call of a kernel, what it read,
what it made, and the user's line.  A fused group is one call.

State: none; while ops are counted the eager engine of the process reports them, those of other threads excepted.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphflow import nest, source
from graphflow.eager.engine import EAGER
from graphflow.eager.tensor import EagerTensor
from graphflow.graph import FuncGraph, Graph
from graphflow.opdef import OPS
from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec, describe
from graphflow.spec import nbytes as bytes_of

PHASES = ("forward", "gradient")
SEED = "seed"  # the attribute of the ops that draw random numbers


class Made(NamedTuple):
    """One result of a call."""

    key: int  # the same for those who read it
    shape: str
    nbytes: int


class Call(NamedTuple):
    """One call of a kernel."""

    types: tuple[str, ...]  # of the ops that it does: more than one where they are fused
    inputs: tuple[int, ...]  # keys of what it reads
    outputs: tuple[Made, ...]  # what is read by others or returned; what stays inside a fused group is not there
    source: str
    phase: str  # of PHASES
    buffers: int  # how many results need memory of their own: views do not


class Counts(NamedTuple):
    """A way of computing in numbers."""

    ops: int
    calls: int
    buffers: int


def counts_of(calls: Sequence[Call]) -> Counts:
    """How many ops there are, in how many calls, and for how many results there must be memory."""
    return Counts(sum(len(c.types) for c in calls), len(calls), sum(c.buffers for c in calls))


# -- eager ---------------------------------------------------------------------------------------------------------


class Listener:
    """Listens to the eager engine: which ops this thread computes."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.phase = PHASES[0]
        self.draws = False  # whether random numbers were drawn
        self._thread = threading.get_ident()
        self._alive: list[Any] = []  # so that no key comes twice
        self._outer: Callable[..., Any] | None = None  # of a listener around this one

    def __enter__(self) -> Listener:
        self._outer = EAGER.__dict__.get("compute")
        EAGER.__dict__["compute"] = self._compute
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._outer is None:
            del EAGER.__dict__["compute"]
        else:
            EAGER.__dict__["compute"] = self._outer

    def _compute(self, definition: Any, inputs: Any, name: Any, attrs: Any, raw: bool = False) -> Any:
        compute = self._outer or functools.partial(type(EAGER).compute, EAGER)
        found = compute(definition, inputs, name, attrs, raw)
        if threading.get_ident() != self._thread:
            return found
        made = [x for x in nest.flatten(found) if isinstance(x, EagerTensor)]  # an op without results gives none
        self._alive += [made, inputs]
        self.draws = self.draws or SEED in attrs
        outputs = tuple([Made(id(x), describe(x.dims), _nbytes(x.value)) for x in made])
        place = str(source.user_frame())
        own = len(made) if definition.weight else 0
        self.calls.append(Call((definition.type,), tuple(map(id, inputs)), outputs, place, self.phase, own))
        return found


def _nbytes(value: Any) -> int:
    return int(getattr(value, "nbytes", 0))


def draws(graph: Graph) -> bool:
    """Whether ops of a graph, or of the branches and bodies in it, draw random numbers."""
    stack = [graph]
    while stack:
        for op in stack.pop().get_operations():
            if SEED in op.attrs:
                return True
            stack += [x for x in op.attrs.values() if isinstance(x, FuncGraph)]
    return False


# -- compiled ------------------------------------------------------------------------------------------------------


def calls_of(program: Program, last_forward: int) -> list[Call]:
    """The calls of a program; ops with ids above `last_forward` belong to the gradient."""
    groups = {g.begin: g for g in program.groups}
    out: list[Call] = []
    position = 0
    while position < len(program.instructions):
        group = groups.get(position)
        end = position + 1 if group is None else group.end
        members = program.instructions[position:end]
        out.append(_call(program, members, None if group is None else set(group.outputs), last_forward))
        position = end
    return out


def _call(program: Program, members: Sequence[Instruction], outside: set[int] | None, last_forward: int) -> Call:
    made = [v for ins in members for v in ins.outputs if v >= 0 and (outside is None or v in outside)]
    inner = {v for ins in members for v in ins.outputs}
    read = dict.fromkeys(v for ins in members for v in ins.inputs if v not in inner)
    weighty = any(OPS[ins.type].weight for ins in members if ins.type in OPS)
    outputs = tuple([Made(v, describe(program.values[v].dims), _size(program.values[v])) for v in made])
    phase = PHASES[int(all(ins.op.id > last_forward for ins in members))]
    types = tuple([ins.type for ins in members])
    return Call(types, tuple(read), outputs, members[-1].op.source, phase, len(made) if weighty else 0)


def _size(known: TensorSpec) -> int:
    return bytes_of(known) or 0
