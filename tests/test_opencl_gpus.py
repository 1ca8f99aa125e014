"""What some GPUs are like and PoCL's CPU is not, as far as it can be tested without one.

They round quotients loosely, have small groups, no doubles, a grid of 65,535 groups in all dimensions but the first,
and buffers of a quarter of their memory, and refuse some kernels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

cl = pytest.importorskip("pyopencl")

from graphflow_opencl import building, cache, choices, clblast, memory, products_gpu, tuning  # noqa: E402
from graphflow_opencl.devices import Device, open_device  # noqa: E402
from graphflow_opencl.table import Launch  # noqa: E402

import graphflow as tf  # noqa: E402
from graphflow import errors  # noqa: E402

FP64 = "cl_khr_fp64"
UNDEFINED = f"#undef {FP64}\n#pragma OPENCL EXTENSION {FP64} : disable\n"
MOST_GROUPS = 65535  # of a grid of CUDA's, in all dimensions but the first


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Device:
    """The device with memory of its own, without products on the host, and with nothing built or measured."""
    monkeypatch.setenv("GRAPHFLOW_OCL_PRODUCTS", "device")
    monkeypatch.setenv("GRAPHFLOW_CACHE", str(tmp_path))
    monkeypatch.setattr(building, "_kept", {})
    found = open_device()
    monkeypatch.setattr(found, "inline", None)
    monkeypatch.setattr(found, "traits", found.traits._replace(shares_memory=False))
    return found


# -- quotients and roots -------------------------------------------------------------------------------------------

GPU, CPU = cl.device_type.GPU, cl.device_type.CPU
ROUNDS, PLAIN = cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT, cl.device_fp_config.FMA


@pytest.mark.parametrize(
    ("kind", "config", "asked"),
    [(GPU, ROUNDS | PLAIN, True), (GPU, PLAIN, False), (CPU, ROUNDS | PLAIN, False), (CPU, PLAIN, False)],
)
def test_gpus_are_asked_to_round_quotients_and_roots(
    kind: int, config: int, asked: bool, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they are asked reaches the compiler and the names of stored programs; CPUs keep their options."""
    given: list[Sequence[str]] = []
    monkeypatch.setattr(cache, "build", lambda device, text, options: (given.append(tuple(options)), True))
    chip = SimpleNamespace(type=kind, single_fp_config=config)
    building._built(SimpleNamespace(cl=chip, traits=device.traits), "a text", ())  # type: ignore[arg-type]
    assert given == [(*building.OPTIONS, *([building.ROUNDED] if asked else []))]
    keys = {cache.key_of(device.cl, "a text", options) for options in (building.OPTIONS, given[0])}
    assert len(keys) == 1 + asked


# -- no doubles ----------------------------------------------------------------------------------------------------

ALONE: dict[str, Callable[[Any], Any]] = {
    "sin": tf.sin, "cos": tf.cos, "tan": tf.tan, "erf": tf.erf, "erfc": tf.erfc, "lgamma": tf.lgamma,
    "digamma": tf.digamma, "trigamma": lambda x: tf.polygamma(1.0, x), "third": lambda x: tf.polygamma(3.0, x),
}  # fmt: skip


