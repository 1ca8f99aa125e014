"""New tensors in PyTorch's spelling: of values, of zeros and ones, of ranges.

Policy: whole numbers of Python become int64 and fractions the default dtype, float32; NumPy's arrays keep their dtype.
`tensor` copies, `as_tensor` and `from_numpy` share memory.

State: none; the defaults are `preferences`'.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from graphflow import casting, dtypes
from graphflow.dtypes import DType, as_dtype
from graphflow.eager.calling import checked
from graphflow.eager.devices import on
from graphflow.eager.engine import EAGER
from graphflow.eager.preferences import complex_default, preferred
from graphflow.eager.shaping import sizes_of, stack
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.traced import made_here, trace_here
from graphflow.errors import DTypeError, InvalidArgumentError, SymbolicUseError, shown
from graphflow.ops import arrange, array, casts, core
from graphflow.spec import is_concrete
from graphflow.tensor import Tensor

Function = Callable[..., Any]


def leaf(values: Any, dtype: DType, requires_grad: bool = False) -> EagerTensor:
    """A tensor of an array that is its own."""
    made: EagerTensor = made_here(EagerTensor(values, dtype))
    if requires_grad:
        check_leaf()
        made.requires_grad = True
    return made


def check_leaf() -> None:
    """Raise where a function is traced: nobody could ask for the gradient."""
    if trace_here() is not None:
        raise SymbolicUseError(
            "a traced function makes a leaf that requires gradients, which nobody could ask for",
            hint="make it outside, and pass it in; gf.gradients(y, x) differentiates inside",
        )


def home() -> AbstractContextManager[Any]:
    """Where draws are made: in the graph of the function that is being traced, else at once."""
    return EAGER.as_default() if trace_here() is None else contextlib.nullcontext()


# -- of values -------------------------------------------------------------------------------------------------------


def _values(data: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """The data as an array, which may be the caller's own."""
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(data, EagerTensor):
        found = np.asarray(data._array())
        return found if wanted is None or wanted is data.dtype else found.astype(wanted.np)
    if isinstance(data, np.ndarray):
        _check_layout(data)
        plain = np.asarray(data)  # a file's array, a matrix: the memory is what counts
        return plain if wanted is None or wanted.np == plain.dtype else plain.astype(wanted.np)
    if isinstance(data, (list, tuple)):
        data = _without_tensors(data)
    elif not isinstance(data, (int, float, complex, np.generic, str, bytes)) and not hasattr(data, "__array__"):
        raise DTypeError(
            "not what tensors are made of", expected="numbers, lists of numbers, an array", got=shown(data)
        )
    if wanted is not None and not wanted.is_floating and not wanted.is_complex:
        return casting.as_array(data, None).astype(wanted.np)  # torch.tensor(2.5, dtype=torch.int64) is 2
    found = casting.as_array(data, wanted)
    if wanted is None and found.dtype == np.int32 and not hasattr(data, "dtype") and not casting._has_numpy(data):
        return found.astype(np.int64)
    return _in_default(found, data) if wanted is None and preferred.floats is not dtypes.float32 else found


def _in_default(found: np.ndarray[Any, Any], data: Any) -> np.ndarray[Any, Any]:
    """Fractions that came from Python, in the default dtype."""
    if hasattr(data, "dtype") or casting._has_numpy(data) or found.dtype.kind not in "fc":
        return found
    wanted = preferred.floats if found.dtype.kind == "f" else complex_default()
    return casting.as_array(data, wanted)


def _check_layout(data: np.ndarray[Any, Any]) -> None:
    if dtypes.from_numpy(data.dtype) is None or not data.dtype.isnative:
        raise DTypeError("no tensor holds an array of this dtype", got=str(data.dtype))


