"""CLBlast as a candidate for products: which products it is given, what it makes of them, and who chooses it.

What needs the library itself is skipped where it is not installed; GRAPHFLOW_CLBLAST may name it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

cl = pytest.importorskip("pyopencl")

from graphflow_opencl import choices, clblast, doctor, products, products_gpu, tuning  # noqa: E402
from graphflow_opencl.affine import Epilogue, Operand, axes  # noqa: E402
from graphflow_opencl.devices import Device, open_device  # noqa: E402
from graphflow_opencl.single import run_launches  # noqa: E402
from graphflow_opencl.table import Scratch, Site  # noqa: E402

import graphflow as tf  # noqa: E402
from graphflow.dtypes import as_dtype  # noqa: E402
from graphflow.errors import UnavailableError  # noqa: E402
from graphflow.program import Instruction  # noqa: E402
from graphflow.spec import TensorSpec  # noqa: E402

here, where = clblast.library()
needs_library = pytest.mark.skipif(here is None, reason=f"CLBlast: {where}")
FLIPS = [(False, False), (True, False), (False, True), (True, True)]


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(clblast.FORCED, "clblast")


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The library is looked for anew, and forgotten afterwards."""
    clblast.library.cache_clear()
    yield monkeypatch
    clblast.library.cache_clear()


def site_of(first: Any, second: Any, flips: tuple[bool, bool] = (False, False)) -> tuple[Site, Any]:
    a, b = (np.swapaxes(x, -1, -2) if flip else x for x, flip in zip((first, second), flips, strict=True))
    wanted = np.matmul(a.astype(np.float64), b.astype(np.float64))
    attrs = {"transpose_a": flips[0], "transpose_b": flips[1]}
    ins = Instruction(0, "MatMul", (0, 1), (2,), attrs, (), None)  # type: ignore[arg-type]
    dtype = as_dtype(first.dtype)
    specs = TensorSpec(dtype, first.shape), TensorSpec(dtype, second.shape)
    return Site(ins, specs, (TensorSpec(dtype, wanted.shape),), (None, None), open_device().traits), wanted


def routine(shapes: Any, flips: tuple[bool, bool] = (False, False), dtype: str = "float32") -> Any:
    """The call for a product of matrices of these shapes."""
    first, second = (np.zeros(shape, as_dtype(dtype).np) for shape in shapes)
    site, _ = site_of(first, second, flips)
    operands = tuple(Operand(number, as_dtype(dtype)) for number in range(3))
    return clblast.routine_of(products.matmul_product(site), operands)  # type: ignore[arg-type]


