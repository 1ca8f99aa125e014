"""Fused groups on a device against NumPy's kernels, instruction by instruction, in both schedules."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_numpy.table import TABLE
from graphflow_opencl import fused
from graphflow_opencl.devices import open_device
from graphflow_opencl.single import run_launches
from graphflow_opencl.table import Launch, Scratch, Traits

from graphflow.dtypes import as_dtype, from_numpy
from graphflow.errors import InvalidArgumentError
from graphflow.program import Instruction
from graphflow.spec import TensorSpec
from graphflow.testing.numeric import distance, tolerance

SCHEDULES = ("cpu", "gpu")
NO_OP: Any = None  # the op that an instruction came from; groups never ask for it
SIZES = (1, 7, 8, 9, 63, 65, 1000)


class Group:
    """Instructions with NumPy's results of them, as they are added."""

    def __init__(self) -> None:
        self.values: list[TensorSpec] = []
        self.arrays: list[np.ndarray[Any, Any]] = []
        self.instructions: list[Instruction] = []
        self.inputs: list[int] = []
        self.constants: dict[int, Any] = {}

    def _number(self, array: Any) -> int:
        array = np.asarray(array)
        dtype = from_numpy(array.dtype)
        assert dtype is not None
        self.values.append(TensorSpec(dtype, array.shape))
        self.arrays.append(array)
        return len(self.values) - 1

    def input(self, array: Any) -> int:
        """A value from outside."""
        self.inputs.append(self._number(array))
        return self.inputs[-1]

    def constant(self, array: Any) -> int:
        """A value that is known."""
        v = self.input(array)
        self.constants[v] = self.arrays[v]
        return v

    def add(self, type: str, *inputs: int, **attrs: Any) -> int:
        """An instruction; the number of its value."""
        with np.errstate(all="ignore"):
            result = TABLE[type].function(*(self.arrays[v] for v in inputs), **attrs)
        v = self._number(result)
        self.instructions.append(Instruction(len(self.instructions), type, inputs, (v,), attrs, (), NO_OP))
        return v

    def reduce(self, type: str, v: int, axis: Sequence[int] | None = None, keepdims: bool = False) -> int:
        """A reduction."""
        return self.add(type, v, axis=None if axis is None else tuple(axis), keepdims=keepdims)

    def launches(self, outputs: Sequence[int], traits: Traits, updates: dict[int, int] | None = None) -> list[Launch]:
        """Those of the group."""
        found = fused.group_launches(self.instructions, outputs, self.values, self.constants, traits, updates)
        assert found is not None
        return found

    def check(
        self, outputs: Sequence[int], schedule: str, updates: dict[int, int] | None = None, tol: float = 1e-12
    ) -> list[Launch]:
        """Compare with NumPy; the launches."""
        launches = self.launches(outputs, traits_of(schedule), updates)
        wanted = {v: self.arrays[v] for v in outputs}
        wanted.update((handle, self.arrays[v]) for v, handle in (updates or {}).items())
        specs = {v: self.values[v] for v in wanted}
        given = {v: np.array(self.arrays[v]) for v in self.inputs}
        found = run_launches(open_device(), launches, given, specs)
        for v, right in wanted.items():
            bar = tolerance(self.values[v].dtype.name, tol)
            error = distance(found[v], right)
            names = [ins.type for ins in self.instructions]
            assert error <= bar, f"{names}: value {v} is off by {error:.3g}, the bar is {bar:.3g}\n{found[v]}\n{right}"
        return launches


def traits_of(schedule: str) -> Traits:
    """The device's, for a schedule; few units, so that small work is cut into parts as large work is."""
    return open_device().traits._replace(schedule=schedule, units=2, group=64)


def drawn(*shape: int, dtype: str = "float32", low: float = -2.0, high: float = 2.0) -> np.ndarray[Any, Any]:
    """Numbers that depend on shape and dtype alone."""
    generator = np.random.default_rng([len(shape), *shape])
    if dtype == "bool":
        return np.asarray(generator.random(shape) < 0.5)
    return np.asarray(generator.uniform(low, high, shape)).astype(as_dtype(dtype).np)


