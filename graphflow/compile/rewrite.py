"""Rewriting by rules: one sweep over the instructions, with a table that says which rules may match which op type.

    RULES = {"Neg": (Rule("without two signs", _unsigned),)}
    program = rewritten("simplify", program, RULES)

Policy: a rule is a function `(work, instruction)`, and returns the value that the result is identical with, another
instruction in place of it, or None.  It is asked about pure instructions alone, outside atomic regions and without
control or hazard edges, and looks only through such ones: what waits for an instruction waits no less afterwards.
Shapes are concrete.  An instruction is rewritten until no rule matches; what it was made of is left to `remove_dead`.

Memory order matters to bits: sums and matrix products are computed in another order for arrays that do not lie in C
order.  A rule that removes a copy therefore asks whether what was copied is `plain`.

State: none after a sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphflow import spec
from graphflow.constants import value_hint
from graphflow.dtypes import as_dtype, int32
from graphflow.opdef import OPS, OpDef
from graphflow.program import Instruction, PassRecord, Program
from graphflow.spec import TensorSpec

Result: TypeAlias = "Instruction | int | None"
Evaluate = Callable[[Instruction, Sequence[Any]], Sequence[Any]]


class Rule(NamedTuple):
    """One rewriting."""

    became: str  # what an instruction has become, in a few words
    rewrite: Callable[[Work, Instruction], Result]


Rules: TypeAlias = Mapping[str, tuple[Rule, ...]]

# Results that lie in C order if all inputs of rank 1 or more do; every pointwise op and every reduction is one as well.
ORDERLY = frozenset(
    {"Abs", "Reshape", "ExpandDims", "Squeeze", "Concat", "Pack", "MatMul", "SumTo", "BiasAdd", "BiasAddGrad"}
)
# Results that always do.
FRESH = frozenset({"ReadVariable", "Fill", "ZerosLike", "OnesLike", "Softmax", "RandomUniform", "RandomStandardNormal"})
MATRICES = frozenset({"MatMul"})  # those of rank 2
TIRED = 16  # rewritings of one instruction


class Work:
    """A sweep: what is known before the instruction that is looked at."""

    def __init__(self, program: Program, evaluate: Evaluate | None = None, inner: bool = False) -> None:
        self.program = program
        self.evaluate = evaluate
        self.inner = inner
        self.values = list(program.values)
        self.constants = dict(program.constants)
        self.maker: dict[int, Instruction] = {}  # value -> the instruction that makes it
        self.kept: list[Instruction] = []
        self.notes: list[tuple[str, str]] = []
        self.memory: dict[int, Any] = {}  # for the rules
        self.alias: dict[int, int] = {}  # value -> the value that it is identical with
        self._instead: dict[int, int | None] = {}  # key of a dropped instruction -> key to wait for instead
        self._next_key: int | None = None
        self._plain: dict[int, bool] = dict.fromkeys(program.constants, True)
        if not inner:  # what comes from outside has been put in order; what a function is called with may be a view
            self._plain.update(dict.fromkeys(program.feeds, True))

    # -- what rules ask ----------------------------------------------------------------------------------------------

    def dims(self, v: int) -> tuple[int, ...] | None:
        """The shape of a value, if it is known."""
        dims = self.values[v].dims
        return dims if spec.is_concrete(dims) else None

    def made_by(self, v: int, *types: str) -> Instruction | None:
        """The instruction of one of these types that makes a value, if rules may look through it."""
        ins = self.maker.get(v)
        if ins is None or ins.type not in types or ins.after or ins.op.region is not None:
            return None
        return ins

    def read_now(self, values: Sequence[int]) -> tuple[int, ...]:
        """What stands for values of the program as it was before the sweep."""
        return tuple([self.alias.get(v, v) for v in values])

    def plain(self, v: int) -> bool:
        """Whether a value surely lies in C order, without gaps."""
        known = self._plain
        if v in known:
            return known[v]
        stack = [v]
        while stack:  # each value is judged once in a sweep
            top = stack[-1]
            found = self._judged(top)
            if found is None:
                ins = self.maker[top]
                stack += [x for x in self._deciding(ins, OPS[ins.type]) if x not in known]
            else:
                known[top] = found
                stack.pop()
        return known[v]

    def _judged(self, v: int) -> bool | None:
        """The same where it follows from what is known already; None if not."""
        dims = self.values[v].dims
        if dims == ():
            return True
        ins = self.maker.get(v)
        if ins is None:
            return self._plain.get(v, False)
        if ins.type in FRESH or ins.type in MATRICES and dims is not None and len(dims) == 2:
            return True
        definition = OPS[ins.type]
        if not (definition.pointwise or definition.reduces or ins.type in ORDERLY):
            return False
        inputs = self._deciding(ins, definition)
        asked = [self._plain.get(x) for x in inputs]
        return False if False in asked else None if None in asked else True

    def _deciding(self, ins: Instruction, definition: OpDef) -> Sequence[int]:
        """The inputs that have a say in how a result lies in memory."""
        return [x for x in ins.inputs if not _is_thin(self.values[x].dims)] if definition.pointwise else ins.inputs

    # -- what rules make ---------------------------------------------------------------------------------------------

    def constant(self, value: Any) -> int:
        """A new value, known now."""
        array = np.asarray(value)
        dtype = as_dtype(array.dtype)
        self.values.append(TensorSpec(dtype, array.shape, value_hint(array) if dtype.is_integer else None))
        v = len(self.values) - 1
        if array.ndim:
            array.flags.writeable = False
        self.constants[v] = array if array.ndim else array[()]
        self._plain[v] = True
        return v

    def shape(self, dims: Sequence[int]) -> int:
        """A shape as a constant."""
        return self.constant(np.array(dims, int32.np))

    def fresh_key(self) -> int:
        """A key that no instruction has."""
        if self._next_key is None:
            self._next_key = max([ins.key for ins in self.program.instructions], default=0)
        self._next_key += 1
        return self._next_key

    def emit(self, like: Instruction, type: str, inputs: tuple[int, ...], **attrs: Any) -> int:
        """The value of a new instruction before the one that is looked at; computed now if that is possible."""
        known = OPS[type].infer(*[self.values[v] for v in inputs], **attrs)
        assert isinstance(known, TensorSpec)
        if self.evaluate is not None and all(v in self.constants for v in inputs):
            made = Instruction(-1, type, inputs, (-1,), attrs, (), like.op)
            return self.constant(self.evaluate(made, [self.constants[v] for v in inputs])[0])
        self.values.append(known)
        out = len(self.values) - 1
        self.keep(Instruction(self.fresh_key(), type, inputs, (out,), attrs, (), like.op))
        return out

    def keep(self, ins: Instruction) -> None:
        """The next instruction of the result."""
        self.kept.append(ins)
        for v in ins.outputs:
            self.maker[v] = ins

    # -- the sweep ---------------------------------------------------------------------------------------------------

    def current(self, ins: Instruction) -> Instruction:
        """The instruction, reading and awaiting what is there now."""
        alias = self.alias
        for v in ins.inputs:
            if v in alias:
                ins = ins._replace(inputs=tuple([alias.get(v, v) for v in ins.inputs]))
                break
        if ins.after:
            mapped = [self._instead.get(k, k) for k in ins.after]
            ins = ins._replace(after=tuple(dict.fromkeys(k for k in mapped if k is not None)))
        return ins

    def rewrite(self, ins: Instruction, rule: Rule, found: Result, table: Rules) -> None:
        """Do what a rule has found, and whatever then can be done; keep the instruction if it is still one."""
        for _ in range(TIRED):
            if type(found) is not int:
                ins = found  # type: ignore[assignment]
            elif not self.identical(ins, found):
                break
            self.notes.append((ins.op.name, rule.became))
            if type(found) is int:
                return
            for rule in table.get(ins.type, ()):
                found = rule.rewrite(self, ins)
                if found is not None:
                    break
            else:
                break
        self.keep(ins)

    def identical(self, ins: Instruction, x: int) -> bool:
        """Let everybody read `x` instead of the instruction's result, if it has the same dtype and shape."""
        v = ins.outputs[0]
        if self.values[v][:2] != self.values[x][:2] or self.dims(x) is None:
            return False
        self.alias[v] = x
        maker = self.maker.get(x)
        self._instead[ins.key] = None if maker is None else maker.key
        return True

    def finish(self, name: str) -> Program:
        """The program after the sweep."""
        alias = self.alias
        if not self.notes:
            return self.program.with_record(PassRecord(name))
        return self.program.with_record(
            PassRecord(name, rewritten=tuple(self.notes)),
            instructions=tuple(self.kept),
            values=tuple(self.values),
            constants=self.constants,
            fetches=tuple([alias.get(v, v) for v in self.program.fetches]),
        )