@pytest.fixture(params=["cpu", "gpu"])
def poor(request: pytest.FixtureRequest, device: Device, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The device without doubles, in either schedule; the texts that it builds."""
    monkeypatch.setattr(device, "traits", device.traits._replace(doubles=False, schedule=request.param))
    texts: list[str] = []
    build = cache.build

    def noted(of: Any, text: str, options: Sequence[str]) -> Any:
        texts.append(text)
        assert building.SINGLE in options
        return build(of, UNDEFINED + text, options)

    monkeypatch.setattr(cache, "build", noted)
    return texts


@pytest.mark.parametrize("name", ALONE)
def test_functions_of_floats_need_no_doubles(name: str, poor: list[str]) -> None:
    """Not as exact as through doubles, but no text has one, and none is of another number."""
    values = np.concatenate([np.linspace(-3.9, -0.1, 40), np.linspace(0.05, 9.5, 60)]).astype(np.float32)
    x = tf.placeholder(tf.float32, [100])
    wanted_of = tf.placeholder(tf.float64, [100])
    with tf.Session(device="cpu") as session:
        wanted = session.run(ALONE[name](wanted_of), {wanted_of: values.astype(np.float64)})
    with tf.Session(device="opencl") as session:
        found = session.run(ALONE[name](x), {x: values})
    assert poor and not any("double" in text for text in poor)
    error = np.abs(found - wanted) / (1 + np.abs(wanted))
    assert error.max() < 2e-5, (name, values[error.argmax()], error.max())


def test_what_doubles_are_for_has_them_where_they_are(device: Device) -> None:
    text, _ = building.whole_source(["__kernel void KERNEL(__global float4 *a) { a[0] = gf_erfc_float4(a[1]); }"], True)
    assert "gf_erfc_double4(double4 x)" in text
    assert building.SINGLE not in building.options_for(device.cl, True)


# -- groups and grids ----------------------------------------------------------------------------------------------


def noted_launches(monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """The launches that are bound from now on."""
    met: list[Launch] = []
    bound = clblast.bound

    def noted(of: Any, launches: Sequence[Launch], *more: Any) -> Any:
        met.extend(launches)
        return bound(of, launches, *more)

    monkeypatch.setattr(clblast, "bound", noted)
    return met


@pytest.mark.parametrize(("most", "group"), [(1024, 256), (256, 256), (192, 128), (64, 64), (12, 8), (1, 1)])
def test_a_group_is_no_larger_than_the_device_allows(
    most: int, group: int, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRAPHFLOW_OCL_SCHEDULE", raising=False)
    chip = SimpleNamespace(
        extensions="",
        max_work_group_size=most,
        max_compute_units=4,
        native_vector_width_float=1,
        local_mem_size=1 << 15,
    )
    assert Device._traits(SimpleNamespace(cl=chip, kind="gpu"), False).group == group  # type: ignore[arg-type]


def _small_groups(a: Any, b: Any, images: Any, places: Any) -> list[Any]:
    """One of each kind of kernel that is written for groups."""
    rows = tf.shape(a)[0]
    mean, variance = tf.nn.moments(a, [1], keep_dims=True)
    return [
        tf.transpose(a), tf.transpose(images, [0, 3, 2, 1]), tf.reverse(a, [0]), tf.tile(a, [2, 3]),
        tf.concat([a, b], 1), *tf.split(a, 3, 1), tf.gather(a, places), tf.one_hot(places, 5), tf.zeros_like(a),
        tf.unsorted_segment_sum(a, places, 9), tf.scatter_nd(places[:, None], a, [70, 45]), tf.range(rows),
        tf.sort(a), tf.nn.top_k(a, 7)[0], tf.argmax(a, 1), tf.cumsum(a, 1), tf.cumsum(a, 0),
        tf.sort(tf.reshape(a, [-1])), tf.nn.softmax(a), (a - mean) * tf.rsqrt(variance + 1e-3), tf.reduce_sum(a, 0),
        tf.reduce_max(a, 1), tf.reduce_mean(tf.exp(a)), tf.matmul(a, b, transpose_a=True),
        tf.matmul(a, a, transpose_b=True), tf.nn.conv2d(images, images[:2, :3, :4, :3], [1, 1, 1, 1], "SAME"),
        tf.nn.max_pool(images, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"), tf.where(a > b, a, b), tf.pad(a, [[1, 2], [0, 3]]),
    ]  # fmt: skip


@pytest.mark.parametrize("group", [1, 16, 64])
def test_kernels_for_small_groups(group: int, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel wants more items in a group than there may be, and each gives what it gives elsewhere."""
    monkeypatch.setattr(device, "traits", device.traits._replace(schedule="gpu", group=group))
    met = noted_launches(monkeypatch)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((67, 45)).astype(np.float32) for _ in range(2))
    fed = [a, b, rng.standard_normal((3, 9, 10, 4)).astype(np.float32), (np.arange(67) * 5 % 9).astype(np.int32)]
    inputs = [tf.placeholder(x.dtype, x.shape) for x in fed]
    results = _small_groups(*inputs)
    feeds = dict(zip(inputs, fed, strict=True))
    answers = []
    for name in ("cpu", "opencl"):
        with tf.Session(device=name) as session:
            answers.append(session.run(results, feeds))
    too_large = [launch.title for launch in met if prod(launch.group) > group]
    assert len(met) > 20 and not too_large
    for tensor, wanted, got in zip(results, *answers, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-4, err_msg=tensor.name)


