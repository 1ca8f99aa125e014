"""Native loops against the NumPy kernels: every row of the table on hard values, shapes, reductions, random groups."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from graphflow_numpy.native import engine, groups, loops, scalars

from graphflow import dtypes
from tests import native_groups

pytestmark = pytest.mark.skipif(not engine.available(), reason="the extra `fast` is not installed")

F32, F64, I32, I64, B = np.float32, np.float64, np.int32, np.int64, np.bool_
FLOATS, NUMBERS, ANY = (F32, F64), (F32, F64, I32, I64), (F32, F64, I32, I64, B)
HARD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3e38, -3e38, 1e-45, -1e-40, 88.0, 7.3]
WHOLE = [0, 1, -1, 2, -7, 100, 2**31 - 1, -(2**31), 12345, -99]

# op -> (inputs, dtypes of the first, attributes)
ROWS: dict[str, tuple[int, Any, dict[str, Any]]] = {
    **{op: (2, NUMBERS, {}) for op in ("Add", "Sub", "Mul", "Maximum", "Minimum", "SquaredDifference")},
    **{op: (1, NUMBERS, {}) for op in ("Neg", "Square", "Abs", "Sign", "Relu", "Relu6")},
    **{op: (1, FLOATS, {}) for op in ("Sqrt", "Reciprocal", "Rsqrt", "Floor", "Ceil", "Rint", "Round")},
    **{op: (1, FLOATS, {}) for op in ("IsNan", "IsInf", "IsFinite", "Softsign")},
    **{op: (2, FLOATS, {}) for op in ("RealDiv", "DivNoNan", "SigmoidGrad", "TanhGrad", "ReluGrad", "Relu6Grad")},
    **{op: (2, FLOATS, {}) for op in ("EluGrad", "SeluGrad", "SoftsignGrad", "SoftplusGrad")},
    **{op: (2, NUMBERS, {}) for op in ("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual")},
    **{op: (2, (B,), {}) for op in ("LogicalAnd", "LogicalOr", "LogicalXor")},
    **{op: (1, FLOATS, {}) for op in ("Exp", "Expm1", "Log", "Log1p", "Tanh", "Sigmoid", "Elu", "Selu", "Softplus")},
    **{op: (1, (F32,), {}) for op in ("Erf", "Erfc", "Sin", "Cos", "Tan", "Sinh", "Cosh")},
    "LogicalNot": (1, (B,), {}),
    "AddN": (3, NUMBERS, {}),
    "ClipByValue": (3, NUMBERS, {}),
    "LeakyRelu": (1, FLOATS, {"alpha": 0.2}),
    "LeakyReluGrad": (2, FLOATS, {"alpha": 0.2}),
}
SPECIAL_ROWS = {"Select", "ZeroUnless", "Cast", "Pow"}


def hard(dtype: Any) -> Any:
    """The values that functions get wrong."""
    if dtype is B:
        return np.array([True, False])
    if np.dtype(dtype).kind == "f":
        return np.array(HARD, dtype)
    return np.array(WHOLE, np.int64).astype(dtype)


def grid(dtype: Any, inputs: int) -> list[Any]:
    """All combinations of hard values, as that many arrays."""
    values = hard(dtype)
    return [np.ascontiguousarray(a.ravel()) for a in np.meshgrid(*[values] * inputs)]


def check(got: Any, wanted: Any, bound: float | None, wider: Any = None) -> None:
    """Equal to NumPy's, but for the payload of NaN and the sign of 0; or else within the bound of the exact result."""
    assert got.dtype == wanted.dtype
    if bound is None:
        np.testing.assert_array_equal(got, wanted)
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    assert np.where(got == wanted, 0.0, native_groups.ulps(got, wider)).max() <= bound


def test_every_row_is_tested_here() -> None:
    assert set(ROWS) | SPECIAL_ROWS == set(scalars.TABLE)


