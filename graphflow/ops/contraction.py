"""Sums of products named by letters: `einsum`, and `tensordot`, which is one of them.

Policy: one op for any number of operands; each letter has one size.  The gradient of an operand is another einsum: of
all other operands and the gradient of the result.  An ellipsis stands for the axes that the letters leave over, so it
needs operands of known rank.

State: none.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Sequence
from typing import Any

from graphflow import spec
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.opdef import call, op
from graphflow.ops import array, blocks, flops, math, reduce
from graphflow.ops.arguments import as_tensor, static_value
from graphflow.ops.core import name_scope
from graphflow.ops.inference import check_kind
from graphflow.spec import TensorSpec

MAX_OPERANDS = 16


def _parts(equation: str) -> tuple[list[str], str]:
    left, right = equation.split("->")
    return left.split(","), right


def _contracted(*operands: Any, equation: str) -> TensorSpec:
    check_kind(operands[0], "number")
    left, right = _parts(equation)
    sizes: dict[str, int | None] = {}
    for x, letters in zip(operands, left, strict=True):
        if x.dims is None:
            continue
        if len(x.dims) != len(letters):
            raise ShapeError(
                f"{equation!r} names {len(letters)} axes of an operand", expected=f"rank {len(letters)}",
                got=spec.describe(x.dims),
            )  # fmt: skip
        for letter, size in zip(letters, x.dims, strict=True):
            known = sizes.get(letter)
            if known is not None and size is not None and known != size:
                raise ShapeError(f"the axis {letter!r} of {equation!r} has two sizes", got=f"{known} and {size}")
            sizes[letter] = size if known is None else known
    return TensorSpec(operands[0].dtype, tuple(sizes.get(letter) for letter in right))


@op("Einsum", infer=_contracted, flops=flops.contraction)
def _einsum(operands: Sequence[Any], equation: str, name: str | None = None) -> Any:
    return call(tuple(operands), name, equation=equation)


def einsum(equation: str, *inputs: Any, name: str | None = None) -> Any:
    """The sum of products that the equation describes: `einsum("ij,jk->ik", a, b)` is a matrix product."""
    if not isinstance(equation, str):
        raise InvalidArgumentError("the equation of an einsum is text", expected="'ij,jk->ik'", got=repr(equation)[:80])
    operands = list(inputs[0]) if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)) else list(inputs)
    if not 0 < len(operands) <= MAX_OPERANDS:
        raise InvalidArgumentError(f"an einsum takes 1 to {MAX_OPERANDS} operands", got=str(len(operands)))
    tensors = [as_tensor(x) for x in operands]
    return _einsum(tensors, _normal(equation, tensors), name=name)


def _normal(equation: str, tensors: Sequence[Any]) -> str:
    """The equation with an explicit result and without ellipses."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    operands = left.split(",")
    _check_letters(equation, operands, right, len(tensors))
    if "..." in text:
        operands, spread = _spell_out(equation, operands, tensors)
        right = right.replace("...", spread)
    else:
        spread = ""
    if not arrow:
        joined = "".join(operands)
        right = spread + "".join(sorted(c for c in set(joined) - set(spread) if joined.count(c) == 1))
    return ",".join(operands) + "->" + right


def _check_letters(equation: str, operands: list[str], right: str, count: int) -> None:
    letters = set("".join(operands).replace("...", ""))
    result = right.replace("...", "")
    wrong = None
    if len(operands) != count:
        wrong = f"it names {len(operands)} operands, and there are {count}"
    elif letters - set(string.ascii_letters):
        wrong = "axes are named by letters"
    elif len(set(result)) != len(result):
        wrong = "the result names an axis twice"
    elif set(result) - letters:
        wrong = "the result names an axis that no operand has"
    elif "..." in right and not any("..." in o for o in operands):
        wrong = "the result has an ellipsis, and no operand has one"
    if wrong:
        raise InvalidArgumentError(f"einsum cannot read {equation!r}: {wrong}")


def _spell_out(equation: str, operands: list[str], tensors: Sequence[Any]) -> tuple[list[str], str]:
    """Letters for the axes under each ellipsis, aligned at the last of them."""
    free = [c for c in string.ascii_letters[::-1] if c not in equation]
    out, longest = [], ""
    for letters, x in zip(operands, tensors, strict=True):
        if "..." not in letters:
            out.append(letters)
            continue
        if x.dims is None:
            raise ShapeError(f"the ellipsis of {equation!r} needs operands of known rank", op=x.op, got="<unknown>")
        count = len(x.dims) - (len(letters) - 3)
        if not 0 <= count <= len(free):
            raise ShapeError(f"{equation!r} names more axes than an operand has", op=x.op, got=spec.describe(x.dims))
        spelled = "".join(reversed(free[:count]))
        longest = max(longest, spelled, key=len)
        out.append(letters.replace("...", spelled))
    return out, longest


