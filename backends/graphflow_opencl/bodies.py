"""The text of pointwise steps: what is loaded, computed and stored at one place of an index space.

Policy: a value that is the same along the innermost loop is held as one element, and computed before that loop: its
level is 0 if it never changes, 1 if it changes with the outer dims, 2 if with the innermost.  Only those are vectors.
Names count up, so that equal work gives equal text.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from graphflow.dtypes import DType
from graphflow.program import Instruction
from graphflow_opencl.expressions import (
    FAILS,
    Refusal,
    broadcast_scalar,
    expression,
    literal,
    load,
    register_type,
    storage_type,
    store,
)
from graphflow_opencl.folds import Fold
from graphflow_opencl.table import Status
from graphflow_opencl.tails import load_tail, store_tail


class Unprintable(Exception):
    """An op has no expression for its dtypes."""


class Read(NamedTuple):
    """Where a value comes from that a pass does not compute."""

    argument: Any  # number of a value or Scratch; None for a literal
    dtype: DType
    dims: tuple[int, ...]  # broadcasting to the index space
    known: Any = None  # a literal's value


class Work(NamedTuple):
    """One pass over an index space."""

    dims: tuple[int, ...]
    reads: Mapping[int, Read]
    steps: tuple[Instruction, ...]
    dtypes: Mapping[int, DType]
    stores: tuple[tuple[int, Any], ...] = ()  # value and where it goes; all have the dims of the space
    folds: tuple[Fold, ...] = ()
    title: str = ""

    def needed(self) -> Work:
        """Without the steps and reads that nothing needs."""
        wanted = {v for v, _ in self.stores} | {f.value for f in self.folds}
        steps = []
        for ins in reversed(self.steps):
            if ins.outputs[0] in wanted and ins.outputs[0] not in self.reads:
                steps.append(ins)
                wanted.update(ins.inputs)
        reads = {v: read for v, read in self.reads.items() if v in wanted}
        return self._replace(reads=reads, steps=tuple(reversed(steps)))


class Parameters:
    """The parameters of one kernel, in the order in which they were met."""

    def __init__(self) -> None:
        self._met: dict[Any, tuple[str, str]] = {}
        self.written: set[Any] = set()
        self._statuses: dict[int, Status] = {}

    def name(self, argument: Any, dtype: DType) -> str:
        """The name of the parameter for an argument."""
        return self._name(argument, storage_type(dtype))

    def status(self, refusal: Refusal) -> str:
        """The parameter that is set where an op refuses an element."""
        argument = self._statuses.setdefault(id(refusal), Status(lambda _: refusal.explain()))
        self.written.add(argument)
        return self._name(argument, "int")

    def _name(self, argument: Any, stored: str) -> str:
        if argument not in self._met:
            self._met[argument] = f"p{len(self._met)}", stored
        return self._met[argument][0]

    @property
    def arguments(self) -> tuple[Any, ...]:
        """In the kernel's order."""
        return tuple(self._met)

    @property
    def writes(self) -> tuple[int, ...]:
        """The values among them that are written."""
        return tuple(a for a in self._met if a in self.written and isinstance(a, int))

    @property
    def names(self) -> str:
        """As a list of arguments."""
        return ", ".join(name for name, _ in self._met.values())

    @property
    def declarations(self) -> str:
        """As a list of parameters."""
        return ", ".join(
            f"__global {'' if a in self.written else 'const '}{stored} *{name}"
            for a, (name, stored) in self._met.items()
        )


class Placing(NamedTuple):
    """Where reads and stores of a body stand."""

    levels: Mapping[int, int]  # of the values that are read
    place: Callable[[Any], str]  # C text of the place of a value, or of ("store", value, argument)
    gathered: Mapping[int, Callable[[str], str]]  # values whose neighbours are elsewhere: their place by the element's


