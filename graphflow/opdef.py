"""What an op is: one record per type, in one registry, and the function that adds an op to the graph.

Policy: *an op is one decorated function.*  Its parameters are the public signature, its body only normalises the
arguments, its docstring is the public documentation; inference is an argument of the decorator; the gradient is
attached on the next lines; backends register kernels by the op's type.  Tensors are inputs, everything else is an
attribute.  What a pass or a backend must know about an op is a column of its record, never an `if` on its type.

    @op("Mul", infer=elementwise())
    def multiply(x, y, name=None):
        "Elementwise product with NumPy broadcasting."
        return call((x, y), name)

    multiply.vjp(lambda op, dy: dy * op.inputs[1], lambda op, dy: dy * op.inputs[0])

State: the registry of op types and the registry of gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypedDict, cast

from graphflow import source
from graphflow.constants import convert_to_tensor
from graphflow.defaults import stacks
from graphflow.dtypes import DType, resource
from graphflow.errors import (
    AlreadyExistsError,
    DTypeError,
    Error,
    GraphError,
    InvalidArgumentError,
)
from graphflow.graph import FuncGraph, Graph, get_default_graph
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation, Tensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
Known: TypeAlias = "TensorSpec | Sequence[TensorSpec]"
Call: TypeAlias = "tuple[tuple[Any, ...], str | None, dict[str, Any]]"
Gradient: TypeAlias = Callable[..., Any]
Rule: TypeAlias = "Callable[[Operation, Any], Any] | None"


class OpDef:
    """The record of one op type; see `op` for the meaning of its columns."""

    __slots__ = (
        "broadcasts", "can_fail", "control_flow", "differentiable", "doc", "effect", "flops", "function", "functions",
        "infer", "known_value", "noop", "place", "pointwise", "pure", "reduces", "result", "result_is", "rules",
        "same_dtype", "stateful", "type", "weight",
    )  # fmt: skip

    def __init__(self, type: str, function: Callable[..., Any], infer: Callable[..., Known], **columns: Any) -> None:
        self.type = type
        self.function = function
        self.infer = infer
        self.doc = function.__doc__ or ""
        self.place = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
        self.same_dtype: tuple[int, ...] | None = columns["same_dtype"]
        self.effect: str = columns["effect"]
        self.stateful: bool = columns["stateful"]
        self.differentiable: bool = columns["differentiable"]
        self.broadcasts: bool = columns["broadcasts"]
        self.noop: bool = columns["noop"]
        self.can_fail: str = columns["can_fail"]
        self.known_value: Callable[..., Any] | None = columns["known_value"]
        self.control_flow: bool = columns["control_flow"]
        self.result: Callable[..., Any] | None = columns["result"]
        self.pointwise: bool = columns["pointwise"] or getattr(infer, "pointwise", False)
        self.reduces: bool = columns["reduces"]
        self.flops: Callable[..., float] | None = columns["flops"]
        self.functions: float = columns["functions"]
        self.weight: float = columns["weight"]
        self.result_is: int = columns["result_is"]
        # What it computes depends on its inputs and attributes alone.
        self.pure = not (self.stateful or self.effect or self.control_flow)
        self.rules: tuple[Rule, ...] | None = None

    def may_refuse(self, integers: bool) -> bool:
        """Whether its kernel may refuse inputs of the right shapes; `integers` tells whether one of them is of such."""
        return self.can_fail == "always" or bool(self.can_fail) and integers


class OpFunction(Generic[P]):
    """The type of a decorated op: callable as its signature says, with `vjp` to attach per-input gradient rules."""

    definition: OpDef

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Add the op to the graph."""

    def vjp(self, *rules: Rule) -> None:
        """One rule `(op, dy) -> gradient` per input; None where an input has none."""


OPS: dict[str, OpDef] = {}
_gradients: dict[str, Gradient] = {}
_unused_as_none: set[str] = set()


def call(inputs: tuple[Any, ...] | list[Any], name: str | None = None, **attrs: Any) -> Call:
    """What the body of an op returns: its inputs, its name and its attributes."""
    return tuple(inputs), name, attrs


