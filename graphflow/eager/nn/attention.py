"""`F.scaled_dot_product_attention`.

Policy: PyTorch's argument names; made of the library's ops.

State: none.
"""

from __future__ import annotations

import math as scalar
from typing import Any

import numpy as np

from graphflow import spec
from graphflow.eager.mode import placed
from graphflow.eager.nn.noise import dropped
from graphflow.eager.placement import next_to
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.ops import array, casts, compare, core, index, linalg
from graphflow.ops.softmax import softmax


def as_scores(mask: Any, dtype: Any, where: bool) -> Any:
    """What a mask adds to the scores: itself, or if it holds truths 0 where they are `where`, else -inf."""
    given = core.convert_to_tensor(mask)
    if given.dtype.is_floating:
        return given if given.dtype is dtype else casts.cast(given, dtype)
    open_ = given if where else compare.logical_not(given)
    zeros = array.zeros_like(given, dtype)
    return index.where(open_, zeros, zeros - np.inf)


def causal_mask(rows: int, columns: int) -> Any:
    """Truths up to the diagonal: a place sees itself and what comes before."""
    return np.tri(rows, columns, dtype=bool)


@placed
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(query @ key.T * scale + mask) @ value; a mask of truths says who takes part."""
    q, k, v = (core.convert_to_tensor(x) for x in (query, key, value))
    if enable_gqa:
        k, v = (_for_each_head(x, q) for x in (k, v))
    return attend(q, k, v, attn_mask, dropout_p, is_causal, scale)[0]


def _for_each_head(x: Any, q: Any) -> Any:
    """Heads that several heads of the queries share, once for each of those."""
    count, rest = divmod(q.dims[-3], x.dims[-3])
    if rest:
        raise ShapeError("enable_gqa shares heads evenly", got=f"{q.dims[-3]} heads over {x.dims[-3]}")
    return index.gather(x, np.repeat(np.arange(x.dims[-3]), count), axis=len(x.dims) - 3)


def attend(
    q: Any, k: Any, v: Any, mask: Any = None, dropout: float = 0.0, causal: bool = False, scale: float | None = None
) -> tuple[Any, Any]:
    """What attention finds, and the weights that it gives."""
    if q.dims[-1] != k.dims[-1] or not spec.compatible(k.dims[-2:-1], v.dims[-2:-1]):
        raise ShapeError(
            "attention: queries and keys have one size, keys and values one number",
            got=", ".join(spec.describe(x.dims) for x in (q, k, v)),
        )
    scores = linalg.matmul(q * (1.0 / scalar.sqrt(q.dims[-1]) if scale is None else float(scale)), k, transpose_b=True)
    if causal:
        if mask is not None:
            raise InvalidArgumentError("is_causal is a mask of its own", expected="attn_mask=None")
        if None in (q.dims[-2], k.dims[-2]):
            raise ShapeError("is_causal needs to know the lengths", got=spec.describe(q.dims))
        scores = scores + next_to(as_scores(causal_mask(q.dims[-2], k.dims[-2]), scores.dtype, True), scores)
    if mask is not None:
        scores = scores + as_scores(mask, scores.dtype, True)
    weights = softmax(scores, -1)
    if dropout:
        weights = dropped(weights, float(dropout))
    return linalg.matmul(weights, v), weights