@pytest.mark.parametrize("op", ROWS)
def test_row_on_hard_values(op: str) -> None:
    inputs, kinds, attrs = ROWS[op]
    bound = scalars.ULP.get(op)
    for dtype in kinds:
        arrays = grid(dtype, inputs)
        if bound is not None:
            arrays = [np.concatenate([a, native_groups.densely(dtype, 2000)]) for a in arrays]
        steps = [(op, range(inputs), attrs)]
        got = native_groups.run(arrays, steps, [inputs])
        assert got is not None, dtype
        (wanted,) = native_groups.by_numpy(arrays, steps, [inputs])
        wider = None
        if bound is not None:
            wide = [a.astype(F64 if dtype is F32 else np.longdouble) for a in arrays]
            (wider,) = native_groups.by_numpy(wide, steps, [inputs])
        check(got[0], wanted, bound, wider)


@pytest.mark.parametrize("dtype", ANY)
def test_select_and_zero_unless(dtype: Any) -> None:
    mask, x = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(hard(B), hard(dtype)))
    y = x[::-1].copy()
    steps = [
        ("Select", [0, 1, 2], {}),
        ("ZeroUnless", [0, 1], {"holds": True}),
        ("ZeroUnless", [0, 1], {"holds": False}),
    ]
    got = native_groups.run([mask, x, y], steps, [3, 4, 5])
    assert got is not None
    for g, w in zip(got, native_groups.by_numpy([mask, x, y], steps, [3, 4, 5]), strict=True):
        check(g, w, None)


CASTS = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")


@pytest.mark.parametrize("source", CASTS)
@pytest.mark.parametrize("target", CASTS)
def test_cast(source: str, target: str) -> None:
    if source == target:
        return
    x = hard(np.dtype(source).type)
    if x.dtype.kind in "iu":
        info = np.iinfo(source)
        x = np.concatenate([x, np.array([info.min, info.max], source)])
    steps = [("Cast", [0], {"dtype": dtypes.as_dtype(target)})]
    got = native_groups.run([x], steps, [1])
    assert got is not None
    check(got[0], native_groups.by_numpy([x], steps, [1])[0], None)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 4.0, -1.0, -2.0, 0.5, -0.5])
def test_pow_with_a_constant_exponent(dtype: Any, exponent: float) -> None:
    x = np.concatenate([hard(dtype), np.random.default_rng(1).uniform(-5, 5, 500).astype(dtype)])
    steps = [("Pow", [0, 1], {})]
    arrays = [x, dtype(exponent)]
    got = native_groups.run(arrays, steps, [2], constants=[1])
    assert got is not None
    (wanted,) = native_groups.by_numpy(arrays, steps, [2])
    with np.errstate(all="ignore"):
        check(
            got[0],
            wanted,
            2.0,
            np.sqrt(x.astype(np.longdouble)) if exponent == 0.5 else np.power(x.astype(np.longdouble), exponent),
        )


def test_pow_of_float32() -> None:
    """Every combination of hard values, and many others, against float64."""
    rng = np.random.default_rng(3)
    x, y = grid(F32, 2)
    x = np.concatenate([x, rng.uniform(0, 30, 20_000).astype(F32), -rng.uniform(0, 5, 500).astype(F32)])
    y = np.concatenate([y, rng.uniform(-20, 20, 20_000).astype(F32), rng.integers(-9, 9, 500).astype(F32)])
    got = native_groups.run([x, y], [("Pow", [0, 1], {})], [2])
    assert got is not None
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(F64), y.astype(F64))
    np.testing.assert_array_equal(np.isnan(got[0]), np.isnan(exact))
    np.testing.assert_array_equal(np.signbit(got[0][~np.isnan(exact)]), np.signbit(exact[~np.isnan(exact)]))
    assert native_groups.ulps(got[0], exact).max() <= 0.51


