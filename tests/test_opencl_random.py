"""Random numbers on an OpenCL device: the streams of NumPy's kernels, bit for bit where no logarithm is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_numpy.table import TABLE
from graphflow_opencl import randoms
from graphflow_opencl.devices import open_device

import graphflow as tf
from graphflow.backend import Run
from graphflow.dtypes import as_dtype, finfo
from graphflow.errors import InvalidArgumentError
from graphflow.program import Instruction
from tests import opencl_kernels, opencl_sites

FLOATS = "float32", "float64", "float16", "bfloat16"
SEED = (None, 3)
RUN = Run(5, 7, (2, 3))
# Units in the last place: what NumPy's functions and ours may be off by together.
ULP = {"RandomStandardNormal": {"float32": 6, "float64": 6}, "TruncatedNormal": {"float32": 1, "float64": 4}}


@pytest.fixture(params=["cpu", "gpu"])
def device(request: Any, monkeypatch: Any) -> Any:
    found = open_device()
    monkeypatch.setattr(found, "traits", found.traits._replace(schedule=request.param))
    return found


def both(device: Any, kind: str, *inputs: Any, known: bool = False, run: Run = RUN, **attrs: Any) -> tuple[Any, Any]:
    """What the device makes, and NumPy."""
    arrays = [np.asarray(x) for x in inputs]
    attrs = {"seed": SEED, **attrs}
    wanted = np.asarray(TABLE[kind].function(run, *[a if a.ndim else a[()] for a in arrays], **attrs))
    ins = Instruction(0, kind, tuple(range(len(arrays))), (len(arrays),), attrs, (), None)  # type: ignore[arg-type]
    site = opencl_sites.site_of(None, ins, arrays, [wanted], device.traits)
    site = site._replace(constants=tuple(a if known else None for a in arrays))
    found = opencl_sites.compute(device, site, arrays, run)
    assert found is not None, f"{kind} declined {attrs}"
    assert (found[0].dtype, found[0].shape) == (wanted.dtype, wanted.shape)
    return found[0], wanted


def same(device: Any, kind: str, *inputs: Any, **attrs: Any) -> None:
    found, wanted = both(device, kind, *inputs, **attrs)
    np.testing.assert_array_equal(found, wanted, f"{kind} {attrs}")


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform_numbers_have_the_same_bits(dtype: str, device: Any) -> None:
    for shape in ((1003,), (3, 5)) if dtype == "float32" else ((77,),):
        same(device, "RandomUniform", shape, dtype=as_dtype(dtype))


def test_all_types_are_tested_here() -> None:
    assert set(opencl_kernels.types_of(randoms)) == {"RandomUniform", "RandomUniformInt", "RandomBernoulli", *ULP}


def test_sizes(device: Any) -> None:
    for shape in ((), (1,), (7,), (8,), (9,), (0,), (2, 0)):
        same(device, "RandomUniform", np.array(shape, np.int64), dtype=as_dtype("float32"))
        if 0 not in shape:
            same(device, "RandomUniformInt", np.array(shape, np.int64), np.int32(-2), np.int32(5))
            same(device, "RandomBernoulli", np.array(shape, np.int64), np.float32(0.5))


def test_each_run_and_iteration_has_numbers_of_its_own(device: Any) -> None:
    seen = []
    for run in (Run(0, 7), Run(1, 7), Run(1, 8), Run(1, 7, (0,)), Run(1, 7, (0, 2**40)), Run(2**63, 7)):
        found, wanted = both(device, "RandomUniform", (8,), dtype=as_dtype("float32"), run=run)
        np.testing.assert_array_equal(found, wanted)
        seen.append(tuple(found))
    for seed in ((-1, 2**70), (2**64 - 1, 0)):
        found, wanted = both(device, "RandomUniform", (8,), dtype=as_dtype("float32"), seed=seed)
        np.testing.assert_array_equal(found, wanted)
        seen.append(tuple(found))
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("kind", ULP)
@pytest.mark.parametrize("dtype", FLOATS)
def test_normal_numbers_differ_in_the_last_places_at_most(kind: str, dtype: str, device: Any) -> None:
    found, wanted = (x.astype(np.float64) for x in both(device, kind, (1003,), dtype=as_dtype(dtype)))
    bar = ULP[kind].get(dtype, 1) * float(finfo(as_dtype(dtype)).eps)
    assert np.all(np.abs(found - wanted) <= bar * np.abs(wanted)), np.abs(found / wanted - 1).max()
    assert 0.7 < np.std(found) < 1.2  # of this one fixed stream


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", "int64"])
def test_integers_of_every_range(dtype: str, device: Any) -> None:
    ends = np.iinfo(dtype)
    low, high = (np.array(x, dtype) for x in (ends.min, ends.max))
    same(device, "RandomUniformInt", (21,), low, high)
    same(device, "RandomUniformInt", (21,), np.array(3, dtype), np.array(17, dtype), known=True)


def test_parameters_of_each_element(device: Any) -> None:
    low = np.arange(5, dtype=np.int32)
    same(device, "RandomUniformInt", (3, 5), low, np.full((3, 1), 9, np.int32))
    same(device, "RandomUniformInt", (3, 5), low, np.int32(9))
    same(device, "RandomBernoulli", (3, 5), np.linspace(0, 1, 5))
    same(device, "RandomBernoulli", (3, 5), np.linspace(0, 1, 3).reshape(3, 1).astype(np.float16))


@pytest.mark.parametrize("known", [False, True])
def test_masks(known: bool, device: Any) -> None:
    for keep in (0.0, 0.3, 1.0) if known else (0.25,):
        same(device, "RandomBernoulli", (77,), np.float32(keep), known=known)


def test_refused_parameters(device: Any) -> None:
    low, high = np.array([0, 4, 0], np.int32), np.array([5, 4, 9], np.int32)
    for kind, inputs, made, words in (
        ("RandomUniformInt", (low, high), low, "minval < maxval.*element 1"),
        ("RandomBernoulli", (np.array([0.5, 0.5, np.nan]),), np.zeros(3, bool), "element 2"),
    ):
        arrays = [np.array([3]), *inputs]
        numbers = tuple(range(len(arrays)))
        ins = Instruction(0, kind, numbers, (len(arrays),), {"seed": SEED}, (), None)  # type: ignore[arg-type]
        site = opencl_sites.site_of(None, ins, arrays, [made], device.traits)
        with pytest.raises(InvalidArgumentError, match="(?s)" + words):
            opencl_sites.compute(device, site, arrays, RUN)


def test_sessions_draw_what_numpy_draws() -> None:
    tf.set_random_seed(11)
    uniform, whole = tf.random_uniform([9]), tf.random_uniform([9], 0, 100, tf.int32)
    shuffled, gamma = tf.random_shuffle(tf.constant(np.arange(9))), tf.random_gamma([3], 2.0)
    looped = tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x + tf.random_uniform([5])), (0, tf.zeros([5])))
    fetches = uniform, whole, shuffled, gamma, looped[1]
    with tf.Session() as plain, tf.Session(device="opencl") as session:
        first = None
        for _ in range(3):
            wanted, found = plain.run(fetches), session.run(fetches)
            for a, b in zip(wanted, found, strict=True):
                np.testing.assert_array_equal(a, b)
            assert first is None or not np.array_equal(first, found[0])
            first = found[0]
