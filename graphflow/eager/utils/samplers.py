"""Samplers: in which order a `DataLoader` takes the examples.

Policy: PyTorch's names and arguments.  A sampler is anything that is iterated over; these draw anew for every pass.

State: each its generator, if it was given one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.eager.generator import drawn, random_order
from graphflow.eager.storage import plain_array
from graphflow.errors import InvalidArgumentError, UnimplementedError, shown
from graphflow.ops import random


class Sampler:
    """Numbers of examples: a subclass has `__iter__`, and `__len__` if it knows how many."""

    def __init__(self, data_source: Any = None) -> None:
        """The data set is not kept."""

    def __iter__(self) -> Iterator[Any]:
        raise UnimplementedError(f"{type(self).__name__} has no __iter__", hint="def __iter__(self): yield ...")


class SequentialSampler(Sampler):
    """0, 1, 2, ..."""

    def __init__(self, data_source: Any) -> None:
        super().__init__()
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """All examples in random order; with `replacement` each may come several times."""

    def __init__(
        self, data_source: Any, replacement: bool = False, num_samples: int | None = None, generator: Any = None
    ) -> None:
        super().__init__()
        self.data_source, self.replacement, self.generator = data_source, replacement, generator
        self.num_samples = len(data_source) if num_samples is None else num_samples
        if self.num_samples < 1:
            raise InvalidArgumentError("num_samples is positive", got=shown(self.num_samples))

    def __iter__(self) -> Iterator[int]:
        total, left = len(self.data_source), self.num_samples
        if self.replacement:
            yield from _drawn(np.ones(total), left, True, self.generator)
            return
        while left > 0:
            order = random_order(total, self.generator)[:left].tolist()
            yield from order
            left -= len(order)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """Some examples, in random order."""

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        super().__init__()
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        return (self.indices[i] for i in random_order(len(self.indices), self.generator).tolist())

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Examples drawn with probabilities that are in proportion to their weights."""

    def __init__(self, weights: Any, num_samples: int, replacement: bool = True, generator: Any = None) -> None:
        super().__init__()
        self.weights = plain_array(weights).astype(np.float64)
        self.num_samples, self.replacement, self.generator = num_samples, replacement, generator
        if num_samples < 1:
            raise InvalidArgumentError("num_samples is positive", got=shown(num_samples))
        if self.weights.ndim != 1 or not self.weights.size or (self.weights < 0).any() or not self.weights.sum() > 0:
            raise InvalidArgumentError("weights are numbers >= 0, not all of them 0", got=shown(weights))
        possible = int(np.count_nonzero(self.weights))
        if not replacement and num_samples > possible:
            raise InvalidArgumentError(
                "without replacement each example comes once", expected=f"at most {possible}", got=str(num_samples)
            )

    def __iter__(self) -> Iterator[int]:
        return iter(_drawn(self.weights, self.num_samples, self.replacement, self.generator))

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """The numbers of a sampler in lists of `batch_size`."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        super().__init__()
        if batch_size < 1:
            raise InvalidArgumentError("batch_size is positive", got=shown(batch_size))
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        rows: list[int] = []
        for row in self.sampler:
            rows.append(row)
            if len(rows) == self.batch_size:
                yield rows
                rows = []
        if rows and not self.drop_last:
            yield rows

    def __len__(self) -> int:
        sampler: Any = self.sampler
        total = len(sampler)
        return total // self.batch_size if self.drop_last else -(-total // self.batch_size)


def _uniform(count: int, generator: Any) -> Any:
    """Numbers in [0, 1) of a generator, or of the stream that `manual_seed` starts."""
    return drawn(lambda: random.random_uniform([count], dtype=dtypes.float64), generator)


def _drawn(weights: Any, count: int, replacement: bool, generator: Any) -> list[int]:
    """Places, drawn in proportion to weights."""
    if replacement:
        ends = np.cumsum(weights)
        found = np.searchsorted(ends, _uniform(count, generator) * ends[-1], side="right")
        return [int(i) for i in np.minimum(found, np.flatnonzero(weights)[-1])]
    # The smallest of exponential times come in the order of draws without replacement.
    with np.errstate(divide="ignore"):
        times = -np.log1p(-_uniform(len(weights), generator)) / weights
    return [int(i) for i in np.argsort(np.where(weights > 0, times, np.inf), kind="stable")[:count]]
