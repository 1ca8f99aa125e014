"""New tensors in PyTorch's spelling: of values, of zeros and ones, of ranges, of random numbers.

Policy: whole numbers of Python become int64 and fractions float32; NumPy's arrays keep their dtype.  `tensor` copies,
`as_tensor` and `from_numpy` share memory.  Random numbers are the library's own (Philox): after `manual_seed` the same
ones in each process.

State: none; the seed is the eager graph's.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import casting, dtypes
from graphflow.dtypes import DType, as_dtype
from graphflow.eager.devices import on
from graphflow.eager.engine import EAGER
from graphflow.eager.shaping import sizes_of
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import DTypeError, InvalidArgumentError, shown
from graphflow.ops import arrange, array, casts, math
from graphflow.ops import random as draws

Function = Callable[..., Any]


def leaf(values: Any, dtype: DType, requires_grad: bool = False) -> EagerTensor:
    """A tensor of an array that is its own."""
    made = EagerTensor(values, dtype)
    if requires_grad:
        made.requires_grad = True
    return made


# -- of values -------------------------------------------------------------------------------------------------------


def _values(data: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """The data as an array, which may be the caller's own."""
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(data, EagerTensor):
        found = np.asarray(data._array())
        return found if wanted is None or wanted is data.dtype else found.astype(wanted.np)
    if isinstance(data, np.ndarray):
        _check_layout(data)
        return data if wanted is None or wanted.np == data.dtype else data.astype(wanted.np)
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
    return found


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
    found = np.array(_values(data, dtype), copy=True, order="C")
    return _on(leaf(found, _dtype_of(found), requires_grad), device)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Any:
    """The data as a tensor: itself if it is one, sharing memory if it is an array of that dtype."""
    if isinstance(data, EagerTensor):
        wanted = data.dtype if dtype is None else as_dtype(dtype)
        found = data if wanted is data.dtype else _cast(data, wanted)
        return found if device is None else on(found, device)
    found = _values(data, dtype)
    return _on(leaf(found, _dtype_of(found)), device)


def from_numpy(ndarray: Any) -> EagerTensor:
    """A tensor that shares the memory of an array: what is written into one is seen in the other."""
    if not isinstance(ndarray, np.ndarray):
        raise DTypeError("from_numpy takes a NumPy array", got=shown(ndarray), hint="torch.tensor(values)")
    _check_layout(ndarray)
    return leaf(ndarray, _dtype_of(ndarray))


def _dtype_of(values: np.ndarray[Any, Any]) -> DType:
    return casting.literal_dtype(values, from_python=False) if values.dtype != object else dtypes.string


def _cast(x: EagerTensor, dtype: DType) -> Any:
    with EAGER.as_default():
        return casts.cast(x, dtype)


def _on(x: EagerTensor, device: Any) -> Any:
    place = device or EAGER.scope.device
    if not place or (moved := on(x, place)) is x:
        return x
    leaf_there = moved.detach()
    leaf_there.track = x.track
    return leaf_there


# -- of zeros, ones, ranges ------------------------------------------------------------------------------------------


def filled(value: Any, default: DType | None = dtypes.float32) -> Function:
    """A function that makes tensors of one value."""

    def function(
        *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, out: Any = None
    ) -> Any:
        found = dtypes.float32 if dtype is None else as_dtype(dtype)
        return _on(leaf(np.full(sizes_of(size), value, found.np), found, requires_grad), device)

    return function


