"""Native copies between layouts: permutations, pieces, repetitions, joins.

Policy: what an op does to the layout is asked of NumPy's own kernel, on an array that is never touched: its view tells
the strides.  Axes merge where they can; the innermost one is copied in vectors, repeated, or turned in registers.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from graphflow.program import Instruction
from graphflow_numpy.native.calls import CALL, ELEMENT, Call, Scope, maker
from graphflow_numpy.native.emission import literal
from graphflow_numpy.native.engine import Build, Entry, ModuleBuilder
from graphflow_numpy.native.nests import BYTES, LLVM, Body, Index, vector
from graphflow_numpy.native.turning import turn
from graphflow_numpy.native.updates import over
from graphflow_numpy.table import TABLE

LARGEST = 1 << 30  # elements
LONG_RUN = 512  # bytes from which on a run of elements is copied by the system's routine


class Job(NamedTuple):
    """One copy: which pointers, the index space, and for both sides the strides and the first element."""

    source: int
    target: int
    dims: tuple[int, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    first_read: int
    first_write: int


class Copies(NamedTuple):
    """All that the code depends on."""

    dtype: str
    jobs: tuple[Job, ...]
    pointers: int
    clear: int  # elements of the only output that are set to 0 first
    divisor: float  # 1 where nothing is divided


def _untouched(dims: Sequence[int]) -> Any:
    """An array that stands for one of these dims; nobody reads or writes it."""
    return np.empty(dims, np.int8)


def _start(view: Any, whole: Any) -> int:
    return int(view.__array_interface__["data"][0] - whole.__array_interface__["data"][0])


def _call(scope: Scope, c: Copies, inputs: tuple[int, ...], outputs: tuple[int, ...], what: str) -> Call:
    size = sum(prod(j.dims) for j in c.jobs) + c.clear
    return Call(("copies", c), _build(c, what), inputs, outputs, CALL + 2 * size * ELEMENT)


# -- pieces of one value, permuted or repeated -----------------------------------------------------------------------


@maker("Transpose", "BroadcastTo", "Reverse", "Slice", "StridedSlice", "Split", "Unpack", "ConcatGrad", "Spread")
def _views(scope: Scope, ins: Instruction) -> list[Call] | None:
    x, rest = ins.inputs[0], [scope.constant(v) for v in ins.inputs[1:]]
    if x in scope.program.constants or any(r is None for r in rest) or scope.size(x) > LARGEST:
        return None
    attrs, divisor = dict(ins.attrs), 1.0
    if attrs.get("mean"):
        if scope.dtype(x) not in ("float32", "float64"):
            return None
        attrs["mean"], divisor = False, scope.size(ins.outputs[0]) / scope.size(x)
    whole = _untouched(scope.dims(x))
    views = _viewed(ins.type, whole, rest, attrs)
    calls = []
    for view, out in zip(views if isinstance(views, tuple) else (views,), ins.outputs, strict=True):
        if out < 0:
            continue
        if view.shape != scope.dims(out) or not np.may_share_memory(view, whole):
            return None
        writes = _untouched(view.shape).strides
        job = Job(0, 1, view.shape, view.strides, writes, _start(view, whole), 0)
        calls.append(_call(scope, Copies(scope.dtype(x), (job,), 2, 0, divisor), (x,), (out,), ins.type))
    return calls or None


@maker("Tile")
def _tiled(scope: Scope, ins: Instruction) -> list[Call] | None:
    x, out = ins.inputs[0], ins.outputs[0]
    times = scope.constant(ins.inputs[1])
    if x in scope.program.constants or times is None or scope.size(out) > LARGEST:
        return None
    own = _untouched(scope.dims(x))
    dims = [n for m, d in zip(times.tolist(), own.shape, strict=True) for n in (int(m), d)]
    reads = [n for s in own.strides for n in (0, s)]
    job = Job(0, 1, tuple(dims), tuple(reads), _untouched(dims).strides, 0, 0)
    return [_call(scope, Copies(scope.dtype(x), (job,), 2, 0, 1.0), (x,), (out,), ins.type)]


@maker("Fill")
def _filled(scope: Scope, ins: Instruction) -> list[Call] | None:
    value, out = ins.inputs[1], ins.outputs[0]
    if scope.dims(value) or scope.dtype(value) != scope.dtype(out):
        return None
    job = Job(0, 1, (scope.size(out),), (0,), (1,), 0, 0)
    return [_call(scope, Copies(scope.dtype(out), (job,), 2, 0, 1.0), (value,), (out,), ins.type)]


@maker("OnesLike", "ZerosLike")
def _constant(scope: Scope, ins: Instruction) -> list[Call] | None:
    out = ins.outputs[0]
    dtype, size = scope.dtype(out), scope.size(out)
    one = literal(float(ins.type == "OnesLike"), LLVM[dtype])

    def build(module: ModuleBuilder) -> Entry:
        body, of = Body(module), LLVM[dtype]
        target = body.pointer(0)
        over(body, 0, size, of, lambda i, n: body.store(body.spread(one, of, n), target, of, i, n))
        symbol = module.symbol("constant")
        body.finish(symbol)
        return Entry(symbol, 1)

    return [Call(("constant", ins.type, dtype, size), build, (), ins.outputs, CALL + size * ELEMENT)]


def _viewed(type: str, whole: Any, rest: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """What the op makes of a layout; where NumPy's kernel would rather copy than run backwards, the view itself."""
    if type == "Reverse":
        return np.flip(whole, attrs["axis"])
    if type == "StridedSlice" and not rest:
        return whole[_index(attrs["key"])]
    return TABLE[type].function(whole, *rest, **attrs)


