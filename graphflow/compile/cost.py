"""What an instruction costs: seconds on one core, estimated from its shapes.

Policy: an estimate for scheduling, not a promise; a factor of two does no harm, a thousand instructions in a
millisecond does good.  The cost has two parts: what runs under Python's lock (the dispatch of a kernel, which no second
thread makes shorter) and what runs without it: floating-point operations of products, elements of everything else,
bytes moved.  What differs between ops are columns of their records: `flops`, `functions`, `weight`.  A shape that is
not known counts as one element.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from graphflow.opdef import OPS, OpDef
from graphflow.program import Program
from graphflow.spec import Dims, is_concrete, numel


class Machine(NamedTuple):
    """What one core does; these defaults are those of a middling server of 2022."""

    flops: float = 9e10  # float32 operations a second in a matrix product
    bandwidth: float = 2e10  # bytes a second
    element: float = 1e-10  # seconds for an addition of four bytes that are in the cache
    function: float = 1.5e-9  # seconds for a transcendental function of a float32
    dispatch: float = 1e-6  # seconds to call a kernel
    wake: float = 6e-5  # seconds until a sleeping thread has begun


class Cost(NamedTuple):
    """Seconds of one instruction on one core."""

    python: float  # under Python's lock
    free: float  # without it
    splits: bool  # whether a backend may spread it over the cores

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.python + self.free


DEFAULT = Machine()
SMALL_ARRAY = 500  # elements up to which NumPy keeps Python's lock
CONTROL_FLOW = 2e-4  # a loop or a branch: nobody knows


def costs(program: Program, machine: Machine = DEFAULT) -> list[Cost]:
    """The cost of each instruction."""
    elements = _Elements()
    kinds: dict[str, _Kind] = {}
    values, dispatch = program.values, machine.dispatch
    plain = Cost(dispatch, 0.0, False)
    out: list[Cost] = []
    for ins in program.instructions:
        kind = kinds.get(ins.type)
        if kind is None:
            kind = kinds[ins.type] = _kind(OPS[ins.type], machine)
        if kind.fixed:
            out.append(Cost(dispatch, kind.fixed, False))
            continue
        if kind.views:
            out.append(plain)
            continue
        most = total = 0
        for v in ins.inputs:
            count = elements[values[v].dims]
            total += count
            if count > most:
                most = count
        size = 4
        for v in ins.outputs:
            if v >= 0:
                known = values[v]
                count = elements[known.dims]
                size = known.dtype.size
                total += count
                if count > most:
                    most = count
        if kind.flops is None and most <= SMALL_ARRAY:
            out.append(Cost(dispatch + most * kind.per_element, 0.0, False))
            continue
        free = most * kind.per_element * size / 4 + total * size / machine.bandwidth
        if kind.flops is not None:
            free += _flops(program, ins, kind.flops) * size / 4 / machine.flops
        out.append(Cost(dispatch, free, kind.splits))
    return out


class _Kind(NamedTuple):
    """What the instructions of one type have in common."""

    views: bool
    fixed: float
    per_element: float
    flops: Any
    splits: bool


def _kind(definition: OpDef, machine: Machine) -> _Kind:
    product = definition.flops is not None
    functions = definition.functions
    views = not (definition.weight or functions or product)
    per_element = 0.0 if product else definition.weight * machine.element + functions * machine.function
    fixed = CONTROL_FLOW if definition.control_flow else 0.0
    return _Kind(views, fixed, per_element, definition.flops, product or definition.pointwise)


class _Elements(dict[Dims, int]):
    """Shape -> number of elements; 1 where it is not known."""

    def __missing__(self, dims: Dims) -> int:
        count = numel(dims) if is_concrete(dims) else 1
        self[dims] = count
        return count


def _flops(program: Program, ins: Any, flops: Any) -> float:
    inputs = [program.values[v] for v in ins.inputs]
    outputs = [program.values[v] for v in ins.outputs if v >= 0]
    if not outputs or any(known.dims is None or None in known.dims for known in (*inputs, *outputs)):
        return 0.0
    return float(flops(inputs, outputs, ins.attrs))


def sequential_seconds(cost: Cost, cores: int, machine: Machine = DEFAULT) -> float:
    """How long it takes where it has all cores to itself, if it can use them."""
    if not cost.splits or cost.free < SHARED_FROM or cores < 2:
        return cost.python + cost.free
    return cost.python + min(cost.free, cost.free / (EFFICIENCY * cores) + machine.wake)


SHARED_FROM = 1.5e-4  # seconds of work from which it is spread over cores
EFFICIENCY = 0.85  # of each core where they work on one thing


def total(found: Sequence[Cost]) -> tuple[float, float]:
    """Seconds under Python's lock and without it, of all."""
    return sum([c.python for c in found]), sum([c.free for c in found])
