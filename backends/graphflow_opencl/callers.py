"""PoCL's second device, which computes in the thread that asks for it, for programs too short to wake another thread.

A round trip through PoCL's own threads costs as much as some tens of thousands of elements: two threads have to wake
up.  Its device "basic" does a launch before the call returns, for a microsecond.  PoCL offers it to who asks by
`POCL_DEVICES` before its first answer.

Policy: it is asked for only where the PoCL of the wheel is the only one, which is known to have it, and only if the
user has not said which devices there are; the variable is there for a moment, so that child processes do not see it.
The device stands beside the one that it belongs to and in the same context, has no name and is listed nowhere.
`GRAPHFLOW_OCL_INLINE=0` leaves it out.

State: whether it was asked for in this process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pyopencl as cl

from graphflow_opencl import pocl
from graphflow_opencl.table import Traits

VARIABLE = "POCL_DEVICES"
THREADED, CALLING = "pthread", "basic"  # how PoCL names its devices, and how the devices' own names begin
WHEEL, VERSIONS = "pocl_binary_distribution", ("3.",)
VENDORS = Path("/etc/OpenCL/vendors")
_asked = False


class Inline:
    """Where the launches of short programs are done at once: of a `Device`, what those need who build kernels."""

    def __init__(self, context: cl.Context, device: cl.Device, traits: Traits) -> None:
        self.context = context
        self.cl = device
        self.traits = traits
        self.queue = cl.CommandQueue(context, device)


@contextlib.contextmanager
def offered() -> Iterator[None]:
    """A block in which PoCL, if it wakes up now, shows that device too."""
    global _asked
    if VARIABLE in os.environ or not _is_known():
        yield
        return
    _asked = True
    os.environ[VARIABLE] = f"{THREADED} {CALLING}"
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)


def _is_known() -> bool:
    if os.environ.get("GRAPHFLOW_OCL_INLINE", "") == "0" or "OCL_ICD_VENDORS" in os.environ:
        return False
    try:
        if not metadata.version(WHEEL).startswith(VERSIONS):
            return False
    except metadata.PackageNotFoundError:
        return False
    try:  # another PoCL may have other names for its devices, and then would have none
        return not any("pocl" in f"{file.name} {file.read_text('utf-8', 'replace')}" for file in VENDORS.glob("*.icd"))
    except OSError:
        return False


def without_inline(devices: Sequence[cl.Device]) -> list[cl.Device]:
    """The devices of a platform that programs may name."""
    hidden = inline_among(devices)
    return [device for device in devices if device != hidden]


def inline_among(devices: Sequence[cl.Device]) -> Any:
    """The device of a platform that is there because of us; None if there is none."""
    if not _asked or not any(device.name.startswith(THREADED) for device in devices):
        return None
    return next((device for device in devices if device.name.startswith(CALLING)), None)


def inline_beside(device: cl.Device) -> Any:
    """The device that computes in the calling thread, for one that programs may name; None if there is none."""
    platform = device.platform
    if platform.name.strip() != pocl.PLATFORM or not device.name.startswith(THREADED):
        return None
    return inline_among(platform.get_devices())
