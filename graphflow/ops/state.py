"""Ops on variables: the handle, reading, assigning, scattering, and which read a use of a variable means.

Policy: a variable in the graph is a handle, made by one op; its value lives in the session.  Reads and writes name
their effect in the `effect` column, from which the compiler derives the order in which they run: that in which they
were built.  So a use of a variable reads it at that point of the program; one ReadVariable serves all uses that have
no write between them and the same control dependencies, atomic region and graph.  A function (a branch, a loop body)
that has not written the variable takes the value from outside; after a write it reads inside.

State: per graph, in `graph.store`: "variables" and "reads" (handle -> Variable, handle -> the read that a fetch of
the variable means), "uses" (the reads in force, and the handles written so far), and for functions "written" and
"hoisted_reads" (by the variable's own handle).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from graphflow import dtypes, spec
from graphflow.compile.lower import effects_of
from graphflow.constants import convert_to_tensor
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.graph import FuncGraph, Graph, get_default_graph
from graphflow.opdef import OPS, call, op
from graphflow.ops import core
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

SCATTERS = ("update", "add", "sub", "mul", "div", "min", "max")


@op("VariableHandle", infer=lambda **_: TensorSpec(dtypes.resource, ()), stateful=True, differentiable=False, weight=0)
def variable_handle(dtype: Any, dims: Any, name: str | None = None) -> Any:
    """The handle of a variable."""
    return call((), name, dtype=dtype, dims=dims)


def _read(handle: Any, *, dtype: dtypes.DType, dims: spec.Dims) -> TensorSpec:
    return TensorSpec(dtype, dims)


@op("ReadVariable", infer=_read, effect="read", same_dtype=None, weight=0)
def read_variable(handle: Any, dtype: Any, dims: Any, name: str | None = None) -> Any:
    """The variable's value at this point of the program."""
    return call((handle,), name, dtype=dtype, dims=dims)


read_variable.vjp(lambda op, dy: dy)


def _initialized(handle: Any, initial: Any) -> TensorSpec:
    if handle.dtype is not dtypes.resource:
        raise DTypeError("takes the handle of a variable", expected="resource", got=handle.dtype.name)
    return TensorSpec(initial.dtype, initial.dims)


@op("InitializedValue", infer=_initialized, effect="read", same_dtype=None, weight=0)
def initialized_value(handle: Any, initial: Any, name: str | None = None) -> Any:
    """The variable's value at this point of the program if it has one, else `initial`."""
    return call((handle, initial), name)


initialized_value.vjp(lambda op, dy: dy, None)


@op(
    "IsVariableInitialized",
    infer=lambda handle: TensorSpec(dtypes.bool_, ()),
    effect="read",
    differentiable=False,
    weight=0,
)
def variable_is_initialized(handle: Any, name: str | None = None) -> Any:
    """Whether the variable has a value."""
    return call((handle,), name)


def _names(*flags: Any, names: tuple[str, ...]) -> TensorSpec:
    if len(flags) != len(names):
        raise InvalidArgumentError("a flag for each name", expected=str(len(names)), got=str(len(flags)))
    return TensorSpec(dtypes.string, (None,))


@op("UninitializedNames", infer=_names, differentiable=False)
def uninitialized_names(flags: Any, names: tuple[str, ...], name: str | None = None) -> Any:
    """The names whose flag is False."""
    return call(flags, name, names=names)


def _check_dtype(value: Any, dtype: dtypes.DType) -> None:
    if value.dtype is not dtype:
        raise DTypeError("the value does not fit the variable", expected=dtype.name, got=value.dtype.name)


def _assign(handle: Any, value: Any, *, dtype: dtypes.DType, dims: spec.Dims) -> TensorSpec:
    _check_dtype(value, dtype)
    if not spec.compatible(dims, value.dims):
        raise ShapeError(
            "the value does not fit the variable",
            expected=spec.describe(dims),
            got=spec.describe(value.dims),
            hint="a variable made with validate_shape=False takes values of any shape",
        )
    return TensorSpec(dtype, spec.merge(dims, value.dims))


@op("Assign", infer=_assign, effect="write", same_dtype=None, differentiable=False, result_is=1)
def assign_variable(handle: Any, value: Any, dtype: Any, dims: Any, name: str | None = None) -> Any:
    """Replace the variable's value; the output is the new value."""
    return call((handle, value), name, dtype=dtype, dims=dims)


