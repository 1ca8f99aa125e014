"""`Operation` (a vertex of the graph) and `Tensor` (an edge), and the scope in which an op is built.

Policy: both are plain records with identity; they hold structure and no values, and never look at what an op's type
means.  A tensor's shape may become better known (`set_shape`), nothing else about it changes.

State: none beyond the objects themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from graphflow import source, spec
from graphflow.defaults import session_for
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.operators import Operators
from graphflow.spec import TensorSpec
from graphflow.tensor_shape import TensorShape, as_dims

if TYPE_CHECKING:
    from graphflow.graph import Graph


class Tensor(Operators):
    """One output of an operation: a value that will exist once the graph is run."""

    __slots__ = ("__weakref__", "dims", "dtype", "graph", "hint", "index", "op")

    def __init__(self, op: Operation, index: int, known: TensorSpec) -> None:
        self.op = op
        self.graph = op.graph
        self.index = index
        self.dtype, self.dims, self.hint = known

    @property
    def name(self) -> str:
        """The op's name and the output's number: `layer1/Relu:0`."""
        return f"{self.op.name}:{self.index}"

    @property
    def value_index(self) -> int:
        """Which output of its op this is."""
        return self.index

    @property
    def device(self) -> str:
        """The device asked for."""
        return self.op.device

    @property
    def shape(self) -> TensorShape:
        """What is known of the shape."""
        return TensorShape(self.dims)

    def get_shape(self) -> TensorShape:
        """What is known of the shape."""
        return TensorShape(self.dims)

    def set_shape(self, shape: Any) -> None:
        """Add what you know of the shape; it must agree with what is known already."""
        try:
            self.dims = spec.merge(self.dims, as_dims(shape))
        except ShapeError as error:
            raise error.attach(self.op) from None

    def consumers(self) -> list[Operation]:
        """The ops that read this tensor."""
        return [op for op in self.graph.operations_after(self.op.id) if any(x is self for x in op.inputs)]

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """Run the graph for this tensor in `session` or in the default session."""
        return session_for(self, session).run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<tf.Tensor {self.name!r} shape={self.shape} dtype={self.dtype.name}>"

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self


class Region(NamedTuple):
    """Ops that run as one atomic unit with respect to some variables (an optimizer's update of one variable)."""

    id: int
    variables: tuple[Tensor, ...]


class Scope(NamedTuple):
    """Everything that applies to the ops built in a `with` block."""

    name: str = ""
    controls: tuple[Operation, ...] = ()
    device: str = ""
    gradient_map: tuple[tuple[str, str], ...] = ()
    region: Region | None = None


class Operation:
    """A vertex of the graph: a type, inputs, attributes, and as many output tensors as its type has."""

    __slots__ = (
        "__weakref__", "attrs", "control_inputs", "device", "gradient_type", "graph", "id", "inputs", "name",
        "outputs", "region", "type", "user_source",
    )  # fmt: skip

    def __init__(
        self,
        graph: Graph,
        id: int,
        type: str,
        name: str,
        inputs: tuple[Tensor, ...],
        attrs: dict[str, Any],
        scope: Scope,
        place: source.Source,
        known: Sequence[TensorSpec],
    ) -> None:
        self.graph = graph
        self.id = id
        self.type = type
        self.name = name
        self.inputs = inputs
        self.attrs = attrs
        self.control_inputs = scope.controls
        self.device = scope.device
        self.region = scope.region
        self.user_source = place
        self.gradient_type = _override(scope.gradient_map, type) if scope.gradient_map else type
        self.outputs: tuple[Tensor, ...] = tuple([Tensor(self, i, k) for i, k in enumerate(known)])

    @property
    def source(self) -> str:
        """The user's own line where this op was built: "train.py:31, in build"."""
        return str(self.user_source)

    @property
    def values(self) -> Callable[[], tuple[Tensor, ...]]:
        """TensorFlow 1's spelling of the outputs."""
        return lambda: self.outputs

    @property
    def node_def(self) -> Any:
        """The op itself: it has `.name`, `.op_type` and `.attrs`."""
        return self

    def get_attr(self, name: str) -> Any:
        """One attribute by name."""
        if name in self.attrs:
            return self.attrs[name]
        raise InvalidArgumentError(f"the op has no attribute {name!r}", op=self, expected=", ".join(sorted(self.attrs)))

    def add_output(self, known: TensorSpec) -> Tensor:
        """One more output, for ops whose type allows it (a loop that is asked to keep its history)."""
        tensor = Tensor(self, len(self.outputs), known)
        self.outputs = (*self.outputs, tensor)
        return tensor

    def add_control_input(self, other: Operation) -> None:
        """Make this op wait for another one, which must not depend on it."""
        self.graph.add_control_edge(other, self)

    _add_control_input = add_control_input

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Run the op in `session` or in the default session."""
        session_for(self, session).run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<tf.Operation {self.name!r} type={self.type}>"

    def __copy__(self) -> Operation:
        return self

    def __deepcopy__(self, memo: Any) -> Operation:
        return self


def _override(pairs: tuple[tuple[str, str], ...], type: str) -> str:
    for original, replacement in pairs:
        if original == type:
            return replacement
    return type
