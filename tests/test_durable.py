"""Atomic replacement and strict JSON: every call fails once, the power is lost at every moment.

Policy: faults are injected through the `OsCalls` table; the model of a disk below knows only what a file
system promises (what was flushed is there; all else may be there, in part, or not).  Owns no state.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from graphflow import durable, errors

OLD = b"old content " * 300
NEW = b"the new content " * 400
BLOCK = 512
NAMES = [field.name for field in fields(durable.OsCalls)]


def chunks(data: bytes = NEW) -> list[bytes]:
    return [data[i : i + BLOCK] for i in range(0, len(data), BLOCK)]


def wrapped(around: Callable[[str, Callable[..., Any], tuple[Any, ...]], Any]) -> durable.OsCalls:
    """An OsCalls whose every call goes through `around(name, real, args)`."""

    def bind(name: str) -> Callable[..., Any]:
        real = getattr(durable.OS, name)
        return lambda *args: around(name, real, args)

    return durable.OsCalls(**{name: bind(name) for name in NAMES})


class Fault:
    """Fails the calls whose number is in `when`; a failing close still closes, as the system does."""

    def __init__(self, when: range, code: int) -> None:
        self.when, self.code, self.count, self.hit = when, code, 0, ""
        self.calls = wrapped(self.around)

    def around(self, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        self.count += 1
        if self.count - 1 not in self.when:
            return real(*args)
        self.hit = self.hit or name
        if name == "close":
            real(*args)
        raise OSError(self.code, os.strerror(self.code))


def temps(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if name.endswith(".tmp")]


def number_of_calls(tmp_path: Path, old: bytes | None) -> int:
    fault = Fault(range(0), errno.EIO)
    target = tmp_path / "count"
    if old is not None:
        target.write_bytes(old)
    durable.write_file(target, chunks(), calls=fault.calls)
    return fault.count


# --- the plain case ---------------------------------------------------------------------------------------


def test_writes_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "a file"
    durable.write_file(target, [])
    assert target.read_bytes() == b""
    durable.write_file(str(target), [b"ab", memoryview(b"cd"), memoryview(bytearray(b"e")), b""])
    assert target.read_bytes() == b"abcde"
    assert os.listdir(tmp_path) == ["a file"]


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    durable.write_file("here", [b"x"])
    assert Path("here").read_bytes() == b"x"


def test_mode_is_that_of_a_normal_open(tmp_path: Path) -> None:
    opened = []

    def around(name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        result = real(*args)
        if name == "open":
            opened.append(stat.S_IMODE(os.stat(args[0]).st_mode))
        return result

    normal, ours = tmp_path / "normal", tmp_path / "ours"
    normal.write_bytes(b"")
    durable.write_file(ours, [b"x"], calls=wrapped(around))
    assert ours.stat().st_mode == normal.stat().st_mode
    ours.chmod(0o640)
    durable.write_file(ours, [b"y"], calls=wrapped(around))
    assert stat.S_IMODE(ours.stat().st_mode) == 0o640
    assert opened == [0o600, 0o600]


def test_umask_is_read_and_left_alone() -> None:
    code = "import os; from graphflow.durable import *; os.umask(23); print(current_umask(), os.umask(0))"
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=child_env())
    assert out.stdout.split() == ["23", "23"]


def child_env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in [os.getcwd(), *sys.path] if p)}


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "file", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    durable.write_file(link, [b"new"])
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path / "real") == ["file"]


def test_only_a_regular_file_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = os.stat("/dev/null")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(errors.InvalidArgumentError, match="not a regular file"):
            durable.write_file(path, [b"x"])
    assert os.path.samestat(before, os.stat("/dev/null"))


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("missing/file", errors.NotFoundError),
        ("file/below", errors.NotFoundError),
        ("n" * 300, errors.InvalidArgumentError),
        ("n" * 240, errors.InvalidArgumentError),
        ("", errors.InvalidArgumentError),
        ("a\0b", errors.InvalidArgumentError),
        (None, errors.InvalidArgumentError),
        (7, errors.InvalidArgumentError),
        ("loop", errors.InvalidArgumentError),
    ],
)
def test_bad_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any, error: type[errors.Error]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"x")
    Path("loop").symlink_to("loop")
    with pytest.raises(error):
        durable.write_file(path, [b"x"])
    assert sorted(os.listdir()) == ["file", "loop"]


# --- faults -----------------------------------------------------------------------------------------------

CODES = {
    errno.ENOSPC: errors.ResourceExhaustedError,
    errno.EDQUOT: errors.ResourceExhaustedError,
    errno.EFBIG: errors.ResourceExhaustedError,
    errno.EACCES: errors.PermissionDeniedError,
    errno.EROFS: errors.PermissionDeniedError,
    errno.EIO: errors.UnavailableError,
    errno.ESTALE: errors.UnavailableError,
    errno.EBADF: errors.UnavailableError,
}
# After the new content is durable, or where only the sweep of others' leftovers suffers, a fault is no error.
HARMLESS = {"listdir", "lock", "close", "unlink"}


@pytest.mark.parametrize("old", [OLD, None], ids=["replace", "create"])
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.__getitem__)
def test_every_call_fails_once(tmp_path: Path, code: int, old: bytes | None) -> None:
    total = number_of_calls(tmp_path, old)
    failed = set()
    for n in range(total):
        directory = tmp_path / str(n)
        directory.mkdir()
        target = directory / "model"
        if old is not None:
            target.write_bytes(old)
        fault = Fault(range(n, n + 1), code)
        try:
            durable.write_file(target, chunks(), calls=fault.calls)
        except errors.Error as exc:
            assert type(exc) is CODES[code], fault.hit
            assert str(target) in str(exc)
            assert errno.errorcode[code] in str(exc)
            assert (target.read_bytes() if target.exists() else None) == old, fault.hit
            failed.add(fault.hit)
        else:
            assert fault.hit in HARMLESS
            assert target.read_bytes() == NEW
        if fault.hit != "unlink":
            assert not temps(directory), fault.hit
        durable.write_file(target, [b"again"])
        assert os.listdir(directory) == ["model"]
    expected = {"stat", "open_directory", "open", "write", "fchmod", "fsync", "close", "replace"}
    assert failed == expected | {"umask" if old is None else "link"}
    assert not durable._LIVE


@pytest.mark.parametrize("old", [OLD, None], ids=["replace", "create"])
def test_all_calls_fail_from_the_nth_on(tmp_path: Path, old: bytes | None) -> None:
    for n in range(number_of_calls(tmp_path, old)):
        directory = tmp_path / str(n)
        directory.mkdir()
        target = directory / "model"
        if old is not None:
            target.write_bytes(old)
        with contextlib.suppress(errors.UnavailableError):
            durable.write_file(target, chunks(), calls=Fault(range(n, 10**9), errno.EIO).calls)
        found = target.read_bytes() if target.exists() else None
        assert found in (old, NEW)
        durable.write_file(target, [b"again"])
        assert os.listdir(directory) == ["model"]


def test_interrupted_calls_are_repeated(tmp_path: Path) -> None:
    for n in range(number_of_calls(tmp_path, OLD)):
        (tmp_path / "model").write_bytes(OLD)
        fault = Fault(range(n, n + 1), errno.EINTR)
        durable.write_file(tmp_path / "model", chunks(), calls=fault.calls)
        assert (tmp_path / "model").read_bytes() == NEW, fault.hit


@pytest.mark.parametrize("size", [1, 7, 511, 513])
def test_short_writes(tmp_path: Path, size: int) -> None:
    calls = replace(durable.OS, write=lambda fd, view: os.write(fd, view[:size]))
    durable.write_file(tmp_path / "model", [NEW], calls=calls)
    assert (tmp_path / "model").read_bytes() == NEW


def test_a_write_that_takes_nothing_ends(tmp_path: Path) -> None:
    with pytest.raises(errors.UnavailableError, match="no more bytes"):
        durable.write_file(tmp_path / "model", [NEW], calls=replace(durable.OS, write=lambda fd, view: 0))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_links_and_modes_will_do(tmp_path: Path, code: int) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(code, os.strerror(code))

    (tmp_path / "model").write_bytes(OLD)
    calls = replace(durable.OS, link=refuse, fchmod=refuse, lock=refuse)
    durable.write_file(tmp_path / "model", chunks(), calls=calls)
    assert (tmp_path / "model").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), errors.AbortedError("x"), OSError(5, "mine")])
def test_an_error_of_the_producer_passes_through(tmp_path: Path, error: BaseException) -> None:
    def producer() -> Iterator[bytes]:
        yield b"x" * 1000
        raise error

    (tmp_path / "model").write_bytes(OLD)
    with pytest.raises(type(error)) as caught:
        durable.write_file(tmp_path / "model", producer())
    assert caught.value is error
    assert (tmp_path / "model").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["model"]


def test_a_full_disk_for_real(tmp_path: Path) -> None:
    """The limit on file size stands in for a full disk: the same short write, then an error."""
    (tmp_path / "model").write_bytes(OLD)
    code = """