def _middling(g: Group, dims: tuple[int, ...]) -> tuple[int, int]:
    """A chain of some steps, with its sum over the innermost dim."""
    x, y = g.input(drawn(*dims)), g.input(drawn(*dims)[..., ::-1])
    v = g.add("Mul", g.add("Tanh", g.add("Add", g.add("Mul", x, y), x)), g.add("Exp", g.add("Neg", g.add("Mul", y, y))))
    return v, g.reduce("Sum", v, [len(dims) - 1])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_several_vectors_at_once_leave_no_element_out(schedule: str) -> None:
    for dims in ((255,), (256,), (257,), (512,), (1023,), (4096,), (5003,), (70_000,), (3, 700), (2, 33_000)):
        g = Group()
        v, total = _middling(g, dims)
        g.check([v, total], schedule)
        g.check([total], schedule)


def test_a_long_run_is_done_two_vectors_at_a_time_and_leaves_none_over() -> None:
    for size, copies in ((1 << 16, 2), ((1 << 16) + 8, 3), (64, 1)):  # of the text: two vectors, and what is left over
        g = Group()
        _, total = _middling(g, (size,))
        source = g.launches([total], traits_of("cpu")._replace(width=8))[0].source
        assert source.count("gf_tanh") == copies


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_sizes_of_a_chain_with_a_sum(schedule: str) -> None:
    for size in SIZES:
        g = Group()
        a, b = g.input(drawn(size)), g.input(drawn(size)[::-1])
        product = g.add("Mul", a, b)
        shifted = g.add("Add", product, g.constant(np.float32(0.5)))
        largest = g.add("Maximum", shifted, a)
        total, top = g.reduce("Sum", largest), g.reduce("Max", shifted)
        launches = g.check([product, largest, total, top], schedule)
        assert len(launches) == 1, "a small group is one launch"


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_elements(schedule: str) -> None:
    g = Group()
    a = g.input(np.zeros((3, 0), np.float32))
    doubled = g.add("Add", a, a)
    assert g.launches([doubled], traits_of(schedule)) == []
    g.check(
        [doubled, g.reduce("Sum", doubled, [1]), g.reduce("Max", doubled, [1]), g.reduce("Prod", doubled)], schedule
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8", "uint16", "int32", "int64", "bool"])
def test_dtypes(dtype: str, schedule: str) -> None:
    for size in (5, 203):
        g = Group()
        a, b = g.input(drawn(size, dtype=dtype, low=-60, high=60)), g.input(drawn(size, dtype=dtype)[::-1])
        if dtype == "bool":
            both = g.add("LogicalAnd", a, b)
            chosen = g.add("Select", both, a, g.add("LogicalNot", b))
            g.check([both, chosen], schedule)
            continue
        product = g.add("Mul", a, b)
        less = g.add("Less", product, g.constant(as_dtype(dtype).np.type(3)))
        chosen = g.add("Select", less, product, a)
        g.check([product, less, chosen, g.reduce("Min", a), g.reduce("Max", chosen)], schedule)
        g = Group()
        a = g.input(drawn(size, dtype=dtype, low=-60, high=60))
        wide = g.add("Cast", a, dtype=as_dtype("float32"))
        g.check([wide, g.reduce("Sum", wide), g.reduce("Sum", a), g.reduce("Mean", g.add("Add", wide, wide))], schedule)


BROADCASTS = (
    ((4, 5), (5,)),
    ((4, 37), (4, 1)),
    ((3, 4, 35), (4, 1)),
    ((33, 3), (3,)),
    ((2, 3, 40), (2, 1, 40)),
    ((2, 3, 4, 5), (1, 3, 1, 5)),
    ((130, 1), (1, 70)),
    ((6, 64), ()),
    ((3, 1, 1, 18), (5, 1, 1)),
)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_broadcasting(schedule: str) -> None:
    for left, right in BROADCASTS:
        g = Group()
        a, b = g.input(drawn(*left)), g.input(drawn(*right, low=1, high=3))
        inverse = g.add("Reciprocal", b)
        product = g.add("Mul", a, inverse)
        g.check([g.add("Sub", product, b)], schedule)


AXES = ((0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2), ())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("shape", [(3, 5, 7), (20, 3, 65), (2, 300, 9)], ids=str)
def test_every_choice_of_axes(shape: tuple[int, ...], schedule: str) -> None:
    g = Group()
    a = g.input(drawn(*shape))
    doubled = g.add("Add", a, g.input(drawn(shape[1], 1)))
    outputs = [doubled]
    for i, axis in enumerate(AXES):
        type = ("Sum", "Mean", "Max", "Min")[i % 4]
        outputs.append(g.reduce(type, doubled, axis, keepdims=bool(i % 2)))
        if axis:
            outputs.append(g.reduce("Sum", a, axis))
    g.check(outputs, schedule)


# Cut into parts along a line, by lines, by rows of columns; into runs whose sums are joined.
LARGE = (((70_003,), None), ((5, 20_011), (1,)), ((20_011, 3), (0,)), ((3001, 40), (0, 1)), ((2, 5000, 19), (1,)))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_large_reductions_are_made_of_parts(schedule: str) -> None:
    for shape, axis in LARGE:
        g = Group()
        a, b = g.input(drawn(*shape)), g.input(drawn(shape[-1]))
        y = g.add("Mul", a, b)
        launches = g.check([g.reduce("Sum", y, axis), g.reduce("Max", y, axis)], schedule, tol=1e-11)
        parts = [x for launch in launches for x in launch.arguments if isinstance(x, Scratch)]
        assert len(launches) == 2 and len(parts) == 4, f"{shape} is not cut into parts"


def test_sums_of_many_equal_numbers_stay_exact_enough() -> None:
    for shape, axis in (((2_000_000,), None), ((500_000, 4), (0,))):
        g = Group()
        a = g.input(np.full(shape, 0.1, np.float32))
        total = g.reduce("Sum", a, axis)
        launches = g.launches([total], traits_of("cpu"))
        found = run_launches(open_device(), launches, {a: g.arrays[a]}, {total: g.values[total]})[total]
        exact = float(np.float32(0.1)) * prod(shape) / (prod(shape[1:]) if axis else 1)
        assert distance(found, np.full(np.shape(found), exact)) < tolerance("float32") / 4


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_reductions_over_different_axes_follow_the_pointwise_pass(schedule: str) -> None:
    g = Group()
    x, bias = g.input(drawn(40, 70)), g.input(drawn(70))
    y = g.add("Tanh", g.add("Add", x, bias))
    dy = g.add("TanhGrad", y, x)
    outputs = [y, dy, g.reduce("Sum", dy, [0]), g.reduce("Mean", y, [1], True), g.reduce("Sum", y)]
    launches = g.check(outputs, schedule)
    again = [launch for launch in launches if dy in launch.arguments and dy not in launch.writes]
    assert again, "the sum of columns reads what was stored"


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_special_values(schedule: str) -> None:
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-45, 3e38] * 5, np.float32)
    for axis in (None, (0,), (1,)):
        g = Group()
        a, b = g.input(special.reshape(5, 9)), g.input(np.roll(special, 7).reshape(5, 9))
        larger, smaller = g.add("Maximum", a, b), g.add("Minimum", a, b)
        outputs = [larger, smaller, g.add("Select", g.add("IsNan", a), b, a)]
        outputs += [g.reduce(type, v, axis) for type in ("Max", "Min", "Sum") for v in (larger, smaller)]
        g.check(outputs, schedule)
    for few in ([np.nan, 1, 2], [1, 2, np.nan], [-np.inf, -np.inf]):
        g = Group()
        a = g.input(np.array(few, np.float32))
        g.check([g.reduce("Max", a), g.reduce("Min", a)], schedule)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_updates_in_place(schedule: str) -> None:
    for shape in ((9,), (65, 3)):
        g = Group()
        variable, gradient = g.input(drawn(*shape)), g.input(drawn(*shape, low=0))
        rate = g.constant(np.float32(0.1))
        step = g.add("Mul", gradient, rate)
        after = g.add("Sub", variable, step)
        total = g.reduce("Sum", g.add("Square", after), [0])
        launches = g.check([step, total], schedule, {after: variable})
        writer = [launch for launch in launches if variable in launch.writes]
        assert len(writer) == 1 and writer[0] is launches[-1], "what reads the variable comes before it is written"
        g.check([after, step], schedule, {after: variable})


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_refused_elements(schedule: str) -> None:
    for divisors in ([3, 1, 2, 0, 5], [3, 1, 2, 4, 5] * 9):
        g = Group()
        a = g.input(np.arange(len(divisors), dtype=np.int32) - 2)
        b = g.input(np.array([d or 1 for d in divisors], np.int32))
        quotient = g.add("FloorDiv", a, b)
        if 0 not in divisors:
            g.check([quotient], schedule)
            continue
        given = {a: g.arrays[a], b: np.array(divisors, np.int32)}
        with pytest.raises(InvalidArgumentError, match="zero"):
            run_launches(
                open_device(), g.launches([quotient], traits_of(schedule)), given, {quotient: g.values[quotient]}
            )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_equal_groups_have_equal_sources(schedule: str) -> None:
    def of(unrelated: int) -> str:
        g = Group()
        for _ in range(unrelated):
            g.input(drawn(3))
        a, b = g.input(drawn(50)), g.input(drawn(50))
        (launch,) = g.launches([g.add("Mul", g.add("Add", a, b), a)], traits_of(schedule))
        return launch.source

    assert of(0) == of(5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_merged_launches(schedule: str) -> None:
    groups, launches, given, wanted, specs = [], [], {}, {}, {}
    base = 0
    for size in (7, 1000, 65, 7, 300):
        g = Group()
        for _ in range(base):  # numbers of their own
            g.values.append(TensorSpec(as_dtype("float32"), ()))
            g.arrays.append(np.zeros((), np.float32))
        a, b = g.input(drawn(size)), g.input(drawn(size)[::-1])
        after = g.add("Sub", a, g.add("Mul", b, g.constant(np.float32(0.25))))
        launches += g.launches([], traits_of(schedule), {after: a})
        given |= {a: np.array(g.arrays[a]), b: g.arrays[b]}
        wanted[a], specs[a] = g.arrays[after], g.values[a]
        base = len(g.values)
        groups.append(g)
    (one,) = fused.merged(launches)
    assert one.source.count("static void") == 4, "equal functions are there once"
    assert set(one.writes) == set(wanted)
    found = run_launches(open_device(), [one], given, specs)
    for v, right in wanted.items():
        assert distance(found[v], right) <= tolerance("float32")


def test_what_is_not_merged() -> None:
    g = Group()
    a = g.input(drawn(100_000))
    double = g.add("Add", a, a)
    assert fused.merged([]) == []
    many = [
        launch._replace(arguments=tuple(range(3 * i, 3 * i + len(launch.arguments))), writes=(3 * i + 1,))
        for i in range(70)
        for launch in g.launches([double], traits_of("cpu"))
    ]
    joined = fused.merged(many)
    assert len(joined) == 3 and all(len(launch.arguments) <= 64 for launch in joined)


def test_no_expression_means_no_launches() -> None:
    g = Group()
    a = g.input(np.array([1 + 2j], np.complex64))
    g.add("Add", a, a)
    assert fused.group_launches(g.instructions, [1], g.values, {}, traits_of("cpu")) is None
    g = Group()
    g.add("Add", g.input(drawn(3, dtype="float64")), g.input(drawn(3, dtype="float64")))
    poor = traits_of("cpu")._replace(doubles=False)
    assert fused.group_launches(g.instructions, [2], g.values, {}, poor) is None
    assert not fused.is_pointwise("MatMul") and fused.is_pointwise("Add")


def test_the_bias_of_leading_channels() -> None:
    for shape, channels in (((2, 5, 7, 3), "first"), ((2, 7, 3, 5), "last")):
        g = Group()
        g.check([g.add("BiasAdd", g.input(drawn(*shape)), g.input(drawn(5)), channels=channels)], "cpu")
