"""Rows for constants, placeholders, identities, and the ops on variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import dtypes, errors
from graphflow.gradients import gradients
from graphflow.graph import get_default_graph
from graphflow.ops import core, math, state
from graphflow.session import Session
from graphflow.testing import Arg, ErrorCase, OpCase


def _same(x: Any) -> Any:
    return x


def _variable(x: Any, start: Any = None) -> tuple[Any, Any]:
    """A variable that fits `x`, and the op that gives it a first value."""
    handle: Any = state.variable_handle(x.dtype, x.dims)
    first = x if start is None else start
    return handle, state.assign_variable(handle, first, dtype=x.dtype, dims=x.dims)


def _read(x: Any) -> list[Any]:
    handle, start = _variable(x)
    return [start, state.read_variable(handle, dtype=x.dtype, dims=x.dims)]


def _slope_of_square(x: Any) -> list[Any]:
    """The derivative of a variable's square in the variable."""
    handle, start = _variable(x)
    value: Any = state.read_variable(handle, dtype=x.dtype, dims=x.dims)
    return [start, *gradients(math.multiply(value, value), handle)]


def _slope_past_a_stop(x: Any) -> Any:
    """The derivative of stop(x) * x, which is x and not 2 x."""
    return gradients(math.multiply(core.stop_gradient(x), x), x)[0]


def _combined(combine: Any) -> Any:
    def build(x: Any, delta: Any) -> list[Any]:
        handle, start = _variable(x)
        changed = combine(handle, delta, dtype=x.dtype, dims=x.dims)
        return [start, changed, state.read_variable(handle, dtype=x.dtype, dims=x.dims)]

    return build


def _initialized(x: Any) -> list[Any]:
    handle: Any = state.variable_handle(x.dtype, x.dims)
    start = state.assign_variable(handle, x, dtype=x.dtype, dims=x.dims)
    return [start, state.variable_is_initialized(handle)]


def _scattered(kind: str, nd: bool = False) -> Any:
    op = state.scatter_nd_variable if nd else state.scatter_variable

    def build(x: Any, indices: Any, updates: Any) -> list[Any]:
        handle, start = _variable(x)
        return [start, op(handle, indices, updates, dtype=x.dtype, dims=x.dims, kind=kind)]

    return build


_ONE_BY_ONE = {
    "update": lambda old, new: new,
    "add": lambda old, new: old + new,
    "sub": lambda old, new: old - new,
    "mul": lambda old, new: old * new,
    "div": lambda old, new: old / new,
    "min": np.minimum,
    "max": np.maximum,
}


def _scatter_reference(kind: str) -> Any:
    def reference(x: Any, indices: Any, updates: Any) -> list[Any]:
        out = x.copy()
        for place in np.ndindex(indices.shape):
            out[indices[place]] = _ONE_BY_ONE[kind](out[indices[place]], updates[place])
        return [x, out]

    return reference


def _scatter_nd_reference(kind: str) -> Any:
    def reference(x: Any, indices: Any, updates: Any) -> list[Any]:
        out = x.copy()
        for place in np.ndindex(indices.shape[:-1]):
            at = tuple(indices[place])
            out[at] = _ONE_BY_ONE[kind](out[at], updates[place])
        return [x, out]

    return reference


def _after_nothing(x: Any) -> Any:
    return core.with_dependencies([core.no_op()], x)


def _const_after(x: Any) -> list[Any]:
    before = core.identity(x)
    with get_default_graph().control_dependencies([before]):
        return [before, core.constant([1.0, 2.0])]


_TABLE = np.arange(6.0).reshape(2, 3)

