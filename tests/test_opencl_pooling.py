"""Pooling and response normalisation on OpenCL against the NumPy backend, in both schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_numpy.table import TABLE
from graphflow_opencl import families, pooling, responses
from graphflow_opencl.devices import open_device
from graphflow_opencl.table import Traits

from graphflow.dtypes import as_dtype, int32, int64
from graphflow.program import Instruction
from graphflow.testing.numeric import distance, tolerance
from tests import opencl_sites
from tests.cases import CASES

assert families and pooling and responses
TYPES = {
    "MaxPool", "MaxPoolGrad", "MaxPoolGradGrad", "MaxPoolWithArgmax", "AvgPool", "AvgPoolGrad", "LRN", "LRNGrad",
}  # fmt: skip


def traits_of(schedule: str) -> Traits:
    traits = open_device().traits
    if schedule == "gpu":
        return traits._replace(schedule="gpu", group=256, local_bytes=32768)
    return traits._replace(schedule="cpu")


def numbers(shape: tuple[int, ...], dtype: str = "float32", seed: int = 1) -> Any:
    """Whole numbers, few of them: windows have several largest elements."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(as_dtype(dtype).np)


def compare(type_: str, inputs: list[Any], attrs: dict[str, Any], schedule: str, exact: bool = True) -> list[Any]:
    """The results of an op on the device, held against NumPy's."""
    with np.errstate(all="ignore"):
        wanted = TABLE[type_].function(*inputs, **attrs)
    results = list(wanted) if isinstance(wanted, tuple) else [wanted]
    numbered = tuple(range(len(inputs))), tuple(range(20, 20 + len(results)))
    ins = Instruction(0, type_, *numbered, attrs, (), None)  # type: ignore[arg-type]
    site = opencl_sites.site_of(None, ins, inputs, results, traits_of(schedule))
    found = opencl_sites.compute(open_device(), site, inputs)
    assert found is not None
    for got, right in zip(found, results, strict=True):
        assert got.dtype == right.dtype
        if exact:
            np.testing.assert_array_equal(got, right, f"{type_} {attrs} {schedule}")
        else:
            assert distance(got, right) <= tolerance(as_dtype(right.dtype).name), f"{type_} {attrs} {schedule}"
    return found


def window(ksize: Any, strides: Any, padding: Any, data_format: str = "NHWC") -> dict[str, Any]:
    return {"ksize": ksize, "strides": strides, "padding": padding, "data_format": data_format}


WINDOWS = [  # images and windows: tiles, overlaps, gaps, padding, channels first, other ranks, vectors of channels
    ((2, 8, 6, 16), window((2, 2), (2, 2), "VALID")),
    ((2, 7, 9, 3), window((3, 2), (1, 2), "SAME")),
    ((3, 9, 9, 8), window((2, 2), (3, 4), "VALID")),
    ((2, 5, 9, 7), window((3, 3), (2, 1), ((1, 2), (0, 1)), "NCHW")),
    ((2, 65, 4), window((9,), (7,), "SAME", "NWC")),
    ((1, 4, 5, 3, 2), window((2, 2, 2), (1, 2, 1), "SAME", "NDHWC")),
    ((0, 4, 4, 2), window((2, 2), (2, 2), "SAME")),
    ((2, 7, 8, 16), window((2, 3), (2, 3), "SAME")),
    ((2, 3, 5, 8), window((2, 3), (2, 3), ((1, 0), (2, 2)), "NCHW")),
    ((2, 7, 8, 5), window((2, 3), (2, 3), "VALID")),
    ((1, 1, 1, 1), window((1, 1), (1, 1), "VALID")),
]


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
@pytest.mark.parametrize("number", range(len(WINDOWS)))
def test_windows(number: int, schedule: str) -> None:
    """All ops of pooling, with ties everywhere, give NumPy's bits."""
    shape, attrs = WINDOWS[number]
    x = numbers(shape)
    (y,) = compare("MaxPool", [x], attrs, schedule)
    dy = numbers(y.shape, seed=2)
    compare("MaxPoolGrad", [x, y, dy], attrs, schedule)
    compare("MaxPoolGradGrad", [x, y, numbers(shape, seed=3)], attrs, schedule)
    compare("AvgPool", [x], attrs, schedule)
    compare("AvgPoolGrad", [np.array(shape, np.int32), dy], attrs, schedule, exact=False)


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8", "int32", "int64", "uint8"])
def test_every_dtype(dtype: str, schedule: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    attrs, x = window((3, 2), (2, 1), "SAME"), numbers((2, 5, 6, 16), dtype)
    (y,) = compare("MaxPool", [x], attrs, schedule)
    compare("MaxPoolGrad", [x, y, numbers(y.shape, dtype, 2)], attrs, schedule)
    if as_dtype(dtype).is_floating:
        compare("AvgPool", [x], attrs, schedule, exact=False)


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
def test_not_a_number_is_the_largest(schedule: str) -> None:
    """NaN beats infinity, the first of several takes the gradient, and what else there is stays as it was."""
    for channels in (1, 16):
        x = numbers((2, 6, 6, channels))
        x[0, 1, 1], x[0, 1, 2], x[0, 4, 4], x[1, 0, 0], x[1, 3] = np.nan, np.nan, np.inf, -np.inf, -0.0
        for attrs in (window((2, 2), (2, 2), "VALID"), window((3, 3), (1, 1), "SAME")):
            (y,) = compare("MaxPool", [x], attrs, schedule)
            assert np.isnan(y).any() and np.isinf(y).any()
            compare("MaxPoolGrad", [x, y, numbers(y.shape, seed=4)], attrs, schedule)
            compare("MaxPoolGradGrad", [x, y, numbers(x.shape, seed=5)], attrs, schedule)
            compare("MaxPoolWithArgmax", [x], {**attrs, "index_dtype": int64, "include_batch": True}, schedule)


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
@pytest.mark.parametrize("include_batch", [False, True])
def test_where_the_largest_is(include_batch: bool, schedule: str) -> None:
    attrs = {**window((2, 3), (1, 2), "SAME"), "index_dtype": int32, "include_batch": include_batch}
    compare("MaxPoolWithArgmax", [numbers((3, 5, 7, 4))], attrs, schedule)
    x = np.full((1, 2, 2, 1), -np.inf, np.float32)
    compare("MaxPoolWithArgmax", [x], attrs, schedule)


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
@pytest.mark.parametrize("channels", [1, 9, 33])
def test_responses(channels: int, schedule: str) -> None:
    rng = np.random.default_rng(6)
    x, dy = (rng.standard_normal((2, 3, 4, channels)).astype(np.float32) for _ in range(2))
    attrs = {"depth_radius": 3, "bias": 1.5, "alpha": 0.3, "beta": 0.6}
    (y,) = compare("LRN", [x], attrs, schedule, exact=False)
    compare("LRNGrad", [dy, x, y], attrs, schedule, exact=False)


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
def test_the_rows_of_the_table(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device = open_device()
    monkeypatch.setattr(device, "traits", traits_of(schedule))
    before, declined = opencl_sites.COMPUTED.copy(), opencl_sites.DECLINED.copy()
    seen = set()
    for case in CASES:
        if case.op in TYPES:
            others = () if case.op in seen else case.dtypes
            seen.add(case.op)
            for dtype in dict.fromkeys(("float32", *others)):
                opencl_sites.check_row(case, dtype, device, {case.op})
    assert seen == TYPES
    assert set(opencl_sites.COMPUTED - before) == TYPES
    assert declined == opencl_sites.DECLINED