def rewritten(
    name: str,
    program: Program,
    table: Rules,
    evaluate: Evaluate | None = None,
    inner: bool = False,
    scalars: bool = True,
) -> Program:
    """The program after one sweep with these rules; `inner` if it is that of a function.

    Without `scalars` the rules are not asked about instructions that compute a scalar.
    """
    values = program.values
    if not any(ins.type in table and (scalars or values[ins.outputs[0]].dims != ()) for ins in program.instructions):
        return program.with_record(PassRecord(name))
    work = Work(program, evaluate, inner)
    find, alias, kept, maker = table.get, work.alias, work.kept, work.maker
    for ins in program.instructions:
        if alias:
            ins = work.current(ins)
        rules = find(ins.type)
        if rules is not None and not ins.after and ins.op.region is None:
            v = ins.outputs[0]
            if v >= 0 and (scalars or values[v].dims != ()):
                found = None
                for rule in rules:
                    found = rule.rewrite(work, ins)
                    if found is not None:
                        break
                if found is not None:
                    work.rewrite(ins, rule, found, table)
                    continue
        kept.append(ins)
        for v in ins.outputs:
            maker[v] = ins
    return work.finish(name)


def _is_thin(dims: spec.Dims) -> bool:
    """Whether a tensor extends along one axis at most, so that it has no say in the order of what is made of it."""
    return dims is not None and len(dims) - dims.count(1) <= 1


def volume(dims: Sequence[int] | None) -> int:
    """The number of elements; 0 where the shape is not known."""
    return 0 if dims is None else spec.numel(dims)
