"""OpenCL devices: which one is chosen, PoCL on a CPU that it does not know, and built programs on disk."""

from __future__ import annotations

import ctypes
import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

cl = pytest.importorskip("pyopencl")

from graphflow_opencl import cache, pocl, stages  # noqa: E402
from graphflow_opencl.devices import Device, alignment_of, candidates, open_device  # noqa: E402

import graphflow as tf  # noqa: E402
from graphflow import cli, errors  # noqa: E402

OPTIONS = ["-cl-std=CL1.2"]
SOURCE = "__kernel void twice(__global float *a) { int i = get_global_id(0); a[i] = 2.0f * a[i] + %d.0f; }"


@pytest.fixture
def device() -> Device:
    return open_device()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("GRAPHFLOW_CACHE", str(tmp_path / "programs"))
    monkeypatch.setattr(cache, "_told", set())
    return tmp_path / "programs"


def answer(device: Device, program: Any) -> float:
    """What the kernel of SOURCE makes of 1."""
    values = np.ones(4, np.float32)
    buffer = cl.Buffer(device.context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=values)
    kernel = cl.Kernel(program, "twice")
    kernel.set_args(buffer)
    queue = cl.CommandQueue(device.context, device.cl)
    cl.enqueue_nd_range_kernel(queue, kernel, (4,), (4,))
    cl.enqueue_copy(queue, values, buffer)
    assert (values == values[0]).all()
    return float(values[0])


# -- the choice ----------------------------------------------------------------------------------------------------


def test_the_environment_chooses_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, chosen in candidates():
        monkeypatch.setenv("GRAPHFLOW_DEVICE", name)
        assert open_device().cl == chosen and open_device().name == name
    monkeypatch.delenv("GRAPHFLOW_DEVICE")
    assert open_device().name == candidates()[0][0]


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHFLOW_DEVICE", "opencl:99:0")
    name = candidates()[0][0]
    assert open_device(name).name == name


