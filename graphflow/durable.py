"""Files that survive a crash: atomic replacement, guarded opening, strict JSON.

Policy: a file is replaced in one step or not at all.  The new content goes to a temporary file beside the
target (`.{name}.{pid}.{random}.tmp`, created exclusively with mode 0600), is flushed and renamed over the
target, and the directory is flushed; until then a hard link keeps the old content, so that an error leaves
what was there before.  Temporary files of processes that are gone are removed by the next write of the same
name.  A symbolic link is followed and stays; only a regular file is ever replaced or read.  Every call of
`write_file` to the operating system goes through an `OsCalls` table, so that tests can fail, shorten and
record each one.

State: `_LIVE`, the temporary files that this process is writing now; `_UMASK_LOCK`.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import math
import os
import re
import secrets
import stat
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from graphflow import errors

if sys.platform != "win32":
    import fcntl

StrPath = str | os.PathLike[str]

_LIVE: set[str] = set()
_UMASK_LOCK = threading.Lock()
_TEMP_TAIL = re.compile(r"\.([0-9]{1,10})\.[0-9a-f]{16}\.tmp")
_STRINGS = re.compile(rb'"[^"]*"')
_LONG_NUMBER = re.compile(rb"[0-9]{20}")
_BRACKETS = bytes(c for c in range(256) if c not in b"{}[]")
_CREATE = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL
    | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
)  # fmt: skip
_READ = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
)  # fmt: skip
_NO_FLUSH = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
_UNSUPPORTED = _NO_FLUSH | {errno.EPERM, errno.ENOSYS, errno.EMLINK}
_EXHAUSTED = frozenset({
    errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC, errno.EFBIG,
    errno.ENOMEM, errno.EMFILE, errno.ENFILE,
})  # fmt: skip
_BY_ERRNO: dict[int, type[errors.Error]] = {
    **dict.fromkeys(_EXHAUSTED, errors.ResourceExhaustedError),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), errors.PermissionDeniedError),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), errors.NotFoundError),
    **dict.fromkeys((errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP), errors.InvalidArgumentError),
}
MAX_JSON_BYTES = 1 << 20


def current_umask() -> int:
    """The process's umask, read without changing it where the system allows that."""
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line[6:], 8)
    with _UMASK_LOCK:
        mask = os.umask(0o077)
        os.umask(mask)
    return mask


def _open_directory(path: str) -> int:
    if sys.platform == "win32":
        return -1
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _fsync(fd: int) -> None:
    if fd >= 0:
        os.fsync(fd)


def _fchmod(fd: int, mode: int) -> None:
    if sys.platform != "win32":
        os.fchmod(fd, mode)


def _lock(fd: int) -> None:
    if sys.platform != "win32":
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unlocked(path: str) -> bool:
    """Whether no process, of this machine's other process namespaces included, holds the file locked."""
    fd = os.open(path, _READ | getattr(os, "O_NOFOLLOW", 0))
    try:
        _lock(fd)
    except BlockingIOError:
        return False
    except OSError:
        pass
    finally:
        os.close(fd)
    return True


