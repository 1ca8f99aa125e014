"""Running sums and products along an axis.

Policy: `exclusive` leaves out the element itself, `reverse` runs from the end.  Gradients divide by nothing, so zeros
do no harm.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow import spec
from graphflow.errors import ShapeError
from graphflow.opdef import call, op
from graphflow.ops.arguments import known_integer
from graphflow.ops.inference import check_kind
from graphflow.ops.math import add, conj, multiply
from graphflow.spec import TensorSpec


def _along(x: Any, *others: Any, axis: int, **attrs: Any) -> TensorSpec:
    check_kind(x, "number")
    dims = x.dims
    for other in others:
        if not spec.compatible(dims, other.dims):
            raise ShapeError("the two need one shape", expected=spec.describe(dims), got=spec.describe(other.dims))
        dims = spec.merge(dims, other.dims)
    if dims is not None:
        spec.normal_axis(axis, len(dims))
    return TensorSpec(x.dtype, dims)


@op("Cumsum", infer=_along, weight=40)
def cumsum(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Any:
    """The running sum along the axis."""
    return call((x,), name, axis=known_integer(axis), exclusive=bool(exclusive), reverse=bool(reverse))


@op("Cumprod", infer=_along, weight=40)
def cumprod(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Any:
    """The running product along the axis."""
    return call((x,), name, axis=known_integer(axis), exclusive=bool(exclusive), reverse=bool(reverse))


@op("LinearRecurrence", infer=_along)
def linear_recurrence(a: Any, b: Any, axis: int, reverse: bool = False, name: str | None = None) -> Any:
    """s along the axis, with s[0] = 0 and s[i + 1] = a[i] * s[i] + b[i]; `reverse` runs from the end."""
    return call((a, b), name, axis=axis, reverse=reverse)


def _back(op: Any, a: Any, b: Any) -> Any:
    """The recurrence that runs the other way."""
    return linear_recurrence(a, b, op.attrs["axis"], not op.attrs["reverse"])


def _cumsum_gradient(op: Any, dy: Any) -> Any:
    return cumsum(dy, op.attrs["axis"], op.attrs["exclusive"], not op.attrs["reverse"])


def _cumprod_gradient(op: Any, dy: Any) -> Any:
    # y[k] = x[0] ... x[k], so dx[i] = x[0] ... x[i-1] * sum over k >= i of x[i+1] ... x[k] * dy[k].
    x, attrs = conj(op.inputs[0]), op.attrs
    before = cumprod(x, attrs["axis"], True, attrs["reverse"])
    if attrs["exclusive"]:
        return multiply(before, _back(op, x, dy))
    return multiply(before, add(dy, _back(op, x, multiply(x, dy))))


cumsum.vjp(_cumsum_gradient)
cumprod.vjp(_cumprod_gradient)
linear_recurrence.vjp(
    lambda op, d: multiply(conj(op.outputs[0]), _back(op, conj(op.inputs[0]), d)),
    lambda op, d: _back(op, conj(op.inputs[0]), d),
)
