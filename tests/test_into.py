"""Kernels that write into given memory give the bits of the plain ones, over every instruction of tests/cases.

Each row's graph and its gradients are evaluated op by op, and each kernel on the way is asked three more times: into
memory full of rubbish, into the buffer of each input that it says may be the result, and fitted to its instruction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from graphflow_numpy.execution import NumpyBackend
from graphflow_numpy.table import TABLE, fitted

from graphflow.compile.pipeline import Options, compile_graph
from graphflow.constants import convert_to_tensor
from graphflow.errors import Error, UnimplementedError
from graphflow.gradients import gradients
from graphflow.opdef import OPS
from graphflow.program import Instruction, Program
from graphflow.testing import OpCase, evaluate_program
from graphflow.testing.forward import Built
from graphflow.testing.numeric import layouts, same_bits
from tests.cases import CASES

LAYOUTS = ("C", "Fortran order", "negative strides", "every second element")
LARGE = 67, 129
SEEN: Counter[str] = Counter()  # types whose `into` was called
FITTED: Counter[str] = Counter()
IN_PLACE: Counter[str] = Counter()
TO_BOOL = {"IsNan", "IsInf", "IsFinite", "Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual"}


def exact(a: Any, b: Any) -> bool:
    """The same dtype, shape and bytes, signs of zeros and of NaNs apart from nothing."""
    return same_bits(a, b)


def rubbish(like: Any) -> Any:
    """Memory that no kernel may rely on."""
    out = np.empty(like.shape, like.dtype)
    out.reshape(-1).view("u1")[:] = 0xA5
    return out


def is_memory(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim > 0 and value.dtype != object


class Comparing:
    """Evaluates with the plain kernel and compares all others with it."""

    def __init__(self, program: Program, enlarge: bool) -> None:
        self.program = program
        self.enlarge = enlarge

    def evaluate(self, ins: Instruction, inputs: Sequence[Any]) -> Sequence[Any]:
        row = TABLE.get(ins.type)
        if row is None or row.bound or row.needs_run:
            raise UnimplementedError(f"{ins.type} needs a session")
        with np.errstate(all="ignore"):
            plain = row.function(*inputs, **ins.attrs)
            results = plain if isinstance(plain, tuple) else (plain,)
            kernels = {"row": (row.function, row.into, row.inplace, ins.attrs)}
            if row.fit is not None:
                kernels["fitted"] = (*fitted(row, ins, self.program.values), {})
                FITTED[ins.type] += 1
            for name, (function, into, inplace, attrs) in kernels.items():
                again = function(*inputs, **attrs)
                self._same(f"{name}", ins, inputs, again if isinstance(again, tuple) else (again,), results)
                if into is not None and all(is_memory(r) for r in results):
                    self._into(name, ins, inputs, results, (function, into, inplace, attrs))
            pointwise = row.into is not None and OPS[ins.type].pointwise and is_memory(results[0])
            if self.enlarge and pointwise and {np.shape(x) for x in inputs} <= {results[0].shape, ()}:
                self._large(ins, inputs)
        return results

    def _into(self, name: str, ins: Instruction, inputs: Sequence[Any], results: Any, kernel: tuple[Any, ...]) -> None:
        function, into, inplace, attrs = kernel
        before = [np.copy(x) for x in inputs]
        outs = [rubbish(r) for r in results]
        into(*inputs, *outs, **attrs)
        self._same(f"{name} into", ins, inputs, outs, results)
        self._same(f"{name} into changed an input of", ins, inputs, inputs, before)
        SEEN[ins.type] += 1
        for i in inplace:
            x = inputs[i] if i < len(inputs) else None
            if len(results) == 1 and is_memory(x) and x.shape == results[0].shape and x.dtype == results[0].dtype:
                out = np.array(x, order="C")
                given = [out if y is x else y for y in inputs]
                wanted = function(*given, **attrs)  # NumPy rounds some functions otherwise for negative strides
                into(*given, out, **attrs)
                self._same(f"{name} in place of input {i}", ins, given, [out], [wanted])
                IN_PLACE[ins.type] += 1

    def _large(self, ins: Instruction, inputs: Sequence[Any]) -> None:
        """The same for a pointwise kernel on arrays for which NumPy takes its wide paths."""
        row = TABLE[ins.type]
        for order in ("C", "F"):
            wide = [np.array(np.resize(x, LARGE), order=order) if np.shape(x) else x for x in inputs]
            results = (row.function(*wide, **ins.attrs),)
            self._into(f"large {order}", ins, wide, results, (row.function, row.into, row.inplace, ins.attrs))
            if row.fit is not None:
                unknown = [v._replace(dims=None, hint=None) for v in self.program.values]
                self._into(f"large {order} fitted", ins, wide, results, (*fitted(row, ins, unknown), {}))

    def _same(self, what: str, ins: Instruction, inputs: Sequence[Any], got: Any, wanted: Any) -> None:
        for a, b in zip(got, wanted, strict=True):
            shown = [(getattr(x, "shape", ()), getattr(x, "strides", ())) for x in inputs]
            assert exact(a, b), f"{what} {ins.type} {ins.attrs} of {shown}:\n{a}\n{b}"


def lowered(case: OpCase, dtype: str) -> tuple[list[Any], Program]:
    """The row's inputs, and the program of its outputs and of their gradients."""
    built = Built(case, case.arrays(dtype))
    with built.graph.as_default():
        floats = [y for y in built.outputs if y.dtype.kind in ("float", "complex")]
        xs = [built.inputs[i] for i in case.wanted]
        try:
            dxs = [convert_to_tensor(g) for g in gradients(floats, xs) if g is not None] if floats and xs else []
        except (Error, LookupError):
            dxs = []
        dims = [a.shape for a in built.arrays]
        options = Options(0)
        fetches = [*built.outputs, *dxs]
        program = compile_graph(fetches, [], built.inputs, dims, NumpyBackend().evaluate, options)
        return built.arrays, program


def check(case: OpCase, dtype: str) -> None:
    arrays, program = lowered(case, dtype)
    for layout in LAYOUTS:
        laid = [layouts(a).get(layout, a) for a in arrays]
        values = [a if a.ndim or a.dtype == object else a[()] for a in laid]
        try:
            evaluate_program(program, values, Comparing(program, layout == "C"))  # type: ignore[arg-type]
        except UnimplementedError:
            return  # variables, loops, random numbers: their kernels are bound to a session


def test_into_and_fitted_kernels_give_the_bits_of_the_plain_one() -> None:
    """All rows in one test, because at the end every kernel that has `into` must have been seen."""
    problems = []
    for case in CASES:
        for dtype in dict.fromkeys(("float32", *case.dtypes)):
            try:
                check(case, dtype)
            except AssertionError as error:
                problems.append(f"{case} [{dtype}]: {error}")
    assert not problems, "\n".join(problems)
    assert not {name for name, row in TABLE.items() if row.into is not None} - set(SEEN)
    assert not {n for n, row in TABLE.items() if row.fit is not None and n in SEEN} - set(FITTED)
    assert not {name for name, row in TABLE.items() if row.inplace} - set(IN_PLACE) - TO_BOOL