def _combine(handle: Any, value: Any, *, dtype: dtypes.DType, dims: spec.Dims) -> TensorSpec:
    _check_dtype(value, dtype)
    if not dtype.is_numeric:
        raise DTypeError("only numbers can be added to", got=f"a variable of {dtype.name}")
    if not spec.compatible(dims, value.dims):
        raise ShapeError(
            "the value does not fit the variable",
            expected=spec.describe(dims),
            got=spec.describe(value.dims),
            hint="v.assign(v + x) broadcasts x",
        )
    return TensorSpec(dtype, dims)


@op("AssignAdd", infer=_combine, effect="write", same_dtype=None, differentiable=False)
def assign_add_variable(handle: Any, value: Any, dtype: Any, dims: Any, name: str | None = None) -> Any:
    """Add to the variable's value, atomically; the output is the new value."""
    return call((handle, value), name, dtype=dtype, dims=dims)


@op("AssignSub", infer=_combine, effect="write", same_dtype=None, differentiable=False)
def assign_sub_variable(handle: Any, value: Any, dtype: Any, dims: Any, name: str | None = None) -> Any:
    """Subtract from the variable's value, atomically; the output is the new value."""
    return call((handle, value), name, dtype=dtype, dims=dims)


def _check_scatter(indices: Any, updates: Any, dtype: dtypes.DType, kind: str) -> None:
    _check_dtype(updates, dtype)
    if kind not in SCATTERS:
        raise InvalidArgumentError("no such way to scatter", expected=", ".join(SCATTERS), got=repr(kind))
    if kind != "update" and not dtype.is_numeric or kind in ("min", "max") and dtype.is_complex:
        raise DTypeError(f"scatter_{kind} does not work on {dtype.name}")
    if not (indices.dtype.is_integer and indices.dtype.size >= 4):
        raise DTypeError("indices are integers", expected="int32 or int64", got=indices.dtype.name)


def _check_updates(wanted: spec.Dims, updates: Any) -> None:
    if updates.dims != () and not spec.compatible(wanted, updates.dims):
        raise ShapeError(
            "updates do not fit the indices",
            expected=f"{spec.describe(wanted)}, or a scalar",
            got=spec.describe(updates.dims),
        )


def _scatter(handle: Any, indices: Any, updates: Any, *, dtype: dtypes.DType, dims: spec.Dims, kind: str) -> TensorSpec:
    _check_scatter(indices, updates, dtype, kind)
    if dims == ():
        raise ShapeError("a scalar variable has no rows to scatter into", got="[]")
    if dims is not None and indices.dims is not None:
        _check_updates(indices.dims + dims[1:], updates)
    return TensorSpec(dtype, dims)


@op("Scatter", infer=_scatter, effect="write", same_dtype=None, differentiable=False)
def scatter_variable(
    handle: Any, indices: Any, updates: Any, dtype: Any, dims: Any, kind: str, name: str | None = None
) -> Any:
    """Change rows of the variable: kind is update, add, sub, mul, div, min or max, one index after another."""
    return call((handle, indices, updates), name, dtype=dtype, dims=dims, kind=kind)


def _scatter_nd(
    handle: Any, indices: Any, updates: Any, *, dtype: dtypes.DType, dims: spec.Dims, kind: str
) -> TensorSpec:
    _check_scatter(indices, updates, dtype, kind)
    if indices.dims == ():
        raise ShapeError("indices name the elements along their last axis", expected="rank 1 or more", got="[]")
    depth = None if indices.dims is None else indices.dims[-1]
    if dims is not None and indices.dims is not None and depth is not None:
        if depth > len(dims):
            raise ShapeError(
                "an index is longer than the variable has axes",
                expected=f"at most {len(dims)} numbers for a variable of shape {spec.describe(dims)}",
                got=f"indices of shape {spec.describe(indices.dims)}",
            )
        _check_updates(indices.dims[:-1] + dims[depth:], updates)
    return TensorSpec(dtype, dims)


@op("ScatterNdVariable", infer=_scatter_nd, effect="write", same_dtype=None, differentiable=False)
def scatter_nd_variable(
    handle: Any, indices: Any, updates: Any, dtype: Any, dims: Any, kind: str, name: str | None = None
) -> Any:
    """Change the elements or slices of the variable that the last axis of `indices` names."""
    return call((handle, indices, updates), name, dtype=dtype, dims=dims, kind=kind)


