"""`get_variable` and `variable_scope`: variables that are found again by name.

Policy: TensorFlow 1's rules.  Names of variables depend on variable scopes alone, names of ops on name scopes; a
variable scope opens a name scope as well.  Reuse is inherited and never silent: what exists already is an error
without `reuse`, what does not exist is one with `reuse=True`, and each error names the line or the nearest name.

State: per outermost graph, in `graph.store["variable_store"]`: the variables by name, the current scope, and how
often each scope was opened.
"""

from __future__ import annotations

import contextlib
import difflib
import enum
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

from graphflow import casting, initializers, spec
from graphflow.dtypes import as_dtype, float32
from graphflow.errors import AlreadyExistsError, DTypeError, GraphError, InvalidArgumentError, ShapeError, UnimplementedError
from graphflow.graph import Graph, get_default_graph
from graphflow.keys import GraphKeys
from graphflow.ops import state
from graphflow.tensor import Tensor
from graphflow.tensor_shape import as_dims
from graphflow.variables import Variable

INHERITED = ("initializer", "regularizer", "caching_device", "partitioner", "custom_getter", "dtype", "use_resource", "constraint")


class _ReuseMode(enum.Enum):
    AUTO_REUSE = 1


AUTO_REUSE = _ReuseMode.AUTO_REUSE


class _Store:
    """The variables of a graph by name, and the variable scope that applies now."""

    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}
        self.scope = VariableScope(False)
        self.opened: dict[str, int] = {}

    def unique(self, prefix: str) -> str:
        """`prefix`, `prefix_1`, ...: the first that no scope of the current one has."""
        full = _join(self.scope.name, prefix)
        number = 0
        candidate = full
        while self.opened.get(candidate, 0):
            number += 1
            candidate = f"{full}_{number}"
        return prefix if not number else f"{prefix}_{number}"

    def forget_inside(self, name: str) -> None:
        """Let the default names inside a scope start over."""
        for key in self.opened:
            if not name or key.startswith(name + "/"):
                self.opened[key] = 0


def _join(outer: str, inner: str) -> str:
    return f"{outer}/{inner}" if outer else inner


def _store() -> _Store:
    graph = state.outermost(get_default_graph())
    found: _Store | None = graph.store.get("variable_store")
    if found is None:
        found = graph.store["variable_store"] = _Store()
    return found


class VariableScope:
    """What `get_variable` takes from its surroundings: a name prefix and defaults."""

    def __init__(
        self,
        reuse: Any,
        name: str = "",
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        name_scope: str = "",
        dtype: Any = float32,
        use_resource: Any = None,
        constraint: Any = None,
    ) -> None:
        self.reuse = _checked_reuse(reuse)
        self.name = name
        self.original_name_scope = name_scope
        self.initializer = initializer
        self.regularizer = regularizer
        self.caching_device = caching_device
        self.partitioner = partitioner
        self.custom_getter = custom_getter
        self.dtype = dtype
        self.use_resource = use_resource
        self.constraint = constraint

    def __repr__(self) -> str:
        return f"<tf.VariableScope {self.name!r} reuse={self.reuse}>"

    def reuse_variables(self) -> None:
        """From now on every variable of this scope must exist."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        """Change the default initializer."""
        self.initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        """Change the default regularizer."""
        self.regularizer = regularizer

    def set_dtype(self, dtype: Any) -> None:
        """Change the default dtype."""
        self.dtype = dtype

    def set_custom_getter(self, custom_getter: Any) -> None:
        """Change the function that stands before `get_variable`."""
        self.custom_getter = custom_getter

    def get_collection(self, name: str) -> list[Any]:
        """The items of a collection that belong to this scope."""
        prefix = self.name + "/" if self.name else ""
        return state.outermost(get_default_graph()).get_collection(name, re.escape(prefix))

    def global_variables(self) -> list[Any]:
        """The global variables of this scope."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def trainable_variables(self) -> list[Any]:
        """The trainable variables of this scope."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def local_variables(self) -> list[Any]:
        """The local variables of this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def get_variable(self, name: str, dtype: Any = None, reuse: Any = None, custom_getter: Any = None, **given: Any) -> Any:
        """The variable `name` of this scope, with the scope's defaults for what is not given."""
        if not isinstance(name, str) or not name:
            raise DTypeError("a variable has a name", expected="a non-empty string", got=repr(name))
        initializer = given.get("initializer")
        if dtype is not None and initializer is not None and not callable(initializer):
            given["initializer"] = _value_of_dtype(initializer, as_dtype(dtype))
        for key in ("initializer", "regularizer", "caching_device", "partitioner", "use_resource", "constraint"):
            if given.get(key) is None:
                given[key] = getattr(self, key)
        given["dtype"] = as_dtype(self.dtype if dtype is None else dtype)
        given["reuse"] = self.reuse if reuse is None else _checked_reuse(reuse)
        getter = self.custom_getter if custom_getter is None else custom_getter
        full = _join(self.name, name)
        if getter is None:
            return _get_single(full, **given)
        if not callable(getter):
            raise DTypeError("a custom_getter is a function (getter, name, ...)", got=repr(getter)[:80])
        return getter(_get_single, name=full, **given)


