"""Reductions: what is left of a tensor when some of its axes are summed, multiplied, compared away.

Policy: axes are known while the graph is built, and may be negative; None means all of them, and an empty list none.
Nothing of nothing is the neutral element: 0, 1, -inf, True.  The mean of integers is an integer, rounded towards zero,
as in TensorFlow 1.  Where several elements are the largest, they share the gradient of `reduce_max` equally.

State: none.
"""

from __future__ import annotations

import math as scalar
from collections.abc import Callable, Sequence
from typing import Any

from graphflow import dtypes, spec
from graphflow.dtypes import as_dtype
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.opdef import call, op
from graphflow.ops import array, compare, core, math, scans
from graphflow.ops.arguments import as_tensor, known_integer, known_integers
from graphflow.ops.casts import cast
from graphflow.ops.core import name_scope
from graphflow.ops.index import where
from graphflow.ops.inference import check_kind, hinted_dims, reduction
from graphflow.spec import TensorSpec


def _over(axis: Any, keepdims: Any, reduction_indices: Any, keep_dims: Any) -> dict[str, Any]:
    """The attributes of a reduction, from the newer or the older spelling of its arguments."""
    if axis is not None and reduction_indices is not None or keepdims is not None and keep_dims is not None:
        raise InvalidArgumentError(
            "an argument is given twice", expected="axis or reduction_indices, keepdims or keep_dims, not both"
        )
    axis = reduction_indices if axis is None else axis
    return {
        "axis": None if axis is None else known_integers(axis),
        "keepdims": bool(keep_dims if keepdims is None else keepdims),
    }


def _with_hint(fold: Callable[[Sequence[int]], int], kind: str = "number") -> Callable[..., TensorSpec]:
    """Inference of a reduction that is used in shape arithmetic, such as `reduce_prod(tf.shape(x)[1:])`."""
    plain = reduction(kind)

    def infer(x: Any, *, axis: tuple[int, ...] | None, keepdims: bool) -> TensorSpec:
        known = plain(x, axis=axis, keepdims=keepdims)
        if isinstance(x.hint, tuple) and None not in x.hint and known.dims == () and x.hint:
            value = fold(x.hint)
            if x.dtype.min <= value <= x.dtype.max:
                return TensorSpec(known.dtype, (), value)
        return known

    return infer


# -- sums and means --------------------------------------------------------------------------------------------------


