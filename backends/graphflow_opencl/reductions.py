"""Kernels of the reductions, and of their gradients.

Policy: each is a pass of `fused` with few steps or none, so sizes, parts and accumulators are chosen in one place.  The
gradient of a maximum counts the largest elements first, and shares the gradient among them afterwards.

State: none.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from graphflow import spec
from graphflow.dtypes import DType, bool_, float32
from graphflow.program import Instruction
from graphflow_opencl.bodies import Read, Work
from graphflow_opencl.folds import REDUCTIONS, Fold, fold_of
from graphflow_opencl.fused import launches_of
from graphflow_opencl.registers import held
from graphflow_opencl.table import Launch, Scratch, Site, rule

Dims = tuple[int, ...]


def _step(site: Site, type: str, inputs: Sequence[int], output: int, **attrs: Any) -> Instruction:
    """A pointwise step of a kernel of several."""
    return Instruction(site.ins.key, type, tuple(inputs), (output,), attrs, (), site.ins.op)


def _reads(site: Site, count: int, dims: Mapping[int, Dims] | None = None) -> dict[int, Read] | None:
    """The first inputs, some of them seen with other dims; None if one is nothing for a kernel."""
    out = {}
    for i in range(count):
        known = site.inputs[i]
        if not held(known.dtype) or known.dtype.name == "float64" and not site.traits.doubles:
            return None
        out[site.ins.inputs[i]] = Read(site.ins.inputs[i], known.dtype, (dims or {}).get(i, site.dims_in(i)))
    return out


def _dtypes(reads: Mapping[int, Read]) -> dict[int, DType]:
    return {v: read.dtype for v, read in reads.items()}


def _kept(dims: Dims, axis: Sequence[int] | None) -> Dims:
    kept = spec.reduced(dims, axis, True)
    assert spec.is_concrete(kept)
    return kept


def _reduced(site: Site, type: str, axis: Sequence[int] | None) -> Sequence[Launch] | None:
    """The first input over some of its axes."""
    reads, dims, output = _reads(site, 1), site.dims_in(), site.outputs[0]
    if reads is None or output is None:
        return None
    v = site.ins.inputs[0]
    fold = fold_of(type, v, site.inputs[0].dtype, dims, axis, site.ins.outputs[0], output.dtype)
    if fold is None:
        return None
    return launches_of(Work(dims, reads, (), _dtypes(reads), (), (fold,), site.ins.type), site.traits)


@rule(*REDUCTIONS)
def _(site: Site) -> Sequence[Launch] | None:
    return _reduced(site, site.ins.type, site.attrs["axis"])


@rule("BiasAddGrad")
def _(site: Site) -> Sequence[Launch] | None:
    rank = len(site.dims_in())
    axes = range(rank - 1) if site.attrs["channels"] == "last" else (0, *range(2, rank))
    return _reduced(site, "Sum", tuple(axes))


@rule("SumTo")
def _(site: Site) -> Sequence[Launch] | None:
    own, wanted = site.dims_in(), site.dims_out()
    lead = len(own) - len(wanted)
    axes = tuple(i for i in range(len(own)) if i < lead or own[i] != wanted[i - lead])
    return _reduced(site, "Sum", axes)


@rule("L2Loss")
def _(site: Site) -> Sequence[Launch] | None:
    reads, dims, output = _reads(site, 1), site.dims_in(), site.outputs[0]
    if reads is None or output is None:
        return None
    (v,) = reads
    square = _step(site, "Square", (v,), -1)
    fold = fold_of("Sum", -1, output.dtype, dims, None, site.ins.outputs[0], output.dtype)
    assert fold is not None
    dtypes = {**_dtypes(reads), -1: output.dtype}
    half = fold._replace(divisor=2)
    return launches_of(Work(dims, reads, (square,), dtypes, (), (half,), "L2Loss"), site.traits)


@rule("Spread")
def _(site: Site) -> Sequence[Launch] | None:
    output, dims = site.outputs[0], site.dims_out()
    assert output is not None
    kept = _kept(dims, site.attrs["axis"])
    reads = _reads(site, 1, {0: kept})
    if reads is None:
        return None
    (v,) = reads
    last = site.ins.outputs[0]
    type, inputs = "Identity", [v]
    if site.attrs["mean"]:
        if not output.dtype.is_floating:
            return None
        count = spec.numel(dims) // max(1, spec.numel(kept))
        reads[-1] = Read(None, output.dtype, (), count)
        type, inputs = "RealDiv", [v, -1]
    dtypes = {**_dtypes(reads), last: output.dtype}
    step = _step(site, type, inputs, last)
    return launches_of(Work(dims, reads, (step,), dtypes, ((last, last),), (), "Spread"), site.traits)


@rule("ExtremumGrad")
def _(site: Site) -> Sequence[Launch] | None:
    dims, output, axis = site.dims_in(), site.outputs[0], site.attrs["axis"]
    if output is None or not output.dtype.is_floating:
        return None
    kept = _kept(dims, axis)
    reads = _reads(site, 3, {1: kept, 2: kept})
    if reads is None or len(reads) < 3:
        return None
    x, y, dy = reads
    counter = float32 if output.dtype.size == 2 else output.dtype
    chosen, one = _step(site, "Equal", (x, y), -1), _step(site, "Cast", (-1,), -2, dtype=counter)
    counts = Scratch(1000, spec.numel(kept) * counter.size)
    dtypes = {**_dtypes(reads), -1: bool_, -2: counter, -3: counter, -4: counter, -5: counter, -6: output.dtype}
    fold = Fold("Sum", -2, kept, counts, counter, counter)
    first = Work(dims, reads, (chosen, one), dtypes, (), (fold,), "ExtremumGrad counts").needed()
    last = site.ins.outputs[0]
    dtypes[last] = output.dtype
    steps = (
        _step(site, "Cast", (dy,), -4, dtype=counter),
        _step(site, "RealDiv", (-4, -3), -5),
        _step(site, "Cast", (-5,), -6, dtype=output.dtype),
        chosen,
        _step(site, "ZeroUnless", (-1, -6), last, holds=True),
    )
    known = {**reads, -3: Read(counts, counter, kept)}
    second = Work(dims, known, steps, dtypes, ((last, last),), (), "ExtremumGrad")
    made = [found for work in (first, second) if (found := launches_of(work, site.traits)) is not None]
    return list(itertools.chain.from_iterable(made)) if len(made) == 2 else None
