"""The driver: one native function that checks and unwraps the arguments of a segment, and calls its kernels in turn.

Policy: everything that a run needs is in tables of 64-bit words, one set for each frame (a frame is the memory of one
run).  The arguments come as a Python tuple, and their addresses are read from the objects themselves: that costs
nanoseconds where asking each array costs a microsecond.  Where objects lie in memory is checked once against NumPy's
own answer; if it differs (another Python, another NumPy), arguments are asked one by one.  An argument that is not
what was compiled for, in type, dtype, shape, order or alignment, stops the driver before it has done anything.

Threads that help (see `team`) find the entry of the moment in the frame's state and claim units of it, a few at a time;
the one who leads claims as well, and goes on once all units are done.  If that takes long, a helper may be waiting for
its core, and the leader offers its own.

State: the compiled driver, and what the check of the layout found.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from typing import Any, NamedTuple

import numpy as np

from graphflow_numpy.native import engine

HEAD = object.__basicsize__
ITEMS = tuple.__basicsize__
WANTED_FLAGS = 0x1 | 0x100  # C-contiguous, aligned
WRITABLE = 0x400
SPEC_WORDS = 6
PATCH_WORDS = 3
ENTRY_WORDS = 5  # function, its pointers, begin, end, units to be claimed at once (0: the caller does them all)
FRAME_WORDS = 10
COUNTER_WORDS = 16  # two cache lines for each entry: units claimed, and units done
HEAD_WORDS = 16
BRIEFLY = 20_000  # pauses that a leader waits for claimed units before it offers its core: below a millisecond
OVER = -2  # instead of the number of an entry: all are done

_SOURCE = """