def _count(handle: Any, *, dtype: dtypes.DType, dims: spec.Dims, limit: int) -> TensorSpec:
    if not dtype.is_integer:
        raise DTypeError("only an integer variable can count", expected="int32 or int64", got=dtype.name)
    if not spec.compatible(dims, ()):
        raise ShapeError("only a scalar variable can count", expected="[]", got=spec.describe(dims))
    return TensorSpec(dtype, ())


@op("CountUpTo", infer=_count, effect="write", same_dtype=None, differentiable=False)
def count_up_to_variable(handle: Any, limit: int, dtype: Any, dims: Any, name: str | None = None) -> Any:
    """Add one to the variable, which must be below `limit`; the output is the value before."""
    return call((handle,), name, limit=limit, dtype=dtype, dims=dims)


# -- which read a use means ------------------------------------------------------------------------------------------


class Uses:
    """What a graph knows of the uses of variables among its first `scanned` ops."""

    __slots__ = ("reads", "scanned", "written")

    def __init__(self) -> None:
        self.scanned = 0
        self.written: set[Tensor] = set()  # the variables' own handles
        self.reads: dict[Tensor, dict[Any, Tensor]] = {}  # handle in this graph -> where a read holds -> the read


def uses(graph: Graph) -> Uses:
    """The record of a graph, brought up to date: every write that was built ends the reads before it."""
    found: Uses | None = graph.store.get("uses")
    if found is None:
        found = graph.store["uses"] = Uses()
        graph.store["written"] = found.written
    for new in graph.operations_after(found.scanned - 1):
        definition = OPS.get(new.type)
        if definition is not None and (definition.effect or definition.control_flow):
            for handle, effect in effects_of(new):
                if effect == "write":
                    found.reads.pop(handle, None)
                    found.written.add(root_handle(handle))
        found.scanned = new.id + 1
    return found


def written_in(graph: Graph) -> set[Tensor]:
    """The handles of the variables that the ops of a graph write, those of its branches and loops included."""
    return uses(graph).written


def root_handle(handle: Tensor) -> Tensor:
    """The variable's own handle, for an argument of a function that stands for it."""
    graph = handle.graph
    while isinstance(graph, FuncGraph):
        outer = graph.stands_for.get(handle)
        if outer is None:
            break
        handle, graph = outer, outer.graph
    return handle


def value_in(variable: Any, graph: Graph) -> Tensor:
    """The tensor that a use of the variable in `graph` means now."""
    handle: Tensor = variable.handle
    if graph.computes:  # a value of this moment serves no later use
        with graph.as_default():
            return cast("Tensor", read_variable(handle, variable.dtype, variable.dims, name=f"{variable.op.name}/read"))
    current = uses(graph)
    if isinstance(graph, FuncGraph):
        region = graph.scope.region
        atomic = region is not None and handle in region.variables
        if handle not in current.written and not atomic:
            return _hoisted(variable, graph)
        handle = graph.capture(handle)
    scope = graph.scope
    place = (scope.controls, scope.region)
    reads = current.reads.setdefault(handle, {})
    found = reads.get(place)
    if found is None:
        with graph.as_default(), graph.scoped(name=""):
            found = reads[place] = read_variable(handle, variable.dtype, variable.dims, name=f"{variable.op.name}/read")
    return found


def _hoisted(variable: Any, graph: FuncGraph) -> Tensor:
    """The value from outside of a function."""
    hoisted: dict[Tensor, Tensor] = graph.store.setdefault("hoisted_reads", {})
    found = hoisted.get(variable.handle)
    if found is None:
        with graph.outer.as_default():  # an identity: the same read may be captured on purpose, to stay what it was
            value = core.identity(value_in(variable, graph.outer))
        found = hoisted[variable.handle] = graph.capture(value)
    return found


def register(variable: Any, snapshot: Tensor) -> None:
    """Note a new variable and the read that a fetch of it means."""
    graph, handle = variable.graph, variable.handle
    graph.store.setdefault("variables", {})[handle] = variable
    if graph.computes:
        return
    graph.store.setdefault("reads", {})[handle] = snapshot
    uses(graph).reads[handle] = {(snapshot.op.control_inputs, snapshot.op.region): snapshot}


# -- the public functions --------------------------------------------------------------------------------------------


def outermost(graph: Graph) -> Graph:
    """The graph that is no function: the one that owns the variables."""
    while isinstance(graph, FuncGraph):
        graph = graph.outer
    return graph


