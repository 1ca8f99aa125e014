"""Axes in another order, and elements repeated, shifted, padded or turned around.

Policy: every op here moves elements and computes nothing, so its gradient is the same movement backwards: an op of
this module or its `...Grad`, which is differentiable in turn.  Axes are known while the graph is built; what may be
known only in a run (a permutation, paddings, shifts) is an attribute where the graph tells it and an input elsewhere.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import casting, dtypes, spec
from graphflow.constants import convert_to_tensor
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.opdef import RegisterGradient, call, op
from graphflow.ops import array, core, slicing
from graphflow.ops.arguments import (
    as_tensor,
    check_index,
    check_scalar,
    check_vector,
    integers_or_none,
    is_symbolic,
    known_integer,
    known_integers,
    shape_vector,
    static_value,
    vector_hint,
)
from graphflow.ops.arithmetic import sum_to
from graphflow.ops.casts import cast
from graphflow.ops.inference import check_kind, hinted_dims, like_first
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor
from graphflow.tensor_shape import TensorShape, as_dims

# -- axes and directions ---------------------------------------------------------------------------------------------


def _permuted(x: Any, order: Any = None, *, perm: tuple[int, ...] | None) -> TensorSpec:
    if perm is None and order is not None:
        perm = None if order.hint is None or None in order.hint else order.hint
        if perm is None:
            known = x.dims if x.dims is not None else hinted_dims(order, "permutation")
            return TensorSpec(x.dtype, None if known is None else (None,) * len(known))
    if perm is None:
        return TensorSpec(x.dtype, None if x.dims is None else x.dims[::-1])
    if sorted(p + len(perm) if p < 0 else p for p in perm) != list(range(len(perm))):
        raise InvalidArgumentError("perm names every axis once", expected=f"a permutation of {list(range(len(perm)))}",
                                   got=str(list(perm)))  # fmt: skip
    if x.dims is not None and len(x.dims) != len(perm):
        raise ShapeError("perm needs one entry for each axis", expected=f"{len(x.dims)} entries, as the tensor is "
                         f"{spec.describe(x.dims)}", got=str(list(perm)))  # fmt: skip
    return TensorSpec(x.dtype, (None,) * len(perm) if x.dims is None else tuple(x.dims[p] for p in perm))


def _permutation(a: Any, perm: Any) -> tuple[tuple[Any, ...], tuple[int, ...] | None]:
    """Inputs and attribute: the permutation is an input only where the graph alone does not tell it."""
    if perm is None:
        return (a,), None
    found = integers_or_none(perm, "perm")
    if found is None:
        return (a, perm), None
    if isinstance(found, int):
        raise ShapeError("perm is a vector", got=repr(perm)[:80])
    return (a,), tuple(found)


@op("Transpose", infer=_permuted, same_dtype=None, weight=0)
def _transpose(a: Any, perm: Any = None, name: str | None = None) -> Any:
    inputs, order = _permutation(a, perm)
    return call(inputs, name, perm=order)


@op("ConjugateTranspose", infer=_permuted, same_dtype=None)
def _conjugate_transpose(a: Any, perm: Any = None, name: str | None = None) -> Any:
    inputs, order = _permutation(a, perm)
    return call(inputs, name, perm=order)


def transpose(a: Any, perm: Any = None, name: str = "transpose", conjugate: bool = False) -> Any:
    """The tensor with its axes in another order (reversed without `perm`)."""
    a = as_tensor(a)
    if conjugate and a.dtype.is_complex:
        return _conjugate_transpose(a, perm, name=name)
    return _transpose(a, perm, name=name)


def _back(op: Any) -> Any:
    """The permutation that undoes the op's."""
    if len(op.inputs) == 2:
        return invert_permutation(op.inputs[1])
    perm = op.attrs["perm"]
    if perm is None:
        return None
    back = [0] * len(perm)
    for i, p in enumerate(perm):
        back[p] = i
    return back


