"""From the sources of launches to kernels: one OpenCL program for all that a plan needs.

Policy: equal sources are one kernel; functions `gf_...` come from `library`, each once.  Contraction to FMA is off but
where a kernel turns it on for itself, so that additions and products round as NumPy's do.  No relaxed mathematics; a
GPU is asked for quotients and roots of floats that are rounded right, if it has them: by itself it need not do so.  A
failed build names the ops and the user's lines, and shows what the compiler said.

State: the programs that were built for a device in this process, the newest of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pyopencl as cl

from graphflow.errors import InternalError
from graphflow_opencl import cache, library
from graphflow_opencl.devices import Device

OPTIONS = ("-cl-std=CL1.2", "-w")  # without warnings: PoCL would print how many there were
ROUNDED = "-cl-fp32-correctly-rounded-divide-sqrt"
SINGLE = "-cl-single-precision-constant"
HEADER = "#pragma OPENCL FP_CONTRACT OFF\n"
MOST_KEPT = 256
_kept: dict[tuple[Device, str], Any] = {}  # by the device: its context, and a hash of the source


def options_for(device: cl.Device, doubles: bool) -> tuple[str, ...]:
    """What the compiler is told for a device, which is part of the name that a stored program has."""
    rounds = device.single_fp_config & cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT
    asked = (ROUNDED,) if rounds and device.type & cl.device_type.GPU else ()
    return (*OPTIONS, *asked, *(() if doubles else (SINGLE,)))  # constants without a suffix are doubles where there are


def whole_source(sources: Sequence[str], doubles: bool) -> tuple[str, list[str]]:
    """The text of a program, and the name of each source's kernel in it."""
    numbers: dict[str, int] = {}
    for source in sources:
        numbers.setdefault(source, len(numbers))
    parts = [HEADER]
    if doubles:
        parts.append("#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n")
    parts.append(library.needed("\n".join(numbers), doubles))
    parts += [source.replace("KERNEL", f"k{number}") for source, number in numbers.items()]
    return "\n".join(parts), [f"k{numbers[source]}" for source in sources]


def build(device: Device, sources: Sequence[str], origins: Sequence[str] = ()) -> list[cl.Kernel]:
    """A kernel object of its own for each source; `origins` says what each came from, for the error."""
    if not sources:
        return []
    text, names = whole_source(sources, device.traits.doubles)
    key = device, hashlib.sha256(text.encode()).hexdigest()
    program = _kept.get(key)
    if program is None:
        program = _built(device, text, origins)
        while len(_kept) >= MOST_KEPT:
            _kept.pop(next(iter(_kept)))
        _kept[key] = program
    return [cl.Kernel(program, name) for name in names]


def _built(device: Device, text: str, origins: Sequence[str]) -> cl.Program:
    try:
        return cache.build(device, text, options_for(device.cl, device.traits.doubles))[0]
    except cl.Error as error:
        raise InternalError(
            "the OpenCL compiler refused a kernel: " + str(error).strip()[:4000],
            expected=f"source that {device.cl.name.strip()} can build",
            got="; ".join(dict.fromkeys(origins))[:2000] or None,
        ) from error
