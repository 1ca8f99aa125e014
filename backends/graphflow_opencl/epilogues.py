"""Products whose result is only read by a bias and an activation: these are applied where the product is stored.

Policy: the product waits for the pointwise instructions that alone read it, if nothing writes a variable in between.
The first of them may add a vector along the last axis; the others have one input.  Only what they make in the end is
stored.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec
from graphflow_opencl.expressions import expression

ADDITIONS = frozenset({"Add", "BiasAdd"})


class Epilogue(NamedTuple):
    """What is done to a product as it is stored."""

    product: int  # positions
    begin: int
    end: int
    bias: int | None  # a value: a vector along the last axis
    activation: Callable[[str, int], str] | None
    result: int

    @property
    def positions(self) -> tuple[int, ...]:
        """All that is done as one."""
        return (self.product, *range(self.begin, self.end))


def epilogues(
    program: Program,
    values: Sequence[TensorSpec],
    readers: Mapping[int, Collection[int]],
    products: Collection[int],
    barriers: Collection[int],
) -> dict[int, Epilogue]:
    """For each product that has one, by the position after which it is done; `barriers` may not be crossed."""
    groups = {p: (g.begin, g.end) for g in program.groups for p in range(g.begin, g.end) if not g.reductions}
    reducing = {p for g in program.groups if g.reductions for p in range(g.begin, g.end)}
    found: dict[int, Epilogue] = {}
    for product in products:
        made = program.instructions[product].outputs[0]
        at = readers.get(made, ())
        if len(at) != 1 or made in program.fetches or not reducing.isdisjoint(at):
            continue
        first = next(iter(at))
        begin, end = groups.get(first, (first, first + 1))
        if first != begin or not barriers_free(product, end, barriers):
            continue
        epilogue = _of(program, values, readers, product, (begin, end))
        if epilogue is not None:
            found[end - 1] = epilogue
    return found


def barriers_free(first: int, last: int, barriers: Collection[int]) -> bool:
    """Whether no barrier stands between two positions."""
    return not any(first < b < last for b in barriers)


def _of(
    program: Program,
    values: Sequence[TensorSpec],
    readers: Mapping[int, Collection[int]],
    product: int,
    where: tuple[int, int],
) -> Epilogue | None:
    steps = program.instructions[where[0] : where[1]]
    current = program.instructions[product].outputs[0]
    known = values[current]
    bias, chain = None, []
    for number, ins in enumerate(steps):
        if ins.after or len(ins.outputs) != 1 or values[ins.outputs[0]][:2] != known[:2]:
            return None
        if number == 0 and ins.type in ADDITIONS and len(ins.inputs) == 2:
            bias = _bias(ins, current, values, known)
            if bias is None:
                return None
        elif ins.inputs == (current,):
            chain.append(ins)
        else:
            return None
        if number + 1 < len(steps) and set(readers.get(ins.outputs[0], ())) != {where[0] + number + 1}:
            return None
        current = ins.outputs[0]
    if any(expression(i.type, i.attrs, ["x"], [known.dtype], known.dtype, 1) is None for i in chain):
        return None
    return Epilogue(product, *where, bias, _activation(chain, known) if chain else None, current)


def _bias(ins: Instruction, current: int, values: Sequence[TensorSpec], known: TensorSpec) -> int | None:
    """The vector that is added to each row of the product."""
    if ins.attrs.get("channels", "last") != "last" or not known.dims:
        return None
    others = [v for v in ins.inputs if v != current]
    if len(others) != 1 or values[others[0]].dtype is not known.dtype:
        return None
    dims = values[others[0]].dims
    return others[0] if dims is not None and dims and dims[-1] == known.dims[-1] and set(dims[:-1]) <= {1} else None


def _activation(chain: Sequence[Instruction], known: TensorSpec) -> Callable[[str, int], str]:
    def text(x: str, width: int) -> str:
        for ins in chain:
            found = expression(ins.type, ins.attrs, [x], [known.dtype], known.dtype, width)
            assert found is not None
            x = f"({found})"
        return x

    return text
