"""OpenCL kernels of softmax and of cross-entropies against NumPy's, in both schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_numpy.table import TABLE
from graphflow_opencl import rows
from graphflow_opencl.devices import open_device

import graphflow as tf
from graphflow.dtypes import as_dtype, from_numpy
from graphflow.errors import InvalidArgumentError
from graphflow.testing.numeric import distance, tolerance
from tests import opencl_kernels, opencl_sites

TYPES = opencl_kernels.types_of(rows)
SOFT, LOG_SOFT = "Softmax", "LogSoftmax"
DENSE, SPARSE = "SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"
CLASSES = 1, 2, 3, 7, 8, 9, 10, 16, 17, 63, 65, 130, 1000
DTYPES = "float32", "float64", "float16", "bfloat16"


@pytest.fixture(params=["cpu", "gpu"])
def device(request: Any, monkeypatch: Any) -> Any:
    found = open_device()
    traits = found.traits._replace(schedule=request.param, units=2, group=64)
    monkeypatch.setattr(found, "traits", traits)
    return found


def numbers(*dims: int, dtype: str = "float32") -> Any:
    """Logits that depend on the dims alone."""
    return np.random.default_rng([len(dims), *dims]).normal(0, 3, dims).astype(as_dtype(dtype).np)


def inputs_of(kind: str, logits: Any) -> list[Any]:
    """The logits, and labels if the op takes some."""
    random = np.random.default_rng(logits.size)
    if kind == DENSE:
        return [logits, random.random(logits.shape).astype(logits.dtype)]
    if kind == SPARSE:
        return [logits, random.integers(0, logits.shape[-1], logits.shape[:-1])]
    return [logits]


def check(device: Any, kind: str, *inputs: Any, without: int | None = None) -> None:
    """The device's results against NumPy's, within the tolerances of `graphflow.testing`."""
    arrays = [np.asarray(x) for x in inputs]
    with np.errstate(all="ignore"):
        plain = TABLE[kind].function(*arrays)
    wanted: list[Any] = [np.asarray(w) for w in (plain if isinstance(plain, tuple) else (plain,))]
    if without is not None:
        wanted[without] = None
    for got, want in zip(opencl_kernels.made(device, kind, arrays, wanted, (), {}), wanted, strict=True):
        if want is None:
            continue
        dtype = from_numpy(want.dtype)
        assert dtype is not None
        error, bar = distance(got, want), tolerance(dtype.name)
        assert error <= bar, f"{kind} of {arrays[0].shape} is off by {error:.3g}, the bar is {bar:.3g}\n{got}\n{want}"


@pytest.mark.parametrize("kind", TYPES)
def test_rows_of_the_table(kind: str, device: Any) -> None:
    opencl_sites.DECLINED.clear()
    assert opencl_kernels.check_rows(kind, device) > 1
    assert not opencl_sites.DECLINED[kind]


@pytest.mark.parametrize("kind", TYPES)
def test_numbers_of_classes(kind: str, device: Any) -> None:
    step = 1 if kind == DENSE and device.traits.schedule == "cpu" else 3  # each is a kernel to compile
    for classes in CLASSES[::step]:
        check(device, kind, *inputs_of(kind, numbers(5, classes)))


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_dtypes(dtype: str, device: Any) -> None:
    for kind in TYPES:
        check(device, kind, *inputs_of(kind, numbers(2, 3, 11 if kind in (SOFT, SPARSE) else 75, dtype=dtype)))


def test_outputs_that_nobody_reads(device: Any) -> None:
    for kind in (DENSE, SPARSE):
        for without in (0, 1):
            check(device, kind, *inputs_of(kind, numbers(4, 75 if without else 10)), without=without)


def test_many_rows_and_long_ones(device: Any) -> None:
    check(device, SOFT, numbers(1001, 10))
    for kind in (LOG_SOFT, SPARSE):
        check(device, kind, *inputs_of(kind, numbers(2, 3001)))


def test_short_rows_side_by_side(device: Any) -> None:
    """As many as a vector has places, some more and some less; labels that count as bad name their own row."""
    width = device.traits.width
    for height in (1, width - 1, width, 2 * width + 3):
        check(device, SPARSE, *inputs_of(SPARSE, numbers(height, 10)))
    check(device, DENSE, *inputs_of(DENSE, numbers(width + 1, 3)))
    labels = np.full(width + 2, 3)
    labels[width] = 10
    logits = numbers(width + 2, 10)
    words = rf"the label at \[{width}\] is no class"
    opencl_kernels.refuses(device, SPARSE, [logits, labels], words, logits[:, 0], logits)


def test_no_row_and_no_class(device: Any) -> None:
    for kind in TYPES:
        check(device, kind, *inputs_of(kind, numbers(0, 4)))
    check(device, SOFT, np.zeros((3, 0), np.float32))


@pytest.mark.parametrize("classes", [5, 40])
def test_special_numbers(classes: int, device: Any) -> None:
    logits = numbers(9, classes)
    logits[0, 3] = np.nan
    logits[1] = -np.inf
    logits[2, 1] = np.inf
    logits[3, classes - 1] = -np.inf
    logits[4] = 1e30
    logits[5, 0] = -0.0
    logits[6] *= 1e4
    logits[7, 2] = 3e38
    labels = np.zeros_like(logits)
    labels[:, 2] = 1
    labels[8] = 0
    for kind in (SOFT, LOG_SOFT):
        check(device, kind, logits)
    check(device, DENSE, logits, labels)
    check(device, DENSE, logits, labels - 0.25)
    check(device, SPARSE, logits, np.full(9, 2, np.int32))


def test_rows_do_not_touch_each_other(device: Any) -> None:
    """A row gives the same bits wherever it stands."""
    one = numbers(1, 37)
    many = np.concatenate([numbers(6, 37), one])
    for kind in (SOFT, LOG_SOFT):
        (alone,) = opencl_kernels.made(device, kind, [one], [one], (), {})
        (among,) = opencl_kernels.made(device, kind, [many], [many], (), {})
        np.testing.assert_array_equal(alone[0], among[-1])


def test_labels_that_are_no_classes(device: Any) -> None:
    logits = numbers(2, 3, 7)
    for bad, dtype in ((7, np.int64), (-1, np.int32), (200, np.uint8)):
        labels = np.zeros((2, 3), dtype)
        labels[1, 1] = np.array(bad).astype(dtype)
        labels[1, 2] = labels[1, 1]
        words = r"the label at \[1, 1\] is no class"
        opencl_kernels.refuses(device, SPARSE, [logits, labels], words, logits[..., 0], logits)


def test_in_a_session() -> None:
    logits, labels = tf.placeholder(tf.float32, (6, 20)), tf.placeholder(tf.int32, (6,))
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    fetches = loss, tf.gradients(loss, logits)[0], tf.nn.softmax(logits, axis=0)
    feeds = {logits: numbers(6, 20), labels: np.arange(6)}
    with tf.Session() as plain, tf.Session(device="opencl") as session:
        for got, want in zip(session.run(fetches, feeds), plain.run(fetches, feeds), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
        with pytest.raises(InvalidArgumentError, match="is no class"):
            session.run(loss, {logits: numbers(6, 20), labels: np.full(6, 20)})
        np.testing.assert_allclose(session.run(loss, feeds), plain.run(loss, feeds), rtol=1e-5)