import resource, signal, sys
from graphflow import durable, errors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    durable.write_file(sys.argv[1], [b"x" * 9_999, b"y" * 9_999])
except errors.ResourceExhaustedError as exc:
    print("typed:", exc.summary)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "model")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=child_env())
    assert "typed: cannot write" in out.stdout
    assert (tmp_path / "model").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["model"]


# --- leftovers --------------------------------------------------------------------------------------------


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_only_leftovers_of_the_dead_are_swept(tmp_path: Path) -> None:
    dead, tail = dead_pid(), "0123456789abcdef.tmp"
    swept = [f".model.{dead}.{tail}", f".model.{os.getpid()}.{tail}", f".model.9999999999.{tail}"]
    kept = [
        f".model.{os.getppid()}.{tail}", f".other.{dead}.{tail}", f".model.{dead}.0123.tmp",
        f"model.{dead}.{tail}", f".model.x.{dead}.{tail}", f".model.{dead}.{tail}x",
        f".model.{dead}.0123456789ABCDEF.tmp", ".model.tmp",
    ]  # fmt: skip
    for name in [*swept, *kept]:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / f".model.{dead}.{'f' * 16}.tmp").mkdir()
    durable.write_file(tmp_path / "model", [b"new"])
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, f".model.{dead}.{'f' * 16}.tmp", "model"])


