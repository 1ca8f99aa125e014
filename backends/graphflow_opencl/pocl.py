"""What PoCL needs of us: a name for a CPU that is newer than its compiler, and compiling once.

PoCL asks its LLVM for the name of the CPU and hands that name to the compiler.  An LLVM older than the CPU answers
"generic", which the compiler then refuses ("unknown target CPU 'generic'"), so that no program builds at all; the last
wheel of PoCL has LLVM 14, of 2022.  No option and no variable of the environment changes the name.

Policy: the device's record in memory holds a pointer to that name; it is pointed at the name for which PoCL's own
library of built-in functions was compiled, which the CPU's features decide.  That must be the very one, since vectors
are passed in other registers by another.  Memory is only looked at through the system, which refuses what is not
mapped; anything but exactly one such pointer, or another platform, is left alone.

PoCL compiles a kernel at its first launch, again for each local size, unless its specialization is switched off; the
kernels that were met are no slower without.  `compile_once` switches it off unless the user has said otherwise.

State: the names that devices were pointed at, which must stay where they are; `POCL_WORK_GROUP_SPECIALIZATION`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import struct
from pathlib import Path
from typing import Any

PLATFORM = "Portable Computing Language"
COMPILER = "LLVM 14."  # of the wheel; others were not met, and may lay out their records in another way
RECORD_BYTES = (
    1024  # of the device's record, which is longer: what lies behind it may hold such pointers by chance; met at 640
)
UNKNOWN = b"generic\0"
# What the CPU must have, and the name for which the library that PoCL then takes was compiled; the best first.
TARGETS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "fma", "bmi2"}), "skylake-avx512"),
    (frozenset({"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"}), "haswell"),
)
_names: dict[int, ctypes.Array[ctypes.c_char]] = {}  # by the device's address


def give_cpu_name(device: Any) -> str | None:
    """Name the CPU for a PoCL that does not know it; the name, or None if there was nothing to do.

    To be called for a device before anything is built for it.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64" or device.platform.name.strip() != PLATFORM:
        return None
    if COMPILER not in device.platform.version:
        return None
    address = device.int_ptr
    if address in _names:
        return _names[address].value.decode()
    target = target_for(cpu_flags())
    places = _pointers_to_unknown(address) if target else []
    if target is None or len(places) != 1:
        return None
    name = _names[address] = ctypes.create_string_buffer(target.encode())
    ctypes.c_uint64.from_address(places[0]).value = ctypes.addressof(name)
    return target


def target_for(flags: frozenset[str]) -> str | None:
    """The CPU's name for LLVM, by its features as /proc/cpuinfo lists them."""
    if "avx512f" in flags:  # PoCL takes that library whatever else is missing
        return TARGETS[0][1] if TARGETS[0][0] <= flags else None
    return next((name for needed, name in TARGETS if needed <= flags), None)


def compile_once(device: Any) -> None:
    """Let PoCL compile a kernel once for all local sizes; to be called before it is launched."""
    if device.platform.name.strip() == PLATFORM:
        os.environ.setdefault("POCL_WORK_GROUP_SPECIALIZATION", "0")


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The features of this machine's CPU, as the system names them; none if it does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return frozenset()
    lines = (line.partition(":")[2] for line in text.splitlines() if line.startswith("flags"))
    return frozenset(next(lines, "").split())


def _pointers_to_unknown(address: int) -> list[int]:
    """Where in the record at that address a pointer to "generic" stands."""
    try:
        memory = os.open("/proc/self/mem", os.O_RDONLY)
    except OSError:
        return []
    try:
        record = os.pread(memory, RECORD_BYTES, address)
        words = struct.unpack(f"<{len(record) // 8}Q", record[: len(record) // 8 * 8])
        return [address + 8 * i for i, word in enumerate(words) if _bytes_at(memory, word) == UNKNOWN]
    except OSError:
        return []
    finally:
        os.close(memory)


def _bytes_at(memory: int, address: int) -> bytes:
    if not 4096 <= address < 1 << 47:
        return b""
    try:
        return os.pread(memory, len(UNKNOWN), address)
    except OSError:
        return b""