_transpose.vjp(lambda op, dy: _transpose(dy, _back(op)), None)
_conjugate_transpose.vjp(lambda op, dy: _conjugate_transpose(dy, _back(op)), None)


def _inverted(x: Any) -> TensorSpec:
    if not x.dtype.is_integer:
        raise DTypeError("a permutation is a vector of integers", expected="int32 or int64", got=x.dtype.name)
    check_vector(x, "a permutation")
    return TensorSpec(x.dtype, (None,) if x.dims is None else x.dims)


@op("InvertPermutation", can_fail="always", infer=_inverted, differentiable=False)
def invert_permutation(x: Any, name: str | None = None) -> Any:
    """The vector y with y[x[i]] = i."""
    return call((x,), name)


def _reversed(x: Any, *, axis: tuple[int, ...]) -> TensorSpec:
    if x.dims is not None:
        spec.normal_axes(axis, len(x.dims))
    flipped = x.hint[::-1] if axis and isinstance(x.hint, tuple) else x.hint
    return TensorSpec(x.dtype, x.dims, flipped)


@op("Reverse", infer=_reversed)
def reverse(tensor: Any, axis: Any = None, name: str | None = None, dims: Any = None) -> Any:
    """The tensor backwards along the axes listed; one bool for each axis is TensorFlow 0.x's way to say which."""
    given = dims if axis is None else axis
    several = isinstance(given, (list, tuple, np.ndarray)) and len(given) > 0
    if several and all(isinstance(d, (bool, np.bool_)) for d in given):
        given = [i for i, on in enumerate(given) if on]
    return call((tensor,), name, axis=known_integers(given))


reverse.vjp(lambda op, dy: reverse(dy, op.attrs["axis"]))


def _reversed_sequences(x: Any, lengths: Any, *, seq_axis: int, batch_axis: int) -> TensorSpec:
    check_index(lengths, "the lengths of sequences")
    check_vector(lengths, "the lengths of sequences")
    if x.dims is not None:
        along, batch = (spec.normal_axis(a, len(x.dims)) for a in (seq_axis, batch_axis))
        if along == batch:
            raise ShapeError("time and batch are different axes", got=f"seq_axis and batch_axis {seq_axis}")
        if lengths.dims is not None:
            spec.merge((x.dims[batch],), lengths.dims)
    return TensorSpec(x.dtype, x.dims)


@op("ReverseSequence", infer=_reversed_sequences, same_dtype=None)
def reverse_sequence(
    input: Any,
    seq_lengths: Any,
    seq_axis: Any = None,
    batch_axis: Any = None,
    name: str | None = None,
    seq_dim: Any = None,
    batch_dim: Any = None,
) -> Any:
    """The first `seq_lengths[i]` steps of sequence i backwards, the rest as it is."""
    along = seq_dim if seq_axis is None else seq_axis
    batch = batch_dim if batch_axis is None else batch_axis
    axes = {"seq_axis": known_integer(along, "seq_axis"), "batch_axis": known_integer(batch or 0, "batch_axis")}
    return call((input, seq_lengths), name, **axes)


reverse_sequence.vjp(lambda op, dy: reverse_sequence(dy, op.inputs[1], **op.attrs), None)


def _rolled(x: Any, by: Any = None, *, shift: tuple[int, ...] | None, axis: tuple[int, ...]) -> TensorSpec:
    if x.dims is not None:
        for a in axis:
            spec.normal_axis(a, len(x.dims))
    if by is not None:
        check_index(by, "shifts")
    count = len(shift) if shift is not None else None if by is None or not by.dims else by.dims[0]
    if count not in (None, len(axis)):
        raise ShapeError("roll takes one shift for each axis", expected=f"{len(axis)} shifts", got=str(count))
    return TensorSpec(x.dtype, x.dims)


