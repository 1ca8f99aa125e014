"""Segments: rows that belong together by their ids are summed, multiplied, compared.

Policy: the ids of `segment_*` do not decrease, and the last of them tells how many segments there are; those of
`unsorted_segment_*` come in any order, and a negative id belongs to no segment.  A segment without rows is the neutral
element of its function (but 0 in `segment_max` and `segment_min`, as in TensorFlow 1).  Sums add the rows in the
order in which they come.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphflow import dtypes, spec
from graphflow.dtypes import as_dtype
from graphflow.errors import DTypeError, ShapeError
from graphflow.opdef import call, op
from graphflow.ops import array, compare, math
from graphflow.ops.arguments import as_tensor, check_index, check_scalar, known_integer
from graphflow.ops.casts import cast
from graphflow.ops.core import name_scope
from graphflow.ops.index import where
from graphflow.ops.inference import check_kind
from graphflow.spec import TensorSpec


def _sorted(kind: str) -> Callable[..., TensorSpec]:
    def infer(data: Any, ids: Any) -> TensorSpec:
        check_kind(data, kind)
        check_index(ids, "segment ids")
        spec.merge(ids.dims, (None,))
        if data.dims is None:
            return TensorSpec(data.dtype, None)
        if not data.dims or ids.dims is not None and not spec.compatible(ids.dims, data.dims[:1]):
            raise ShapeError(
                "each row of the data needs one id", expected=spec.describe(data.dims[:1]), got=spec.describe(ids.dims)
            )
        known = ids.hint and ids.hint[-1] is not None
        return TensorSpec(data.dtype, (ids.hint[-1] + 1 if known else None, *data.dims[1:]))

    return infer


def _unsorted(kind: str) -> Callable[..., TensorSpec]:
    def infer(data: Any, ids: Any, count: Any) -> TensorSpec:
        check_kind(data, kind)
        check_index(ids, "segment ids")
        check_index(count, "num_segments")
        check_scalar(count, "num_segments")
        if count.hint is not None and count.hint < 0:
            raise ShapeError("num_segments cannot be negative", got=str(count.hint))
        if data.dims is None or ids.dims is None:
            return TensorSpec(data.dtype, None)
        rank = len(ids.dims)
        if not spec.compatible(ids.dims, data.dims[:rank]):
            raise ShapeError(
                "the shape of the ids must be where the shape of the data begins",
                expected=f"{spec.describe(ids.dims)} and more",
                got=spec.describe(data.dims),
            )
        return TensorSpec(data.dtype, (count.hint, *data.dims[rank:]))

    return infer


def _picked(rows: Any, ids: Any) -> TensorSpec:
    check_index(ids, "segment ids")
    if rows.dims is None or ids.dims is None:
        return TensorSpec(rows.dtype, None)
    return TensorSpec(rows.dtype, (*ids.dims, *rows.dims[1:]))


@op("SegmentRows", infer=_picked, same_dtype=None)
def segment_rows(rows: Any, segment_ids: Any, name: str | None = None) -> Any:
    """The row of each id; zeros for a negative one."""
    return call((rows, segment_ids), name)


def _rows_gradient(op: Any, dy: Any) -> Any:
    rows, ids = op.inputs
    known = None if rows.dims is None else rows.dims[0]
    return unsorted_segment_sum(dy, ids, array.shape(rows)[0] if known is None else known)


segment_rows.vjp(_rows_gradient, None)


@op("SegmentSum", can_fail="always", infer=_sorted("number"), same_dtype=None, weight=30)
def segment_sum(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """The sums of the rows with the same id."""
    return call((data, segment_ids), name)


@op("UnsortedSegmentSum", can_fail="always", infer=_unsorted("number"), same_dtype=None, weight=30)
def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """The sums of the rows with the same id."""
    return call((data, segment_ids, num_segments), name)


segment_sum.vjp(lambda op, dy: segment_rows(dy, op.inputs[1]), None)
unsorted_segment_sum.vjp(lambda op, dy: segment_rows(dy, op.inputs[1]), None, None)


# -- products --------------------------------------------------------------------------------------------------------


@op("SegmentProd", can_fail="always", infer=_sorted("number"), same_dtype=None)
def segment_prod(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """The products of the rows with the same id."""
    return call((data, segment_ids), name)


@op("UnsortedSegmentProd", can_fail="always", infer=_unsorted("number"), same_dtype=None)
def unsorted_segment_prod(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """The products of the rows with the same id."""
    return call((data, segment_ids, num_segments), name)


def _prod_gradient(op: Any, dy: Any) -> Any:
    # The product of a segment's other elements: of all that are not zero, divided by this one if it is not zero
    # itself; and zero, if another one is.
    data, rest = math.conj(op.inputs[0]), op.inputs[1:]
    total, product = (segment_sum, segment_prod) if len(rest) == 1 else (unsorted_segment_sum, unsorted_segment_prod)
    is_zero = compare.equal(data, 0.0)
    own_zeros = cast(is_zero, data.dtype)
    zeros = segment_rows(total(own_zeros, *rest), rest[0])
    divisor = where(is_zero, 1.0, data)
    share = math.realdiv(segment_rows(math.multiply(dy, product(divisor, *rest)), rest[0]), divisor)
    return where(compare.equal(zeros, own_zeros), share, 0.0)


segment_prod.vjp(_prod_gradient, None)
unsorted_segment_prod.vjp(_prod_gradient, None, None)


# -- the largest and the smallest ------------------------------------------------------------------------------------


@op("SegmentMax", can_fail="always", infer=_sorted("real"), same_dtype=None)
def segment_max(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """The largest of the rows with the same id, column by column."""
    return call((data, segment_ids), name)


@op("SegmentMin", can_fail="always", infer=_sorted("real"), same_dtype=None)
def segment_min(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """The smallest of the rows with the same id, column by column."""
    return call((data, segment_ids), name)


@op("UnsortedSegmentMax", can_fail="always", infer=_unsorted("real"), same_dtype=None)
def unsorted_segment_max(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """The largest of the rows with the same id; the lowest number of the dtype where there is none."""
    return call((data, segment_ids, num_segments), name)


@op("UnsortedSegmentMin", can_fail="always", infer=_unsorted("real"), same_dtype=None)
def unsorted_segment_min(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """The smallest of the rows with the same id; the highest number of the dtype where there is none."""
    return call((data, segment_ids, num_segments), name)


def _extremum_gradient(op: Any, dy: Any) -> Any:
    data, rest = op.inputs[0], op.inputs[1:]
    total = segment_sum if len(rest) == 1 else unsorted_segment_sum
    chosen = compare.equal(data, segment_rows(op.outputs[0], rest[0]))
    shares = math.div_no_nan(dy, total(cast(chosen, data.dtype), *rest))
    spread = segment_rows(shares, rest[0])
    return where(chosen, spread, 0.0)


segment_max.vjp(_extremum_gradient, None)
segment_min.vjp(_extremum_gradient, None)
unsorted_segment_max.vjp(_extremum_gradient, None, None)
unsorted_segment_min.vjp(_extremum_gradient, None, None)


# -- means and counts ------------------------------------------------------------------------------------------------


def segment_mean(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """The means of the rows with the same id; 0 where there is none."""
    with name_scope(name, "SegmentMean"):
        data, ids = as_tensor(data), as_tensor(segment_ids)
        return math.div_no_nan(segment_sum(data, ids), segment_sum(array.ones_like(data), ids))


def unsorted_segment_mean(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """The means of the rows with the same id; 0 where there is none."""
    with name_scope(name, "UnsortedSegmentMean"):
        data, ids, count = as_tensor(data), as_tensor(segment_ids), as_tensor(num_segments)
        rows = unsorted_segment_sum(array.ones_like(data), ids, count)
        return math.div_no_nan(unsorted_segment_sum(data, ids, count), rows)


def unsorted_segment_sqrt_n(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """The sums of the rows with the same id, divided by the square root of their number."""
    with name_scope(name, "UnsortedSegmentSqrtN"):
        data, ids, count = as_tensor(data), as_tensor(segment_ids), as_tensor(num_segments)
        rows = unsorted_segment_sum(array.ones_like(data), ids, count)
        return math.div_no_nan(unsorted_segment_sum(data, ids, count), math.sqrt(rows))


def _counted(values: Any, weights: Any = None, *, low: int, high: int | None, dtype: dtypes.DType) -> TensorSpec:
    check_index(values, "the values to count")
    if weights is not None and not spec.compatible(values.dims, weights.dims):
        raise ShapeError(
            "each value needs one weight", expected=spec.describe(values.dims), got=spec.describe(weights.dims)
        )
    return TensorSpec(dtype if weights is None else weights.dtype, (low if low == high else None,))


@op("Bincount", infer=_counted, same_dtype=None, differentiable=False)
def _bincount(values: Any, weights: Any, low: int, high: int | None, dtype: Any, name: str | None = None) -> Any:
    return call((values,) if weights is None else (values, weights), name, low=low, high=high, dtype=dtype)


def bincount(
    arr: Any,
    weights: Any = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = dtypes.int32,
    name: str | None = None,
) -> Any:
    """How often each of 0, 1, 2, ... occurs in `arr`, or the sum of the weights where it does.

    The result is as long as the largest value asks for, within `minlength` and `maxlength`; values beyond are ignored.
    """
    low = 0 if minlength is None else known_integer(minlength, "minlength")
    high = None if maxlength is None else known_integer(maxlength, "maxlength")
    kind = as_dtype(dtype)
    if not kind.is_numeric:
        raise DTypeError("counts are numbers", got=kind.name)
    return _bincount(arr, weights, low if high is None else min(low, high), high, kind, name=name)