def _alive(pid: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


@dataclass(frozen=True)
class OsCalls:
    """What `write_file` asks of the operating system, one field for each kind of call."""

    stat: Callable[[str], os.stat_result] = os.stat
    open_directory: Callable[[str], int] = _open_directory
    listdir: Callable[[str], list[str]] = os.listdir
    alive: Callable[[int], bool] = _alive
    unlocked: Callable[[str], bool] = _unlocked
    open: Callable[[str, int, int], int] = os.open
    lock: Callable[[int], None] = _lock
    write: Callable[[int, memoryview], int] = os.write
    umask: Callable[[], int] = current_umask
    fchmod: Callable[[int, int], None] = _fchmod
    fsync: Callable[[int], None] = _fsync
    close: Callable[[int], None] = os.close
    link: Callable[[str, str], None] = os.link
    replace: Callable[[str, str], None] = os.replace
    unlink: Callable[[str], None] = os.unlink


OS = OsCalls()


def write_file(path: StrPath, chunks: Iterable[bytes | memoryview], *, calls: OsCalls = OS) -> None:
    """Replace `path` by the concatenated chunks, atomically and durably; on any error the old file stays."""
    job = _Replacement(os.path.realpath(text_path(path)), calls)
    try:
        job.begin()
        for chunk in chunks:
            job.write(memoryview(chunk).cast("B"))
        job.commit()
    except BaseException:
        job.abandon()
        raise
    job.finish()


class _Replacement:
    """One replacement under way: what exists on disk because of it, and how to take that back."""

    def __init__(self, target: str, calls: OsCalls) -> None:
        self.target = target
        self.calls = calls
        self.directory, self.name = os.path.split(target)
        self.old_mode: int | None = None
        self.temp: str | None = None
        self.backup: str | None = None
        self.fd: int | None = None
        self.directory_fd: int | None = None
        self.renamed = False

    def _do(self, action: str, call: Callable[..., Any], *args: Any, skip: Collection[int] = ()) -> Any:
        """Call, again where a signal cut in; None for the errno values in `skip`, else a typed error."""
        while True:
            try:
                return call(*args)
            except OSError as exc:
                if exc.errno in skip:
                    return None
                if exc.errno != errno.EINTR:
                    raise os_error(exc, self.target, action) from exc

    def begin(self) -> None:
        """Look at the target, sweep what dead processes left, create the temporary file."""
        found = self._do("look at", self.calls.stat, self.target, skip=[errno.ENOENT])
        if found is not None:
            require_regular(found, self.target)
            self.old_mode = stat.S_IMODE(found.st_mode)
        self.directory_fd = self._do("open the directory of", self.calls.open_directory, self.directory)
        self._sweep()
        self.temp = self._new_temp()
        self.fd = self._do("create a file beside", self.calls.open, self.temp, _CREATE, 0o600)
        with contextlib.suppress(OSError):
            self.calls.lock(self.fd)

    def _new_temp(self) -> str:
        temp = os.path.join(self.directory, f".{self.name}.{os.getpid()}.{secrets.token_hex(8)}.tmp")
        _LIVE.add(temp)
        return temp

    def _sweep(self) -> None:
        """Remove temporary files of this target that no living process owns; never an error."""
        with contextlib.suppress(OSError):
            for entry in self.calls.listdir(self.directory):
                tail = entry.removeprefix("." + self.name)
                match = _TEMP_TAIL.fullmatch(tail) if tail != entry else None
                if match is None:
                    continue
                path = os.path.join(self.directory, entry)
                with contextlib.suppress(OSError):
                    if self._abandoned(path, int(match[1])):
                        self.calls.unlink(path)

    def _abandoned(self, path: str, pid: int) -> bool:
        in_use = path in _LIVE if pid == os.getpid() else self.calls.alive(pid)
        return not in_use and self.calls.unlocked(path)

    def write(self, view: memoryview) -> None:
        """Write all of the view, however often the system takes only a part."""
        while len(view):
            count = self._do("write", self.calls.write, self.fd, view)
            if count <= 0:
                raise os_error(OSError(errno.EIO, "the system accepted no more bytes"), self.target, "write")
            view = view[count:]

    def commit(self) -> None:
        """Make the content durable, put it in place, make the new name durable."""
        calls = self.calls
        mode = self.old_mode
        if mode is None:
            mode = 0o666 & ~self._do("read the umask for", calls.umask)
        self._do("set the mode of", calls.fchmod, self.fd, mode, skip=_UNSUPPORTED)
        self._do("flush", calls.fsync, self.fd)
        fd, self.fd = self.fd, None
        self._do("close", calls.close, fd, skip=[errno.EINTR])  # closed all the same
        if self.old_mode is not None:
            self.backup = self._new_temp()
            names = (self.target, self.backup)
            self._do("keep the old content of", calls.link, *names, skip=_UNSUPPORTED | {errno.ENOENT})
        self._do("rename to", calls.replace, self.temp, self.target)
        self.renamed = True
        self._do("flush the directory of", calls.fsync, self.directory_fd, skip=_NO_FLUSH)

    def finish(self) -> None:
        """Release everything; what cannot be removed now is swept by the next write."""
        fds, self.fd, self.directory_fd = (self.fd, self.directory_fd), None, None
        for fd in fds:
            if fd is not None and fd >= 0:
                with contextlib.suppress(OSError):
                    self.calls.close(fd)
        for path in (None if self.renamed else self.temp, self.backup):
            if path is not None:
                with contextlib.suppress(errors.Error):
                    self._do("remove a file beside", self.calls.unlink, path, skip=[errno.ENOENT])
        _LIVE.difference_update(p for p in (self.temp, self.backup) if p is not None)

    def abandon(self) -> None:
        """After an error: the old content back under its name, nothing of ours left."""
        with contextlib.suppress(errors.Error):
            if self.renamed and self.old_mode is None:
                self._do("take back", self.calls.unlink, self.target)
            elif self.renamed and self.backup is not None:
                self._do("take back", self.calls.replace, self.backup, self.target, skip=[errno.ENOENT])
        self.finish()


def os_error(exc: OSError, path: str, action: str) -> errors.Error:
    """The typed error for an OSError; names the path, the action and the cause."""
    cls = _BY_ERRNO.get(exc.errno or 0, errors.UnavailableError)
    code = errno.errorcode.get(exc.errno or 0, "unknown error")
    cause = exc.strerror or str(exc) or type(exc).__name__
    hint = "free some space; the file that was there is unchanged" if exc.errno == errno.ENOSPC else None
    return cls(f"cannot {action} {path!r}: {cause}", got=code, hint=hint)


def text_path(path: StrPath) -> str:
    """The path as text; refuses what no file system can hold."""
    try:
        text = os.fsdecode(os.fspath(path))
    except (TypeError, UnicodeError) as exc:
        raise errors.InvalidArgumentError("not a path", expected="str or PathLike", got=repr(path)) from exc
    if not text or "\0" in text:
        raise errors.InvalidArgumentError("a path must not be empty or contain NUL", got=repr(text))
    return text


def require_regular(found: os.stat_result, path: str) -> None:
    """Refuse directories, pipes, sockets and devices."""
    if not stat.S_ISREG(found.st_mode):
        kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(found.st_mode), "a device")
        raise errors.InvalidArgumentError(f"{path!r} is not a regular file", got=kind)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """A hint with the known word that looks most like the given one, or None."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {found[0]!r}?" if found else None


def open_regular(path: StrPath) -> tuple[int, int]:
    """Open a regular file for reading, never blocking; its descriptor and its size."""
    name = text_path(path)
    try:
        require_regular(os.stat(name), name)
        fd = os.open(name, _READ)
    except FileNotFoundError as exc:
        directory, base = os.path.split(os.path.abspath(name))
        hint = None
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            files = (e.name for e, _ in zip(entries, range(10_000), strict=False) if e.is_file())
            hint = nearest(base, list(files))
        raise errors.NotFoundError(f"no such file: {name!r}", hint=hint) from exc
    except UnicodeError as exc:
        raise errors.InvalidArgumentError("not a path", got=ascii(name)) from exc
    except OSError as exc:
        if isinstance(exc, errors.Error):
            raise
        raise os_error(exc, name, "open") from exc
    try:
        found = os.fstat(fd)
        require_regular(found, name)
    except BaseException:
        os.close(fd)
        raise
    return fd, found.st_size


def write_json(path: StrPath, obj: Any, *, max_bytes: int = MAX_JSON_BYTES, calls: OsCalls = OS) -> None:
    """Replace `path` by the object as JSON; refuses what `read_json` would not give back equal."""
    try:
        raw = (json.dumps(obj, allow_nan=False, ensure_ascii=False, indent=1) + "\n").encode()
        back = parse_json(raw, "the object")
    except (TypeError, ValueError, RecursionError) as exc:
        raise errors.InvalidArgumentError(f"cannot be written as JSON to {os.fspath(path)!r}: {exc}") from exc
    if back != obj:
        expected = "dicts with str keys, lists, str, int, float, bool, None"
        raise errors.InvalidArgumentError("the object would read back different", expected=expected)
    if len(raw) > max_bytes:
        raise errors.ResourceExhaustedError(f"too large: {len(raw)} bytes of JSON, at most {max_bytes}")
    write_file(path, [raw], calls=calls)


def read_json(path: StrPath, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """The JSON value in a file, strictly parsed; DataLossError for anything doubtful."""
    fd, _ = open_regular(path)
    name = text_path(path)
    try:
        with open(fd, "rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as exc:
        raise os_error(exc, name, "read") from exc
    if len(raw) > max_bytes:
        raise errors.DataLossError(f"{name!r} is too large", expected=f"at most {max_bytes} bytes")
    return parse_json(raw, repr(name))


def parse_json(raw: bytes, what: str, *, max_depth: int = 8, max_nodes: int = 200_000) -> Any:
    """Strict JSON: UTF-8, no duplicate key, NaN, infinity, number beyond 19 digits or lone surrogate."""
    check_structure(raw, what, max_depth=max_depth, max_nodes=max_nodes)
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_finite,
        )
        if b"\\ud" in raw or b"\\uD" in raw:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as exc:
        raise errors.DataLossError(f"{what} is not strict JSON: {exc}") from exc
    return value


def check_structure(raw: bytes, what: str, *, max_depth: int, max_nodes: int) -> None:
    """Bound depth and number of values in linear time, before a parser allocates anything for them."""
    bare = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    nodes = bare.count(b'"') // 2
    if nodes <= max_nodes:
        bare = _STRINGS.sub(b"", bare)
        nodes += bare.count(b",") + bare.count(b"[") + bare.count(b"{")
    if nodes > max_nodes:
        raise errors.DataLossError(f"{what} holds too many values", expected=f"at most {max_nodes}")
    if _LONG_NUMBER.search(bare):
        raise errors.DataLossError(f"{what} holds a number of 20 or more digits")
    skeleton = bare.translate(None, _BRACKETS)
    for _ in range(max_depth):
        skeleton = skeleton.replace(b"[]", b"").replace(b"{}", b"")
    if skeleton:
        expected = f"at most {max_depth} levels"
        raise errors.DataLossError(f"{what} is nested too deeply or unbalanced", expected=expected)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate key {twice[:80]!r}")
    return found


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not allowed")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("number out of range")
    return value
