"""Elementwise arithmetic: sums, products, division, signs and bounds, rounding, complex numbers.

Policy: broadcasting as NumPy's, no promotion between dtypes, IEEE results; division and remainder of integers by zero
fail the run.  Derivatives follow TensorFlow 1 where a function has a kink: `maximum` gives ties to its first argument,
`sign` and rounding have none.  One op, one block.

State: none.
"""

from __future__ import annotations

import operator
from typing import Any

from graphflow import dtypes
from graphflow.constants import convert_to_tensor
from graphflow.dtypes import DType
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.indexed_slices import IndexedSlices
from graphflow.opdef import call, op
from graphflow.ops import array, compare
from graphflow.ops.arguments import as_tensor, is_symbolic
from graphflow.ops.casts import cast
from graphflow.ops.core import name_scope
from graphflow.ops.index import where
from graphflow.ops.inference import check_kind, elementwise, hinted_dims
from graphflow.spec import TensorSpec, compatible, describe, merge
from graphflow.tensor import Tensor

# -- sums, differences, products -------------------------------------------------------------------------------------


@op("Add", infer=elementwise(hint=operator.add), broadcasts=True)
def add(x: Any, y: Any, name: str | None = None) -> Any:
    """x + y, elementwise."""
    return call((x, y), name)


add.vjp(lambda op, dy: dy, lambda op, dy: dy)


@op("Neg", infer=elementwise(hint=operator.neg))
def negative(x: Any, name: str | None = None) -> Any:
    """-x, elementwise."""
    return call((x,), name)


negative.vjp(lambda op, dy: negative(dy))


@op("Sub", infer=elementwise(hint=operator.sub), broadcasts=True)
def subtract(x: Any, y: Any, name: str | None = None) -> Any:
    """x - y, elementwise."""
    return call((x, y), name)


subtract.vjp(lambda op, dy: dy, lambda op, dy: negative(dy))


@op("Mul", infer=elementwise(hint=operator.mul), broadcasts=True)
def multiply(x: Any, y: Any, name: str | None = None) -> Any:
    """x * y, elementwise."""
    return call((x, y), name)


multiply.vjp(lambda op, dy: multiply(dy, conj(op.inputs[1])), lambda op, dy: multiply(dy, conj(op.inputs[0])))


def _sum_to(x: Any, shape: Any) -> TensorSpec:
    return TensorSpec(x.dtype, hinted_dims(shape))


@op("SumTo", infer=_sum_to, same_dtype=None, noop=True)
def sum_to(x: Any, shape: Any, name: str | None = None) -> Any:
    """Sum `x` over the axes along which `shape` was broadcast to its shape."""
    return call((x, shape), name)


sum_to.vjp(lambda op, dy: array.broadcast_to(dy, array.sizes_of_input(op.inputs[0])), None)
array.broadcast_to.vjp(lambda op, dy: sum_to(dy, array.sizes_of_input(op.inputs[0])), None)
array.fill.vjp(None, lambda op, dy: sum_to(dy, array.shape(op.inputs[1])))


def sum_to_like(grad: Any, x: Any, others: Any = None) -> Any:
    """The gradient of a broadcast input, in the shape of that input.

    Nothing to do where the shapes are known to be equal; `others`, the inputs that `x` was broadcast with, help to
    know that: a bias cannot have stretched a batch of unknown size.
    """
    dims = x.dims
    if (
        dims is not None
        and grad.dims == dims
        and (None not in dims or others is not None and _sets_the_shape(x, others))
    ):
        return grad
    found = sum_to(grad, array.sizes_of_input(x))
    if dims is not None and found.dims != dims:
        found.dims = dims
    return found


def _sets_the_shape(x: Any, others: Any) -> bool:
    """Whether `x` has the shape of the result wherever its own sizes are unknown."""
    for y in others:
        if y is x:
            continue
        if y.dims is None or len(y.dims) > len(x.dims) or y.dtype.is_bool:  # a vector of bools chooses rows
            return False
        for mine, its in zip(reversed(x.dims), reversed(y.dims), strict=False):
            if mine is None and its != 1:
                return False
    return True


def _one_shape(*inputs: Any) -> TensorSpec:
    check_kind(inputs[0], "number")
    dims = inputs[0].dims
    for x in inputs[1:]:
        if not compatible(dims, x.dims):
            raise ShapeError("the terms of a sum need one shape", expected=describe(dims), got=describe(x.dims))
        dims = merge(dims, x.dims)
    return TensorSpec(inputs[0].dtype, dims)


