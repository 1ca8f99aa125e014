"""Kernels that write into given memory give the bits of the plain ones, over every instruction of tests/cases.

Each row's graph and its gradients are evaluated op by op, and each kernel on the way is asked three more times: into
memory full of rubbish, into the buffer of each input that it says may be the result, and fitted to its instruction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from graphflow_numpy.execution import NumpyBackend
from graphflow_numpy.table import TABLE, fitted

from graphflow.compile.pipeline import Options, compile_graph
from graphflow.constants import convert_to_tensor
from graphflow.dtypes import as_dtype
from graphflow.errors import Error, UnimplementedError
from graphflow.gradients import gradients
from graphflow.opdef import OPS
from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec
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


def exact_bits(a: Any, b: Any) -> bool:
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
            assert exact_bits(a, b), f"{what} {ins.type} {ins.attrs} of {shown}:\n{a}\n{b}"


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


SUMS: list[tuple[tuple[int, ...], Any]] = [
    ((32, 20), (0,)), ((32, 1), (0,)), ((4, 5, 3, 7), (0,)), ((4, 5, 3, 7), (0, 1)), ((24, 48), None), ((1, 9), (0,)),
    ((128, 256), (0,)), ((64, 14, 14, 33), (0, 1, 2)), ((20001, 3), (0,)), ((3, 5000), (0,)), ((64, 64), (1,)),
    ((300, 40), None), ((0, 4), (0,)), ((4, 0), (0,)), ((30, 7), (1,)), ((5, 6, 7), (0, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axis"), SUMS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "complex64"])
def test_sums_have_the_same_bits_in_every_layout_and_are_right(shape: Any, axis: Any, dtype: str) -> None:
    values = np.random.default_rng(7).integers(-500, 500, shape) / 64
    x = values.astype(dtype)
    for keepdims in (False, True):
        row = TABLE["Sum"]
        plain = np.asarray(row.function(x, axis=axis, keepdims=keepdims))
        wide = x.astype(np.complex128 if dtype == "complex64" else np.float64)
        exact = wide.sum(axis, keepdims=keepdims).astype(plain.dtype)
        size = np.abs(wide).sum() / max(1, plain.size)
        assert plain.shape == exact.shape
        assert np.abs(plain - exact).max(initial=0) <= (2e-3 if dtype == "float16" else 2e-6) * size
        for laid in layouts(x).values():
            if laid.dtype == x.dtype:
                assert exact_bits(row.function(laid, axis=axis, keepdims=keepdims), plain)
        if plain.ndim:
            out = rubbish(plain)
            row.into(x, out, axis=axis, keepdims=keepdims)  # type: ignore[misc]
            assert exact_bits(out, plain)
        known = TensorSpec(as_dtype(dtype), shape)
        found = row.fit({"axis": axis, "keepdims": keepdims}, [known], [None])  # type: ignore[misc]
        if found is not None:
            assert exact_bits(found.function(x), plain)
            if plain.ndim:
                out = rubbish(plain)
                found.into(x, out)
                assert exact_bits(out, plain)


def test_large_activations_and_biases_have_the_bits_of_the_small_ones() -> None:
    x = np.random.default_rng(3).standard_normal((37, 29, 11)).astype(np.float32)
    x.reshape(-1)[::7] = 0.0
    x.reshape(-1)[::13] = -0.0
    x.reshape(-1)[::17] = np.nan
    bias = np.random.default_rng(4).standard_normal(11).astype(np.float32)
    for name, inputs, attrs in (("Relu", [x], {}), ("BiasAdd", [x, bias], {"channels": "last"})):
        out = np.empty_like(x)
        TABLE[name].into(*inputs, out, **attrs)  # type: ignore[misc]
        assert exact_bits(out, TABLE[name].function(*inputs, **attrs))
        for i in range(len(x)):
            assert exact_bits(out[i], TABLE[name].function(x[i], *inputs[1:], **attrs))


@pytest.mark.parametrize("shape", [(40, 60), (48, 48), (200, 150), (1, 5), (5, 1)])
@pytest.mark.parametrize("turns", [(False, True), (True, False), (False, False), (True, True)])
def test_products_of_one_array_with_itself_have_the_bits_of_any_other_product(
    shape: tuple[int, int], turns: tuple[bool, bool]
) -> None:
    arena = np.random.default_rng(5).standard_normal(2 * shape[0] * shape[1]).astype(np.float32)
    view = arena[3 : 3 + shape[0] * shape[1]].reshape(shape)
    row, attrs = TABLE["MatMul"], {"transpose_a": turns[0], "transpose_b": turns[1]}
    for a in (view, view.copy()):
        b = a if turns[0] is not turns[1] else a.T  # the second as the first one transposed, in the same memory
        wanted = row.function(a.copy(), b.copy("K"), **attrs)
        known = [TensorSpec(as_dtype("float32"), x.shape) for x in (a, b)]
        found = row.fit(attrs, known, [None])  # type: ignore[misc]
        out = np.empty_like(wanted)
        row.into(a, b, out, **attrs)  # type: ignore[misc]
        assert exact_bits(out, wanted)
        assert exact_bits(row.function(a, b, **attrs), wanted)
        if found is not None:
            assert exact_bits(found.function(a, b), wanted)
            found.into(a, b, out)
            assert exact_bits(out, wanted)