def test_a_locked_leftover_is_in_use_elsewhere(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / f".model.{dead_pid()}.0123456789abcdef.tmp"
    with open(path, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        durable.write_file(tmp_path / "model", [b"new"])
        assert path.exists()
    durable.write_file(tmp_path / "model", [b"new"])
    assert not path.exists()


def test_the_temporary_file_is_locked_and_not_swept_by_a_second_writer(tmp_path: Path) -> None:
    def producer() -> Iterator[bytes]:
        yield b"outer "
        (mine,) = temps(tmp_path)
        assert not durable._unlocked(str(tmp_path / mine))
        durable.write_file(tmp_path / "model", [b"inner"])
        assert temps(tmp_path) == [mine]
        yield b"content"

    durable.write_file(tmp_path / "model", producer())
    assert (tmp_path / "model").read_bytes() == b"outer content"
    assert os.listdir(tmp_path) == ["model"]


def test_threads_writing_one_file(tmp_path: Path) -> None:
    contents = [bytes([65 + i]) * 5000 for i in range(8)]
    problems: list[BaseException] = []

    def work(data: bytes) -> None:
        try:
            for _ in range(10):
                durable.write_file(tmp_path / "model", chunks(data))
        except BaseException as exc:
            problems.append(exc)

    threads = [threading.Thread(target=work, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert (tmp_path / "model").read_bytes() in contents
    assert os.listdir(tmp_path) == ["model"]


# --- loss of power ----------------------------------------------------------------------------------------


class Disk:
    """What a disk may hold after a loss of power, given the calls until then.

    A flushed file holds its content; of the writes since, any may be missing, the last one may be torn.  An
    entry of the directory is there once that was flushed; of the changes since, any may have come through.
    """

    def __init__(self, old: bytes | None) -> None:
        self.flushed: dict[int, bytes] = {0: old} if old is not None else {}
        self.pending: dict[int, list[tuple[int, bytes]]] = {}
        self.entries: dict[str, int] = {"model": 0} if old is not None else {}
        self.now = dict(self.entries)
        self.changes: list[dict[str, int | None]] = []
        self.inode_of: dict[int, int] = {}
        self.sizes: dict[int, int] = {}

    def apply(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        base = [os.path.basename(a) if isinstance(a, str) else a for a in args]
        if name == "open":
            inode = len(self.flushed) + 10
            self.inode_of[result], self.sizes[inode] = inode, 0
            self.flushed[inode], self.pending[inode] = b"", []
            self.change({base[0]: inode})
        elif name == "open_directory":
            self.inode_of[result] = -1
        elif name == "write":
            inode = self.inode_of[args[0]]
            self.pending[inode].append((self.sizes[inode], bytes(args[1])[:result]))
            self.sizes[inode] += result
        elif name == "fsync" and self.inode_of[args[0]] == -1:
            self.entries, self.changes = dict(self.now), []
        elif name == "fsync":
            inode = self.inode_of[args[0]]
            self.flushed[inode], self.pending[inode] = self.content(inode, self.pending[inode]), []
        elif name == "link":
            self.change({base[1]: self.now[base[0]]})
        elif name == "replace":
            self.change({base[1]: self.now[base[0]], base[0]: None})
        elif name == "unlink" and base[0] in self.now:
            self.change({base[0]: None})

    def change(self, entries: dict[str, int | None]) -> None:
        self.changes.append(entries)
        self.now = self.merged(self.now, [entries])

    @staticmethod
    def merged(start: dict[str, int], changes: list[dict[str, int | None]]) -> dict[str, int]:
        found: dict[str, int | None] = dict(start)
        for change in changes:
            found.update(change)
        return {name: inode for name, inode in found.items() if inode is not None}

    def content(self, inode: int, writes: list[tuple[int, bytes]]) -> bytes:
        data = bytearray(self.flushed[inode])
        for offset, block in writes:
            data.extend(b"\0" * (offset + len(block) - len(data)))
            data[offset : offset + len(block)] = block
        return bytes(data)

    def contents(self, inode: int) -> Iterator[bytes]:
        writes = self.pending.get(inode, [])
        for count in range(len(writes) + 1):
            yield self.content(inode, writes[:count])
            if count < len(writes):
                offset, block = writes[count]
                yield self.content(inode, [*writes[:count], (offset, block[: len(block) // 2])])
                yield self.content(inode, [*writes[:count], *writes[count + 1 :]])

    def states(self) -> Iterator[bytes | None]:
        """Every content that the file `model` may have."""
        for kept in itertools.product([False, True], repeat=len(self.changes)):
            names = self.merged(self.entries, list(itertools.compress(self.changes, kept)))
            if "model" in names:
                yield from self.contents(names["model"])
            else:
                yield None


def power_loss(tmp_path: Path, old: bytes | None, broken: Callable[[str, tuple[Any, ...]], bool]) -> tuple[int, int]:
    """(states, violations) over every prefix of a save; calls that are `broken` do nothing on the disk."""
    log: list[tuple[str, tuple[Any, ...], Any]] = []

    def around(name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        result = real(*args)
        if name == "write":
            args = (args[0], bytes(args[1]))
        if not broken(name, args):
            log.append((name, args, result))
        return result

    target = tmp_path / "model"
    if old is not None:
        target.write_bytes(old)
    durable.write_file(target, chunks(), calls=wrapped(around))
    count = violations = 0
    for cut in range(len(log) + 1):
        disk = Disk(old)
        for entry in log[:cut]:
            disk.apply(*entry)
        for state in disk.states():
            count += 1
            violations += state != NEW if cut == len(log) else state not in (old, NEW)
    return count, violations


@pytest.mark.parametrize("old", [OLD, None], ids=["replace", "create"])
def test_power_loss_leaves_old_or_new(tmp_path: Path, old: bytes | None) -> None:
    count, violations = power_loss(tmp_path, old, lambda name, args: False)
    assert count > 40
    assert violations == 0


def test_the_power_loss_model_sees_a_missing_flush(tmp_path: Path) -> None:
    flushes = iter(range(100))
    for broken in (
        lambda name, args: name == "fsync",
        lambda name, args: name == "fsync" and next(flushes) == 0,
        lambda name, args: name == "fsync" and next(flushes) == 3,
        lambda name, args: name == "replace",
    ):
        _, violations = power_loss(tmp_path, OLD, broken)
        assert violations > 0


# --- reading ----------------------------------------------------------------------------------------------


def test_open_regular(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model-100"
    path.write_bytes(b"abc")
    fd, size = durable.open_regular(path)
    os.close(fd)
    assert size == 3
    with pytest.raises(errors.NotFoundError, match="did you mean 'model-100'"):
        durable.open_regular(tmp_path / "model-10")
    os.mkfifo(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)
    server.bind("sock")  # the path of a socket is short
    for name, kind in (("pipe", "pipe"), ("sock", "socket"), (".", "directory"), ("/dev/zero", "device")):
        with pytest.raises(errors.InvalidArgumentError, match=kind):
            durable.open_regular(tmp_path / name)
    server.close()
    with pytest.raises(errors.NotFoundError):
        durable.open_regular(path / "below")
    for bad in ("", "a\0b", 3, "n" * 5000):
        with pytest.raises(errors.InvalidArgumentError):
            durable.open_regular(bad)  # type: ignore[arg-type]


# --- JSON -------------------------------------------------------------------------------------------------


def test_json_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    obj = {"latest": "modèl-7", "all": ["a", 'b\n"\\'], "n": -(10**18), "x": 1e-300, "": {"": [None, True]}}
    durable.write_json(path, obj)
    assert durable.read_json(path) == obj
    assert json.loads(path.read_text("utf-8")) == obj
    assert os.listdir(tmp_path) == ["checkpoint"]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "obj",
    [
        float("nan"), float("inf"), {1: "a"}, {"1": 1, 1: 2}, (1, 2), {1, 2}, b"x", object(), 10**19,
        nested(9), nested(100_000), "\ud800", {"a": "\udfff"}, [complex(1)],
    ],
    ids=range(14),
)  # fmt: skip
def test_json_refuses_what_would_not_come_back(tmp_path: Path, obj: Any) -> None:
    durable.write_json(tmp_path / "j", "old")
    with pytest.raises(errors.InvalidArgumentError):
        durable.write_json(tmp_path / "j", obj)
    assert durable.read_json(tmp_path / "j") == "old"


def test_json_size_limit(tmp_path: Path) -> None:
    with pytest.raises(errors.ResourceExhaustedError):
        durable.write_json(tmp_path / "j", "x" * 100, max_bytes=100)
    durable.write_json(tmp_path / "j", "x" * 100)
    with pytest.raises(errors.DataLossError, match="too large"):
        durable.read_json(tmp_path / "j", max_bytes=100)


BAD_JSON = [
    b"", b" ", b"{", b"}", b"[1,]", b"{}{}", b"{'a':1}", b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b"NaN",
    b"[Infinity]", b"-Infinity", b"1e999", b"-1e999", b"12345678901234567890", b"[-12345678901234567890]",
    b"01", b"+1", b".5", b'"\t"', b'"\\ud800"', b'{"\\uDFFF":1}', b'"\\x41"', b"\xff", b'"\xed\xa0\x80"',
    b"\xef\xbb\xbf{}", b"[" * 9 + b"]" * 9, b"[" * 100_000, b"[[]" * 50_000,
    b'{"a":' * 9 + b"1" + b"}" * 9,
    b"[" + b"1," * 300_000 + b"1]", b"1" * 500_000, b'["' + b"\\" * 99_999 + b'"]', b'"' * 500_000,
    b"// x\n1", b"[1 2]", b"tru", b"[]\0",
]  # fmt: skip


@pytest.mark.parametrize("raw", BAD_JSON, ids=range(len(BAD_JSON)))
def test_json_is_strict(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "j").write_bytes(raw)
    with pytest.raises(errors.DataLossError) as caught:
        durable.read_json(tmp_path / "j")
    assert len(str(caught.value)) < 2000


def test_json_structure_ignores_what_is_inside_strings() -> None:
    value = {"[[[[[": "]]]{{{", 'a"[': '\\"{', "\\": "\\\\", "\u2028\U0001f600": "\\"}
    for ascii_only in (True, False):
        raw = json.dumps([[value]], ensure_ascii=ascii_only).encode()
        assert durable.parse_json(raw, "x", max_depth=3) == [[value]]
        with pytest.raises(errors.DataLossError):
            durable.parse_json(raw, "x", max_depth=2)