def test_what_has_no_native_form_is_left_to_numpy() -> None:
    x = np.linspace(0.5, 1.5, 40, dtype=F32)
    assert native_groups.run([x.astype(F64)] * 2, [("Pow", [0, 1], {})], [2]) is None
    assert native_groups.run([np.arange(4)], [("Sum", [0], {"axis": None, "keepdims": False})], [1]) is None
    assert native_groups.run([x], [("Lgamma", [0], {})], [1]) is None
    assert native_groups.run([x.astype(np.float16)], [("Neg", [0], {})], [1]) is None
    endless = [("Neg", [i], {}) for i in range(groups.MOST_STEPS + 1)]
    assert native_groups.run([x], endless, [len(endless)]) is None


# -- shapes ----------------------------------------------------------------------------------------------------------

SHAPES = [
    ((7,), (7,)),
    ((1,), (1,)),
    ((), ()),
    ((33, 20), (20,)),
    ((33, 20), (33, 1)),
    ((33, 16), ()),
    ((3, 5, 48), (5, 48)),
    ((3, 5, 48), (3, 1, 48)),
    ((3, 5, 17), (5, 1)),
    ((2, 3, 4, 5), (3, 1, 5)),
    ((1, 9, 1, 4), (9, 1, 4)),
    ((9001,), (9001,)),
    ((3, 5000), (3, 1)),
]


@pytest.mark.parametrize("dtypes_", [(F32, F32), (F64, F64), (F32, B), (I32, F32)], ids=str)
@pytest.mark.parametrize(("dims", "other"), SHAPES, ids=str)
def test_broadcasting(dims: tuple[int, ...], other: tuple[int, ...], dtypes_: tuple[Any, Any], rng: Any) -> None:
    if dtypes_[1] is B and len(other) == 1 < len(dims):
        return  # such a condition chooses rows: no group has one
    x = rng.uniform(-3, 3, dims).astype(dtypes_[0])
    y = (rng.uniform(-3, 3, other) * (10 if dtypes_[1] is not B else 0) > 1).astype(dtypes_[1])
    steps: list[Any] = [("Neg", [0], {})]
    if dtypes_[1] is B:
        steps += [("Select", [1, 0, 2], {}), ("LogicalNot", [1], {})][: 1 + (dims == other)]
    elif dtypes_[0] is dtypes_[1]:
        steps += [("Mul", [2, 1], {}), ("Less", [0, 1], {})]
    else:
        steps += [("Cast", [2], {"dtype": dtypes.float32}), ("Mul", [3, 1], {})]
    outputs = list(range(2, 2 + len(steps)))
    got = native_groups.run([x, y], steps, outputs, pieces=[1, 2])
    assert got is not None
    for g, w in zip(got, native_groups.by_numpy([x, y], steps, outputs), strict=True):
        check(g, w, None)


def test_an_output_may_lie_where_an_input_lies() -> None:
    for size in (5, 4096, 10_001):
        x, y = np.arange(size, dtype=F32), np.full(size, 3, F32)
        program = native_groups.program_of([x, y], [("Add", [0, 1], {}), ("Mul", [2, 0], {})])
        kernel = loops.group_kernel(program, program.instructions, [0, 1], [2, 3])
        assert kernel is not None
        wanted = x + 3, (x + 3) * x
        native_groups.call(kernel, [x, y], [x, y])
        np.testing.assert_array_equal((x, y), wanted)


def test_nothing_is_written_beyond_an_output() -> None:
    for size in (1, 15, 16, 17, 40, 4097):
        memory = np.full(size + 64, 9, F32)
        x = np.ones(size, F32)
        program = native_groups.program_of([x], [("Neg", [0], {}), ("Less", [0, 1], {})])
        kernel = loops.group_kernel(program, program.instructions, [0], [1, 2])
        assert kernel is not None
        flags = np.full(size + 64, 9, np.uint8)
        native_groups.call(kernel, [x], [memory[32:], flags[32:]])
        assert (memory[32 : 32 + size] == -1).all() and not flags[32 : 32 + size].any()
        assert (memory[:32] == 9).all() and (memory[32 + size :] == 9).all()
        assert (flags[:32] == 9).all() and (flags[32 + size :] == 9).all()


