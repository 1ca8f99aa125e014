"""Built programs on disk, so that the next process need not compile them again.

Policy: one file for a program, named by a hash of all that decides its contents: source, options, platform, device,
driver, the host's CPU where the device is one, and our version.  A file is replaced in one step; it holds a hash of its
own contents and belongs to the user, or it is not believed.  What is damaged, or what the driver refuses, is built from
the source again and replaced.  A folder that cannot be written costs one line in the log and nothing else.  The least
recently used files go when all together are too large.  Any number of processes may do all this at once.

The binary is asked for as soon as the program is built.  PoCL compiles at the first launch, again for each local size,
but when its binary is asked for it compiles each kernel once, for any local size, and launches then take that
(`pocl.compile_once`): nothing is compiled twice and no first launch is slow.

State: `_told`, what was said once in this process; `_saves`, how many files were saved.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pyopencl as cl

from graphflow import durable
from graphflow.errors import Error
from graphflow_opencl import pocl

MAGIC = b"graphflow opencl 1\n"
MOST_BYTES = 512 << 20  # of all files
MOST_OF_ONE = 64 << 20
SAVES_BETWEEN_TRIMS = 64
LEFTOVER_SECONDS = 24 * 3600  # the age of a temporary file whose writer is gone
SUFFIX = ".clbin"
_HASH_BYTES = hashlib.sha256().digest_size
_LOG = logging.getLogger("graphflow")
_told: set[str] = set()
_saves = itertools.count()
_building = threading.RLock()


def folder() -> Path:
    """Where built programs are kept."""
    given = os.environ.get("GRAPHFLOW_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graphflow" / "opencl"


def key_of(device: cl.Device, text: str, options: Sequence[str]) -> str:
    """The name of a program's file; it depends on all that decides what the driver makes of the source."""
    return hashlib.sha256("\0".join((identity(device), *options, text)).encode()).hexdigest()


def identity(device: cl.Device) -> str:
    """Platform, device, driver, CPU and our version: a binary of one is of no use to another."""
    platform = device.platform
    parts = [_version(), platform.name, platform.version, device.vendor, device.name, device.version]
    parts += [device.driver_version, str(device.native_vector_width_float)]
    if device.type & cl.device_type.CPU:  # two CPUs of one name may differ in their instructions
        parts += sorted(pocl.cpu_flags())
    return "\0".join(str(part).strip() for part in parts)


@functools.cache
def _version() -> str:
    try:
        return metadata.version("graphflow-dl")
    except metadata.PackageNotFoundError:
        return "unknown"


def build(device: Any, text: str, options: Sequence[str]) -> tuple[cl.Program, bool]:
    """The program of a source for a `Device`, and whether it came from the disk; `cl.Error` if it cannot be built."""
    key = key_of(device.cl, text, options)
    binary = load(key)
    with _building:
        program = None if binary is None else _from_binary(device, binary, options)
        if program is not None:
            return program, True
        count = text.count("__kernel ")
        progress(f"compiling {count} kernel{'s' * (count != 1)} for {device.cl.name.strip()}, once ...")
        started = time.perf_counter()
        program = _built(cl.Program(device.context, text), device, options)
        binary = _binary(program)
    if binary:
        save(key, binary)
    _LOG.debug("built %d kernels in %.2f s", count, time.perf_counter() - started)
    return program, False


def _built(program: cl.Program, device: Any, options: Sequence[str]) -> cl.Program:
    pocl.compile_once(device.cl)
    with warnings.catch_warnings():  # what a compiler notes about a good program is of no use to anybody
        warnings.simplefilter("ignore", cl.CompilerWarning)
        return program.build(options=list(options), devices=[device.cl], cache_dir=False)


def _from_binary(device: Any, binary: bytes, options: Sequence[str]) -> cl.Program | None:
    try:
        return _built(cl.Program(device.context, [device.cl], [binary]), device, options)
    except cl.Error as error:
        _LOG.debug("the driver refuses a stored program, which is built again: %s", error)
        return None


def _binary(program: cl.Program) -> bytes:
    try:
        found = program.get_info(cl.program_info.BINARIES)
    except cl.Error as error:
        _LOG.debug("the driver gives no binary: %s", error)
        return b""
    return bytes(found[0]) if found else b""


# -- files ---------------------------------------------------------------------------------------------------------


def path_of(key: str) -> Path:
    """The file of a program."""
    return folder() / f"{key}{SUFFIX}"


def load(key: str) -> bytes | None:
    """The contents that were saved under a key, if they are there and whole."""
    path = path_of(key)
    try:
        with open(path, "rb") as file:
            if not is_ours(os.fstat(file.fileno())):
                return None
            raw = file.read(MOST_OF_ONE + 1)
    except OSError:
        return None
    start = len(MAGIC) + _HASH_BYTES
    if not raw.startswith(MAGIC) or hashlib.sha256(raw[start:]).digest() != raw[len(MAGIC) : start]:
        _LOG.debug("%s is damaged, and is made again", path)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used: it is removed last
    return raw[start:]


def is_ours(found: os.stat_result) -> bool:
    """Whether a file belongs to this user or to the system: what is loaded is native code."""
    return not hasattr(os, "geteuid") or found.st_uid in (os.geteuid(), 0)


def save(key: str, contents: bytes) -> bool:
    """Keep contents under a key; whether that worked."""
    path = path_of(key)
    if len(contents) > MOST_OF_ONE - len(MAGIC) - _HASH_BYTES:
        return False
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write_file(path, [MAGIC, hashlib.sha256(contents).digest(), contents])
    except (OSError, Error) as error:
        if "save" not in _told:
            _told.add("save")
            reason = error.summary if isinstance(error, Error) else str(error)
            _LOG.warning("OpenCL programs cannot be kept for the next start: %s; set GRAPHFLOW_CACHE", reason)
        return False
    if next(_saves) % SAVES_BETWEEN_TRIMS == 0:
        trim(path.parent, MOST_BYTES)
    return True


def trim(where: Path, most: int) -> None:
    """Remove the files that were not used for the longest time, until the rest is no larger than that."""
    kept: list[tuple[float, int, str]] = []
    with contextlib.suppress(OSError), os.scandir(where) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if entry.name.endswith(SUFFIX):
                    kept.append((found.st_mtime, found.st_size, entry.path))
                elif SUFFIX in entry.name and found.st_mtime < time.time() - LEFTOVER_SECONDS:
                    os.unlink(entry.path)
    total = sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept):
        if total <= most:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size


def progress(text: str) -> None:
    """One line for somebody who waits at a terminal, once in a process."""
    if "progress" not in _told and sys.stderr is not None and sys.stderr.isatty():
        _told.add("progress")
        sys.stderr.write(f"graphflow: {text}\n")
        sys.stderr.flush()
