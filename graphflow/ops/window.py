"""Windows that move over images: the attributes that convolutions and pooling share, and the shapes they lead to.

Policy: users write attributes as TensorFlow 1 wants them (four numbers, in the order of the data format), as one
number per spatial axis, or as one number for all; graphflow keeps one number per spatial axis.  Checking what has
been checked changes nothing, so a gradient passes the attributes of its op on as they are.

State: none.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NoReturn

from graphflow import spec
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.ops.inference import check_kind, hinted_dims
from graphflow.spec import Dims

# By the number of spatial axes: channels last, channels first.
FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}
_ONES = {(rank, full): (1,) * rank for rank in FORMATS for full in ((1,) * rank, (1,) * (rank + 2))}
_AXES = {"D": "depth", "H": "height", "W": "width", "C": "channels", "N": "batch"}


def data_format_of(given: Any, rank: int) -> str:
    """The name of the layout; None means channels last."""
    allowed = FORMATS[rank]
    if given in allowed:
        return str(given)
    if given is None:
        return allowed[0]
    if rank == 1 and given in FORMATS[2]:  # how TensorFlow 1 once spelt it for conv1d
        return allowed[FORMATS[2].index(given)]
    raise InvalidArgumentError("unknown data_format", expected=" or ".join(map(repr, allowed)), got=repr(given))


def channels_first(data_format: str) -> bool:
    """Whether the channels come right after the batch."""
    return data_format[1] == "C"


def per_axis(given: Any, rank: int, data_format: str, what: str) -> tuple[int, ...]:
    """One integer >= 1 for each spatial axis; `what` is the attribute's name."""
    if type(given) is tuple and (rank, given) in _ONES:
        return _ONES[rank, given]
    if given is None:
        _refuse(what, rank, data_format, given)
    if isinstance(given, str) or not hasattr(given, "__iter__") or not hasattr(given, "__len__"):
        numbers: list[Any] = [given] * rank
    else:
        numbers = list(given)
    try:
        sizes = [operator.index(n) for n in numbers]
    except TypeError:
        if hasattr(given, "op"):
            raise
        raise DTypeError(f"{what} are integers", got=repr(given)) from None
    if len(sizes) == rank + 2:
        first = channels_first(data_format)
        by_channels = {"first": sizes[1], "last": sizes[-1]}
        if (sizes[0], by_channels["first" if first else "last"]) != (1, 1):
            other = (sizes[0], by_channels["last" if first else "first"]) == (1, 1)
            raise InvalidArgumentError(
                f"{what} over the batch or the channels are not possible",
                expected=f"1 for N and for C, in the order {data_format}",
                got=str(sizes),
                hint=f"this is the order of data_format={FORMATS[rank][not first]!r}" if other else None,
            )
        sizes = sizes[2:] if first else sizes[1:-1]
    if len(sizes) != rank or min(sizes) < 1:
        _refuse(what, rank, data_format, given)
    return tuple(sizes)


def _refuse(what: str, rank: int, data_format: str, given: Any) -> NoReturn:
    raise InvalidArgumentError(
        f"{what} must be one integer >= 1 for each axis of {data_format}",
        expected=f"{rank + 2} numbers as in {[1] + [2] * rank + [1]}, {rank} for the spatial axes, or one for them all"
        if rank > 1
        else "3 numbers, or one",
        got=repr(given),
    )


def padding_of(given: Any, rank: int, data_format: str) -> Any:
    """The padding as "SAME", "VALID", or a pair (before, after) for each spatial axis."""
    if isinstance(given, str) and given in ("SAME", "VALID"):
        return given
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        wanted = str(given).upper()
        raise InvalidArgumentError(
            "unknown padding",
            expected="'SAME', 'VALID', or a pair (before, after) for each axis",
            got=repr(given),
            hint=f"did you mean {wanted!r}?" if wanted in ("SAME", "VALID") else None,
        )
    try:
        pairs = [tuple(operator.index(n) for n in pair) for pair in given]
    except TypeError:
        raise DTypeError("explicit padding is made of pairs of integers", got=repr(given)) from None
    if len(pairs) == rank + 2:
        first = channels_first(data_format)
        if (pairs[0], pairs[1] if first else pairs[-1]) != ((0, 0), (0, 0)):
            raise InvalidArgumentError(
                "the batch and the channels cannot be padded",
                expected=f"(0, 0) for N and for C, in the order {data_format}",
                got=repr(given),
                hint="tf.pad pads any axis",
            )
        pairs = pairs[2:] if first else pairs[1:-1]
    if len(pairs) != rank or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise InvalidArgumentError(
            f"explicit padding is a pair (before, after), not negative, for each axis of {data_format}", got=repr(given)
        )
    return tuple(pairs)