def _index(key: Sequence[Any]) -> tuple[Any, ...]:
    """The index of a slice whose bounds are all known."""
    return tuple([slice(*p) if isinstance(p, tuple) else Ellipsis if p == "..." else p for p in key])


# -- values put into places of a larger one --------------------------------------------------------------------------


@maker("Concat", "Pack")
def _joined(scope: Scope, ins: Instruction) -> list[Call] | None:
    out = ins.outputs[0]
    if any(scope.dtype(v) != scope.dtype(out) for v in ins.inputs):
        return None
    whole = _untouched(scope.dims(out))
    axis = int(ins.attrs["axis"]) % whole.ndim
    jobs, at = [], 0
    for number, v in enumerate(ins.inputs):
        count = 1 if ins.type == "Pack" else scope.dims(v)[axis]
        place = whole[(slice(None),) * axis + (slice(at, at + count),)]
        at += count
        if place.size != scope.size(v):
            return None
        reads = _untouched(place.shape).strides
        jobs.append(Job(number, len(ins.inputs), place.shape, reads, place.strides, 0, _start(place, whole)))
    c = Copies(scope.dtype(out), tuple(jobs), len(ins.inputs) + 1, 0, 1.0)
    return [_call(scope, c, ins.inputs, ins.outputs, ins.type)]


@maker("Pad", "SliceGrad", "StridedSliceGrad")
def _placed(scope: Scope, ins: Instruction) -> list[Call] | None:
    x, out = ins.inputs[0], ins.outputs[0]
    rest = [scope.constant(v) for v in ins.inputs[1:]]
    if x in scope.program.constants or any(r is None for r in rest) or scope.size(out) > LARGEST:
        return None
    index = _place(ins, rest, scope.dims(x))
    if index is None:
        return None
    whole = _untouched(scope.dims(out))
    place = whole[index]
    if place.shape != scope.dims(x) or not np.may_share_memory(place, whole):
        return None
    job = Job(0, 1, place.shape, _untouched(place.shape).strides, place.strides, 0, _start(place, whole))
    c = Copies(scope.dtype(x), (job,), 2, whole.size, 1.0)
    return [_call(scope, c, (x,), (out,), ins.type)]


def _place(ins: Instruction, rest: Sequence[Any], dims: Sequence[int]) -> tuple[Any, ...] | None:
    """Where the value goes in the output."""
    if ins.type == "Pad":
        pairs = ins.attrs["paddings"]
        if pairs is None or ins.attrs["constant"] != 0:
            return None
        return tuple([slice(int(a), int(a) + d) for d, (a, _) in zip(dims, pairs, strict=True)])
    if ins.type == "SliceGrad":
        return tuple([slice(int(a), int(a) + d) for a, d in zip(rest[0].tolist(), dims, strict=True)])
    key = ins.attrs["key"]
    if len(rest) > 1 or any(p == "t" or isinstance(p, tuple) and "t" in p for p in key):
        return None
    return _index(key)