def _checked_reuse(reuse: Any) -> Any:
    if reuse in (None, False, True) or reuse is AUTO_REUSE:
        return reuse
    raise InvalidArgumentError("reuse is True, False, None or tf.AUTO_REUSE", got=repr(reuse)[:80])


def _value_of_dtype(value: Any, dtype: Any) -> Any:
    """An initial value of the dtype that was asked for."""
    if not hasattr(value, "_as_tensor") and not isinstance(value, Tensor):
        return casting.as_array(value, dtype)
    if value.dtype is not dtype:
        raise DTypeError(
            f"Initializer type '{value.dtype.name}' and explicit dtype '{dtype.name}' don't match.",
            expected=dtype.name,
            got=value.dtype.name,
        )
    return value


# -- one variable ----------------------------------------------------------------------------------------------------


def _get_single(
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
            f"variable {name!r} has a partitioner: graphflow keeps a variable in one piece", hint="leave partitioner out"
        )
    if shape is not None and initializer is not None and not callable(initializer):
        raise ShapeError(
            "If initializer is a constant, do not specify shape.",
            got=f"variable {name!r}: shape {shape} and {type(initializer).__name__}",
            hint="tf.constant_initializer(value) takes a shape",
        )
    store = _store()
    found = store.variables.get(name)
    if found is not None:
        return _shared(name, found, as_dims(shape), as_dtype(dtype), reuse)
    if reuse is True:
        raise _missing(name, store)
    graph = state.outermost(get_default_graph())
    with graph.as_default(), graph.scoped(name="", controls=(), region=None):
        value, wanted = _initial_value(name, shape, as_dtype(dtype), initializer, validate_shape)
        variable = Variable(
            value, trainable, collections, validate_shape, caching_device, name, dtype=wanted, constraint=constraint
        )
        store.variables[name] = variable
        if regularizer is not None:
            _regularize(variable, name, regularizer, graph)
    return variable


def _shared(name: str, found: Any, dims: spec.Dims, dtype: Any, reuse: Any) -> Any:
    """A variable that exists, checked against what is asked for."""
    if not reuse:
        raise AlreadyExistsError(
            f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in VarScope?",
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


def _missing(name: str, store: _Store) -> GraphError:
    near = difflib.get_close_matches(name, store.variables, n=1)
    return GraphError(
        f"Variable {name} does not exist, or was not created with tf.get_variable(). "
        "Did you mean to set reuse=tf.AUTO_REUSE in VarScope?",
        expected=f"{near[0]!r}?" if near else None,
        hint="reuse=True only finds variables that were made before; tf.Variable(...) is never found again by name",
    )


def _initial_value(name: str, shape: Any, dtype: Any, initializer: Any, validate: bool) -> tuple[Any, Any]:
    """The initial value (or a function that builds it) and the dtype to ask for."""
    if initializer is None:
        initializer = _default_initializer(name, dtype)
    if not callable(initializer):
        return initializer, None
    if inspect.isclass(initializer):
        initializer = initializer(dtype=dtype)
    parameters = _parameters(initializer)
    if parameters is not None and not any(p.default is p.empty for p in parameters.values()) and "shape" not in parameters:
        return initializer, dtype
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


def no_regularizer(_: Any) -> None:
    """Use this function to keep a variable from being regularized by its scope."""
    return


# -- the public functions --------------------------------------------------------------------------------------------


def get_variable_scope() -> VariableScope:
    """The variable scope that applies now."""
    return _store().scope


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Any = None,
    constraint: Any = None,
) -> Any:
    """The variable of that name in the current scope: made, or with `reuse` found again."""
    return get_variable_scope().get_variable(
        name, dtype, shape=shape, initializer=initializer, regularizer=regularizer, trainable=trainable,
        collections=collections, caching_device=caching_device, partitioner=partitioner, validate_shape=validate_shape,
        use_resource=use_resource, custom_getter=custom_getter, constraint=constraint,
    )  # fmt: skip