class Columns(TypedDict, total=False):
    """What `op` may say of an op type, beside its inference.

    same_dtype     which inputs must share one dtype, which literals among them are given: () means all, None no rule
    effect         "read" or "write": what the op does to the variable whose handle is its first input
    stateful       its value depends on more than its inputs, or it acts on the world: never folded, never merged
    differentiable False states that no gradient exists; otherwise one must be registered
    broadcasts     inputs follow NumPy's broadcasting; gradients are summed back to each input's shape
    noop           it is the identity wherever its output has the dtype and shape of its first input
    can_fail       "always", or "integers" for those dtypes alone: its kernel may refuse values of the right shapes, so
                   it runs even if only the shape of its result is used
    known_value    (*specs, **attrs) -> the value, where specs alone determine it (tf.shape), or None
    control_flow   some attributes are FuncGraphs
    result         builds what the caller gets out of several outputs (a named tuple)
    pointwise      a result's element depends on the inputs' at its place alone; implied by `infer=elementwise(...)`
    reduces        attributes axis and keepdims: elements along the axes become one
    flops          (specs of inputs, specs of outputs, attributes) -> floating-point operations, where elements times
                   `weight` says too little: matrix products and the like; for the scheduler
    functions      transcendental functions that it computes for an element; for the scheduler
    result_is      the number of the input that its first output equals where their shapes agree; -1: none
    weight         what an element costs, in plain additions; 0 if it does not touch them (a view); for the scheduler
    """

    same_dtype: tuple[int, ...] | None
    effect: str
    stateful: bool
    differentiable: bool
    broadcasts: bool
    noop: bool
    can_fail: str
    known_value: Callable[..., Any] | None
    control_flow: bool
    result: Callable[..., Any] | None
    pointwise: bool
    reduces: bool
    flops: Callable[..., float] | None
    functions: float
    result_is: int
    weight: float


PLAIN: Columns = {
    "same_dtype": (), "effect": "", "stateful": False, "differentiable": True, "broadcasts": False, "noop": False,
    "can_fail": "", "known_value": None, "control_flow": False, "result": None, "pointwise": False, "reduces": False,
    "flops": None, "functions": 0.0, "result_is": -1, "weight": 1.0,
}  # fmt: skip


def op(
    type: str, *, infer: Callable[..., Known], **columns: Unpack[Columns]
) -> Callable[[Callable[P, Call]], OpFunction[P]]:
    """Define an op type; `Columns` lists what may be said of it.

    infer: (*inputs, **attrs) -> TensorSpec(s).  Inputs have .dtype, .dims and .hint; it runs again with the shapes of
    the feeds when a plan is compiled.
    """
    unknown = columns.keys() - PLAIN.keys()
    if unknown:
        raise TypeError(f"op() has no column {', '.join(sorted(unknown))}; there are {', '.join(PLAIN)}")

    def define(function: Callable[P, Call]) -> OpFunction[P]:
        definition = OpDef(type, function, infer, **{**PLAIN, **columns})
        earlier = OPS.get(type)
        if earlier is not None:
            both = f"{earlier.place} and {definition.place}"
            raise AlreadyExistsError(f"op type {type!r} is defined twice", got=both)
        OPS[type] = definition

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            inputs, name, attrs = function(*args, **kwargs)
            return build(definition, inputs, name, attrs)

        wrapper.__dict__["definition"] = definition
        wrapper.__dict__["vjp"] = functools.partial(_set_rules, definition)
        function.__annotations__.pop("return", None)  # `inspect.signature` reads them: a caller gets no Call
        return cast("OpFunction[P]", wrapper)

    return define


def _set_rules(definition: OpDef, *rules: Rule) -> None:
    definition.rules = rules