# -- reductions ------------------------------------------------------------------------------------------------------

REDUCED = [
    ((9,), None),
    ((1,), None),
    ((100_003,), None),
    ((40, 30), None),
    ((40, 30), (0,)),
    ((40, 30), (1,)),
    ((40, 30), (0, 1)),
    ((5, 6, 70), (2,)),
    ((5, 6, 70), (0, 1)),
    ((5, 6, 70), (1, 2)),
    ((5, 6, 70), (0,)),
    ((5, 6, 70), (1,)),
    ((3, 2, 40, 7), (2,)),
    ((3, 2, 40, 7), (1, 2)),
    ((200, 30, 2), (1,)),
    ((5, 6, 70), (0, 2)),
    ((40, 3, 30, 7), (0, 2)),
    ((40, 3, 30, 7), (1, 3)),
    ((3000, 17), (0,)),
    ((2, 9000), (1,)),
    ((300, 3), (1,)),
    ((1, 50), (0,)),
    ((50, 1), (0,)),
    ((50, 1), (1,)),
    ((1, 1), None),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("dims", "axis"), REDUCED, ids=str)
def test_reduction(dims: tuple[int, ...], axis: Any, dtype: Any, rng: Any) -> None:
    """Not less accurate than NumPy's, and the same bits however the units are divided."""
    x = (rng.standard_normal(dims) + 0.3).astype(dtype)
    attrs = {"axis": axis, "keepdims": bool(len(dims) % 2)}
    steps = [("Neg", [0], {}), *[(op, [1], attrs) for op in ("Sum", "Mean", "Max", "Min")]]
    got = native_groups.run([x], steps, range(1, 6))
    assert got is not None
    exact = native_groups.by_numpy([x.astype(np.longdouble)], steps, range(1, 6))
    terms = np.sum(np.abs(x), axis, keepdims=attrs["keepdims"], dtype=F64)
    few = 1 if dtype is F32 else 4  # units of rounding of the sum of the absolute values
    for place, scale in ((1, 1.0), (2, terms.size / x.size)):
        assert got[place].shape == exact[place].shape
        assert (np.abs(got[place] - exact[place]) <= few * np.finfo(dtype).eps * terms * scale).all()
    for place in (0, 3, 4):
        np.testing.assert_array_equal(got[place], exact[place])
    again = native_groups.run([x], steps, range(1, 6), pieces=[1, 3, 4, 11])
    assert again is not None
    for g, a in zip(got, again, strict=True):
        np.testing.assert_array_equal(g, a)


@pytest.mark.parametrize("axis", [(1,), (1, 2), (2,), (0,), (0, 1), None])
def test_several_reductions_of_a_broadcast_sum(axis: Any, rng: Any) -> None:
    """The axes cannot merge, for each input runs along other ones."""
    arrays = [rng.standard_normal(d).astype(F32) for d in ((9, 30, 21), (21,), (30, 1), (9, 1, 1))]
    attrs = {"axis": axis, "keepdims": False}
    whole = {"axis": None, "keepdims": True}
    steps = [("Add", [0, 1], {}), ("Mul", [4, 2], {}), ("Sub", [5, 3], {})]
    steps += [
        ("Sum", [6], attrs),
        ("Max", [5], attrs),
        ("Mean", [4], whole),
        ("Mean", [6], {"axis": (2,), "keepdims": False}),
    ]
    got = native_groups.run(arrays, steps, range(4, 11), pieces=[1])
    assert got is not None
    for v, (g, w) in enumerate(zip(got, native_groups.by_numpy(arrays, steps, range(4, 11)), strict=True)):
        if v in (0, 1, 2, 4):
            check(g, w, None)
        else:
            np.testing.assert_allclose(g, w, 1e-4, 1e-4)