@op("AddN", infer=_one_shape, pointwise=True)
def _add_n(inputs: Any, name: str | None = None) -> Any:
    return call(inputs, name)


_add_n.vjp(lambda op, dy: dy)


def add_n(inputs: Any, name: str | None = None) -> Any:
    """The sum of a list of tensors of one shape."""
    items = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if not items:
        raise InvalidArgumentError("add_n needs at least one tensor")
    return _add_n(items, name=name)


def accumulate_n(inputs: Any, shape: Any = None, tensor_dtype: Any = None, name: str | None = None) -> Any:
    """The sum of a list of tensors of one shape; `shape` and `tensor_dtype` say what they have."""
    total = add_n(inputs, name=name or "AccumulateNV2")
    if tensor_dtype is not None and total.dtype is not dtypes.as_dtype(tensor_dtype):
        wanted = dtypes.as_dtype(tensor_dtype).name
        raise DTypeError("the terms have another dtype", op=total.op, expected=wanted, got=total.dtype.name)
    if shape is not None:
        total.set_shape(shape)
    return total


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Any:
    """A scalar times a tensor, or times the rows of an IndexedSlices."""
    dtype = x.dtype if is_symbolic(x) else None
    scalar = scalar if isinstance(scalar, Tensor) else as_tensor(scalar if dtype is None else dtype.type(scalar))
    if scalar.dims is not None and len(scalar.dims):
        raise ShapeError("scalar_mul multiplies by a scalar", op=scalar.op, expected="[]", got=describe(scalar.dims))
    if isinstance(x, IndexedSlices):
        return IndexedSlices(multiply(scalar, x.values, name=name), x.indices, x.dense_shape)
    return multiply(scalar, x, name=name)


@op("Square", infer=elementwise())
def square(x: Any, name: str | None = None) -> Any:
    """x * x, elementwise."""
    return call((x,), name)


def _square_gradient(op: Any, dy: Any) -> Any:
    x = conj(op.inputs[0])
    return multiply(dy, add(x, x))


square.vjp(_square_gradient)


@op("SquaredDifference", infer=elementwise("real"), broadcasts=True)
def squared_difference(x: Any, y: Any, name: str | None = None) -> Any:
    """(x - y) * (x - y), elementwise."""
    return call((x, y), name)


def _difference_gradient(x: Any, y: Any, dy: Any) -> Any:
    d = subtract(x, y)
    return multiply(dy, add(d, d))


squared_difference.vjp(
    lambda op, dy: _difference_gradient(op.inputs[0], op.inputs[1], dy),
    lambda op, dy: _difference_gradient(op.inputs[1], op.inputs[0], dy),
)


# -- division --------------------------------------------------------------------------------------------------------


@op("RealDiv", can_fail="integers", infer=elementwise("inexact"), broadcasts=True)
def realdiv(x: Any, y: Any, name: str | None = None) -> Any:
    """x / y, elementwise, of floating-point or complex tensors."""
    return call((x, y), name)


def _divisor_gradient(op: Any, dy: Any) -> Any:
    # dy / y is what the other input's gradient is as well, so the two share it.
    return negative(multiply(realdiv(dy, conj(op.inputs[1])), conj(op.outputs[0])))


realdiv.vjp(lambda op, dy: realdiv(dy, conj(op.inputs[1])), _divisor_gradient)