def test_checks_of_indices_fit_a_small_group(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "traits", device.traits._replace(schedule="gpu", group=16))
    met = noted_launches(monkeypatch)
    v = tf.Variable(np.zeros((50, 3), np.float32))
    places, x = tf.placeholder(tf.int32, [40]), tf.constant(np.ones((40, 3), np.float32))
    update = tf.scatter_add(v, places, x)
    with tf.Session(device="opencl") as session:
        session.run(v.initializer)
        found = session.run(update, {places: np.arange(40)})
        np.testing.assert_array_equal(found, np.repeat(np.arange(50) < 40, 3).reshape(50, 3))
        with pytest.raises(errors.InvalidArgumentError, match=r"indices\[39\] is out of range"):
            session.run(update, {places: np.arange(11, 51)})
    assert met and all(prod(launch.group) <= 16 for launch in met)


def test_no_grid_is_longer_than_cuda_takes_it(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transposes of many small matrices: their groups are counted along the first dimension."""
    monkeypatch.setattr(device, "traits", device.traits._replace(schedule="gpu", group=128))
    met = noted_launches(monkeypatch)
    fed = np.arange(70_000 * 20, dtype=np.float32).reshape(70_000, 4, 5)
    x = tf.placeholder(tf.float32, fed.shape)
    with tf.Session(device="opencl") as session:
        turned, backwards = session.run([tf.transpose(x, [0, 2, 1]), tf.reverse(x, [0])], {x: fed})
    np.testing.assert_array_equal(turned, fed.transpose(0, 2, 1))
    np.testing.assert_array_equal(backwards, fed[::-1])  # so many elements that an item takes several
    grids = [[n // g for n, g in zip(launch.items, launch.group, strict=True)] for launch in met]
    assert max(map(prod, grids)) > MOST_GROUPS
    assert all(count <= MOST_GROUPS for grid in grids for count in grid[1:])


# -- configurations that a driver refuses --------------------------------------------------------------------------


def _refusal(kind: str) -> Exception:
    if kind == "launch":
        return cl.RuntimeError("clEnqueueNDRangeKernel failed: OUT_OF_RESOURCES", cl.status_code.OUT_OF_RESOURCES)
    return errors.InternalError("the OpenCL compiler refused a kernel")


@pytest.fixture
def measured(device: Device, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """As if it were a GPU without CLBlast, of which nothing is known; seconds are what a run says."""
    monkeypatch.delenv(tuning.OVERRIDE)
    monkeypatch.setattr(device, "traits", device.traits._replace(schedule="gpu", group=256, local_bytes=1 << 15))
    monkeypatch.setattr(device, "kind", "gpu")
    monkeypatch.setattr(tuning, "TUNED_FROM", 0)
    monkeypatch.setattr(clblast, "library", lambda: (None, "none"))
    monkeypatch.setattr(tuning, "_seconds", lambda run: run())
    choices.forget()
    yield device
    choices.forget()


def _refuse(which: Sequence[int], kind: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the driver refuse some configurations; others take longer with more rows.  The numbers of what is tried."""
    tried: list[int] = []
    made = products_gpu.gpu_launches

    def noted(*given: Any) -> Any:
        tried.append(given[-1])
        return made(*given)

    def bound(*_: Any) -> Callable[[], float]:
        if (number := tried[-1]) in which:
            raise _refusal(kind)
        return lambda: float(products_gpu.CONFIGURATIONS[number].rows)

    monkeypatch.setattr(products_gpu, "gpu_launches", noted)
    monkeypatch.setattr(tuning, "_bound", bound)
    return tried


@pytest.mark.parametrize("kind", ["launch", "compile"])
def test_a_configuration_that_is_refused_is_left_out(
    kind: str, measured: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = products_gpu.usable(tf.as_dtype("float32"), measured.traits)
    tried = _refuse([full[0], full[-1]], kind, monkeypatch)
    assert tuning.tune(measured, (100, 100, 100)) == full[-2]  # the smallest block of those that are left
    assert tried == full
    assert choices.configuration((100, 100, 100), "float32", measured.traits) == full[-2]


def test_smaller_groups_are_tried_where_all_others_are_refused(
    measured: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    float32 = tf.as_dtype("float32")
    full, all_of_them = (f(float32, measured.traits) for f in (products_gpu.usable, products_gpu.fitting))
    tried = _refuse(full, "launch", monkeypatch)
    best = tuning.tune(measured, (100, 100, 100))
    assert tried == all_of_them and best == all_of_them[-1]
    assert products_gpu.CONFIGURATIONS[best].items < products_gpu.CONFIGURATIONS[full[0]].items


def test_where_all_are_refused_the_default_is_left(measured: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    every = range(len(products_gpu.CONFIGURATIONS))
    tried = _refuse(every, "compile", monkeypatch)
    assert tuning.tune(measured, (100, 100, 100)) == -1 and tried == list(every)
    assert choices.configuration((100, 100, 100), "float32", measured.traits) == -1
    assert not choices.path_of(measured).exists()
    x = tf.placeholder(tf.float32, [20, 20])
    with tf.Session(device="opencl") as session:
        np.testing.assert_array_equal(session.run(tf.matmul(x, x), {x: np.eye(20)}), np.eye(20))


# -- buffers -------------------------------------------------------------------------------------------------------


def test_a_buffer_beyond_the_limit_names_the_limit(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 1 << 14
    monkeypatch.setattr(device, "most_bytes", limit)
    real = cl.Buffer

    def small(context: Any, flags: Any, size: int = 0, hostbuf: Any = None) -> Any:
        if max(size, getattr(hostbuf, "nbytes", 0)) > limit:
            raise cl.LogicError("clCreateBuffer failed: INVALID_BUFFER_SIZE", cl.status_code.INVALID_BUFFER_SIZE)
        return real(context, flags, size, hostbuf)

    monkeypatch.setattr(memory.cl, "Buffer", small)
    x = tf.placeholder(tf.float32, [100, 100])
    with tf.Session(device="opencl") as session:
        y = tf.matmul(tf.matmul(x, x), x, name="the_large_one")
        with pytest.raises(errors.ResourceExhaustedError) as caught:
            session.run(y, {x: np.zeros((100, 100))})
        told = str(caught.value)
        assert f"{limit:,} bytes" in told and "CL_DEVICE_MAX_MEM_ALLOC_SIZE" in told and "the_large_one" in told
        asked = re.search(r"got: +([\d,]+) bytes in one", told)
        assert asked and int(asked[1].replace(",", "")) > limit
        few = tf.placeholder(tf.float32, [3])
        np.testing.assert_array_equal(session.run(few * 2.0, {few: [1, 2, 3]}), [2, 4, 6])
    v = tf.Variable(np.zeros((100, 100), np.float32))
    with tf.Session(device="opencl") as session, pytest.raises(errors.ResourceExhaustedError, match=f"{limit:,} bytes"):
        session.run(v.initializer)


def test_a_buffer_within_the_limit_is_refused_in_the_drivers_words(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise cl.MemoryError(
            "clCreateBuffer failed: MEM_OBJECT_ALLOCATION_FAILURE", cl.status_code.MEM_OBJECT_ALLOCATION_FAILURE
        )

    monkeypatch.setattr(memory.cl, "Buffer", none)
    with pytest.raises(cl.MemoryError):
        memory.Piece(device, 4096)
