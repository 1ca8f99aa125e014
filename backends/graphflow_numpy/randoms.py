"""Kernels of the random ops: which stream of `philox` an op draws from, and what it makes of it.

Policy: which stream that is `graphflow.numerics.streams` decides, for every backend.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.backend import Run
from graphflow.errors import InvalidArgumentError
from graphflow.numerics.streams import Seed, stream
from graphflow_numpy import philox
from graphflow_numpy.table import kernel, rows


def _sizes(shape: Any) -> tuple[int, ...]:
    sizes = tuple(shape.tolist())
    if sizes and min(sizes) < 0:
        raise InvalidArgumentError("a size cannot be negative", expected="sizes >= 0", got=str(list(sizes)))
    return sizes


def _drawn(dtype: Any) -> np.dtype[Any]:
    """The NumPy dtype to draw in: bfloat16 is rounded from float32."""
    return dtype.np if dtype.np.kind == "f" else np.dtype(np.float32)


def _as(value: Any, dtype: Any) -> Any:
    return value if value.dtype == dtype.np else value.astype(dtype.np)


def _floats(draw: Any) -> Any:
    def compute(run: Run, shape: Any, *, dtype: Any, seed: Seed) -> Any:
        return _as(draw(*stream(run, seed), _sizes(shape), _drawn(dtype)), dtype)

    return compute


rows(
    {
        "RandomUniform": _floats(philox.uniform),
        "RandomStandardNormal": _floats(philox.normal),
        "TruncatedNormal": _floats(philox.truncated_normal),
    },
    needs_run=True,
)


@kernel("RandomUniformInt", needs_run=True)
def _uniform_int(run: Run, shape: Any, low: Any, high: Any, *, seed: Seed) -> Any:
    sizes = _sizes(shape)
    if np.any(low >= high):
        raise InvalidArgumentError("Need minval < maxval", got=f"{np.max(low)} >= {np.min(high)}")
    return philox.uniform_int(*stream(run, seed), sizes, low.dtype, low, high)


@kernel("RandomBernoulli", needs_run=True)
def _bernoulli(run: Run, shape: Any, probability: Any, *, seed: Seed) -> Any:
    return philox.bernoulli_mask(*stream(run, seed), _sizes(shape), probability)


@kernel("RandomGamma", needs_run=True)
def _gamma(run: Run, shape: Any, alpha: Any, *, dtype: Any, seed: Seed) -> Any:
    sizes = (*_sizes(shape), *np.shape(alpha))
    drawn = philox.gamma(*stream(run, seed), sizes, np.asarray(alpha, np.float64), _drawn(dtype))
    return _as(np.maximum(drawn, np.finfo(drawn.dtype).tiny), dtype)


@kernel("RandomPoissonV2", needs_run=True)
def _poisson(run: Run, shape: Any, rate: Any, *, dtype: Any, seed: Seed) -> Any:
    sizes = (*_sizes(shape), *np.shape(rate))
    drawn = dtype.np if dtype.is_integer else _drawn(dtype)
    return _as(philox.poisson(*stream(run, seed), sizes, np.asarray(rate, np.float64), drawn), dtype)


@kernel("Multinomial", needs_run=True)
def _multinomial(run: Run, logits: Any, num_samples: Any, *, dtype: Any, seed: Seed) -> Any:
    return philox.multinomial(*stream(run, seed), logits, int(num_samples), dtype.np)


@kernel("RandomShuffle", needs_run=True)
def _shuffle(run: Run, value: Any, *, seed: Seed) -> Any:
    if np.ndim(value) == 0:
        return np.array(value)[()]
    return np.take(value, philox.shuffle_permutation(*stream(run, seed), len(value)), axis=0)


@kernel("RandomOrthogonal", needs_run=True)
def _orthogonal(run: Run, *, rows: int, columns: int, dtype: Any, seed: Seed) -> Any:
    tall, wide = max(rows, columns), min(rows, columns)
    q, r = np.linalg.qr(philox.normal(*stream(run, seed), (tall, wide), np.float64))
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)  # without this the distribution is not uniform
    return np.ascontiguousarray(q.T if rows < columns else q, dtype.np)
