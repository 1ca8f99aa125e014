"""Kernels of shapes, fills, casts, joining and splitting, and of elements moved around.

Policy: what can be a view is one (reshapes, permutations, pieces); nothing loops over elements in Python.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow_numpy.table import Fitted, fit, into, kernel, rows

ALL = slice(None)

# -- shapes ----------------------------------------------------------------------------------------------------------


@kernel("Shape")
def _shape(x: Any, *, out_type: Any) -> Any:
    return np.array(np.shape(x), out_type.np)


rows(
    {
        "Size": lambda x, *, out_type: out_type.type(np.size(x)),
        "Rank": lambda x: np.int32(np.ndim(x)),
    }
)


def _expand_dims(x: Any, *, axis: int) -> Any:
    at = axis + np.ndim(x) + 1 if axis < 0 else axis
    return x.reshape(*x.shape[:at], 1, *x.shape[at:])


def _transpose(x: Any, order: Any = None, *, perm: tuple[int, ...] | None) -> Any:
    return x.transpose(perm) if order is None else np.transpose(x, order)


rows(
    {
        "Reshape": lambda x, shape: x.reshape(shape.tolist()),
        "ExpandDims": _expand_dims,
        "Squeeze": lambda x, *, axis: x.squeeze(axis),
        "Transpose": _transpose,
        "BroadcastTo": np.broadcast_to,
        "GuaranteeConst": lambda x: x,
    },
    view=True,
)
# A copy: NumPy's sines, powers and the like round otherwise where they read backwards.
rows({"Reverse": lambda x, *, axis: np.flip(x, axis).copy()})
into("Reverse")(lambda x, out, *, axis: np.copyto(out, np.flip(x, axis)))
rows({"ConjugateTranspose": lambda x, order=None, *, perm: np.conjugate(_transpose(x, order, perm=perm))})


@fit("Reshape")
def _fit_reshape(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
    dims = outputs[0] and outputs[0].dims
    return None if dims is None or None in dims else Fitted(lambda x, shape: x.reshape(dims))


@into("Transpose")
def _transpose_into(x: Any, *rest: Any, perm: tuple[int, ...] | None) -> None:
    rest[-1][...] = _transpose(x, *rest[:-1], perm=perm)


@into("ConjugateTranspose")
def _conjugate_transpose_into(x: Any, *rest: Any, perm: tuple[int, ...] | None) -> None:
    np.conjugate(_transpose(x, *rest[:-1], perm=perm), rest[-1])


@into("BroadcastTo")
def _broadcast_to_into(x: Any, shape: Any, out: Any) -> None:
    out[...] = x


@kernel("InvertPermutation")
def _invert_permutation(x: Any) -> Any:
    count = np.bincount(x, minlength=x.size) if x.size and x.min() >= 0 and x.max() < x.size else None
    if x.size and (count is None or count.max() > 1):
        raise InvalidArgumentError("not a permutation", expected=f"each of 0 ... {x.size - 1} once")
    out = np.empty_like(x)
    out[x] = np.arange(x.size, dtype=x.dtype)
    return out


@kernel("BroadcastArgs")
def _broadcast_args(a: Any, b: Any) -> Any:
    return np.array(np.broadcast_shapes(tuple(a.tolist()), tuple(b.tolist())), a.dtype)


# -- fills -----------------------------------------------------------------------------------------------------------

rows({"Fill": np.full})


@kernel("ZerosLike")
def _zeros_like(x: Any, *, dtype: Any) -> Any:
    return np.zeros(np.shape(x), dtype.np) if dtype.np.kind != "O" else np.full(np.shape(x), b"", object)


@kernel("OnesLike")
def _ones_like(x: Any, *, dtype: Any) -> Any:
    return np.ones(np.shape(x), dtype.np)


@into("Fill")
def _fill_into(dims: Any, value: Any, out: Any) -> None:
    out.fill(value)


@into("ZerosLike")
def _zeros_like_into(x: Any, out: Any, *, dtype: Any) -> None:
    out.fill(0)


@into("OnesLike")
def _ones_like_into(x: Any, out: Any, *, dtype: Any) -> None:
    out.fill(1)


@kernel("Range")
def _range(start: Any, limit: Any, delta: Any) -> Any:
    if delta == 0:
        raise InvalidArgumentError("a range needs a step other than 0")
    if limit != start and (limit > start) != (delta > 0):
        raise InvalidArgumentError("a range never reaches its limit", got=f"{start}, {limit}, step {delta}")
    if start.dtype.kind in "iu":
        return np.arange(int(start), int(limit), int(delta), dtype=start.dtype)
    count = np.ceil((limit - start) / delta)
    if not np.isfinite(count):
        raise InvalidArgumentError("a range has no end", got=f"{start}, {limit}, step {delta}")
    out = np.arange(int(count)).astype(start.dtype)
    out *= delta
    out += start
    return out


@kernel("LinSpace")
def _linspace(start: Any, stop: Any, num: Any) -> Any:
    if num < 1:
        raise InvalidArgumentError("linspace makes one number or more", expected="num >= 1", got=str(num))
    return np.linspace(float(start), float(stop), int(num)).astype(start.dtype)


# -- casts -----------------------------------------------------------------------------------------------------------


@kernel("Cast")
def _cast(x: Any, *, dtype: Any) -> Any:
    target = dtype.np
    source, kind = x.dtype.kind, target.kind
    if source == "c" and kind != "c":
        if kind == "b":
            return x != 0
        x, source = x.real, "f"
    if kind in "iu" and source in "fV":
        return _truncated(x if source == "f" else x.astype(np.float32), target)
    return x.astype(target)


@into("Cast")
def _cast_into(x: Any, out: Any, *, dtype: Any) -> None:
    source, kind = x.dtype.kind, out.dtype.kind
    if source == "c" and kind == "b":
        np.not_equal(x, 0, out)
    elif source == "c" and kind != "c" or kind in "iu" and source in "fV":
        out[...] = _cast(x, dtype=dtype)
    else:
        out[...] = x


def _truncated(x: Any, target: Any) -> Any:
    """Towards zero, stopping at the limits; NaN becomes 0."""
    info = np.iinfo(target)
    low, high = float(info.min), float(info.max + 1)
    if not np.size(x) or (smallest := float(x.min())) >= low and float(x.max()) < high or low - 1 < smallest < low < 0:
        return x.astype(target)
    whole = np.trunc(x)
    out = np.where((whole >= low) & (whole < high), whole, 0).astype(target)
    out[whole >= high] = info.max
    out[whole < low] = info.min
    return out


@kernel("Bitcast", view=True)
def _bitcast(x: Any, *, dtype: Any) -> Any:
    x = np.ascontiguousarray(x) if np.ndim(x) else np.asarray(x)
    if x.dtype.itemsize > dtype.size:
        return x[..., None].view(dtype.np)
    if x.dtype.itemsize < dtype.size:
        ratio = dtype.size // x.dtype.itemsize
        if not x.ndim or x.shape[-1] != ratio:
            raise ShapeError("the elements do not fill one of the wider dtype", expected=f"a last dimension of {ratio}")
        return x.view(dtype.np)[..., 0]
    return x.view(dtype.np)


# -- joining and splitting -------------------------------------------------------------------------------------------

rows({"Concat": lambda *xs, axis: np.concatenate(xs, axis)})


@into("Concat")
def _concat_into(*arrays: Any, axis: int) -> None:
    np.concatenate(arrays[:-1], axis, arrays[-1])


@kernel("Pack")
def _pack(*xs: Any, axis: int) -> Any:
    return np.array(xs) if isinstance(xs[0], np.generic) else np.stack(xs, axis)


@into("Pack")
def _pack_into(*arrays: Any, axis: int) -> None:
    *xs, out = arrays
    if isinstance(xs[0], np.generic):
        out[...] = xs
    else:
        np.stack(xs, axis, out)


def boxed(value: Any) -> Any:
    """A single text, which NumPy hands out bare, as an array of rank 0."""
    return np.array(value, object) if type(value) is bytes else value


def _one_or_all(pieces: Sequence[Any]) -> Any:
    """What a kernel returns for a list of outputs."""
    return pieces[0] if len(pieces) == 1 else tuple(pieces)


def _cut(x: Any, axis: int, sizes: Sequence[int]) -> Any:
    """Pieces of these sizes, one after the other."""
    axis = axis + x.ndim if axis < 0 else axis
    before = (ALL,) * axis
    pieces, start = [], 0
    for size in sizes:
        pieces.append(x[(*before, slice(start, start + size))])
        start += size
    return _one_or_all(pieces)


@kernel("Unpack", view=True)
def _unpack(x: Any, *, num: int, axis: int) -> Any:
    if x.shape[axis] != num:
        raise ShapeError(f"cannot unstack into {num} tensors", expected=f"size {num}", got=f"size {x.shape[axis]}")
    return _one_or_all([boxed(v) for v in (x if axis == 0 else np.moveaxis(x, axis, 0))])


@kernel("Split", view=True)
def _split(x: Any, at: Any = None, *, axis: int, num: int, sizes: tuple[int, ...] | None) -> Any:
    total = x.shape[axis]
    found = list(sizes) if sizes is not None else None if at is None else at.tolist()
    if found is None:
        if total % num:
            raise ShapeError(f"cannot split into {num} equal pieces", expected=f"a multiple of {num}", got=str(total))
        found = [total // num] * num
    if -1 in found:
        found[found.index(-1)] = total - sum(found) - 1
    if sum(found) != total or min(found) < 0 or len(found) != num:
        raise ShapeError("the sizes of a split must add up", expected=str(total), got=str(found))
    return _cut(x, axis, found)


@kernel("ConcatGrad", view=True)
def _concat_grad(dy: Any, *shapes: Any, axis: int) -> Any:
    return _cut(dy, axis, [int(s[axis]) for s in shapes])


# -- elements moved --------------------------------------------------------------------------------------------------


@kernel("ReverseSequence")
def _reverse_sequence(x: Any, lengths: Any, *, seq_axis: int, batch_axis: int) -> Any:
    moved = np.moveaxis(x, (batch_axis, seq_axis), (0, 1))
    steps = moved.shape[1]
    if lengths.shape != moved.shape[:1]:
        raise ShapeError("each sequence needs a length", expected=str(moved.shape[0]), got=str(lengths.size))
    if lengths.size and not (lengths.min() >= 0 and lengths.max() <= steps):
        raise InvalidArgumentError("a sequence is longer than the tensor", expected=f"0 ... {steps} steps")
    step = np.arange(steps)
    last = lengths[:, None]
    order = np.where(step < last, last - 1 - step, step)
    return np.moveaxis(moved[np.arange(len(moved))[:, None], order], (0, 1), (batch_axis, seq_axis))


@kernel("Roll")
def _roll(x: Any, by: Any = None, *, shift: tuple[int, ...] | None, axis: tuple[int, ...]) -> Any:
    if shift is None:
        shift = tuple(np.atleast_1d(by).tolist())
        if len(shift) != len(axis):
            raise ShapeError("roll takes one shift for each axis", expected=str(len(axis)), got=str(len(shift)))
    return np.roll(x, shift, axis)


def _times(x: Any, multiples: Any) -> list[int]:
    times: list[int] = multiples.tolist()
    if len(times) != np.ndim(x) or any(m < 0 for m in times):
        wanted = f"{np.ndim(x)}, none negative"
        raise ShapeError("tile needs one multiple for each axis", expected=wanted, got=str(times))
    return times


rows({"Tile": lambda x, multiples: np.tile(x, _times(x, multiples))})


@into("Tile")
def _tile_into(x: Any, multiples: Any, out: Any) -> None:
    times = _times(x, multiples)
    apart = [n for m, d in zip(times, x.shape, strict=True) for n in (m, d)]
    out.reshape(apart)[...] = x.reshape([n for d in x.shape for n in (1, d)])


@kernel("TileGrad")
def _tile_grad(dy: Any, multiples: Any) -> Any:
    times = _times(dy, multiples)
    if 0 in times:
        raise InvalidArgumentError("what was tiled 0 times cannot be known", got=str(times))
    shape = [n for d, m in zip(dy.shape, times, strict=True) for n in (m, d // m)]
    repeated = tuple(2 * i for i, m in enumerate(times) if m > 1)
    folded = np.reshape(dy, shape)
    folded = np.add.reduce(folded, repeated, dy.dtype, keepdims=True) if repeated else folded
    return np.array(folded.reshape([d // m for d, m in zip(dy.shape, times, strict=True)]))


def _margins(x: Any, paddings: Any, rest: Sequence[Any]) -> Sequence[tuple[int, int]]:
    """The paddings as pairs, checked where they are known only now."""
    if paddings is not None:
        return paddings  # type: ignore[no-any-return]
    table = rest[0]
    if table.shape != (np.ndim(x), 2) or table.size and table.min() < 0:
        raise ShapeError("pad needs one pair for each axis, not negative", expected=str((np.ndim(x), 2)),
                         got=f"{table.shape}: {table.tolist()}")  # fmt: skip
    return [(a, b) for a, b in table.tolist()]


@kernel("Pad")
def _pad(x: Any, *rest: Any, paddings: Any, constant: Any) -> Any:
    pairs = _margins(x, paddings, rest)
    shape = [d + a + b for d, (a, b) in zip(np.shape(x), pairs, strict=True)]
    value = rest[1] if constant is None else constant
    plain = type(value) is not bytes and value == 0 and not (x.dtype.kind == "f" and np.signbit(value))
    out = np.zeros(shape, x.dtype) if plain else np.full(shape, value, x.dtype)
    out[tuple([slice(a, a + d) for d, (a, _) in zip(np.shape(x), pairs, strict=True)])] = x
    return out


@into("Pad")
def _pad_into(x: Any, *rest: Any, paddings: Any, constant: Any) -> None:
    out = rest[-1]
    pairs = _margins(x, paddings, rest)
    out.fill(rest[1] if constant is None else constant)
    out[tuple([slice(a, a + d) for d, (a, _) in zip(np.shape(x), pairs, strict=True)])] = x


def _check_mirror(size: int, pair: tuple[int, int], mode: str) -> None:
    limit = size - 1 if mode == "REFLECT" else size
    if max(pair) > max(limit, 0):
        wanted = f"at most {max(limit, 0)}"
        raise InvalidArgumentError(f"{mode} cannot pad by more than there is", expected=wanted, got=str(pair))


@kernel("MirrorPad")
def _mirror_pad(x: Any, *rest: Any, paddings: Any, mode: str) -> Any:
    pairs = _margins(x, paddings, rest)
    edge = int(mode == "REFLECT")
    for axis, (before, after) in enumerate(pairs):
        size = x.shape[axis]
        _check_mirror(size, (before, after), mode)
        if before or after:
            place = np.arange(-before, size + after)
            place = np.where(place < 0, edge - 1 - place, np.where(place >= size, 2 * size - 1 - edge - place, place))
            x = np.take(x, place, axis)
    return np.array(x)


@kernel("MirrorPadGrad")
def _mirror_pad_grad(dy: Any, shape: Any, *rest: Any, paddings: Any, mode: str) -> Any:
    edge = int(mode == "REFLECT")
    for axis, (before, after) in enumerate(_margins(dy, paddings, rest)):
        size = int(shape[axis])
        moved = np.moveaxis(dy, axis, 0)
        inner = moved[before : before + size].copy()
        inner[edge : edge + before] += moved[:before][::-1]
        inner[size - edge - after : size - edge] += moved[before + size :][::-1]
        dy = np.moveaxis(inner, 0, axis)
    return np.array(dy)
