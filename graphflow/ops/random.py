"""Random ops: uniform, normal, gamma, Poisson, categorical draws, shuffling and cropping.

Policy: a draw is a function of the op's seed pair, the number of the session's run and the iterations of the loops
around the op, so it is the same on every backend, for any schedule, and one evaluation serves all readers in a run.
The pair is (graph seed, op seed).  An op without a seed of its own gets a number counted per outermost graph; where
neither is given the session's own entropy takes the graph seed's place, so each session draws differently.
Scale and offset are ordinary ops around a standard draw and have gradients; the draws have none.

State: per outermost graph, in `graph.store["random_ops"]`: how many ops had no seed of their own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from graphflow import constants, dtypes, spec
from graphflow.dtypes import DType, as_dtype
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.graph import get_default_graph
from graphflow.opdef import call, op
from graphflow.ops import array, compare, control, core, flops, math, slicing, state
from graphflow.ops.arguments import as_tensor, check_scalar, shape_vector
from graphflow.ops.inference import check_kind, like_first
from graphflow.spec import Dims, TensorSpec

DEFAULT_GRAPH_SEED = 87654321
_FIRST_OF_NO_SEED = -(2**63)  # far from the seeds that people choose

# -- seeds -----------------------------------------------------------------------------------------------------------


def _seed(value: Any, what: str) -> int | None:
    if value is None:
        return None
    try:
        return operator.index(value)
    except TypeError:
        raise DTypeError(f"the {what} seed is an integer", got=repr(value)[:80]) from None


def set_random_seed(seed: int | None) -> None:
    """Set the graph seed, for the random ops that are built from now on."""
    state.outermost(get_default_graph()).seed = _seed(seed, "graph")


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """The seed pair that a random op with `op_seed` would get; (None, None) where nothing is seeded."""
    graph = state.outermost(get_default_graph())
    if graph.seed is None and op_seed is None:
        return None, None
    return seed_pair(op_seed)


def seed_pair(op_seed: int | None) -> tuple[int | None, int]:
    """The seed attribute of a new random op; its first part is None where the session's entropy is to be used."""
    graph = state.outermost(get_default_graph())
    found = _seed(op_seed, "op")
    if found is not None:
        return DEFAULT_GRAPH_SEED if graph.seed is None else graph.seed, found
    count = graph.store.get("random_ops", 0)
    graph.store["random_ops"] = count + 1
    return graph.seed, _FIRST_OF_NO_SEED + count


# -- the draws -------------------------------------------------------------------------------------------------------


def _standard(shape: Any, *, dtype: DType, **seed: Any) -> TensorSpec:
    return TensorSpec(dtype, array.sizes_of(shape))


def _floating(dtype: Any, what: str) -> DType:
    found = as_dtype(dtype)
    if not found.is_floating:
        raise DTypeError(f"{what} draws floating-point numbers", expected="a floating dtype", got=found.name)
    return found


@op("RandomUniform", infer=_standard, stateful=True, differentiable=False, weight=40)
def standard_uniform(shape: Any, dtype: Any, seed: Any, name: str | None = None) -> Any:
    """Uniform in [0, 1)."""
    return call((shape_vector(shape),), name, dtype=_floating(dtype, "random_uniform"), seed=seed)


@op("RandomStandardNormal", infer=_standard, stateful=True, differentiable=False, weight=100)
def standard_normal(shape: Any, dtype: Any, seed: Any, name: str | None = None) -> Any:
    """Normal with mean 0 and standard deviation 1."""
    return call((shape_vector(shape),), name, dtype=_floating(dtype, "random_normal"), seed=seed)


@op("TruncatedNormal", infer=_standard, stateful=True, differentiable=False, weight=100)
def standard_truncated_normal(shape: Any, dtype: Any, seed: Any, name: str | None = None) -> Any:
    """Standard normal restricted to [-2, 2]."""
    return call((shape_vector(shape),), name, dtype=_floating(dtype, "truncated_normal"), seed=seed)


