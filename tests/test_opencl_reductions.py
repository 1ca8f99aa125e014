"""OpenCL kernels of reductions and of walks along an axis against NumPy's, in both schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_numpy.table import TABLE
from graphflow_opencl import reductions, scanning
from graphflow_opencl.devices import open_device
from graphflow_opencl.table import Scratch

from graphflow.dtypes import as_dtype, from_numpy, int32, int64
from graphflow.testing.numeric import distance, tolerance
from tests import opencl_kernels, opencl_sites
from tests.cases import CASES

TYPES = opencl_kernels.types_of(reductions, scanning)
SCHEDULES = "cpu", "gpu"


@pytest.fixture(params=SCHEDULES)
def device(request: Any, monkeypatch: Any) -> Any:
    found = open_device()
    traits = found.traits._replace(schedule=request.param, units=2, group=64)
    monkeypatch.setattr(found, "traits", traits)
    return found


def drawn(*shape: int, dtype: str = "float32") -> np.ndarray[Any, Any]:
    """Numbers that depend on shape and dtype alone, with many equal ones among them."""
    found = np.random.default_rng([len(shape), *shape]).integers(-40, 40, shape) / 8
    return np.asarray(found > 0 if dtype == "bool" else found).astype(as_dtype(dtype).np)


def check(device: Any, kind: str, *inputs: Any, **attrs: Any) -> None:
    """One instruction on the device against NumPy's kernel, within the tolerances of `graphflow.testing`."""
    arrays = [np.asarray(x) for x in inputs]
    with np.errstate(all="ignore"):
        wanted = np.asarray(TABLE[kind].function(*[x if x.ndim else x[()] for x in arrays], **attrs))
    (got,) = opencl_kernels.made(device, kind, arrays, [wanted], (), attrs)
    dtype = from_numpy(wanted.dtype)
    assert dtype is not None
    error, bar = distance(got, wanted), tolerance(dtype.name)
    shown = [(x.dtype.name, x.shape) for x in arrays]
    assert error <= bar, f"{kind} {attrs} of {shown} is off by {error:.3g}, the bar is {bar:.3g}\n{got}\n{wanted}"


@pytest.mark.parametrize("kind", TYPES)
def test_rows_of_the_table(kind: str, device: Any) -> None:
    opencl_sites.COMPUTED.clear()
    opencl_sites.DECLINED.clear()
    mine = {kind, "Sum"} if kind in ("SumTo", "Spread", "ExtremumGrad") else {kind}
    rows = [
        c for c in CASES if c.op in mine | {"Max", "Mul"} or kind in ("L2Loss", "BiasAddGrad") and c.op == "BiasAdd"
    ]
    gpu = device.traits.schedule == "gpu"
    for case in ([c for c in rows if c.op == kind] or rows[:6])[:: 2 if gpu else 1]:
        opencl_sites.check_row(case, case.dtypes[-1 if gpu else 0], device, (kind,))
    assert opencl_sites.COMPUTED[kind], f"no row of the table computed {kind}"
    assert not opencl_sites.DECLINED[kind] or kind in ("Sum", "Mean", "Prod", "Cumsum", "Cumprod"), "complex rows alone"


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint16", "int32", "int64"])
def test_reductions_of_every_dtype(dtype: str, device: Any) -> None:
    for shape, axis, kinds in (((203,), None, ("Sum", "Max")), ((9, 21), (1,), ("Mean",)), ((9, 21), (0,), ("Prod",))):
        x = drawn(*shape, dtype=dtype)
        for kind in kinds:
            check(device, kind, x if kind != "Prod" else np.sign(x).astype(x.dtype), axis=axis, keepdims=False)


def test_integers_wrap_around(device: Any) -> None:
    x = np.full((70, 3), 127, np.int8)
    check(device, "Sum", x, axis=(0,), keepdims=False)
    check(device, "Prod", x, axis=None, keepdims=True)
    check(device, "Mean", np.full(70, -128, np.int8), axis=None, keepdims=False)
    check(device, "Mean", np.array([-7, 0], np.int32), axis=None, keepdims=False)


def test_sizes(device: Any) -> None:
    for size in opencl_kernels.SIZES:
        check(device, "Max", drawn(3, size), axis=(1,), keepdims=True)
        check(device, "Sum", drawn(2, size), axis=(0,), keepdims=False)
        if size:
            check(device, "ArgMax", drawn(size), axis=0, output_type=int64)
    for size in (0, 1, 65):
        check(device, "Any", drawn(size, 2, dtype="bool"), axis=(0,), keepdims=False)
        check(device, "Cumsum", drawn(size), axis=0, exclusive=False, reverse=False)


def test_nothing_of_nothing(device: Any) -> None:
    empty = np.zeros((3, 0), np.float32)
    for kind in ("Sum", "Prod", "Max", "Min", "Mean"):
        check(device, kind, empty, axis=(1,), keepdims=False)
    for kind in ("Max", "Min"):
        check(device, kind, np.zeros((0, 2), np.int32), axis=(0,), keepdims=False)
    check(device, "All", np.zeros((0,), bool), axis=None, keepdims=False)
    check(device, "ArgMax", np.zeros((0, 3), np.float32), axis=1, output_type=int64)
    check(device, "BiasAddGrad", np.zeros((0, 3), np.float32), channels="last")


