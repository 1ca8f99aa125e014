"""Sums, means, extremes, orders and products of tensors, in PyTorch's spelling.

Policy: `dim` and `keepdim`, integers are summed as int64, variances divide by n - 1, and `max(dim)` returns values and
indices; the work is done by the library's own ops.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphflow import dtypes
from graphflow.eager import pointwise
from graphflow.eager.mode import placed
from graphflow.eager.promotion import countable, pair
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import DTypeError, InvalidArgumentError, OutOfRangeError, ShapeError, shown
from graphflow.ops import arithmetic, arrange, array, blocks, casts, contraction, linalg, ordering, reduce, scans


class Found(NamedTuple):
    """Values along a dimension, and where they were."""

    values: Any
    indices: Any


def axis_of(x: Any, dim: Any) -> int:
    """A dimension of a tensor, counted from the front."""
    rank = len(x.dims)
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise DTypeError("a dimension is an integer", got=shown(dim), hint="dim=0, or dim=(0, 1)")
    number = int(dim)
    if not -max(rank, 1) <= number < max(rank, 1):
        raise OutOfRangeError(
            f"the tensor has no dimension {number}",
            expected=f"{-max(rank, 1)} to {max(rank, 1) - 1}",
            got=f"a tensor of shape {list(x.dims)}",
        )
    return number % rank if rank else 0


def axes_of(x: Any, dim: Any) -> Any:
    """Several dimensions; None means all."""
    if dim is None or isinstance(dim, (tuple, list)) and not dim:
        return None
    if not x.dims:
        for d in dim if isinstance(dim, (tuple, list)) else [dim]:
            axis_of(x, d)
        return None
    return [axis_of(x, d) for d in dim] if isinstance(dim, (tuple, list)) else axis_of(x, dim)


def _in(x: Any, dtype: Any) -> Any:
    return countable(x) if dtype is None else casts.cast(x, dtype)


@placed
def sum_(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum over dimensions; of integers and bools it is an int64."""
    return reduce.reduce_sum(_in(input, dtype), axes_of(input, dim), keepdim)


@placed
def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean over dimensions."""
    x = input if dtype is None else casts.cast(input, dtype)
    if not (x.dtype.is_floating or x.dtype.is_complex):
        raise DTypeError("the mean of integers is no integer", got=x.dtype.name, hint="x.float().mean()")
    return reduce.reduce_mean(x, axes_of(input, dim), keepdim)


@placed
def prod(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The product over a dimension, or of all elements."""
    return reduce.reduce_prod(_in(input, dtype), axes_of(input, dim), keepdim)


def _count(x: Any, axes: Any) -> int:
    total = 1
    for axis in range(len(x.dims)) if axes is None else axes if isinstance(axes, list) else [axes]:
        total *= x.dims[axis]
    return total