def _operand_gradient(i: int, op: Any, dy: Any) -> Any:
    left, right = _parts(op.attrs["equation"])
    mine, x = left[i], op.inputs[i]
    others = [(letters, math.conj(y)) for j, (letters, y) in enumerate(zip(left, op.inputs, strict=True)) if j != i]
    distinct = "".join(dict.fromkeys(mine))
    elsewhere = set(right).union(*(letters for letters, _ in others))
    target = "".join(c for c in distinct if c in elsewhere)
    terms = [*others, (right, dy)]
    grad = _einsum([y for _, y in terms], ",".join(letters for letters, _ in terms) + "->" + target)
    sizes = array.shape(x)
    if target != distinct:  # axes that were summed away without meeting anything
        alone = tuple(k for k, c in enumerate(distinct) if c not in elsewhere)
        known = sizes if distinct == mine else array.stack([sizes[mine.index(c)] for c in distinct])
        grad = reduce.spread(grad, known, alone, False)
    return grad if distinct == mine else _onto_diagonal(grad, distinct, mine, sizes)


def _onto_diagonal(grad: Any, distinct: str, mine: str, sizes: Any) -> Any:
    """The gradient of an operand that names an axis twice: zero beside the diagonal."""
    free = iter(c for c in string.ascii_letters if c not in mine)
    operands, letters, result = [grad], [distinct], ""
    for k, c in enumerate(mine):
        if c not in result:
            result += c
            continue
        twin = next(free)
        result += twin
        operands.append(blocks.eye(sizes[k], dtype=grad.dtype))
        letters.append(c + twin)
    return _einsum(operands, ",".join(letters) + "->" + result)


_einsum.vjp(*[functools.partial(_operand_gradient, i) for i in range(MAX_OPERANDS)])


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
    """The sum of products over `axes`: a number n for the last n of `a` and the first n of `b`, or a list for each."""
    with name_scope(name, "Tensordot"):
        a, b = as_tensor(a), as_tensor(b)
        for x in (a, b):
            if x.dims is None:
                raise ShapeError("tensordot needs tensors of known rank", op=x.op, got="<unknown>")
        rank_a, rank_b = len(a.dims), len(b.dims)
        over_a, over_b = _pairs(axes, rank_a, rank_b)
        if rank_a + rank_b - len(over_a) > len(string.ascii_letters):
            raise ShapeError("too many axes for a tensordot", got=f"{rank_a} and {rank_b}")
        free = iter(string.ascii_letters)
        left = [next(free) for _ in range(rank_a)]
        right = [next(free) for _ in range(rank_b)]
        for i, j in zip(over_a, over_b, strict=True):
            right[j] = left[i]
        kept = [c for i, c in enumerate(left) if i not in over_a] + [c for j, c in enumerate(right) if j not in over_b]
        return _einsum([a, b], f"{''.join(left)},{''.join(right)}->{''.join(kept)}")


def _pairs(axes: Any, rank_a: int, rank_b: int) -> tuple[list[int], list[int]]:
    value = static_value(axes)
    if value is None or value.dtype.kind not in "iu" and value.size:
        raise InvalidArgumentError(
            "the axes of a tensordot are integers known while the graph is built", got=repr(axes)[:80]
        )
    if value.ndim == 0:
        count = int(value)
        if not 0 <= count <= min(rank_a, rank_b):
            most = min(rank_a, rank_b)
            raise InvalidArgumentError("tensordot has not that many axes", expected=f"0 to {most}", got=str(count))
        return list(range(rank_a - count, rank_a)), list(range(count))
    if len(value) != 2:
        raise InvalidArgumentError("the axes of a tensordot are a number or a pair of lists", got=repr(axes)[:80])
    over_a = [spec.normal_axis(int(i), rank_a) for i in value[0].reshape(-1)]
    over_b = [spec.normal_axis(int(i), rank_b) for i in value[1].reshape(-1)]
    if len(set(over_a)) != len(over_a) or len(set(over_b)) != len(over_b):
        raise InvalidArgumentError("tensordot sums over an axis once", got=repr(axes)[:80])
    return over_a, over_b
