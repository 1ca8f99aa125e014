"""`Optimizer`: gradients of a loss, and one update for each variable, composed of ops.

Policy: TensorFlow 1's protocol, so that users' subclasses work: `_create_slots`, `_prepare`, `_apply_dense`,
`_apply_sparse`, `_finish`.  What updates one variable and its slots is one atomic region: concurrent steps lose
nothing and never see half an update.  The gradients are inputs of the region, computed before it.  Parameters may be
numbers, tensors or functions; a number is used in the precision of each variable.

State: an Optimizer owns the tables of its slots and of its further variables; all of these are ordinary variables.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from graphflow import dtypes, nest, spec
from graphflow.constants import convert_to_tensor
from graphflow.dtypes import DType
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError, UnimplementedError
from graphflow.gradients import gradients
from graphflow.graph import Graph, get_default_graph
from graphflow.indexed_slices import IndexedSlices
from graphflow.keys import GraphKeys
from graphflow.ops import array, casts, core, ordering, segment, state
from graphflow.tensor import Operation, Tensor
from graphflow.variables import Variable

FLOATS = (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)


class Optimizer:
    """The base of all optimizers; a subclass says how a variable follows its gradient."""

    GATE_NONE = 0
    GATE_OP = 1
    GATE_GRAPH = 2

    _single_write = False  # the update is one op, which is atomic by itself

    def __init__(self, use_locking: bool, name: Any) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError("Must specify the optimizer name", got=repr(name))
        self._use_locking = use_locking
        self._name: str = name
        self._slots: dict[str, dict[Any, Variable]] = {}
        self._non_slot_dict: dict[tuple[str, Graph], Variable] = {}
        self._given: dict[str, Any] = {}
        self._in_dtype: dict[Any, Tensor] = {}

    def get_name(self) -> str:
        """The name, which its slots bear as well."""
        return self._name

    # -- the public way --------------------------------------------------------------------------------------------

    def minimize(
        self,
        loss: Any,
        global_step: Any = None,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """An op that changes the variables by one step that lessens the loss, and adds one to `global_step`."""
        pairs = self.compute_gradients(
            loss, var_list, gate_gradients, aggregation_method, colocate_gradients_with_ops, grad_loss
        )
        if all(g is None for g, _ in pairs):
            names = ", ".join(v.name for _, v in pairs)
            shown = loss() if callable(loss) else loss
            raise InvalidArgumentError(
                f"No gradients provided for any variable, check your graph for ops that do not support gradients, "
                f"between variables [{names}] and loss {getattr(shown, 'name', shown)!r}.",
                op=getattr(shown, "op", None),
            )
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(
        self,
        loss: Any,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> list[tuple[Any, Any]]:
        """Pairs (gradient, variable); the gradient is None where the loss does not depend on the variable."""
        if gate_gradients not in (self.GATE_NONE, self.GATE_OP, self.GATE_GRAPH):
            text = "gate_gradients must be one of GATE_NONE, GATE_OP, GATE_GRAPH"
            raise InvalidArgumentError(text, got=repr(gate_gradients))
        loss = loss() if callable(loss) else loss
        if not isinstance(loss, Tensor):
            loss = convert_to_tensor(loss)
        self._assert_valid_dtypes([loss])
        if grad_loss is not None:
            grad_loss = convert_to_tensor(grad_loss, preferred=loss.dtype, graph=_graph_of(loss))
            self._assert_valid_dtypes([grad_loss])
        if var_list is None:
            var_list = state.outermost(loss.graph).get_collection(GraphKeys.TRAINABLE_VARIABLES)
        found = nest.flatten(var_list)
        if not found:
            raise InvalidArgumentError("No variables to optimize.", hint="make the variables first, trainable=True")
        for v in found:
            if not hasattr(v, "handle") and not isinstance(v, Tensor):
                raise DTypeError("an optimizer changes variables", expected="tf.Variable", got=repr(v)[:80])
        with _graph_of(loss).as_default():
            pairs = list(zip(gradients(loss, found, grad_ys=grad_loss), found, strict=True))
        self._assert_valid_dtypes([v for g, v in pairs if g is not None])  # a counter may be among the trainable ones
        return pairs

    def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: str | None = None) -> Operation:
        """An op that updates each variable by its gradient, then adds one to `global_step`."""
        pairs = [(_gradient(g, v), v) for g, v in _checked_pairs(grads_and_vars)]
        wanted = [(g, v) for g, v in pairs if g is not None]
        if not wanted:
            names = ", ".join(str(v.name) for _, v in pairs)
            raise InvalidArgumentError(f"No gradients provided for any variable: [{names}].")
        graph = _graph_of(wanted[0][0])
        with graph.as_default():
            with _outside(graph):
                self._create_slots([v for _, v in wanted])
            with graph.name_scope(name or self._name) as scope:
                self._in_dtype = {}  # tensors of an earlier call may be of another graph
                self._prepare()
                updates = [self._update(graph, g, v) for g, v in wanted]
                if global_step is None:
                    done = self._finish(updates, scope)
                else:
                    with graph.control_dependencies([self._finish(updates, "update")]):
                        done = state.assign_add(global_step, 1, name=scope)
        train_op: Operation = done.op if isinstance(done, Tensor) else done
        if train_op not in graph.get_collection(GraphKeys.TRAIN_OP):
            graph.add_to_collection(GraphKeys.TRAIN_OP, train_op)
        return train_op

    def _update(self, graph: Graph, grad: Any, var: Any) -> Any:
        """The ops that update one variable, as one atomic region."""
        handles = [var.handle, *[slots[var].handle for slots in self._slots.values() if var in slots]]
        alone = self._single_write and var.constraint is None
        region = contextlib.nullcontext() if alone else graph.atomic(handles)
        with graph.name_scope("update_" + var.op.name), graph.colocate_with(var.op), region:
            if isinstance(grad, IndexedSlices) and self._overrides("_apply_sparse", "_resource_apply_sparse"):
                if var.constraint is not None:
                    raise UnimplementedError("Cannot use a constraint function on a sparse variable.", op=var.op)
                return self._apply_sparse_duplicate_indices(grad, var)
            dense = grad.to_tensor() if isinstance(grad, IndexedSlices) else grad
            done = self._dense_update(dense, var)
            if var.constraint is None:
                return done
            with graph.control_dependencies([done]):
                return var.assign(var.constraint(var))

    def _dense_update(self, grad: Any, var: Any) -> Any:
        if self._overrides("_apply_dense") or not self._overrides("_resource_apply_dense"):
            return self._apply_dense(grad, var)
        return self._resource_apply_dense(grad, var)

    def _overrides(self, *names: str) -> bool:
        return any(getattr(type(self), name) is not getattr(Optimizer, name) for name in names)

    # -- slots -----------------------------------------------------------------------------------------------------

    def get_slot(self, var: Any, name: str) -> Variable | None:
        """The slot of that name that belongs to a variable; None where there is none."""
        return self._slots.get(name, {}).get(var)

    def get_slot_names(self) -> list[str]:
        """The names of the slots that were made."""
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """The slots and the optimizer's other variables, by name."""
        graph = state.outermost(get_default_graph())
        found = [v for (_, owner), v in self._non_slot_dict.items() if owner is graph]
        found += [slot for slots in self._slots.values() for v, slot in slots.items() if v.graph is graph]
        return sorted(found, key=lambda v: v.name)

    def _slot_dict(self, slot_name: str) -> dict[Any, Variable]:
        return self._slots.setdefault(slot_name, {})

    def _get_or_make_slot(self, var: Any, val: Any, slot_name: str, op_name: str) -> Variable:
        """The slot; made with the initial value `val` under the name "variable/op_name" if there is none."""
        slots = self._slot_dict(slot_name)
        if var not in slots:
            slots[var] = _new_variable(var.graph, lambda: val, f"{var.op.name}/{op_name}", var.dtype)
        return slots[var]

    def _get_or_make_slot_with_initializer(
        self, var: Any, initializer: Callable[..., Any], shape: Any, dtype: Any, slot_name: str, op_name: str
    ) -> Variable:
        """The slot; made by an initializer `(shape, dtype=)` if there is none."""
        slots = self._slot_dict(slot_name)
        if var not in slots:
            sizes = shape.as_list() if hasattr(shape, "as_list") else shape
            make = lambda: initializer(sizes, dtype=dtype)  # noqa: E731 - called below, in the graph of the variable
            slots[var] = _new_variable(var.graph, make, f"{var.op.name}/{op_name}", dtypes.as_dtype(dtype))
        return slots[var]

    def _zeros_slot(self, var: Any, slot_name: str, op_name: str) -> Variable:
        """The slot; made of zeros if there is none."""
        return self._constant_slot(var, 0.0, slot_name, op_name)

    def _constant_slot(self, var: Any, value: float, slot_name: str, op_name: str) -> Variable:
        """The slot; made of one number in the shape of the variable if there is none."""
        slots = self._slot_dict(slot_name)
        if var not in slots:
            known = spec.is_concrete(var.dims)
            name = f"{var.op.name}/{op_name}"
            slots[var] = _new_variable(var.graph, lambda: _filled(var, value), name, var.dtype, known)
        return slots[var]

    def _create_non_slot_variable(self, initial_value: Any, name: str, colocate_with: Any) -> Variable:
        """A variable of the optimizer that belongs to no variable in particular."""
        key = (name, state.outermost(colocate_with.graph))
        if key not in self._non_slot_dict:
            self._non_slot_dict[key] = _new_variable(key[1], lambda: initial_value, name, None)
        return self._non_slot_dict[key]

    def _get_non_slot_variable(self, name: str, graph: Graph | None = None) -> Variable | None:
        return self._non_slot_dict.get((name, state.outermost(graph or get_default_graph())))

    # -- for subclasses --------------------------------------------------------------------------------------------

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        """Make the slots of the variables that do not have them yet."""

    def _prepare(self) -> None:
        """Make the tensors that all updates share."""

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        """The ops that update `var` by a dense gradient."""
        raise UnimplementedError(f"{type(self).__name__} does not say how to update a variable", hint="_apply_dense")

    def _resource_apply_dense(self, grad: Any, handle: Any) -> Any:
        """As `_apply_dense`; TensorFlow asks for it where a variable is a resource."""
        raise UnimplementedError(f"{type(self).__name__} does not say how to update a variable", hint="_apply_dense")

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Any) -> Any:
        """The ops that update rows of `var`; rows that come twice are summed first."""
        values, indices = summed(grad)
        if not self._overrides("_apply_sparse"):
            return self._resource_apply_sparse(values, var, indices)
        return self._apply_sparse(IndexedSlices(values, indices, grad.dense_shape), var)

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        """The ops that update rows of `var`, each of which comes once."""
        raise UnimplementedError(f"{type(self).__name__} does not say how to update rows", hint="_apply_sparse")

    def _resource_apply_sparse(self, grad: Any, handle: Any, indices: Any) -> Any:
        """As `_apply_sparse`; TensorFlow asks for it where a variable is a resource."""
        raise UnimplementedError(f"{type(self).__name__} does not say how to update rows", hint="_apply_sparse")

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        """The op that is done when all updates are."""
        return core.group(*update_ops, name=name_scope)

    def _valid_dtypes(self) -> set[Any]:
        return {d for d in FLOATS if d is not None}

    def _assert_valid_dtypes(self, tensors: Sequence[Any]) -> None:
        for t in tensors:
            if t.dtype not in self._valid_dtypes():
                expected = ", ".join(sorted(d.name for d in self._valid_dtypes()))
                text = f"Invalid type {t.dtype.name} for {t.name}"
                raise DTypeError(text, expected=expected, got=t.dtype.name, op=getattr(t, "op", None))

    def _call_if_callable(self, param: Any) -> Any:
        return param() if callable(param) else param

    def _hyper(self, name: str, dtype: DType, change: Callable[[Any], Any] | None = None, key: str = "") -> Tensor:
        """A parameter (changed by `change`, which `key` names) in a dtype; made once for each apply_gradients."""
        found = self._in_dtype.get((name, dtype, key))
        if found is None:
            value = self._call_if_callable(self._given[name])
            with get_default_graph().scoped(region=None):
                value = value if change is None else change(value)
                found = self._in_dtype[name, dtype, key] = _scalar(name, value, dtype)
        return found

    def _one_minus(self, name: str, dtype: DType) -> Tensor:
        return self._hyper(name, dtype, lambda value: 1.0 - value, "one minus")