; frame: 0 arguments, 1 specs, 2 patches, 3 their table, 4 entries to run at once, 5 entries, 6 addresses, 7 state,
; 8 board, 9 helpers
define i64 @{name}_start(ptr %frame, ptr %args) nounwind {{
entry:
  %count = load i64, ptr %frame, align 8
  %p1 = getelementptr i64, ptr %frame, i64 1
  %specs = load ptr, ptr %p1, align 8
  %p2 = getelementptr i64, ptr %frame, i64 2
  %patches = load i64, ptr %p2, align 8
  %p3 = getelementptr i64, ptr %frame, i64 3
  %table = load ptr, ptr %p3, align 8
  %p4 = getelementptr i64, ptr %frame, i64 4
  %entries = load i64, ptr %p4, align 8
  %p6 = getelementptr i64, ptr %frame, i64 6
  %resolved = load ptr, ptr %p6, align 8
  %items = getelementptr i8, ptr %args, i64 {items}
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %check, label %patching
check:
  %i = phi i64 [ 0, %entry ], [ %next, %good ]
  %place = getelementptr ptr, ptr %items, i64 %i
  %object = load ptr, ptr %place, align 8
  %offset = mul i64 %i, {spec_words}
  %spec = getelementptr i64, ptr %specs, i64 %offset
  %type.at = getelementptr i8, ptr %object, i64 {type}
  %type = load i64, ptr %type.at, align 8
  %scalar = load i64, ptr %spec, align 8
  %is.scalar = icmp eq i64 %type, %scalar
  %data.at = getelementptr i8, ptr %object, i64 {data}
  br i1 %is.scalar, label %good, label %array
array:
  %s1 = getelementptr i64, ptr %spec, i64 1
  %kind = load i64, ptr %s1, align 8
  %is.array = icmp eq i64 %type, %kind
  br i1 %is.array, label %descr, label %bad
descr:
  %s2 = getelementptr i64, ptr %spec, i64 2
  %wanted = load i64, ptr %s2, align 8
  %descr.at = getelementptr i8, ptr %object, i64 {descr}
  %found = load i64, ptr %descr.at, align 8
  %same = icmp eq i64 %wanted, %found
  %flags.at = getelementptr i8, ptr %object, i64 {flags}
  %flags = load i32, ptr %flags.at, align 4
  %s5 = getelementptr i64, ptr %spec, i64 5
  %mask.wide = load i64, ptr %s5, align 8
  %mask = trunc i64 %mask.wide to i32
  %masked = and i32 %flags, %mask
  %plain = icmp eq i32 %masked, %mask
  %s3 = getelementptr i64, ptr %spec, i64 3
  %rank = load i64, ptr %s3, align 8
  %rank.at = getelementptr i8, ptr %object, i64 {rank}
  %own = load i32, ptr %rank.at, align 4
  %wide = sext i32 %own to i64
  %equal = icmp eq i64 %wide, %rank
  %a1 = and i1 %same, %plain
  %a2 = and i1 %a1, %equal
  br i1 %a2, label %shape, label %bad
shape:
  %s4 = getelementptr i64, ptr %spec, i64 4
  %dims = load ptr, ptr %s4, align 8
  %dims.at = getelementptr i8, ptr %object, i64 {dims}
  %sizes = load ptr, ptr %dims.at, align 8
  br label %axis
axis:
  %k = phi i64 [ 0, %shape ], [ %k.next, %fits ]
  %more = icmp slt i64 %k, %rank
  br i1 %more, label %size, label %fine
size:
  %d1 = getelementptr i64, ptr %dims, i64 %k
  %d1v = load i64, ptr %d1, align 8
  %d2 = getelementptr i64, ptr %sizes, i64 %k
  %d2v = load i64, ptr %d2, align 8
  %d = icmp eq i64 %d1v, %d2v
  br i1 %d, label %fits, label %bad
fits:
  %k.next = add i64 %k, 1
  br label %axis
fine:
  %pointer = load ptr, ptr %data.at, align 8
  br label %good
good:
  %address = phi ptr [ %data.at, %check ], [ %pointer, %fine ]
  %out = getelementptr ptr, ptr %resolved, i64 %i
  store ptr %address, ptr %out, align 8
  %next = add i64 %i, 1
  %on = icmp slt i64 %next, %count
  br i1 %on, label %check, label %patching
bad:
  %number = add i64 %i, 1
  ret i64 %number
patching:
  call void @{name}_patch(i64 %patches, ptr %table, ptr %resolved)
  call void @{name}_resume(ptr %frame, i64 0, i64 %entries)
  ret i64 0
}}
define void @{name}_patch(i64 %count, ptr %table, ptr %resolved) nounwind {{
entry:
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %loop, label %done
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %offset = mul i64 %i, {patch_words}
  %patch = getelementptr i64, ptr %table, i64 %offset
  %which = load i64, ptr %patch, align 8
  %t1 = getelementptr i64, ptr %patch, i64 1
  %target = load ptr, ptr %t1, align 8
  %t2 = getelementptr i64, ptr %patch, i64 2
  %plus = load i64, ptr %t2, align 8
  %from = getelementptr ptr, ptr %resolved, i64 %which
  %base = load ptr, ptr %from, align 8
  %address = getelementptr i8, ptr %base, i64 %plus
  store ptr %address, ptr %target, align 8
  %next = add i64 %i, 1
  %on = icmp slt i64 %next, %count
  br i1 %on, label %loop, label %done
done:
  ret void
}}
define void @{name}_resume(ptr %frame, i64 %begin, i64 %end) nounwind {{
entry:
  %p5 = getelementptr i64, ptr %frame, i64 5
  %table = load ptr, ptr %p5, align 8
  %p7 = getelementptr i64, ptr %frame, i64 7
  %state = load ptr, ptr %p7, align 8
  %any = icmp slt i64 %begin, %end
  br i1 %any, label %loop, label %done
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %following ]
  %offset = mul i64 %i, {entry_words}
  %entry.at = getelementptr i64, ptr %table, i64 %offset
  %e4 = getelementptr i64, ptr %entry.at, i64 4
  %grain = load i64, ptr %e4, align 8
  %alone = icmp eq i64 %grain, 0
  br i1 %alone, label %single, label %together
single:
  %function = load ptr, ptr %entry.at, align 8
  %e1 = getelementptr i64, ptr %entry.at, i64 1
  %block = load ptr, ptr %e1, align 8
  %e2 = getelementptr i64, ptr %entry.at, i64 2
  %first = load i64, ptr %e2, align 8
  %e3 = getelementptr i64, ptr %entry.at, i64 3
  %last = load i64, ptr %e3, align 8
  call void %function(ptr %block, i64 %first, i64 %last)
  br label %following
together:
  store atomic i64 %i, ptr %state release, align 8
  %found = call i64 @{name}_claim(ptr %entry.at, ptr %state, i64 %i)
  %c = mul i64 %i, {counter_words}
  %c1 = add i64 %c, {head_words}
  %c2 = add i64 %c1, 8
  %finished = getelementptr i64, ptr %state, i64 %c2
  %units.at = getelementptr i64, ptr %entry.at, i64 3
  %units = load i64, ptr %units.at, align 8
  br label %wait
wait:
  %spins = phi i64 [ 0, %together ], [ %spun, %pausing ], [ %spun, %yielding ]
  %so.far = load atomic i64, ptr %finished acquire, align 8
  %complete = icmp sge i64 %so.far, %units
  br i1 %complete, label %following, label %pausing
pausing:
  {pause}
  %spun = add i64 %spins, 1
  %late = icmp sgt i64 %spins, {briefly}
  br i1 %late, label %yielding, label %wait
yielding:
  {give}
  br label %wait
following:
  %next = add i64 %i, 1
  %on = icmp slt i64 %next, %end
  br i1 %on, label %loop, label %done
done:
  ret void
}}
; units of one entry, as long as there are any: how many were done
define i64 @{name}_claim(ptr %entry.at, ptr %state, i64 %i) nounwind {{
entry:
  %function = load ptr, ptr %entry.at, align 8
  %e1 = getelementptr i64, ptr %entry.at, i64 1
  %block = load ptr, ptr %e1, align 8
  %e3 = getelementptr i64, ptr %entry.at, i64 3
  %units = load i64, ptr %e3, align 8
  %e4 = getelementptr i64, ptr %entry.at, i64 4
  %grain = load i64, ptr %e4, align 8
  %c = mul i64 %i, {counter_words}
  %c1 = add i64 %c, {head_words}
  %claimed = getelementptr i64, ptr %state, i64 %c1
  %c2 = add i64 %c1, 8
  %finished = getelementptr i64, ptr %state, i64 %c2
  br label %loop
loop:
  %total = phi i64 [ 0, %entry ], [ %more, %work ]
  %first = atomicrmw add ptr %claimed, i64 %grain seq_cst
  %some = icmp slt i64 %first, %units
  br i1 %some, label %work, label %done
work:
  %end = add i64 %first, %grain
  %below = icmp slt i64 %end, %units
  %last = select i1 %below, i64 %end, i64 %units
  call void %function(ptr %block, i64 %first, i64 %last)
  %count = sub i64 %last, %first
  %old = atomicrmw add ptr %finished, i64 %count seq_cst
  %more = add i64 %total, %count
  br label %loop
done:
  ret i64 %total
}}
; works on whatever entry is shared at the moment, until all are done (1) or nothing has come for a while (0)
define i1 @{name}_assist(ptr %frame, i64 %patience) nounwind {{
entry:
  %p5 = getelementptr i64, ptr %frame, i64 5
  %table = load ptr, ptr %p5, align 8
  %p7 = getelementptr i64, ptr %frame, i64 7
  %state = load ptr, ptr %p7, align 8
  br label %look
look:
  %idle = phi i64 [ 0, %entry ], [ %longer, %pausing ], [ 0, %work ]
  %last = phi i64 [ -1, %entry ], [ %last, %pausing ], [ %i, %work ]
  %i = load atomic i64, ptr %state acquire, align 8
  %ended = icmp eq i64 %i, {over}
  br i1 %ended, label %done, label %open
open:
  %none = icmp slt i64 %i, 0
  %same = icmp eq i64 %i, %last
  %nothing = or i1 %none, %same
  br i1 %nothing, label %pausing, label %work
pausing:
  {pause}
  %longer = add i64 %idle, 1
  %enough = icmp sgt i64 %longer, %patience
  br i1 %enough, label %done, label %look
work:
  %offset = mul i64 %i, {entry_words}
  %entry.at = getelementptr i64, ptr %table, i64 %offset
  %found = call i64 @{name}_claim(ptr %entry.at, ptr %state, i64 %i)
  br label %look
done:
  ret i1 %ended
}}
"""


class Driver(NamedTuple):
    """The driver as Python calls it."""

    start: Any  # (frame, tuple of arguments) -> 0, or the number of the first unfit argument, from 1
    start_quick: Any  # the same without giving up the GIL, for a few microseconds of work
    resume: Any  # (frame, begin, end): the entries in that range


def add_functions(module: engine.ModuleBuilder) -> tuple[str, str]:
    """Put the driver's functions into a module; the beginning of their names, and the instruction of a short wait."""
    name = module.symbol("driver")
    intel = platform.machine().lower() in ("x86_64", "amd64", "i686")
    if intel:
        module.declare("declare void @llvm.x86.sse2.pause()")
    pause = "call void @llvm.x86.sse2.pause()" if intel else ""
    module.add(
        _SOURCE.format(
            name=name, items=ITEMS, type=HEAD - 8, data=HEAD, rank=HEAD + 8, dims=HEAD + 16, descr=HEAD + 40,
            flags=HEAD + 48, spec_words=SPEC_WORDS, patch_words=PATCH_WORDS, entry_words=ENTRY_WORDS,
            counter_words=COUNTER_WORDS, head_words=HEAD_WORDS, over=OVER, pause=pause, give=_give(), briefly=BRIEFLY,
        )
    )  # fmt: skip
    return name, pause