class RegisterGradient:
    """Decorator: the function is the gradient of an op type, or of a name used in `gradient_override_map`.

    @tf.RegisterGradient("Neg")
    def _(op, grad):
        return -grad

    An output that has no gradient comes as zeros, or as None with `unused_as_none=True`.
    """

    def __init__(self, op_type: str, unused_as_none: bool = False) -> None:
        if not isinstance(op_type, str) or not op_type:
            raise InvalidArgumentError("RegisterGradient takes the name of an op type", got=repr(op_type))
        self._type = op_type
        self._unused_as_none = unused_as_none

    def __call__(self, function: Gradient) -> Gradient:
        """Register the function and return it."""
        if not callable(function):
            raise InvalidArgumentError("a gradient is a function (op, grad)", got=repr(function)[:80])
        earlier: Any = _gradients.get(self._type)
        definition = OPS.get(self._type)
        if earlier is None and definition is not None and definition.rules is not None:
            earlier = definition.function
        if earlier is not None:
            code = getattr(earlier, "__code__", None)
            raise AlreadyExistsError(
                f"a gradient is registered for {self._type!r} already",
                got=f"{code.co_filename}:{code.co_firstlineno}" if code else repr(earlier),
                hint="register it under a name of your own and use graph.gradient_override_map",
            )
        _gradients[self._type] = function
        if self._unused_as_none:
            _unused_as_none.add(self._type)
        return function


def takes_none(type: str) -> bool:
    """Whether the gradient function registered under a name takes None for an output without gradient."""
    return type in _unused_as_none


def NotDifferentiable(op_type: str) -> None:
    """State that an op type of yours has no gradient."""
    definition = OPS.get(op_type)
    if definition is not None:
        definition.differentiable = False
    elif not isinstance(op_type, str):
        raise InvalidArgumentError("NotDifferentiable takes the name of an op type", got=repr(op_type))


def gradient_of(type: str) -> Gradient | None:
    """The gradient function registered under a name."""
    return _gradients.get(type)


def build(definition: OpDef, inputs: tuple[Any, ...], name: str | None, attrs: dict[str, Any]) -> Any:
    """Check the inputs, infer the outputs, add the op to the graph; the one way in which ops come to be."""
    graph: Any = get_default_graph()
    if graph.computes:
        return graph.compute(definition, inputs, name, attrs)
    for x in inputs:
        if type(x) is not Tensor or x.graph is not graph or x.dtype is resource:
            try:
                graph, inputs = as_inputs(definition, graph, inputs)
            except Error as error:
                first = next((x for x in inputs if isinstance(x, Tensor)), None)
                graph = graph if first is None else first.graph
                _named_in(error, definition, graph, name, source.user_frame(), inputs)
                raise
            if graph.computes:
                return graph.compute(definition, inputs, name, attrs)
            break
    place = source.user_frame()
    known = check_inputs(definition, graph, inputs, name, attrs, place)
    if type(known) is TensorSpec:
        op = graph.add_operation(definition.type, inputs, attrs, (known,), name, place)
        return op.outputs[0]
    op = graph.add_operation(definition.type, inputs, attrs, known, name, place)
    if definition.result is not None:
        return definition.result(*op.outputs)
    return op.outputs if op.outputs else op


def check_inputs(
    definition: OpDef, graph: Graph, inputs: tuple[Any, ...], name: str | None, attrs: dict[str, Any], place: Any
) -> Known:
    """What the op will make of inputs of these dtypes and shapes; or the error that names it."""
    try:
        group = definition.same_dtype
        if group is not None and len(inputs) > 1:
            _check_one_dtype(inputs, group)
        return definition.infer(*inputs, **attrs)
    except Exception as error:
        told = _build_error(error, definition, graph, name, place, inputs)
        raise told from (None if isinstance(error, Error) else error)


def _check_one_dtype(inputs: tuple[Tensor, ...], group: tuple[int, ...]) -> None:
    first = inputs[group[0] if group else 0].dtype
    for x in [inputs[i] for i in group] if group else inputs:
        if x.dtype is not first:
            names = ", ".join(f"{t.name} is {t.dtype.name}" for t in inputs[:8])
            raise DTypeError(
                "inputs of different dtypes: graphflow promotes nothing silently",
                expected=first.name,
                got=names,
                hint=f"tf.cast({x.name!r}, tf.{first.name})",
            )