def _within(dims: Dims, parameter: Any, what: str) -> None:
    """Raise unless a parameter broadcasts to the shape of the draw."""
    if (
        dims is not None
        and parameter.dims is not None
        and not spec.compatible(dims, spec.broadcast(dims, parameter.dims))
    ):
        raise ShapeError(
            f"{what} does not broadcast to the shape", expected=spec.describe(dims), got=spec.describe(parameter.dims)
        )


def _uniform_int(shape: Any, low: Any, high: Any, **seed: Any) -> TensorSpec:
    check_kind(low, "integer")
    dims = array.sizes_of(shape)
    _within(dims, low, "minval")
    _within(dims, high, "maxval")
    if isinstance(low.hint, int) and isinstance(high.hint, int) and low.hint >= high.hint:
        raise InvalidArgumentError("Need minval < maxval", got=f"{low.hint} >= {high.hint}")
    return TensorSpec(low.dtype, dims)


@op("RandomUniformInt", infer=_uniform_int, same_dtype=(1, 2), stateful=True, differentiable=False, weight=40)
def uniform_integers(shape: Any, low: Any, high: Any, seed: Any, name: str | None = None) -> Any:
    """Integers in [low, high), which may be tensors that broadcast to the shape."""
    return call((shape_vector(shape), low, high), name, seed=seed)


def _bernoulli(shape: Any, probability: Any, **seed: Any) -> TensorSpec:
    check_kind(probability, "float")
    dims = array.sizes_of(shape)
    _within(dims, probability, "the probability")
    return TensorSpec(dtypes.bool_, dims)


@op("RandomBernoulli", infer=_bernoulli, same_dtype=None, stateful=True, differentiable=False, weight=40)
def _bernoulli_mask(shape: Any, probability: Any, seed: Any, name: str | None = None) -> Any:
    return call((shape_vector(shape), probability), name, seed=seed)


def bernoulli(shape: Any, probability: Any, seed: Any = None, name: str | None = None) -> Any:
    """True with that probability."""
    return _bernoulli_mask(shape, probability, seed_pair(seed), name=name)


def _shaped_by_parameter(shape: Any, parameter: Any, *, dtype: DType, **seed: Any) -> TensorSpec:
    check_kind(parameter, "float")
    dims = array.sizes_of(shape)
    return TensorSpec(dtype, None if dims is None or parameter.dims is None else dims + parameter.dims)


@op("RandomGamma", infer=_shaped_by_parameter, same_dtype=None, stateful=True, differentiable=False, functions=20)
def standard_gamma(shape: Any, alpha: Any, dtype: Any, seed: Any, name: str | None = None) -> Any:
    """`shape` draws for each element of `alpha`, with rate 1."""
    return call((shape_vector(shape), alpha), name, dtype=dtype, seed=seed)


@op("RandomPoissonV2", infer=_shaped_by_parameter, same_dtype=None, stateful=True, differentiable=False, functions=20)
def _poisson(shape: Any, rate: Any, dtype: Any, seed: Any, name: str | None = None) -> Any:
    return call((shape_vector(shape), rate), name, dtype=dtype, seed=seed)


def _classes(logits: Any, num_samples: Any, *, dtype: DType, **seed: Any) -> TensorSpec:
    check_kind(logits, "float")
    check_kind(num_samples, "integer")
    check_scalar(num_samples, "num_samples")
    if logits.dims is not None and len(logits.dims) != 2:
        raise ShapeError("logits are a matrix [batch, classes]", expected="rank 2", got=spec.describe(logits.dims))
    if logits.dims is not None and logits.dims[1] == 0:
        raise ShapeError("logits need at least one class", got=spec.describe(logits.dims))
    if not dtype.is_integer:
        raise DTypeError("classes are integers", expected="int32 or int64", got=dtype.name)
    return TensorSpec(dtype, (None if logits.dims is None else logits.dims[0], num_samples.hint))


