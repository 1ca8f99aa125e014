"""Random numbers in PyTorch's spelling: uniform, normal, whole ones, permutations, choices.

Policy: random numbers are the library's own (Philox): after `manual_seed` the same ones in each process.  Whoever gives
a generator draws from its stream instead.  A traced function draws anew at each call, from the stream of its session.

State: none; the seed is the eager graph's, or the generator's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.dtypes import DType, as_dtype
from graphflow.eager.calling import checked
from graphflow.eager.creation import beside, cast_to, check_leaf, empty, home, leaf, moved_to
from graphflow.eager.engine import EAGER
from graphflow.eager.generator import drawn, restore, start, state_of
from graphflow.eager.preferences import preferred
from graphflow.eager.shaping import sizes_of
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.traced import draws_here, trace_here
from graphflow.errors import DTypeError, InvalidArgumentError, SymbolicUseError, shown
from graphflow.ops import arithmetic, array, casts, core, math, ordering
from graphflow.ops import random as draws
from graphflow.tensor import Tensor

Function = Callable[..., Any]

# -- seeds -----------------------------------------------------------------------------------------------------------


def manual_seed(seed: int) -> None:
    """From now on the random numbers of this seed, from their beginning."""
    start(EAGER, seed)


def new_seed() -> int:
    """From now on the random numbers of a seed that nobody knows yet; returns it."""
    found = secrets.randbits(53)
    start(EAGER, found)
    return found


def initial_seed() -> int | None:
    """The seed that was set."""
    return EAGER.seed


def get_rng_state() -> EagerTensor:
    """Where the stream of random numbers stands, as a tensor."""
    return state_of(EAGER)


def set_rng_state(new_state: Any) -> None:
    """The stream of random numbers goes on where it stood."""
    restore(EAGER, new_state)


# -- draws -----------------------------------------------------------------------------------------------------------


def _drawn(draw: Function, dtype: DType, requires_grad: bool = False, generator: Any = None) -> Any:
    if draws_here():
        if requires_grad:
            check_leaf()
        if generator is not None:
            raise SymbolicUseError(
                "a generator draws in a traced function, which would draw the same at each call",
                hint="draw outside and pass it in, or leave the generator out",
            )
        return draw()
    return leaf(np.array(drawn(draw, generator)), dtype, requires_grad)


def _of_size(draw: Function, name: str, doc: str) -> Function:
    def function(
        *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, generator: Any = None
    ) -> Any:
        found = preferred.floats if dtype is None else as_dtype(dtype)
        sizes = sizes_of(size)
        return moved_to(_drawn(lambda: draw(sizes, dtype=found), found, requires_grad, generator), device)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


rand = checked(_of_size(draws.random_uniform, "rand", "Uniform in [0, 1)."))
randn = checked(_of_size(draws.random_normal, "randn", "Normal, with mean 0 and standard deviation 1."))


@checked
def rand_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Uniform in [0, 1), in the shape of another tensor."""
    found = input.dtype if dtype is None else as_dtype(dtype)
    place = device or beside(input, found)
    return rand(input.dims, dtype=found, device=place, requires_grad=requires_grad)


@checked
def randn_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Normal, in the shape of another tensor."""
    found = input.dtype if dtype is None else as_dtype(dtype)
    place = device or beside(input, found)
    return randn(input.dims, dtype=found, device=place, requires_grad=requires_grad)


@checked
def randint(
    low: int, high: Any = None, size: Any = None, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False, generator: Any = None,
) -> Any:  # fmt: skip
    """Whole numbers from `low` (0) up to `high`, which is not among them."""
    if size is None:
        low, high, size = 0, low, high
    if size is None or not isinstance(size, (list, tuple)):
        raise DTypeError("randint takes a shape last", got=shown(size), hint="torch.randint(0, 10, (3,))")
    if high is None:
        low, high = 0, low
    found = dtypes.int64 if dtype is None else as_dtype(dtype)
    sizes = sizes_of(size)
    made = _drawn(lambda: draws.random_uniform(sizes, low, high, dtypes.int64), dtypes.int64, generator=generator)
    made = moved_to(made if found is dtypes.int64 else cast_to(made, found), device)
    return made.requires_grad_() if requires_grad else made


@checked
def randint_like(input: Any, low: int, high: Any = None, *, dtype: Any = None, device: Any = None) -> Any:
    """Whole numbers from `low` (0) up to `high`, in the shape and dtype of another tensor."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, input.dims, dtype=dtype or input.dtype, device=device)


@checked
def randperm(n: int, *, dtype: Any = None, device: Any = None, generator: Any = None) -> Any:
    """The numbers from 0 to n - 1 in random order."""
    found = dtypes.int64 if dtype is None else as_dtype(dtype)
    made = _drawn(lambda: draws.random_shuffle(array.range_(n, dtype=found)), found, generator=generator)
    return moved_to(made, device)


@checked
def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, dtype: Any = None, requires_grad: bool = False,
    generator: Any = None,
) -> Any:  # fmt: skip
    """Normal numbers; mean and standard deviation are numbers beside a shape, or tensors."""
    if size is None:
        like = mean if isinstance(mean, Tensor) else std
        if not isinstance(like, Tensor):
            raise InvalidArgumentError("normal takes tensors, or numbers and a shape", hint="size=(3,)")
        size = like.dims
    made = randn(size, dtype=dtype, generator=generator) * std + mean
    return made.requires_grad_() if requires_grad else made