def get_local_variable(name: str, *args: Any, **kwargs: Any) -> Any:
    """Like `get_variable`, for a variable that is neither saved nor trained."""
    names = ("shape", "dtype", "initializer", "regularizer", "trainable", "collections")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    given["collections"] = [*(given.get("collections") or ()), GraphKeys.LOCAL_VARIABLES]
    given["trainable"] = False
    return get_variable(name, **given)


class variable_scope:  # noqa: N801 - TensorFlow 1's name
    """Prefix the names of the variables made inside, with defaults for `get_variable`; opens a name scope as well."""

    def __init__(
        self,
        name_or_scope: Any,
        default_name: str | None = None,
        values: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        reuse: Any = None,
        dtype: Any = None,
        use_resource: bool | None = None,
        constraint: Any = None,
        auxiliary_name_scope: bool = True,
    ) -> None:
        if name_or_scope is None and default_name is None:
            raise DTypeError("If default_name is None then name_or_scope is required")
        if name_or_scope is not None and not isinstance(name_or_scope, (str, VariableScope)):
            raise DTypeError("name_or_scope must be a string or a VariableScope", got=repr(name_or_scope)[:80])
        if name_or_scope is None and reuse:
            raise InvalidArgumentError("reuse cannot be used without a name_or_scope")
        self._given = name_or_scope
        self._default_name = default_name
        self._reuse = _checked_reuse(reuse)
        self._auxiliary = auxiliary_name_scope
        self._changes = {
            "initializer": initializer, "regularizer": regularizer, "caching_device": caching_device,
            "partitioner": partitioner, "custom_getter": custom_getter, "dtype": dtype, "use_resource": use_resource,
            "constraint": constraint,
        }  # fmt: skip
        self._entered: list[contextlib.ExitStack] = []

    def __enter__(self) -> VariableScope:
        graph, given = get_default_graph(), self._given
        if given is None:
            wanted = self._default_name
        else:
            wanted = given if isinstance(given, str) else given.name.rpartition("/")[2]
        opened = graph.scope.name
        with contextlib.ExitStack() as stack:
            if self._auxiliary and wanted:
                opened = stack.enter_context(graph.name_scope(wanted))
            scope = stack.enter_context(self._variables(opened))
            self._entered.append(stack.pop_all())
        return scope

    def __exit__(self, *exc: Any) -> None:
        self._entered.pop().close()

    def _variables(self, opened: str) -> _Entered:
        """The variable scope alone; `opened` is the name scope that goes with it."""
        store = _store()
        outer = store.scope
        given = self._given
        if isinstance(given, VariableScope):
            name, base, reuse, name_scope = given.name, given, self._reuse or given.reuse, given.original_name_scope
        else:
            part = store.unique(self._default_name or "") if given is None else given
            name, base, reuse, name_scope = _join(outer.name, part), outer, self._reuse or outer.reuse, opened
        scope = VariableScope(reuse, name, name_scope=name_scope, **{k: getattr(base, k) for k in INHERITED})
        for key, value in self._changes.items():
            if value is not None:
                setattr(scope, key, value)
        if self._changes["custom_getter"] is not None:
            scope.custom_getter = _composed(self._changes["custom_getter"], base.custom_getter)
        return _Entered(store, scope, keep_counts=isinstance(given, VariableScope))


class _Entered:
    """A variable scope while it is open."""

    def __init__(self, store: _Store, scope: VariableScope, keep_counts: bool) -> None:
        self._store = store
        self._scope = scope
        self._keep_counts = keep_counts

    def __enter__(self) -> VariableScope:
        store, name = self._store, self._scope.name
        self._outer = store.scope
        self._counts = dict(store.opened) if self._keep_counts else None
        store.opened[name] = store.opened.get(name, 0) + 1
        store.scope = self._scope
        return self._scope

    def __exit__(self, *exc: Any) -> None:
        store = self._store
        store.scope = self._outer
        store.forget_inside(self._scope.name)
        if self._counts is not None:
            store.opened = self._counts


def _composed(getter: Any, outer: Any) -> Any:
    """A custom getter inside the scope of another: the inner one calls the outer one."""
    if outer is None:
        return getter
    return lambda actual, *args, **kwargs: getter(functools.partial(outer, actual), *args, **kwargs)


def variable_op_scope(values: Any, name_or_scope: Any, default_name: str | None = None, **kwargs: Any) -> variable_scope:
    """TensorFlow 0.x's spelling of `variable_scope`."""
    return variable_scope(name_or_scope, default_name, values, **kwargs)