def _give() -> str:
    """The call that lets another thread have the core; nothing where the system has none."""
    try:
        address = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value
    except (AttributeError, OSError, TypeError):
        return ""
    return f"%given = call i32 inttoptr (i64 {address} to ptr)()"


def _build(module: engine.ModuleBuilder) -> engine.Entry:
    name, _ = add_functions(module)
    return engine.Entry(f"{name}_start", 1, finish=f"{name}_resume")


@functools.cache
def get_driver() -> Driver:
    """The driver, compiled by the first who asks."""
    kernel = engine.get_kernel(("driver",), _build)
    arguments = (ctypes.c_void_p, ctypes.py_object)
    return Driver(
        ctypes.CFUNCTYPE(ctypes.c_int64, *arguments)(kernel.address),
        ctypes.PYFUNCTYPE(ctypes.c_int64, *arguments)(kernel.address),
        engine.SIGNATURE(kernel.finish),
    )


def _word(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


@functools.cache
def reads_objects() -> bool:
    """Whether arrays, scalars and tuples lie in memory as the driver takes them to."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8 or sys.byteorder != "little":
        return False
    array, scalar = np.zeros((3, 5), np.float32), np.float32(1.5)
    items = (array, scalar)
    at = id(array)
    if (
        np.ndarray.__basicsize__ < HEAD + 56
        or _word(id(items) + ITEMS) != at
        or _word(id(items) + ITEMS + 8) != id(scalar)
    ):
        return False
    if _word(at + HEAD - 8) != id(np.ndarray) or _word(at + HEAD) != array.ctypes.data:
        return False
    rank, flags = ctypes.c_int.from_address(at + HEAD + 8).value, ctypes.c_int.from_address(at + HEAD + 48).value
    dims = _word(at + HEAD + 16)
    found = rank, _word(dims), _word(dims + 8), _word(at + HEAD + 40), flags & WANTED_FLAGS
    if found != (2, 3, 5, id(array.dtype), WANTED_FLAGS):
        return False
    return ctypes.c_float.from_address(id(scalar) + HEAD).value == 1.5 and _word(id(scalar) + HEAD - 8) == id(
        np.float32
    )