CASES: list[OpCase] = [
    OpCase("Const", "scalar", lambda: core.constant(2.5), (), lambda: np.float32(2.5), zero=((),)),
    OpCase("Const", "matrix", lambda: core.constant(_TABLE), (), lambda: _TABLE),
    OpCase("Const", "integers", lambda: core.constant([1, 2, 3]), (), lambda: np.array([1, 2, 3])),
    OpCase("Const", "text", lambda: core.constant(["a", "bc"]), (), lambda: np.array([b"a", b"bc"], object)),
    OpCase("Const", "empty", lambda: core.constant([], dtypes.int64), (), lambda: np.zeros(0, np.int64)),
    OpCase("Const", "filled up", lambda: core.constant([1.0, 2.0], shape=[4]), (), lambda: np.array([1.0, 2, 2, 2])),
    OpCase("Const", "one value everywhere", lambda: core.constant(7, shape=[2, 3]), (), lambda: np.full((2, 3), 7)),
    OpCase("Const", "empty, with a shape", lambda: core.constant([], shape=[2, 0]), (), lambda: np.zeros((2, 0))),
    OpCase("Const", "behind a control edge", _const_after, (Arg((2,)),), lambda x: [x, np.array([1.0, 2.0])], wrt=()),
    OpCase("Placeholder", "fed", _same, (Arg((2, 3)),), _same,
           dtypes=("float16", "float32", "int32", "uint8", "complex128", "bool"), zero=(((0, 3),),)),
    OpCase("Placeholder", "scalar", _same, (Arg(()),), _same),
    OpCase("Placeholder", "text", _same, (np.array([b"x", b"yz"], object),), _same),
    OpCase("PlaceholderWithDefault", "default", lambda x: core.placeholder_with_default(x, x.shape), (Arg((2, 3)),),
           _same, zero=(((0, 3),),)),
    OpCase("PlaceholderWithDefault", "looser shape", lambda x: core.placeholder_with_default(x, [None, 3]),
           (Arg((2, 3)),), _same),
    OpCase("PlaceholderWithDefault", "no shape", lambda x: core.placeholder_with_default(x, None), (Arg(()),), _same),
    OpCase("Identity", "matrix", core.identity, (Arg((2, 3)),), _same,
           dtypes=("float16", "float32", "int32", "complex128"), zero=(((0, 3),),)),
    OpCase("Identity", "scalar", core.identity, (Arg(()),), _same),
    OpCase("Identity", "text", core.identity, (np.array([b"x", b"yz"], object),), _same),
    OpCase("Identity", "twice the same", lambda x: [core.identity(x), core.identity(x)], (Arg((2, 3)),),
           lambda x: [x, x]),
    OpCase("StopGradient", "matrix", core.stop_gradient, (Arg((2, 3)),), _same, wrt=(), zero=(((0, 3),),)),
    OpCase("StopGradient", "one of two paths", lambda x: math.multiply(core.stop_gradient(x), x), (Arg((2, 3)),),
           lambda x: x * x, wrt=()),
    OpCase("StopGradient", "gradient", _slope_past_a_stop, (Arg((2, 3)),), _same, wrt=()),
    OpCase("PreventGradient", "matrix", core.prevent_gradient, (Arg((2, 3)),), _same, wrt=(), zero=(((0, 3),),)),
    OpCase("NoOp", "before an identity", _after_nothing, (Arg((2, 3)),), _same, zero=(((0, 3),),)),
    OpCase("VariableHandle", "read back", _read, (Arg((2, 3)),), lambda x: [x, x], wrt=(), zero=(((0, 3),),)),
    OpCase("ReadVariable", "matrix", _read, (Arg((2, 3)),), lambda x: [x, x], wrt=(), zero=(((0, 3),),),
           dtypes=("float32", "int32", "complex128")),
    OpCase("ReadVariable", "scalar", _read, (Arg(()),), lambda x: [x, x], wrt=()),
    OpCase("ReadVariable", "gradient", _slope_of_square, (Arg((2, 3)),), lambda x: [x, 2 * x], wrt=()),
    OpCase("IsVariableInitialized", "after a write", _initialized, (Arg((2, 3)),), lambda x: [x, np.True_], wrt=(),
           zero=(((0, 3),),)),
    OpCase("Assign", "matrix", _read, (Arg((2, 3)),), lambda x: [x, x], wrt=(), zero=(((0, 3),),)),
    OpCase("AssignAdd", "matrix", _combined(state.assign_add_variable), (Arg((2, 3)), Arg((2, 3))),
           lambda x, d: [x, x + d, x + d], wrt=(), dtypes=("float32", "int32"), zero=(((0, 3), (0, 3)),)),
    OpCase("AssignAdd", "scalar", _combined(state.assign_add_variable), (Arg(()), Arg(())),
           lambda x, d: [x, x + d, x + d], wrt=()),
    OpCase("AssignSub", "matrix", _combined(state.assign_sub_variable), (Arg((2, 3)), Arg((2, 3))),
           lambda x, d: [x, x - d, x - d], wrt=(), dtypes=("float32", "int32"), zero=(((0, 3), (0, 3)),)),
    *[OpCase("Scatter", kind, _scattered(kind), (Arg((4, 2)), np.array([3, 0, 3]), Arg((3, 2), 0.5)),
             _scatter_reference(kind), wrt=(), zero=(((4, 0), (3,), (3, 0)), ((4, 2), (0,), (0, 2))))
      for kind in _ONE_BY_ONE],
    OpCase("Scatter", "one row", _scattered("add"), (Arg((4, 2)), np.array(2), Arg((2,))), _scatter_reference("add"),
           wrt=()),
    *[OpCase("ScatterNdVariable", kind, _scattered(kind, nd=True),
             (Arg((4, 2)), np.array([[3, 1], [0, 0], [3, 1]]), Arg((3,), 0.5)), _scatter_nd_reference(kind), wrt=(),
             zero=(((4, 2), (0, 2), (0,)),))
      for kind in _ONE_BY_ONE],
    OpCase("ScatterNdVariable", "whole rows", _scattered("update", nd=True),
           (Arg((4, 2)), np.array([[3], [1]]), Arg((2, 2))), _scatter_nd_reference("update"), wrt=()),
]  # fmt: skip


def _run(tensor: Any) -> Any:
    with Session() as session:
        return session.run(tensor)


def _vector(size: int = 3) -> tuple[Any, Any]:
    return _variable(core.constant(np.zeros((size, 2))))


