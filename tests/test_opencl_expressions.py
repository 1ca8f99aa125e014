"""Each pointwise op's OpenCL expression against its NumPy kernel: every dtype, three widths, special and other values.

Arithmetic, comparisons and choices must give NumPy's bits; functions are held to a bound in units in the last place,
stated below, against NumPy's kernel computed in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_numpy.table import TABLE
from graphflow_opencl import expressions, polynomials
from graphflow_opencl.devices import Device, open_device
from graphflow_opencl.single import run_launches
from graphflow_opencl.table import Launch

import graphflow as tf
from graphflow import dtypes
from graphflow.dtypes import DType, as_dtype, finfo
from graphflow.errors import InvalidArgumentError
from graphflow.opdef import OPS
from graphflow.spec import TensorSpec

WIDTHS = (1, 8, 16)
HALVES = ("float16", "bfloat16")
SIGNED = ("int8", "int16", "int32", "int64")
INTEGERS = (*SIGNED, "uint8", "uint16", "uint32", "uint64")
NAMES = tuple(n for n in (*HALVES, "float32", "float64", *INTEGERS, "bool") if n in dtypes._TABLE)
ROWS_A_KERNEL = 70


class Row(NamedTuple):
    """An op to be tested: its attributes, how many operands it takes, whether a condition comes before them."""

    type: str
    operands: int
    kinds: tuple[str, ...] = ("float",)
    attrs: Mapping[str, Any] = {}
    condition: bool = False


FLOAT, NUMBER, ANY = ("float",), ("float", "int", "uint"), ("float", "int", "uint", "bool")
UNARY = {
    NUMBER: "Neg Abs Sign Square Relu Relu6 Round Conj",
    FLOAT: "Reciprocal Sqrt Rsqrt Floor Ceil Rint IsNan IsInf IsFinite Exp Expm1 Log Log1p Sin Cos Tan Asin Acos Atan "
    "Sinh Cosh Tanh Asinh Acosh Atanh Sigmoid Softplus Softsign Elu Selu Erf Erfc Lgamma Digamma",
    ("int", "uint"): "Invert",
    ("bool",): "LogicalNot",
}
BINARY = {
    NUMBER: "Add Sub Mul SquaredDifference Maximum Minimum FloorDiv FloorMod TruncateDiv TruncateMod Pow Less "
    "LessEqual Greater GreaterEqual ReluGrad Relu6Grad",
    FLOAT: "RealDiv DivNoNan Atan2 SigmoidGrad TanhGrad EluGrad SeluGrad SoftplusGrad SoftsignGrad",
    ANY: "Equal NotEqual",
    ("int", "uint"): "BitwiseAnd BitwiseOr BitwiseXor LeftShift RightShift",
    ("bool",): "LogicalAnd LogicalOr LogicalXor",
}
ROWS = [
    *(Row(name, 1, kinds) for kinds, names in UNARY.items() for name in names.split()),
    *(Row(name, 2, kinds) for kinds, names in BINARY.items() for name in names.split()),
    Row("AddN", 3, NUMBER),
    Row("ClipByValue", 3, NUMBER),
    Row("LeakyRelu", 1, FLOAT, {"alpha": 0.25}),
    Row("LeakyReluGrad", 2, FLOAT, {"alpha": 0.25}),
    Row("Polygamma", 1, FLOAT, {"order": 1}),
    Row("Polygamma", 1, FLOAT, {"order": 4}),
    Row("Select", 2, ANY, {}, True),
    Row("ZeroUnless", 1, ANY, {"holds": True}, True),
    Row("ZeroUnless", 1, ANY, {"holds": False}, True),
    *(Row("Cast", 1, ANY, {"dtype": as_dtype(name)}) for name in NAMES),
]

# Bounds in units in the last place, for float32 and for float64; what is missing here must give NumPy's bits.
ULP: dict[str, tuple[float, float]] = {
    **{name.capitalize(): (bound, 2.0) for name, bound in polynomials.ULP.items()},
    **dict.fromkeys(("Asin", "Acos", "Atan", "Atan2", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Pow"), (4.0, 4.0)),
    **dict.fromkeys(("Sin", "Cos", "Tan"), (1.0, 4.0)),
    "Rsqrt": (1.5, 1.5),
    "Erfc": (1.0, 8.0),
    "Lgamma": (1.0, 16.0),
    "Digamma": (1.0, 16.0),
    "Polygamma": (1.0, 32.0),
    "Elu": (2.5, 2.0),
    "Selu": (4.0, 4.0),
    "SoftplusGrad": (3.0, 3.0),
}
# With these the place of a result is lost beside the operands', by cancellation: errors are relative to 1 there.
BESIDE_ONE = {"Lgamma", "Digamma", "Polygamma"}


@pytest.fixture(scope="module")
def device() -> Device:
    """The device that tests run on."""
    return open_device()


# -- operands --------------------------------------------------------------------------------------------------------


def numbers(dtype: DType) -> np.ndarray[Any, Any]:
    """Special values of a dtype, and others."""
    rng = np.random.default_rng(7)
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_integer:
        ends = [dtype.min, dtype.min + 1, dtype.max - 1, dtype.max, 0, 1, 2, 3, 7, 100]
        ends += [-1, -2, -3, -100] if dtype.kind == "int" else [5, 6]
        return np.concatenate([np.array(ends, dtype.np), rng.integers(dtype.min, dtype.max, 8, dtype.np)])
    info = finfo(dtype)
    tiny, least = float(info.tiny), float(info.smallest_subnormal)
    sizes = [
        0.0,
        1.0,
        0.5,
        2.0,
        3.0,
        1e-3,
        0.1,
        0.7,
        1.5,
        2.5,
        6.0,
        10.25,
        50.0,
        90.0,
        least,
        3 * least,
        tiny,
        1.5 * tiny,
    ]
    sizes += [float(info.max), float(info.max) / 3, float("inf"), *np.abs(rng.normal(0, 3, 24))]
    return np.array([*sizes, *(-s for s in sizes), float("nan")]).astype(dtype.np)


def operands(dtype: DType, count: int) -> list[np.ndarray[Any, Any]]:
    """All pairs of the numbers, with a third operand shuffled, in whole vectors of 16."""
    values = numbers(dtype)
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    whole = len(x) + -len(x) % 16
    x, y = np.resize(x, whole), np.resize(y, whole)
    return [x, y, np.random.default_rng(3).permutation(x)][:count]


# -- kernels ---------------------------------------------------------------------------------------------------------


def output_of(row: Row, dtype: DType) -> DType:
    """The dtype of a row's result."""
    inputs = [TensorSpec(d, (3,)) for d in inputs_of(row, dtype)]
    found = OPS[row.type].infer(*inputs, **row.attrs)
    assert isinstance(found, TensorSpec)
    return found.dtype


