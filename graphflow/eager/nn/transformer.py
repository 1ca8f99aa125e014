"""Attention with several heads, and the layers of transformers.

Policy: PyTorch's names, argument names, defaults, initial values and order of what is in a state.  A mask of truths
says who is left out, as in PyTorch's modules (and other than in `F.scaled_dot_product_attention`).

State: the parameters of each module.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from graphflow import spec
from graphflow.eager.nn import functional, init
from graphflow.eager.nn.attention import as_scores, attend, causal_mask
from graphflow.eager.nn.containers import ModuleList
from graphflow.eager.nn.layers import Dropout, Linear
from graphflow.eager.nn.module import Module
from graphflow.eager.nn.normalisation import LayerNorm
from graphflow.eager.nn.parameter import empty_parameter
from graphflow.errors import InvalidArgumentError, ShapeError, shown
from graphflow.ops import arrange, array, core, reduce


class MultiheadAttention(Module):
    """Attention in several subspaces at once, each of size embed_dim / num_heads."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise InvalidArgumentError("num_heads divides embed_dim", got=f"{embed_dim} by {num_heads}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.head_dim = embed_dim // num_heads
        alike = self.kdim == self.vdim == embed_dim
        sizes = {
            "q_proj_weight": None if alike else (embed_dim, embed_dim),
            "k_proj_weight": None if alike else (embed_dim, self.kdim),
            "v_proj_weight": None if alike else (embed_dim, self.vdim),
            "in_proj_weight": (3 * embed_dim, embed_dim) if alike else None,
            "in_proj_bias": (3 * embed_dim,) if bias else None,
        }
        for name, dims in sizes.items():
            self.register_parameter(name, None if dims is None else empty_parameter(dims, dtype, device))
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        for name, dims in sizes.items():
            if dims is not None and len(dims) == 2:
                init.xavier_uniform_(self._parameters[name])
        if bias:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """What attention finds, and its weights, or None for them."""
        given = [core.convert_to_tensor(x) for x in (query, key, value)]
        ranks = {0 if x.dims is None else len(x.dims) for x in given}
        if ranks not in ({2}, {3}):
            raise ShapeError(
                "MultiheadAttention takes three sequences, or three batches of them",
                expected=f"[{'batch, steps' if self.batch_first else 'steps, batch'}, {self.embed_dim}]",
                got=", ".join(spec.describe(x.dims) for x in given),
            )
        whole = ranks == {3}
        if not whole:
            given = [array.expand_dims(x, 0) for x in given]
        elif not self.batch_first:
            given = [arrange.transpose(x, [1, 0, 2]) for x in given]
        q, k, v = (self._in_heads(x) for x in self._projected(*given))
        mask = self._mask(q, k, key_padding_mask, attn_mask, is_causal, whole)
        found, weights = attend(q, k, v, mask, self.dropout if self.training else 0.0)
        y = array.reshape(arrange.transpose(found, [0, 2, 1, 3]), _sizes(given[0], self.embed_dim))
        y = self.out_proj(y)
        if whole and not self.batch_first:
            y = arrange.transpose(y, [1, 0, 2])
        if average_attn_weights:
            weights = reduce.reduce_mean(weights, 1)
        if not whole:
            y, weights = array.squeeze(y, [0]), array.squeeze(weights, [0])
        return y, weights if need_weights else None

    def _projected(self, query: Any, key: Any, value: Any) -> list[Any]:
        """Queries, keys and values."""
        if self.in_proj_weight is not None:
            weights = array.split(self.in_proj_weight, 3, 0)
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        biases = [None] * 3 if self.in_proj_bias is None else array.split(self.in_proj_bias, 3, 0)
        return [functional.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]

    def _in_heads(self, x: Any) -> Any:
        """[batch, steps, size] as [batch, heads, steps, size of a head]."""
        y = array.reshape(x, [*_sizes(x, self.num_heads), self.head_dim])
        return arrange.transpose(y, [0, 2, 1, 3])

    def _mask(self, q: Any, k: Any, padding: Any, mask: Any, causal: bool, whole: bool) -> Any:
        """What is added to the scores [batch, heads, queries, keys]."""
        found = None
        if mask is not None:
            scores = as_scores(mask, q.dtype, False)
            if len(scores.dims) == 3:
                scores = array.reshape(scores, [-1, self.num_heads, *scores.dims[1:]])
            found = scores
        elif causal:
            found = as_scores(causal_mask(q.dims[2], k.dims[2]), q.dtype, True)
        if padding is not None:
            scores = as_scores(padding, q.dtype, False)
            scores = array.expand_dims(array.expand_dims(scores, -2), -2)
            found = scores if found is None else found + scores
        return found