@op("Roll", infer=_rolled, same_dtype=None)
def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Any:
    """The tensor shifted along axes; what leaves at one end comes in at the other."""
    found = integers_or_none(shift, "shift")
    axes = known_integers(axis)
    if found is None:
        return call((input, shift), name, shift=None, axis=axes)
    return call((input,), name, shift=(found,) if isinstance(found, int) else found, axis=axes)


@RegisterGradient("Roll")
def _roll_grad(op: Any, dy: Any) -> list[Any]:
    shift, axis = op.attrs["shift"], op.attrs["axis"]
    if shift is None:
        return [roll(dy, -op.inputs[1], axis), None]
    return [roll(dy, tuple(-s for s in shift), axis)]


# -- repetition and padding ------------------------------------------------------------------------------------------


def _tiled(x: Any, multiples: Any) -> TensorSpec:
    times = array.sizes_of(multiples)
    if x.dims is None or times is None:
        known = x.dims if x.dims is not None else times
        return TensorSpec(x.dtype, None if known is None else (None,) * len(known))
    if len(times) != len(x.dims):
        raise ShapeError("tile needs one multiple for each axis", expected=f"{len(x.dims)} for {spec.describe(x.dims)}",
                         got=str(list(times)))  # fmt: skip
    return TensorSpec(x.dtype, tuple(None if None in (d, m) else d * m for d, m in zip(x.dims, times, strict=True)))


@op("Tile", infer=_tiled, same_dtype=None)
def tile(input: Any, multiples: Any, name: str | None = None) -> Any:
    """The tensor repeated `multiples[i]` times along axis i."""
    return call((input, shape_vector(multiples, "vector of multiples")), name)


def _untiled(dy: Any, multiples: Any) -> TensorSpec:
    times = array.sizes_of(multiples)
    if dy.dims is None or times is None:
        return TensorSpec(dy.dtype, None if dy.dims is None else (None,) * len(dy.dims))
    sizes = (d // m if d is not None and m else None for d, m in zip(dy.dims, times, strict=True))
    return TensorSpec(dy.dtype, tuple(sizes))


@op("TileGrad", infer=_untiled, same_dtype=None)
def _tile_grad(dy: Any, multiples: Any, name: str | None = None) -> Any:
    return call((dy, multiples), name)


@RegisterGradient("Tile")
def _tile_vjp(op: Any, dy: Any) -> list[Any]:
    """As if each axis were one of repetitions and one of elements: of what is repeated 0 times, dy knows no size."""
    x, multiples = op.inputs
    times = array.sizes_of(multiples)
    if times is not None and all(times):
        return [_tile_grad(dy, multiples), None]
    sizes = array.shape(x, out_type=multiples.dtype)
    ones = array.ones_like(multiples)
    apart, folded = (array.reshape(array.stack([n, sizes], 1), [-1]) for n in (multiples, ones))
    return [array.reshape(sum_to(array.reshape(dy, apart), folded), sizes), None]


_tile_grad.vjp(lambda op, dy: tile(dy, op.inputs[1]), None)


def _padded(x: Any, *rest: Any, paddings: Any, **attrs: Any) -> TensorSpec:
    if paddings is None:
        check_index(rest[0], "paddings")
        table = rest[0].dims
        if table is not None and (len(table) != 2 or table[1] not in (2, None)):
            raise ShapeError("paddings are pairs (before, after)", expected="[rank, 2]", got=spec.describe(table))
        count = len(x.dims) if x.dims is not None else table[0] if table else None
        return TensorSpec(x.dtype, None if count is None else (None,) * count)
    if x.dims is None:
        return TensorSpec(x.dtype, (None,) * len(paddings))
    if len(paddings) != len(x.dims):
        wanted = f"{len(x.dims)} pairs for {spec.describe(x.dims)}"
        raise ShapeError("pad needs one pair for each axis", expected=wanted, got=str([list(p) for p in paddings]))
    sizes = zip(x.dims, paddings, strict=True)
    return TensorSpec(x.dtype, tuple(None if d is None else d + a + b for d, (a, b) in sizes))


def _pairs(paddings: Any) -> tuple[tuple[int, int], ...] | None:
    """The paddings as pairs, or None where they are known only in a run."""
    found = integers_or_none(paddings, "paddings")
    if found is None:
        return None
    pairs = found if isinstance(found, tuple) else ()
    if isinstance(found, int) or any(not isinstance(p, tuple) or len(p) != 2 for p in pairs):
        raise ShapeError("paddings are pairs (before, after), one for each axis", got=repr(paddings)[:80])
    if any(n < 0 for p in pairs for n in p):
        raise InvalidArgumentError("a padding cannot be negative", got=str([list(p) for p in pairs]))
    return pairs


@op("Pad", infer=_padded, same_dtype=None)
def _pad(inputs: tuple[Any, ...], paddings: Any, constant: Any, name: str | None = None) -> Any:
    return call(inputs, name, paddings=paddings, constant=constant)


@op("MirrorPad", infer=_padded, same_dtype=None)
def _mirror_pad(inputs: tuple[Any, ...], paddings: Any, mode: str, name: str | None = None) -> Any:
    return call(inputs, name, paddings=paddings, mode=mode)


def pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", name: str | None = None, constant_values: Any = 0
) -> Tensor:
    """The tensor with a margin of a constant, or of its own elements (REFLECT without the edge, SYMMETRIC with it)."""
    x = as_tensor(tensor)
    kind = str(mode).upper()
    if kind not in ("CONSTANT", "REFLECT", "SYMMETRIC"):
        raise InvalidArgumentError(f"unknown mode {mode!r}", expected="CONSTANT, REFLECT or SYMMETRIC")
    pairs = _pairs(paddings)
    inputs = (x,) if pairs is not None else (x, shape_vector(paddings, "table of paddings"))
    if kind != "CONSTANT":
        out = _mirror_pad(inputs, pairs, kind, name=name or "MirrorPad")
    else:
        value = static_value(constant_values)
        if value is None:
            out = _pad((x, paddings, constant_values), None, None, name=name)
        elif value.ndim:
            raise ShapeError("constant_values is a scalar", got=spec.describe(value.shape))
        else:
            out = _pad(inputs, pairs, casting.as_array(value.item(), x.dtype).item(), name=name)
    _add_known_sizes(out, x, paddings)
    return out  # type: ignore[no-any-return]