def test_parts_of_buffers_begin_where_the_device_asks_for_it(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    met, wide = SimpleNamespace(mem_base_addr_align=1024), SimpleNamespace(mem_base_addr_align=4096)  # in bits
    assert alignment_of([met]) == 128 and alignment_of([met, wide]) == 512
    assert device.alignment * 8 % device.cl.mem_base_addr_align == 0
    origins, region = [], cl.Buffer.get_sub_region

    def noted(buffer: Any, origin: int, size: int, *flags: Any) -> Any:
        origins.append(origin)
        return region(buffer, origin, size, *flags)

    monkeypatch.setattr(device, "alignment", 512)
    monkeypatch.setattr(cl.Buffer, "get_sub_region", noted)
    x, places = tf.placeholder(tf.float32, [3, 5]), tf.placeholder(tf.int32, [2])
    rows = tf.gather(x, places)
    results = [rows, tf.matmul(rows, x, transpose_b=True), tf.gather(tf.transpose(x), places), tf.exp(x)]
    fed = np.arange(15, dtype=np.float32).reshape(3, 5) / 8
    with tf.Session(device=device.name) as session:
        found = session.run(results, {x: fed, places: [2, 0]})
    for got, wanted in zip(found, [fed[[2, 0]], fed[[2, 0]] @ fed.T, fed.T[[2, 0]], np.exp(fed)], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert len(set(origins)) > 2 and not any(origin % 512 for origin in origins)


@pytest.mark.parametrize("wanted", ["opencl:99:0", "opencl:0:99", "opencl:nonsense", "opencl:0:-1", "opencl:0:0:0"])
def test_a_device_that_is_not_there(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHFLOW_DEVICE", wanted)
    with pytest.raises(errors.NotFoundError, match=wanted) as caught:
        open_device()
    for name, there in candidates():  # what exists is listed
        assert f"{name} ({there.name.strip()})" in str(caught.value)


@pytest.mark.parametrize("wanted", ["nonsense", "nonsense:0:0"])
def test_a_backend_that_is_not_there(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHFLOW_DEVICE", wanted)
    with pytest.raises(errors.NotFoundError, match="no backend named 'nonsense'") as caught:
        tf.Session(graph=tf.Graph())
    assert "numpy" in str(caught.value) and "opencl" in str(caught.value)


# -- PoCL and the name of the CPU ----------------------------------------------------------------------------------

HASWELL, SKYLAKE = pocl.TARGETS[1][0], pocl.TARGETS[0][0] | pocl.TARGETS[1][0]


@pytest.mark.parametrize(
    ("flags", "target"),
    [
        (SKYLAKE, "skylake-avx512"),
        (SKYLAKE - {"avx512vl"}, None),  # PoCL takes its library for AVX-512, which such a CPU cannot execute
        (HASWELL, "haswell"),
        (HASWELL - {"avx2"}, None),
        (frozenset(), None),
    ],
)
def test_the_name_follows_the_features(flags: frozenset[str], target: str | None) -> None:
    assert pocl.target_for(flags) == target


class Record:
    """The memory of a device's record, with pointers among other words."""

    def __init__(self, platform: str = pocl.PLATFORM, names: int = 1, compiler: str = "PoCL 3.0, LLVM 14.0.6") -> None:
        self.memory = (ctypes.c_uint64 * (pocl.RECORD_BYTES // 8))()
        self.texts = [ctypes.create_string_buffer(text) for text in (b"pthread", b"generic-x", *[b"generic"] * names)]
        self.memory[1], self.memory[2], self.memory[3] = 0xDEAD0000, (1 << 64) - 1, 7  # nothing is mapped there
        for place, text in enumerate(self.texts):
            self.memory[10 + place] = ctypes.addressof(text)
        self.before = list(self.memory)
        self.int_ptr = ctypes.addressof(self.memory)
        self.platform = SimpleNamespace(name=platform, version=compiler)

    def changed(self) -> list[int]:
        return [i for i, word in enumerate(self.memory) if word != self.before[i]]


@pytest.fixture
def haswell(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pocl, "cpu_flags", lambda: HASWELL)
    monkeypatch.setattr(pocl, "_names", {})
    monkeypatch.setattr(pocl.platform, "system", lambda: "Linux")
    monkeypatch.setattr(pocl.platform, "machine", lambda: "x86_64")
    yield


@pytest.mark.skipif(sys.platform != "linux", reason="reads its memory through /proc")
@pytest.mark.usefixtures("haswell")
def test_a_cpu_that_pocl_does_not_know_gets_a_name() -> None:
    record = Record()
    assert pocl.give_cpu_name(record) == "haswell" and record.changed() == [12]
    assert ctypes.string_at(record.memory[12]) == b"haswell"
    assert pocl.give_cpu_name(record) == "haswell" and record.changed() == [12]


@pytest.mark.skipif(sys.platform != "linux", reason="reads its memory through /proc")
@pytest.mark.usefixtures("haswell")
def test_what_is_not_certain_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for record in (Record(names=0), Record(names=2), Record(platform="Another"), Record(compiler="LLVM 19.1")):
        assert pocl.give_cpu_name(record) is None and record.changed() == []
    monkeypatch.setattr(pocl, "cpu_flags", frozenset)
    record = Record()
    assert pocl.give_cpu_name(record) is None and record.changed() == []


def test_every_device_builds_and_computes(device: Device, folder: Path) -> None:
    program, _ = cache.build(device, SOURCE % 3, OPTIONS)
    assert answer(device, program) == 5


# -- programs on disk ----------------------------------------------------------------------------------------------


def test_where_programs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRAPHFLOW_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache.folder() == Path("/home/somebody/.cache/graphflow/opencl")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache.folder() == Path("/xdg/graphflow/opencl")
    monkeypatch.setenv("GRAPHFLOW_CACHE", "/own")
    assert cache.folder() == Path("/own")


def test_a_program_is_built_once(device: Device, folder: Path) -> None:
    first, from_disk = cache.build(device, SOURCE % 10, OPTIONS)
    assert not from_disk and len(list(folder.iterdir())) == 1
    second, from_disk = cache.build(device, SOURCE % 10, OPTIONS)
    assert from_disk and answer(device, first) == answer(device, second) == 12
    other, from_disk = cache.build(device, SOURCE % 11, OPTIONS)
    assert not from_disk and answer(device, other) == 13 and len(list(folder.iterdir())) == 2


def test_another_process_finds_it(device: Device, folder: Path) -> None:
    cache.build(device, SOURCE % 12, OPTIONS)
    code = (
        "from graphflow_opencl import cache; from graphflow_opencl.devices import open_device\n"
        f"device = open_device({device.name!r}); print(cache.build(device, {SOURCE % 12!r}, {OPTIONS!r})[1])"
    )
    path = os.pathsep.join([str(Path(cache.__file__).parents[1]), *filter(None, sys.path)])
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, text=True, timeout=200,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "True\n", "")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "refused"])
def test_what_is_damaged_is_built_again(damage: str, device: Device, folder: Path) -> None:
    text = SOURCE % 20
    cache.build(device, text, OPTIONS)
    key = cache.key_of(device.cl, text, OPTIONS)
    path = cache.path_of(key)
    whole = path.read_bytes()
    if damage == "refused":  # a whole file that the driver cannot take
        assert cache.save(key, b"not a program of any driver")
    else:
        raw = {"cut": whole[:-1], "flipped": whole[:-1] + bytes([whole[-1] ^ 1]), "empty": b"", "foreign": b"\x7fELF"}
        path.write_bytes(raw[damage])
        assert cache.load(key) is None
    program, from_disk = cache.build(device, text, OPTIONS)
    assert not from_disk and answer(device, program) == 22
    assert cache.load(key) is not None and cache.build(device, text, OPTIONS)[1]


def test_a_source_that_does_not_build_leaves_nothing(device: Device, folder: Path) -> None:
    with pytest.raises(cl.Error):
        cache.build(device, "__kernel void twice(__global float *a) { a[0] = nothing; }", OPTIONS)
    assert not folder.exists()


def test_the_key_has_all_that_decides(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = ("vendor", "name", "version", "driver_version", "native_vector_width_float", "type")
    plain = {name: getattr(device.cl, name) for name in facts}
    about = {name: getattr(device.cl.platform, name) for name in ("name", "version")}

    def key(text: str = "source", options: tuple[str, ...] = ("-a",), **changed: Any) -> str:
        platform = SimpleNamespace(**{k: changed.pop(f"platform_{k}", v) for k, v in about.items()})
        return cache.key_of(SimpleNamespace(**{**plain, **changed}, platform=platform), text, options)

    keys = {key(), key("other"), key(options=("-b",)), key(options=("-a", "-b")), key(options=())}
    keys |= {key(**{name: "other"}) for name in ("vendor", "name", "version", "driver_version")}
    keys |= {key(platform_name="other"), key(platform_version="other"), key(native_vector_width_float=3)}
    assert len(keys) == 12 and key() in keys
    monkeypatch.setattr(cache, "_version", lambda: "99")
    assert key() not in keys
    keys.add(key(type=cl.device_type.CPU))
    monkeypatch.setattr(pocl, "cpu_flags", lambda: frozenset({"another"}))
    assert key(type=cl.device_type.CPU) not in keys


def test_contents_come_back_and_are_replaced(folder: Path) -> None:
    assert cache.load("k") is None
    for contents in (b"one", b"", bytes(range(256)) * 4000):
        assert cache.save("k", contents) and cache.load("k") == contents
    assert [path.name for path in folder.iterdir()] == [f"k{cache.SUFFIX}"]  # no temporary file is left
    assert not cache.save("large", b"x" * cache.MOST_OF_ONE) and cache.load("large") is None


def test_many_writers_of_one_file(folder: Path) -> None:
    contents = [bytes([n]) * 100_000 for n in range(8)]
    seen: list[bytes | None] = []

    def work(mine: bytes) -> None:
        for _ in range(5):
            cache.save("k", mine)
            seen.append(cache.load("k"))

    threads = [threading.Thread(target=work, args=(c,)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 40 and set(seen) <= set(contents)


def test_only_files_of_this_user_are_believed() -> None:
    def owned_by(user: int) -> os.stat_result:
        return os.stat_result((0o100644, 1, 1, 1, user, 0, 3, 0, 0, 0))

    assert cache.is_ours(owned_by(0))
    if hasattr(os, "geteuid"):
        assert cache.is_ours(owned_by(os.geteuid())) and not cache.is_ours(owned_by(os.geteuid() + 12345))


def test_a_folder_that_cannot_be_written_is_told_once(
    device: Device, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRAPHFLOW_CACHE", str(tmp_path / "file" / "below"))
    with caplog.at_level(logging.WARNING, logger="graphflow"):
        for _ in range(2):
            program, from_disk = cache.build(device, SOURCE % 30, OPTIONS)
            assert not from_disk and answer(device, program) == 32
    assert len(caplog.records) == 1 and "set GRAPHFLOW_CACHE" in caplog.text


def test_the_least_recently_used_files_go_first(folder: Path) -> None:
    for age, key in enumerate("abcd"):
        cache.save(key, b"x" * 1000)
        os.utime(cache.path_of(key), (1e9 - age, 1e9 - age))  # d is the oldest
    left = folder / f".a{cache.SUFFIX}.1.0123456789abcdef.tmp"
    left.touch()
    os.utime(left, (1e9, 1e9))
    assert cache.load("d") is not None  # and now the newest
    size = cache.path_of("a").stat().st_size
    cache.trim(folder, 2 * size)
    assert sorted(path.name for path in folder.iterdir()) == [f"a{cache.SUFFIX}", f"d{cache.SUFFIX}"]
    cache.trim(folder / "gone", 0)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_terminals(
    terminal: bool, device: Device, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    for number in (40, 41, 41):
        cache.build(device, SOURCE % number, OPTIONS)
    expected = f"graphflow: compiling 1 kernel for {device.cl.name.strip()}, once ...\n" if terminal else ""
    assert stream.getvalue() == expected


# -- the doctor's stages, for real ---------------------------------------------------------------------------------


def test_the_doctor_finds_every_device_in_order(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHFLOW_DOCTOR_SECONDS", "250")
    assert cli.main(["devices"]) == 0
    out, _ = capfd.readouterr()
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("opencl:")]
    assert listed == [name for name, _ in candidates()]


def test_every_device_passes_its_stages(capfd: pytest.CaptureFixture[str]) -> None:
    for name, _ in candidates():
        assert stages.main(["device", *name.split(":")[1:]]) == 0
        out, _ = capfd.readouterr()
        for step in ("context", "build", "run", "accuracy", "speed"):
            assert f'"step": "{step}", "state": "ok"' in out


def test_a_stage_that_raises_tells_why(capfd: pytest.CaptureFixture[str]) -> None:
    assert stages.main(["device", "99", "0"]) == 1
    out, _ = capfd.readouterr()
    assert out.count("\n") == 2 and '"step": "context", "state": "begin"' in out and "IndexError" in out
