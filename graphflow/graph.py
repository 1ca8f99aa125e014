"""The symbolic graph, its scopes, and the stack of default graphs.

Policy: the graph holds structure and no values.  Ops are only ever added, and each after its inputs, so the order of
creation is a topological order and nothing here recurses.  An op stores its type as a name: what the type means
(inference, gradient, kernels) is looked up in `opdef` and in the backends.  Extending a graph leaves the plans of
its sessions valid; the few changes that do not (a control edge added afterwards) raise `mutations`.

State: each graph owns its ops, names, collections and current scope; this module owns the root graph.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from graphflow import names, source
from graphflow.defaults import stacks
from graphflow.errors import (
    AlreadyExistsError,
    DTypeError,
    FailedPreconditionError,
    FinalizedError,
    GraphError,
    InvalidArgumentError,
    MissingNameError,
    shown,
)
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation, Region, Scope, Tensor


class _Here(threading.local):
    """Where a thread is while it builds a graph."""

    scope = Scope()


class Graph:
    """A set of operations that can be extended, inspected, differentiated and run."""

    computes = False  # whether ops are computed at once instead of being kept

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._by_name: dict[str, Operation] = {}
        self._names = names.NameTable()
        self._collections: dict[str, list[Any]] = {}
        self._here = _Here()
        self._regions = itertools.count(1)
        self._late_edges = False  # whether some op waits for one that was built after it
        self._lock = threading.RLock()
        self.finalized = False
        self.mutations = 0
        self.seed: int | None = None
        self.store: dict[str, Any] = {}  # what layers above keep per graph: the variable store, the current scope

    # -- building ------------------------------------------------------------------------------------------------

    def add_operation(
        self,
        type: str,
        inputs: tuple[Tensor, ...],
        attrs: dict[str, Any],
        known: Sequence[TensorSpec],
        name: Any,
        place: source.Source,
    ) -> Operation:
        """Append an op whose inference has been done; `opdef` is what calls this."""
        scope = self._here.scope
        with self._lock:
            if self.finalized:
                raise FinalizedError(
                    f"the graph is finalized: it cannot take another {type}",
                    source=str(place),
                    hint="build everything before finalize(); in a loop, build once and feed different values",
                )
            if name is None:
                full = self._names.unique(scope.name + type if scope.name else type)
            elif isinstance(name, str) and name.endswith("/"):
                full = names.check_name(name[:-1], in_scope=False, place=place)
                if full in self._by_name:
                    raise AlreadyExistsError(f"an op named {full!r} exists already", source=str(place))
                self._names.claim(full)
            else:
                names.check_name(name, in_scope=bool(scope.name), place=place)
                full = self._names.unique(scope.name + name)
            op = Operation(self, len(self._operations), type, full, inputs, attrs, scope, place, known)
            self._operations.append(op)
            self._by_name[full] = op
        return op

    def add_control_edge(self, before: Operation, after: Operation) -> None:
        """Make `after` wait for `before`; refuses what would close a cycle."""
        if not isinstance(before, Operation):
            raise GraphError("a control edge joins two ops", op=after, got=repr(before)[:80])
        if before.graph is not self or after.graph is not self:
            raise GraphError("a control edge joins two ops of one graph", op=after)
        if self.finalized:
            raise FinalizedError("the graph is finalized: it cannot take another control edge", op=after)
        late = before.id >= after.id
        if before is after or (late or self._late_edges) and self._reaches(after, before):
            raise GraphError(
                "the control edge would close a cycle",
                op=after,
                got=f"{before.name!r} already waits for {after.name!r}",
            )
        if before not in after.control_inputs:
            after.control_inputs = (*after.control_inputs, before)
            self._late_edges = self._late_edges or late
            self.outdate_plans()

    def outdate_plans(self) -> None:
        """What sessions compiled before this moment is not to be used any more."""
        graph: Graph = self
        graph.mutations += 1
        while isinstance(graph, FuncGraph):  # sessions watch the outermost
            graph = graph.outer
            graph.mutations += 1

    def _reaches(self, start: Operation, goal: Operation) -> bool:
        """Whether `goal` depends on `start`."""
        seen, stack = {goal}, [goal]
        while stack:
            op = stack.pop()
            if op is start:
                return True
            for before in (*[x.op for x in op.inputs], *op.control_inputs):
                if before not in seen:
                    seen.add(before)
                    stack.append(before)
        return False

    def capture(self, tensor: Tensor) -> Tensor:
        """The tensor as an input for ops of this graph; a plain graph takes only its own."""
        if tensor.graph is self:
            return tensor
        if tensor.graph.computes:
            return _adopt[0](self, tensor)
        raise GraphError(
            f"tensor {tensor.name!r} belongs to another graph",
            op=tensor.op,
            hint="build both ops under the same `with graph.as_default():`, or after the same reset_default_graph()",
        )

    def finalize(self) -> None:
        """Refuse every further change."""
        self.finalized = True

    def _unsafe_unfinalize(self) -> None:
        self.finalized = False

    # -- scopes --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def scoped(self, **changes: Any) -> Iterator[None]:
        """Build ops under a changed `Scope`."""
        here = self._here
        before = here.scope
        here.scope = before._replace(**changes)
        try:
            yield
        finally:
            here.scope = before

    @property
    def scope(self) -> Scope:
        """The scope that applies now, in this thread."""
        return self._here.scope

    def enter_scope(self, scope: Scope) -> None:
        """Build everything that follows in this thread under a scope: how the graph of a branch begins."""
        self._here.scope = scope

    @contextlib.contextmanager
    def name_scope(self, name: Any) -> Iterator[str]:
        """Prefix the names of the ops built inside; `None` or "" leaves all scopes, `name/` re-enters one."""
        if name is None or name == "":
            inner = ""
        elif isinstance(name, str) and name.endswith("/"):
            inner = names.check_name(name, in_scope=True)
        else:
            names.check_name(name, in_scope=bool(self._here.scope.name))
            inner = self._names.unique(self._here.scope.name + name) + "/"
        with self.scoped(name=inner):
            yield inner

    @contextlib.contextmanager
    def control_dependencies(self, control_inputs: Iterable[Any] | None) -> Iterator[None]:
        """Ops built inside wait for `control_inputs`; `None` clears the outer ones."""
        if control_inputs is None:
            with self.scoped(controls=()):
                yield
            return
        if not isinstance(control_inputs, Iterable) or isinstance(control_inputs, Tensor):
            control_inputs = [control_inputs]
        found = dict.fromkeys(self._here.scope.controls)
        for item in control_inputs:
            op = self.as_graph_element(item, allow_tensor=True, allow_operation=True)
            op = self.capture(op).op if isinstance(op, Tensor) else op
            if op.graph is not self:
                raise GraphError("a control input belongs to another graph", op=op)
            found[op] = None
        with self.scoped(controls=tuple(found)):
            yield

    @contextlib.contextmanager
    def device(self, name: Any) -> Iterator[None]:
        """Ask for a device; it is checked when the graph is placed, not here."""
        if callable(name):
            name = name(None)
        if name is not None and not isinstance(name, str):
            raise GraphError("a device is a string such as '/cpu:0'", got=repr(name))
        with self.scoped(device=name or ""):
            yield

    @contextlib.contextmanager
    def gradient_override_map(self, op_type_map: dict[str, str]) -> Iterator[None]:
        """Ops built inside use the gradient registered under another name."""
        if not isinstance(op_type_map, dict) or not all(isinstance(x, str) for kv in op_type_map.items() for x in kv):
            raise InvalidArgumentError("gradient_override_map takes a dict of strings", got=repr(op_type_map))
        with self.scoped(gradient_map=(*op_type_map.items(), *self._here.scope.gradient_map)):
            yield

    @contextlib.contextmanager
    def atomic(self, variables: Sequence[Tensor]) -> Iterator[None]:
        """Ops built inside run as one unit with respect to these variables' handles."""
        if self._here.scope.region is not None:
            raise FailedPreconditionError("atomic regions do not nest: their locks could be taken in any order")
        with self.scoped(region=Region(next(self._regions), tuple(variables))):
            yield

    @contextlib.contextmanager
    def colocate_with(self, op: Any, ignore_existing: bool = False) -> Iterator[None]:
        """Build on the device of another op."""
        if not isinstance(getattr(op, "device", None), str):
            raise GraphError("colocate_with takes an op, a tensor or a variable", got=repr(op)[:80])
        with self.scoped(device=op.device):
            yield

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """The name in the current scope, made unique."""
        full = self._here.scope.name + name
        return self._names.unique(full) if mark_as_used else self._names.peek(full)

    @contextlib.contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Make this the default graph of the thread for the block."""
        graphs = stacks.graphs
        graphs.append(self)
        try:
            yield self
        finally:
            if not graphs or graphs[-1] is not self:
                raise FailedPreconditionError("default graphs were not left in the order in which they were entered")
            graphs.pop()

    # -- looking things up ---------------------------------------------------------------------------------------

    def get_operations(self) -> list[Operation]:
        """All ops in the order in which they were built."""
        return list(self._operations)

    def as_graph_def(self, from_version: int | None = None, add_shapes: bool = False) -> Any:
        """The graph as a GraphDef: plain data that `tf.import_graph_def` builds again."""
        return _export[0](self)

    def render(self, path: Any, view: str = "graph", **options: Any) -> str:
        """Draw the graph into a .png, .svg, .pdf, .html, .dot, .mermaid or .json file; options as in `tf.render`."""
        return str(pictures().render(self, path, view, **options))

    def to_networkx(self) -> Any:
        """The graph as an analysed `networkx.DiGraph`: depth, width and critical path are attributes of it."""
        return pictures().to_networkx(self)

    def _repr_svg_(self) -> Any:
        return pictures().notebook.svg(self)

    def _repr_html_(self) -> Any:
        return pictures().notebook.html(self)

    def operations_after(self, id: int) -> list[Operation]:
        """The ops built after the one with that id."""
        return self._operations[id + 1 :]

    def __len__(self) -> int:
        return len(self._operations)

    def __bool__(self) -> bool:
        return True  # an empty graph is a graph: `graph or get_default_graph()` must not pass over it

    @property
    def version(self) -> int:
        """A number that grows with every op added."""
        return len(self._operations)

    def get_operation_by_name(self, name: str) -> Operation:
        """The op of that name."""
        if not isinstance(name, str):
            raise DTypeError("an op is looked up by its name", expected="a string", got=repr(name))
        found = self._by_name.get(name)
        if found is None:
            hint = (
                f"'{name}' names a tensor; its op is '{name.split(':', maxsplit=1)[0]}'"
                if ":" in name
                else self._nearest(name)
            )
            raise MissingNameError(f"the graph has no op named {shown(name)}", hint=hint)
        return found

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor of that name: `op_name:0`."""
        if not isinstance(name, str):
            raise DTypeError("a tensor is looked up by its name", expected="a string", got=repr(name))
        op_name, colon, index = name.rpartition(":")
        if not colon or not (index.isascii() and index.isdigit()):
            hint = None if colon else f"did you mean '{name}:0'?"
            raise GraphError(f"{shown(name)} does not name a tensor", expected="'op_name:output'", hint=hint)
        op = self.get_operation_by_name(op_name)
        if int(index) >= len(op.outputs):
            raise MissingNameError(f"{op_name!r} has {len(op.outputs)} outputs, so there is no {shown(name)}", op=op)
        return op.outputs[int(index)]

    def _nearest(self, name: str) -> str | None:
        import difflib  # a mistyped name is rare

        near = difflib.get_close_matches(name[: names.MAX_LENGTH], list(self._by_name)[:10000], n=1)
        return f"did you mean {near[0]!r}?" if near else None

    def as_graph_element(self, item: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Any:
        """The Tensor or Operation for a tensor, op, variable or name."""
        if isinstance(item, str):
            if ":" in item and allow_tensor:
                return self.get_tensor_by_name(item)
            if allow_operation and ":" not in item:
                return self.get_operation_by_name(item)
            hint = f"a tensor's name is {shown(item + ':0')}" if allow_tensor else "an op's name has no output number"
            raise GraphError(f"{shown(item)} does not name what is wanted here", hint=hint)
        convert = getattr(item, "_as_graph_element", None)
        if convert is not None:
            item = convert()
        if isinstance(item, Tensor) and allow_tensor or isinstance(item, Operation) and allow_operation:
            if item.graph is not self and not self.encloses(item.graph):
                kind = "tensor" if isinstance(item, Tensor) else "op"
                op = item.op if isinstance(item, Tensor) else item
                inside = isinstance(item.graph, FuncGraph)
                hint = "build both under the same `with graph.as_default():`, or after the same reset_default_graph()"
                if inside:
                    hint = (
                        "it is inside a branch or loop body: return it there, and use what cond or while_loop returns"
                    )
                raise GraphError(f"{kind} {item.name!r} is not an element of this graph", op=op, hint=hint)
            return item
        wanted = " or ".join(w for w, on in (("a tensor", allow_tensor), ("an op", allow_operation)) if on)
        raise GraphError(f"not an element of a graph: {type(item).__name__}", expected=wanted, got=shown(item))

    def encloses(self, other: Graph) -> bool:
        """Whether tensors of `other` can be used here (a loop body may use its surroundings)."""
        return False

    # -- collections ---------------------------------------------------------------------------------------------

    def add_to_collection(self, name: str, value: Any) -> None:
        """Append to a collection."""
        if self.finalized:
            raise FinalizedError("the graph is finalized: its collections cannot grow")
        self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        """Append to several collections, to each once."""
        for name in dict.fromkeys((names,) if isinstance(names, str) else names):
            self.add_to_collection(name, value)

    def get_collection(self, name: str, scope: str | None = None) -> list[Any]:
        """A copy of a collection, or of its items whose name matches the regular expression `scope`."""
        found = self.items_of(name)
        if scope is None:
            return found
        try:
            pattern = re.compile(scope)
        except (re.error, TypeError) as error:
            raise InvalidArgumentError("scope is a regular expression", got=f"{scope!r}: {error}") from None
        return [item for item in found if hasattr(item, "name") and pattern.match(item.name)]

    def items_of(self, name: str) -> list[Any]:
        """A copy of a whole collection."""
        return list(self._collections.get(name, ()))

    def get_collection_ref(self, name: str) -> list[Any]:
        """The collection itself; changing it changes the graph's."""
        return self._collections.setdefault(name, [])

    def get_all_collection_keys(self) -> list[str]:
        """The names of the collections that hold something."""
        return [k for k, v in self._collections.items() if v]

    def clear_collection(self, name: str) -> None:
        """Empty a collection."""
        self._collections.pop(name, None)


_adopt: list[Callable[[Graph, Tensor], Tensor]] = []


def bind_adoption(function: Callable[[Graph, Tensor], Tensor]) -> None:
    """Tell what a tensor that has its value already is inside a graph; called once by the eager engine."""
    _adopt[:] = [function]


_export: list[Callable[[Graph], Any]] = []


def bind_export(function: Callable[[Graph], Any]) -> None:
    """Tell how a graph becomes a GraphDef; called once by the module that owns the format."""
    _export[:] = [function]


_pictures: list[Callable[[], Any]] = []


def bind_pictures(module: Callable[[], Any]) -> None:
    """Tell how to come by the module that draws graphs, which stands above this one; called once."""
    _pictures[:] = [module]


def pictures() -> Any:
    """The module that draws graphs, programs and views, at first use."""
    return _pictures[0]()


class FuncGraph(Graph):
    """A graph used as a function: a branch of `cond`, the body of a loop.

    Tensors of the surrounding graph that its ops use become arguments ("captures"), in order of first use.
    """

    def __init__(self, name: str, outer: Graph) -> None:
        super().__init__()
        self.name = name
        self.outer = outer
        self._collections = outer._collections
        self.args: list[Tensor] = []
        self.captured: dict[Tensor, Tensor] = {}  # outer tensor -> argument
        self.stands_for: dict[Tensor, Tensor] = {}  # argument -> outer tensor
        self.results: list[Tensor] = []
        self.seed = outer.seed

    def add_argument(self, known: TensorSpec) -> Tensor:
        """One more argument."""
        attrs = {"dtype": known.dtype, "dims": known.dims, "index": len(self.args)}
        with self.scoped(controls=(), region=None):
            op = self.add_operation("Arg", (), attrs, [known], "arg", source.user_frame())
        self.args.append(op.outputs[0])
        return op.outputs[0]

    def capture(self, tensor: Tensor) -> Tensor:
        """The argument that stands for a tensor of the surrounding graph."""
        if tensor.graph is self:
            return tensor
        found = self.captured.get(tensor)
        if found is None:
            outer = tensor if tensor.graph is self.outer else self.outer.capture(tensor)
            found = self.captured.get(outer)
            if found is None:
                found = self.add_argument(TensorSpec(outer.dtype, outer.dims, outer.hint))
                self.captured[outer] = found
                self.stands_for[found] = outer
        return found

    def encloses(self, other: Graph) -> bool:
        """Whether `other` is one of the surrounding graphs."""
        outer: Graph | None = self.outer
        while outer is not None:
            if outer is other:
                return True
            outer = outer.outer if isinstance(outer, FuncGraph) else None
        return False


_root = Graph()


def get_default_graph() -> Graph:
    """The graph that ops are added to now."""
    graphs = stacks.graphs
    return graphs[-1] if graphs else _root


def reset_default_graph() -> None:
    """Start over with an empty default graph."""
    global _root
    if stacks.graphs:
        raise FailedPreconditionError(
            "reset_default_graph() inside `with graph.as_default():`",
            hint="leave the block first, or make a new tf.Graph()",
        )
    _root = Graph()