def _build_error(
    error: Exception,
    definition: OpDef,
    graph: Graph,
    name: str | None,
    place: source.Source,
    inputs: Sequence[Tensor],
) -> Error:
    """The error with the op that was about to be built in it."""
    if not isinstance(error, Error):
        kind = DTypeError if isinstance(error, TypeError) else InvalidArgumentError
        error = kind(f"{definition.type}: {error}")
    elif error.op_name is None:
        error.summary = f"{definition.type}: {error.summary}"
    return _named_in(error, definition, graph, name, place, inputs)


def _named_in(
    error: Error, definition: OpDef, graph: Graph, name: str | None, place: source.Source, inputs: Sequence[Any]
) -> Error:
    """The error with the op that was about to be built in it, unless it names another one."""
    if error.op_name is None:
        given = [x for x in inputs if isinstance(x, Tensor) and x.graph is graph]
        whole = isinstance(name, str) and name.endswith("/")  # the scope's own name, to be used as it is
        full = name[:-1] if name and whole else f"{graph.scope.name}{name or definition.type}"
        error.not_built(full, definition.type, str(place), graph, tuple([x.name for x in given]))
    return error


def as_inputs(definition: OpDef, graph: Graph, inputs: tuple[Any, ...]) -> tuple[Graph, tuple[Tensor, ...]]:
    """The inputs as tensors of one graph: that of the tensors among them, or the default graph."""
    graph = _graph_of(inputs, graph)
    if not (definition.effect or definition.control_flow):
        inputs = tuple([_value_of(x) for x in inputs])
    group = definition.same_dtype
    wanted: DType | None = None
    members = set(range(len(inputs)) if group == () else group or ())
    for i in sorted(members):
        if i < len(inputs) and hasattr(inputs[i], "dtype") and hasattr(inputs[i], "graph"):
            wanted = inputs[i].dtype
            break
    out = []
    for i, x in enumerate(inputs):
        if type(x) is Tensor:
            out.append(graph.capture(x))
            continue
        try:
            with_graph = convert_to_tensor(x, preferred=wanted if i in members else None, graph=graph)
        except Error as error:
            error.summary = f"{definition.type}: {error.summary}"
            raise
        if wanted is None and i in members:
            wanted = with_graph.dtype
        out.append(with_graph)
    return graph, tuple(out)


def _graph_of(inputs: tuple[Any, ...], graph: Graph) -> Graph:
    """The graph of the first tensor among the inputs, which `graph` must be able to see if it is a function's."""
    first = next((x for x in inputs if hasattr(x, "graph")), None)
    if first is not None and first.graph.computes:
        symbolic = next((x for x in inputs if hasattr(x, "graph") and not x.graph.computes), None)
        if symbolic is None:
            return graph if stacks.graphs else first.graph  # inside `with graph.as_default():` a graph is being built
        first = symbolic
    if first is None or first.graph is graph or graph.encloses(first.graph):
        return graph
    if isinstance(graph, FuncGraph):
        graph.capture(convert_to_tensor(first))  # raises: a branch cannot use the tensors of a stranger
    if isinstance(first.graph, FuncGraph):
        raise GraphError(
            f"tensor {first.name!r} belongs to another graph: that of a branch or loop body",
            op=first.op,
            hint="return it from the branch or body, and use what cond or while_loop returns",
        )
    found: Graph = first.graph
    return found


def is_view(type: str) -> bool:
    """Whether an op does nothing that takes time: its result looks into the memory of an input, or of a variable."""
    known = OPS.get(type)
    return known is not None and not (known.weight or known.functions or known.flops or known.control_flow)


def _value_of(x: Any) -> Any:
    """The variable whose handle `x` is: the tensor "W:0" means its value."""
    return x.graph.store.get("variables", {}).get(x, x) if isinstance(x, Tensor) and x.dtype is resource else x


def definition_of(op: Operation) -> OpDef:
    """The record of an op's type."""
    found = OPS.get(op.type)
    if found is None:
        raise GraphError(f"op type {op.type!r} is not defined", op=op, hint="import the module that defines it")
    return found
