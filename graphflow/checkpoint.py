"""Checkpoints: named arrays in one `.safetensors` file that proves its own integrity.

Policy: the file is valid safetensors (8 bytes of header length, a JSON header, the data without holes), which
any reader of that format loads.  `__metadata__` also holds a SHA-256 of every tensor's bytes and, before all
else, one of the header itself (length, text and padding, its own digits taken as zeros), so that no changed
bit, cut or swapped block passes.  What safetensors lacks is encoded and described there: complex numbers as a
last dimension of 2, strings as a block of lengths and bytes.  Reading validates lengths, strict JSON, dtypes,
shapes, offsets and checksums before it returns anything, allocates no more than the file accounts for, opens
only the given path, and never unpickles.  A file without our checksums is readable, but not `verified`.

State: none in the module.  A `Checkpoint` owns one open descriptor: it keeps reading the file that it has
validated, even when a later save replaces the path.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np

from graphflow import dtypes, durable, errors

MAX_HEADER = 100_000_000
MAX_NODES = 2_000_000
MAX_RANK = 32
CHUNK = 1 << 20
RESERVED = "graphflow."
_OWN_SUM = RESERVED + "sha256"
_VERSION = RESERVED + "format"
_SUM = RESERVED + "sha256/"
_TYPE = RESERVED + "type/"
_START = b'{"__metadata__":{"graphflow.sha256":"'
_ZEROS = "0" * 64
_STRING_TYPE = re.compile(r"string:((?:[0-9]{1,19}(?:,[0-9]{1,19})*)?)")
_CODES = {
    "BOOL": ("bool", 1), "U8": ("uint8", 1), "I8": ("int8", 1), "U16": ("uint16", 2), "I16": ("int16", 2),
    "U32": ("uint32", 4), "I32": ("int32", 4), "U64": ("uint64", 8), "I64": ("int64", 8),
    "F16": ("float16", 2), "BF16": ("bfloat16", 2), "F32": ("float32", 4), "F64": ("float64", 8),
    "C64": ("complex64", 8),
}  # fmt: skip
_CODE_OF = {name: code for code, (name, _) in _CODES.items() if name != "complex64"}
_PARTS = {"complex64": "F32", "complex128": "F64"}


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a tensor lies in the data, and what it is: `dtype` and `shape` as the user knows them."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class _Part:
    """A tensor ready to be written: safetensors dtype and shape, bytes, and the note in the metadata."""

    name: str
    code: str
    shape: tuple[int, ...]
    data: np.ndarray[Any, Any]
    note: str | None
    sha256: str


def save(
    path: durable.StrPath,
    tensors: Mapping[str, np.ndarray[Any, Any]],
    metadata: Mapping[str, str] | None = None,
    *,
    calls: durable.OsCalls = durable.OS,
) -> None:
    """Replace `path` by a checkpoint of the arrays, atomically and durably.

    The arrays must not change meanwhile; if one does, the old file stays and AbortedError names the tensor.
    """
    _check_metadata(metadata or {})
    parts = [_encode(name, value) for name, value in tensors.items()]
    parts.sort(key=lambda p: (-_CODES[p.code][1], p.name))
    durable.write_file(path, _chunks(_header(parts, metadata or {}), parts), calls=calls)


def _check_metadata(metadata: Mapping[str, str]) -> None:
    for key, value in metadata.items():
        _check_text(key, "metadata key")
        _check_text(value, f"metadata value of {key!r}")
        if key.startswith(RESERVED):
            raise errors.InvalidArgumentError(f"metadata key {key!r}: the prefix {RESERVED!r} is reserved")


def _check_text(value: Any, what: str) -> None:
    if not isinstance(value, str):
        raise errors.InvalidArgumentError(f"a {what} must be a str", got=type(value).__name__)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise errors.InvalidArgumentError(f"a {what} holds a lone surrogate", got=ascii(value)) from exc


def _encode(name: str, value: Any) -> _Part:
    _check_text(name, "tensor name")
    if name == "__metadata__":
        raise errors.InvalidArgumentError("a tensor must not be named '__metadata__'")
    if not isinstance(value, np.ndarray | np.generic) or isinstance(value, np.ma.MaskedArray):
        text = f"tensor {name!r} is not an array"
        raise errors.InvalidArgumentError(text, expected="numpy.ndarray", got=type(value).__name__)
    array = np.asarray(value)
    dtype = dtypes.from_numpy(array.dtype)
    if dtype is None:
        raise errors.DTypeError(f"tensor {name!r}: dtype {array.dtype} cannot be saved")
    if array.ndim > MAX_RANK:
        raise errors.InvalidArgumentError(f"tensor {name!r} has rank {array.ndim}", expected=f"<= {MAX_RANK}")
    shape, note = array.shape, None
    if dtype is dtypes.string:
        data = _encode_strings(name, array)
        code, shape, note = "U8", data.shape, "string:" + ",".join(map(str, array.shape))
    else:
        data = np.asarray(array, dtype=dtype.np.newbyteorder("<"), order="C").reshape(-1).view(np.uint8)
        if dtype is dtypes.bool_ and data.size and data.max() > 1:
            data = (data != 0).view(np.uint8)
        code = _PARTS.get(dtype.name) or _CODE_OF[dtype.name]
        if dtype.is_complex:
            shape, note = (*shape, 2), dtype.name
    return _Part(name, code, shape, data, note, hashlib.sha256(data.data).hexdigest())


def _encode_strings(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Per element a little-endian uint64 (length * 2, plus 1 for str), then all the bytes."""
    lengths, blocks = [], []
    for item in array.reshape(-1).tolist():
        if isinstance(item, str):
            blocks.append(item.encode("utf-8", "surrogatepass"))
        elif isinstance(item, bytes):
            blocks.append(bytes(item))
        else:
            text = f"tensor {name!r}: an element is neither bytes nor str"
            raise errors.DTypeError(text, got=type(item).__name__)
        lengths.append(len(blocks[-1]) * 2 + isinstance(item, str))
    table = np.array(lengths, dtype="<u8").tobytes()
    return np.frombuffer(b"".join([table, *blocks]), dtype=np.uint8)