def _add_known_sizes(out: Tensor, x: Tensor, paddings: Any) -> None:
    """What can be told of the shape where only some of the paddings are tensors."""
    if x.dims is None or out.dims is None or spec.is_concrete(out.dims):
        return
    if not isinstance(paddings, (list, tuple)) or len(paddings) != len(x.dims):
        return
    sizes: list[int | None] = []
    for d, pair in zip(x.dims, paddings, strict=True):
        both = integers_or_none(pair, "paddings")
        sizes.append(None if d is None or both is None else d + sum(both))
    out.dims = spec.merge(out.dims, tuple(sizes))


@RegisterGradient("Pad")
def _pad_grad(op: Any, dy: Any) -> list[Any]:
    pairs = op.attrs["paddings"]
    rest = [None] * (len(op.inputs) - 1)
    if pairs is None:
        start = op.inputs[1][:, 0]
        return [slicing.slice_(dy, start, cast(array.shape(op.inputs[0]), start.dtype)), *rest]
    return [as_tensor(dy)[tuple(slice(a, -b if b else None) for a, b in pairs)] if pairs else dy, *rest]


def _unmirrored(dy: Any, shape: Any, *rest: Any, **attrs: Any) -> TensorSpec:
    return TensorSpec(dy.dtype, hinted_dims(shape))


@op("MirrorPadGrad", infer=_unmirrored, same_dtype=None)
def _mirror_pad_grad(inputs: tuple[Any, ...], paddings: Any, mode: str, name: str | None = None) -> Any:
    return call(inputs, name, paddings=paddings, mode=mode)


