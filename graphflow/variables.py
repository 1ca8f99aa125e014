"""`Variable`, and the functions that work on all variables of a graph.

Policy: a variable is created in the outermost graph, outside of control dependencies and atomic regions, however deep
in branches and loops its constructor is called.  Its ops are `W` (the handle), `W/initial_value`, `W/Assign` (the
initializer) and `W/read`; its value lives in the session.  An initial value may use other variables: initializers run
in the order in which they were built, so they see those values.

Where a use of a variable is computed at once it has a value to show: Python's and NumPy's questions are then answered
by that value, and refused as those of any tensor of a graph otherwise.

State: the graph's collections, and what `graphflow.ops.state` keeps per graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow import casting, constants, dtypes, spec
from graphflow.defaults import session_for
from graphflow.dtypes import DType, as_dtype
from graphflow.errors import DTypeError, Error, GraphError, InvalidArgumentError, ShapeError, UnimplementedError
from graphflow.graph import FuncGraph, Graph, get_default_graph
from graphflow.indexed_slices import IndexedSlices
from graphflow.keys import GraphKeys
from graphflow.operators import Operators
from graphflow.ops import core, state
from graphflow.tensor import Operation, Tensor
from graphflow.tensor_shape import TensorShape, as_dims


def _of_the_value(question: str) -> Any:
    """One of Python's questions, asked of the value where there is one."""
    refuse = getattr(Operators, question)

    def ask(self: Variable, *args: Any, **named: Any) -> Any:
        value = self._present()
        return refuse(self, *args, **named) if value is None else getattr(value, question)(*args, **named)

    ask.__name__ = question
    return ask


