"""Variables that are found again by their full name: what `get_variable` does once the scope has had its say.

Policy: TensorFlow 1's rules.  What exists already is an error without `reuse`, what does not exist is one with
`reuse=True`; each names the line or the nearest name.

State: per outermost graph, in `graph.store["named_variables"]`: the variables by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from graphflow import initializers, spec
from graphflow.dtypes import as_dtype, float32
from graphflow.errors import AlreadyExistsError, DTypeError, GraphError, ShapeError, UnimplementedError
from graphflow.graph import Graph, get_default_graph
from graphflow.keys import GraphKeys
from graphflow.ops import state
from graphflow.tensor_shape import as_dims
from graphflow.variables import Variable


def get_by_name(
    name: str,
    shape: Any = None,
    dtype: Any = float32,
    initializer: Any = None,
    regularizer: Any = None,
    reuse: Any = None,
    trainable: bool = True,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    constraint: Any = None,
) -> Any:
    """The variable of that full name: found again, or made."""
    if partitioner is not None:
        raise UnimplementedError(
            f"variable {name!r} has a partitioner: graphflow keeps a variable in one piece",
            hint="leave partitioner out",
        )
    if shape is not None and initializer is not None and not callable(initializer):
        raise ShapeError(
            "If initializer is a constant, do not specify shape.",
            got=f"variable {name!r}: shape {shape} and {type(initializer).__name__}",
            hint="tf.constant_initializer(value) takes a shape",
        )
    graph = state.outermost(get_default_graph())
    named: dict[str, Any] = graph.store.setdefault("named_variables", {})
    found = named.get(name)
    if found is not None:
        return _shared(name, found, as_dims(shape), as_dtype(dtype), reuse)
    if reuse is True:
        raise _missing(name, named)
    with graph.as_default(), graph.scoped(name="", controls=(), region=None):
        value, wanted = _initial_value(name, shape, as_dtype(dtype), initializer)
        variable = Variable(
            value, trainable, collections, validate_shape, caching_device, name, dtype=wanted, constraint=constraint
        )
        named[name] = variable
        if regularizer is not None:
            _regularize(variable, name, regularizer, graph)
    return variable


def _shared(name: str, found: Any, dims: spec.Dims, dtype: Any, reuse: Any) -> Any:
    """A variable that exists, checked against what is asked for."""
    if not reuse:
        raise AlreadyExistsError(
            f"Variable {name} already exists, disallowed. "
            "Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in VarScope?",
            got=f"originally defined at: {found.op.source}",
            hint="tf.variable_scope(name, reuse=tf.AUTO_REUSE) makes it once and shares it afterwards",
        )
    if not spec.compatible(dims, found.dims):
        raise ShapeError(
            f"Trying to share variable {name}, but specified shape {spec.describe(dims)} and found shape "
            f"{spec.describe(found.dims)}.",
            op=found.op,
        )
    if dtype is not found.dtype:
        raise DTypeError(
            f"Trying to share variable {name}, but specified dtype {dtype.name} and found dtype {found.dtype.name}.",
            op=found.op,
        )
    return found


def _missing(name: str, named: dict[str, Any]) -> GraphError:
    import difflib  # a mistyped name is rare

    near = difflib.get_close_matches(name, named, n=1)
    return GraphError(
        f"Variable {name} does not exist, or was not created with tf.get_variable(). "
        "Did you mean to set reuse=tf.AUTO_REUSE in VarScope?",
        expected=f"{near[0]!r}?" if near else None,
        hint="reuse=True only finds variables that were made before; tf.Variable(...) is never found again by name",
    )


def _initial_value(name: str, shape: Any, dtype: Any, initializer: Any) -> tuple[Any, Any]:
    """The initial value (or a function that builds it) and the dtype to ask for."""
    if initializer is None:
        initializer = _default_initializer(name, dtype)
    if not callable(initializer):
        return initializer, None
    if inspect.isclass(initializer):
        make: Any = initializer
        initializer = make(dtype=dtype)
    parameters = _parameters(initializer)
    if (
        parameters is not None
        and "shape" not in parameters
        and all(p.default is not p.empty for p in parameters.values())
    ):
        return initializer, dtype  # a function without parameters builds the value
    dims = as_dims(shape)
    if dims is None or None in dims:
        raise ShapeError(
            f"Shape of a new variable ({name}) must be fully defined, but instead was {spec.describe(dims)}.",
            hint="tf.get_variable(name, shape=[...]); an initializer that is a value brings its own shape",
        )
    if parameters is None:
        extra: dict[str, Any] = {"dtype": dtype, "partition_info": None}
    else:
        extra = {k: v for k, v in (("dtype", dtype), ("partition_info", None)) if k in parameters}
    return (lambda: _called(initializer, list(dims), extra)), dtype


def _called(initializer: Any, shape: Any, extra: dict[str, Any]) -> Any:
    value = initializer(shape, **extra)
    if callable(value):
        raise DTypeError(
            "the initializer returned another initializer",
            got=repr(value)[:80],
            hint="call it: initializer=tf.contrib.layers.xavier_initializer()",
        )
    return value


def _parameters(function: Any) -> Any:
    """The named parameters of an initializer; None where it takes any keyword."""
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in found.values()):
        return None
    return {k: p for k, p in found.items() if p.kind is not p.VAR_POSITIONAL}


def _default_initializer(name: str, dtype: Any) -> Any:
    if dtype.is_floating:
        return initializers.glorot_uniform_initializer(dtype=dtype)
    if dtype.is_integer or dtype.is_bool:
        return initializers.zeros_initializer(dtype=dtype)
    raise DTypeError(f"An initializer for variable {name} of {dtype.name} is required")


def _regularize(variable: Any, name: str, regularizer: Callable[[Any], Any], graph: Graph) -> None:
    with graph.colocate_with(variable.op), graph.name_scope(f"{name}/Regularizer/"):
        loss = regularizer(variable)
    if loss is not None:
        graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
