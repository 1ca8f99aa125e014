"""Shapes and types as plain values, and the algebra that shape inference is written in.

Policy: a shape ("dims") is a tuple of ints and Nones, or None where even the rank is unknown.  Every function here
is pure, works on dims, and raises `ShapeError` with both shapes in the text; whoever builds the op adds its name.

State: none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from graphflow.dtypes import DType
from graphflow.errors import InvalidArgumentError, ShapeError

Dims: TypeAlias = "tuple[int | None, ...] | None"
Hint: TypeAlias = Any  # an int (or None) for a scalar, a tuple of these for a vector: see TensorSpec


class TensorSpec(NamedTuple):
    """What is known about a tensor before it is computed.

    In the signature of a function TensorFlow's order, (shape, dtype), is understood as well.

    `hint` is what is known of the *value* of a small integer tensor: an int for a scalar, a tuple of ints and Nones
    for a vector, None where nothing is known.  It lets `reshape(x, [tf.shape(x)[0], 10])` have the shape [?, 10].
    """

    dtype: DType
    dims: Dims
    hint: Hint = None


def describe(dims: Dims) -> str:
    """The shape as people write it: `[32, ?]`, or `<unknown>`."""
    if dims is None:
        return "<unknown>"
    return "[" + ", ".join("?" if d is None else str(d) for d in dims) + "]"


def is_concrete(dims: Dims) -> TypeGuard[tuple[int, ...]]:
    """Whether rank and every dimension are known."""
    return dims is not None and None not in dims


def numel(dims: Sequence[int]) -> int:
    """The number of elements; Python integers, so it cannot overflow."""
    total = 1
    for d in dims:
        total *= d
    return total


def nbytes(known: TensorSpec) -> int | None:
    """The size of an array in bytes, if its shape is known and its elements have a fixed size."""
    if not is_concrete(known.dims) or known.dtype.kind in ("string", "resource"):
        return None
    return numel(known.dims) * int(known.dtype.size)


def compatible(a: Dims, b: Dims) -> bool:
    """Whether some concrete shape fits both."""
    if a is None or b is None:
        return True
    return len(a) == len(b) and all(x is None or y is None or x == y for x, y in zip(a, b, strict=True))


def merge(a: Dims, b: Dims) -> Dims:
    """The shape that knows what either knows."""
    if a is None:
        return b
    if b is None or a == b:
        return a
    if not compatible(a, b):
        raise ShapeError("shapes do not agree", expected=describe(a), got=describe(b))
    return tuple(y if x is None else x for x, y in zip(a, b, strict=True))


def broadcast(a: Dims, b: Dims) -> Dims:
    """NumPy's broadcasting of two shapes."""
    if a == b and (a is None or None not in a):
        return a
    if a is None or b is None:
        return None
    if not a:
        return b
    if not b:
        return a
    short, long = (a, b) if len(a) <= len(b) else (b, a)
    lead = len(long) - len(short)
    out: list[int | None] = list(long[:lead])
    for x, y in zip(short, long[lead:], strict=True):
        if x == y:
            out.append(x)
        elif x == 1:
            out.append(y)
        elif y == 1:
            out.append(x)
        elif x is None or y is None:
            out.append(y if x is None else x)
        else:
            raise ShapeError(
                "shapes cannot be broadcast together",
                expected="dimensions that are equal or 1, counted from the right",
                got=f"{describe(a)} and {describe(b)}",
            )
    return tuple(out)


def broadcast_all(shapes: Iterable[Dims]) -> Dims:
    """NumPy's broadcasting of any number of shapes."""
    out: Dims = ()
    for dims in shapes:
        out = broadcast(out, dims)
    return out


def normal_axis(axis: int, rank: int, what: str = "axis") -> int:
    """A negative axis counted from the end, checked."""
    if not -rank <= axis < rank:
        raise ShapeError(f"{what} {axis} is out of range", expected=f"-{rank} <= {what} < {rank}", got=str(axis))
    return axis + rank if axis < 0 else axis


