"""Modules that are one function: linear layers, embeddings, dropout, activations.

Policy: PyTorch's names, argument names, defaults and initial values; what they compute is in `functional`.

State: the parameters of each module.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import spec
from graphflow.eager import shaping
from graphflow.eager.nn import functional, init
from graphflow.eager.nn.module import Module
from graphflow.eager.nn.noise import probability
from graphflow.eager.nn.parameter import Parameter, empty_parameter
from graphflow.eager.storage import overwrite, plain_array
from graphflow.errors import InvalidArgumentError, ShapeError, shown
from graphflow.ops import array, core


class Identity(Module):
    """What comes in goes out; arguments of the constructor are ignored."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """The input."""
        return input


class Linear(Module):
    """x @ weight.T + bias; `weight` is [out_features, in_features]."""

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = empty_parameter((out_features, in_features), dtype, device)
        self.register_parameter("bias", empty_parameter((out_features,), dtype, device) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the values anew: uniform within 1 / sqrt(in_features)."""
        init.uniform_by_inputs(self.weight, self.bias)

    def forward(self, input: Any) -> Any:
        """The layer's output."""
        return functional.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        told = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={told}"


class Embedding(Module):
    """A table with one vector for each number; the row `padding_idx` is zeros, and stays so."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
        _weight: Any = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise InvalidArgumentError(
                "padding_idx is a row", expected=f"0 ... {num_embeddings - 1}", got=shown(padding_idx)
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        if _weight is not None:
            self.weight = Parameter(_weight)
        else:
            self.weight = empty_parameter((num_embeddings, embedding_dim), dtype, device)
            self.reset_parameters()

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None) -> Embedding:
        """A module with this table; frozen, it is not learned."""
        rows, columns = plain_array(embeddings).shape
        made = cls(rows, columns, padding_idx, _weight=embeddings)
        made.requires_grad_(not freeze)
        return made

    def reset_parameters(self) -> None:
        """Draw the values anew: standard normal."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            values = np.array(plain_array(self.weight))
            values[self.padding_idx] = 0
            overwrite(self.weight, values)

    def forward(self, input: Any) -> Any:
        """The rows at these numbers."""
        return functional.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Sizes."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` become one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Any) -> Any:
        """The flattened tensor."""
        x = core.convert_to_tensor(input)
        if x.dims is None:
            raise ShapeError("Flatten needs to know how many axes there are", got="unknown rank", hint="x.set_shape")
        return shaping.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis becomes several."""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Any) -> Any:
        """The tensor with more axes."""
        x: Any = core.convert_to_tensor(input)
        at = spec.normal_axis(self.dim, len(x.dims))
        sizes = [*x.dims[:at], *self.unflattened_size, *x.dims[at + 1 :]]
        return array.reshape(x, [-1 if d is None else d for d in sizes])

    def extra_repr(self) -> str:
        """Axis and sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Dropout(Module):
    """While training each element becomes 0 with probability p; the others are divided by 1 - p."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        probability(p)
        self.p, self.inplace = p, inplace

    def forward(self, input: Any) -> Any:
        """The input, thinned out."""
        return functional.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}, inplace={self.inplace}"