def _without_tensors(data: Any) -> Any:
    """Nested lists with numbers in place of eager tensors; nesting is as deep as the user typed it."""
    return [
        _without_tensors(v) if isinstance(v, (list, tuple)) else v._array().tolist() if type(v) is EagerTensor else v
        for v in data
    ]


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A new tensor with a copy of the values."""
    if _of_symbols(data):
        return _joined(data, dtype).detach()
    found = np.array(_values(data, dtype), copy=True, order="C")
    return moved_to(leaf(found, _dtype_of(found), requires_grad), device)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Any:
    """The data as a tensor: itself if it is one, sharing memory if it is an array of that dtype."""
    if isinstance(data, Tensor):
        wanted = data.dtype if dtype is None else as_dtype(dtype)
        found = data if wanted is data.dtype else cast_to(data, wanted)
        return found if device is None else moved_to(found, device)
    if _of_symbols(data):
        return _joined(data, dtype).detach()
    found = _values(data, dtype)
    return moved_to(leaf(found, _dtype_of(found)), device)


def from_numpy(ndarray: Any) -> EagerTensor:
    """A tensor that shares the memory of an array: what is written into one is seen in the other."""
    if not isinstance(ndarray, np.ndarray):
        raise DTypeError("from_numpy takes a NumPy array", got=shown(ndarray), hint="torch.tensor(values)")
    _check_layout(ndarray)
    return leaf(np.asarray(ndarray), _dtype_of(ndarray))  # of a file's array, and of others, the plain memory


def _of_symbols(data: Any) -> bool:
    """Whether it is a list with tensors of a trace."""
    return isinstance(data, (list, tuple)) and trace_here() is not None and _has_symbols(data)


def _has_symbols(data: Any) -> bool:
    return any(
        _has_symbols(v) if isinstance(v, (list, tuple)) else isinstance(v, Tensor) and not isinstance(v, EagerTensor)
        for v in data
    )


def _joined(data: Any, dtype: Any) -> Any:
    """Nested lists with tensors of a trace as one tensor; nesting is as deep as the user typed it."""
    return stack([_joined(v, dtype) if isinstance(v, (list, tuple)) else as_tensor(v, dtype) for v in data])


def _dtype_of(values: np.ndarray[Any, Any]) -> DType:
    return casting.literal_dtype(values, from_python=False) if values.dtype != object else dtypes.string


def cast_to(x: Any, dtype: DType) -> Any:
    """The tensor in a dtype."""
    with home():
        return casts.cast(x, dtype)


def moved_to(x: Any, device: Any) -> Any:
    """The tensor where new tensors go, if none else is said."""
    if not isinstance(x, EagerTensor):
        return x  # where a graph is computed is the session's business
    place = device or EAGER.scope.device or preferred.device
    if not place or (moved := on(x, place)) is x:
        return x
    leaf_there = moved.detach()
    leaf_there.track = x.track
    return leaf_there


# -- of zeros, ones, ranges ------------------------------------------------------------------------------------------


def filled(value: Any, name: str, doc: str) -> Function:
    """A function that makes tensors of one value."""

    def function(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
        found = preferred.floats if dtype is None else as_dtype(dtype)
        return moved_to(leaf(np.full(sizes_of(size), value, found.np), found, requires_grad), device)

    function.__doc__ = doc
    return checked(function, name)


def filled_like(value: Any, name: str, doc: str) -> Function:
    """A function that makes tensors of one value in the shape of another."""

    def function(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
        found = input.dtype if dtype is None else as_dtype(dtype)
        if not isinstance(input, EagerTensor) and not is_concrete(input.dims):
            return array.fill(array.shape(input), core.constant(value, found))
        return moved_to(
            leaf(np.full(input.dims, value, found.np), found, requires_grad), device or beside(input, found)
        )

    function.__doc__ = doc
    return checked(function, name)


def beside(x: Any, dtype: DType) -> Any:
    """Where a new tensor goes that is like another: to it, if numbers of that kind go there."""
    return x.device if isinstance(x, EagerTensor) and (dtype is x.dtype or dtype.is_floating) else None


zeros = filled(0, "zeros", "Zeros of these sizes.")
ones = filled(1, "ones", "Ones of these sizes.")
empty = filled(0, "empty", "A tensor of these sizes, to be written into; it holds zeros.")
zeros_like = filled_like(0, "zeros_like", "Zeros in the shape and dtype of another tensor.")
ones_like = filled_like(1, "ones_like", "Ones in the shape and dtype of another tensor.")
empty_like = filled_like(0, "empty_like", "A tensor in the shape and dtype of another, to be written into.")


@checked
def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor of one value, whose dtype it has unless one is given."""
    value = fill_value.item() if isinstance(fill_value, EagerTensor) else fill_value
    found = _values(value, dtype)
    sizes = sizes_of(size if isinstance(size, (list, tuple)) else [size])
    return moved_to(leaf(np.full(sizes, found), _dtype_of(found), requires_grad), device)


@checked
def full_like(
    input: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """A tensor of one value in the shape and dtype of another."""
    found = input.dtype if dtype is None else as_dtype(dtype)
    place = device or beside(input, found)
    return full(input.dims, fill_value, dtype=found, device=place, requires_grad=requires_grad)


@checked
def arange(
    start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """The numbers from `start` (0) up to `end`, which is not among them; int64 if all three are whole."""
    first, last = (0, start) if end is None else (start, end)
    first, last, step = (v.item() if isinstance(v, (EagerTensor, np.generic)) else v for v in (first, last, step))
    if step == 0 or (last - first) * step < 0:
        raise InvalidArgumentError(
            "arange goes from start to end in steps", got=f"{first}, {last}, {step}", hint="step=-1 goes down"
        )
    whole = all(isinstance(v, int) for v in (first, last, step))
    found = as_dtype(dtype) if dtype is not None else dtypes.int64 if whole else preferred.floats
    values = np.arange(first, last, step).astype(found.np)
    return moved_to(leaf(values, found, requires_grad), device)


@checked
def linspace(start: Any, end: Any, steps: int, *, dtype: Any = None, requires_grad: bool = False) -> Any:
    """So many numbers at equal distances, both ends among them."""
    with EAGER.as_default():
        found = arrange.linspace(np.float64(start), np.float64(end), steps)
        made = casts.cast(found, preferred.floats if dtype is None else as_dtype(dtype))
    return leaf(np.array(made.value), made.dtype, requires_grad)


@checked
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, requires_grad: bool = False
) -> Any:
    """Powers of the base, at equal distances of their exponents."""
    exponents = linspace(start, end, steps, dtype=dtypes.float64)
    found = preferred.floats if dtype is None else as_dtype(dtype)
    return leaf((float(base) ** exponents._array()).astype(found.np), found, requires_grad)


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """A number as a tensor without dimensions, in the default dtype."""
    return tensor(s, dtype=preferred.floats if dtype is None else dtype, device=device)


FUNCTIONS: dict[str, Function] = {
    "tensor": tensor, "as_tensor": as_tensor, "asarray": as_tensor, "from_numpy": from_numpy, "zeros": zeros,
    "ones": ones, "empty": empty, "full": full, "zeros_like": zeros_like, "ones_like": ones_like,
    "empty_like": empty_like, "full_like": full_like, "arange": arange, "linspace": linspace,
    "logspace": logspace, "scalar_tensor": scalar_tensor,
}  # fmt: skip