@checked
def bernoulli(input: Any, p: Any = None, *, generator: Any = None) -> Any:
    """1 with the probability that stands in each place (or with probability p), 0 otherwise."""
    chance = input.detach() if p is None else core.constant(p, dtypes.float32) if trace_here() else np.float32(p)
    sizes = list(input.dims)
    held = _drawn(lambda: draws.bernoulli(sizes, chance), dtypes.bool_, generator=generator)
    return cast_to(held, input.dtype)


@checked
def poisson(input: Any, generator: Any = None) -> Any:
    """Whole numbers, as floating-point ones, with the mean that stands in each place."""
    rate = input.detach()
    return _drawn(lambda: array.reshape(draws.random_poisson(rate, [1], input.dtype), list(input.dims)), input.dtype,
                  generator=generator)  # fmt: skip


@checked
def multinomial(input: Any, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Any:
    """Indices drawn with the weights of each row, each at most once unless they are replaced."""
    if len(input.dims) not in (1, 2) or not input.dtype.is_floating:
        raise DTypeError("multinomial takes one or two dimensions of weights", got=f"{input.dtype.name}"
                         f"{list(input.dims)}", hint="weights.float()")  # fmt: skip
    weights = input.detach()
    if isinstance(weights, EagerTensor):
        _check_weights(np.atleast_2d(weights._array()), num_samples, replacement)
    choose = draws.multinomial if replacement else _raced

    def draw() -> Any:
        rows = weights if len(input.dims) == 2 else array.expand_dims(weights, 0)
        found = choose(math.log(rows), num_samples)
        return found if len(input.dims) == 2 else array.squeeze(found, [0])

    return _drawn(draw, dtypes.int64, generator=generator)


def _check_weights(weights: np.ndarray[Any, Any], count: int, replacement: bool) -> None:
    if not (weights >= 0).all() or not np.isfinite(weights).all():
        raise InvalidArgumentError("weights are finite numbers from 0 on", got="a negative, infinite or NaN one")
    least = int((weights > 0).sum(1).min(initial=weights.shape[1]))
    if least < (1 if replacement else count):
        raise InvalidArgumentError("fewer weights above 0 than draws", expected=f"{count} in each row",
                                   got=str(least), hint="replacement=True")  # fmt: skip


def _raced(logits: Any, count: int) -> Any:
    """The first of a race in which each runs as fast as its weight says."""
    uniform = draws.random_uniform(array.shape(logits), dtype=logits.dtype)
    times = math.log(arithmetic.negative(math.log(arithmetic.maximum(uniform, float(np.finfo(np.float32).tiny)))))
    return casts.cast(ordering.top_k(arithmetic.subtract(logits, times), count)[1], dtypes.int64)


# -- what fills a tensor in place ------------------------------------------------------------------------------------


def uniform(shape: Any, low: float = 0.0, high: float = 1.0, *, generator: Any = None, **named: Any) -> Any:
    """Uniform in [low, high)."""
    low, high = named.pop("a", low), named.pop("b", high)
    return rand(shape, generator=generator) * (high - low) + low


def normal_numbers(shape: Any, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Any:
    """Normal numbers."""
    return randn(shape, generator=generator) * std + mean


def exponential(shape: Any, lambd: float = 1.0, *, generator: Any = None) -> Any:
    """Numbers above 0, whose density falls off exponentially."""
    return (1.0 - rand(shape, generator=generator)).log() * (-1.0 / lambd)


def ones_with(shape: Any, p: Any = 0.5, *, generator: Any = None) -> Any:
    """1 with probability p, 0 otherwise."""
    if not isinstance(p, Tensor):
        return bernoulli(empty(shape), p, generator=generator)
    with home():
        wide = array.broadcast_to(p, list(shape))
    return bernoulli(wide, generator=generator)


def whole(x: Any, low: Any = None, high: Any = None, *, generator: Any = None) -> Any:
    """Whole numbers up to `high`, which is not among them, or up to the largest that the dtype holds exactly."""
    if high is None:
        low, high = 0, low
    if high is None:
        high = 2 ** (np.finfo(x.dtype.np).nmant + 1) if x.dtype.is_floating else int(x.dtype.max)
    return randint(low, high, x.dims, generator=generator)


IN_PLACE: dict[str, Function] = {
    "uniform_": uniform, "normal_": normal_numbers, "exponential_": exponential, "bernoulli_": ones_with,
}  # fmt: skip
FUNCTIONS: dict[str, Function] = {
    "manual_seed": manual_seed, "seed": new_seed, "initial_seed": initial_seed, "get_rng_state": get_rng_state,
    "set_rng_state": set_rng_state, "rand": rand, "randn": randn, "rand_like": rand_like, "randn_like": randn_like,
    "randint": randint, "randint_like": randint_like, "randperm": randperm, "normal": normal,
    "bernoulli": bernoulli, "multinomial": multinomial, "poisson": poisson,
}  # fmt: skip
