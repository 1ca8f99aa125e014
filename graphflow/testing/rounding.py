"""How far a result may be off if every op may round differently: the bound that O2 is held to.

Policy.  The rule, for each element of each result:

    w        what O0 computes, in the dtypes of the graph
    p_k      what O0 computes when the result of every inexact instruction is multiplied by 1 ± ULPS * eps, signs at
             random, and so is what sums (`SUMS`) read, for the error of a sum is relative to its terms; where the last
             step of a kernel is a difference of numbers of size one (`DIFFERENCES`), ULPS * eps is added or taken away:
             `SAMPLES` such runs
    decided  w and all p_k agree in what is no size: the integer, the boolean, NaN, infinity with its sign
    bound    SAFETY * max_k |p_k - w|  +  ULPS * eps * |w|  +  the smallest normal number

The last term lets O2 flush, or keep, what is below the normal numbers.  An undecided element hangs on how a comparison
or an overflow was rounded and is not judged; a decided one that is not finite must be the same, one that is finite must
be within the bound.  So the bound knows the magnitudes on the way (cancellation lets the p_k spread), and no tolerance
is chosen by hand: what passes moved no more than ops that are `ULPS` ulp off would have moved it.  Ops that only move
or choose values are exact at any level and get no noise; inside branches and loops ops get theirs, too.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec
from graphflow.testing.differential import REFERENCE, Outcome, Rewrite, Way, outcomes
from graphflow.testing.recipes import Array, Built, Recipe

ULPS = 8.0
SAMPLES = 10
SAFETY = 2.0
EXACT = frozenset({
    "Abs", "ArgMax", "ArgMin", "Assign", "BroadcastTo", "Concat", "Const", "ExpandDims",
    "Fill", "Gather", "Identity", "If", "Max", "Maximum", "Min", "Minimum", "Neg", "OneHot", "OnesLike", "Pack", "Pad",
    "Placeholder", "ReadVariable", "Relu", "Reshape", "Reverse", "Roll", "Select", "Shape", "Sign", "Slice", "Sort",
    "Split", "Squeeze", "StopGradient", "StridedSlice", "Tile", "TopK", "Transpose", "Unpack", "VariableHandle",
    "While", "ZeroUnless", "ZerosLike",
})  # fmt: skip
SUMS = frozenset({
    "Add", "AddN", "AvgPool", "AvgPoolGrad", "BiasAdd", "BiasAddGrad", "Conv2D", "Conv2DBackpropFilter",
    "Conv2DBackpropInput", "Cumsum", "Einsum", "GatherGrad", "L2Loss", "LinearRecurrence", "MatMul", "Mean", "Sub",
    "Sum", "SumTo", "TanhGrad", "UnsortedSegmentSum",
})  # fmt: skip
DIFFERENCES = frozenset({"LogSoftmax", "SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"})


class Judgement(NamedTuple):
    """What became of a comparison."""

    problem: str | None
    decided: int  # elements
    undecided: int


def noisy(seed: int) -> Rewrite:
    """A rewriting that puts noise where instructions round."""

    def rewrite(program: Program) -> Program:
        return _Noise(program, np.random.default_rng(seed)).program()

    return rewrite


class _Noise:
    """A Program while instructions that make noise are put between its own."""

    def __init__(self, program: Program, rng: np.random.Generator) -> None:
        self._program = program
        self._rng = rng
        self._values, self._constants = list(program.values), dict(program.constants)
        self._instructions: list[Instruction] = []
        self._key = -1 - max((ins.key for ins in program.instructions), default=0)

    def program(self) -> Program:
        """The changed program."""
        renamed: dict[int, int] = {}
        for ins in self._program.instructions:
            inputs = [renamed.get(v, v) for v in ins.inputs]
            if ins.type in SUMS:
                inputs = [self._shaken(ins, v, "Mul", 1.0) for v in inputs]
            self._instructions.append(ins._replace(inputs=tuple(inputs)))
            for v in () if ins.type in EXACT else ins.outputs:
                if v >= 0:
                    renamed[v] = self._shaken(ins, v, "Mul", 1.0)
                    if ins.type in DIFFERENCES:
                        renamed[v] = self._shaken(ins, renamed[v], "Add", 0.0)
        return replace(
            self._program,
            instructions=tuple(self._instructions),
            values=tuple(self._values),
            constants=self._constants,
            fetches=tuple(renamed.get(v, v) for v in self._program.fetches),
        )

    def _shaken(self, ins: Instruction, v: int, kind: str, start: float) -> int:
        """A new value: v combined with start ± ULPS * eps."""
        known = self._values[v]
        if not known.dtype.is_floating:
            return v
        noise = len(self._values)
        self._constants[noise] = _noise(self._rng, known, start)
        self._values += [known._replace(dims=np.shape(self._constants[noise]), hint=None), known]
        self._instructions.append(Instruction(self._key, kind, (v, noise), (noise + 1,), {}, (), ins.op))
        self._key -= 1
        return noise + 1


def _noise(rng: np.random.Generator, known: TensorSpec, start: float) -> Any:
    """start ± ULPS * eps for each element, or for all where the shape is not known."""
    dtype = known.dtype.np
    dims = known.dims if known.dims is not None and None not in known.dims else ()
    signs = rng.integers(0, 2, dims) * 2.0 - 1.0  # type: ignore[arg-type]
    found = (start + signs * ULPS * float(np.finfo(dtype).eps)).astype(dtype)
    return found if dims else dtype.type(found)


def samples(recipe: Recipe, built: Built, runs: int = 3, count: int = SAMPLES) -> list[list[Outcome]]:
    """The perturbed runs."""
    return [outcomes(recipe, built, Way(level=0, rewrite=noisy(k)), runs) for k in range(count)]


def judge(recipe: Recipe, built: Built, way: Way, runs: int = 3, count: int = SAMPLES) -> Judgement:
    """Whether a way gives results within the bound."""
    wanted = outcomes(recipe, built, REFERENCE, runs)
    got = outcomes(recipe, built, way, runs)
    spread = samples(recipe, built, runs, count)
    decided = undecided = 0
    for run, (a, b) in enumerate(zip(wanted, got, strict=False)):
        here = [sample[run] for sample in spread if len(sample) > run]
        if len(here) < len(spread) or any(s.error != a.error for s in here):
            break  # whether it fails hangs on rounding
        if a.error != b.error:
            return Judgement(f"run {run}: the error is {b.error}, not {a.error}", decided, undecided)
        for kind in ("values", "variables"):
            for place, (w, x) in enumerate(zip(getattr(a, kind), getattr(b, kind), strict=True)):
                if w is None:
                    continue
                problem, known, unknown = within(w, x, [getattr(s, kind)[place] for s in here])
                decided, undecided = decided + known, undecided + unknown
                if problem is not None:
                    return Judgement(f"run {run}, {kind} {place}: {problem}", decided, undecided)
    return Judgement(None, decided, undecided)


def within(wanted: Any, got: Any, perturbed: Sequence[Any]) -> tuple[str | None, int, int]:
    """The rule for one array: a problem, and how many elements are decided and undecided."""
    w, x, ps = np.asarray(wanted), np.asarray(got), [np.asarray(p) for p in perturbed]
    if any(p.shape != w.shape for p in ps):
        return None, 0, w.size
    if w.dtype != x.dtype or w.shape != x.shape:
        return f"got {x.dtype}{list(x.shape)}, not {w.dtype}{list(w.shape)}", w.size, 0
    floating = w.dtype.kind == "f"
    kinds = [_kind(a) if floating else a for a in (w, x, *ps)]
    decided = np.logical_and.reduce([k == kinds[0] for k in kinds[2:]])
    wrong = decided & (kinds[1] != kinds[0])
    if floating:
        info = np.finfo(w.dtype)
        finite = decided & np.isfinite(w)
        with np.errstate(all="ignore"):
            spread = np.max([np.abs(p.astype(np.float64) - w) for p in ps], axis=0)
            size = np.abs(w.astype(np.float64))
            bound = SAFETY * spread + ULPS * float(info.eps) * size + float(info.tiny)
            wrong |= finite & (np.abs(x.astype(np.float64) - w) > bound)
    known = int(np.count_nonzero(decided))
    if not wrong.any():
        return None, known, w.size - known
    at = np.unravel_index(int(np.argmax(wrong)), w.shape)
    limit = f", the bound is {bound[at]:.3g} off" if floating else ""
    places = f"{np.count_nonzero(wrong)} of {w.size} elements are off; at {[int(i) for i in at]}"
    return f"{places} got {x[at]!r}, not {w[at]!r}{limit}", known, w.size - known


def _kind(a: Array) -> Array:
    """0 for finite numbers, else which of the others."""
    return np.where(np.isnan(a), 2, np.where(np.isinf(a), np.sign(a), 0))
