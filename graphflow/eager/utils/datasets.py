"""Data sets, splitting, and what makes batches of examples; `DataLoader` comes from `loader`.

Policy: PyTorch's names and arguments.  A batch of a `TensorDataset` is taken out of the tensors at once, not example
by example, and lies where they lie.

State: none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphflow.dtypes import from_numpy
from graphflow.eager.generator import random_order
from graphflow.eager.storage import plain_array, relocate
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import InvalidArgumentError, OutOfRangeError, ShapeError, UnimplementedError


class Dataset:
    """Examples by number: a subclass has `__getitem__` and `__len__`."""

    def __getitem__(self, index: Any) -> Any:
        raise UnimplementedError(f"{type(self).__name__} has no __getitem__", hint="def __getitem__(self, index): ...")

    def __add__(self, other: Any) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Examples one after another: a subclass has `__iter__`, and `__len__` if it knows how many."""

    def __iter__(self) -> Iterator[Any]:
        raise UnimplementedError(f"{type(self).__name__} has no __iter__", hint="def __iter__(self): yield ...")

    def __add__(self, other: Any) -> Any:
        raise UnimplementedError("data sets without numbers are not put together", hint="itertools.chain(a, b)")


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


class Subset(Dataset):
    """Some examples of a data set."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


def _without_subsets(dataset: Any, rows: Sequence[int]) -> tuple[Any, Sequence[int]]:
    """The data set that subsets are parts of, and the numbers of examples there."""
    while isinstance(dataset, Subset) and type(dataset).__getitem__ is Subset.__getitem__ and not _several(dataset):
        dataset, rows = dataset.dataset, [dataset.indices[r] for r in rows]
    return dataset, rows


def _several(dataset: Any) -> Callable[[Sequence[int]], Any] | None:
    """A data set's own way to give several examples, `__getitems__`."""
    found: Callable[[Sequence[int]], Any] | None = getattr(dataset, "__getitems__", None)
    return found


def examples_of(dataset: Any, rows: Sequence[int]) -> Any:
    """The examples of a batch."""
    dataset, rows = _without_subsets(dataset, rows)
    several = _several(dataset)
    return [dataset[row] for row in rows] if several is None else several(list(rows))


def batches_at_once(dataset: Any) -> Callable[[Sequence[int]], list[EagerTensor]] | None:
    """What takes several examples out of tensors at once; None if the data set has a way of its own."""
    source, _ = _without_subsets(dataset, ())
    own = not isinstance(source, TensorDataset) or type(source).__getitem__ is not TensorDataset.__getitem__
    if own or _several(source):
        return None

    def take(rows: Sequence[int]) -> list[EagerTensor]:
        at = np.asarray(_without_subsets(dataset, rows)[1], np.int64)
        found = [EagerTensor(plain_array(x)[at], x.dtype) for x in source.tensors]
        for x, made in zip(source.tensors, found, strict=True):
            if x.device != "cpu":
                relocate(made, x.device)
        return found

    return take


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
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    arrays = [plain_array(example) for example in batch]
    if any(a.shape != arrays[0].shape for a in arrays):
        shapes = sorted({str(list(a.shape)) for a in arrays})
        raise ShapeError("the examples have different shapes", got=" and ".join(shapes), hint="collate_fn=")
    return _as_tensor(np.stack(arrays))