@op("Multinomial", infer=_classes, same_dtype=None, stateful=True, differentiable=False, weight=100)
def _multinomial(logits: Any, num_samples: Any, dtype: Any, seed: Any, name: str | None = None) -> Any:
    return call((logits, num_samples), name, dtype=dtype, seed=seed)


def _shuffled(x: Any, **seed: Any) -> TensorSpec:
    return like_first(x)._replace(hint=None)


@op("RandomShuffle", infer=_shuffled, stateful=True, differentiable=False, weight=40)
def _shuffle(value: Any, seed: Any, name: str | None = None) -> Any:
    return call((value,), name, seed=seed)


def _orthogonal(*, rows: int, columns: int, dtype: DType, **seed: Any) -> TensorSpec:
    return TensorSpec(dtype, (rows, columns))


@op("RandomOrthogonal", infer=_orthogonal, stateful=True, differentiable=False, flops=flops.factorisation(10))
def _orthogonal_matrix(rows: int, columns: int, dtype: Any, seed: Any, name: str | None = None) -> Any:
    return call((), name, rows=rows, columns=columns, dtype=_floating(dtype, "an orthogonal matrix"), seed=seed)


def random_orthogonal(
    rows: int, columns: int, dtype: Any = dtypes.float32, seed: Any = None, name: str | None = None
) -> Any:
    """A matrix with orthonormal rows or columns (whichever are fewer), uniform over all of these."""
    return _orthogonal_matrix(rows, columns, dtype, seed_pair(seed), name=name)


# -- the public functions --------------------------------------------------------------------------------------------


def _plain(value: Any, number: int) -> bool:
    return type(value) in (int, float) and value == number


def _moved(draw: Callable[..., Any], scale: Any, offset: Any, scope: str) -> Any:
    """`draw() * scale + offset`, the last op of which has the name of the scope."""
    scaled, shifted = not _plain(scale, 1), not _plain(offset, 0)
    found = draw(name=None if scaled or shifted else scope)
    if scaled:
        found = math.multiply(found, scale, name="mul" if shifted else scope)
    return math.add(found, offset, name=scope) if shifted else found


def random_uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = dtypes.float32,
    seed: Any = None,
    name: str | None = None,
) -> Any:
    """Uniform in [minval, maxval): floats, by default in [0, 1), or integers."""
    dtype = as_dtype(dtype)
    if maxval is None:
        if dtype.is_integer:
            raise InvalidArgumentError(
                f"Must specify maxval for integer dtype {dtype.name}", hint="tf.random_uniform(shape, 0, 10, tf.int32)"
            )
        maxval = 1
    with core.name_scope(name, "random_uniform") as scope:
        pair = seed_pair(seed)
        if dtype.is_integer:
            low, high = (constants.convert_to_tensor(v, dtype) for v in (minval, maxval))
            return uniform_integers(shape, low, high, pair, name=scope)
        return _moved(
            lambda name: standard_uniform(shape, dtype, pair, name=name), _width(minval, maxval, dtype), minval, scope
        )


def _width(minval: Any, maxval: Any, dtype: DType) -> Any:
    if all(isinstance(v, (int, float)) for v in (minval, maxval)):
        return maxval - minval
    return math.subtract(constants.convert_to_tensor(maxval, dtype), constants.convert_to_tensor(minval, dtype))


def random_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: Any = None,
    name: str | None = None,
) -> Any:
    """Normally distributed."""
    with core.name_scope(name, "random_normal") as scope:
        pair = seed_pair(seed)
        return _moved(lambda name: standard_normal(shape, dtype, pair, name=name), stddev, mean, scope)


def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: Any = None,
    name: str | None = None,
) -> Any:
    """Normally distributed, but never further than two standard deviations from the mean."""
    with core.name_scope(name, "truncated_normal") as scope:
        pair = seed_pair(seed)
        return _moved(lambda name: standard_truncated_normal(shape, dtype, pair, name=name), stddev, mean, scope)