def _header(parts: list[_Part], metadata: Mapping[str, str]) -> bytes:
    """Length, JSON and padding, with the header's own checksum filled in."""
    notes = {_OWN_SUM: _ZEROS, _VERSION: "1", **metadata}
    notes.update((_SUM + p.name, p.sha256) for p in parts)
    notes.update((_TYPE + p.name, p.note) for p in parts if p.note is not None)
    table: dict[str, Any] = {"__metadata__": notes}
    offset = 0
    for part in parts:
        end = offset + part.data.nbytes
        table[part.name] = {"dtype": part.code, "shape": list(part.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise errors.ResourceExhaustedError(f"the header needs {len(text)} bytes, at most {MAX_HEADER}")
    try:
        durable.check_structure(text, "the header", max_depth=4, max_nodes=MAX_NODES)
    except errors.DataLossError as exc:
        raise errors.ResourceExhaustedError(f"too many tensors for one file: {len(parts)}") from exc
    digits = _header_sum(text).encode()
    return len(text).to_bytes(8, "little") + _START + digits + text[len(_START) + 64 :]


def _header_sum(text: bytes) -> str:
    """The checksum of a header that starts with `_START`: its own 64 digits count as zeros."""
    view = memoryview(text)
    found = hashlib.sha256(len(text).to_bytes(8, "little"))
    found.update(_START + _ZEROS.encode())
    found.update(view[len(_START) + 64 :])
    return found.hexdigest()


def _chunks(header: bytes, parts: list[_Part]) -> Iterator[bytes]:
    """The file in blocks of about `CHUNK`; what is yielded is what was checksummed, or AbortedError."""
    pending = bytearray(header)
    for part in parts:
        found = hashlib.sha256()
        for start in range(0, part.data.nbytes, CHUNK):
            block = part.data[start : start + CHUNK].tobytes()
            found.update(block)
            pending += block
            if len(pending) >= CHUNK:
                yield bytes(pending)
                pending.clear()
        if found.hexdigest() != part.sha256:
            text = f"tensor {part.name!r} changed while it was being saved"
            raise errors.AbortedError(text, hint="save a copy")
    yield bytes(pending)


def load(path: durable.StrPath, *, verify: bool = True) -> Checkpoint:
    """Open a checkpoint and validate all of it; with `verify=False` checksums of data wait for `read`."""
    fd, size = durable.open_regular(path)
    found: Checkpoint | None = None
    try:
        found = Checkpoint(durable.text_path(path), fd, size)
        if verify:
            found.verify()
        return found
    except BaseException:
        os.close(fd) if found is None else found.close()
        raise


class Checkpoint:
    """An open, validated checkpoint; made by `load`, closed by `close`, `with` or garbage collection."""

    def __init__(self, path: str, fd: int, size: int) -> None:
        self._lock = threading.Lock()
        self._fd = -1
        self.path = path
        head = _read_exactly(path, fd, min(size, 8), 0)
        length = int.from_bytes(head, "little")
        if size < 8 or length > size - 8 or length < 2:
            raise _loss(path, f"{size} bytes with a header of {length}: truncated or not safetensors")
        if length > MAX_HEADER:
            raise _loss(path, f"the header has {length} bytes", expected=f"at most {MAX_HEADER}")
        self._data_start = 8 + length
        text = _read_exactly(path, fd, length, 8)
        self._entries, self._metadata, self.verified = _parse_header(path, text, size - self._data_start)
        self._fd = fd

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tensors, sorted."""
        return tuple(sorted(self._entries))

    @property
    def specs(self) -> Mapping[str, tuple[str, tuple[int, ...]]]:
        """dtype name and shape by tensor name."""
        found = ((name, self._entries[name]) for name in self.names)
        return MappingProxyType({name: (entry.dtype, entry.shape) for name, entry in found})

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the writer gave as metadata, without graphflow's own keys."""
        return MappingProxyType(self._metadata)

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """The tensor as a new array that belongs to the caller, its checksum verified."""
        return self.read_all([name])[name]

    def read_all(self, names: Iterable[str] | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """The named tensors (default: every one), or an error and none; unknown names are listed together."""
        wanted = self.names if names is None else tuple(names)
        unknown = [name for name in wanted if name not in self._entries]
        if unknown:
            hint = durable.nearest(str(unknown[0]), self.names)
            listed = ", ".join(repr(name) for name in unknown[:20]) + (", ..." if len(unknown) > 20 else "")
            raise errors.NotFoundError(f"checkpoint {self.path!r} has no tensor {listed}", hint=hint)
        return {name: self._read(name, self._entries[name]) for name in wanted}

    def _read(self, name: str, entry: _Entry) -> np.ndarray[Any, Any]:
        where = f"tensor {name!r}"
        dtype = dtypes.bfloat16 if entry.dtype == "bfloat16" else dtypes.as_dtype(entry.dtype)
        if dtype is None:
            raise errors.UnavailableError(f"{where} is bfloat16", hint='pip install "ml_dtypes"')
        try:
            if dtype is dtypes.string:
                raw = np.empty(entry.end - entry.begin, np.uint8)
            else:
                array = np.empty(entry.shape, dtype.np)
                raw = array.reshape(-1).view(np.uint8)
            found = hashlib.sha256()
            self._stream(where, entry.begin, raw.data, found)
            self._check_sum(where, entry, found.hexdigest())
            if dtype is dtypes.string:
                return _decode_strings(self.path, where, raw, entry.shape)
        except MemoryError as exc:
            if isinstance(exc, errors.Error):
                raise
            size = entry.end - entry.begin
            raise errors.ResourceExhaustedError(f"no memory for {where} of {size} bytes") from exc
        if dtype is dtypes.bool_ and raw.size and raw.max() > 1:
            raise _loss(self.path, f"{where} is bool and holds a byte that is neither 0 nor 1")
        return array.byteswap(inplace=True) if sys.byteorder == "big" else array

    def verify(self) -> None:
        """Compare every checksum with the data, in constant memory; nothing to do in a file without them."""
        buffer = memoryview(bytearray(CHUNK))
        for name, entry in self._entries.items():
            if entry.sha256 is not None:
                found = hashlib.sha256()
                for start in range(entry.begin, entry.end, CHUNK):
                    self._stream(f"tensor {name!r}", start, buffer[: entry.end - start], found)
                self._check_sum(f"tensor {name!r}", entry, found.hexdigest())

    def _stream(self, where: str, offset: int, into: memoryview, found: hashlib._Hash) -> None:
        """Fill `into` from the data at the offset and feed the checksum, block by block."""
        for start in range(0, len(into), CHUNK):
            view = into[start : start + CHUNK]
            with self._lock:
                if self._fd < 0:
                    raise errors.FailedPreconditionError(f"checkpoint {self.path!r} is closed")
                _read_into(self.path, self._fd, view, self._data_start + offset + start, where)
            found.update(view)

    def _check_sum(self, where: str, entry: _Entry, found: str) -> None:
        if entry.sha256 is not None and found != entry.sha256:
            raise _loss(self.path, f"{where} is corrupt: wrong checksum", expected=entry.sha256, got=found)

    def close(self) -> None:
        """Release the descriptor; a second call does nothing."""
        with self._lock:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def __repr__(self) -> str:
        state = "verified" if self.verified else "without checksums"
        return f"<Checkpoint {self.path!r}: {len(self._entries)} tensors, {state}>"


def _loss(path: str, message: str, **more: str) -> errors.DataLossError:
    return errors.DataLossError(f"checkpoint {path!r}: {message}", **more)


def _short(value: object) -> str:
    """The value's text for a message; a hostile file decides how long it is."""
    text = repr(value[:200] if isinstance(value, str | list) else value)
    return text if len(text) <= 200 else text[:200] + "..."


def _read_exactly(path: str, fd: int, size: int, offset: int) -> bytes:
    found = bytearray(size)
    _read_into(path, fd, memoryview(found), offset, "the header")
    return bytes(found)


def _read_into(path: str, fd: int, view: memoryview, offset: int, where: str) -> None:
    """Fill the view from the file at the offset; with `preadv` a forked process cannot disturb it."""
    while len(view):
        try:
            if hasattr(os, "preadv"):
                count = os.preadv(fd, [view], offset)
            else:
                os.lseek(fd, offset, os.SEEK_SET)
                block = os.read(fd, len(view))
                count = len(block)
                view[:count] = block
        except OSError as exc:
            raise durable.os_error(exc, path, f"read {where} from") from exc
        if count == 0:
            raise _loss(path, f"{where} ends early: the file was cut while it was read")
        view, offset = view[count:], offset + count


def _parse_header(path: str, text: bytes, room: int) -> tuple[dict[str, _Entry], dict[str, str], bool]:
    """Entries, the user's metadata and whether there are checksums; DataLossError for any doubt."""
    digits = text[len(_START) : len(_START) + 64]
    ours = text.startswith(_START)
    if ours and digits != _header_sum(text).encode():
        raise _loss(path, "the header is corrupt: wrong checksum")
    if not text.startswith(b"{"):
        raise _loss(path, "the header does not start with '{'")
    table = durable.parse_json(text, f"checkpoint {path!r}: the header", max_depth=4, max_nodes=MAX_NODES)
    notes = table.pop("__metadata__", {})
    if type(notes) is not dict or any(type(value) is not str for value in notes.values()):
        raise _loss(path, "__metadata__ is not a table of strings")
    own = {key: notes.pop(key) for key in [key for key in notes if key.startswith(RESERVED)]}
    if own and not ours:
        hint = f"another program rewrote the file; drop the metadata keys that start with {RESERVED!r}"
        raise _loss(path, "the header's own checksum is missing", hint=hint)
    if ours and own.get(_VERSION) != "1":
        raise errors.UnimplementedError(f"checkpoint {path!r} is of format {own.get(_VERSION)!r}, not '1'")
    entries = {name: _parse_entry(path, name, value, own, ours) for name, value in table.items()}
    used = {_OWN_SUM, _VERSION, *(_SUM + n for n in entries), *(_TYPE + n for n in entries)}
    for key in own:
        if key not in used:
            raise _loss(path, f"the metadata key {_short(key)} belongs to no tensor")
    _check_extents(path, entries, room)
    return entries, notes, ours


def _parse_entry(path: str, name: str, value: Any, own: dict[str, str], ours: bool) -> _Entry:
    where = f"tensor {_short(name)}"
    if type(value) is not dict or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise _loss(path, f"{where} is not described by dtype, shape and data_offsets")
    code, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if type(code) is str and re.fullmatch(r"(F4|F6|F8)(_[A-Z0-9]{1,12})?", code):
        raise errors.UnimplementedError(f"checkpoint {path!r}: {where} is {code}, not a dtype of graphflow")
    if type(code) is not str or code not in _CODES:
        raise _loss(path, f"{where} has an unknown dtype", got=_short(code))
    if not _is_ints(shape) or not _is_ints(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _loss(path, f"{where} has a malformed shape or data_offsets")
    dtype, size = _CODES[code]
    if _checked_size(shape, size) != offsets[1] - offsets[0]:
        raise _loss(path, f"{where}: shape {_short(shape)} of {code} does not fit data_offsets {offsets}")
    note = own.get(_TYPE + name)
    if note is not None:
        dtype, shape = _parse_note(path, where, note, code, shape)
    if len(shape) > MAX_RANK:
        raise _loss(path, f"{where} has rank {len(shape)}", expected=f"at most {MAX_RANK}")
    digits = own.get(_SUM + name)
    if ours and (digits is None or not re.fullmatch("[0-9a-f]{64}", digits)):
        raise _loss(path, f"{where} has no checksum")
    return _Entry(dtype, tuple(shape), offsets[0], offsets[1], digits)


def _is_ints(value: Any) -> bool:
    return type(value) is list and all(type(item) is int and item >= 0 for item in value)


def _checked_size(shape: Iterable[int], size: int) -> int:
    """Bytes of such an array, or -1 where NumPy could not even describe it."""
    product, empty = size, False
    for dim in shape:
        empty = empty or dim == 0
        product *= dim or 1
        if product >= 1 << 63:
            return -1
    return 0 if empty else product


def _parse_note(path: str, where: str, note: str, code: str, shape: list[int]) -> tuple[str, list[int]]:
    """dtype and shape that the metadata gives to a stored tensor."""
    if note in _PARTS and _PARTS[note] == code and shape and shape[-1] == 2:
        return note, shape[:-1]
    match = _STRING_TYPE.fullmatch(note)
    if match and code == "U8" and len(shape) == 1:
        dims = [int(dim) for dim in match[1].split(",")] if match[1] else []
        if 0 <= _checked_size(dims, 8) <= shape[0]:
            return "string", dims
    raise _loss(path, f"{where}: type {_short(note)} does not fit {code} of shape {_short(shape)}")


def _check_extents(path: str, entries: dict[str, _Entry], room: int) -> None:
    """The tensors fill the data from 0 to the end of the file, without hole or overlap."""
    expected = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != expected:
            where = f"tensor {_short(name)} starts at {entry.begin} instead of {expected}"
            raise _loss(path, f"{where}: hole or overlap")
        expected = entry.end
    if expected != room:
        raise _loss(path, f"the tensors need {expected} bytes, the file has {room}: truncated or extended")


def _decode_strings(path: str, where: str, raw: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    array = np.empty(shape, dtype=np.object_)
    flat, data, position = array.reshape(-1), raw.data, array.size * 8
    lengths = raw[:position].view("<u8").tolist()
    for index, length in enumerate(lengths):
        end = position + (length >> 1)
        if end > len(data):
            raise _loss(path, f"{where}: string {index} ends after the data")
        item = bytes(data[position:end])
        try:
            flat[index] = item.decode("utf-8", "surrogatepass") if length & 1 else item
        except UnicodeDecodeError as exc:
            raise _loss(path, f"{where}: string {index} is not UTF-8") from exc
        position = end
    if position != len(data):
        raise _loss(path, f"{where}: {len(data) - position} bytes after the last string")
    return array