def _assign_wrong(value: Any) -> Any:
    handle, _ = _vector()
    return state.assign_variable(handle, core.constant(value), dtype=dtypes.float64, dims=(3, 2))


def _scatter_at(indices: Any, updates: Any) -> Any:
    handle, start = _vector()
    with get_default_graph().control_dependencies([start]):
        added = state.scatter_variable(handle, indices, np.asarray(updates), dtypes.float64, (3, 2), "add")
        return _run(added)


def _scatter_nd_at(indices: Any, updates: Any) -> Any:
    handle, start = _vector()
    with get_default_graph().control_dependencies([start]):
        added = state.scatter_nd_variable(handle, indices, np.asarray(updates), dtypes.float64, (3, 2), "add")
        return _run(added)


def _uninitialized() -> Any:
    handle = state.variable_handle(dtypes.float32, (2,), name="weights")
    return _run(state.read_variable(handle, dtype=dtypes.float32, dims=(2,)))


def _through_prevented() -> Any:
    x = core.placeholder(dtypes.float32, [2])
    return gradients(core.prevent_gradient(x, message="use the other path"), x)


ERRORS: list[ErrorCase] = [
    ErrorCase("Const", "verify_shape", lambda: core.constant([1, 2], shape=[3], verify_shape=True), errors.ShapeError,
              r"\[3\]"),
    ErrorCase("Const", "too many values", lambda: core.constant([1, 2], shape=[1]), errors.ShapeError, "does not fit"),
    ErrorCase("Const", "open shape", lambda: core.constant(1.0, shape=[None]), errors.ShapeError, "complete shape"),
    ErrorCase("Const", "of a tensor", lambda: core.constant(core.constant(1.0)), errors.DTypeError, "tf.identity"),
    ErrorCase("Const", "ragged", lambda: core.constant([[1], [2, 3]]), errors.DTypeError, "cannot make an array"),
    ErrorCase("Const", "text as number", lambda: core.constant("1.5", dtypes.float32), errors.DTypeError, "float32"),
    ErrorCase("Const", "fraction as integer", lambda: core.constant(1.5, dtypes.int32), errors.DTypeError, "int32"),
    ErrorCase("Const", "None", lambda: core.constant(None), errors.DTypeError, "None is not a value"),
    ErrorCase("Placeholder", "not a dtype", lambda: core.placeholder("float99"), errors.DTypeError, "float99"),
    ErrorCase("Placeholder", "not fed", lambda: _run(core.placeholder(dtypes.float32, [2], name="images")),
              errors.InvalidArgumentError, "You must feed a value for placeholder 'images'"),
    ErrorCase("PlaceholderWithDefault", "shape", lambda: core.placeholder_with_default([1.0, 2.0], [3]),
              errors.ShapeError, "default does not fit"),
    ErrorCase("PreventGradient", "gradient", _through_prevented, LookupError, "use the other path"),
    ErrorCase("Assign", "shape", lambda: _assign_wrong(np.zeros((2, 3))), errors.ShapeError, r"\[3, 2\]"),
    ErrorCase("Assign", "dtype", lambda: _assign_wrong(np.zeros((3, 2), np.float32)), errors.DTypeError, "float64"),
    ErrorCase("ReadVariable", "uninitialized", _uninitialized, errors.FailedPreconditionError,
              "'weights' is not initialized"),
    ErrorCase("AssignAdd", "shape",
              lambda: state.assign_add_variable(_vector()[0], np.zeros(5), dtype=dtypes.float64, dims=(3, 2)),
              errors.ShapeError, "broadcast"),
    ErrorCase("Scatter", "out of range", lambda: _scatter_at([3], np.ones((1, 2))), errors.InvalidArgumentError,
              "out of range"),
    ErrorCase("Scatter", "negative", lambda: _scatter_at([-1], np.ones((1, 2))), errors.InvalidArgumentError,
              "out of range"),
    ErrorCase("Scatter", "shapes", lambda: _scatter_at([0, 1], np.ones((3, 2))), errors.ShapeError, "do not fit"),
    ErrorCase("Scatter", "fractions", lambda: _scatter_at([0.5], np.ones((1, 2))), errors.DTypeError, "integers"),
    ErrorCase("ScatterNdVariable", "out of range", lambda: _scatter_nd_at([[0, 2]], np.ones(1)),
              errors.InvalidArgumentError, "out of range"),
    ErrorCase("ScatterNdVariable", "fractions", lambda: _scatter_nd_at([[0.5, 0.5]], np.ones(1)), errors.DTypeError,
              "integers"),
]  # fmt: skip

NOT_TESTED_HERE = {"Arg": "tests/cases/control.py: the arguments of branches and loop bodies"}
NO_GRADIENT_ROW = {
    "PreventGradient": "tests/cases/core.py: an error row",
    "ReadVariable": "tests/cases/core.py: the row `gradient` has it as its output",
    "StopGradient": "tests/cases/core.py: the row `gradient` has it as its output",
}