class Variable(Operators):
    """A tensor that keeps its value between runs and can be assigned to."""

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool = True,
        collections: Any = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: str | None = None,
        constraint: Callable[[Any], Any] | None = None,
        use_resource: bool | None = None,
        shape: Any = None,
    ) -> None:
        if variable_def is not None:
            raise UnimplementedError("a variable is not made of a VariableDef", hint="tf.Variable(initial_value, ...)")
        if initial_value is None:
            raise InvalidArgumentError(
                "initial_value must be specified", expected="a tensor, a value, or a function that returns one"
            )
        if constraint is not None and not callable(constraint):
            raise DTypeError("the constraint of a variable is a function", got=repr(constraint)[:80])
        names = _collection_names(collections, trainable)
        wanted = None if dtype is None else as_dtype(dtype)
        self.graph: Graph = state.outermost(get_default_graph())
        self.trainable = trainable
        self.constraint = constraint
        graph = self.graph
        with graph.as_default(), graph.scoped(controls=(), region=None), graph.name_scope(name or "Variable") as scope:
            value = _initial(initial_value, wanted, graph)
            self.dtype: DType = value.dtype
            self.dims = _dims_of(value, validate_shape, shape if shape is not None else expected_shape)
            handle: Any = state.variable_handle(dtype=value.dtype, dims=self.dims, name=scope)
            assign: Any = state.assign_variable(handle, value, dtype=value.dtype, dims=self.dims, name="Assign")
            snapshot: Any = state.read_variable(handle, dtype=value.dtype, dims=self.dims, name="read")
        self.handle: Tensor = handle
        self._initial_value = value
        self._initializer: Operation = assign.op
        self._snapshot: Tensor = snapshot
        state.register(self, snapshot)
        self.graph.add_to_collections(names, self)

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def op(self) -> Operation:
        """The op of the handle."""
        return self.handle.op

    @property
    def name(self) -> str:
        """The op's name and `:0`."""
        return self.handle.name

    @property
    def device(self) -> str:
        """The device asked for."""
        return self.handle.device

    @property
    def shape(self) -> TensorShape:
        """What is known of the shape."""
        return TensorShape(self.dims)

    def get_shape(self) -> TensorShape:
        """What is known of the shape."""
        return TensorShape(self.dims)

    def set_shape(self, shape: Any) -> None:
        """Add what you know of the shape; it must agree with what is known already."""
        self._snapshot.set_shape(shape)
        self.dims = spec.merge(self.dims, as_dims(shape))

    @property
    def initializer(self) -> Operation:
        """The op that gives the variable its initial value."""
        return self._initializer

    @property
    def initial_value(self) -> Tensor:
        """The tensor that the initializer assigns."""
        return self._initial_value

    def __repr__(self) -> str:
        value = self._present()
        known = "" if value is None else f", numpy={_text(value.detach().numpy())}"
        return f"<tf.Variable {self.name!r} shape={self.shape} dtype={self.dtype.name}{known}>"

    def __copy__(self) -> Variable:
        return self

    def __deepcopy__(self, memo: Any) -> Variable:
        return self

    # -- reading -------------------------------------------------------------------------------------------------

    def _as_tensor(self) -> Tensor:
        return state.value_in(self, state.home_of(self))

    def _present(self) -> Any:
        """The value as an eager tensor; None where a use of the variable is built and not computed."""
        home = state.home_of(self)
        return state.value_in(self, home) if home.computes else None

    def _as_graph_element(self) -> Tensor:
        return self._snapshot

    def value(self) -> Tensor:
        """The value at this point of the program, as a tensor."""
        return self._as_tensor()

    def read_value(self) -> Tensor:
        """The value at this point of the program, read by an op of its own."""
        with state.home_of(self).as_default():
            found: Any = state.read_variable(self.handle, dtype=self.dtype, dims=self.dims, name="read")
        return found  # type: ignore[no-any-return]

    def initialized_value(self) -> Tensor:
        """The value if there is one, else the initial value: for the initial values of other variables."""
        with self.graph.as_default(), self.graph.scoped(name="", controls=(), region=None):
            found: Any = state.initialized_value(self.handle, self._initial_value, name=f"{self.op.name}/initialized")
        return found  # type: ignore[no-any-return]

    def eval(self, session: Any = None, feed_dict: Any = None) -> Any:
        """The value in `session` or in the default session."""
        return session_for(self, session).run(self, feed_dict)

    def numpy(self) -> Any:
        """The value as a NumPy array of its own, under eager execution."""
        return self.__array__(copy=True)

    def __array__(self, *args: Any, **named: Any) -> Any:
        value = self._present()
        return super().__array__() if value is None else value.detach().__array__(*args, **named)

    __bool__: Any = _of_the_value("__bool__")
    __iter__: Any = _of_the_value("__iter__")
    __len__: Any = _of_the_value("__len__")
    __float__: Any = _of_the_value("__float__")
    __int__: Any = _of_the_value("__int__")
    __index__: Any = _of_the_value("__index__")
    __contains__: Any = _of_the_value("__contains__")

    def __format__(self, form: str) -> str:
        value = self._present() if form else None
        return super().__format__(form) if value is None else format(value, form)

    # -- writing -------------------------------------------------------------------------------------------------

    def load(self, value: Any, session: Any = None) -> None:
        """Give the variable a value in `session` or in the default session, without adding to the graph."""
        session = session_for(self, session)
        try:
            array = casting.as_array(constants._plain(value), self.dtype)
        except Error as error:
            error.summary = f"variable {self.op.name!r} cannot take the value: {error.summary}"
            raise error.attach(self.op) from None
        session.cell(self.op).assign(array if array.ndim or self.dtype is dtypes.string else array[()])

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Any:
        """Replace the value; the result is the new value, or the op if `read_value` is False."""
        return _result(state.assign(self, value, name=name), read_value)

    def assign_add(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Add to the value, atomically; the result is the new value, or the op if `read_value` is False."""
        return _result(state.assign_add(self, delta, name=name), read_value)

    def assign_sub(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Subtract from the value, atomically; the result is the new value, or the op if `read_value` is False."""
        return _result(state.assign_sub(self, delta, name=name), read_value)

    def scatter_update(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Any:
        """Replace rows."""
        return state.scatter_update(self, *_rows(sparse_delta), name=name)

    def scatter_add(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Any:
        """Add to rows."""
        return state.scatter_add(self, *_rows(sparse_delta), name=name)

    def scatter_sub(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Any:
        """Subtract from rows."""
        return state.scatter_sub(self, *_rows(sparse_delta), name=name)

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Replace elements or slices."""
        return state.scatter_nd_update(self, indices, updates, name=name)

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Add to elements or slices."""
        return state.scatter_nd_add(self, indices, updates, name=name)

    def scatter_nd_sub(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Subtract from elements or slices."""
        return state.scatter_nd_sub(self, indices, updates, name=name)

    def count_up_to(self, limit: int) -> Any:
        """Add one; the result is the value before, and OutOfRangeError the end."""
        return state.count_up_to(self, limit)


def _text(array: Any) -> str:
    return repr(array if array.ndim else array.item())


def _collection_names(collections: Any, trainable: bool) -> list[str]:
    if collections is None:
        collections = [GraphKeys.GLOBAL_VARIABLES]
    if isinstance(collections, str) or not isinstance(collections, (list, tuple, set)):
        raise DTypeError("collections is a list of names", got=repr(collections)[:80])
    found = list(collections)
    if trainable and GraphKeys.TRAINABLE_VARIABLES not in found:
        found.append(GraphKeys.TRAINABLE_VARIABLES)
    return found


def _initial(value: Any, dtype: DType | None, graph: Graph) -> Tensor:
    """The initial value as a tensor of the variable's graph."""
    if callable(value):
        with graph.name_scope("Initializer"):
            value = value()
    if isinstance(getattr(value, "graph", None), FuncGraph):
        raise GraphError(
            "the initial value of a variable comes from inside a branch or loop",
            op=value.op,
            hint="variables are made once, outside; pass a function: tf.Variable(lambda: ...)",
        )
    if callable(value):
        raise DTypeError(
            "an initial value cannot be a function that returns a function",
            got=repr(value)[:80],
            hint="an initializer is called with a shape: tf.Variable(tf.zeros_initializer()([2, 3]))",
        )
    try:
        return constants.convert_to_tensor(value, dtype, "initial_value", graph=graph)
    except Error as error:
        error.summary = f"the initial value of a variable: {error.summary}"
        raise


def _dims_of(value: Tensor, validate: bool, wanted: Any) -> spec.Dims:
    """The shape of the variable."""
    if wanted is not None and not spec.compatible(value.dims, as_dims(wanted)):
        raise ShapeError(
            "the initial value does not have the shape of the variable",
            op=value.op,
            expected=spec.describe(as_dims(wanted)),
            got=spec.describe(value.dims),
        )
    if not validate:
        return as_dims(wanted)
    if not spec.is_concrete(value.dims):
        raise ShapeError(
            f"initial_value must have a shape specified: {value!r}",
            op=value.op,
            expected="a shape that is known while the graph is built",
            got=spec.describe(value.dims),
            hint="validate_shape=False makes a variable of any shape; initial_value.set_shape(...) adds what you know",
        )
    return value.dims


def _result(new_value: Tensor, read: bool) -> Any:
    return new_value if read else new_value.op


def _rows(slices: Any) -> tuple[Any, Any]:
    if not isinstance(slices, IndexedSlices):
        raise DTypeError(
            "takes IndexedSlices", got=repr(slices)[:80], hint="tf.scatter_add(v, indices, updates) takes them apart"
        )
    return slices.indices, slices.values


# -- the variables of a graph ----------------------------------------------------------------------------------------


def _collected(key: str, scope: str | None) -> list[Any]:
    return state.outermost(get_default_graph()).get_collection(key, scope)


def global_variables(scope: str | None = None) -> list[Any]:
    """The variables that are shared and saved: all but local ones."""
    return _collected(GraphKeys.GLOBAL_VARIABLES, scope)


def local_variables(scope: str | None = None) -> list[Any]:
    """The variables that are neither saved nor trained."""
    return _collected(GraphKeys.LOCAL_VARIABLES, scope)


def model_variables(scope: str | None = None) -> list[Any]:
    """The variables that are part of the model."""
    return _collected(GraphKeys.MODEL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Any]:
    """The variables that optimizers change."""
    return _collected(GraphKeys.TRAINABLE_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Any]:
    """The variables of which a moving average is kept."""
    return _collected(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def variables_initializer(var_list: Sequence[Any], name: str = "init") -> Operation:
    """An op that gives the variables their initial values, in the order in which they were made."""
    if hasattr(var_list, "handle"):
        var_list = [var_list]
    return core.group(*[v.initializer for v in var_list], name=name)


def global_variables_initializer() -> Operation:
    """An op that gives all global variables their initial values."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """An op that gives all local variables their initial values."""
    return variables_initializer(local_variables(), "init_local")


def tables_initializer(name: str = "init_all_tables") -> Operation:
    """An op that fills all lookup tables."""
    return core.group(*_collected(GraphKeys.TABLE_INITIALIZERS, None), name=name)


def is_variable_initialized(variable: Any) -> Any:
    """Whether the variable has a value, as a tensor."""
    variable = state.variable_of(variable, "is_variable_initialized")
    with state.home_of(variable).as_default():
        return state.variable_is_initialized(variable.handle)


def report_uninitialized_variables(
    var_list: Sequence[Any] | None = None, name: str = "report_uninitialized_variables"
) -> Any:
    """The names of the variables that have no value, as a vector of strings; all variables are looked at by default."""
    found = global_variables() + local_variables() if var_list is None else list(var_list)
    found = list(dict.fromkeys(found))
    with core.name_scope(name) as scope:
        flags = [is_variable_initialized(v) for v in found]
        return state.uninitialized_names(flags, names=tuple(v.op.name for v in found), name=scope)


def assert_variables_initialized(var_list: Sequence[Any] | None = None) -> Operation | None:
    """An op that fails with FailedPreconditionError if a variable has no value; None where there is no variable."""
    found = global_variables() + local_variables() if var_list is None else list(var_list)
    if not found:
        return None
    return core.group(*[v.read_value() for v in found], name="assert_variables_initialized")