@placed
def var(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Any:
    """The variance over dimensions, with n - 1 in the denominator unless `correction` (or `unbiased`) says else."""
    if isinstance(dim, bool):  # x.var(False), as PyTorch reads it
        dim, unbiased = None, dim
    less = (1 if unbiased else 0) if correction is None else correction
    axes = axes_of(input, dim)
    found = reduce.reduce_variance(input, axes, keepdim)
    count = _count(input, axes)
    if less == 0:
        return found
    return arithmetic.multiply(found, count / (count - less) if count > less else float("nan"))


@placed
def std(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Any:
    """The square root of the variance."""
    return pointwise.FUNCTIONS["sqrt"](var(input, dim, unbiased, keepdim, correction=correction))


@placed
def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    """log(sum(exp(input))) over dimensions, without overflow."""
    return reduce.reduce_logsumexp(input, axes_of(input, dim), keepdim)


@placed
def norm(input: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    """The p-norm over dimensions, or of all elements."""
    order = "euclidean" if p in (2, 2.0, "fro", None) else p
    axes = axes_of(input, dim)
    return linalg.norm(input, order, [axes] if isinstance(axes, int) else axes, keepdim)


def _truth(x: Any) -> Any:
    return x if x.dtype.is_bool else casts.cast(x, dtypes.bool_)


@placed
def any_(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether an element over the dimensions is true."""
    return reduce.reduce_any(_truth(input), axes_of(input, dim), keepdim)


@placed
def all_(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether all elements over the dimensions are true."""
    return reduce.reduce_all(_truth(input), axes_of(input, dim), keepdim)


# -- extremes --------------------------------------------------------------------------------------------------------


def _place(op: Callable[..., Any], input: Any, dim: Any, keepdim: bool) -> Any:
    if dim is None:
        found = op(array.reshape(input, [-1]), 0)
        return array.reshape(found, [1] * len(input.dims)) if keepdim else found
    axis = axis_of(input, dim)
    if not input.dims:
        return casts.cast(array.zeros_like(input), dtypes.int64)
    found = op(input, axis)
    return array.expand_dims(found, axis) if keepdim else found


@placed
def argmax(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Where along a dimension (in the flattened tensor, if none is given) the largest element is."""
    return _place(reduce.argmax, input, dim, keepdim)


@placed
def argmin(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Where along a dimension (in the flattened tensor, if none is given) the smallest element is."""
    return _place(reduce.argmin, input, dim, keepdim)


def _extreme(total: Any, place: Any, elementwise: str, input: Any, dim: Any, keepdim: bool) -> Any:
    if isinstance(dim, EagerTensor):
        return pointwise.FUNCTIONS[elementwise](input, dim)
    if dim is None:
        return total(input)
    axis = axis_of(input, dim)
    indices = _place(place, input, axis, keepdim=True)
    values = gather(input, axis, indices) if input.dims else input
    if not keepdim and input.dims:
        values, indices = array.squeeze(values, [axis]), array.squeeze(indices, [axis])
    return Found(values, indices)


@placed
def max_(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; along a dimension the values and their indices; of two tensors the larger elements."""
    return _extreme(reduce.reduce_max, reduce.argmax, "maximum", input, dim, keepdim)


@placed
def min_(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; along a dimension the values and their indices; of two tensors the smaller elements."""
    return _extreme(reduce.reduce_min, reduce.argmin, "minimum", input, dim, keepdim)


@placed
def amax(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element over dimensions."""
    return reduce.reduce_max(input, axes_of(input, dim), keepdim)


@placed
def amin(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element over dimensions."""
    return reduce.reduce_min(input, axes_of(input, dim), keepdim)


@placed
def gather(input: Any, dim: Any, index: Any) -> Any:
    """The elements along a dimension that `index`, of the same rank, names."""
    return ordering._take_along(input, index, axis_of(input, dim))


# -- order -----------------------------------------------------------------------------------------------------------


@placed
def sort(input: Any, dim: Any = -1, descending: bool = False, stable: bool = True) -> Found:
    """The elements in order along a dimension, and where they were."""
    values, indices = ordering._sort(input, axis_of(input, dim), bool(descending))
    return Found(values, casts.cast(indices, dtypes.int64))


@placed
def argsort(input: Any, dim: Any = -1, descending: bool = False, stable: bool = True) -> Any:
    """The indices that put the elements in order along a dimension."""
    return sort(input, dim, descending).indices


@placed
def topk(input: Any, k: int, dim: Any = -1, largest: bool = True, sorted: bool = True) -> Found:
    """The k largest elements along a dimension, largest first, and where they were; or the smallest."""
    axis = axis_of(input, dim)
    if input.dims and not 0 <= k <= input.dims[axis]:
        raise OutOfRangeError("topk finds as many as there are", expected=f"at most {input.dims[axis]}", got=str(k))
    if axis == len(input.dims) - 1 and largest:
        values, indices = ordering.top_k(input, k)
        return Found(values, casts.cast(indices, dtypes.int64))
    values, indices = sort(input, dim, descending=largest)
    kept = (slice(None),) * axis + (slice(0, k),)
    return Found(values[kept], indices[kept])


@placed
def median(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The middle element, the lower one of two; along a dimension the values and their indices."""
    if dim is None:
        flat = array.reshape(input, [-1])
        return ordering.sort(flat)[(flat.dims[0] - 1) // 2]
    axis = axis_of(input, dim)
    values, indices = sort(input, axis)
    at = (input.dims[axis] - 1) // 2
    kept = (slice(None),) * axis + (slice(at, at + 1) if keepdim else at,)
    return Found(values[kept], indices[kept])


@placed
def cumsum(input: Any, dim: Any, *, dtype: Any = None) -> Any:
    """The sums of the first elements along a dimension."""
    return scans.cumsum(_in(input, dtype), axis_of(input, dim))


@placed
def cumprod(input: Any, dim: Any, *, dtype: Any = None) -> Any:
    """The products of the first elements along a dimension."""
    return scans.cumprod(_in(input, dtype), axis_of(input, dim))


@placed
def count_nonzero(input: Any, dim: Any = None) -> Any:
    """How many elements over dimensions are not zero."""
    return reduce.count_nonzero(input, axes_of(input, dim))


# -- products of matrices --------------------------------------------------------------------------------------------


def _same_dtype(a: Any, b: Any) -> None:
    if a.dtype is not b.dtype:
        raise DTypeError(
            "matrices of different dtypes are not multiplied",
            expected=a.dtype.name,
            got=b.dtype.name,
            hint=f"y.to({a.dtype.name})",
        )


@placed
def matmul(input: Any, other: Any) -> Any:
    """The matrix product; vectors count as a row on the left and as a column on the right; batches broadcast."""
    a, b = (input, other) if isinstance(input, EagerTensor) and isinstance(other, EagerTensor) else pair(input, other)
    ranks = len(a.dims), len(b.dims)
    if 0 in ranks:
        raise ShapeError("a scalar is no matrix", got=f"shapes {list(a.dims)} and {list(b.dims)}", hint="x * y")
    _same_dtype(a, b)
    if ranks[0] > 1 and ranks[1] > 1:
        return linalg.matmul(a, b)
    row = array.expand_dims(a, 0) if ranks[0] == 1 else a
    column = array.expand_dims(b, 1) if ranks[1] == 1 else b
    found = linalg.matmul(row, column)
    return array.squeeze(found, [axis for axis, rank in ((-2, ranks[0]), (-1, ranks[1])) if rank == 1])


def _product(ranks: tuple[int, int], name: str) -> Callable[..., Any]:
    def function(input: Any, mat2: Any) -> Any:
        if (len(input.dims), len(mat2.dims)) != ranks:
            raise ShapeError(
                f"{name} multiplies tensors of ranks {ranks[0]} and {ranks[1]}",
                got=f"shapes {list(input.dims)} and {list(mat2.dims)}",
                hint="torch.matmul takes vectors, matrices and batches",
            )
        return matmul(input, mat2)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The product of tensors of ranks {ranks[0]} and {ranks[1]}."
    return placed(function)


@placed
def outer(input: Any, vec2: Any) -> Any:
    """Each element of one vector times each of the other."""
    return arithmetic.multiply(*pair(array.expand_dims(input, 1), array.expand_dims(vec2, 0)))


@placed
def einsum(equation: str, *operands: Any) -> Any:
    """Products and sums that are written as letters, such as "ij,jk->ik"."""
    several: Sequence[Any] = operands
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        several = operands[0]
    if not isinstance(equation, str):
        raise InvalidArgumentError(
            "einsum begins with its equation", got=shown(equation), hint='torch.einsum("ij,jk->ik", a, b)'
        )
    return contraction.einsum(equation.replace(" ", ""), *several)


@placed
def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """The sum of products along the last dimensions of one and the first of the other, or along those named."""
    return contraction.tensordot(a, b, dims)


@placed
def diagonal_of(input: Any, diagonal: int = 0) -> Any:
    """A matrix with the vector on its diagonal, or the diagonal of a matrix."""
    if diagonal:
        raise InvalidArgumentError("diag knows the main diagonal only", got=str(diagonal))
    return blocks.diag(input) if len(input.dims) == 1 else blocks.matrix_diag_part(input)


@placed
def trace(input: Any) -> Any:
    """The sum of the diagonal of a matrix."""
    return linalg.trace(input)


@placed
def flip(input: Any, *dims: Any) -> Any:
    """The elements in reverse along dimensions."""
    several = dims[0] if len(dims) == 1 and isinstance(dims[0], (list, tuple)) else dims
    return arrange.reverse(input, [axis_of(input, d) for d in several])


METHODS: dict[str, Callable[..., Any]] = {
    "sum": sum_, "mean": mean, "prod": prod, "var": var, "std": std, "logsumexp": logsumexp, "norm": norm, "any": any_,
    "all": all_, "argmax": argmax, "argmin": argmin, "max": max_, "min": min_, "amax": amax, "amin": amin,
    "gather": gather, "sort": sort, "argsort": argsort, "topk": topk, "median": median, "cumsum": cumsum,
    "cumprod": cumprod, "count_nonzero": count_nonzero, "matmul": matmul, "mm": _product((2, 2), "mm"),
    "bmm": _product((3, 3), "bmm"), "mv": _product((2, 1), "mv"), "dot": _product((1, 1), "dot"), "outer": outer,
    "diag": diagonal_of, "trace": trace, "flip": flip,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {**METHODS, "einsum": einsum, "tensordot": tensordot}
