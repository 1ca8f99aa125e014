"""OpenCL kernels of slices, fillings, gathers, scatters and segments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_numpy.state import _scatter_rows
from graphflow_opencl import filling, indexing, segments, slicing, sorted_walks, updating
from graphflow_opencl.devices import open_device
from graphflow_opencl.single import run_launches
from graphflow_opencl.table import RULES

import graphflow as tf
from graphflow.dtypes import float32, int32
from graphflow.errors import InvalidArgumentError
from graphflow.program import Instruction
from tests import opencl_kernels, opencl_sites
from tests.opencl_kernels import SIZES, check, refuses, some

TYPES = opencl_kernels.types_of(filling, indexing, segments, slicing)
KINDS = "update", "add", "sub", "mul", "div", "min", "max"


@pytest.fixture(params=["cpu", "gpu"])
def device(request: Any, monkeypatch: Any) -> Any:
    found = open_device()
    monkeypatch.setattr(found, "traits", found.traits._replace(schedule=request.param))
    return found


@pytest.fixture
def sorting_device(monkeypatch: Any) -> Any:
    """Updates are sorted by their rows, however few they are."""
    found = open_device()
    monkeypatch.setattr(sorted_walks, "MANY", 1)
    monkeypatch.setattr(found, "traits", found.traits._replace(schedule="gpu"))
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_rows_of_the_table(kind: str, device: Any) -> None:
    assert opencl_kernels.check_rows(kind, device)


# -- slices and fillings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_lengths(size: int, device: Any) -> None:
    x = some(size)
    check(device, "StridedSlice", [x], key=((None, None, -2),))
    check(device, "StridedSliceGrad", [some(len(x[1::3])), np.array([size])], (1,), key=((1, None, 3),))
    check(device, "ZerosLike", [x], dtype=float32)
    check(device, "OnesLike", [x], dtype=int32)
    check(device, "Fill", [np.array([size]), np.float32(-0.0)])


def test_places_known_in_a_run_alone(device: Any) -> None:
    x = some(5, 4, 6)
    check(device, "StridedSlice", [x, np.int32(-2)], key=((1, None), "t"))
    check(device, "StridedSlice", [x, np.int64(4), np.int32(0)], key=("t", "...", "t"))
    check(device, "StridedSliceGrad", [some(4, 6), np.array([5, 4, 6]), np.int32(-1)], (1,), key=("t",))
    check(device, "Slice", [x, np.array([1, 0, 2]), np.array([3, 4, 2])])
    check(device, "SliceGrad", [some(3, 4, 2), np.array([2, 0, 4]), np.array([5, 4, 6])], (2,))
    refuses(device, "StridedSlice", [x, np.int32(5)], "out of range", some(4, 6), key=("t",))
    refuses(device, "Slice", [x, np.array([3, 0, 2]), np.array([3, 4, 2])], "axis 0", some(3, 4, 2))


def test_numbers_in_a_row(device: Any) -> None:
    check(device, "Range", [np.int32(3), np.int32(-20), np.int32(-5)])
    check(device, "Range", [np.float32(0.1), np.float32(9.0), np.float32(0.1)])
    check(device, "LinSpace", [np.float32(-1.0), np.float32(7.0), np.int32(1000)])
    check(device, "LinSpace", [np.float64(2.0), np.float64(2.0), np.int32(3)])
    check(device, "LinSpace", [np.float64(2.5), np.float64(9.0), np.int32(1)])


# -- gathers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES[1:])
def test_gathers(size: int, device: Any) -> None:
    x, places = some(size, 3), np.arange(2 * size)[::-1] % size
    check(device, "Gather", [x, places.astype(np.int32)], axis=0)
    check(device, "Gather", [x, np.array([[2, 0], [1, 1]])], axis=-1)
    check(device, "GatherNd", [x, np.stack([places, places % 3], 1)])
    check(device, "SegmentRows", [x, np.where(places % 2, places, -1)])
    check(device, "OneHot", [places - 1, np.int32(5), np.float32(2), np.float32(-1)], axis=-1)


def test_odd_gathers(device: Any) -> None:
    x = some(2, 5, 3)
    check(device, "Gather", [x, np.int64(4)], axis=1)
    check(device, "Gather", [x.astype(np.complex128), np.zeros((0,), np.int32)], axis=1)
    check(device, "GatherNd", [x, np.zeros((2, 0), np.int32)])
    check(device, "TakeAlongAxis", [x, np.array([[[0, -1, 2]], [[4, 3, -5]]])], axis=1)
    check(device, "OneHot", [np.array([[1, 0], [7, -1]]), np.int32(3), np.int8(1), np.int8(-1)], axis=1)
    check(device, "OneHot", [np.array([[1, 0], [7, -1]]), np.int32(3), np.int8(1), np.int8(-1)], axis=0)
    check(device, "UnravelIndex", [np.array([[5, 0], [59, 13]]), np.array([3, 4, 5])], (1,))


def test_indices_out_of_range(device: Any) -> None:
    x = some(4, 3)
    refuses(device, "Gather", [x, np.array([[0, 1], [4, -1]])], r"indices\[1, 0\]", some(2, 2, 3), axis=0)
    refuses(device, "GatherNd", [x, np.array([[0, 0], [3, 3]])], r"indices\[1\]", some(2))
    refuses(device, "GatherGrad", [some(2, 3), np.array([0, -1]), np.array([4, 3])], r"indices\[1\]", x, axis=0)
    refuses(device, "ScatterNd", [np.array([[0], [9]]), some(2, 3), np.array([4, 3])], r"indices\[1\]", x)
    refuses(device, "UnsortedSegmentSum", [x, np.array([0, 1, 2, 7]), np.int32(3)], "segment id 3", some(3, 3))
    refuses(device, "SegmentSum", [x, np.array([0, 1, 0, 2])], "must not decrease", some(3, 3))
    refuses(device, "Bincount", [np.array([1, -2])], "not negative", np.zeros(2, int), low=0, high=None, dtype=int32)


def test_indices_of_rows_without_elements() -> None:
    """Nothing is moved, but a bad index is refused all the same."""
    x, dy = tf.placeholder(tf.float32, (3, 0)), tf.placeholder(tf.float32, (1, 0))
    index = tf.placeholder(tf.int32, (1,))
    made = [
        tf.gather(x, index),
        tf.convert_to_tensor(tf.gradients(tf.gather(x, index), x)[0]),
        tf.scatter_nd(index[:, None], dy, [3, 0]),
        tf.unsorted_segment_sum(dy, index, 3),
    ]
    feeds = {x: np.zeros((3, 0)), dy: np.zeros((1, 0)), index: [7]}
    with tf.Session(device="opencl") as session:
        for fetch in made:
            with pytest.raises(InvalidArgumentError, match=r"7\]? is out of range"):
                session.run(fetch, feeds)
            assert session.run(fetch, {**feeds, index: [2]}).size == 0


# -- sums by index ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [(9, 1), (63, 7), (5, 1000), (1000, 3)])
def test_sums_take_rows_in_order(dims: tuple[int, int], device: Any) -> None:
    """Numbers of very different sizes: any other order of adding gives other bits."""
    rows, width = dims
    random = np.random.default_rng(rows)
    places = random.integers(0, rows, 3 * rows).astype(np.int32)
    updates = (random.standard_normal((3 * rows, width)) * 10.0 ** random.integers(-6, 6, (3 * rows, 1))).astype("f4")
    check(device, "GatherGrad", [updates, places, np.array(dims)], (2,), axis=0)
    check(device, "ScatterNd", [places[:, None], updates, np.array(dims)], (2,))
    check(device, "UnsortedSegmentSum", [updates, places - 1, np.int32(rows)])
    check(device, "TensorScatterUpdate", [some(*dims), places[:, None], updates])


@pytest.mark.parametrize("dims", [(9, 1), (1000, 3)])
def test_sorted_updates_keep_their_order(dims: tuple[int, int], sorting_device: Any) -> None:
    rows, width = dims
    random = np.random.default_rng(rows)
    places = random.integers(0, rows, 3 * rows).astype(np.int32)
    updates = (random.standard_normal((3 * rows, width)) * 10.0 ** random.integers(-6, 6, (3 * rows, 1))).astype("f4")
    check(sorting_device, "GatherGrad", [updates, places, np.array(dims)], (2,), axis=0)
    check(sorting_device, "UnsortedSegmentSum", [updates, places - 1, np.int32(rows + 2)])
    check(sorting_device, "TensorScatterUpdate", [some(*dims), places[:, None], updates])


def test_sorted_updates_of_every_kind(sorting_device: Any) -> None:
    x = np.array([[3, np.nan], [-0.5, 2], [np.inf, 1], [4, -np.inf], [7, 0]], np.float32)
    check(sorting_device, "UnsortedSegmentMax", [x, np.array([3, 0, -1, 3, 1])[:5], np.int32(5)])
    check(sorting_device, "UnsortedSegmentSum", [x.astype(np.float16), np.array([2, 2, 0, 2, 2]), np.int32(4)])
    check(sorting_device, "Bincount", [np.array([3, 1, 3, 0, 9])], low=12, high=None, dtype=int32)
    dy = some(2, 4, 3) + np.float32(0.1)
    check(sorting_device, "GatherGrad", [dy, np.array([4, 0, 4, 1]), np.array([2, 5, 3])], (2,), axis=1)
    check(sorting_device, "ScatterNd", [np.array([[1, 2], [0, 0], [1, 2]]), np.int8([100, 1, 100]), np.array([2, 3])],
          (2,))  # fmt: skip
    words = "segment id 3"
    refuses(sorting_device, "UnsortedSegmentSum", [x, np.array([0, 1, 2, 7, 7]), np.int32(3)], words, some(3, 2))
    variable = some(9, 5)
    indices, many, wanted = np.array([8, 0, 8, 3]), some(4, 5), variable.copy()
    _scatter_rows(wanted, indices, many, "sub")
    np.testing.assert_array_equal(updated(sorting_device, "sub", variable, indices, many), wanted)
    with pytest.raises(InvalidArgumentError, match="out of range"):
        updated(sorting_device, "sub", variable, np.array([8, 9, 8, 3]), many)


def test_segments(device: Any) -> None:
    x = np.array([[3, np.nan], [-0.5, 2], [np.inf, 1], [4, -np.inf], [7, 0]], np.float32)
    ids = np.array([0, 0, 1, 3, 3])
    for kind in ("Sum", "Prod", "Max", "Min"):
        check(device, f"Segment{kind}", [x, ids])
        check(device, f"UnsortedSegment{kind}", [x[1:3], np.array([3, -1]), np.int32(5)])
        check(device, f"UnsortedSegment{kind}", [x[1:].astype(np.float16), ids[1:], np.int32(4)])
        check(device, f"UnsortedSegment{kind}", [np.array([100, 100, -128], np.int8), ids[1:4], np.int32(4)])
        check(device, f"UnsortedSegment{kind}", [np.zeros((0, 2), np.float32), np.zeros(0, np.int32), np.int32(2)])


def test_counts(device: Any) -> None:
    values = np.array([3, 1, 3, 0, 9])
    check(device, "Bincount", [values], low=0, high=None, dtype=int32)
    check(device, "Bincount", [values], low=12, high=None, dtype=float32)
    check(device, "Bincount", [values, np.float32([0.1, 2, 0.3, 4, 5])], low=4, high=4, dtype=float32)


def test_odd_sums(device: Any) -> None:
    dy = some(2, 4, 3) + np.float32(0.1)
    check(device, "GatherGrad", [dy, np.array([4, 0, 4, 1]), np.array([2, 5, 3])], (2,), axis=1)
    check(device, "GatherGrad", [dy.astype(np.float16), np.array([4, 0, 4, 1]), np.array([2, 5, 3])], (2,), axis=-2)
    check(device, "PutAlongAxis", [dy, np.arange(24).reshape(2, 4, 3) % 5, np.array([2, 5, 3])], (2,), axis=1)
    check(device, "ScatterNd", [np.array([[1, 2], [0, 0], [1, 2]]), np.int8([100, 1, 100]), np.array([2, 3])], (2,))


# -- variables -------------------------------------------------------------------------------------------------------


def updated(device: Any, kind: str, variable: Any, indices: Any, updates: Any, op: str = "Scatter") -> Any:
    """The variable's memory after a scatter."""
    attrs = {"kind": kind, "dtype": None, "dims": None}
    ins = Instruction(0, op, (0, 1, 2), (-1,), attrs, (), None)  # type: ignore[arg-type]
    site = opencl_sites.site_of(None, ins, (variable, indices, updates), (None,), device.traits)
    assert RULES[op].__module__ == updating.__name__
    launches = RULES[op](site)
    assert launches is not None
    assert {v for x in launches for v in x.writes} <= {0}
    known = site.inputs[0]
    return run_launches(device, launches, {0: variable, 1: np.asarray(indices), 2: updates}, {0: known})[0]


