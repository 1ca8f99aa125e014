"""The checkpoint file: exact round trips, interoperability, and nothing wrong ever returned.

Policy: damage is exhaustive where that is possible (every bit, every length, every pair of blocks), random
but seeded where it is not; a hostile file costs a typed error within a second.  Owns no state.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from graphflow import checkpoint, durable, errors

Array = np.ndarray[Any, Any]


def objects(*items: Any, shape: tuple[int, ...] | None = None) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array if shape is None else array.reshape(shape)


def same(left: Array, right: Array) -> bool:
    """Equal in dtype, shape and every bit (elements and their types for strings)."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype == object:
        pairs = list(zip(left.reshape(-1).tolist(), right.reshape(-1).tolist(), strict=True))
        return all(type(a) is type(b) and a == b for a, b in pairs)
    return left.tobytes() == right.tobytes()


NUMERIC = [
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
    "float16", "float32", "float64", "complex64", "complex128", ml_dtypes.bfloat16,
]  # fmt: skip
SHAPES: list[tuple[int, ...]] = [(), (1,), (7,), (3, 5), (0,), (4, 0, 2), (2, 1, 3, 2), (1,) * 32]


def random_array(dtype: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Any bits at all: NaN with payloads, infinities, denormals and extremes."""
    bits = rng.integers(0, 256, math.prod(shape) * np.dtype(dtype).itemsize, dtype=np.uint8)
    array: Array = (bits % 2 if dtype == "bool" else bits).view(dtype).reshape(shape)
    return array


def round_trip(
    tmp_path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> checkpoint.Checkpoint:
    checkpoint.save(tmp_path / "model", tensors, metadata)
    return checkpoint.load(tmp_path / "model")


# --- round trips ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
def test_numbers_come_back_bit_for_bit(tmp_path: Path, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    tensors = {str(shape): random_array(dtype, shape, rng) for shape in SHAPES}
    found = round_trip(tmp_path, tensors)
    assert found.verified
    assert set(found.names) == set(tensors)
    for name, array in tensors.items():
        back = found.read(name)
        assert same(back, array)
        assert found.specs[name] == (np.dtype(dtype).name, array.shape)
        assert back.flags.owndata and back.flags.writeable and back.flags.aligned and back.flags.c_contiguous


STRINGS = [
    objects("text", b"bytes", "", b"", "naïve \U0001f600", b"\xff\x00", "nul\0", "lone \ud800"),
    objects("a", b"b", "c", b"d", shape=(2, 2)),
    objects("x", shape=()),
    objects(shape=(0, 3)),
    objects("x" * 3_000_000),
]


@pytest.mark.parametrize("array", STRINGS, ids=range(len(STRINGS)))
def test_strings_come_back(tmp_path: Path, array: Array) -> None:
    found = round_trip(tmp_path, {"s": array, "other": np.arange(3)})
    assert found.specs["s"] == ("string", array.shape)
    assert same(found.read("s"), array)


def test_fixed_width_strings_become_objects(tmp_path: Path) -> None:
    fixed = {"u": np.array(["a", "bc"]), "s": np.array([[b"a"], [b"bc"]]), "c": np.str_("d")}
    found = round_trip(tmp_path, fixed)
    assert same(found.read("u"), objects("a", "bc"))
    assert same(found.read("s"), objects(b"a", b"bc", shape=(2, 1)))
    assert same(found.read("c"), objects("d", shape=()))


def test_layouts(tmp_path: Path) -> None:
    base = np.arange(24.0).reshape(4, 6)
    readonly = base.copy()
    readonly.flags.writeable = False
    unaligned = np.frombuffer(b"x" + base.tobytes(), np.uint8)[1:].view(np.float64)
    layouts: dict[str, Any] = {
        "fortran": np.asfortranarray(base), "strided": base[::-2, ::3], "big": base.astype(">f8"),
        "broadcast": np.broadcast_to(np.float32(2), (3, 4)), "readonly": readonly, "unaligned": unaligned,
        "scalar": np.float64(3), "longlong": np.zeros(2, np.longlong), "bigcomplex": np.ones(2, ">c8"),
    }  # fmt: skip
    found = round_trip(tmp_path, layouts)
    for name, array in layouts.items():
        native = np.array(array, dtype=np.dtype(array.dtype).newbyteorder("="), order="C")
        assert same(found.read(name), native), name
    assert not readonly.flags.writeable


def test_a_bool_with_odd_bits_is_made_clean(tmp_path: Path) -> None:
    odd = np.array([0, 1, 2, 255], np.uint8).view(np.bool_)
    assert round_trip(tmp_path, {"b": odd}).read("b").view(np.uint8).tolist() == [0, 1, 1, 1]


NAMES = [
    "", " ", "a/b:0", "ключ", "\U0001f600", '"', "\\", '\\\\"', "\0", "\n\t\x7f", "{[",
    "graphflow.sha256", "é" * 5000,
]  # fmt: skip


def test_any_name_and_metadata(tmp_path: Path) -> None:
    metadata = {name: name for name in NAMES if not name.startswith("graphflow.")}
    found = round_trip(tmp_path, {name: np.array(i) for i, name in enumerate(NAMES)}, metadata)
    assert found.metadata == metadata
    assert [int(found.read(name)) for name in NAMES] == list(range(len(NAMES)))
    assert set(found.read_all()) == set(NAMES)


def test_empty_checkpoint(tmp_path: Path) -> None:
    found = round_trip(tmp_path, {})
    assert (found.names, dict(found.metadata), found.read_all(), found.verified) == ((), {}, {}, True)


def test_the_file_is_laid_out_as_promised(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    tensors = {f"{d}{s}": random_array(d, s, rng) for d in NUMERIC for s in SHAPES}
    checkpoint.save(tmp_path / "model", tensors)
    raw = (tmp_path / "model").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    table = json.loads(raw[8 : 8 + length])
    assert length % 8 == 0
    assert all(type(v) is str for v in table.pop("__metadata__").values())
    position = 0
    for entry in table.values():
        assert entry["data_offsets"][0] == position
        position = entry["data_offsets"][1]
    assert position == len(raw) - 8 - length
    checkpoint.save(tmp_path / "again", dict(reversed(tensors.items())))
    assert (tmp_path / "again").read_bytes() == raw


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"__metadata__": np.zeros(1)}, {}),
        ({1: np.zeros(1)}, {}),
        ({"\ud800": np.zeros(1)}, {}),
        ({"a": [1.0, 2.0]}, {}),
        ({"a": None}, {}),
        ({"a": np.ma.array([1.0], mask=[True])}, {}),
        ({"a": np.zeros(2, "datetime64[s]")}, {}),
        ({"a": np.zeros(2, np.longdouble)}, {}),
        ({"a": np.zeros(2, "i4,f4")}, {}),
        ({"a": objects("x", 1)}, {}),
        ({"a": objects(None)}, {}),
        ({"a": np.zeros((1,) * 33)}, {}),
        ({}, {"graphflow.sha256": "x"}),
        ({}, {"a": 1}),
        ({}, {1: "a"}),
        ({}, {"a": "\udfff"}),
    ],
    ids=range(16),
)
def test_what_cannot_be_saved(tmp_path: Path, tensors: Any, metadata: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError):
        checkpoint.save(tmp_path / "model", tensors, metadata)
    assert os.listdir(tmp_path) == []


def test_limits_of_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MAX_HEADER", 1000)
    with pytest.raises(errors.ResourceExhaustedError, match="header"):
        checkpoint.save(tmp_path / "model", {"n" * 1000: np.zeros(1)})
    monkeypatch.undo()
    monkeypatch.setattr(checkpoint, "MAX_NODES", 100)
    with pytest.raises(errors.ResourceExhaustedError, match="too many"):
        checkpoint.save(tmp_path / "model", {str(i): np.zeros(1) for i in range(10)})
    assert os.listdir(tmp_path) == []


def test_a_tensor_that_changes_during_the_save(tmp_path: Path) -> None:
    array = np.zeros(1000)
    checkpoint.save(tmp_path / "model", {"a": np.ones(3)})

    def create(path: str, flags: int, mode: int) -> int:
        array[7] = 1
        return os.open(path, flags, mode)

    with pytest.raises(errors.AbortedError, match="'a' changed"):
        checkpoint.save(tmp_path / "model", {"a": array}, calls=durable.OsCalls(open=create))
    assert checkpoint.load(tmp_path / "model").read("a").tolist() == [1, 1, 1]
    assert os.listdir(tmp_path) == ["model"]


# --- the object -------------------------------------------------------------------------------------------


def test_missing_files_and_names_have_hints(tmp_path: Path) -> None:
    found = round_trip(tmp_path, {"weights": np.zeros(1), "bias": np.zeros(2)})
    with pytest.raises(errors.NotFoundError, match="did you mean 'model'"):
        checkpoint.load(tmp_path / "modle")
    with pytest.raises(errors.NotFoundError, match=r"'wieghts', 'biass'(.|\n)*did you mean 'weights'"):
        found.read_all(["bias", "wieghts", "biass"])
    with pytest.raises(errors.NotFoundError):
        checkpoint.load(tmp_path / "no" / "such" / "directory")


def test_not_a_regular_file(tmp_path: Path) -> None:
    """To wait for what comes out of a pipe would be to wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link", ".", "/dev/zero", "/dev/tty", "", "a\0"):
        with pytest.raises(errors.InvalidArgumentError):
            checkpoint.load(name if name.startswith("/") or not name or "\0" in name else tmp_path / name)


def test_reading_goes_on_after_a_later_save(tmp_path: Path) -> None:
    first = round_trip(tmp_path, {"a": np.zeros(3)})
    second = round_trip(tmp_path, {"a": np.ones(3)})
    assert first.read("a").tolist() == [0, 0, 0]
    assert second.read("a").tolist() == [1, 1, 1]


def test_close(tmp_path: Path) -> None:
    with round_trip(tmp_path, {"a": np.zeros(3)}) as found:
        assert "1 tensors, verified" in repr(found)
    found.close()
    with pytest.raises(errors.FailedPreconditionError, match="closed"):
        found.read("a")
    gc.collect()  # what earlier tests left open is closed now, and not while we count
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        checkpoint.load(tmp_path / "model")
    assert len(os.listdir("/proc/self/fd")) == before


def test_damage_after_the_load_is_seen_by_read(tmp_path: Path) -> None:
    tensors = {"a": np.zeros(3), "b": np.ones(3)}
    found = round_trip(tmp_path, tensors)
    with open(tmp_path / "model", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    assert found.read("a").tolist() == [0, 0, 0]
    for names in (["b"], ["a", "b"], None):
        with pytest.raises(errors.DataLossError, match="'b' is corrupt"):
            found.read_all(names)
    with pytest.raises(errors.DataLossError, match="'b' is corrupt"):
        checkpoint.load(tmp_path / "model")
    with checkpoint.load(tmp_path / "model", verify=False) as lazy, pytest.raises(errors.DataLossError):
        lazy.read("b")
    os.truncate(tmp_path / "model", 100)
    with pytest.raises(errors.DataLossError, match="ends early"):
        found.read("a")


# --- other programs ---------------------------------------------------------------------------------------

COMMON = [d for d in NUMERIC[:12] if d != "complex64"]


def test_the_safetensors_package_reads_ours(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    tensors = {f"{d}{s}": random_array(d, s, rng) for d in COMMON for s in SHAPES}
    extra: dict[str, Any] = {"c": np.array([1 + 2j, 3j]), "s": objects("a", b"b"), "é\n\0": np.arange(3)}
    checkpoint.save(tmp_path / "model", {**tensors, **extra}, {"step": "7"})
    found = safetensors.numpy.load_file(tmp_path / "model")
    assert set(found) == {*tensors, *extra}
    for name, array in tensors.items():
        assert same(found[name], array), name
    assert found["c"].tolist() == [[1, 2], [0, 3]]
    with safetensors.safe_open(tmp_path / "model", framework="np") as file:
        assert file.metadata()["step"] == "7"
        assert file.metadata()["graphflow.type/c"] == "complex128"


def test_ours_reads_the_safetensors_package(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    tensors = {f"{d}{s}": random_array(d, s, rng) for d in COMMON for s in SHAPES}
    for metadata in (None, {"step": "7"}):
        safetensors.numpy.save_file(tensors, tmp_path / "model", metadata)
        found = checkpoint.load(tmp_path / "model")
        assert not found.verified
        assert "without checksums" in repr(found)
        assert found.metadata == (metadata or {})
        for name, array in found.read_all().items():
            assert same(array, tensors[name]), name
    (tmp_path / "model").write_bytes(safetensors.numpy.save({}))
    assert checkpoint.load(tmp_path / "model").names == ()


def test_our_metadata_in_a_rewritten_file_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "model", {"a": np.zeros(3)})
    with safetensors.safe_open(tmp_path / "model", framework="np") as file:
        metadata = dict(sorted(file.metadata().items(), reverse=True))
    safetensors.numpy.save_file({"a": np.ones(3)}, tmp_path / "model", metadata)
    with pytest.raises(errors.DataLossError):
        checkpoint.load(tmp_path / "model")


# --- damage -----------------------------------------------------------------------------------------------


def small_file(tmp_path: Path) -> tuple[Path, bytes]:
    rng = np.random.default_rng(5)
    tensors: dict[str, Any] = {
        "weights": rng.normal(size=(8, 10)).astype(np.float32), "empty": np.zeros((0, 2)),
        "flag": np.array(True),
        "complex": np.array([1 + 2j], np.complex64), "words": objects("é", b"y"), "steps": np.int64(7),
    }  # fmt: skip
    checkpoint.save(tmp_path / "model", tensors, {"made by": "caf\u00e9 \n"})
    return tmp_path / "model", (tmp_path / "model").read_bytes()


def must_fail(path: Path) -> None:
    found = None
    with pytest.raises(errors.DataLossError):
        found = checkpoint.load(path)
    assert found is None


def test_every_flipped_bit_is_detected(tmp_path: Path) -> None:
    path, raw = small_file(tmp_path)
    assert 1400 < len(raw) < 1800
    with open(path, "r+b", buffering=0) as file:
        for position in range(len(raw)):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([raw[position] ^ 1 << bit]), position)
                must_fail(path)
            os.pwrite(file.fileno(), raw[position : position + 1], position)
    checkpoint.load(path)


def test_every_truncation_is_detected(tmp_path: Path) -> None:
    path, raw = small_file(tmp_path)
    for length in reversed(range(len(raw))):
        os.truncate(path, length)
        must_fail(path)
    for tail in (b"\0", b" ", raw):
        path.write_bytes(raw + tail)
        must_fail(path)


def test_every_swap_of_blocks_is_detected(tmp_path: Path) -> None:
    path, raw = small_file(tmp_path)
    blocks = [raw[i : i + 16] for i in range(0, len(raw), 16)]
    with open(path, "r+b", buffering=0) as file:
        for i in range(len(blocks)):
            for j in range(i):
                if blocks[i] != blocks[j] and len(blocks[i]) == 16:
                    os.pwrite(file.fileno(), blocks[i], j * 16)
                    os.pwrite(file.fileno(), blocks[j], i * 16)
                    must_fail(path)
                    os.pwrite(file.fileno(), blocks[j], j * 16)
                    os.pwrite(file.fileno(), blocks[i], i * 16)
    checkpoint.load(path)


def test_random_damage_is_detected_and_typed(tmp_path: Path) -> None:
    path, raw = small_file(tmp_path)
    rng = random.Random(6)
    for _ in range(1500):
        data = bytearray(raw)
        for _ in range(rng.randint(1, 6)):
            start = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[start] = rng.randrange(256)
                case 1:
                    del data[start : start + rng.randint(1, 9)]
                case 2:
                    data[start:start] = data[rng.randrange(len(data)) :][: rng.randint(1, 40)]
                case 3:
                    data[start : start + 8] = struct.pack("<Q", rng.getrandbits(rng.randint(1, 64)))
        if data != raw:
            path.write_bytes(data)
            must_fail(path)


# --- hostile files ----------------------------------------------------------------------------------------


def build(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def one(data: bytes = b"\0" * 8, **more: Any) -> bytes:
    return build({"a": entry(**more)}, data)


def signed(notes: dict[str, Any], table: dict[str, Any], data: bytes = b"") -> bytes:
    """A file with a right checksum of the header: what one can forge who knows the format."""
    zeros = {"graphflow.sha256": "0" * 64, "graphflow.format": "1", **notes}
    text = json.dumps({"__metadata__": zeros, **table}, separators=(",", ":")).encode()
    digits = hashlib.sha256(struct.pack("<Q", len(text)) + text).hexdigest().encode()
    return struct.pack("<Q", len(text)) + text.replace(b"0" * 64, digits, 1) + data


def forged(data: bytes, note: str | None, **more: Any) -> bytes:
    notes = {"graphflow.sha256/a": hashlib.sha256(data).hexdigest()}
    if note is not None:
        notes["graphflow.type/a"] = note
    return signed(notes, {"a": entry(**more)}, data)


def blob(*lengths: int, tail: bytes = b"") -> bytes:
    return struct.pack(f"<{len(lengths)}Q", *lengths) + tail


def words(data: bytes, note: str) -> bytes:
    return forged(data, note, dtype="U8", shape=[len(data)], offsets=[0, len(data)])


HUGE = 1 << 62
HOSTILE: dict[str, bytes | Callable[[], bytes]] = {
    "empty file": b"",
    "seven bytes": b"\0" * 7,
    "header of 0": build(b""),
    "header of 1": build(b"{"),
    "header longer than the file": build(b"{}", length=3),
    "header of 2**64-1": build(b"{}", length=2**64 - 1),
    "header of 2**63": build(b"{}", length=2**63),
    "not JSON": build(b"hello"),
    "a list": build(b"[]"),
    "leading space": build(b" {}"),
    "leading BOM": build(b"\xef\xbb\xbf{}"),
    "NUL padding": build(b"{}\0\0"),
    "two objects": build(b"{}{}"),
    "not UTF-8": build(b'{"\xff":1}'),
    "UTF-16": build("{}".encode("utf-16")),
    "lone surrogate": build(b'{"\\ud800":' + json.dumps(entry()).encode() + b"}", b"\0" * 8),
    "comment": build(b"{/**/}"),
    "trailing comma": build(b'{"a":1,}'),
    "duplicate tensor": build(b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2), b"\0" * 8),
    "duplicate key": build(b'{"a":{"dtype":"U8","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', b"\0" * 8),
    "NaN": build(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', b"\0" * 8),
    "Infinity": build(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,Infinity]}}', b"\0" * 8),
    "1e999": build(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e999]}}', b"\0" * 8),
    "float shape": one(shape=[2.0]),
    "bool shape": one(shape=[True, 2]),
    "string shape": one(shape=["2"]),
    "null shape": one(shape=None),
    "shape is an object": one(shape={}),
    "negative shape": one(shape=[-2]),
    "two negatives": one(shape=[-2, -1]),
    "20 digits": one(shape=[10**19]),
    "4000 digits": build(b'{"a":{"dtype":"F32","shape":[%b],"data_offsets":[0,8]}}' % (b"1" * 4000)),
    "100,000 digits": build(b"{" + b'"a":' + b"9" * 100_000 + b"}"),
    "product overflows to 8 bytes": one(shape=[HUGE, 4, 2]),
    "product overflows to 0": one(b"", shape=[HUGE, HUGE], offsets=[0, 0]),
    "zero times huge": one(b"", shape=[0, HUGE, HUGE], offsets=[0, 0]),
    "shape too small": one(shape=[1]),
    "shape too large": one(shape=[3]),
    "rank 33": one(b"\0" * 4, shape=[1] * 33, offsets=[0, 4]),
    "rank 100,000": one(b"\0" * 4, shape=[1] * 100_000, offsets=[0, 4]),
    "unknown dtype": one(dtype="Q8"),
    "lower-case dtype": one(dtype="f32"),
    "dtype object": one(dtype="O"),
    "dtype is a list": one(dtype=["F32"]),
    "dtype of 8-bit float": one(dtype="F8_E5M2", shape=[8]),
    "very long dtype": one(dtype="F8_" + "A" * 1_000_000),
    "no dtype": build({"a": {"shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8),
    "a key too many": build({"a": {**entry(), "pickle": "cos"}}, b"\0" * 8),
    "entry is a list": build({"a": ["F32", [2], [0, 8]]}, b"\0" * 8),
    "entry is null": build({"a": None}),
    "one offset": one(offsets=[0]),
    "three offsets": one(offsets=[0, 8, 8]),
    "offsets reversed": one(offsets=[8, 0]),
    "negative offset": one(offsets=[-8, 0]),
    "offsets beyond the file": one(offsets=[8, 16]),
    "huge offsets": one(offsets=[HUGE, HUGE + 8]),
    "hole at the start": one(b"\0" * 16, offsets=[8, 16]),
    "hole between": build({"a": entry(), "b": entry(offsets=[9, 17])}, b"\0" * 17),
    "overlap": build({"a": entry(), "b": entry(offsets=[4, 12])}, b"\0" * 12),
    "same extent twice": build({"a": entry(), "b": entry()}, b"\0" * 8),
    "bytes after the end": one(b"\0" * 9),
    "bytes missing": one(b"\0" * 7),
    "data without tensors": build({}, b"x"),
    "metadata is a list": build({"__metadata__": []}),
    "metadata is null": build({"__metadata__": None}),
    "metadata number": build({"__metadata__": {"a": 1}}),
    "metadata object": build({"__metadata__": {"a": {"b": "c"}}}),
    "metadata is a tensor": build({"__metadata__": entry()}, b"\0" * 8),
    "deep": build(b'{"a":' * 5 + b"1" + b"}" * 5),
    "deep lists": build(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "unbalanced": build(b'{"a":' + b"[" * 3_000_000),
    "only quotes": build(b"{" + b'"' * 6_000_000),
    "only backslashes": build(b'{"' + b"\\" * 5_000_000),
    "a string without end": build(b'{"' + b"x" * 5_000_000),
    "3,000,000 lists": build(b'{"a":[' + b"[]," * 3_000_000 + b"[]]}"),
    "3,000,000 objects": build(b'{"a":[' + b"{}," * 3_000_000 + b"{}]}"),
    "header over the limit": lambda: build(b"{" + b" " * 100_000_000 + b"}"),
    "our metadata without our checksum": build({"__metadata__": {"graphflow.format": "1"}}),
    "our checksum, not first": build({"__metadata__": {"x": "y", "graphflow.sha256": "0" * 64}}),
    "our checksum, wrong": build(b'{"__metadata__":{"graphflow.sha256":"%b"}}' % (b"0" * 64)),
    "our checksum, short": build(b'{"__metadata__":{"graphflow.sha256":"00"}}'),
    "format 2": signed({"graphflow.format": "2"}, {}),
    "no checksum of the tensor": signed({}, {"a": entry()}, b"\0" * 8),
    "malformed checksum": signed({"graphflow.sha256/a": "A" * 64}, {"a": entry()}, b"\0" * 8),
    "wrong checksum": signed({"graphflow.sha256/a": "a" * 64}, {"a": entry()}, b"\0" * 8),
    "checksum of no tensor": signed({"graphflow.sha256/b": "a" * 64}, {}),
    "type of no tensor": signed({"graphflow.type/b": "complex64"}, {}),
    "unknown key of ours": signed({"graphflow.module": "os.system"}, {}),
    "unknown type": forged(b"\0" * 8, "object"),
    "complex over the wrong dtype": forged(b"\0" * 8, "complex128"),
    "complex without its dimension": forged(b"\0" * 8, "complex64", shape=[2, 1]),
    "complex of rank 0": forged(b"\0" * 4, "complex64", shape=[], offsets=[0, 4]),
    "strings over floats": forged(b"\0" * 8, "string:1"),
    "strings, too many": words(blob(0), "string:2"),
    "strings, product overflows": words(blob(0), f"string:{HUGE},{HUGE}"),
    "strings, zero times huge": words(b"", f"string:0,{HUGE},{HUGE}"),
    "strings, bad shape": words(blob(0), "string:1,"),
    "strings, arabic digits": words(blob(0), "string:\u0661"),
    "strings, length beyond": words(blob(2), "string:1"),
    "strings, length 2**64-1": words(blob(2**64 - 1), "string:1"),
    "strings, rest": words(blob(0, tail=b"x"), "string:1"),
    "strings, not UTF-8": words(blob(3, tail=b"\xff"), "string:1"),
    "bool of 2": one(b"\2\1", dtype="BOOL", offsets=[0, 2]),
    "a pickle": b"\x80\x04\x95\x1d" + b"\0" * 7 + b"\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
    "a zip": b"PK\x03\x04" + b"\0" * 60,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files(tmp_path: Path, case: str) -> None:
    content = HOSTILE[case]
    path = tmp_path / "model"
    path.write_bytes(content if isinstance(content, bytes) else content())
    start = time.process_time()
    unknown = case in ("format 2", "dtype of 8-bit float")
    expected = errors.UnimplementedError if unknown else errors.DataLossError
    with pytest.raises(expected) as caught:
        checkpoint.load(path).read_all()
    assert time.process_time() - start < 1
    assert len(str(caught.value)) < 1500
    assert str(path) in str(caught.value)


def test_the_table_is_large_and_its_forgeries_are_good(tmp_path: Path) -> None:
    assert len(HOSTILE) >= 40
    path = tmp_path / "model"
    path.write_bytes(forged(b"\0" * 8, "complex64", shape=[1, 2]))
    assert checkpoint.load(path).read("a").tolist() == [0]
    path.write_bytes(words(blob(3, 2, tail=b"ab"), "string:2,1"))
    assert checkpoint.load(path).read("a").tolist() == [["a"], [b"b"]]
    path.write_bytes(one())
    assert checkpoint.load(path).read("a").tolist() == [0, 0]
    path.write_bytes(build(json.dumps({"a": entry()}, indent=2).encode() + b"   ", b"\0" * 8))
    assert checkpoint.load(path).specs == {"a": ("float32", (2,))}


def test_a_sparse_giant_is_an_error_not_a_crash(tmp_path: Path) -> None:
    size = 1 << 43
    path = tmp_path / "model"
    path.write_bytes(one(b"", dtype="U8", shape=[size], offsets=[0, size]))
    try:
        os.truncate(path, path.stat().st_size + size)
    except OSError:
        os.truncate(path, path.stat().st_size)
    with pytest.raises((errors.ResourceExhaustedError, errors.DataLossError)):
        checkpoint.load(path).read("a")


def test_memory_is_bounded(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "model", {f"w{i}": np.zeros(1 << 20) for i in range(4)})
    size = (tmp_path / "model").stat().st_size
    tracemalloc.start()
    try:
        found = checkpoint.load(tmp_path / "model")
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
        tensors = found.read_all()
        assert tracemalloc.get_traced_memory()[1] < 1.1 * size
        tracemalloc.reset_peak()
        base = tracemalloc.get_traced_memory()[0]
        checkpoint.save(tmp_path / "model", tensors)
        assert tracemalloc.get_traced_memory()[1] - base < 8 << 20
    finally:
        tracemalloc.stop()


def child_env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in [os.getcwd(), *sys.path] if p)}


def test_load_opens_nothing_but_the_path(tmp_path: Path) -> None:
    """An audit hook sees every event of the interpreter; what is not an open of the path itself is listed."""
    code = """
import sys
import numpy as np
from graphflow import checkpoint, errors
good, bad = sys.argv[1:]
np.empty(1).tobytes(), checkpoint.load(good).close()  # whatever is imported late is imported now
try:
    checkpoint.load(bad)
except errors.DataLossError:
    pass
seen = []
def hook(event, args):
    if on:
        seen.append((event, args))
on = False
sys.addaudithook(hook)
on = True
checkpoint.load(good).read_all()
try:
    checkpoint.load(bad)
except errors.DataLossError:
    pass
on = False
opened = [args[0] for event, args in seen if event == "open"]
looking = {"sys._getframe", "object.__getattr__"}  # an error looks for the line of the user in the frames
others = sorted({event for event, args in seen if event != "open"} - looking)
print(opened == [good, bad], others)
"""
    path, raw = small_file(tmp_path)
    bad = tmp_path / "bad"
    bad.write_bytes(raw.replace(b"weights", b"weighty"))
    command = [sys.executable, "-c", code, str(path), str(bad)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=child_env())
    assert out.stdout.split(maxsplit=1)[0] == "True", out.stdout
    assert out.stdout.split(maxsplit=1)[1].strip() == "[]"


# --- kill -9 ----------------------------------------------------------------------------------------------


def version(number: int) -> dict[str, Array]:
    return {"a": np.full(20_000, number), "b": np.full((100, 100), number, np.float32), "n": np.array(number)}


def save_forever(path: Path, first: int, done: int) -> None:
    for number in range(first, first + 10**6):
        checkpoint.save(path, version(number))
        os.write(done, struct.pack("<Q", number))


def killed_saves(path: Path, rounds: int, rng: random.Random) -> Iterator[tuple[int, int]]:
    """(last version that a save has finished, version found) after each kill.

    Every second kill comes after the first save of its process, however slow the disk is.
    """
    last = 0
    for number in range(rounds):
        read_end, write_end = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of a fork beside BLAS's threads
            pid = os.fork()
        if pid == 0:
            try:
                save_forever(path, last + 1, write_end)
            finally:
                os._exit(1)
        os.close(write_end)
        if number % 2:
            select.select([read_end], [], [], 100)
        time.sleep(rng.uniform(0.001, 0.02))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with open(read_end, "rb") as reports:
            finished = reports.read()
        last = struct.unpack("<Q", finished[-8:])[0] if finished else last
        with checkpoint.load(path) as found:
            tensors = found.read_all()
        numbers = {int(value) for array in tensors.values() for value in np.unique(array)}
        assert len(numbers) == 1
        yield last, numbers.pop()
        last = int(tensors["n"])


def test_kill_during_save_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model"
    checkpoint.save(path, version(0))
    progress = 0
    for last, found in killed_saves(path, 300, random.Random(7)):
        assert found in (last, last + 1)
        progress = max(progress, found)
        leftovers = [name for name in os.listdir(tmp_path) if name != "model"]
        assert len(leftovers) <= 2
    assert progress >= 150
    checkpoint.save(path, version(1))
    assert os.listdir(tmp_path) == ["model"]