@op("Sum", infer=_with_hint(sum), reduces=True)
def reduce_sum(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Any:
    """The sum over the axes."""
    return call((input_tensor,), name, **_over(axis, keepdims, reduction_indices, keep_dims))


@op("Mean", infer=reduction(), reduces=True)
def reduce_mean(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Any:
    """The mean over the axes."""
    return call((input_tensor,), name, **_over(axis, keepdims, reduction_indices, keep_dims))


def _spread_dims(x: Any, shape: Any, *, axis: tuple[int, ...] | None, keepdims: bool, mean: bool) -> TensorSpec:
    dims = hinted_dims(shape)
    if dims is not None and x.dims is not None:
        wanted = spec.reduced(dims, axis, keepdims)
        if not spec.compatible(wanted, x.dims):
            raise ShapeError("not what the reduction gives", expected=spec.describe(wanted), got=spec.describe(x.dims))
    return TensorSpec(x.dtype, dims)


@op("Spread", infer=_spread_dims, same_dtype=None)
def spread(x: Any, shape: Any, axis: Any, keepdims: bool, mean: bool = False, name: str | None = None) -> Any:
    """The gradient of a sum: each element of `x` at all the places of `shape` that were summed to it.

    With `mean`, divided by the number of these places: the gradient of a mean.
    """
    return call((x, shape), name, axis=axis, keepdims=keepdims, mean=mean)


def _spread_like(op: Any, dy: Any, mean: bool = False) -> Any:
    return spread(dy, array.sizes_of_input(op.inputs[0]), op.attrs["axis"], op.attrs["keepdims"], mean)


def _gathered(op: Any, dy: Any) -> Any:
    back = reduce_mean if op.attrs["mean"] else reduce_sum
    return back(dy, op.attrs["axis"], op.attrs["keepdims"])


reduce_sum.vjp(_spread_like)
reduce_mean.vjp(lambda op, dy: _spread_like(op, dy, True))
spread.vjp(_gathered, None)


# -- products --------------------------------------------------------------------------------------------------------


@op("Prod", infer=_with_hint(scalar.prod))
def reduce_prod(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Any:
    """The product over the axes."""
    return call((input_tensor,), name, **_over(axis, keepdims, reduction_indices, keep_dims))


def _product_of_others(x: Any, axes: Sequence[int]) -> Any:
    """For each element the product of all others along the axes; no division, so zeros do no harm."""
    found = None
    for axis in axes:
        before = scans.cumprod(x, axis, exclusive=True)
        beside = math.multiply(before, scans.cumprod(x, axis, exclusive=True, reverse=True))
        found = beside if found is None else math.multiply(found, beside)
        if axis != axes[-1]:
            x = reduce_prod(x, axis, keepdims=True)
    return array.ones_like(x) if found is None else found


def _prod_gradient(op: Any, dy: Any) -> Any:
    x, axes = math.conj(op.inputs[0]), op.attrs["axis"]
    if axes is None:
        others = array.reshape(_product_of_others(array.reshape(x, [-1]), (0,)), array.shape(x))
    else:
        others = _product_of_others(x, axes)
    return math.multiply(_spread_like(op, dy), others)


reduce_prod.vjp(_prod_gradient)


# -- the largest and the smallest ------------------------------------------------------------------------------------


@op("Max", infer=_with_hint(max, "real"), reduces=True)
def reduce_max(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Any:
    """The largest element over the axes; NaN where there is one."""
    return call((input_tensor,), name, **_over(axis, keepdims, reduction_indices, keep_dims))


@op("Min", infer=_with_hint(min, "real"), reduces=True)
def reduce_min(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Any:
    """The smallest element over the axes; NaN where there is one."""
    return call((input_tensor,), name, **_over(axis, keepdims, reduction_indices, keep_dims))


@op("ExtremumGrad", infer=lambda x, y, dy, *, axis, keepdims: TensorSpec(x.dtype, x.dims))
def _extremum_grad(x: Any, y: Any, dy: Any, axis: Any, keepdims: bool, name: str | None = None) -> Any:
    """The gradient of `reduce_max` and `reduce_min`: dy, in equal shares where x is y, and 0 elsewhere."""
    return call((x, y, dy), name, axis=axis, keepdims=keepdims)


def _extremum_gradient(op: Any, dy: Any) -> Any:
    return _extremum_grad(op.inputs[0], op.outputs[0], dy, **op.attrs)


def _shares_gradient(op: Any, d: Any) -> Any:
    x, y, dy = op.inputs
    shares = _extremum_grad(x, y, array.ones_like(dy), **op.attrs)
    return reduce_sum(math.multiply(d, shares), **op.attrs)


reduce_max.vjp(_extremum_gradient)
reduce_min.vjp(_extremum_gradient)
_extremum_grad.vjp(None, None, _shares_gradient)


def _chosen(x: Any, *, axis: int, output_type: dtypes.DType) -> TensorSpec:
    if not (x.dtype.is_bool or x.dtype.kind in ("uint", "int", "float")):
        check_kind(x, "real")
    dims = spec.reduced(x.dims, (axis,), False)
    if dims is not None and x.dims[axis] == 0 and 0 not in dims:
        raise ShapeError(f"axis {axis} has no elements to choose from", got=spec.describe(x.dims))
    return TensorSpec(output_type, dims)


def _index_type(output_type: Any) -> dtypes.DType:
    found = as_dtype(output_type)
    if found not in (dtypes.int32, dtypes.int64):
        raise DTypeError("positions are integers", expected="int32 or int64", got=found.name)
    return found


@op("ArgMax", infer=_chosen, differentiable=False)
def argmax(
    input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = dtypes.int64
) -> Any:
    """Where along the axis (the first, if none is given) the largest element is; the first of several."""
    axis = dimension if axis is None else axis
    return call((input,), name, axis=0 if axis is None else known_integer(axis), output_type=_index_type(output_type))


@op("ArgMin", infer=_chosen, differentiable=False)
def argmin(
    input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = dtypes.int64
) -> Any:
    """Where along the axis (the first, if none is given) the smallest element is; the first of several."""
    axis = dimension if axis is None else axis
    return call((input,), name, axis=0 if axis is None else known_integer(axis), output_type=_index_type(output_type))


def arg_max(input: Any, dimension: Any, output_type: Any = dtypes.int64, name: str | None = None) -> Any:
    """`argmax` with TensorFlow's older order of arguments."""
    return argmax(input, dimension, name=name, output_type=output_type)


def arg_min(input: Any, dimension: Any, output_type: Any = dtypes.int64, name: str | None = None) -> Any:
    """`argmin` with TensorFlow's older order of arguments."""
    return argmin(input, dimension, name=name, output_type=output_type)


# -- all and any -----------------------------------------------------------------------------------------------------


@op("All", infer=reduction("bool"), differentiable=False)
def reduce_all(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Any:
    """Whether all elements over the axes are true."""
    return call((input_tensor,), name, **_over(axis, keepdims, reduction_indices, keep_dims))


@op("Any", infer=reduction("bool"), differentiable=False)
def reduce_any(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Any:
    """Whether any element over the axes is true."""
    return call((input_tensor,), name, **_over(axis, keepdims, reduction_indices, keep_dims))


# -- made of others --------------------------------------------------------------------------------------------------


def reduce_logsumexp(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Any:
    """log(sum(exp(x))) over the axes, without overflow."""
    over = _over(axis, keepdims, reduction_indices, keep_dims)
    axes = over["axis"]
    with name_scope(name, "ReduceLogSumExp"):
        x = as_tensor(input_tensor)
        top = reduce_max(x, axes, True)
        finite = where(compare.is_finite(top), top, 0.0)
        shift = core.stop_gradient(finite)
        found = math.log(reduce_sum(math.exp(math.subtract(x, shift)), axes, True))
        found = math.add(found, shift)
        if over["keepdims"] or axes == ():
            return found
        return array.reshape(found, []) if axes is None else array.squeeze(found, axes)


def reduce_variance(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: str | None = None) -> Any:
    """The mean over the axes of the squared distance from the mean."""
    with name_scope(name, "reduce_variance"):
        x = as_tensor(input_tensor)
        check_kind(x, "float")
        return reduce_mean(math.squared_difference(x, reduce_mean(x, axis, True)), axis, keepdims)


def reduce_std(input_tensor: Any, axis: Any = None, keepdims: Any = None, name: str | None = None) -> Any:
    """The square root of the variance over the axes."""
    with name_scope(name, "reduce_std"):
        return math.sqrt(reduce_variance(input_tensor, axis, keepdims))


def count_nonzero(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    dtype: Any = dtypes.int64,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Any:
    """How many elements over the axes are not zero (not False, not the empty text)."""
    over = _over(axis, keepdims, reduction_indices, keep_dims)
    with name_scope(name, "count_nonzero"):
        x = as_tensor(input_tensor)
        different = compare.not_equal(x, array.zeros_like(x))
        return cast(reduce_sum(cast(different, dtypes.int64), **over), dtype)
