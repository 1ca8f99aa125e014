"""Specialise: the shapes of the feeds are known now, so infer again, fold what became constant, drop no-ops.

Policy: exact.  A kernel of the reference backend computes each folded value, so folding changes no bit; the size of
what is folded is capped; an op that fails while folding is left to fail when it is run, with its own name.
An instruction with control or hazard edges is never folded or dropped.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow import spec
from graphflow.constants import value_hint
from graphflow.errors import Error, InvalidArgumentError
from graphflow.opdef import OPS, OpDef
from graphflow.program import Instruction, PassRecord, Program
from graphflow.spec import TensorSpec

MAX_BYTES = 1 << 20
MAX_GROWTH = 8
Evaluate = Callable[[Instruction, Sequence[Any]], Sequence[Any]]


def specialise(program: Program, evaluate: Evaluate, doubted: frozenset[int] = frozenset()) -> Program:
    """Forward over the instructions once.

    `doubted` are fed values that the graph thought it knew (a constant, a shape): what inference concluded from them
    while building does not hold, so it is not merged with what is concluded now.
    """
    work = _Specialiser(program, evaluate, doubted)
    fresh, constants, kept, alias = work.fresh, work.constants, work.kept, work.alias
    for ins in program.instructions:
        inputs = ins.inputs
        if (  # most instructions of a large graph: nothing new is known of their inputs
            inputs
            and inputs[0] not in constants
            and (d := OPS[ins.type]).pure
            and not (d.known_value or d.noop or alias or doubted or ins.after)
            and fresh.isdisjoint(inputs)
        ):
            kept.append(ins)
        else:
            work.visit(ins)
    return work.finish()


class _Specialiser:
    def __init__(self, program: Program, evaluate: Evaluate, doubted: frozenset[int]) -> None:
        self.doubted = set(doubted)
        self.program = program
        self.evaluate = evaluate
        self.values = list(program.values)
        self.constants = dict(program.constants)
        self.kept: list[Instruction] = []
        self.alias: dict[int, int] = {}  # value -> the value it is identical with
        self.replaced: dict[int, int | None] = {}  # key of a dropped instruction -> key to wait for instead
        self.folded: list[str] = []
        self.removed: list[str] = []
        self._producer: dict[int, int] = {}
        self._noted = 0  # of how many kept instructions the outputs are in there
        self.fresh = set(program.feeds)  # values whose specs differ from what the graph knew

    def visit(self, ins: Instruction) -> None:
        definition = OPS[ins.type]
        if self.alias:
            inputs = tuple([self.alias.get(i, i) for i in ins.inputs])
            if inputs != ins.inputs:
                ins = ins._replace(inputs=inputs)
        if self.replaced and ins.after:
            mapped = [self.replaced.get(k, k) for k in ins.after]
            ins = ins._replace(after=tuple(dict.fromkeys(k for k in mapped if k is not None)))
        in_doubt = bool(self.doubted) and not self.doubted.isdisjoint(ins.inputs)
        if in_doubt or not self.fresh.isdisjoint(ins.inputs):
            self._infer(definition, ins, in_doubt)
        pure = definition.pure and not ins.after
        if pure and (self._known(definition, ins) or self._fold(ins) or definition.noop and self._drop(ins)):
            return
        self.kept.append(ins)

    def _maker(self, v: int) -> int | None:
        """The key of the kept instruction that makes a value."""
        for ins in self.kept[self._noted :]:
            self._producer.update(dict.fromkeys(ins.outputs, ins.key))
        self._noted = len(self.kept)
        return self._producer.get(v)

    def _infer(self, definition: OpDef, ins: Instruction, in_doubt: bool) -> None:
        """Infer again from what is known now; refine, never contradict, unless what was known is in doubt."""
        try:
            known = definition.infer(*[self.values[i] for i in ins.inputs], **ins.attrs)
        except Error as error:
            error.summary = f"{ins.type}: {error.summary}"
            raise error.attach(ins.op) from None
        except Exception as error:
            raise InvalidArgumentError(f"{ins.type}: {error}", op=ins.op) from error
        specs = (known,) if type(known) is TensorSpec else known
        for v, found in zip(ins.outputs, specs, strict=False):
            if v >= 0 and in_doubt:
                self.doubted.add(v)
                self.fresh.add(v)
                self.values[v] = found._replace(dims=None) if definition.control_flow else found
                continue
            if v < 0 or found == self.values[v]:
                continue
            try:
                dims = spec.merge(self.values[v].dims, found.dims)
            except Error as error:
                error.hint = "the shape given to set_shape() does not hold for these feeds"
                raise error.attach(ins.op) from None
            self.values[v] = TensorSpec(
                found.dtype, dims, found.hint if found.hint is not None else self.values[v].hint
            )
            self.fresh.add(v)

    def _set(self, v: int, value: Any) -> None:
        if v >= 0:
            self.constants[v] = value
            dtype = self.values[v].dtype
            new = TensorSpec(dtype, np.shape(value), value_hint(value) if dtype.is_integer else None)
            if new != self.values[v]:
                self.values[v] = new
            self.fresh.add(v)

    def _known(self, definition: OpDef, ins: Instruction) -> bool:
        """An op whose value follows from specs alone (tf.shape)."""
        if definition.known_value is None:
            return False
        value = definition.known_value(*[self.values[i] for i in ins.inputs], **ins.attrs)
        if value is None:
            return False
        self._set(ins.outputs[0], value)
        self._forget(ins, None)
        return True

    def _fold(self, ins: Instruction) -> bool:
        constants = self.constants
        for i in ins.inputs:
            if i not in constants:
                return False
        if not ins.inputs:
            return False
        size = sum(_nbytes(constants[i]) for i in ins.inputs)
        limit = min(MAX_BYTES, max(1024, MAX_GROWTH * size))
        for v in ins.outputs:
            known = self.values[v]
            if v >= 0 and known.dims is not None and None not in known.dims:
                if spec.numel([d or 0 for d in known.dims]) * known.dtype.size > limit:
                    return False
            elif v >= 0 and known.dims is None or v >= 0 and size > 4096:
                return False
        try:
            results = self.evaluate(ins, [constants[i] for i in ins.inputs])
        except Exception:
            return False
        if any(type(r) is bytes or _nbytes(r) > limit or _is_reordered(r) for r in results):  # text is cheap as it is
            return False
        for v, result in zip(ins.outputs, results, strict=True):
            self._set(v, _frozen(result))
        self._forget(ins, None)
        return True

    def _drop(self, ins: Instruction) -> bool:
        """The identity: its output is its first input."""
        v, x = ins.outputs[0], ins.inputs[0]
        if v < 0 or self.values[v][:2] != self.values[x][:2] or not spec.is_concrete(self.values[v].dims):
            return False
        self.alias[v] = x
        self.replaced[ins.key] = self._maker(x)
        self.removed.append(ins.op.name)
        return True

    def _forget(self, ins: Instruction, instead: int | None) -> None:
        self.replaced[ins.key] = instead
        self.folded.append(ins.op.name)

    def finish(self) -> Program:
        alias = self.alias
        return self.program.with_record(
            PassRecord("specialise", removed=tuple(self.removed), folded=tuple(self.folded)),
            instructions=tuple(self.kept),
            values=tuple(self.values),
            constants=self.constants,
            fetches=tuple(alias.get(v, v) for v in self.program.fetches),
        )


def _nbytes(value: Any) -> int:
    return int(getattr(value, "nbytes", 0))


def _is_reordered(value: Any) -> bool:
    """Whether it is a view that lies in another order: a copy of it would be summed and multiplied in another one."""
    return value.ndim > 1 and not value.flags.c_contiguous


def _frozen(value: Any) -> Any:
    """The folded value as a constant: a NumPy scalar, or an array of its own that nobody can write."""
    if value.ndim == 0 and value.dtype != object:
        return value[()]
    own = np.array(value, order="C")
    own.flags.writeable = False
    return own