def check_images(x: Any, what: str, data_format: str, kind: str = "float") -> None:
    """Raise unless `x` may be a batch of images in that layout."""
    check_kind(x, kind)
    if x.dims is not None and len(x.dims) != len(data_format):
        axes = ", ".join(_AXES[letter] for letter in data_format)
        raise ShapeError(
            f"the {what} has the wrong rank",
            expected=f"rank {len(data_format)}: [{axes}]",
            got=spec.describe(x.dims),
            hint="tf.expand_dims adds a batch or channel axis, tf.reshape makes images of vectors",
        )


def spatial_dims(dims: Dims, data_format: str) -> Sequence[int | None]:
    """The sizes between batch and channels."""
    if dims is None:
        return (None,) * (len(data_format) - 2)
    return dims[2:] if channels_first(data_format) else dims[1:-1]


def channels(dims: Dims, data_format: str) -> int | None:
    """The number of channels."""
    if dims is None:
        return None
    return dims[1] if channels_first(data_format) else dims[-1]


def images(batch: int | None, sizes: Sequence[int | None], channels: int | None, data_format: str) -> Dims:
    """The dims of a batch of images."""
    return (batch, channels, *sizes) if channels_first(data_format) else (batch, *sizes, channels)


def moved_over(
    dims: Dims,
    window: Sequence[int | None],
    data_format: str,
    strides: Sequence[int],
    padding: Any,
    dilations: Sequence[int] | None = None,
) -> list[int | None]:
    """How many places a window has along each spatial axis."""
    out: list[int | None] = []
    for i, size in enumerate(spatial_dims(dims, data_format)):
        pad = padding if isinstance(padding, str) else padding[i]
        dilation = dilations[i] if dilations else 1
        taps = window[i]
        if taps is None and padding != "SAME":
            out.append(None)
            continue
        try:
            out.append(spec.window_output(size, taps or 0, strides[i], dilation, pad))
        except ShapeError as error:
            letters = data_format.replace("N", "").replace("C", "")
            where = f"along the {_AXES[letters[i]]} of {spec.describe(dims)}"
            error.got = f"{error.got} {where}" + (f" (window {taps}, dilation {dilation})" if dilation > 1 else "")
            error.expected = (error.expected or "").replace("along this axis", "there")
            raise
    return out


def sizes_as_dims(sizes: Any, rank: int, what: str) -> tuple[int | None, ...]:
    """The dims that a vector of `rank` sizes stands for, as far as they are known."""
    dims = hinted_dims(sizes, what)
    if dims is None:
        return (None,) * rank
    if len(dims) != rank:
        raise ShapeError(f"the {what} has the wrong length", expected=f"{rank} sizes", got=spec.describe(dims))
    if any(d is not None and d < 0 for d in dims):
        raise ShapeError(
            f"the {what} must be complete",
            expected="sizes >= 0",
            got=str(list(dims)),
            hint="an unknown batch size is tf.shape(x)[0]",
        )
    return dims


def agreeing(known: Sequence[Dims], problem: str, hint: str | None = None) -> Dims:
    """The shape that all of them describe, or an error that says what does not fit."""
    out: Dims = None
    for dims in known:
        if not spec.compatible(out, dims):
            raise ShapeError(problem, expected=spec.describe(out), got=spec.describe(dims), hint=hint)
        out = spec.merge(out, dims)
    return out
