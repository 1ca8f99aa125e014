"""`TraceGraph`: the graph that a Python function is traced into, with what the function does to tensors in place.

Policy: eager tensors are arguments of the graph, fed at each call.  Nothing changes in place in a graph, so a change of
a tensor computes a new value, which the same Python object stands for from then on; what was built before keeps the
value of then.  A tensor from outside of the function gets its new value when the call is done.  Where that cannot be
had (a view that somebody else sees, an argument, a parameter that is learned) the change is refused with its remedy.
What is computed under `no_grad` has no derivative.

State: each graph what it captured, which tensors were changed, and which tensors may show the memory of which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow import dtypes, source
from graphflow.compile.lower import effects_of
from graphflow.defaults import stacks
from graphflow.eager import indexing, inplace, pointwise
from graphflow.eager.adoption import STORE, variable_of
from graphflow.eager.engine import here
from graphflow.eager.recording import enable_grad, no_grad
from graphflow.eager.storage import plain_array
from graphflow.eager.symbols import Symbol
from graphflow.eager.tensor import ANY, LEARNED, REQUIRED, EagerTensor
from graphflow.eager.traced import CUT, Reliance, Tracing
from graphflow.errors import FailedPreconditionError, SymbolicUseError
from graphflow.graph import FuncGraph, Graph
from graphflow.keys import GraphKeys
from graphflow.opdef import OPS, RegisterGradient, gradient_of, is_view
from graphflow.ops import core, state
from graphflow.ops.control import TracedGraph
from graphflow.ops.state import variable_handle
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation, Tensor

# Ops that cost something on some device, and whose results show the memory of their input in eager mode.
_SHOWING = frozenset({"BroadcastTo", "Bitcast", "Real", "Imag", "MatrixDiagPart"})
_OUT_OF_PLACE = "x = x + y makes a new tensor, and so does x.clone()"


@RegisterGradient(CUT, unused_as_none=True)
def _none(op: Operation, *dys: Any, wanted: Any = None) -> list[Any]:
    return [None] * len(op.inputs)


def has_gradient(op: Operation) -> bool:
    """Whether anything before the op gets a gradient through it."""
    if op.gradient_type == CUT:
        return False
    rules = OPS[op.type].rules or ()
    return gradient_of(op.gradient_type) is not None or any(rule is not None for rule in rules)


class _Speaking(Graph):
    """A graph whose tensors have the methods of eager ones, and whose ops know whether they are recorded."""

    functions: type[TracedGraph]  # the graphs of its branches and loop bodies

    def add_operation(self, *arguments: Any) -> Operation:
        """Append an op."""
        op = super().add_operation(*arguments)
        op.outputs = tuple([Symbol(op, x.index, TensorSpec(x.dtype, x.dims, x.hint)) for x in op.outputs])
        if not here.records and op.inputs and OPS[op.type].effect != "read":
            op.gradient_type = CUT
        return op


class Branch(_Speaking, TracedGraph):
    """A branch or a loop body in a traced function."""

    def capture(self, tensor: Tensor) -> Tensor:
        """The argument that stands for a tensor of the surrounding graph, which is what it is now."""
        root = state.outermost(self)
        return super().capture(root.capture(tensor) if tensor.graph is root else tensor)


_Speaking.functions = Branch


class TraceGraph(_Speaking, Tracing):
    """A graph in which eager tensors are arguments; if it trains, parameters are variables of it."""

    def __init__(self, trains: bool = False) -> None:
        super().__init__()
        self.place: str | None = None  # the device that was asked for
        self._trains = trains
        self.captured: dict[int, tuple[EagerTensor, Tensor]] = {}
        self.cells: dict[str, Any] = {}  # of variables of eager mode, by the names of their handles here
        self._versions: dict[int, int] = {}  # of captured tensors, when they were first used
        self._handles: dict[EagerTensor, Tensor] = {}
        self._given: set[Tensor] = set()  # arguments, and what stands for eager tensors
        self._families: dict[Tensor, list[Tensor]] = {}  # tensors that may show one memory
        self._outdated: dict[Tensor, source.Source] = {}  # by a change of what they show, at that line
        self._written: dict[int, EagerTensor] = {}  # from outside; they get their new values after a call
        self._effects: list[Operation] = []
        self._begun = 0  # how many ops there were when the trace began

    # -- what comes in ---------------------------------------------------------------------------------------------

    def capture(self, tensor: Tensor) -> Tensor:
        """The tensor, or for an eager one what stands for it."""
        if not isinstance(tensor, EagerTensor):
            if tensor in self._outdated:
                self._show_again(tensor)
            return super().capture(tensor)
        if tensor.dtype is dtypes.resource:
            return self._handle(tensor)
        now = self.current.get(id(tensor))
        if now is not None:
            traced: Tensor = now[1]
            return traced
        if self._is_variable(tensor):
            return super().capture(self._variable(tensor)._as_tensor())
        if id(tensor) in self.fresh:
            return self._constant(tensor)
        found = self.captured.get(id(tensor))
        if found is None:
            self._check_shared(tensor)
            found = self.captured[id(tensor)] = tensor, self.argument(tensor.dtype, tensor.dims, "captured")
            self._versions[id(tensor)] = tensor.touched()[0]
        return found[1]

    def _constant(self, tensor: EagerTensor) -> Tensor:
        """What stands for numbers that the function made."""
        found: Tensor | None = self.constants.get(id(tensor))
        if found is None:
            with self.as_default(), self.scoped(name="", controls=(), region=None, device=""):
                found = self.constants[id(tensor)] = core.constant(np.array(plain_array(tensor)), tensor.dtype)
            self._given.add(found)
        return found

    def _is_variable(self, tensor: EagerTensor) -> bool:
        """Whether ops of the graph write the tensor."""
        return self._trains and tensor.role != ANY or id(tensor) in self.store.get(STORE, ())

    def _variable(self, tensor: EagerTensor) -> Any:
        """The variable that ops write in its place, which is learned if the tensor is now."""
        found = variable_of(self, tensor)
        if self._trains and tensor.role == LEARNED:
            self.reliance.learned.append((tensor, tensor.track))
            learned = self.get_collection_ref(GraphKeys.TRAINABLE_VARIABLES)
            if found.trainable != tensor.requires_grad:
                found.trainable = tensor.requires_grad
                learned[:] = [v for v in learned if v is not found] + ([found] if found.trainable else [])
        return found

    def encloses(self, other: Graph) -> bool:
        """Variables of eager mode are used here, not read once for ever."""
        return other.computes

    def _handle(self, eager: EagerTensor) -> Tensor:
        """The handle in this graph of a variable of eager mode, whose memory it is."""
        found = self._handles.get(eager)
        if found is None:
            cell = eager.value
            with self.as_default(), self.scoped(name="", controls=(), region=None, device=""):
                found = variable_handle(dtype=cell.dtype, dims=cell.dims, name="variable")
            self._handles[eager] = found
            self.cells[found.op.name] = cell
        return found

    def argument(self, dtype: Any, dims: Any, name: str) -> Tensor:
        """A new placeholder, outside of whatever scopes are open."""
        with self.as_default(), self.scoped(name="", controls=(), region=None, device=""):
            made: Tensor = core.placeholder(dtype, dims, name=name)
        self._given.add(made)
        return made

    def add_operation(self, *arguments: Any) -> Operation:
        """Append an op, and note what its outputs may show."""
        op = super().add_operation(*arguments)
        shows = op.type in _SHOWING or is_view(op.type)
        if op.inputs and shows and OPS[op.type].known_value is None and not OPS[op.type].effect:
            family = self._families.setdefault(op.inputs[0], [op.inputs[0]])
            family += op.outputs
            self._families.update(dict.fromkeys(op.outputs, family))
        return op

    # -- a trace begins and ends -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Another trace begins in this graph: what was captured before may have been changed since."""
        self._versions = {key: tensor.touched()[0] for key, (tensor, _) in self.captured.items()}
        self.reliance = Reliance()
        self._forget()
        self._effects = []
        self._begun = len(self)

    def _forget(self) -> None:
        """What was noted of tensors is of one trace."""
        notes = self.current, self.fresh, self.constants, self.parts, self._families, self._outdated, self._written
        for noted in notes:
            noted.clear()

    def finish(self) -> tuple[list[Operation], list[tuple[EagerTensor, Tensor]]]:
        """The ops to be done for their effects, and the tensors from outside that get new values, with these."""
        for tensor, known in self.captured.values():
            if tensor.touched()[0] != self._versions[id(tensor)]:
                raise FailedPreconditionError(
                    "a tensor is changed in place by a traced function, which its later calls would not do",
                    op=known.op,
                    got=repr(tensor)[:80],
                    hint="return the new value and assign it outside; trains=True lets an optimizer update parameters",
                )
        written = [self.current[key] for key in self._written]
        done = [state.assign(variable_of(self, x), value).op for x, value in written]
        self._forget()
        return [*self._effects, *done, *self._updates()], written

    def _updates(self) -> list[Operation]:
        """The ops of the trace that write variables, returned or not: only first values are for others to give."""
        first = {v.initializer for v in self.store.get("variables", {}).values()}
        built = [op for op in self.operations_after(self._begun - 1) if op not in first]
        return [op for op in built if any(effect == "write" for _, effect in effects_of(op))]

    # -- changes in place ------------------------------------------------------------------------------------------

    def is_constant(self, tensors: Sequence[Any]) -> bool:
        """Whether all of these are numbers that the function made, and nothing in the graph reads them yet."""
        return all(
            id(x) in self.fresh and id(x) not in self.current and id(x) not in self.constants
            for x in tensors
            if isinstance(x, Tensor)
        )

    def change(self, x: Any, function: Callable[..., Any], others: Sequence[Any]) -> Any:
        """Let x stand for `function(x, *others)` from now on."""
        if stacks.graphs[-1] is not self:
            raise _refusal("inside a branch or loop body", "return the new value from the branch or body", x)
        if isinstance(x, EagerTensor):
            self._change_eager(x, function, others)
        elif x.graph is not self:
            raise _refusal("that belongs to a branch or loop body", _OUT_OF_PLACE, x)
        else:
            self._change_symbol(x, function, others)
        return x

    def _change_eager(self, x: EagerTensor, function: Callable[..., Any], others: Sequence[Any]) -> None:
        inplace.check_changeable(x, False)
        mine = self._trains and x.role != ANY
        if x.track == REQUIRED and (here.records or not mine):
            raise _refusal(
                "that requires gradients",
                "an optimizer updates it outside; function(trains=True) and graphflow.train update it inside; "
                "requires_grad_(False), outside, for what is not learned, such as an average of parameters",
                x,
            )
        before = self.capture(x)
        if id(x) in self.current and not here.records and self._may_have_gradients(before):
            raise _refusal("under no_grad, which may have gradients", "x = x.detach() before it, or x = x + y", x)
        new = self._computed(x, before, function, others)
        if self._is_variable(x):
            self._effects.append(state.assign(variable_of(self, x), new).op)
            return
        self._outdate(before, keep=before)
        self.current[id(x)] = x, new
        self._given.add(new)
        if id(x) not in self.fresh:
            self._check_shared(x)
            self._written[id(x)] = x

    def _change_symbol(self, x: Tensor, function: Callable[..., Any], others: Sequence[Any]) -> None:
        if x in self.parts:
            self._change_part(x, function, others)
            return
        family = self._families.get(x, [x])
        if not self._given.isdisjoint(family):
            what = "that is an argument" if x in self._given else "that shows a part of one from outside"
            raise _refusal(f"{what}: the caller's would have to change too", _OUT_OF_PLACE, x)
        if OPS[x.op.type].effect:
            raise _refusal("that is the value of a variable", "variable.assign(value)", x)
        if not here.records and x.op.gradient_type != CUT and (x.dtype.is_floating or x.dtype.is_complex):
            raise _refusal("under no_grad, which may have gradients", "x = x.detach() before it, or x = x + y", x)
        new = self._computed(x, self.capture(x), function, others)
        self._outdate(x, keep=x)
        self._set_aside(x)
        self._become(x, new)

    def _may_have_gradients(self, x: Tensor) -> bool:
        """Whether something from outside may get a gradient through x, other than what is changed in place there."""
        apart = [self.captured[key][1] for key in self._written if key in self.captured]
        seen = {x, *apart, *self.constants.values()}
        stack = [x]
        while stack:
            y = stack.pop()
            if y in self._given and not y.op.inputs or OPS[y.op.type].effect == "read":
                return True
            if has_gradient(y.op):
                new = [z for z in y.op.inputs if z not in seen and (z.dtype.is_floating or z.dtype.is_complex)]
                seen.update(new)
                stack += new
        return False

    def _change_part(self, x: Tensor, function: Callable[..., Any], others: Sequence[Any]) -> None:
        """Change a view by a change of what it shows."""
        whole, key = self.parts[x]
        new = self._computed(x, self.capture(x), function, others)
        self.change(whole, lambda old, value: indexing.with_elements(old, key, value), (new,))
        self._show_again(x)

    def _show_again(self, x: Tensor) -> None:
        """A view shows what the tensor that it is a part of is now."""
        if x not in self.parts:
            raise SymbolicUseError(
                "a view is used after the tensor that it shows, or another view of it, was changed in place",
                op=x.op,
                got=f"the change at {self._outdated[x]}",
                hint="make the view again after the change: y = x.t(); x.clone() is no view",
            )
        with self.as_default(), no_grad() if x.op.gradient_type == CUT else enable_grad():
            again = indexing.getitem(*self.parts[x])
        del self.parts[again], self._outdated[x]
        self._become(x, again)
        family = self._families.pop(again, [])
        family[:] = [x if y is again else y for y in family]
        self._families[x] = family

    def _become(self, x: Tensor, new: Tensor) -> None:
        """The object stands for a new tensor, in whose place it is put."""
        new.op.outputs = (x,)
        x.op, x.index, x.dims, x.hint = new.op, 0, new.dims, new.hint

    def _computed(self, x: Any, before: Tensor, function: Callable[..., Any], others: Sequence[Any]) -> Tensor:
        """The new value, which is no other tensor's."""
        built = len(self)
        found = inplace.fitting(x, core.convert_to_tensor(function(before, *others), preferred_dtype=x.dtype))
        used = any(y is before for op in self.operations_after(built - 1) for y in op.inputs)
        made_here = not isinstance(x, EagerTensor) or id(x) in self.current
        if made_here and not used and here.records and self._may_have_gradients(before):  # these are zeros, not none
            found = pointwise.where(core.constant(False), before, found)
        return self.own(core.identity(found))

    def own(self, x: Tensor) -> Tensor:
        """The tensor, which shows nobody else's memory."""
        family = self._families.pop(x, [])
        family[:] = [y for y in family if y is not x]
        return x

    def _set_aside(self, x: Tensor) -> None:
        """Another tensor takes the place of x in what was built so far."""
        old = Symbol(x.op, x.index, TensorSpec(x.dtype, x.dims, x.hint))
        x.op.outputs = tuple([old if y is x else y for y in x.op.outputs])
        for op in self.operations_after(x.op.id):
            if any(y is x for y in op.inputs):
                op.inputs = tuple([old if y is x else y for y in op.inputs])
                for inner in op.attrs.values():
                    if isinstance(inner, FuncGraph) and x in inner.captured:
                        argument = inner.captured[old] = inner.captured.pop(x)
                        inner.stands_for[argument] = old

    def _outdate(self, x: Tensor, keep: Tensor) -> None:
        """Views of what is changed, and what they are views of, are not to be used any more."""
        place = source.user_frame()
        for other in self._families.pop(x, ()):
            if other is not keep and other not in self._outdated:
                self._families.pop(other, None)
                if other not in self._given:
                    self._set_aside(other)
                self._outdated[other] = place

    def _check_shared(self, tensor: EagerTensor) -> None:
        """Raise if another tensor that shares the memory is used too, and one of both is changed."""
        memory = tensor.touched()
        used = [x for x, _ in self.captured.values()] if id(tensor) in self.current else self._written.values()
        for other in used:
            if other is not tensor and other.touched() is memory:
                raise _refusal(
                    "that shares its memory with another one which is used too",
                    "use one of both in the traced function, or x.clone()",
                    tensor,
                )


def _refusal(which: str, hint: str, x: Any) -> SymbolicUseError:
    return SymbolicUseError(
        f"a traced function changes a tensor in place {which}",
        op=None if isinstance(x, EagerTensor) else x.op,
        got=f"{x.dtype.name}{list(x.dims or ())}, changed at {source.user_frame()}",
        hint=hint,
    )
