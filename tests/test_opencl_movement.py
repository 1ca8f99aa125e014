"""OpenCL kernels that move elements: joins, splits, permutations, padding, diagonals, blocks, folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_opencl import blocks, joining, movement, overlaps
from graphflow_opencl.axes import bits, collapsed, plain, window
from graphflow_opencl.devices import open_device

from graphflow.dtypes import float16, float32, int8
from tests import opencl_kernels
from tests.opencl_kernels import check, some

TYPES = opencl_kernels.types_of(blocks, joining, movement, overlaps)
SCHEDULES = "cpu", "gpu"


@pytest.fixture(params=SCHEDULES)
def device(request: Any, monkeypatch: Any) -> Any:
    found = open_device()
    monkeypatch.setattr(found, "traits", found.traits._replace(schedule=request.param))
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_rows_of_the_table(kind: str, device: Any) -> None:
    computed = opencl_kernels.check_rows(kind, device)
    assert computed or kind == "ConjugateTranspose"  # whose rows are complex


@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8", "c16"])
def test_transposed_blocks(dtype: str, device: Any) -> None:
    for dims, perm in [
        ((0, 5), (1, 0)), ((1, 9), (1, 0)), ((7, 9), (1, 0)), ((63, 65), (1, 0)), ((1000, 8), (1, 0)),
        ((3, 65, 9), (0, 2, 1)), ((8, 9, 33), (2, 1, 0)), ((2, 5, 7, 9), (3, 1, 0, 2)), ((4, 3, 2), (1, 0, 2)),
    ][:: 1 if dtype == "f4" else 3]:  # fmt: skip
        check(device, "Transpose", [some(*dims, dtype=dtype)], perm=perm)


def test_long_transposes_are_shared_out(device: Any) -> None:
    check(device, "Transpose", [some(130, 1000)], perm=(1, 0))
    check(device, "Transpose", [some(5000, 9)], perm=(1, 0))


@pytest.mark.parametrize("size", opencl_kernels.SIZES)
def test_lengths(size: int, device: Any) -> None:
    x = some(size)
    check(device, "Reverse", [x], axis=(0,))
    check(device, "Roll", [x], shift=(3,), axis=(0,))
    check(device, "Pad", [x], paddings=((2, 3),), constant=1.5)
    check(device, "Concat", [x, x[:1], x], axis=0)
    check(device, "Tile", [x, np.array([3])], known=(1,))


def test_long_lines_are_shared_out(device: Any) -> None:
    x = some(70_001)
    check(device, "Reverse", [x], axis=(0,))
    check(device, "Roll", [x], shift=(-12_345,), axis=(0,))
    check(device, "Pad", [x], paddings=((40_000, 1),), constant=np.nan)
    check(device, "Concat", [x, x[:3], x], axis=0)
    check(device, "Split", [x], axis=0, num=3, sizes=(1, 50_000, 20_000))
    check(device, "MirrorPad", [x], paddings=((70_000, 5),), mode="REFLECT")


def test_odd_axes(device: Any) -> None:
    x = some(3, 1, 5, 7)
    check(device, "BroadcastTo", [some(3, 1, 7), np.array([2, 3, 5, 7])])
    check(device, "BroadcastTo", [some(), np.array([9])])
    check(device, "Reverse", [x], axis=(0, 2))
    check(device, "Roll", [x], shift=(1, -9, 2), axis=(2, 3, 2))
    check(device, "Tile", [x, np.array([2, 3, 1, 2])], known=(1,))
    check(device, "Pad", [some(3, 1, 5, 7, dtype=np.int8)], paddings=((0, 1), (2, 0), (0, 0), (1, 1)), constant=-3)
    check(device, "MirrorPad", [x], paddings=((2, 1), (0, 0), (4, 4), (0, 0)), mode="REFLECT")
    check(device, "MirrorPad", [x], paddings=((3, 3), (1, 1), (0, 5), (7, 0)), mode="SYMMETRIC")


@pytest.mark.parametrize("dtype", ["u1", "f4", "c16"])
def test_joins_and_splits(dtype: str, device: Any) -> None:
    x, y = some(5, 3, 4, dtype=dtype), some(5, 2, 4, dtype=dtype)
    check(device, "Concat", [x, y, x], axis=-2)
    check(device, "Concat", [some(300, 40, dtype=dtype), some(300, 1, dtype=dtype)], axis=1)
    check(device, "Pack", [x, x + 1, x], axis=-1)
    check(device, "Unpack", [x], num=4, axis=2)
    check(device, "Split", [x, np.array([1, -1])], known=(1,), axis=1, num=2, sizes=None)


def test_more_tensors_than_a_launch_takes(device: Any) -> None:
    check(device, "Pack", [some(3) + i for i in range(50)], axis=1)
    check(device, "Unpack", [some(50, 3)], num=50, axis=0)


def test_sums_of_what_meets(device: Any) -> None:
    dy = np.arange(6 * 8 * 9, dtype=np.float32).reshape(6, 8, 9)
    check(device, "TileGrad", [dy, np.array([2, 1, 3])], known=(1,))
    check(device, "MirrorPadGrad", [dy, np.array([3, 8, 3])], paddings=((2, 1), (0, 0), (3, 3)), mode="SYMMETRIC")
    check(device, "MirrorPadGrad", [dy, np.array([4, 4, 5])], paddings=((1, 1), (3, 1), (4, 0)), mode="REFLECT")


def test_a_length_that_is_too_long(device: Any) -> None:
    opencl_kernels.refuses(
        device, "ReverseSequence", [some(2, 3), np.array([1, 4])], "out of range", some(2, 3), seq_axis=1, batch_axis=0
    )


def test_axes_are_walked_as_one() -> None:
    assert collapsed([plain(3, 20), plain(4, 5), plain(5, 1)]) == [plain(60, 1)]
    assert collapsed([plain(3, 0), plain(1, 7), plain(4, 0)]) == [plain(12, 0)]
    assert collapsed([plain(3, 8), plain(4, 2)]) == [plain(12, 2)]
    assert len(collapsed([plain(3, 5), window(6, 1, 4, 1), plain(2, 9)])) == 3


def test_bits_of_fillings() -> None:
    assert bits(float32, 1.0) == f"((uint){0x3F800000}U)"
    assert bits(float16, -2.0) == f"((ushort){0xC000}U)"
    assert bits(int8, -1) == "((uchar)255U)"