def inputs_of(row: Row, dtype: DType) -> list[DType]:
    """The dtypes of a row's inputs."""
    return [dtypes.bool_] * row.condition + [dtype] * row.operands


def statement(row: Row, place: int, dtype: DType, width: int, size: int) -> str:
    """Compute a row, and store what came behind the results of other rows of that dtype."""
    output = output_of(row, dtype)
    names = ["c"] * row.condition + ["x", "y", "z"][: row.operands]
    text = expressions.expression(row.type, row.attrs, names, inputs_of(row, dtype), output, width)
    assert text is not None, (row, dtype)
    stored = expressions.store(output, width, f"out_{output.name}", f"i + {place * size}", "r")
    return f"{{ const {expressions.register_type(output, width)} r = {text}; {stored} }}"


def source_of(body: str, inputs: Sequence[tuple[str, DType]], outputs: Sequence[DType], width: int) -> str:
    """A kernel that loads the inputs into registers of their names."""
    pointers = [f"__global const {expressions.storage_type(d)} *in_{n}" for n, d in inputs]
    pointers += [f"__global {expressions.storage_type(d)} *out_{d.name}" for d in outputs]
    loads = "".join(
        f"const {expressions.register_type(d, width)} {n} = {expressions.load(d, width, f'in_{n}', 'i')};\n"
        for n, d in inputs
    )
    return (
        f"__kernel void KERNEL({', '.join(pointers)}) {{\nint i = (int)get_global_id(0) * {width};\n{loads}{body}\n}}"
    )