@pytest.mark.parametrize("kind", KINDS)
def test_scatter_into_a_variable(kind: str, device: Any) -> None:
    random = np.random.default_rng(7)
    for dtype, one in (("f4", False), ("i4", kind != "div"), ("f2", kind == "sub"))[
        : 3 if kind in ("sub", "max") else 2
    ]:
        variable = (random.standard_normal((9, 5)) * 50).astype(dtype)
        indices = random.integers(0, 9, (4, 7))
        many = random.uniform(1, 3, (4, 7, 5)).astype(dtype)
        updates, wanted = np.array(3, dtype) if one else many, variable.copy()
        _scatter_rows(wanted, indices, updates, kind)
        found = updated(device, kind, variable, indices, updates)
        np.testing.assert_array_equal(found, wanted, f"{kind} {dtype}")


def test_scatter_by_coordinates(device: Any) -> None:
    variable = some(4, 3, 2)
    indices, updates = np.array([[3, 2], [0, 0], [3, 2]], np.int32), some(3, 2)
    wanted = variable.copy()
    _scatter_rows(wanted.reshape(12, 2), np.array([11, 0, 11]), updates, "sub")
    np.testing.assert_array_equal(updated(device, "sub", variable, indices, updates, "ScatterNdVariable"), wanted)
    with pytest.raises(InvalidArgumentError, match=r"indices\[1, 1\]"):
        updated(device, "add", variable, np.array([[0, 0], [0, 3]]), updates[:2], "ScatterNdVariable")


def test_a_bad_scatter_changes_nothing(device: Any, monkeypatch: Any) -> None:
    """The update is launched in vain: it finds the flag of the check."""
    monkeypatch.setattr("graphflow_opencl.single.NOTHING_BAD", -1)
    divisors = np.array([[1] * 5, [1] * 5, [0] * 5], np.int32)
    for kind, indices, updates in (("add", [0, 9, 1], np.int32(1)), ("div", [0, 1, 2], divisors)):
        variable = np.arange(45, dtype=np.int32).reshape(9, 5)
        np.testing.assert_array_equal(updated(device, kind, variable, np.array(indices), updates), variable)