def normal_axes(axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Sorted, distinct, non-negative axes; None means all of them."""
    if axes is None:
        return tuple(range(rank))
    if isinstance(axes, int):
        return (normal_axis(axes, rank),)
    found = sorted(normal_axis(a, rank) for a in axes)
    if len(set(found)) != len(found):
        raise ShapeError("an axis is given twice", expected="distinct axes", got=str(list(axes)))
    return tuple(found)


def reduced(dims: Dims, axes: int | Sequence[int] | None, keepdims: bool) -> Dims:
    """The shape after a reduction over `axes`."""
    if dims is None:
        return () if axes is None and not keepdims else None
    gone = set(normal_axes(axes, len(dims)))
    if keepdims:
        return tuple(1 if i in gone else d for i, d in enumerate(dims))
    return tuple(d for i, d in enumerate(dims) if i not in gone)


def matmul(a: Dims, b: Dims, transpose_a: bool = False, transpose_b: bool = False) -> Dims:
    """The shape of a (batched) matrix product."""
    for side, dims in (("first", a), ("second", b)):
        if dims is not None and len(dims) < 2:
            raise ShapeError(
                f"the {side} argument of a matrix product is not a matrix",
                expected="rank 2 or more",
                got=describe(dims),
                hint="tf.expand_dims makes a matrix of a vector",
            )
    if a is None or b is None:
        return None
    rows, inner_a = (a[-1], a[-2]) if transpose_a else (a[-2], a[-1])
    inner_b, columns = (b[-1], b[-2]) if transpose_b else (b[-2], b[-1])
    if inner_a is not None and inner_b is not None and inner_a != inner_b:
        flags = "".join(f", {n}=True" for n, on in (("transpose_a", transpose_a), ("transpose_b", transpose_b)) if on)
        raise ShapeError(
            "the inner dimensions of a matrix product differ",
            expected=f"as many columns on the left as rows on the right{flags}",
            got=f"{describe(a)} @ {describe(b)}",
        )
    batch = broadcast(a[:-2], b[:-2])
    return None if batch is None else (*batch, rows, columns)


def reshaped(dims: Dims, target: Dims) -> Dims:
    """The shape after a reshape; `target` may hold one -1, and None where it is not known yet."""
    if target is None:
        return None
    if target.count(-1) > 1:
        raise ShapeError("a reshape may leave one dimension open", expected="at most one -1", got=str(list(target)))
    if any(d is not None and d < -1 for d in target):
        raise ShapeError("a dimension cannot be negative", expected="sizes >= 0, or one -1", got=str(list(target)))
    known = numel([d for d in target if d is not None and d != -1])
    if dims is None or None in dims or None in target:
        return tuple(None if d == -1 else d for d in target)
    total = numel([d for d in dims if d is not None])
    if -1 not in target:
        fits = total == known
    elif known == 0:
        raise ShapeError("the open dimension is undetermined: the others hold no element", got=str(list(target)))
    else:
        fits = total % known == 0
    if not fits:
        raise ShapeError(
            "a reshape must keep the number of elements",
            expected=f"{total} elements, as in {describe(dims)}",
            got=f"{describe(tuple(target))} ({known} elements{' times the open dimension' if -1 in target else ''})",
        )
    return tuple(total // known if d == -1 else d for d in target)


def concatenated(shapes: Sequence[Dims], axis: int | None) -> Dims:
    """The shape of tensors joined along `axis` (None where the axis is not known yet)."""
    known = [s for s in shapes if s is not None]
    if not known:
        return None
    rank = len(known[0])
    if any(len(s) != rank for s in known):
        raise ShapeError("concat needs tensors of one rank", got=" and ".join(map(describe, known)))
    if axis is None:
        return (None,) * rank
    if rank == 0:
        raise ShapeError("scalars cannot be concatenated", hint="tf.stack makes a vector of scalars")
    axis = normal_axis(axis, rank)
    out: list[int | None] = [None] * rank
    for i in range(rank):
        sizes = [s[i] for s in known]
        if i == axis:
            complete = len(known) == len(shapes) and None not in sizes
            out[i] = sum(d for d in sizes if d is not None) if complete else None
            continue
        distinct = {d for d in sizes if d is not None}
        if len(distinct) > 1:
            raise ShapeError(
                f"concat along axis {axis} needs equal sizes along the other axes",
                expected=f"one size along axis {i}",
                got=" and ".join(map(describe, known)),
            )
        out[i] = distinct.pop() if distinct else None
    return tuple(out)


def window_output(size: int | None, window: int, stride: int, dilation: int, padding: Any) -> int | None:
    """Output size of a convolution or pooling along one axis; padding is "SAME", "VALID" or (before, after)."""
    if stride < 1 or dilation < 1 or window < 0:
        raise InvalidArgumentError(
            "strides and dilations must be at least 1, windows at least 0",
            got=f"stride {stride}, dilation {dilation}, window {window}",
        )
    if size is None:
        return None
    if padding == "SAME":
        return -(-size // stride)
    before, after = (0, 0) if padding == "VALID" else padding
    reach = (window - 1) * dilation + 1
    out = (size + before + after - reach) // stride + 1
    if out < 0 or (size + before + after < reach and size > 0):
        raise ShapeError(
            "the window is larger than its input",
            expected=f"at most {size + before + after} along this axis",
            got=str(reach),
            hint='padding="SAME" pads the input',
        )
    return max(out, 0)
