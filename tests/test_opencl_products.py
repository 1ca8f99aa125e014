"""Matrix products on OpenCL against NumPy, in both schedules: shapes, layouts, batches, epilogues, tuning."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_opencl import choices, families, products, products_gpu, tuning
from graphflow_opencl.devices import Device, open_device
from graphflow_opencl.single import run_launches
from graphflow_opencl.table import HOST, RULES, Site, Traits

from graphflow.dtypes import as_dtype
from graphflow.errors import InvalidArgumentError
from graphflow.program import Instruction
from graphflow.spec import TensorSpec
from tests import opencl_sites
from tests.cases import CASES

assert families
SCHEDULES = ("cpu", "narrow", "gpu")
# float64 exact to rounding; float32 within K * epsilon of sums of numbers around one; halves round once at the end
BARS = {"float64": 1e-14, "float32": 4e-6, "float16": 1e-3, "bfloat16": 8e-3, "int32": 0.0, "int64": 0.0, "uint8": 0.0}


def traits_of(schedule: str) -> Traits:
    traits = open_device().traits
    if schedule == "gpu":
        return traits._replace(schedule="gpu", group=256, local_bytes=32768)
    return traits._replace(schedule="cpu", width=8) if schedule == "narrow" else traits._replace(schedule="cpu")


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    values = np.random.default_rng(seed).standard_normal(shape)
    return (values * 9 if as_dtype(dtype).is_integer else values).astype(as_dtype(dtype).np)


def site_of(first: Any, second: Any, flips: tuple[bool, bool], traits: Traits) -> tuple[Site, Any]:
    """The site of a MatMul, and its result in the precision that NumPy gives."""
    attrs = {"transpose_a": flips[0], "transpose_b": flips[1]}
    wide = np.float64 if first.dtype.kind in "fV" else first.dtype
    a, b = (np.swapaxes(x, -1, -2) if flip else x for x, flip in zip((first, second), flips, strict=True))
    with np.errstate(all="ignore"):
        wanted = np.matmul(a.astype(wide), b.astype(wide))
    dtype = as_dtype(first.dtype)
    ins = Instruction(0, "MatMul", (0, 1), (2,), attrs, (), None)  # type: ignore[arg-type]
    specs = TensorSpec(dtype, first.shape), TensorSpec(dtype, second.shape)
    return Site(ins, specs, (TensorSpec(dtype, wanted.shape),), (None, None), traits), wanted


def check(shapes: Any, dtype: str, flips: tuple[bool, bool], schedule: str) -> None:
    first, second = numbers(shapes[0], dtype, 1), numbers(shapes[1], dtype, 2)
    site, wanted = site_of(first, second, flips, traits_of(schedule))
    launches = products.matmul_launches(site)
    assert launches is not None
    spec = site.outputs[0]
    assert spec is not None
    got = run_launches(open_device(), launches, {0: first, 1: second}, {2: spec})[2]
    close(got, wanted, dtype, f"{shapes} {flips} {schedule}")


def close(got: Any, wanted: Any, dtype: str, what: str) -> None:
    if not wanted.size:
        return
    error = np.max(np.abs(got.astype(wanted.dtype) - wanted)) / max(1, np.max(np.abs(wanted)))
    assert error <= BARS[dtype], f"{what} of {dtype}: off by {error:.2g}"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
def test_matrices_in_every_layout(flips: tuple[bool, bool], schedule: str) -> None:
    """Sizes that are no multiples of any tile, larger than one."""
    m, k, n = 37, 141, 65
    check(((k, m) if flips[0] else (m, k), (n, k) if flips[1] else (k, n)), "float32", flips, schedule)


SIZES = [
    (1, 1, 1),
    (7, 8, 9),
    (1, 1000, 9),
    (65, 1, 63),
    (9, 63, 1),
    (3, 0, 5),
    (0, 3, 4),
    (8, 1000, 8),
    (130, 64, 200),
]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_sizes_that_are_awkward(schedule: str) -> None:
    """Nothing, one, one less and one more than a vector, long and thin."""
    for m, k, n in SIZES:
        check(((m, k), (k, n)), "float32", (False, False), schedule)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_batches_that_broadcast(schedule: str) -> None:
    for shapes in (((5, 1, 7, 8), (3, 8, 9)), ((4, 7, 8), (8, 65)), ((2, 1, 3, 4), (2, 5, 4, 3)), ((0, 3, 4), (4, 5))):
        check(shapes, "float32", (False, False), schedule)
    check(((3, 40, 60), (3, 70, 60)), "float32", (False, True), schedule)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "int64", "uint8", "bfloat16"])
def test_every_dtype(dtype: str, schedule: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    check(((33, 70), (70, 50)), dtype, (False, False), schedule)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_long_depth_is_cut_and_repeats_bit_for_bit(schedule: str) -> None:
    first, second = numbers((10, 3000), "float32", 3), numbers((3000, 7), "float32", 4)
    site, wanted = site_of(first, second, (False, False), traits_of(schedule))
    launches = products.matmul_launches(site)
    assert launches is not None and any("parts" in x.title for x in launches)
    spec = site.outputs[0]
    assert spec is not None
    got = [run_launches(open_device(), launches, {0: first, 1: second}, {2: spec})[2] for _ in range(2)]
    close(got[0], wanted, "float32", "parts")
    assert got[0].tobytes() == got[1].tobytes()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sizes", [(37, 70, 53), (10, 3000, 7), (2, 5, 48)])
def test_bias_and_activation_on_the_way_out(sizes: tuple[int, int, int], schedule: str) -> None:
    """Whole tiles, tiles at the edge, and the sum of parts all apply the epilogue once."""
    m, k, n = sizes
    first, second, bias = numbers((m, k), "float32", 5), numbers((k, n), "float32", 6), numbers((n,), "float32", 7)
    site, wanted = site_of(first, second, (False, False), traits_of(schedule))
    spec = site.outputs[0]
    assert spec is not None
    launches = products.matmul_launches(site, 3, lambda x, width: f"fmax({x}, 0.0f)", into=9)
    assert launches is not None
    got = run_launches(open_device(), launches, {0: first, 1: second, 3: bias}, {9: spec})[9]
    close(got, np.maximum(wanted + bias, 0), "float32", "epilogue")
    assert (got == 0).any() and (got > 0).any()


@pytest.mark.parametrize("number", range(len(products_gpu.CONFIGURATIONS)))
def test_every_configuration_for_gpus(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "configuration", lambda *_: number)
    assert number in products_gpu.fitting(as_dtype("float32"), traits_of("gpu"))
    check(((37, 45), (70, 45)), "float32", (False, True), "gpu")


def test_not_a_number_stays_one() -> None:
    for schedule in SCHEDULES:
        first, second = np.ones((5, 40), np.float32), np.ones((40, 33), np.float32)
        first[2, 7], second[3, 4] = np.nan, np.inf
        site, wanted = site_of(first, second, (False, False), traits_of(schedule))
        spec, launches = site.outputs[0], products.matmul_launches(site)
        assert spec is not None and launches is not None
        got = run_launches(open_device(), launches, {0: first, 1: second}, {2: spec})[2]
        np.testing.assert_array_equal(got, wanted.astype(np.float32))


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
def test_the_rows_of_the_table(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device = open_device()
    monkeypatch.setattr(device, "traits", traits_of(schedule))
    before = opencl_sites.COMPUTED["MatMul"]
    rows = [case for case in CASES if case.op == "MatMul"]
    assert len(rows) > 8
    for case in rows:
        for dtype in dict.fromkeys(("float32", *case.dtypes)):
            opencl_sites.check_row(case, dtype, device, {"MatMul"})
    assert opencl_sites.COMPUTED["MatMul"] - before >= len(rows)


def test_complex_numbers_and_decompositions_are_the_hosts() -> None:
    site, _ = site_of(np.ones((2, 2), np.complex64), np.ones((2, 2), np.complex64), (False, False), traits_of("cpu"))
    assert products.matmul_launches(site) is None
    assert "Einsum" in HOST and "Cholesky" in HOST and "MatMul" in RULES


# -- choices ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def device(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The device with nothing measured, its file in a folder of its own."""
    monkeypatch.setenv("GRAPHFLOW_CACHE", str(tmp_path))
    monkeypatch.delenv(tuning.OVERRIDE, raising=False)
    found = open_device()
    monkeypatch.setattr(found, "traits", found.traits._replace(schedule="cpu", shares_memory=True))
    choices.forget()
    yield found
    choices.forget()