def summed(grad: IndexedSlices) -> tuple[Tensor, Tensor]:
    """Values and indices of a sparse gradient, each index once."""
    graph = get_default_graph()
    with graph.scoped(region=None):
        once = ordering.unique(grad.indices)
        values: Tensor = segment.unsorted_segment_sum(grad.values, once.idx, array.size(once.y))
    return values, once.y


def _scalar(name: str, value: Any, dtype: DType) -> Tensor:
    """A parameter as a scalar tensor: a number in full precision, a tensor cast."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
        if 0.0 < number < 1e-4:  # Adam's epsilon in float16: as zero it would divide 0 by 0
            number = max(number, float(dtypes.finfo(dtype).smallest_subnormal))
        return convert_to_tensor(number, dtype)
    found: Tensor = convert_to_tensor(value)
    if not found.dtype.is_floating and not found.dtype.is_integer:
        raise DTypeError(f"{name} is a number", op=found.op, got=found.dtype.name)
    if not spec.compatible(found.dims, ()):
        raise ShapeError(f"{name} is not a scalar", op=found.op, got=spec.describe(found.dims))
    cast: Tensor = casts.cast(found, dtype)
    return cast


def _graph_of(grad: Any) -> Graph:
    """The graph to build in: the default one if it can see the tensor, else the tensor's."""
    graph = get_default_graph()
    return graph if grad.graph is graph or graph.encloses(grad.graph) else grad.graph