def filled_like(value: Any) -> Function:
    """A function that makes tensors of one value in the shape of another."""

    def function(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
        found = input.dtype if dtype is None else as_dtype(dtype)
        return _on(leaf(np.full(input.dims, value, found.np), found, requires_grad), device)

    return function


zeros, ones, empty = filled(0), filled(1), filled(0)
zeros_like, ones_like, empty_like = filled_like(0), filled_like(1), filled_like(0)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor of one value, whose dtype it has unless one is given."""
    value = fill_value.item() if isinstance(fill_value, EagerTensor) else fill_value
    found = _values(value, dtype)
    sizes = sizes_of(size if isinstance(size, (list, tuple)) else [size])
    return _on(leaf(np.full(sizes, found), _dtype_of(found), requires_grad), device)


def full_like(input: Any, fill_value: Any, *, dtype: Any = None, requires_grad: bool = False) -> Any:
    """A tensor of one value in the shape and dtype of another."""
    return full(input.dims, fill_value, dtype=dtype or input.dtype, requires_grad=requires_grad)


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
    found = as_dtype(dtype) if dtype is not None else dtypes.int64 if whole else dtypes.float32
    values = np.arange(first, last, step).astype(found.np)
    return _on(leaf(values, found, requires_grad), device)


def linspace(start: Any, end: Any, steps: int, *, dtype: Any = None, requires_grad: bool = False) -> Any:
    """So many numbers at equal distances, both ends among them."""
    with EAGER.as_default():
        found = arrange.linspace(np.float64(start), np.float64(end), steps)
        made = casts.cast(found, dtypes.float32 if dtype is None else as_dtype(dtype))
    return leaf(np.array(made.value), made.dtype, requires_grad)


# -- of random numbers -----------------------------------------------------------------------------------------------


def manual_seed(seed: int) -> None:
    """From now on the random numbers of this seed, from their beginning."""
    try:
        EAGER.seed = operator.index(seed)
    except TypeError:
        raise DTypeError("a seed is an integer", got=shown(seed), hint="torch.manual_seed(0)") from None
    EAGER.store["random_ops"] = 0
    EAGER.session.runs = itertools.count()


def initial_seed() -> int | None:
    """The seed that was set."""
    return EAGER.seed


def _drawn(draw: Function, dtype: DType, requires_grad: bool = False) -> EagerTensor:
    with EAGER.as_default():
        found = draw()
    return leaf(np.array(found.value), dtype, requires_grad)


def rand(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, generator: Any = None) -> Any:
    """Uniform in [0, 1)."""
    found = dtypes.float32 if dtype is None else as_dtype(dtype)
    sizes = sizes_of(size)
    return _on(_drawn(lambda: draws.random_uniform(sizes, dtype=found), found, requires_grad), device)


def randn(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, generator: Any = None) -> Any:
    """Normal, with mean 0 and standard deviation 1."""
    found = dtypes.float32 if dtype is None else as_dtype(dtype)
    sizes = sizes_of(size)
    return _on(_drawn(lambda: draws.random_normal(sizes, dtype=found), found, requires_grad), device)


def rand_like(input: Any, *, dtype: Any = None, requires_grad: bool = False) -> Any:
    """Uniform in [0, 1), in the shape of another tensor."""
    return rand(input.dims, dtype=dtype or input.dtype, requires_grad=requires_grad)


def randn_like(input: Any, *, dtype: Any = None, requires_grad: bool = False) -> Any:
    """Normal, in the shape of another tensor."""
    return randn(input.dims, dtype=dtype or input.dtype, requires_grad=requires_grad)


def randint(low: int, high: Any = None, size: Any = None, *, dtype: Any = None, device: Any = None) -> Any:
    """Whole numbers from `low` (0) up to `high`, which is not among them."""
    if size is None:
        low, high, size = 0, low, high
    if size is None or not isinstance(size, (list, tuple)):
        raise DTypeError("randint takes a shape last", got=shown(size), hint="torch.randint(0, 10, (3,))")
    if high is None:
        low, high = 0, low
    found = dtypes.int64 if dtype is None else as_dtype(dtype)
    made = _drawn(lambda: draws.random_uniform(sizes_of(size), low, high, dtypes.int64), dtypes.int64)
    return _on(made if found is dtypes.int64 else _cast(made, found), device)


def randperm(n: int, *, dtype: Any = None, device: Any = None, generator: Any = None) -> Any:
    """The numbers from 0 to n - 1 in random order."""
    found = dtypes.int64 if dtype is None else as_dtype(dtype)
    return _on(_drawn(lambda: draws.random_shuffle(array.range_(n, dtype=found)), found), device)


def normal(mean: Any, std: Any = 1.0, size: Any = None, *, dtype: Any = None, requires_grad: bool = False) -> Any:
    """Normal numbers; mean and standard deviation are numbers beside a shape, or tensors."""
    if size is None:
        like = mean if isinstance(mean, EagerTensor) else std
        if not isinstance(like, EagerTensor):
            raise InvalidArgumentError("normal takes tensors, or numbers and a shape", hint="size=(3,)")
        size = like.dims
    made = randn(size, dtype=dtype) * std + mean
    return made.requires_grad_() if requires_grad else made


def bernoulli(input: Any, p: Any = None) -> Any:
    """1 with the probability that stands in each place (or with probability p), 0 otherwise."""
    chance = input.dims and input if p is None else p
    with EAGER.as_default():
        drawn = draws.bernoulli(
            list(input.dims), input if p is None else EagerTensor(np.float32(chance), dtypes.float32)
        )
        return casts.cast(drawn, input.dtype)


def multinomial(input: Any, num_samples: int, replacement: bool = False) -> Any:
    """Indices drawn with the weights of each row."""
    if not replacement:
        raise InvalidArgumentError("multinomial draws with replacement here", hint="replacement=True")
    with EAGER.as_default():
        rows = input if len(input.dims) == 2 else array.expand_dims(input, 0)
        found = draws.multinomial(math.log(rows), num_samples)
        return found if len(input.dims) == 2 else array.squeeze(found, [0])


def get_default_dtype() -> DType:
    """The dtype of fractions."""
    return dtypes.float32


FUNCTIONS: dict[str, Function] = {
    "tensor": tensor, "as_tensor": as_tensor, "asarray": as_tensor, "from_numpy": from_numpy, "zeros": zeros,
    "ones": ones, "empty": empty, "full": full, "zeros_like": zeros_like, "ones_like": ones_like,
    "empty_like": empty_like, "full_like": full_like, "arange": arange, "linspace": linspace,
    "manual_seed": manual_seed, "initial_seed": initial_seed, "rand": rand, "randn": randn, "rand_like": rand_like,
    "randn_like": randn_like, "randint": randint, "randperm": randperm, "normal": normal, "bernoulli": bernoulli,
    "multinomial": multinomial,
}  # fmt: skip
