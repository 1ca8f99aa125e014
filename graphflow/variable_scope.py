"""`get_variable` and `variable_scope`: variables that are found again by name.

Policy: TensorFlow 1's rules.  Names of variables depend on variable scopes alone, names of ops on name scopes; a
variable scope opens a name scope as well.  A scope hands its defaults and its `reuse` down to the scopes inside it.

State: per outermost graph, in `graph.store["variable_scopes"]`: the current scope, and how often each was opened.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import re
from typing import Any

from graphflow import casting
from graphflow.dtypes import as_dtype, float32
from graphflow.errors import DTypeError, InvalidArgumentError
from graphflow.graph import get_default_graph
from graphflow.keys import GraphKeys
from graphflow.ops import state
from graphflow.tensor import Tensor
from graphflow.variable_store import get_by_name

DEFAULTS = ("initializer", "regularizer", "caching_device", "partitioner", "use_resource", "constraint")


class _ReuseMode(enum.Enum):
    AUTO_REUSE = 1


AUTO_REUSE = _ReuseMode.AUTO_REUSE


class _Scopes:
    """The variable scope of a graph that applies now, and which were opened before."""

    def __init__(self) -> None:
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
    return f"{outer}/{inner}" if outer and inner else outer or inner


def _scopes() -> _Scopes:
    graph = state.outermost(get_default_graph())
    found: _Scopes | None = graph.store.get("variable_scopes")
    if found is None:
        found = graph.store["variable_scopes"] = _Scopes()
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
        prefix = f"{self.name}/" if self.name else ""
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

    def get_variable(
        self, name: Any, dtype: Any = None, reuse: Any = None, custom_getter: Any = None, **given: Any
    ) -> Any:
        """The variable `name` of this scope, with the scope's defaults for what is not given."""
        if not isinstance(name, str) or not name:
            raise DTypeError("a variable has a name", expected="a non-empty string", got=repr(name))
        initializer = given.get("initializer")
        if dtype is not None and initializer is not None and not callable(initializer):
            given["initializer"] = _value_of_dtype(initializer, as_dtype(dtype))
        for key in DEFAULTS:
            if given.get(key) is None:
                given[key] = getattr(self, key)
        given["dtype"] = as_dtype(self.dtype if dtype is None else dtype)
        given["reuse"] = self.reuse if reuse is None else _checked_reuse(reuse)
        getter = self.custom_getter if custom_getter is None else custom_getter
        full = _join(self.name, name)
        if getter is None:
            return get_by_name(full, **given)
        if not callable(getter):
            raise DTypeError("a custom_getter is a function (getter, name, ...)", got=repr(getter)[:80])
        return getter(get_by_name, name=full, **given)


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


def no_regularizer(_: Any) -> None:
    """Use this function to keep a variable from being regularized by its scope."""
    return


# -- the public functions --------------------------------------------------------------------------------------------


def get_variable_scope() -> VariableScope:
    """The variable scope that applies now."""
    return _scopes().scope


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


class variable_scope:
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
        scopes = _scopes()
        outer = scopes.scope
        given = self._given
        if isinstance(given, VariableScope):
            name, base, reuse, name_scope = given.name, given, self._reuse or given.reuse, given.original_name_scope
        else:
            part = scopes.unique(self._default_name or "") if given is None else given
            name, base, reuse, name_scope = _join(outer.name, part), outer, self._reuse or outer.reuse, opened
        scope = VariableScope(
            reuse, name, name_scope=name_scope, **{k: getattr(base, k) for k in (*DEFAULTS, "custom_getter", "dtype")}
        )
        for key, value in self._changes.items():
            if value is not None:
                setattr(scope, key, value)
        if self._changes["custom_getter"] is not None:
            scope.custom_getter = _composed(self._changes["custom_getter"], base.custom_getter)
        return _Entered(scopes, scope, keep_counts=isinstance(given, VariableScope))


class _Entered:
    """A variable scope while it is open."""

    def __init__(self, scopes: _Scopes, scope: VariableScope, keep_counts: bool) -> None:
        self._scopes = scopes
        self._scope = scope
        self._keep_counts = keep_counts

    def __enter__(self) -> VariableScope:
        scopes, name = self._scopes, self._scope.name
        self._outer = scopes.scope
        self._counts = dict(scopes.opened) if self._keep_counts else None
        scopes.opened[name] = scopes.opened.get(name, 0) + 1
        scopes.scope = self._scope
        return self._scope

    def __exit__(self, *exc: Any) -> None:
        scopes = self._scopes
        scopes.scope = self._outer
        scopes.forget_inside(self._scope.name)
        if self._counts is not None:
            scopes.opened = self._counts


def _composed(getter: Any, outer: Any) -> Any:
    """A custom getter inside the scope of another: the inner one calls the outer one."""
    if outer is None:
        return getter
    return lambda actual, *args, **kwargs: getter(functools.partial(outer, actual), *args, **kwargs)


def variable_op_scope(
    values: Any, name_or_scope: Any, default_name: str | None = None, **kwargs: Any
) -> variable_scope:
    """TensorFlow 0.x's spelling of `variable_scope`."""
    return variable_scope(name_or_scope, default_name, values, **kwargs)