def _pair(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors; a literal takes the dtype of the tensor beside it."""
    if not is_symbolic(x) and is_symbolic(y):
        y = as_tensor(y)
        return convert_to_tensor(x, preferred=y.dtype), y
    x = as_tensor(x)
    return x, y if isinstance(y, Tensor) else convert_to_tensor(y, preferred=x.dtype)


def _is_inexact(x: Any, y: Any) -> bool:
    """Whether the quotient needs no cast, told without building anything."""
    for v in (x, y):
        dtype = getattr(v, "dtype", None)
        if isinstance(dtype, DType):
            return dtype.kind in ("float", "complex")
    return False


def truediv(x: Any, y: Any, name: str | None = None) -> Any:
    """x / y as Python 3 means it: integers are cast first, to float64 or, those below 32 bits, to float32."""
    if _is_inexact(x, y):
        return realdiv(x, y, name=name or "truediv")
    x, y = _pair(x, y)
    if x.dtype is not y.dtype or not x.dtype.is_integer:
        return realdiv(x, y, name=name or "truediv")
    wide = dtypes.float32 if x.dtype.size < 4 else dtypes.float64
    with name_scope(name, "truediv"):
        return realdiv(cast(x, wide), cast(y, wide))


def divide(x: Any, y: Any, name: str | None = None) -> Any:
    """x / y as Python 3 means it."""
    return truediv(x, y, name=name)


def div(x: Any, y: Any, name: str | None = None) -> Any:
    """x / y as Python 2 meant it: integers are divided rounding down."""
    if _is_inexact(x, y):
        return realdiv(x, y, name=name or "div")
    x, y = _pair(x, y)
    return (floor_div if x.dtype.is_integer else realdiv)(x, y, name=name or "div")


@op("FloorDiv", can_fail="integers", infer=elementwise("real", hint=operator.floordiv), differentiable=False, weight=40)
def floor_div(x: Any, y: Any, name: str | None = None) -> Any:
    """x / y rounded down, elementwise."""
    return call((x, y), name)


def floordiv(x: Any, y: Any, name: str | None = None) -> Any:
    """x // y, elementwise: the quotient rounded down."""
    return floor_div(x, y, name=name or "floordiv")


@op("FloorMod", can_fail="integers", infer=elementwise("real", hint=operator.mod), broadcasts=True, weight=40)
def floormod(x: Any, y: Any, name: str | None = None) -> Any:
    """x % y, elementwise: the remainder with the sign of y."""
    return call((x, y), name)


floormod.vjp(lambda op, dy: dy, lambda op, dy: negative(multiply(dy, floor_div(op.inputs[0], op.inputs[1]))))
mod = floormod


@op("TruncateDiv", can_fail="integers", infer=elementwise("real"), differentiable=False, weight=40)
def truncatediv(x: Any, y: Any, name: str | None = None) -> Any:
    """x / y rounded towards zero, as C divides integers."""
    return call((x, y), name)


@op("TruncateMod", can_fail="integers", infer=elementwise("real"), broadcasts=True, weight=40)
def truncatemod(x: Any, y: Any, name: str | None = None) -> Any:
    """The remainder with the sign of x, as in C."""
    return call((x, y), name)


truncatemod.vjp(lambda op, dy: dy, lambda op, dy: negative(multiply(dy, truncatediv(op.inputs[0], op.inputs[1]))))


@op("DivNoNan", infer=elementwise("inexact"), broadcasts=True)
def div_no_nan(x: Any, y: Any, name: str | None = None) -> Any:
    """x / y, and 0 where y is 0."""
    return call((x, y), name)


div_no_nan.vjp(
    lambda op, dy: div_no_nan(dy, conj(op.inputs[1])),
    lambda op, dy: negative(multiply(div_no_nan(dy, conj(op.inputs[1])), conj(op.outputs[0]))),
)


@op("Reciprocal", infer=elementwise("inexact"))
def reciprocal(x: Any, name: str | None = None) -> Any:
    """1 / x, elementwise."""
    return call((x,), name)


reciprocal.vjp(lambda op, dy: negative(multiply(dy, square(conj(op.outputs[0])))))


# -- signs and bounds ------------------------------------------------------------------------------------------------


def _magnitude(x: Any) -> TensorSpec:
    check_kind(x, "number")
    return TensorSpec(x.dtype.real_dtype, x.dims)


@op("Abs", infer=_magnitude)
def abs(x: Any, name: str | None = None) -> Any:
    """The absolute value, elementwise; of complex numbers a real one."""
    return call((x,), name)


def _abs_gradient(op: Any, dy: Any) -> Any:
    x = op.inputs[0]
    return multiply(dy if x.dtype is dy.dtype else complex(dy, array.zeros_like(dy)), sign(x))


abs.vjp(_abs_gradient)


@op("Sign", infer=elementwise())
def sign(x: Any, name: str | None = None) -> Any:
    """-1, 0 or 1, elementwise; x / abs(x) for complex numbers."""
    return call((x,), name)


def _sign_gradient(op: Any, dy: Any) -> Any:
    x, s = op.inputs[0], op.outputs[0]
    if x.dtype.kind != "complex":
        return array.zeros_like(x)
    along = real(multiply(conj(s), dy))  # only what turns the number changes its sign
    zero = array.zeros_like(along)
    return div_no_nan(subtract(dy, multiply(s, complex(along, zero))), complex(abs(x), zero))


sign.vjp(_sign_gradient)


@op("Maximum", infer=elementwise("real", hint=max), broadcasts=True)
def maximum(x: Any, y: Any, name: str | None = None) -> Any:
    """The larger of the two, elementwise; NaN where either is NaN."""
    return call((x, y), name)


maximum.vjp(
    lambda op, dy: where(compare.greater_equal(op.inputs[0], op.inputs[1]), dy, 0.0),
    lambda op, dy: where(compare.greater_equal(op.inputs[0], op.inputs[1]), 0.0, dy),
)


@op("Minimum", infer=elementwise("real", hint=min), broadcasts=True)
def minimum(x: Any, y: Any, name: str | None = None) -> Any:
    """The smaller of the two, elementwise; NaN where either is NaN."""
    return call((x, y), name)


minimum.vjp(
    lambda op, dy: where(compare.less_equal(op.inputs[0], op.inputs[1]), dy, 0.0),
    lambda op, dy: where(compare.less_equal(op.inputs[0], op.inputs[1]), 0.0, dy),
)


@op("Floor", infer=elementwise("float"), differentiable=False)
def floor(x: Any, name: str | None = None) -> Any:
    """The largest integer not above x, elementwise."""
    return call((x,), name)


@op("Ceil", infer=elementwise("float"), differentiable=False)
def ceil(x: Any, name: str | None = None) -> Any:
    """The smallest integer not below x, elementwise."""
    return call((x,), name)


@op("Rint", infer=elementwise("float"), differentiable=False)
def rint(x: Any, name: str | None = None) -> Any:
    """The nearest integer, halves to the even one."""
    return call((x,), name)


@op("Round", infer=elementwise("real"), differentiable=False)
def _round(x: Any, name: str | None = None) -> Any:
    return call((x,), name)


def round(x: Any, name: str | None = None) -> Any:
    """The nearest integer, halves to the even one; integers are returned as they are."""
    x = as_tensor(x)
    return x if x.dtype.is_integer else _round(x, name=name)


# -- complex numbers -------------------------------------------------------------------------------------------------


def _part(x: Any) -> TensorSpec:
    check_kind(x, "complex")
    return TensorSpec(x.dtype.real_dtype, x.dims)


@op("Conj", infer=elementwise("number"))
def _conj(x: Any, name: str | None = None) -> Any:
    return call((x,), name)


_conj.vjp(lambda op, dy: conj(dy))


def conj(x: Any, name: str | None = None) -> Any:
    """The complex conjugate; a real tensor is returned as it is."""
    if type(x) is not Tensor:
        x = as_tensor(x)
    return x if x.dtype.kind != "complex" else _conj(x, name=name)


@op("Real", infer=_part)
def _real(input: Any, name: str | None = None) -> Any:
    return call((input,), name)


@op("Imag", infer=_part)
def _imag(input: Any, name: str | None = None) -> Any:
    return call((input,), name)


def real(input: Any, name: str | None = None) -> Any:
    """The real part; a real tensor is returned as it is."""
    x = as_tensor(input)
    return _real(x, name=name) if x.dtype.is_complex else x


def imag(input: Any, name: str | None = None) -> Any:
    """The imaginary part; zeros for a real tensor."""
    x = as_tensor(input)
    return _imag(x, name=name) if x.dtype.is_complex else array.zeros_like(x, name=name)


def _complex(real: Any, imag: Any) -> TensorSpec:
    known = elementwise("float")(real, imag)
    if real.dtype not in (dtypes.float32, dtypes.float64):
        raise DTypeError("no complex dtype has such parts", expected="float32 or float64", got=real.dtype.name)
    return TensorSpec(dtypes.complex64 if real.dtype is dtypes.float32 else dtypes.complex128, known.dims)


@op("Complex", infer=_complex, broadcasts=True)
def complex(real: Any, imag: Any, name: str | None = None) -> Any:
    """real + i imag, elementwise."""
    return call((real, imag), name)


complex.vjp(lambda op, dy: real(dy), lambda op, dy: imag(dy))
_real.vjp(lambda op, dy: complex(dy, array.zeros_like(dy)))
_imag.vjp(lambda op, dy: complex(array.zeros_like(dy), dy))


@op("Angle", infer=_part)
def _angle(input: Any, name: str | None = None) -> Any:
    return call((input,), name)


def _angle_gradient(op: Any, dy: Any) -> Any:
    # The angle grows along i * x / |x|, by 1 / |x|: that is i / conj(x).
    return realdiv(complex(array.zeros_like(dy), dy), conj(op.inputs[0]))


_angle.vjp(_angle_gradient)


def angle(input: Any, name: str | None = None) -> Any:
    """The argument of complex numbers, in (-pi, pi]; zeros for a real tensor."""
    x = as_tensor(input)
    return _angle(x, name=name) if x.dtype.is_complex else array.zeros_like(x, name=name)