class Body:
    """The statements of one pass."""

    def __init__(self, work: Work, placing: Placing, width: int, parameters: Parameters, checks: bool) -> None:
        self.work, self.placing, self.width, self.parameters = work, placing, width, parameters
        self.checks = checks
        self.levels = dict(placing.levels)
        for ins in work.steps:
            self.levels[ins.outputs[0]] = max((self.levels[v] for v in ins.inputs), default=0)
        order = [*work.reads, *(ins.outputs[0] for ins in work.steps)]
        self._names = {v: f"{'v' if self.levels[v] == 2 else 's'}{i}" for i, v in enumerate(order)}
        for v, read in work.reads.items():
            if read.argument is None:
                self._names[v] = literal(read.dtype, read.known)
            else:
                parameters.name(read.argument, read.dtype)

    def dtype(self, v: int) -> DType:
        """The dtype of a value."""
        return self.work.dtypes[v]

    def vector(self, v: int) -> str:
        """C text: a value as a vector."""
        if self.levels[v] == 2:
            return self._names[v]
        return broadcast_scalar(self.dtype(v), self.width, self._names[v])

    def statements(self, level: int, tail: int = 0) -> list[str]:
        """What is to be done at a level; a block that is not whole has `tail` elements."""
        out = []
        width = self.width if level == 2 else 1
        for v, read in self.work.reads.items():
            if self.levels[v] == level and read.argument is not None:
                out.append(f"{register_type(read.dtype, width)} {self._names[v]} = {self._loaded(v, width, tail)};")
        for ins in self.work.steps:
            if self.levels[ins.outputs[0]] == level:
                out += self._step(ins, width)
        if level == 2:
            for v, argument in self.work.stores:
                out.append(self._stored(v, argument, tail))
        return out

    def _loaded(self, v: int, width: int, tail: int) -> str:
        read = self.work.reads[v]
        pointer, index = self.parameters.name(read.argument, read.dtype), self.placing.place(v)
        where = self.placing.gathered.get(v)
        if where is not None and width > 1:
            lanes = [load(read.dtype, 1, pointer, where(f"(j + {self._lane(i, tail)})")) for i in range(width)]
            return f"({register_type(read.dtype, width)})({', '.join(lanes)})"
        if where is not None:
            return load(read.dtype, 1, pointer, where("j"))
        all_of_it = load(read.dtype, width, pointer, index)
        return f"whole ? {all_of_it} : {load_tail(read.dtype, width, tail, pointer, index)}" if tail else all_of_it

    @staticmethod
    def _lane(i: int, tail: int) -> str:
        return f"(whole ? {i} : {tail - 1})" if 0 < tail <= i else str(i)

    def _step(self, ins: Instruction, width: int) -> list[str]:
        v = ins.outputs[0]
        arguments = [self.vector(x) if width > 1 else self._names[x] for x in ins.inputs]
        inputs = [self.dtype(x) for x in ins.inputs]
        known = [read.known if (read := self.work.reads.get(x)) else None for x in ins.inputs]
        text = expression(ins.type, ins.attrs, arguments, inputs, self.dtype(v), width, known)
        if text is None:
            raise Unprintable(ins.type)
        out = [f"{register_type(self.dtype(v), width)} {self._names[v]} = {text};"]
        refusal = FAILS.get(ins.type) if self.checks else None
        condition = refusal and refusal.condition(arguments, inputs, width)
        if refusal and condition:
            status = self.parameters.status(refusal)
            bad = condition if width == 1 else f"any({condition} != 0)"
            out.append(f"if ({bad}) atomic_min({status}, 0);")
        return out

    def _stored(self, v: int, argument: Any, tail: int) -> str:
        dtype = self.dtype(v)
        pointer, index = self.parameters.name(argument, dtype), self.placing.place(("store", v, argument))
        self.parameters.written.add(argument)
        all_of_it = store(dtype, self.width, pointer, index, self.vector(v))
        if not tail:
            return all_of_it
        return f"if (whole) {{ {all_of_it} }} else {{ {store_tail(dtype, tail, pointer, index, self.vector(v))} }}"
