"""Second derivatives and forward mode, from reverse mode applied twice.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.constants import convert_to_tensor
from graphflow.gradients import gradients, listed, tensors
from graphflow.graph import get_default_graph
from graphflow.ops import array, functional
from graphflow.tensor import Tensor


def hessians(ys: Any, xs: Any, name: str = "hessians", **kwargs: Any) -> list[Any]:
    """The matrix of second derivatives of the sum of `ys` for each of `xs` (of any rank: shape x.shape + x.shape)."""
    out = []
    with get_default_graph().name_scope(name):
        for x, dy in zip(listed(xs), gradients(ys, xs, **kwargs), strict=True):
            out.append(None if dy is None else _jacobian(dy, x))
    return out


def _jacobian(y: Tensor, x: Any) -> Any:
    flat = array.reshape(y, [-1])
    size = array.size(flat)
    value = x if isinstance(x, Tensor) else convert_to_tensor(x)
    source = value if value.op.type != "ReadVariable" else x

    def row(i: Any) -> Any:
        g = gradients(flat[i], source)[0]
        return array.zeros_like(value) if g is None else convert_to_tensor(g)

    rows = functional.map_fn(row, array.range_(size), dtype=y.dtype)
    return array.reshape(rows, array.concat([array.shape(y), array.shape(value)], 0))


def jvp(ys: Any, xs: Any, tangents: Any, name: str = "jvp") -> list[Any]:
    """Forward mode: the directional derivatives of `ys` along `tangents` of `xs`, by differentiating twice."""
    targets = tensors(ys, "ys")
    with get_default_graph().name_scope(name):
        seeds = [array.zeros_like(y) for y in targets]
        pulled = gradients(targets, xs, grad_ys=seeds)
        pairs = [(g, t) for g, t in zip(pulled, listed(tangents), strict=True) if g is not None]
        if not pairs:
            return [None] * len(targets)
        found = gradients([g for g, _ in pairs], seeds, grad_ys=[t for _, t in pairs])
        return [array.zeros_like(y) if g is None else convert_to_tensor(g) for g, y in zip(found, targets, strict=True)]
