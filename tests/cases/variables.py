"""Rows of the ops on variables that have none in `core`; whole programs are in tests/test_variables.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import dtypes, errors
from graphflow.graph import get_default_graph
from graphflow.ops import core, state
from graphflow.session import Session
from graphflow.testing import Arg, ErrorCase, OpCase


def _initialized_or_not(x: Any) -> list[Any]:
    """The initial value where there is no value yet, and the value after a write."""
    handle = state.variable_handle(x.dtype, x.dims)
    before = state.initialized_value(handle, x)
    with get_default_graph().control_dependencies([before]):
        doubled = state.assign_variable(handle, x + x, dtype=x.dtype, dims=x.dims)
    with get_default_graph().control_dependencies([doubled]):
        return [state.initialized_value(handle, x)]


def _counted(start: Any) -> list[Any]:
    handle = state.variable_handle(start.dtype, ())
    written = state.assign_variable(handle, start, dtype=start.dtype, dims=())
    with get_default_graph().control_dependencies([written]):
        first = state.count_up_to_variable(handle, 10, dtype=start.dtype, dims=())
    with get_default_graph().control_dependencies([first]):
        return [first, state.read_variable(handle, dtype=start.dtype, dims=())]


def _names(flags: Any) -> Any:
    return state.uninitialized_names([flags[0], flags[1]], names=("a", "b"))


def _past_the_end() -> Any:
    handle = state.variable_handle(dtypes.int32, ())
    written = state.assign_variable(handle, 10, dtype=dtypes.int32, dims=())
    with get_default_graph().control_dependencies([written]):
        counted = state.count_up_to_variable(handle, 10, dtype=dtypes.int32, dims=())
    with Session() as session:
        return session.run(counted)


def _handle(dtype: Any, dims: Any) -> Any:
    return state.variable_handle(dtype, dims)


CASES: list[OpCase] = [
    OpCase("InitializedValue", "before and after", _initialized_or_not, (Arg((2, 3)),), lambda x: [2 * x], wrt=(),
           zero=(((0, 3),),)),
    OpCase("InitializedValue", "scalar", _initialized_or_not, (Arg(()),), lambda x: [2 * x], wrt=()),
    OpCase("CountUpTo", "int32", _counted, (np.array(3, np.int32),), lambda x: [x, x + 1]),
    OpCase("CountUpTo", "int64", _counted, (np.array(-1, np.int64),), lambda x: [x, x + 1]),
    OpCase("UninitializedNames", "one of two", _names, (np.array([True, False]),), lambda x: np.array([b"b"], object)),
    OpCase("UninitializedNames", "none", _names, (np.array([True, True]),), lambda x: np.array([], object)),
    OpCase("UninitializedNames", "no variable", lambda: state.uninitialized_names([], names=()), (),
           lambda: np.array([], object)),
]  # fmt: skip

ERRORS: list[ErrorCase] = [
    ErrorCase("CountUpTo", "limit reached", _past_the_end, errors.OutOfRangeError, "Reached limit of 10"),
    ErrorCase("CountUpTo", "fractions",
              lambda: state.count_up_to_variable(_handle(dtypes.float32, ()), 3, dtype=dtypes.float32, dims=()),
              errors.DTypeError, "integer variable"),
    ErrorCase("CountUpTo", "vector",
              lambda: state.count_up_to_variable(_handle(dtypes.int32, (2,)), 3, dtype=dtypes.int32, dims=(2,)),
              errors.ShapeError, "scalar variable"),
    ErrorCase("InitializedValue", "not a handle", lambda: state.initialized_value(core.constant(1.0), 2.0),
              errors.DTypeError, "handle of a variable"),
    ErrorCase("UninitializedNames", "a name too many", lambda: state.uninitialized_names([True], names=("a", "b")),
              errors.InvalidArgumentError, "a flag for each name"),
    ErrorCase("AssignAdd", "flags",
              lambda: state.assign_add_variable(_handle(dtypes.bool_, ()), True, dtype=dtypes.bool_, dims=()),
              errors.DTypeError, "only numbers"),
    ErrorCase("Scatter", "scalar variable",
              lambda: state.scatter_variable(_handle(dtypes.float32, ()), [0], core.constant([1.0]),
                                             dtype=dtypes.float32, dims=(), kind="add"),
              errors.ShapeError, "no rows"),
    ErrorCase("ScatterNdVariable", "index too long",
              lambda: state.scatter_nd_variable(_handle(dtypes.float32, (2,)), [[0, 0]], core.constant([1.0]),
                                                dtype=dtypes.float32, dims=(2,), kind="add"),
              errors.ShapeError, "longer than the variable has axes"),
    ErrorCase("ScatterNdVariable", "updates",
              lambda: state.scatter_nd_variable(_handle(dtypes.float32, (2, 3)), [[0], [1]], core.constant([1.0]),
                                                dtype=dtypes.float32, dims=(2, 3), kind="add"),
              errors.ShapeError, "updates do not fit"),
]  # fmt: skip

NO_ZERO_SIZE = {
    "CountUpTo": "counts a scalar",
    "UninitializedNames": "takes scalars",
}
NO_GRADIENT_ROW = {"InitializedValue": "tests/test_variables.py: a variable cannot be fed"}