# -- code ------------------------------------------------------------------------------------------------------------


class _Axis(NamedTuple):
    size: int
    read: int
    write: int


def _axes(job: Job) -> list[_Axis]:
    """The axes of a copy, as few as its strides allow."""
    out: list[_Axis] = []
    for axis in map(_Axis, job.dims, job.reads, job.writes):
        if axis.size == 1:
            continue
        last = out[-1] if out else None
        if last is not None and last[1:] == (axis.read * axis.size, axis.write * axis.size):
            out[-1] = axis._replace(size=last.size * axis.size)
        else:
            out.append(axis)
    return out or [_Axis(1, 1, 1)]


def _build(c: Copies, what: str) -> Build:
    of = LLVM[c.dtype]

    def build(module: ModuleBuilder) -> Entry:
        body = Body(module)
        pointers = [body.pointer(k) for k in range(c.pointers)]
        if c.clear:
            body.clear(pointers[-1], c.clear * BYTES[of])
        units = 1
        for job in c.jobs:
            axes = _axes(job)
            source = body.at(pointers[job.source], of, job.first_read)
            target = body.at(pointers[job.target], of, job.first_write)
            if len(c.jobs) == 1 and not c.clear and len(axes) > 2 and axes[0].read != 1:
                units = axes[0].size
                _nest(body, c, of, (source, target), axes, ("%begin", "%end"))
            else:
                _nest(body, c, of, (source, target), axes, None)
        symbol = module.symbol(what.lower())
        body.finish(symbol)
        return Entry(symbol, units)

    return build


def _nest(
    body: Body, c: Copies, of: str, places: tuple[str, str], axes: Sequence[_Axis], part: tuple[str, str] | None
) -> None:
    """The loops over all axes but those that are copied at once."""
    turned = _turned(axes) if BYTES[of] >= 4 and c.divisor == 1 else None
    if len(axes) == 1 or turned == 0 and len(axes) == 2:
        _innermost(body, c, of, places, axes)
        return
    outer = 1 if turned == 0 else 0
    axis, rest = axes[outer], [a for k, a in enumerate(axes) if k != outer]

    def once(i: Index) -> None:
        moved = body.at(places[0], of, body.mul(i, axis.read)), body.at(places[1], of, body.mul(i, axis.write))
        _nest(body, c, of, moved, rest, None)

    begin, end = part or (0, axis.size)
    body.loop(begin, end, 1, once)


def _turned(axes: Sequence[_Axis]) -> int | None:
    """The axis that is contiguous where it is read, if the last one is so where it is written, and only there."""
    if axes[-1].write != 1 or abs(axes[-1].read) <= 1:
        return None
    return next((k for k, a in enumerate(axes[:-1]) if a.read == 1), None)


def _innermost(body: Body, c: Copies, of: str, places: tuple[str, str], axes: Sequence[_Axis]) -> None:
    source, target = places
    if len(axes) == 2:
        turn(body, of, source, target, axes[1].size, axes[0].size, (axes[1].read, axes[0].write))
        return
    axis = axes[0]

    def divided(value: str, count: int) -> str:
        if c.divisor == 1:
            return value
        by = body.spread(literal(c.divisor, of), of, count)
        return body.let(f"fdiv {vector(of, count)} {value}, {by}")

    if axis.read == 1 and axis.write == 1 and c.divisor == 1 and axis.size * BYTES[of] >= LONG_RUN:
        body.copy(target, source, axis.size * BYTES[of])
    elif axis.read == 1 and axis.write == 1:
        over(body, 0, axis.size, of, lambda i, n: body.store(divided(body.load(source, of, i, n), n), target, of, i, n))
    elif axis.read == 0 and axis.write == 1:
        value = divided(body.load(source, of, 0), 1)
        over(body, 0, axis.size, of, lambda i, n: body.store(body.spread(value, of, n), target, of, i, n))
    else:

        def one(i: Index) -> None:
            value = divided(body.load(source, of, body.mul(i, axis.read)), 1)
            body.store(value, target, of, body.mul(i, axis.write))

        body.loop(0, axis.size, 1, one)