def count_probes(monkeypatch: pytest.MonkeyPatch, host: bool) -> list[str]:
    """What is probed from now on: the kind, and the operations in millions; large ones are the host's, if `host`."""
    seen: list[str] = []

    def probe(device: Device, kind: str, row: tuning.Row) -> bool:
        seen.append(f"{kind} {row.flops / 1e6:.1f}")
        return host and row.flops > 1e8

    monkeypatch.setattr(tuning, "_probe", probe)
    return seen


def test_what_was_measured_is_kept_for_the_next_process(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count_probes(monkeypatch, True)
    assert tuning.prefers_host(device, "product", 2e9)
    assert not tuning.prefers_host(device, "product", 2e5)
    assert tuning.prefers_host(device, "product", 3e8)
    assert seen == ["product 268.4", "product 0.5"]
    choices.forget()  # another process
    assert tuning.prefers_host(device, "product", 2e9)
    assert not tuning.prefers_host(device, "product", 0.0)
    assert seen == ["product 268.4", "product 0.5"]
    assert not tuning.prefers_host(device, "convolution", 2e9)
    assert seen == ["product 268.4", "product 0.5", "convolution 57.8"]


DAMAGED = [b"", b"{", b"[]", b'{"hosts": {"product": [[1, 2]]}, "configurations": {}}', b'{"hosts": 3}', b"\xff" * 50]


@pytest.mark.parametrize("contents", DAMAGED)
def test_a_damaged_file_is_measured_again(contents: bytes, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count_probes(monkeypatch, True)
    choices.path_of(device).write_bytes(contents)
    assert tuning.prefers_host(device, "product", 2e9)
    assert not tuning.prefers_host(device, "product", 2e5)
    assert seen == ["product 268.4", "product 0.5"]
    rows = json.loads(choices.path_of(device).read_text())["hosts"]["product"]
    assert rows == [[2.0 * 64**3, False], [2.0 * 512**3, True]]


def test_a_folder_that_cannot_be_made_costs_nothing_but_the_probe(
    device: Device, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    seen = count_probes(monkeypatch, False)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRAPHFLOW_CACHE", str(tmp_path / "file" / "folder"))
    assert not tuning.prefers_host(device, "product", 2e9)
    assert not tuning.prefers_host(device, "product", 2e9)
    assert seen == ["product 268.4"]


def test_the_environment_overrides(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count_probes(monkeypatch, True)
    monkeypatch.setenv(tuning.OVERRIDE, "device")
    assert not tuning.prefers_host(device, "product", 2e9)
    monkeypatch.setenv(tuning.OVERRIDE, "host")
    assert tuning.prefers_host(device, "product", 1.0)
    monkeypatch.setenv(tuning.OVERRIDE, "both")
    with pytest.raises(InvalidArgumentError, match="host or device"):
        tuning.prefers_host(device, "product", 1.0)
    assert not seen


def test_the_probe_runs_and_a_broken_one_means_the_host(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    row = tuning.Row(((9, 9), (9, 9)), (9, 9), 1458.0)
    assert type(tuning._probe(device, "product", row)) is bool

    def broken(*_: Any) -> Any:
        raise InvalidArgumentError("no kernel today")

    monkeypatch.setattr(products, "matmul_launches", broken)
    assert tuning._probe(device, "product", row)


def test_configurations_are_tried_once_and_kept(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "traits", traits_of("gpu"))
    monkeypatch.setattr(device, "kind", "gpu")
    monkeypatch.setattr(tuning, "TUNED_FROM", 0)
    monkeypatch.setattr(products_gpu, "usable", lambda *_: [7, 8])
    best = tuning.tune(device, (20, 20, 20))
    assert best in (7, 8)
    choices.forget()
    monkeypatch.setattr(tuning, "try_configurations", lambda *_: 3)
    assert tuning.tune(device, (17, 32, 20)) == best  # the same class
    assert tuning.tune(device, (100, 32, 20)) == 3
    assert choices.configuration((100, 32, 20), "float32", device.traits) == 3


def test_a_tuner_that_fails_leaves_the_default(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "kind", "gpu")
    monkeypatch.setattr(tuning, "TUNED_FROM", 0)

    def broken(*_: Any) -> Any:
        raise InvalidArgumentError("no kernel today")

    monkeypatch.setattr(tuning, "try_configurations", broken)
    assert tuning.tune(device, (20, 20, 20)) == -1