@contextlib.contextmanager
def _outside(graph: Graph) -> Iterator[None]:
    """Build in the outermost graph, in no name scope, without control dependencies."""
    outer = state.outermost(graph)
    with outer.as_default(), outer.name_scope(None), outer.scoped(controls=(), region=None):
        yield


def _new_variable(
    graph: Graph, make: Callable[[], Any], name: str, dtype: DType | None, known: bool = True
) -> Variable:
    """A variable that is saved and not trained."""
    with _outside(graph):
        collections = [GraphKeys.GLOBAL_VARIABLES]
        return Variable(make, False, collections, validate_shape=known, name=name, dtype=dtype)


def _filled(var: Any, value: float) -> Any:
    one = convert_to_tensor(value, var.dtype)
    if spec.is_concrete(var.dims):
        return array.fill(list(var.dims), one)
    return array.fill(array.shape(var.initialized_value()), one)


def _checked_pairs(grads_and_vars: Any) -> list[tuple[Any, Any]]:
    pairs = [tuple(p) if isinstance(p, (list, tuple)) else p for p in grads_and_vars]
    if not pairs:
        raise InvalidArgumentError("No variables provided.")
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise DTypeError("apply_gradients takes pairs (gradient, variable)", got=repr(pair)[:80])
        if not hasattr(pair[1], "handle"):
            hint = "the pairs are (gradient, variable), as compute_gradients returns them"
            text = "an optimizer changes variables"
            raise DTypeError(text, expected="tf.Variable", got=repr(pair[1])[:80], hint=hint)
    return pairs


def _gradient(grad: Any, var: Any) -> Any:
    """The gradient as a tensor or slices that fit the variable."""
    if grad is None:
        return None
    if not isinstance(grad, (Tensor, IndexedSlices)):
        grad = convert_to_tensor(grad, preferred=var.dtype, graph=_graph_of(var))
    text = f"the gradient of {var.op.name!r} does not fit"
    if grad.dtype is not var.dtype:
        raise DTypeError(text, op=grad.op, expected=var.dtype.name, got=grad.dtype.name)
    dims = var.dims
    if isinstance(grad, IndexedSlices):
        dims = None if dims is None else (None, *dims[1:])
    have = grad.values.dims if isinstance(grad, IndexedSlices) else grad.dims
    if not spec.compatible(dims, have):
        raise ShapeError(text, op=grad.op, expected=spec.describe(dims), got=spec.describe(have))
    return grad
