"""OpenCL kernels of sorting, searching and ranks, and of tensors put together by place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_opencl import ordering, sorting
from graphflow_opencl.devices import open_device

from graphflow.dtypes import int32, int64
from tests import opencl_kernels
from tests.opencl_kernels import SIZES, check, refuses, some

TYPES = [t for t in opencl_kernels.types_of(ordering, sorting) if t != "DynamicStitch"]  # whose rows are fed
DTYPES = "b1", "i1", "u2", "i4", "i8", "f2", "f4", "f8"


@pytest.fixture(params=["cpu", "gpu"])
def device(request: Any, monkeypatch: Any) -> Any:
    found = open_device()
    monkeypatch.setattr(found, "traits", found.traits._replace(schedule=request.param))
    return found


def mixed(*dims: int, dtype: Any = "f4") -> Any:
    """Few different numbers, so that many are equal; of floats also NaN, infinities and both zeros."""
    random = np.random.default_rng(len(dims))
    out = random.integers(-20, 20, dims) / 2.0
    if np.dtype(dtype).kind == "f":
        special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -np.nan])
        out = np.where(random.random(dims) < 0.2, special[random.integers(0, 6, dims)], out)
    return out.astype(dtype)


@pytest.mark.parametrize("kind", TYPES)
def test_rows_of_the_table(kind: str, device: Any) -> None:
    assert opencl_kernels.check_rows(kind, device)


@pytest.mark.parametrize("size", SIZES)
def test_lengths(size: int, device: Any) -> None:
    x = mixed(2, size)
    check(device, "Sort", [x], axis=-1, descending=False)
    check(device, "Sort", [x], axis=1, descending=True)
    for k in {0, min(1, size), size // 2, size}:
        check(device, "TopK", [x, np.int32(k)], (1,))
    check(device, "SearchSorted", [np.sort(x), x], side="left", out_type=int32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype: str, device: Any) -> None:
    x = mixed(3, 70, 2, dtype=dtype)
    check(device, "Sort", [x], axis=1, descending=False)
    check(device, "Sort", [x], axis=0, descending=True)
    check(device, "TopK", [x[:, :, 0].copy(), np.int32(5)], (1,))
    check(device, "SearchSorted", [np.sort(x[:, :, 0], -1), x[:, :9, 1].copy()], side="right", out_type=int64)


def test_all_digits(device: Any) -> None:
    """Numbers of every size, so that each digit of a key decides somewhere."""
    random = np.random.default_rng(3)
    check(device, "Sort", [random.integers(-(2**63), 2**63 - 1, 900)], axis=0, descending=False)
    check(
        device, "Sort", [random.standard_normal(900) * 10.0 ** random.integers(-300, 300, 900)], axis=0, descending=True
    )


def test_lines_longer_than_a_block(device: Any) -> None:
    for size in (1025, 2048, 5000):
        check(device, "Sort", [mixed(2, size)], axis=1, descending=False)
        check(device, "TopK", [mixed(2, size), np.int32(1500 if size > 2000 else 3)], (1,))


def test_one_output_alone(device: Any) -> None:
    x = mixed(3, 50)
    order = np.argsort(x, -1, "stable").astype(np.int32)
    values = np.take_along_axis(x, order, -1)
    ins_values = opencl_kernels.made(device, "Sort", [x], [values, None], (), {"axis": 1, "descending": False})
    np.testing.assert_array_equal(ins_values[0], values)
    places = opencl_kernels.made(device, "Sort", [x], [None, order], (), {"axis": 1, "descending": False})
    np.testing.assert_array_equal(places[1], order)


def test_ranks(device: Any) -> None:
    x = np.array([[1, 5, 3], [np.nan, 2, 1], [4, 4, 4], [np.inf, 0, 1]], np.float32)
    for k in range(4):
        check(device, "InTopK", [x, np.array([1, 1, 2, 9]), np.int32(k)])
        check(device, "InTopK", [x, np.array([0, -1, 0, 1]), np.int64(k)])


@pytest.mark.parametrize("size", SIZES)
def test_permutations(size: int, device: Any) -> None:
    places = np.random.default_rng(size).permutation(size).astype(np.int32)
    check(device, "InvertPermutation", [places])
    if size > 1:
        bad = places.copy()
        bad[size // 2] = bad[0]
        refuses(device, "InvertPermutation", [bad], "not a permutation", places)
        bad[0] = size
        refuses(device, "InvertPermutation", [bad], "not a permutation", places)


def test_tensors_put_together(device: Any) -> None:
    indices = [np.array([5, 0]), np.array([[1, 0], [3, 1]]), np.array([], np.int64)]
    data = [some(2, 3), some(2, 2, 3) + 100, some(0, 3)]
    check(device, "DynamicStitch", [*indices, *data], (0, 1, 2))
    check(device, "DynamicStitchGrad", [some(6, 3), *indices])
    check(device, "DynamicStitchGrad", [some(300, 7), np.arange(300)[::-1].copy(), np.arange(0, 300, 7)])


def test_scores_of_an_index_out_of_range(device: Any) -> None:
    with pytest.raises(Exception, match="out of range"):
        opencl_kernels.made(device, "DynamicStitchGrad", [some(3, 2), np.array([0, 3])], [some(2, 2)], (), {})
