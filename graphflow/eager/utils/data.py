"""Mini-batches: data sets, splitting, and `DataLoader`.

Policy: PyTorch's names and arguments; loading happens in the thread that iterates, so `num_workers` is accepted and
changes nothing.  A batch of a `TensorDataset` is taken out of the tensors at once, not example by example.

State: each loader its generator, if it was given one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphflow.dtypes import from_numpy
from graphflow.eager.storage import plain_array
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.utils.generator import Generator, random_order
from graphflow.errors import InvalidArgumentError, OutOfRangeError, ShapeError, UnimplementedError, shown

__all__ = [
    "ConcatDataset", "DataLoader", "Dataset", "Generator", "Subset", "TensorDataset", "default_collate", "random_split",
]  # fmt: skip


class Dataset:
    """Examples by number: a subclass has `__getitem__` and `__len__`."""

    def __getitem__(self, index: Any) -> Any:
        raise UnimplementedError(f"{type(self).__name__} has no __getitem__", hint="def __getitem__(self, index): ...")

    def __add__(self, other: Any) -> ConcatDataset:
        return ConcatDataset([self, other])


class TensorDataset(Dataset):
    """Tensors whose first axes are the examples."""

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise InvalidArgumentError("TensorDataset takes tensors", expected="one or more")
        self.tensors = tuple(x if isinstance(x, EagerTensor) else _as_tensor(x) for x in tensors)
        counts = [x.dims[0] if x.dims else None for x in self.tensors]
        if None in counts or len(set(counts)) != 1:
            shapes = ", ".join(str(list(x.dims)) for x in self.tensors)
            raise ShapeError("the tensors have different numbers of examples", got=shapes)

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(x[index] for x in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].dims[0]

    def batch(self, rows: Sequence[int]) -> list[EagerTensor]:
        """Several examples at once."""
        return [EagerTensor(plain_array(x)[np.asarray(rows, np.int64)], x.dtype) for x in self.tensors]


class Subset(Dataset):
    """Some examples of a data set."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices
        if hasattr(dataset, "batch"):
            self.batch = self._batch

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)

    def _batch(self, rows: Sequence[int]) -> Any:
        return self.dataset.batch([self.indices[r] for r in rows])


class ConcatDataset(Dataset):
    """Data sets one after another."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        self._ends = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Any:
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise OutOfRangeError(f"no example {index}", expected=f"fewer than {len(self)}")
        which = next(i for i, end in enumerate(self._ends) if at < end)
        return self.datasets[which][at - (self._ends[which - 1] if which else 0)]


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """Disjoint parts of these sizes, or of these shares, in random order."""
    total = len(dataset)
    sizes = _sizes(lengths, total)
    if sum(sizes) != total or min(sizes, default=-1) < 0:
        raise InvalidArgumentError(
            "the parts are not the whole", expected=f"a sum of {total}, or shares of sum 1", got=str(list(lengths))
        )
    order = random_order(total, generator).tolist()
    ends = list(itertools.accumulate(sizes))
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _sizes(lengths: Sequence[float], total: int) -> list[int]:
    """Shares as whole numbers: rounded down, the rest one by one from the front."""
    if not math.isclose(sum(lengths), 1.0) or all(isinstance(n, int) for n in lengths):
        return [int(n) for n in lengths]
    sizes = [math.floor(total * share) for share in lengths]
    for i in range(total - sum(sizes)):
        sizes[i % len(sizes)] += 1
    return sizes


def _as_tensor(values: Any) -> EagerTensor:
    """The tensor of an array, a number, or a list of them; it may share the array's memory."""
    found = plain_array(values)
    kind = from_numpy(found.dtype)
    if kind is None:
        raise InvalidArgumentError("no tensor holds these values", got=str(found.dtype))
    return EagerTensor(found, kind)


def default_collate(batch: Sequence[Any]) -> Any:
    """Examples as a batch: tensors and numbers are stacked; tuples, lists and mappings keep their form."""
    first = batch[0]
    if isinstance(first, Mapping):
        return {key: default_collate([example[key] for example in batch]) for key in first}
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, (tuple, list)):
        if any(len(example) != len(first) for example in batch):
            raise ShapeError("the examples have different lengths", hint="collate_fn=")
        return [default_collate(column) for column in zip(*batch, strict=True)]
    arrays = [plain_array(example) for example in batch]
    if any(a.shape != arrays[0].shape for a in arrays):
        shapes = sorted({str(list(a.shape)) for a in arrays})
        raise ShapeError("the examples have different shapes", got=" and ".join(shapes), hint="collate_fn=")
    return _as_tensor(np.stack(arrays))


class DataLoader:
    """Iterate over a data set in mini-batches; `shuffle` draws a new order for every pass."""

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        *,
        generator: Any = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise InvalidArgumentError("batch_size is positive", got=shown(batch_size))
        if shuffle and (sampler is not None or batch_sampler is not None):
            raise InvalidArgumentError("a sampler decides the order itself", expected="shuffle=False")
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.shuffle, self.sampler, self.batch_sampler = shuffle, sampler, batch_sampler
        self.num_workers, self.collate_fn = num_workers, collate_fn
        self.generator = Generator().manual_seed(generator) if isinstance(generator, int) else generator

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        total = len(self.dataset) if self.sampler is None else len(self.sampler)  # type: ignore[arg-type]
        size = self.batch_size or 1
        return total // size if self.drop_last else -(-total // size)

    def _order(self) -> Iterator[int]:
        if self.sampler is not None:
            return iter(self.sampler)
        total = len(self.dataset)
        return iter(random_order(total, self.generator).tolist() if self.shuffle else range(total))

    def _batches(self) -> Iterator[Sequence[int]]:
        if self.batch_sampler is not None:
            yield from self.batch_sampler
            return
        size, order = self.batch_size or 1, self._order()
        while rows := list(itertools.islice(order, size)):
            if len(rows) == size or not self.drop_last:
                yield rows

    def __iter__(self) -> Iterator[Any]:
        if self.batch_size is None and self.batch_sampler is None:  # examples as they are
            for row in self._order():
                yield self.dataset[row] if self.collate_fn is None else self.collate_fn(self.dataset[row])
            return
        at_once = getattr(self.dataset, "batch", None) if self.collate_fn is None else None
        collate = self.collate_fn or default_collate
        for rows in self._batches():
            yield at_once(rows) if at_once is not None else collate([self.dataset[r] for r in rows])
