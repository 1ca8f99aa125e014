"""Mini-batches: every example once, in an order that the seed decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import eager as torch
from graphflow.eager.utils import data
from graphflow.eager.utils.data import DataLoader, TensorDataset


def numbered(n: int) -> TensorDataset:
    return TensorDataset(torch.arange(n).float() * 2, torch.arange(n))


def test_batches_of_tensors() -> None:
    loader = DataLoader(numbered(10), batch_size=4)
    found = [(x.tolist(), y.tolist()) for x, y in loader]
    assert [y for _, y in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all(x == [2.0 * n for n in y] for x, y in found)
    assert len(loader) == 3 == len(list(loader))
    short = DataLoader(numbered(10), batch_size=4, drop_last=True)
    assert len(short) == 2 == len(list(short))
    x, y = next(iter(loader))
    assert (x.dtype, y.dtype, x.shape) == (tf.float32, tf.int64, (4,))


def order(loader: Any) -> list[int]:
    return [n for _, y in loader for n in y.tolist()]


def test_shuffling_is_decided_by_the_seed() -> None:
    loader = DataLoader(numbered(50), batch_size=8, shuffle=True)
    torch.manual_seed(1)
    first, second = order(loader), order(loader)
    assert sorted(first) == sorted(second) == list(range(50))
    assert len({tuple(first), tuple(second), tuple(range(50))}) == 3
    torch.manual_seed(1)
    assert order(loader) == first

    own = DataLoader(numbered(50), batch_size=8, shuffle=True, generator=7)
    torch.manual_seed(1)
    drawn = order(own)
    torch.manual_seed(2)
    assert order(DataLoader(numbered(50), 8, shuffle=True, generator=7)) == drawn
    assert order(own) != drawn
    generator = data.Generator().manual_seed(7)
    assert order(DataLoader(numbered(50), 8, shuffle=True, generator=generator)) == drawn
    assert generator.initial_seed() == 7


class Squares(data.Dataset):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": np.full(2, index, np.float32), "y": (index, index**0.5), "name": str(index)}


def test_examples_become_batches_of_their_form() -> None:
    first, last = DataLoader(Squares(), batch_size=3)
    assert first["x"].tolist() == [[0, 0], [1, 1], [2, 2]] and first["name"] == ["0", "1", "2"]
    assert first["y"][0].tolist() == [0, 1, 2] and last["y"][1].dtype is tf.float64
    pairs = DataLoader(Squares(), batch_size=2, collate_fn=lambda examples: [e["name"] for e in examples])
    assert list(pairs) == [["0", "1"], ["2", "3"], ["4"]]
    assert [e["name"] for e in DataLoader(Squares(), batch_size=None)] == ["0", "1", "2", "3", "4"]
    assert order(DataLoader(numbered(6), 2, sampler=[5, 3, 1])) == [5, 3, 1]
    chosen = DataLoader(numbered(6), batch_sampler=[[0, 5], [2]])
    assert [y.tolist() for _, y in chosen] == [[0, 5], [2]] and len(chosen) == 2


def test_splitting() -> None:
    whole = numbered(10)
    parts = data.random_split(whole, [7, 3], generator=3)
    assert [len(p) for p in parts] == [7, 3]
    again = data.random_split(whole, [0.7, 0.3], generator=3)
    assert [list(p.indices) for p in parts] == [list(p.indices) for p in again]
    assert sorted(parts[0].indices + parts[1].indices) == list(range(10))
    assert sorted(order(DataLoader(parts[0], 3))) == sorted(parts[0].indices)
    assert [len(p) for p in data.random_split(whole, [0.5, 0.25, 0.25])] == [6, 2, 2]
    x, y = parts[1][0]
    assert (x.item(), y.item()) == (2.0 * parts[1].indices[0], parts[1].indices[0])


def test_sets_one_after_another() -> None:
    both = numbered(3) + numbered(2)
    assert [y.item() for _, y in (both[i] for i in range(5))] == [0, 1, 2, 0, 1]
    assert both[-1][1].item() == 1 and len(both) == 5


class Counting(data.IterableDataset):
    def __iter__(self) -> Any:
        return iter(range(7))


def test_examples_without_numbers() -> None:
    assert [b.tolist() for b in DataLoader(Counting(), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [b.tolist() for b in DataLoader(Counting(), 3, drop_last=True)] == [[0, 1, 2], [3, 4, 5]]
    assert list(DataLoader(Counting(), None)) == list(range(7))
    with pytest.raises(TypeError, match="how many examples"):
        len(DataLoader(Counting(), 3))


def test_a_set_with_a_way_of_its_own_is_asked_for_each_example() -> None:
    class Tens(TensorDataset):
        batch = 3  # a name that is the user's

        def __getitem__(self, index: Any) -> Any:
            return super().__getitem__(index)[1] * 10

    assert [b.tolist() for b in DataLoader(Tens(torch.ones(4), torch.arange(4)), 2)] == [[0, 10], [20, 30]]
    inner = data.Subset(data.Subset(numbered(9), [8, 6, 4, 2]), [3, 0])
    assert order(DataLoader(inner, 2)) == [2, 8]


def test_a_set_that_gives_several_examples_at_once() -> None:
    class Together(TensorDataset):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return [self[i][0] * 10 for i in indices]

    class Once(data.Subset):
        def __getitem__(self, index: Any) -> Any:
            return super().__getitem__(index)[0] + 1

    whole = Together(torch.arange(4))
    assert [b.tolist() for b in DataLoader(whole, 2)] == [[0, 10], [20, 30]]
    assert [b.tolist() for b in DataLoader(data.Subset(whole, [3, 1]), 2)] == [[30, 10]]
    assert [b.tolist() for b in DataLoader(Once(whole, [3, 1]), 2)] == [[4, 2]]
    assert [b.tolist() for b in DataLoader(data.Subset(Once(numbered(4), [3, 1]), [1]), 2)] == [[3.0]]


def test_samplers() -> None:
    generator = data.Generator().manual_seed(5)
    rows = range(6)
    assert list(data.SequentialSampler(rows)) == list(rows)
    assert sorted(data.RandomSampler(rows, generator=generator)) == list(rows)
    again = list(data.RandomSampler(rows, num_samples=9, generator=generator))
    assert len(again) == 9 and sorted(again[:6]) == list(rows)
    many = list(data.RandomSampler(rows, replacement=True, num_samples=400, generator=generator))
    assert len(many) == 400 and set(many) == set(rows)
    assert sorted(data.SubsetRandomSampler([7, 5, 3], generator)) == [3, 5, 7]
    assert list(data.BatchSampler(rows, 4, False)) == [[0, 1, 2, 3], [4, 5]]
    chosen = DataLoader(numbered(6), batch_sampler=data.BatchSampler(data.SequentialSampler(rows), 4, True))
    assert order(chosen) == [0, 1, 2, 3] and len(chosen) == 1


def test_draws_in_proportion_to_weights() -> None:
    generator = data.Generator().manual_seed(1)
    drawn = list(data.WeightedRandomSampler([0.0, 1.0, 3.0, 0.0], 4000, generator=generator))
    counts = np.bincount(drawn, minlength=4)
    assert counts[0] == counts[3] == 0 and 0.7 < counts[2] / 4000 < 0.8  # of a stream that the seed decides
    once = data.WeightedRandomSampler(torch.tensor([0.0, 1.0, 3.0, 2.0]), 3, replacement=False, generator=generator)
    assert sorted(once) == [1, 2, 3] and len(once) == 3


@pytest.mark.parametrize(
    ("misuse", "told"),
    [
        (TensorDataset, "takes tensors"),
        (lambda: TensorDataset(torch.ones(3), torch.ones(4)), "different numbers"),
        (lambda: TensorDataset(torch.tensor(1.0)), "different numbers"),
        (lambda: DataLoader(numbered(3), batch_size=0), "positive"),
        (lambda: DataLoader(numbered(3), shuffle=True, sampler=[1]), "sampler"),
        (lambda: data.random_split(numbered(3), [1, 1]), "sum of 3"),
        (lambda: list(DataLoader(numbered(3), shuffle=True, generator="x")), "generator"),
        (lambda: data.default_collate([np.ones(1), np.ones(2)]), "different shapes"),
        (lambda: (numbered(1) + numbered(1))[2], "no example 2"),
        (lambda: data.Dataset()[0], "__getitem__"),
        (lambda: iter(data.IterableDataset()), "__iter__"),
        (lambda: DataLoader(Counting(), 2, shuffle=True), "decides the order itself"),
        (lambda: DataLoader(numbered(3), num_workers=-1), "num_workers"),
        (lambda: DataLoader(numbered(3), workers=2), "no such argument"),
        (lambda: DataLoader(numbered(3), sampler=[0], batch_sampler=[[0]]), "decides alone"),
        (lambda: data.WeightedRandomSampler([0.0, 0.0], 1), "not all of them 0"),
        (lambda: data.WeightedRandomSampler([1.0, 0.0], 2, replacement=False), "at most 1"),
        (lambda: data.RandomSampler([]), "positive"),
        (lambda: data.BatchSampler([1], 0, False), "positive"),
    ],
)
def test_misuse_is_named(misuse: Callable[[], Any], told: str) -> None:
    with pytest.raises(tf.errors.Error, match=told):
        misuse()