@pytest.mark.parametrize("dtype", FLOATS)
def test_long_sums_are_accurate(dtype: Any) -> None:
    """Two million equal terms, which a running sum gets wrong from the third digit on."""
    x = np.full(2_000_001, 0.1, dtype)
    (got,) = native_groups.run([x], [("Square", [0], {}), ("Sum", [1], {"axis": None, "keepdims": False})], [2])  # type: ignore[misc]
    exact = np.longdouble(dtype(0.1) * dtype(0.1)) * x.size
    assert native_groups.ulps(got, exact) <= 1.0


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [None, (0,), (1,)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_special_values_in_reductions(axis: Any, dtype: Any, bad: float) -> None:
    x = np.ones((70, 21), dtype)
    x[37, 5] = bad
    attrs = {"axis": axis, "keepdims": False}
    steps = [(op, [0], attrs) for op in ("Sum", "Mean", "Max", "Min")]
    got = native_groups.run([x], steps, [1, 2, 3, 4])
    assert got is not None
    for g, w in zip(got, native_groups.by_numpy([x], steps, [1, 2, 3, 4]), strict=True):
        np.testing.assert_array_equal(g, w)


# -- random groups ---------------------------------------------------------------------------------------------------

UNARY = ("Neg", "Abs", "Square", "Tanh", "Sigmoid", "Relu", "Sqrt", "Exp", "Sign", "Floor", "Elu", "Softplus", "Log1p")
BINARY = ("Add", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "SquaredDifference", "TanhGrad", "ReluGrad")


def random_group(rng: Any) -> tuple[list[Any], list[Any], list[int]]:
    """Inputs that broadcast to one space, a few steps over them, and which values are read."""
    dims = tuple(int(n) for n in rng.choice([1, 2, 3, 5, 8, 16, 17, 33], rng.integers(0, 4)))
    arrays = []
    for _ in range(int(rng.integers(1, 4))):
        keep = int(rng.integers(0, len(dims) + 1))
        mine = tuple(int(d) if rng.random() < 0.7 else 1 for d in dims[keep:])
        arrays.append((rng.standard_normal(mine) * rng.choice([1, 1, 50])).astype(F32))
    arrays.append(rng.standard_normal(dims).astype(F32))
    first = len(arrays)
    steps: list[Any] = []
    full = [first - 1]
    for _ in range(int(rng.integers(1, 12))):
        if rng.random() < 0.5:
            steps.append((str(rng.choice(UNARY)), [int(rng.choice(full))], {}))
        else:
            pair = [int(rng.choice(full)), int(rng.integers(0, first + len(steps)))]
            steps.append((str(rng.choice(BINARY)), pair, {}))
        full.append(first + len(steps) - 1)
    read = [v for v in full[1:] if rng.random() < 0.4 or v == full[-1]]
    return arrays, steps, read


def test_random_groups(rng: Any) -> None:
    """Where all the ops of a value are exact, its bits are NumPy's; elsewhere each op is right for its inputs."""
    for case in range(150):
        arrays, steps, _ = random_group(rng)
        first = len(arrays)
        everything = list(range(first, first + len(steps)))
        got = native_groups.run(arrays, steps, everything, pieces=[1, 2])
        assert got is not None, (case, steps)
        values = [*arrays, *got]
        for number, (op, inputs, attrs) in enumerate(steps):
            one = [(op, range(len(inputs)), attrs)]
            given = [values[v] for v in inputs]
            (wanted,) = native_groups.by_numpy(given, one, [len(inputs)])
            wide = [np.asarray(g, F64) for g in given]
            (exact,) = native_groups.by_numpy(wide, one, [len(inputs)])
            message = f"case {case}: step {number} of {steps}"
            if op not in scalars.ULP:
                np.testing.assert_array_equal(got[number], wanted, message)
            else:
                assert native_groups.ulps(got[number], exact).max() <= scalars.ULP[op], message


def test_outputs_do_not_depend_on_what_else_is_read(rng: Any) -> None:
    for case in range(60):
        arrays, steps, read = random_group(rng)
        first = len(arrays)
        everything = native_groups.run(arrays, steps, range(first, first + len(steps)))
        some = native_groups.run(arrays, steps, read)
        assert everything is not None and some is not None
        for v, got in zip(read, some, strict=True):
            np.testing.assert_array_equal(got, everything[v - first], f"case {case}: {steps}")


def test_equal_structure_is_one_kernel(rng: Any) -> None:
    x = np.ones((12, 40), F32)
    found = set()
    for numbers in itertools.permutations(range(2)):
        program = native_groups.program_of([x, x], [("Add", numbers, {}), ("Tanh", [2], {})])
        found.add(loops.group_kernel(program, program.instructions, list(numbers), [3]).address)  # type: ignore[union-attr]
    assert len(found) == 1


def test_constants_that_compare_equal_are_different_kernels() -> None:
    x = np.array([1.0, -1.0], F32)
    for zero in (0.0, -0.0):
        (got,) = native_groups.run([x, F32(zero)], [("RealDiv", [0, 1], {})], [2], constants=[1])  # type: ignore[misc]
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(got, x / F32(zero))


# -- the engine ------------------------------------------------------------------------------------------------------


def test_kernels_of_many_threads(rng: Any) -> None:
    """Threads that ask for the same and for different kernels at once all get right ones."""
    x = rng.standard_normal(1000).astype(F32)
    wrong: list[int] = []

    def work(first: int) -> None:
        for k in [*range(first, 6), *range(first)]:
            steps = [("Add", [0, 1], {}), *[("Neg", [2 + i], {}) for i in range(k)]]
            got = native_groups.run([x, F32(k)], steps, [2 + k])
            if got is None or not (got[0] == (x + F32(k)) * (-1) ** k).all():
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_many_kernels_in_one_module() -> None:
    x = np.arange(300, dtype=F32)
    programs = [
        native_groups.program_of([x], [("Square", [0], {}), *[("Neg", [1 + i], {}) for i in range(k)]]) for k in (7, 8)
    ]
    wanted = [loops.group_request(p, p.instructions, [0], [len(p.instructions)]) for p in programs]
    assert None not in wanted
    kernels = engine.compile_many(wanted)  # type: ignore[arg-type]
    for k, kernel in zip((7, 8), kernels, strict=True):
        out = np.empty_like(x)
        native_groups.call(kernel, [x], [out])
        np.testing.assert_array_equal(out, x * x * (-1) ** k)
        assert kernel.symbol in kernel.source and "fmul" in kernel.source
        assert kernel.symbol in engine.assembly(kernel)
    assert [k.address for k in engine.compile_many(wanted)] == [k.address for k in kernels]  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [16, 32, 64])
def test_narrower_vectors_give_the_same_bits(width: int, monkeypatch: pytest.MonkeyPatch, rng: Any) -> None:
    x, y = rng.standard_normal((37, 45)).astype(F32), rng.standard_normal(45).astype(F32)
    steps = [
        ("Mul", [0, 1], {}),
        ("Tanh", [2], {}),
        ("Sin", [2], {}),
        ("Less", [3, 4], {}),
        ("Max", [3], {"axis": (1,), "keepdims": False}),
    ]
    usual = native_groups.run([x, y], steps, range(2, 7))
    monkeypatch.setattr(engine, "_kernels", {})
    monkeypatch.setattr(engine, "vector_bytes", lambda: width)
    got = native_groups.run([x, y], steps, range(2, 7))
    assert usual is not None and got is not None
    for a, b in zip(usual, got, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_llvmlite_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_machines", [])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not engine.available()


def test_importing_graphflow_does_not_import_llvmlite() -> None:
    code = "import sys, graphflow; graphflow.Session().close(); sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