def _sizes(x: Any, last: int) -> list[Any]:
    """The first two sizes of x, and another last one; one that is not known is left open."""
    batch, steps = x.dims[:2]
    if batch is None and steps is None:
        return [array.shape(x)[0], array.shape(x)[1], last]
    return [-1 if batch is None else batch, -1 if steps is None else steps, last]


_ACTIVATIONS: dict[str, Callable[..., Any]] = {"relu": functional.relu, "gelu": functional.gelu}


class _Layer(Module):
    """What the layers of encoders and decoders share: attention, and two linear layers, each beside a way around."""

    _norms = 2

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Any = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not callable(activation) and activation not in _ACTIVATIONS:
            raise InvalidArgumentError(
                "unknown activation", expected=", ".join(map(repr, _ACTIVATIONS)), got=shown(activation)
            )
        where = {"device": device, "dtype": dtype}
        names = ["self_attn", "multihead_attn"][: self._norms - 1]
        for name in names:
            attention = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **where)
            self.add_module(name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **where)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **where)
        self.norm_first = norm_first
        for n in range(1, self._norms + 1):
            self.add_module(f"norm{n}", LayerNorm(d_model, layer_norm_eps, bias=bias, **where))
        for n in range(1, self._norms + 1):
            self.add_module(f"dropout{n}", Dropout(dropout))
        self.activation = activation if callable(activation) else _ACTIVATIONS[activation]

    def _beside(self, x: Any, number: int, block: Callable[[Any], Any]) -> Any:
        """x, and what a block makes of it, normalised before or after."""
        norm, dropout = self._modules[f"norm{number}"], self._modules[f"dropout{number}"]
        return x + dropout(block(norm(x))) if self.norm_first else norm(x + dropout(block(x)))

    def _fed_forward(self, x: Any) -> Any:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself, then a network of two layers at each place."""

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        """The sequence after the layer."""
        x = self._beside(
            src, 1, lambda y: self.self_attn(y, y, y, src_key_padding_mask, False, src_mask, True, is_causal)[0]
        )
        return self._beside(x, 2, self._fed_forward)


class TransformerDecoderLayer(_Layer):
    """Attention of a sequence to itself, to what an encoder made, then a network of two layers at each place."""

    _norms = 3

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        """The sequence after the layer."""
        own = tgt_key_padding_mask, False, tgt_mask, True, tgt_is_causal
        other = memory_key_padding_mask, False, memory_mask, True, memory_is_causal
        x = self._beside(tgt, 1, lambda y: self.self_attn(y, y, y, *own)[0])
        x = self._beside(x, 2, lambda y: self.multihead_attn(y, memory, memory, *other)[0])
        return self._beside(x, 3, self._fed_forward)


class _Stack(Module):
    """Copies of a layer, one after another."""

    def __init__(self, layer: Any, num_layers: int, norm: Any = None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers, self.norm = num_layers, norm

    def _through(self, x: Any, *others: Any, **options: Any) -> Any:
        for layer in self.layers:
            x = layer(x, *others, **options)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """Copies of an encoder's layer, one after another."""

    def __init__(
        self, encoder_layer: Any, num_layers: int, norm: Any = None, enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None
    ) -> Any:
        """The sequence after all layers."""
        return self._through(src, mask, src_key_padding_mask, bool(is_causal))


class TransformerDecoder(_Stack):
    """Copies of a decoder's layer, one after another."""

    def __init__(self, decoder_layer: Any, num_layers: int, norm: Any = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(self, tgt: Any, memory: Any, *masks: Any, **options: Any) -> Any:
        """The sequence after all layers; masks as those of a layer."""
        return self._through(tgt, memory, *masks, **options)
