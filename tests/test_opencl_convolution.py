"""Convolutions and patches on OpenCL against the NumPy backend, in both schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_numpy.table import TABLE
from graphflow_opencl import convolution, depthwise, families, patches
from graphflow_opencl.devices import open_device
from graphflow_opencl.single import run_launches
from graphflow_opencl.table import Site, Traits

from graphflow.dtypes import as_dtype
from graphflow.program import Instruction
from graphflow.spec import TensorSpec
from graphflow.testing.numeric import distance, tolerance
from tests import opencl_sites
from tests.cases import CASES

assert families and convolution and depthwise and patches
PLANE = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
SOLID = ("Conv3D", "Conv3DBackpropInputV2", "Conv3DBackpropFilterV2")
DEPTH = ("DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter")
PATCHES = ("ExtractImagePatches", "ExtractImagePatchesGrad")
HALVES = {"float16", "bfloat16"}


def traits_of(schedule: str) -> Traits:
    traits = open_device().traits
    if schedule == "gpu":
        return traits._replace(schedule="gpu", group=256, local_bytes=32768)
    return traits._replace(schedule="cpu")


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(as_dtype(dtype).np)


def compare(type_: str, inputs: list[Any], attrs: dict[str, Any], schedule: str) -> Any:
    """The result of an op on the device, held against NumPy's."""
    with np.errstate(all="ignore"):
        wanted = TABLE[type_].function(*inputs, **attrs)
    ins = Instruction(0, type_, tuple(range(len(inputs))), (9,), attrs, (), None)  # type: ignore[arg-type]
    site = opencl_sites.site_of(None, ins, inputs, [wanted], traits_of(schedule))
    found = opencl_sites.compute(open_device(), site, inputs)
    assert found is not None
    error, bar = distance(found[0], wanted), tolerance(str(as_dtype(wanted.dtype).name))
    assert error <= bar, f"{type_} {[x.shape for x in inputs]} {attrs} {schedule}: off by {error:.2g}"
    return found[0]


def all_three(types: tuple[str, str, str], x: Any, w: Any, attrs: dict[str, Any], schedule: str) -> None:
    """A convolution and both of its gradients."""
    y = compare(types[0], [x, w], attrs, schedule)
    dy = numbers(y.shape, str(as_dtype(y.dtype).name), 9)
    compare(types[1], [np.array(x.shape, np.int32), w, dy], attrs, schedule)
    compare(types[2], [x, np.array(w.shape, np.int32), dy], attrs, schedule)


def window(strides: Any, padding: Any, data_format: str = "NHWC", dilations: Any = (1, 1)) -> dict[str, Any]:
    return {"strides": strides, "padding": padding, "data_format": data_format, "dilations": dilations}


SHAPES = [  # images, filter, attributes: sizes around the tiles, windows that hang over, channels first
    ((3, 9, 11, 5), (3, 3, 5, 33), window((1, 1), "SAME")),
    ((2, 13, 7, 16), (5, 2, 16, 8), window((2, 3), "SAME")),
    ((2, 12, 10, 3), (3, 3, 3, 7), window((1, 2), ((2, 1), (0, 3)), dilations=(2, 1))),
    ((2, 6, 9, 8), (2, 3, 6, 9), window((2, 1), "VALID", "NCHW")),
    ((4, 8, 8, 17), (1, 1, 17, 40), window((1, 1), "VALID")),
    ((1, 5, 5, 1), (5, 5, 1, 1), window((1, 1), "VALID")),
    ((2, 4, 4, 3), (2, 2, 3, 4), window((3, 3), ((3, 3), (3, 3)))),  # a window that sees padding alone
]


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_planes(number: int, schedule: str) -> None:
    images, taps, attrs = SHAPES[number]
    if attrs["data_format"] == "NCHW":
        images, taps = (2, 6, 9, 8), (2, 3, 6, 9)
    all_three(PLANE, numbers(images, "float32", 1), numbers(taps, "float32", 2), attrs, schedule)


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_each_channel_by_itself(number: int, schedule: str) -> None:
    """Vectors of channels, several filters for a channel, and channels first."""
    images, taps, attrs = [
        ((3, 9, 7, 16), (3, 3, 16, 1), window((1, 1), "SAME")),
        ((2, 8, 9, 3), (3, 2, 3, 4), window((2, 1), "SAME", dilations=(1, 2))),
        ((2, 5, 8, 9), (2, 3, 5, 2), window((1, 2), "VALID", "NCHW")),
        ((20, 4, 4, 6), (2, 2, 6, 1), window((3, 3), ((1, 2), (2, 1)))),
    ][number]
    all_three(DEPTH, numbers(images, "float32", 3), numbers(taps, "float32", 4), attrs, schedule)  # type: ignore[arg-type]


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
def test_nothing_to_convolve(schedule: str) -> None:
    """An empty batch gives an empty result and a filter's gradient of zeros."""
    attrs = window((1, 1), "SAME")
    for types in (PLANE, DEPTH):
        x, w = np.zeros((0, 4, 4, 2), np.float32), numbers((3, 3, 2, 1), "float32", 5)
        all_three(types, x, w, attrs, schedule)


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
def test_padding_does_not_meet_numbers_that_are_not(schedule: str) -> None:
    """A NaN or an infinity reaches the outputs whose windows hold it, and no others."""
    x, w = numbers((1, 9, 9, 4), "float32", 6), numbers((3, 3, 4, 20), "float32", 7)
    x[0, 4, 4, 1], x[0, 0, 0, 0] = np.nan, np.inf
    found = compare("Conv2D", [x, w], window((1, 1), "SAME"), schedule)
    assert np.isnan(found).any() and np.isfinite(found[0, 8]).all()


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
def test_a_filters_gradient_over_many_windows_repeats_bit_for_bit(schedule: str) -> None:
    x, dy = numbers((33, 9, 9, 1), "float32", 8), numbers((33, 9, 9, 3), "float32", 9)
    args = [x, np.array((3, 3, 1, 3), np.int32), dy]
    found = [compare(PLANE[2], args, window((1, 1), "SAME"), schedule) for _ in range(2)]
    assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
