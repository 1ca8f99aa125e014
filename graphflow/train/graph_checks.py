"""What a stored graph must satisfy beyond the inference of its ops, which trusts the library that calls it.

Policy: pure checks; they raise typed errors and change nothing, `connect` excepted, which notes what a function
captures.

State: the attribute names of op types, worked out once.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphflow import dtypes, spec
from graphflow.compile.lower import HANDLE
from graphflow.dtypes import DType
from graphflow.errors import DTypeError, GraphError, ShapeError
from graphflow.graph import FuncGraph
from graphflow.opdef import OPS, OpDef
from graphflow.tensor import Operation, Tensor
from graphflow.train import graph_values
from graphflow.train.graph_json import ARGUMENT

_attribute_names: dict[str, frozenset[str] | None] = {}


def attribute_names(definition: OpDef) -> frozenset[str] | None:
    """The attributes that an op type may have; None where its inference does not tell."""
    if definition.type not in _attribute_names:
        _attribute_names[definition.type] = _attribute_names_of(definition)
    return _attribute_names[definition.type]


def _attribute_names_of(definition: OpDef) -> frozenset[str] | None:
    try:
        parameters = list(inspect.signature(definition.infer).parameters.values())
        outer = list(inspect.signature(definition.function).parameters)
    except (TypeError, ValueError):
        return None
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = {p.name for p in parameters if p.kind in named}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        found.update(name for name in outer if name != "name")
    return frozenset(found)


def check_dims(dims: Any) -> None:
    """Raise unless it is a partial shape of sane rank."""
    if dims is None:
        return
    if type(dims) is not tuple or not all(d is None or type(d) is int and d >= 0 for d in dims):
        got = graph_values.shown(dims)
        raise ShapeError("a shape in the file is malformed", expected="sizes >= 0 and nulls", got=got)
    if len(dims) > graph_values.MAX_RANK:
        expected = f"at most {graph_values.MAX_RANK}"
        raise ShapeError("a shape in the file has too many dimensions", expected=expected, got=str(len(dims)))


def check_before(definition: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, Any]) -> None:
    """What an op needs beyond its own inference, which trusts the library that calls it."""
    if "dims" in attrs:
        check_dims(attrs["dims"])
    if "dtype" in attrs and type(attrs["dtype"]) is not DType and attrs["dtype"] is not None:
        raise DTypeError("the attribute 'dtype' must be a dtype", got=graph_values.shown(attrs["dtype"]))
    if definition.type != ARGUMENT and attrs.get("dtype") is dtypes.resource:
        raise DTypeError("only a variable makes a handle", got="dtype resource")
    if definition.effect and (not inputs or inputs[0].dtype is not dtypes.resource):
        raise GraphError("the first input must be a variable", got=repr(inputs[:1]))
    if not definition.control_flow and any(isinstance(v, FuncGraph) for v in attrs.values()):
        raise GraphError(f"{definition.type} takes no functions")
    check = _CHECKS.get(definition.type)
    if check is not None:
        check(inputs, attrs)


def check_after(op: Operation) -> None:
    """What inference may have been told: outputs are of a dtype and a shape, and only variables make handles."""
    for t in op.outputs:
        if type(t.dtype) is not DType:
            raise DTypeError("an output has no dtype", got=graph_values.shown(t.dtype))
        check_dims(t.dims)
        if t.dtype is dtypes.resource and op.type not in (HANDLE, ARGUMENT):
            raise GraphError("only a variable makes a handle")


def _check_const(inputs: Sequence[Tensor], attrs: Mapping[str, Any]) -> None:
    value, dtype = attrs.get("value"), attrs.get("dtype")
    found = dtypes.from_numpy(value.dtype) if isinstance(value, (np.ndarray, np.generic)) else None
    if found is None or found is not dtype:
        raise DTypeError("a constant's value is an array of its dtype", expected=str(dtype), got=str(found))


def _check_if(inputs: Sequence[Tensor], attrs: Mapping[str, Any]) -> None:
    branches = [attrs.get("then_branch"), attrs.get("else_branch")]
    if not all(isinstance(b, FuncGraph) for b in branches):
        raise GraphError("a conditional needs two branches")
    first, second = ([t.dtype for t in b.results] for b in branches if isinstance(b, FuncGraph))
    if first != second:
        raise DTypeError("both branches must return the same dtypes", expected=str(first), got=str(second))


def _check_while(inputs: Sequence[Tensor], attrs: Mapping[str, Any]) -> None:
    condition, body, count = attrs.get("cond"), attrs.get("body"), attrs.get("count")
    if not isinstance(condition, FuncGraph) or not isinstance(body, FuncGraph) or type(count) is not int:
        raise GraphError("a loop needs a condition, a body and the number of its variables")
    if not 0 < count <= min(len(body.args), len(body.results), len(condition.args), len(inputs)):
        raise GraphError("a loop has other variables than its body", got=str(count))
    if len(condition.results) != 1 or condition.results[0].dtype is not dtypes.bool_:
        raise DTypeError("the condition of a loop must be one bool", got=str([t.dtype for t in condition.results]))
    for arg, result in zip(body.args[:count], body.results, strict=False):
        if arg.dtype is not result.dtype or not as_known(result.dims, arg.dims):
            raise ShapeError("a body changes a loop variable", expected=repr(arg), got=repr(result))
    own = tuple(range(count))
    for key in ("cond_inputs", "body_inputs"):
        places = attrs.get(key)
        if type(places) is not tuple or places[:count] != own:
            raise GraphError("the first inputs of a loop are its variables", got=graph_values.shown(places))


def _check_handle(inputs: Sequence[Tensor], attrs: Mapping[str, Any]) -> None:
    if "dims" not in attrs or type(attrs.get("dtype")) is not DType:
        raise DTypeError("a variable needs a dtype and a shape", got=", ".join(attrs))


_CHECKS = {HANDLE: _check_handle, "Const": _check_const, "If": _check_if, "While": _check_while}


def as_known(have: spec.Dims, want: spec.Dims) -> bool:
    """Whether everything that `want` says of a shape is certain from `have`."""
    if want is None:
        return True
    if have is None or len(have) != len(want):
        return False
    return all(w is None or w == h for h, w in zip(have, want, strict=True))


def connect(op: Operation, key: str, function: FuncGraph, captured: Sequence[int]) -> None:
    """Check that a function's arguments fit the inputs that they stand for, and note which it captures."""
    places = op.attrs.get(key + "_inputs")
    if function.name != key or type(places) is not tuple or len(places) != len(function.args):
        raise GraphError(f"function {key!r} does not fit the op that uses it", op=op, got=graph_values.shown(places))
    for arg, place in zip(function.args, places, strict=True):
        if type(place) is not int or not 0 <= place < len(op.inputs):
            raise GraphError(f"function {key!r} takes an input that the op does not have", op=op, got=str(place)[:80])
        x = op.inputs[place]
        if arg.dtype is not x.dtype or not as_known(x.dims, arg.dims):
            text = f"an argument of function {key!r} does not fit its input"
            raise ShapeError(text, op=op, expected=repr(arg), got=repr(x))
    for i in captured:
        function.captured.setdefault(op.inputs[places[i]], function.args[i])


