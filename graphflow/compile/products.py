"""Sums of matrix products become fewer products (O2): what an unrolled network adds up for its weights, above all.

    A1 B1 + A2 B2 + ...      becomes   [A1 A2 ...] [B1; B2; ...]    one product over all rows of the minibatches
    sum(B1) + sum(B2) + ...  becomes   sum([B1; B2; ...])           where the rows have been joined anyway

Policy: the same terms in another order.  With t terms in all for an element (products and additions) the error is at
most t units in the last place of the sum of the terms' absolute values, as it was before: a sum is never more exact
than its order.  Every product is still made: A B1 + A B2 does not become A (B1 + B2), which would lose the NaN of an
infinity in A and a zero in B1.  Only products and sums that nobody else reads take part.  Joining costs a copy (none
where the parts are the pieces of one tensor), so it is done where an estimate says that it pays; what has to stay in
memory for it is limited.

State: none.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from graphflow.compile.rewrite import Result, Rule, Work, rewritten
from graphflow.program import Instruction, PassRecord, Program

SUMS = ("Add", "AddN")
MATMUL, SUM = "MatMul", "Sum"
JOINED, DONE = -1, -2  # what a sweep remembers: what has been joined, and which sums have been rewritten
TILED = 8  # copies of one tensor from which a Tile is cheaper than a Concat
MOST_BYTES = 1 << 27  # of operands that are joined
# Microseconds on a middling server, as in `cost`: a matrix product's call, another kernel's, one more array for it.
PRODUCT_CALL, CALL, PART = 0.8, 0.5, 0.2
BYTES = 2e4  # moved in a microsecond


def merge_products(program: Program, inner: bool = False) -> Program:
    """Find the sums that pay, then one sweep; `inner` if the program is that of a function."""
    found = _found(program) if any(ins.type == MATMUL for ins in program.instructions) else {}
    if not found:
        return program.with_record(PassRecord("merge_products"))
    rule = Rule("fewer products", functools.partial(_merged, found))
    return rewritten("merge_products", program, dict.fromkeys(SUMS, (rule,)), inner=inner)


# -- what is added up ------------------------------------------------------------------------------------------------


class Product(NamedTuple):
    """One product, or several that became one: the operands on either side are joined."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    flags: tuple[bool, bool]  # transpose_a, transpose_b


class Parts(NamedTuple):
    """A sum, taken apart."""

    products: tuple[Product, ...]
    rows: tuple[int, ...]  # tensors of rank 2 whose sums over the rows are added
    others: tuple[int, ...]


def _found(program: Program) -> dict[int, Parts]:
    """The sums that are worth rewriting: value -> its parts."""
    reads = Counter([v for ins in program.instructions for v in ins.inputs])
    reads.update(program.fetches)
    maker = {v: ins for ins in program.instructions for v in ins.outputs}
    out: dict[int, Parts] = {}
    inside: set[int] = set()
    for ins in reversed(program.instructions):
        if ins.type in SUMS and ins.outputs[0] not in inside and _is_plain_sum(program, ins):
            leaves = _leaves(program, ins, maker, reads, inside)
            if len(leaves) > 1:
                out[ins.outputs[0]] = _sorted(program, leaves, maker, reads)
    out = {v: _worth(program, parts) for v, parts in out.items()}
    joins = _joins(out.values())
    out = {v: parts._replace(rows=joins.get(tuple(sorted(parts.rows)), ())) if parts.rows else parts
           for v, parts in out.items()}  # fmt: skip
    return {v: parts for v, parts in out.items() if parts.rows or any(len(p.left) > 1 for p in parts.products)}


def _joins(sums: Iterable[Parts]) -> dict[tuple[int, ...], tuple[int, ...]]:
    """The tensors whose rows will be joined, in order -> as they will be."""
    out = {}
    for parts in sums:
        for p in parts.products:
            if len(p.left) > 1:
                for side, along_rows in ((p.left, p.flags[0]), (p.right, not p.flags[1])):
                    if along_rows:
                        out[tuple(sorted(side))] = side
    return out


def _is_plain_sum(program: Program, ins: Instruction) -> bool:
    """Whether an instruction adds matrices or rows of one shape, and may be rewritten."""
    if ins.after or ins.op.region is not None:
        return False
    known = program.values[ins.outputs[0]]
    dims = known.dims
    if dims is None or not 1 <= len(dims) <= 2 or None in dims or known.dtype.kind != "float":
        return False
    return all(program.values[v].dims == dims for v in ins.inputs)


def _leaves(
    program: Program, root: Instruction, maker: Mapping[int, Instruction], reads: Mapping[int, int], inside: set[int]
) -> list[int]:
    """What a tree of additions adds up, from left to right."""
    out: list[int] = []
    waiting = list(reversed(root.inputs))
    while waiting:
        v = waiting.pop()
        ins = maker.get(v)
        if ins is not None and reads[v] == 1 and ins.type in SUMS and _is_plain_sum(program, ins):
            inside.add(v)
            waiting += reversed(ins.inputs)
        else:
            out.append(v)
    return out