@RegisterGradient("MirrorPad")
def _mirror_grad(op: Any, dy: Any) -> list[Any]:
    x, *rest = op.inputs
    return [_mirror_pad_grad((dy, array.shape(x), *rest), **op.attrs), *[None for _ in rest]]


@RegisterGradient("MirrorPadGrad")
def _mirror_grad_grad(op: Any, dy: Any) -> list[Any]:
    rest = op.inputs[2:]
    return [_mirror_pad((dy, *rest), **op.attrs), None, *[None for _ in rest]]


# -- grids -----------------------------------------------------------------------------------------------------------


def _spaced(start: Any, stop: Any, num: Any) -> TensorSpec:
    for x, what in ((start, "start"), (stop, "stop"), (num, "num")):
        check_scalar(x, what)
    check_kind(start, "float")
    check_index(num, "num and all counts")
    if num.hint is not None and num.hint < 1:
        raise InvalidArgumentError("linspace makes one number or more", expected="num >= 1", got=str(num.hint))
    return TensorSpec(start.dtype, (num.hint,))


@op("LinSpace", infer=_spaced, same_dtype=(0, 1), differentiable=False)
def _linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Any:
    return call((start, stop, num), name)


def linspace(start: Any, stop: Any, num: Any, name: str | None = "LinSpace") -> Tensor:
    """`num` numbers at equal distances, from start to stop inclusive."""
    given = next((v.dtype for v in (start, stop) if is_symbolic(v)), dtypes.float32)
    first, last = (v if is_symbolic(v) else convert_to_tensor(v, preferred=given) for v in (start, stop))
    found: Tensor = _linspace(first, last, num, name=name)
    return found


@core.composite("meshgrid")
def meshgrid(*args: Any, indexing: str = "xy") -> list[Tensor]:
    """For vectors of coordinates, each coordinate at every point of the grid that they span."""
    if indexing not in ("xy", "ij"):
        raise InvalidArgumentError(f"unknown indexing {indexing!r}", expected="'xy' or 'ij'")
    vectors = [array.reshape(a, [-1]) for a in args]
    order = list(range(len(vectors)))
    if indexing == "xy" and len(order) > 1:
        order[:2] = [1, 0]
    sizes = [array.size(v) for v in vectors]
    shape = array.stack([sizes[i] for i in order]) if sizes else []
    place = {v: axis for axis, v in enumerate(order)}
    return [
        array.broadcast_to(array.reshape(v, [-1 if axis == place[i] else 1 for axis in range(len(order))]), shape)
        for i, v in enumerate(vectors)
    ]


# -- shapes and identities -------------------------------------------------------------------------------------------


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> TensorShape:
    """The shape that two known shapes broadcast to."""
    return TensorShape(spec.broadcast(as_dims(shape_x), as_dims(shape_y)))


def _broadcast_args(a: Any, b: Any) -> TensorSpec:
    for x in (a, b):
        check_index(x, "the sizes in a shape")
        check_vector(x, "a shape")
    known = [vector_hint(x) for x in (a, b)]
    dims = None if None in known else spec.broadcast(*known)
    return TensorSpec(a.dtype, (None,) if dims is None else (len(dims),), dims)


@op("BroadcastArgs", infer=_broadcast_args, differentiable=False, weight=0)
def broadcast_dynamic_shape(shape_x: Any, shape_y: Any, name: str | None = None) -> Any:
    """The shape that two shapes broadcast to, as a vector of integers."""
    return call((shape_vector(shape_x), shape_vector(shape_y)), name)


def identity_n(input: Any, name: str | None = None) -> list[Tensor]:
    """The same tensors under other names."""
    return [core.identity(x, name=name) for x in input]


@op("GuaranteeConst", infer=like_first, noop=True, weight=0)
def guarantee_const(input: Any, name: str | None = None) -> Any:
    """The same value, promised never to change."""
    return call((input,), name)


guarantee_const.vjp(lambda op, dy: dy)