def test_bias_and_activation_on_the_way_out(schedule: str) -> None:
    for data_format, shape in (("NHWC", (2, 5, 6, 3)), ("NCHW", (2, 3, 5, 6))):
        x, w, bias = numbers(shape, "float32", 1), numbers((3, 3, 3, 20), "float32", 2), numbers((20,), "float32", 3)
        attrs = window((1, 1), "SAME", data_format)
        plain = TABLE["Conv2D"].function(x, w, **attrs)
        spread = bias if data_format == "NHWC" else bias[:, None, None]
        ins = Instruction(0, "Conv2D", (0, 1), (9,), attrs, (), None)  # type: ignore[arg-type]
        site: Site = opencl_sites.site_of(None, ins, [x, w], [plain], traits_of(schedule))
        launches = convolution.conv_launches(site, 3, lambda value, width: f"fmax({value}, 0.0f)", into=7)
        assert launches is not None
        spec = TensorSpec(as_dtype("float32"), plain.shape)
        got = run_launches(open_device(), launches, {0: x, 1: w, 3: bias}, {7: spec})[7]
        assert distance(got, np.maximum(plain + spread, 0)) <= tolerance("float32")
        assert (got == 0).any() and (got > 0).any()


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
@pytest.mark.parametrize("channels", [1, 3, 16])
def test_patches(channels: int, schedule: str) -> None:
    attrs = {"ksizes": (2, 3), "strides": (1, 2), "rates": (2, 1), "padding": "SAME"}
    x = numbers((2, 7, 8, channels), "float32", 1)
    taken = compare("ExtractImagePatches", [x], attrs, schedule)
    assert taken.tobytes() == TABLE["ExtractImagePatches"].function(x, **attrs).tobytes()
    compare("ExtractImagePatchesGrad", [np.array(x.shape, np.int32), taken], attrs, schedule)


def rows_of(types: tuple[str, ...]) -> list[tuple[Any, str]]:
    """Every row in float32; of each op the first row in its other dtypes."""
    found, seen = [], set()
    for case in CASES:
        if case.op in types:
            more = [] if case.op in seen else [d for d in case.dtypes if d in HALVES or d == "float64"]
            found += [(case, dtype) for dtype in dict.fromkeys(("float32", *more))]
            seen.add(case.op)
    assert seen == set(types)
    return found


@pytest.mark.parametrize("types", [PLANE, SOLID, DEPTH, PATCHES], ids=lambda types: types[0])
def test_the_rows_of_the_table(types: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """All on the schedule for CPUs; on that for GPUs, which shares the addresses, a fourth of them."""
    device = open_device()
    for schedule, every in (("cpu", 1), ("gpu", 4)):
        monkeypatch.setattr(device, "traits", traits_of(schedule))
        before, declined = opencl_sites.COMPUTED.copy(), opencl_sites.DECLINED.copy()
        for case, dtype in rows_of(types)[::every]:
            opencl_sites.check_row(case, dtype, device, {case.op})
        computed = opencl_sites.COMPUTED - before
        assert declined == opencl_sites.DECLINED
        assert set(types) <= set(computed) or every > 1 and computed
