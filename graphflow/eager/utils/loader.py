"""`DataLoader`: a data set in mini-batches.

Policy: PyTorch's names and arguments.  Loading happens in the thread that iterates: the batches are the same whatever
`num_workers` says, so it and what else is for processes of loading is accepted and changes nothing.

State: each loader its generator, if it was given one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from graphflow.eager.calling import checked
from graphflow.eager.generator import Generator, random_order
from graphflow.eager.utils.datasets import IterableDataset, batches_at_once, default_collate, examples_of
from graphflow.errors import DTypeError, FailedPreconditionError, InvalidArgumentError, shown

_OF_WORKERS = (
    "timeout", "worker_init_fn", "multiprocessing_context", "prefetch_factor", "persistent_workers",
    "pin_memory_device", "in_order",
)  # fmt: skip


class NoLengthError(FailedPreconditionError, TypeError):
    """Nobody knows how many examples there are."""


class DataLoader:
    """Iterate over a data set in mini-batches; `shuffle` draws a new order for every pass."""

    @checked
    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        *,
        generator: Any = None,
        **of_workers: Any,
    ) -> None:
        if not hasattr(dataset, "__getitem__") and not hasattr(dataset, "__iter__"):
            raise DTypeError("a dataset has examples, by number or one after the other", got=shown(dataset))
        if batch_size is not None and batch_size < 1:
            raise InvalidArgumentError("batch_size is positive", got=shown(batch_size))
        if not isinstance(num_workers, int) or num_workers < 0:
            raise InvalidArgumentError("num_workers is an integer >= 0", got=shown(num_workers), hint="num_workers=0")
        if unknown := of_workers.keys() - set(_OF_WORKERS):
            raise InvalidArgumentError("DataLoader has no such argument", got=", ".join(sorted(unknown)))
        orders = [name for name, given in (("sampler", sampler), ("batch_sampler", batch_sampler)) if given is not None]
        if shuffle and orders:
            raise InvalidArgumentError("a sampler decides the order itself", expected="shuffle=False")
        if len(orders) == 2 or (batch_sampler is not None and drop_last):
            raise InvalidArgumentError("batch_sampler decides alone what a batch is", got=", ".join(orders))
        if isinstance(dataset, IterableDataset) and (shuffle or orders):
            raise InvalidArgumentError(
                "an IterableDataset decides the order itself", expected="neither shuffle nor a sampler"
            )
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.shuffle, self.sampler, self.batch_sampler = bool(shuffle), sampler, batch_sampler
        self.num_workers, self.collate_fn = num_workers, collate_fn
        self.generator = Generator().manual_seed(generator) if isinstance(generator, int) else generator

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return _count(self.batch_sampler)
        total = _count(self.dataset if self.sampler is None else self.sampler)
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

    def _examples(self) -> Iterator[Any]:
        """The examples, one by one."""
        if isinstance(self.dataset, IterableDataset):
            return iter(self.dataset)
        return (self.dataset[row] for row in self._order())

    def _lists(self) -> Iterator[Any]:
        """The examples of each batch, or the batch itself where the data set makes it."""
        if isinstance(self.dataset, IterableDataset):
            examples = self._examples()
            while rows := list(itertools.islice(examples, self.batch_size)):
                if len(rows) == self.batch_size or not self.drop_last:
                    yield rows
        else:
            for numbers in self._batches():
                yield examples_of(self.dataset, numbers)

    def __iter__(self) -> Iterator[Any]:
        if self.batch_size is None and self.batch_sampler is None:  # examples as they are
            yield from self._examples() if self.collate_fn is None else map(self.collate_fn, self._examples())
            return
        take = batches_at_once(self.dataset) if self.collate_fn is None else None
        if take is not None:
            yield from map(take, self._batches())
        else:
            yield from map(self.collate_fn or default_collate, self._lists())


def _count(items: Any) -> int:
    if not hasattr(items, "__len__"):
        raise NoLengthError(
            f"{type(items).__name__} does not say how many examples there are", hint="def __len__(self): ..."
        )
    return len(items)