def _sorted(
    program: Program, leaves: Sequence[int], maker: Mapping[int, Instruction], reads: Mapping[int, int]
) -> Parts:
    """The leaves by what they are."""
    products: list[Product] = []
    rows: list[int] = []
    others: list[int] = []
    for v in leaves:
        ins = maker.get(v)
        if ins is None or reads[v] != 1 or ins.after or ins.op.region is not None:
            others.append(v)
            continue
        dims = [program.values[x].dims for x in ins.inputs]
        concrete = all(d is not None and len(d) == 2 and None not in d for d in dims)
        if ins.type == MATMUL and concrete:
            left, right = ins.inputs
            products.append(Product((left,), (right,), (ins.attrs["transpose_a"], ins.attrs["transpose_b"])))
        elif ins.type == SUM and concrete and ins.attrs["axis"] == (0,) and not ins.attrs["keepdims"]:
            rows.append(ins.inputs[0])
        else:
            others.append(v)
    return Parts(tuple(products), tuple(rows), tuple(others))


# -- what pays -------------------------------------------------------------------------------------------------------


def _worth(program: Program, parts: Parts) -> Parts:
    """The products put together where that is estimated to be faster."""
    groups: dict[tuple[bool, bool], list[Product]] = {}
    for p in parts.products:
        groups.setdefault(p.flags, []).append(p)
    out: list[Product] = []
    for flags, group in groups.items():
        group = sorted(group)
        if len(group) > 1 and _joining_pays(program, group):
            out.append(Product(tuple([p.left[0] for p in group]), tuple([p.right[0] for p in group]), flags))
        else:
            out += group
    return parts._replace(products=tuple(out))


def _joining_pays(program: Program, group: Sequence[Product]) -> bool:
    """Whether one product of joined operands is faster than several and their sum."""
    values = program.values
    size = values[group[0].left[0]].dtype.size
    lefts = [_matrix(program, p.left[0]) for p in group]
    rights = [_matrix(program, p.right[0]) for p in group]
    moved = size * sum([m * n for m, n in lefts + rights])
    rows, columns = lefts[0][group[0].flags[0]], rights[0][1 - group[0].flags[1]]
    count = len(group)
    apart = count * PRODUCT_CALL + (count - 1) * (CALL + 3 * rows * columns * size / BYTES)
    together = PRODUCT_CALL + 2 * (2 * CALL + PART * count) + 2 * moved / BYTES
    return moved <= MOST_BYTES and together < apart


def _matrix(program: Program, v: int) -> tuple[int, int]:
    """The shape of a matrix that is known to be one."""
    rows, columns = program.values[v].dims or (0, 0)
    return rows or 0, columns or 0


# -- the new instructions --------------------------------------------------------------------------------------------


def _merged(found: Mapping[int, Parts], work: Work, ins: Instruction) -> Result:
    """The sum, of fewer terms."""
    parts = found.get(ins.outputs[0])
    done: set[int] = work.memory.setdefault(DONE, set())
    if parts is None or ins.outputs[0] in done:
        return None
    done.add(ins.outputs[0])
    others = list(work.read_now(parts.others))
    made = [_product(work, ins, p) for p in parts.products]
    if parts.rows:
        made += _row_sums(work, ins, work.read_now(parts.rows))
    if len(made) == 1 and not others:
        type, inputs, attrs = made[0]
        return ins._replace(type=type, inputs=inputs, attrs=attrs)
    terms = [work.emit(ins, type, inputs, **attrs) for type, inputs, attrs in made]
    return ins._replace(type="AddN", inputs=(*terms, *others), attrs={})


Made = tuple[str, tuple[int, ...], dict[str, object]]


def _product(work: Work, ins: Instruction, p: Product) -> Made:
    left, right = work.read_now(p.left), work.read_now(p.right)
    turned_a, turned_b = p.flags
    a = joined(work, ins, left, 0 if turned_a else 1)
    b = joined(work, ins, right, 1 if turned_b else 0)
    return MATMUL, (a, b), {"transpose_a": turned_a, "transpose_b": turned_b}


def _row_sums(work: Work, ins: Instruction, rows: tuple[int, ...]) -> list[Made]:
    """The sums over the rows of tensors that are joined for a product as well."""
    attrs: dict[str, object] = {"axis": (0,), "keepdims": False}
    return [(SUM, (joined(work, ins, rows, 0),), attrs)]


def joined(work: Work, ins: Instruction, parts: tuple[int, ...], axis: int) -> int:
    """The parts one after the other along an axis; no copy where they are the pieces of one tensor."""
    if len(parts) == 1:
        return parts[0]
    known: dict[tuple[tuple[int, ...], int], int] = work.memory.setdefault(JOINED, {})
    found = known.get((parts, axis))
    if found is None:
        found = _whole_of(work, ins, parts, axis)
        if found is None and len(parts) >= TILED and len(set(parts)) == 1:
            times = np.ones(2, np.int32)
            times[axis] = len(parts)
            found = work.emit(ins, "Tile", (parts[0], work.constant(times)))
        if found is None:
            found = work.emit(ins, "Concat", parts, axis=axis)
        known[parts, axis] = found
    return found


def _whole_of(work: Work, ins: Instruction, parts: tuple[int, ...], axis: int) -> int | None:
    """The tensor whose pieces these are, all of them in their order."""
    before = work.maker.get(parts[0])
    if before is None or before.outputs != parts or before.after or before.op.region is not None:
        return None
    whole = before.inputs[0]
    dims = work.dims(whole)
    if before.type == "Split" and dims is not None and before.attrs["axis"] % len(dims) == axis:
        return whole
    if before.type == "Unpack" and dims is not None and before.attrs["axis"] % len(dims) == axis == 0:
        return work.emit(ins, "Reshape", (whole, work.shape((dims[0] * dims[1], *dims[2:]))))
    return None