class RootHandles:
    """The variables' own handles behind the arguments of branches and loop bodies."""

    def __init__(self) -> None:
        self._outer: dict[FuncGraph, dict[Tensor, Tensor]] = {}

    def of(self, handle: Tensor) -> Tensor:
        """The handle in the main graph, or GraphError."""
        while isinstance(handle.graph, FuncGraph):
            graph = handle.graph
            if graph not in self._outer:
                self._outer[graph] = {arg: outer for outer, arg in graph.captured.items()}
            if handle not in self._outer[graph]:
                raise GraphError("an op of a function works on something that is not a variable", op=handle.op)
            handle = self._outer[graph][handle]
        if handle.op.type != HANDLE:
            raise GraphError("an op works on something that is not a variable", got=handle.name)
        return handle


def check_variable(op: Operation, roots: RootHandles) -> None:
    """Raise unless what an op on a variable says of it is true of that variable."""
    if not OPS[op.type].effect:
        return
    known = roots.of(op.inputs[0]).op.attrs
    dtype = op.attrs.get("dtype", known["dtype"])
    if dtype is not known["dtype"]:
        expected = known["dtype"].name
        raise DTypeError("an op takes a variable for another dtype", op=op, expected=expected, got=str(dtype))
    if not spec.compatible(known["dims"], op.attrs.get("dims")):
        raise ShapeError(
            "an op takes a variable for another shape",
            op=op,
            expected=spec.describe(known["dims"]),
            got=spec.describe(op.attrs.get("dims")),
        )