def random_gamma(
    shape: Any, alpha: Any, beta: Any = None, dtype: Any = dtypes.float32, seed: Any = None, name: str | None = None
) -> Any:
    """Draws of that shape from the gamma distribution of each pair of `alpha` and rate `beta` (1 by default)."""
    dtype = _floating(dtype, "random_gamma")
    with core.name_scope(name, "random_gamma") as scope:
        alpha = constants.convert_to_tensor(alpha, dtype)
        if beta is None:
            return standard_gamma(shape, alpha, dtype, seed_pair(seed), name=scope)
        beta = constants.convert_to_tensor(beta, dtype)
        return standard_gamma(shape, alpha + array.zeros_like(beta), dtype, seed_pair(seed)) / beta


def random_poisson(lam: Any, shape: Any, dtype: Any = dtypes.float32, seed: Any = None, name: str | None = None) -> Any:
    """Draws of that shape from the Poisson distribution of each rate in `lam`."""
    dtype = as_dtype(dtype)
    if not (dtype.is_floating or dtype.is_integer):
        raise DTypeError("random_poisson draws numbers", expected="a floating or integer dtype", got=dtype.name)
    rate = constants.convert_to_tensor(lam, None if hasattr(lam, "dtype") else dtypes.float32)
    return _poisson(shape, rate, dtype, seed_pair(seed), name=name or "random_poisson")


def multinomial(
    logits: Any, num_samples: Any, seed: Any = None, name: str | None = None, output_dtype: Any = None
) -> Any:
    """[batch, num_samples] classes drawn with the unnormalised log-probabilities of each row of `logits`."""
    dtype = dtypes.int64 if output_dtype is None else as_dtype(output_dtype)
    return _multinomial(logits, num_samples, dtype, seed_pair(seed), name=name or "multinomial")


def categorical(logits: Any, num_samples: Any, dtype: Any = None, seed: Any = None, name: str | None = None) -> Any:
    """[batch, num_samples] classes drawn with the unnormalised log-probabilities of each row of `logits`."""
    return multinomial(logits, num_samples, seed, name or "categorical", dtype)


def random_shuffle(value: Any, seed: Any = None, name: str | None = None) -> Any:
    """The same rows in random order."""
    return _shuffle(value, seed_pair(seed), name=name)


def random_crop(value: Any, size: Any, seed: Any = None, name: str | None = None) -> Any:
    """A slice of that size at a random place."""
    with core.name_scope(name, "random_crop") as scope:
        value = as_tensor(value)
        wanted = constants.convert_to_tensor(shape_vector(size))
        room = array.shape(value, out_type=wanted.dtype) - wanted
        checks = _check_room(value, wanted, room)
        with core.control_dependencies(checks):
            rank = array.shape(wanted)
            zero = constants.convert_to_tensor(0, wanted.dtype)
            offset = uniform_integers(rank, zero, room + 1, seed_pair(seed), name="offset")
        return slicing.slice_(value, offset, wanted, name=scope)


def _check_room(value: Any, wanted: Any, room: Any) -> list[Any]:
    """Raise if the slice is larger than the value; the check as an op where that shows only in a run."""
    if value.dims is not None and wanted.dims is not None and wanted.dims[0] not in (None, len(value.dims)):
        raise ShapeError(
            "random_crop needs a size for each axis", expected=f"{len(value.dims)} sizes", got=str(wanted.dims[0])
        )
    hint = room.hint if isinstance(room.hint, tuple) else (None,)
    if any(d is not None and d < 0 for d in hint):
        raise ShapeError(
            "Need value.shape >= size", expected=f"at most {spec.describe(value.dims)}", got=str(list(wanted.hint))
        )
    if None not in hint:
        return []
    return [control.assert_true(compare.greater_equal(room, 0), message="random_crop: Need value.shape >= size")]