def home_of(variable: Any) -> Graph:
    """Where an op on the variable is built: the default graph if it can see the variable, else the variable's own."""
    graph = get_default_graph()
    return graph if graph is variable.graph or graph.encloses(variable.graph) else variable.graph


def variable_of(ref: Any, what: str = "assign") -> Any:
    """The variable that `ref` is, or whose handle it is (`W:0`)."""
    if hasattr(ref, "handle"):
        return ref
    if isinstance(ref, Tensor):
        handle = root_handle(ref)
        found = handle.graph.store.get("variables", {}).get(handle)
        if found is not None:
            return found
    raise DTypeError(
        f"{what} changes a variable",
        expected="a tf.Variable",
        got=repr(ref)[:80],
        op=getattr(ref, "op", None),
        hint="the value of a tensor cannot be changed; compute a new one",
    )


def _write(
    build: Callable[..., Any], what: str, ref: Any, inputs: tuple[Any, ...], name: str | None, **attrs: Any
) -> Any:
    """Build a write; the last of its inputs is a value, those before are indices."""
    variable = variable_of(ref, what)
    graph = home_of(variable)
    converted = [
        x if isinstance(x, Tensor) else convert_to_tensor(x, preferred=dtypes.int32, graph=graph) for x in inputs[:-1]
    ]
    converted += [convert_to_tensor(x, variable.dtype, graph=graph) for x in inputs[-1:]]
    with graph.as_default():
        found = build(variable.handle, *converted, dtype=variable.dtype, dims=variable.dims, name=name, **attrs)
    uses(graph)
    return found


def assign(
    ref: Any, value: Any, validate_shape: bool | None = None, use_locking: bool | None = None, name: str | None = None
) -> Any:
    """Replace the variable's value; the result is the new value."""
    return _write(assign_variable, "assign", ref, (value,), name)


def assign_add(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Any:
    """Add to the variable's value, atomically; the result is the new value."""
    return _write(assign_add_variable, "assign_add", ref, (value,), name)


def assign_sub(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Any:
    """Subtract from the variable's value, atomically; the result is the new value."""
    return _write(assign_sub_variable, "assign_sub", ref, (value,), name)


def count_up_to(ref: Any, limit: int, name: str | None = None) -> Any:
    """Add one to an integer variable; its value before is the result, and OutOfRangeError the end."""
    if isinstance(limit, bool) or not hasattr(limit, "__index__"):
        raise DTypeError("the limit is an integer", got=repr(limit))
    return _write(count_up_to_variable, "count_up_to", ref, (), name, limit=int(limit))


def _scatterer(public: str, type_name: str, build: Callable[..., Any], kind: str, doc: str) -> Callable[..., Any]:
    def scatter(ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None) -> Any:
        return _write(build, public, ref, (indices, updates), name or type_name, kind=kind)

    scatter.__name__ = scatter.__qualname__ = public
    scatter.__doc__ = doc
    return scatter


def _rows(kind: str, doc: str) -> Callable[..., Any]:
    return _scatterer(f"scatter_{kind}", f"Scatter{kind.title()}", scatter_variable, kind, doc)


def _elements(kind: str, doc: str) -> Callable[..., Any]:
    return _scatterer(f"scatter_nd_{kind}", f"ScatterNd{kind.title()}", scatter_nd_variable, kind, doc)


scatter_update = _rows("update", "Replace the rows `indices` of the variable; of duplicates the last one stays.")
scatter_add = _rows("add", "Add `updates` to the rows `indices` of the variable; duplicates add up.")
scatter_sub = _rows("sub", "Subtract `updates` from the rows `indices` of the variable; duplicates add up.")
scatter_mul = _rows("mul", "Multiply the rows `indices` of the variable by `updates`.")
scatter_div = _rows("div", "Divide the rows `indices` of the variable by `updates`.")
scatter_min = _rows("min", "Replace the rows `indices` of the variable by the minimum of them and `updates`.")
scatter_max = _rows("max", "Replace the rows `indices` of the variable by the maximum of them and `updates`.")
scatter_nd_update = _elements("update", "Replace the elements or slices that the last axis of `indices` names.")
scatter_nd_add = _elements("add", "Add to the elements or slices that the last axis of `indices` names.")
scatter_nd_sub = _elements("sub", "Subtract from the elements or slices that the last axis of `indices` names.")