def test_truth(device: Any) -> None:
    for x in (drawn(5, 70, dtype="bool"), np.ones((5, 70), bool), np.zeros((5, 70), bool)):
        for axis in (None, (0,), (1,)):
            check(device, "All", x, axis=axis, keepdims=False)
            check(device, "Any", x, axis=axis, keepdims=False)


def test_gradients_of_broadcasting(device: Any) -> None:
    for shape, wanted in (((3, 4, 35), (4, 1)), ((3, 4, 35), (35,)), ((6, 40), ()), ((2, 3), (2, 3)), ((2, 3), (1, 1))):
        check(device, "SumTo", drawn(*shape), np.array(wanted, np.int32))
    for shape, axis in (((4, 37), (1,)), ((4, 37), (0,)), ((4, 37), None), ((2, 3, 5), (0, 2))):
        for keepdims in (False, True):
            for mean in (False, True):
                kept = TABLE["Sum"].function(drawn(*shape), axis=axis, keepdims=keepdims)
                attrs = {"axis": axis, "keepdims": keepdims, "mean": mean}
                check(device, "Spread", np.asarray(kept), np.array(shape, np.int32), **attrs)
    check(device, "L2Loss", drawn(300))
    check(device, "BiasAddGrad", drawn(5, 6, 7, 3), channels="last")
    check(device, "BiasAddGrad", drawn(5, 3, 6, 7), channels="first")


def test_equal_largest_elements_share_the_gradient(device: Any) -> None:
    for dtype in ("float32", "float16"):
        x = drawn(6, 50, dtype=dtype)
        for axis in (None, (0,), (1,)):
            y = TABLE["Max"].function(x, axis=axis, keepdims=False)
            check(device, "ExtremumGrad", x, y, np.ones_like(y) * 3, axis=axis, keepdims=False)


def test_where_the_largest_is(device: Any) -> None:
    for shape in ((7,), (5, 200), (200, 5), (3, 40, 70), (2, 33)):
        x = drawn(*shape)
        special = x.copy()
        special.flat[len(special.flat) // 2] = np.nan
        special.flat[-1] = np.nan
        special.flat[0] = np.inf
        for axis in range(len(shape)):
            for value in (x, special, np.full(shape, np.nan, np.float32), drawn(*shape, dtype="int32")):
                check(device, "ArgMax", value, axis=axis, output_type=int64)
            check(device, "ArgMin", special, axis=-1 - axis, output_type=int32)
    check(device, "ArgMax", drawn(9, dtype="bool"), axis=0, output_type=int64)
    for place in (0, 15, 16, 31, 33, 69):  # one at each place of a vector, and two of them
        x = np.zeros((1, 70), np.float32)
        x[0, place] = 1
        check(device, "ArgMax", x, axis=1, output_type=int32)
        x[0, 69] = 1
        check(device, "ArgMax", x, axis=1, output_type=int32)


@pytest.mark.parametrize("kind", ["Cumsum", "Cumprod"])
def test_walks(kind: str, device: Any) -> None:
    for shape, axis in (((9,), 0), ((3, 70), 1), ((70, 3), 0), ((4, 5, 6), 1), ((20, 130), -2)):
        for exclusive in (False, True):
            x = np.sign(drawn(*shape)) + 0.25 if kind == "Cumprod" else drawn(*shape)
            check(device, kind, x.astype(np.float32), axis=axis, exclusive=exclusive, reverse=axis != 1)
    check(device, kind, np.full((2, 9), 3, np.int8), axis=1, exclusive=False, reverse=True)
    check(device, kind, np.ones((2, 9), np.float16), axis=0, exclusive=True, reverse=False)


def test_a_long_line_is_walked_in_blocks(device: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(scanning, "BLOCK", 64)
    for shape, axis in (((1000,), 0), ((2, 200), 1), ((200, 2), 0)):
        x = np.arange(np.prod(shape)).reshape(shape).astype(np.int32)
        for exclusive in (False, True):
            for reverse in (False, True):
                check(device, "Cumsum", x, axis=axis, exclusive=exclusive, reverse=reverse)
    attrs = {"axis": 0, "exclusive": False, "reverse": False}
    ins = opencl_kernels.Instruction(0, "Cumsum", (0,), (1,), attrs, (), None)  # type: ignore[arg-type]
    site = opencl_sites.site_of(None, ins, [np.zeros(1000)], [np.zeros(1000)], device.traits)
    launches = opencl_sites.RULES["Cumsum"](site)
    assert launches is not None and len(launches) == 2
    assert any(isinstance(a, Scratch) for a in launches[1].arguments)


def test_the_mean_of_no_integers_is_for_the_host() -> None:
    traits = open_device().traits
    ins = opencl_kernels.Instruction(0, "Mean", (0,), (1,), {"axis": None, "keepdims": False}, (), None)  # type: ignore[arg-type]
    site = opencl_sites.site_of(None, ins, [np.zeros(0, np.int32)], [np.int32(0)], traits)
    assert opencl_sites.RULES["Mean"](site) is None