def numbers(shape: tuple[int, ...], dtype: Any, seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def check(shapes: Any, flips: tuple[bool, bool] = (False, False), dtype: Any = np.float32) -> None:
    """The library's product against NumPy's in double precision, within K times epsilon."""
    first, second = numbers(shapes[0], dtype, 1), numbers(shapes[1], dtype, 2)
    site, wanted = site_of(first, second, flips)
    launches = products.matmul_launches(site)
    assert launches is not None and launches[0].routine is not None, "another kernel was taken"
    got = run_launches(open_device(), launches, {0: first, 1: second}, {2: site.outputs[0]})[2]  # type: ignore[dict-item]
    depth = first.shape[-2 if flips[0] else -1]
    largest = np.abs(first).max() * np.abs(second).max()
    assert np.abs(got - wanted).max() <= depth * np.finfo(dtype).eps * largest


# -- which products ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flips", FLIPS)
def test_the_layout_of_each_matrix_is_told(flips: tuple[bool, bool]) -> None:
    m, k, n = 5, 7, 3
    found = routine(((k, m) if flips[0] else (m, k), (n, k) if flips[1] else (k, n)), flips)
    assert found.sizes == (m, n, k) and found.name == "CLBlastSgemm"
    assert found.a == (flips[0], m if flips[0] else k, 0, 0) and found.b == (flips[1], k if flips[1] else n, 0, 0)
    assert found.c == (False, n, 0, 0)


def test_a_batch_has_one_stride_or_none_at_all() -> None:
    found = routine(((4, 5, 7), (7, 3)))
    assert found.batches == 4 and (found.a.batch, found.b.batch, found.c.batch) == (35, 0, 15)
    assert found.name == "CLBlastSgemmStridedBatched"
    assert routine(((2, 1, 5, 7), (3, 7, 3))) is None  # two strides


def test_what_it_cannot_compute_is_left_to_our_kernels() -> None:
    assert routine(((5, 7), (7, 3)), dtype="float16") is None and routine(((5, 7), (7, 3)), dtype="int32") is None
    assert routine(((5, 0), (0, 3))) is None
    site, _ = site_of(np.zeros((5, 6), np.float32), np.zeros((6, 4), np.float32))
    plain, operands = products.matmul_product(site), tuple(Operand(i, as_dtype("float32")) for i in range(3))
    windows = plain._replace(a_rows=axes((2, 100), (2, 7), (5, 3))._replace(sizes=(5,), strides=(3,)))
    overlapping = plain._replace(a_rows=axes((5, 3)))  # rows that begin within the row before
    repeated = plain._replace(a_rows=axes((5, 0)))
    digits = plain._replace(a_depth=axes((2, 100), (3, 1)))
    for product in (windows, overlapping, repeated, digits):
        assert clblast.routine_of(product, operands) is None  # type: ignore[arg-type]
    apart = plain._replace(a_rows=axes((5, 9)))  # a part of a wider matrix
    found = clblast.routine_of(apart, operands)  # type: ignore[arg-type]
    assert found is not None and found.a.line == 9


def test_a_bias_is_added_by_a_kernel_of_ours() -> None:
    site, _ = site_of(np.zeros((5, 6), np.float32), np.zeros((6, 4), np.float32))
    operands = tuple(Operand(i, as_dtype("float32")) for i in range(3))
    first, second = clblast.launches(  # type: ignore[misc]
        products.matmul_product(site), operands, Epilogue(7), site.traits, 2  # type: ignore[arg-type]
    )  # fmt: skip
    assert first.arguments == (0, 1, Scratch(2, 80)) and first.writes == ()
    assert second.arguments == (Scratch(2, 80), 2, 7) and second.writes == (2,) and second.routine is None


# -- the library ---------------------------------------------------------------------------------------------------


def test_a_library_that_is_not_one_is_told_and_not_used(no_library: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libclblast.so").write_text("no library")
    no_library.setenv(clblast.PLACE, str(tmp_path / "libclblast.so"))
    found, reason = clblast.library()
    assert found is None and "libclblast.so cannot be used" in reason


def test_another_library_is_told_by_what_it_lacks(no_library: pytest.MonkeyPatch) -> None:
    no_library.setenv(clblast.PLACE, np._core._multiarray_umath.__file__)
    found, reason = clblast.library()
    assert found is None and "CLBlastSgemm" in reason


def test_it_can_be_left_alone_and_missed(no_library: pytest.MonkeyPatch) -> None:
    no_library.setenv(clblast.PLACE, "0")
    assert clblast.library() == (None, "GRAPHFLOW_CLBLAST is 0")
    site, _ = site_of(np.zeros((5, 6), np.float32), np.zeros((6, 4), np.float32))
    assert products.matmul_launches(site) is not None  # our own
    no_library.setenv(clblast.FORCED, "clblast")
    with pytest.raises(UnavailableError, match="asks for CLBlast, which is not here") as caught:
        products.matmul_launches(site)
    assert "libclblast1" in str(caught.value)


def test_an_absent_one_is_the_systems_word(no_library: pytest.MonkeyPatch) -> None:
    no_library.delenv(clblast.PLACE, raising=False)
    no_library.setattr("ctypes.util.find_library", lambda name: None)
    assert clblast.library() == (None, "CLBlast is not installed")


# -- the choice ----------------------------------------------------------------------------------------------------


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """The device as if it were a GPU of which nothing is known, with two configurations of ours."""
    monkeypatch.setenv("GRAPHFLOW_CACHE", str(tmp_path))
    monkeypatch.delenv(clblast.FORCED, raising=False)
    device = open_device()
    monkeypatch.setattr(device, "traits", device.traits._replace(schedule="gpu", group=256, local_bytes=32768))
    monkeypatch.setattr(device, "kind", "gpu")
    monkeypatch.setattr(tuning, "TUNED_FROM", 0)
    monkeypatch.setattr(products_gpu, "usable", lambda *_: [7, 8])
    choices.forget()
    yield device
    choices.forget()


def pretend(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """A library that is here and takes so many times as long as configuration 7; 8 takes twice as long."""
    monkeypatch.setattr(clblast, "library", lambda: (SimpleNamespace(), "a stand-in"))

    def bound(device: Device, launches: Any, arrays: Any) -> Any:
        return launches[0]

    def time(launch: Any) -> float:
        if launch.routine is not None:
            return seconds
        return 1.0 if prod(launch.group) == products_gpu.CONFIGURATIONS[7].items else 2.0

    runs: list[Any] = []
    monkeypatch.setattr(tuning, "_bound", lambda *given: runs.append(bound(*given)) or (lambda: None))
    monkeypatch.setattr(tuning, "_seconds", lambda run: time(runs[-1]))


@pytest.mark.parametrize(("seconds", "best"), [(0.5, clblast.CHOICE), (1.5, 7)])
def test_the_tuner_takes_it_where_it_is_faster_and_keeps_that(
    seconds: float, best: int, gpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, seconds)
    assert tuning.tune(gpu, (100, 100, 100)) == best
    choices.forget()  # another process
    monkeypatch.setattr(tuning, "try_configurations", lambda *_: pytest.fail("it was measured before"))
    assert tuning.tune(gpu, (100, 100, 100)) == best
    site, _ = site_of(np.zeros((100, 100), np.float32), np.zeros((100, 100), np.float32))
    launches = products.matmul_launches(site)
    assert launches is not None and (launches[0].routine is not None) == (best == clblast.CHOICE)


def test_a_choice_whose_library_is_gone_is_measured_again(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 0.5)
    assert tuning.tune(gpu, (100, 100, 100)) == clblast.CHOICE
    monkeypatch.setattr(clblast, "library", lambda: (None, "gone"))
    site, _ = site_of(np.zeros((100, 100), np.float32), np.zeros((100, 100), np.float32))
    launches = products.matmul_launches(site)  # as it stands: one of ours
    assert launches is not None and launches[0].routine is None
    assert tuning.tune(gpu, (100, 100, 100)) == 7


def test_one_that_fails_is_left_out(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = SimpleNamespace(CLBlastSgemm=lambda *_: -2046)
    monkeypatch.setattr(clblast, "library", lambda: (refused, "a stand-in"))
    assert tuning.tune(gpu, (20, 20, 20)) in (7, 8)


# -- the products --------------------------------------------------------------------------------------------------


@needs_library
@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("flips", FLIPS)
def test_products_in_every_layout(flips: tuple[bool, bool]) -> None:
    for m, k, n in ((37, 141, 65), (1, 50, 7), (9, 1, 1), (130, 64, 200)):
        check(((k, m) if flips[0] else (m, k), (n, k) if flips[1] else (k, n)), flips)


@needs_library
@pytest.mark.usefixtures("forced")
def test_batches_and_doubles() -> None:
    check(((3, 40, 60), (3, 70, 60)), (False, True))
    check(((4, 7, 8), (8, 65)))
    check(((33, 70), (70, 50)), dtype=np.float64)


@needs_library
@pytest.mark.usefixtures("forced")
def test_what_was_in_the_results_memory_does_not_matter() -> None:
    site, wanted = site_of(numbers((33, 20), np.float32, 1), numbers((20, 9), np.float32, 2))
    launch = products.matmul_launches(site)[0]  # type: ignore[index]
    device, flags = open_device(), cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    arrays = [numbers((33, 20), np.float32, 1), numbers((20, 9), np.float32, 2), np.full((33, 9), np.nan, np.float32)]
    buffers = [cl.Buffer(device.context, flags, hostbuf=array) for array in arrays]
    call = clblast.bound(device, [launch])[0]
    call.set_args(*buffers)
    clblast.enqueuer(device.queue(0), call, launch)().wait()
    cl.enqueue_copy(device.queue(0), arrays[2], buffers[2])
    np.testing.assert_allclose(arrays[2], wanted, rtol=1e-5, atol=1e-5)


@needs_library
@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("lanes", ["1", "3"])
def test_a_training_step_with_it(lanes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHFLOW_OCL_LANES", lanes)
    found = {}
    for device in ("cpu", "opencl"):
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [20, 30])
            w = tf.Variable(numbers((30, 40), np.float32, 3))
            hidden = tf.nn.relu(tf.matmul(x, w) + numbers((40,), np.float32, 4))
            loss = tf.reduce_mean(tf.square(tf.matmul(hidden, numbers((40, 5), np.float32, 5))))
            step = tf.train.GradientDescentOptimizer(0.01).minimize(loss)
            with tf.Session(device=device) as session:
                session.run(tf.global_variables_initializer())
                feeds = {x: numbers((20, 30), np.float32, 6)}
                found[device] = [session.run([loss, step], feeds)[0] for _ in range(3)]
                native = session.explain([loss, step], feeds).native
    assert "CLBlastSgemm" in native
    np.testing.assert_allclose(found["opencl"], found["cpu"], rtol=1e-4)


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(("status", "kind"), [(-2046, tf.errors.InternalError), (-5, tf.errors.ResourceExhaustedError)])
def test_a_call_that_fails_names_the_op(status: int, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = SimpleNamespace(CLBlastSgemm=lambda *_: status)
    monkeypatch.setattr(clblast, "library", lambda: (refusing, "a stand-in"))
    with tf.Graph().as_default(), tf.Session(device="opencl") as session:
        x = tf.placeholder(tf.float32, [20, 30])
        y = tf.matmul(x, x, transpose_b=True, name="the_product")
        with pytest.raises(kind, match="CLBlastSgemm") as caught:
            session.run(y, {x: np.ones((20, 30), np.float32)})
    assert "the_product" in str(caught.value)


# -- the doctor ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "state", "words"),
    [
        ("0", "note", "products are ours alone: GRAPHFLOW_CLBLAST is 0"),
        ("/nowhere/libclblast.so.1", "note", "/nowhere/libclblast.so.1 cannot be used"),
        pytest.param(where, "ok", f"{where} is a candidate", marks=needs_library),
    ],
)
def test_the_doctor_says_whether_it_is_here(
    place: str, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(clblast.PLACE, place)
    checks = [c for c in doctor.examine(True)["checks"] if c["step"] == "clblast"]
    assert checks and all(c["state"] == state and words in c["text"] for c in checks)