def computed(device: Device, rows: Sequence[Row], dtype: DType, width: int, given: Any, condition: Any) -> list[Any]:
    """What the expressions of these rows give, all in one kernel."""
    size = len(condition)
    kinds = [output_of(row, dtype) for row in rows]
    places = [kinds[:i].count(d) for i, d in enumerate(kinds)]
    outputs = list(dict.fromkeys(kinds))
    body = "\n".join(statement(row, at, dtype, width, size) for row, at in zip(rows, places, strict=True))
    inputs = [("c", dtypes.bool_), ("x", dtype), ("y", dtype), ("z", dtype)]
    source = source_of(body, inputs, outputs, width)
    arguments = tuple(range(4 + len(outputs)))
    launch = Launch(source, (size // width,), (1,), arguments, arguments[4:], "rows of a test")
    wanted = {4 + i: TensorSpec(d, (kinds.count(d), size)) for i, d in enumerate(outputs)}
    found = run_launches(device, [launch], dict(enumerate([condition, *given])), wanted)
    return [found[4 + outputs.index(d)][at] for d, at in zip(kinds, places, strict=True)]


# -- judging ---------------------------------------------------------------------------------------------------------


def expected(row: Row, given: Sequence[Any]) -> Any:
    """What NumPy's kernel gives."""
    with np.errstate(all="ignore"):
        return np.asarray(TABLE[row.type].function(*given, **row.attrs))


def exact(row: Row, given: Sequence[Any]) -> Any:
    """What NumPy's kernel gives in float64."""
    return expected(row, [g if g.dtype == bool else g.astype(np.float64) for g in given])


def same(got: Any, wanted: Any, signs: bool) -> Any:
    """Where two arrays agree: NaN with NaN, and zeros in their signs, too."""
    if got.dtype.kind in "biu":
        return got == wanted
    with np.errstate(invalid="ignore"):  # signalling NaNs
        got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    alike = (got == wanted) | np.isnan(got) & np.isnan(wanted)
    return alike & ((np.signbit(got) == np.signbit(wanted)) | np.isnan(got)) if signs else alike


def errors(row: Row, dtype: DType, got: Any, reference: Any) -> Any:
    """Errors in units in the last place; infinite where NaNs or infinities differ."""
    with np.errstate(all="ignore"):
        rounded = reference.astype(dtype.np).astype(np.float64)
        reference = reference.astype(np.float64)
        place = np.abs(rounded)
        if row.type in BESIDE_ONE:
            place = np.maximum(place, 1.0)
        least, eps = float(finfo(dtype).smallest_subnormal), float(finfo(dtype).eps)
        unit = np.maximum(np.exp2(np.floor(np.log2(np.maximum(place, least)))) * eps, least)
        wide = got.astype(np.float64)
        away = np.abs(wide - reference) / unit
    finite = np.isfinite(rounded) & np.isfinite(wide)
    return np.where(finite, away, np.where(same(wide, rounded, False), 0.0, np.inf))


def refused(row: Row, dtype: DType, given: Sequence[Any]) -> Any:
    """Which elements the op refuses."""
    if not dtype.is_integer or row.type not in expressions.FAILS:
        return np.zeros(given[0].shape, np.bool_)
    return given[1] < 0 if row.type == "Pow" else given[1] == 0


def complain(row: Row, dtype: DType, bad: Any, given: Sequence[Any], got: Any, wanted: Any) -> str:
    """The first few elements that are wrong."""
    places = np.flatnonzero(bad)
    shown = [f"{[g[p].item() for g in given]}: {got[p]!r}, not {wanted[p]!r}" for p in places[:5]]
    return f"{row.type} {dict(row.attrs)} of {dtype.name}: {len(places)} wrong\n  " + "\n  ".join(shown)


def judge(row: Row, dtype: DType, got: Any, given: Sequence[Any]) -> str | None:
    """What is wrong with a row's results, or None."""
    kept = ~refused(row, dtype, given)
    given, got = [g[kept] for g in given], got[kept]
    half = dtype.name in HALVES
    if dtype.is_floating and got.dtype == dtype.np and (half or row.type in ULP):
        reference = exact(row, given)
        bound = half_bound(row) if half else ULP[row.type][dtype.name == "float64"]
        if bound:
            away = np.minimum(errors(row, dtype, got, reference), errors(row, dtype, got, expected(row, given)))
            worst = f"\n  the worst is {away.max():.3g}, the bound is {bound}"
            bad = away > bound
            return complain(row, dtype, bad, given, got, reference) + worst if bad.any() else None
    wanted = expected(row, given)
    bad = ~same(got, wanted, row.type not in ("Maximum", "Minimum", "ClipByValue", "Relu", "Relu6"))
    return complain(row, dtype, bad, given, got, wanted) if bad.any() else None


def half_bound(row: Row) -> float:
    """Computed in float32 and rounded once: half a unit, and a little."""
    return {"Selu": 2.5, "SeluGrad": 1.0, "AddN": 1.0}.get(row.type, 0.51)


# -- tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_each_op_against_numpy(device: Device, name: str, width: int) -> None:
    dtype = as_dtype(name)
    if dtype is tf.float64 and not device.traits.doubles:
        pytest.skip("the device has no doubles")
    rows = [row for row in ROWS if dtype.kind in row.kinds]
    given = operands(dtype, 3)
    condition = np.random.default_rng(5).random(len(given[0])) < 0.5
    wrong: list[str | None] = []
    for start in range(0, len(rows), ROWS_A_KERNEL):
        some = rows[start : start + ROWS_A_KERNEL]
        found = computed(device, some, dtype, width, given, condition)
        for row, got in zip(some, found, strict=True):
            own = [condition] * row.condition + given[: row.operands]
            wrong.append(judge(row, dtype, got, own))
    told = [w for w in wrong if w]
    assert not told, "\n".join(told)


def run_body(
    device: Device, body: str, inputs: Sequence[tuple[str, Any]], outputs: Sequence[DType], width: int, size: int
) -> list[Any]:
    """What a body stores in `out_DTYPE`, each with as many elements as were given."""
    given = [(name, as_dtype(array.dtype)) for name, array in inputs]
    source = source_of(body, given, outputs, width)
    arguments = tuple(range(len(inputs) + len(outputs)))
    launch = Launch(source, (size // width,), (1,), arguments, arguments[len(inputs) :], "a body of a test")
    wanted = {len(inputs) + i: TensorSpec(d, (size,)) for i, d in enumerate(outputs)}
    found = run_launches(device, [launch], {i: array for i, (_, array) in enumerate(inputs)}, wanted)
    return [found[v] for v in wanted]


def test_every_pointwise_op_has_an_expression() -> None:
    # Other tests may have defined ops of their own in this process.
    ours = {name: d for name, d in OPS.items() if d.function.__module__.startswith("graphflow.")}
    pointwise = {name for name, definition in ours.items() if definition.pointwise}
    tested = {row.type for row in ROWS}
    assert pointwise <= set(expressions.EXPRESSIONS)
    assert pointwise <= tested


def test_complex_numbers_have_none() -> None:
    for name in ("Add", "Exp", "Cast"):
        attrs = {"dtype": tf.complex64} if name == "Cast" else {}
        inputs = [tf.complex64] * (2 if name == "Add" else 1)
        assert expressions.expression(name, attrs, ["x", "y"][: len(inputs)], inputs, tf.complex64, 8) is None


@pytest.mark.parametrize("width", (1, 2, 4, 8, 16))
def test_16_bit_numbers_are_loaded_and_stored_without_loss(device: Device, width: int) -> None:
    for name in HALVES:
        if name not in NAMES:
            continue
        dtype = as_dtype(name)
        every = np.arange(1 << 16).astype(np.uint16).view(dtype.np)
        store = expressions.store(dtype, width, f"out_{name}", "i", "x")
        as_float = expressions.store(tf.float32, width, "out_float32", "i", "x")
        back, wide = run_body(device, f"{store} {as_float}", [("x", every)], [dtype, tf.float32], width, every.size)
        assert same(wide, every, True).all()
        assert same(back, every, True).all()


@pytest.mark.parametrize("width", (1, 8))
def test_a_cast_to_16_bits_rounds_in_the_register(device: Device, width: int) -> None:
    for name in HALVES:
        if name not in NAMES:
            continue
        dtype = as_dtype(name)
        with np.errstate(all="ignore"):
            every = np.arange(1 << 16).astype(np.uint16).view(dtype.np).astype(np.float32)
            between = (every + np.nextafter(every, np.float32(np.inf))) * np.float32(0.5)
            ties = every + np.spacing(every.astype(dtype.np)).astype(np.float32) * np.float32(0.5)
            x = np.concatenate([every, between, ties, np.nextafter(ties, np.float32(0))])
            wanted = x.astype(dtype.np).astype(np.float32)
        text = expressions.expression("Cast", {"dtype": dtype}, ["x"], [tf.float32], dtype, width)
        assert text is not None
        body = f"const {expressions.register_type(dtype, width)} r = {text};"
        body += expressions.store(tf.float32, width, "out_float32", "i", "r")
        (got,) = run_body(device, body, [("x", x)], [tf.float32], width, x.size)
        assert same(got, wanted, True).all()


@pytest.mark.parametrize("name", NAMES)
def test_literals_are_exact(device: Device, name: str) -> None:
    dtype = as_dtype(name)
    values = numbers(dtype)
    stores = [
        expressions.store(dtype, 1, f"out_{name}", str(i), expressions.literal(dtype, v)) for i, v in enumerate(values)
    ]
    (got,) = run_body(device, "\n".join(stores), [], [dtype], values.size, values.size)
    assert same(got, values, True).all()


@pytest.mark.parametrize("width", (1, 8))
@pytest.mark.parametrize("name", INTEGERS)
def test_what_an_op_refuses_is_marked(device: Device, name: str, width: int) -> None:
    dtype = as_dtype(name)
    y = np.resize(numbers(dtype), 32)
    for op in ("FloorDiv", "Pow"):
        text = expressions.FAILS[op].condition(["x", "y"], [dtype, dtype], width)
        if op == "Pow" and dtype.is_unsigned:
            assert text is None
            continue
        body = expressions.store(dtypes.bool_, width, "out_bool", "i", text)
        (got,) = run_body(device, body, [("y", y)], [dtypes.bool_], width, y.size)
        assert got.any() and np.array_equal(got, y < 0 if op == "Pow" else y == 0)
    assert isinstance(expressions.FAILS["Pow"].explain(), InvalidArgumentError)
    assert expressions.FAILS["FloorDiv"].condition(["x", "y"], [tf.float32, tf.float32], width) is None


def test_known_exponents_need_no_logarithm() -> None:
    def given(y: float) -> str | None:
        return expressions.expression("Pow", {}, ["x", "y"], [tf.float32] * 2, tf.float32, 8, [None, y])

    assert given(2.0) == "(x * x)"
    assert given(1.0) == "x"
    assert "pow" in str(given(2.5))
