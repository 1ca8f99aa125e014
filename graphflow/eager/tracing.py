"""Traces: a Python function of eager tensors as a graph that is compiled once and run many times.

Policy: arguments become placeholders; eager tensors of the function's surroundings become placeholders too, and what
they hold is fed at each call, so changes in place are seen.  A call that takes part in gradients is one record.  Its
derivative is more of the same graph, compiled as well: it is fed what the call computed, and computes nothing twice.
A derivative that will be differentiated again is itself such a call, so there are derivatives of any order.

State: each trace owns its graph, its session and its compiled stages.
"""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphflow import dtypes, nest, source
from graphflow.backend import Run, load_backend
from graphflow.collector import CollectorPaused
from graphflow.compile.lower import needed_ops
from graphflow.eager.engine import EAGER, here
from graphflow.eager.placement import move
from graphflow.eager.reading import Around
from graphflow.eager.recording import enable_grad
from graphflow.eager.symbols import Symbol
from graphflow.eager.tensor import DEVICES, REQUIRED, EagerTensor, Record
from graphflow.eager.trace_graph import has_gradient
from graphflow.eager.trace_session import Caller, TraceSession, new_run
from graphflow.eager.traced import CALLERS, Reliance, parts_changed
from graphflow.errors import Error, FailedPreconditionError, InvalidArgumentError, SymbolicUseError
from graphflow.gradients import gradients
from graphflow.indexed_slices import IndexedSlices
from graphflow.opdef import OPS, RegisterGradient
from graphflow.spec import TensorSpec, is_concrete
from graphflow.tensor import Operation, Tensor

_value_of = operator.attrgetter("value")
GRADIENT = "TracedFunction"  # the name under which the derivative of a call is registered


class Stage:
    """One compiled part of a trace: tensors in, tensors out, and how to come by its derivative."""

    def __init__(self, trace: Trace, inputs: Sequence[Tensor], outputs: Sequence[Tensor], extra: Any = ()) -> None:
        self.trace = trace
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.dtypes = tuple([x.dtype for x in outputs])
        self.extra: tuple[Operation, ...] = tuple(extra)  # ops that are done for their effects
        self.changes: frozenset[int] = frozenset()  # numbers of inputs whose memory is written
        self.written: tuple[Tensor, ...] = ()  # what tensors from outside are changed to
        self._plain: Caller | None = None
        self._saving: dict[tuple[int, ...], _Saving] = {}  # by the inputs that gradients are asked of
        self._derived: dict[Any, tuple[Stage, tuple[int, ...]]] = {}

    def __call__(self, inputs: Sequence[EagerTensor], run: Run | None = None) -> list[EagerTensor]:
        """Compute the outputs; one record stands for all of it where a gradient may be asked for."""
        values, track = [], 0
        for x in inputs:
            values.append(x.value)
            if x.track > track:
                track = x.track
        if track and here.records and (here.tapes or track == REQUIRED):
            return self._recorded(inputs, values, track, run)
        call = self._plain or self._compiled()
        found = call(values, run)
        if DEVICES:
            found = _where_they_lie(found, values, self.dtypes)
        return [EagerTensor(v, dtype) for v, dtype in zip(found, self.dtypes)]  # noqa: B905 - as many

    def _compiled(self) -> Caller:
        self._plain = self.trace.session.caller([*self.outputs, *self.extra], self.inputs)
        return self._plain

    def _recorded(
        self, inputs: Sequence[EagerTensor], values: Sequence[Any], track: int, run: Run | None
    ) -> list[EagerTensor]:
        wanted = _differentiable(inputs)
        saving = self._saving.get(wanted) or self._with_saved(wanted)
        if self.changes:  # the derivative is to see what they were
            inputs, values = self._kept(inputs, values)
        run = run or new_run()  # random numbers that a derivative draws again must be the same
        found = saving.forward(values, run)
        if DEVICES:
            count = len(self.outputs)
            found = [*_where_they_lie(found[:count], values, self.dtypes), *found[count:]]
        made = [EagerTensor(v, dtype) for v, dtype in zip(found, saving.dtypes, strict=True)]
        attrs = {"stage": self, "run": run, "saving": saving}
        place = source.user_frame()
        record = Record(EAGER, "CustomGradient", EAGER.scope, tuple(inputs), attrs, self.trace.name, place)
        record.gradient_type = GRADIENT
        record.made(made)
        for i, y in enumerate(made[: len(self.outputs)]):
            if i in saving.given:
                y.track = track
            else:  # no gradient comes through, so it needs not keep what the call kept
                y.origin = None
        return made[: len(self.outputs)]

    def _kept(self, inputs: Sequence[EagerTensor], values: Sequence[Any]) -> tuple[list[EagerTensor], list[Any]]:
        """The inputs with copies of those whose memory the call will write."""
        for i in self.changes:
            if inputs[i].track:
                raise FailedPreconditionError(
                    f"{self.trace.name} changes a tensor in place that gradients are asked of",
                    got=repr(inputs[i])[:80],
                    hint="compute a new tensor and return it",
                )
        found = [EagerTensor(np.array(v), x.dtype) if i in self.changes else x
                 for i, (x, v) in enumerate(zip(inputs, values, strict=True))]  # fmt: skip
        return found, [x.value for x in found]

    def _with_saved(self, wanted: tuple[int, ...]) -> _Saving:
        """How to compute the outputs together with what the derivative by these inputs needs of the way to them."""
        with self.trace.lock:
            if wanted not in self._saving:
                given = self._connected(wanted)
                try:
                    saved = self._needed_later(given, wanted)
                except Error:  # there is no derivative: who asks for it is told so
                    saved = []
                self._saving[wanted] = _Saving(self, saved, given)
            return self._saving[wanted]

    def _connected(self, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """Which outputs depend on these inputs by ops that have gradients."""
        reached = {self.inputs[i] for i in wanted}
        for op in needed_ops([x.op for x in [*self.outputs, *self.written]], {}):
            if has_gradient(op) and not reached.isdisjoint(op.inputs):
                reached.update(x for x in op.outputs if x.dtype.is_floating or x.dtype.is_complex)
        if not reached.isdisjoint(self.written):
            raise FailedPreconditionError(
                f"{self.trace.name} changes a tensor from outside in place, to a value that requires gradients",
                op=next(x.op for x in self.written if x in reached),
                hint="x.detach(), or torch.no_grad(), where the new value is computed",
            )
        return tuple(i for i, x in enumerate(self.outputs) if x in reached)

    # -- derivatives -----------------------------------------------------------------------------------------------

    def derivative(self, given: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[Stage, tuple[int, ...]]:
        """The stage from the inputs and the gradients of outputs `given` to those of the inputs `wanted`.

        With it come the inputs for which there is a gradient at all, in the order of its outputs.
        """
        key = given, wanted
        with self.trace.lock:
            if key not in self._derived:
                graph = self.trace.graph
                with graph.as_default(), CollectorPaused(), enable_grad():
                    dys = [graph.argument(self.dtypes[i], self.outputs[i].dims, "gradient") for i in given]
                    ys, xs = [self.outputs[i] for i in given], [self.inputs[i] for i in wanted]
                    found = gradients(ys, xs, dys) if ys and xs else []
                    dense = [g.to_tensor() if isinstance(g, IndexedSlices) else g for g in found]
                there = tuple(i for i, g in zip(wanted, dense, strict=True) if g is not None) if dense else ()
                stage = Stage(self.trace, [*self.inputs, *dys], [g for g in dense if g is not None])
                self._derived[key] = stage, there
            return self._derived[key]

    def _needed_later(self, given: tuple[int, ...], wanted: tuple[int, ...]) -> list[Tensor]:
        """What the derivative reads of what the outputs are computed from."""
        mark = {op.id for op in needed_ops([x.op for x in self.outputs], {})}
        stage, _ = self.derivative(given, wanted)
        front = [x for op in needed_ops([x.op for x in stage.outputs], {}) if op.id not in mark for x in op.inputs]
        front += [x for x in stage.outputs if x.op.id in mark]
        return _worth_keeping(front, mark, {*self.inputs, *self.outputs})

    def backward(self, record: Any, dys: Sequence[Any]) -> list[Any]:
        """The gradients of the inputs of a call."""
        for x in record.inputs:
            if x.value is None:
                _ = x.hint  # says that it was changed in place
        given = tuple(i for i, dy in enumerate(dys[: len(self.outputs)]) if dy is not None)
        seeds = [dys[i].to_tensor() if isinstance(dys[i], IndexedSlices) else dys[i] for i in given]
        wanted = _differentiable(record.inputs)
        stage, there = self.derivative(given, wanted)
        run = record.attrs["run"]
        if here.records:
            found = stage([*record.inputs, *seeds], run) if there else []
        else:
            found = record.attrs["saving"].backward(stage, record, seeds, run) if there else []
        out: list[Any] = [None] * len(record.inputs)
        for i, g in zip(there, found, strict=True):
            out[i] = move(g, record.inputs[i].device) if DEVICES else g
        return out


class _Saving:
    """A stage that also gives what its derivative needs, and its derivative that takes it."""

    def __init__(self, stage: Stage, saved: Sequence[Tensor], given: tuple[int, ...]) -> None:
        self.stage = stage
        self.given = given  # which outputs have a derivative
        self.saved = tuple(saved)
        outputs = [*stage.outputs, *self.saved]
        self.dtypes = [x.dtype for x in outputs]
        self.forward = stage.trace.session.caller([*outputs, *stage.extra], stage.inputs)
        self._backward: dict[Stage, tuple[Caller, list[tuple[Tensor, int]]]] = {}
        known = {x: i for i, x in enumerate(outputs)}
        self._kept = {x: i for x, i in known.items() if x not in stage.inputs}

    def backward(self, derived: Stage, record: Any, seeds: Sequence[EagerTensor], run: Run) -> list[EagerTensor]:
        """The outputs of the derivative, from what was kept."""
        found = self._backward.get(derived)
        if found is None:
            read = self._read_by(derived)
            found = derived.trace.session.caller(derived.outputs, [*derived.inputs, *[x for x, _ in read]]), read
            self._backward[derived] = found
        call, read = found
        if not isinstance(record, Record):  # some outputs were changed in place: these have no value there
            for x in [record.outputs[i] for _, i in read if i < len(self.stage.outputs)]:
                if x.value is None:
                    _ = x.hint  # says so
        kept = [record.values[i] for _, i in read]
        if any(value is None for value in kept):
            kept = [_unread(x) if value is None else value for (x, _), value in zip(read, kept, strict=True)]
        values = [x.value for x in record.inputs] + [x.value for x in seeds] + kept
        return [EagerTensor(v, dtype) for v, dtype in zip(call(values, run), derived.dtypes, strict=True)]

    def _read_by(self, derived: Stage) -> list[tuple[Tensor, int]]:
        """Which of what was kept a derivative reads, with the places where it is."""
        ops = needed_ops([x.op for x in derived.outputs if x not in self._kept], self._kept)
        reads = {*derived.outputs, *[x for op in ops for x in op.inputs]}
        return [(x, i) for x, i in self._kept.items() if x in reads]


def _check_open(leaf: Any) -> None:
    """Raise if a part of what a traced function returns hides tensors, which would never get a value."""
    if isinstance(leaf, Iterator):
        inside, what = True, "an iterator"
    else:
        parts = leaf if isinstance(leaf, (set, frozenset)) else getattr(leaf, "__dict__", {}).values()
        inside, what = any(isinstance(x, Symbol) for x in parts), f"{type(leaf).__name__} that holds tensors"
    if inside and not isinstance(leaf, Tensor):
        raise SymbolicUseError(
            "a traced function returns what it cannot fill in at its later calls",
            expected="tensors, and tuples, lists, dicts and named tuples of them",
            got=what,
            hint="return list(...) of an iterator; return the tensors, and make the object outside",
        )


def _where_they_lie(found: Sequence[Any], given: Sequence[Any], kinds: Sequence[dtypes.DType]) -> list[Any]:
    """Results on the device where what was given lies; scalars, whole numbers and text are fine on the host."""
    place = next((DEVICES[type(v)] for v in given if type(v) in DEVICES), None)
    if place is None:
        return list(found)
    backend = load_backend(place)
    stays = [type(v) is not np.ndarray or not v.ndim or kind.is_integer or kind is dtypes.string
             for v, kind in zip(found, kinds, strict=True)]  # fmt: skip
    pairs = zip(found, kinds, stays, strict=True)
    return [v if stay else EAGER.send(v, kind, backend) for v, kind, stay in pairs]


def _unread(x: Tensor) -> Any:
    """In the place of a value of the branch that was not taken: its derivative is not taken either."""
    return np.zeros([size or 0 for size in x.dims or ()], x.dtype.np)


def _differentiable(inputs: Sequence[EagerTensor]) -> tuple[int, ...]:
    """Which inputs a gradient may be asked of."""
    return tuple([i for i, x in enumerate(inputs) if x.track and (x.dtype.is_floating or x.dtype.is_complex)])


def _worth_keeping(front: list[Tensor], forward: set[int], known: set[Tensor]) -> list[Tensor]:
    """Which results to keep so that these tensors need not be computed again; views are made anew."""
    kept: dict[Tensor, None] = {}
    seen: set[Tensor] = set()
    while front:
        x = front.pop()
        if x in seen or x in known or x.op.id not in forward or x.op.type == "Const" or x.dtype is dtypes.resource:
            continue
        seen.add(x)
        definition = OPS[x.op.type]
        if definition.known_value is not None and all(is_concrete(i.dims) for i in x.op.inputs):
            continue
        if definition.pure and not definition.weight and x.op.inputs and not x.op.control_inputs:
            front += x.op.inputs
        else:
            kept[x] = None
    return sorted(kept, key=lambda x: (x.op.id, x.index))


@RegisterGradient(GRADIENT, unused_as_none=True)
def _gradient_of_call(record: Any, *dys: Any) -> list[Any]:
    found: list[Any] = record.attrs["stage"].backward(record, dys)
    return found


class Trace:
    """One function for one signature: its graph, and what runs it."""

    def __init__(self, name: str, session: TraceSession) -> None:
        self.name = name
        self.lock = threading.RLock()
        self.session = session
        self.graph: Any = session.graph
        self.seconds = 0.0  # that tracing took
        self.watched: list[Any] = []  # weak references to objects of the signature
        self.arguments: list[Tensor] = []
        self.captured: list[EagerTensor] = []
        self.stage: Stage
        self.result: Any = None  # the structure that was returned; where an int stands in `places`, an output
        self._leaves: list[Any] = []
        self._places: list[int | None] = []
        self.reliance = Reliance()
        self.bound: list[str] = []  # names and attributes that the function has bound anew while it was traced
        self._kinds: list[tuple[EagerTensor, Any, Any]] = []  # of what is captured
        self._values: list[Any] = []  # the arrays of what is captured, when its kinds were last looked at
        self.simple = False  # one tensor is returned, and no structure

    def build(
        self, function: Callable[[Sequence[Tensor]], Any], specs: Sequence[TensorSpec], around: Around | None = None
    ) -> Trace:
        """Trace the function of as many tensors as there are specs; `around` it were these names."""
        started = time.perf_counter()
        self.graph.begin()
        self.graph.caller_records = bool(here.records)
        with self.graph.as_default(), CollectorPaused(), enable_grad():
            here.records = CALLERS
            self.arguments = [self.graph.argument(s.dtype, s.dims, "argument") for s in specs]
            self.result = function(list(self.arguments))
            if not here.records:
                raise FailedPreconditionError(
                    f"{self.name} switches recording off and leaves it so, which its later calls would not do",
                    hint="with torch.no_grad(): ... inside, or set_grad_enabled(False) outside",
                )
            outputs, extra = self._outputs(self.result)
            effects, written = self.graph.finish()
            extra = list(dict.fromkeys([*extra, *effects]))
        used = {op.id for op in needed_ops([*[x.op for x in outputs], *extra], {})}
        pairs = [(x, known) for x, known in self.graph.captured.values() if known.op.id in used]
        self.captured = [tensor for tensor, _ in pairs]
        self._kinds = [(tensor, x.dtype, x.dims) for tensor, x in pairs]
        self.stage = Stage(self, [*self.arguments, *[x for _, x in pairs]], outputs, extra)
        self.stage.written = tuple([value for _, value in written])
        changed = {id(x) for x, _ in written}
        self.stage.changes = frozenset([i for i, (x, _) in enumerate(pairs, len(specs)) if id(x) in changed])
        self.reliance = self.graph.reliance
        self.reliance.watch(around or Around())
        self.bound = self.reliance.close()
        self.session.state.look(self.graph)
        self.seconds = time.perf_counter() - started
        return self

    def _outputs(self, result: Any) -> tuple[list[Tensor], list[Operation]]:
        """The tensors that were returned, each once, and the ops."""
        found: dict[Tensor, int] = {}
        extra: list[Operation] = []
        for leaf in nest.flatten(result):
            leaf = (
                leaf.to_tensor() if isinstance(leaf, IndexedSlices) else getattr(leaf, "_as_tensor", lambda x=leaf: x)()
            )
            if isinstance(leaf, Operation):
                if leaf.graph is not self.graph:
                    raise InvalidArgumentError("a traced function returns an op of another graph", op=leaf)
                extra.append(leaf)
                leaf = None
            place = None
            _check_open(leaf)
            if isinstance(leaf, Tensor):
                place = found.setdefault(self.graph.capture(leaf), len(found))
            self._leaves.append(leaf)
            self._places.append(place)
        self.simple = self._places == [0] and not nest.is_nested(result)
        return list(found), extra

    def __call__(self, *arguments: EagerTensor) -> Any:
        """What the function returns for the tensors among its arguments."""
        if len(arguments) != len(self.arguments):
            raise InvalidArgumentError(
                f"the trace of {self.name} takes its tensors",
                expected=str(len(self.arguments)),
                got=str(len(arguments)),
            )
        return self.run(arguments)

    def run(self, arguments: Sequence[EagerTensor]) -> Any:
        """The same, unchecked."""
        made = self.stage([*arguments, *self.captured])
        if self.simple:
            return made[0]
        leaves = [x if p is None else made[p] for x, p in zip(self._leaves, self._places, strict=True)]
        return nest.pack(self.result, leaves)

    def is_outdated(self) -> bool:
        """Whether what it was made of is no longer so, which asks for another trace."""
        known = self.reliance
        if (
            known.names
            or known.cells
            or known.values
            or known.objects
            or known.contents
            or known.seen != parts_changed[0]
        ) and not known.holds():
            return True
        if known.recording is not None and known.recording is not bool(here.records):
            return True
        if known.learned and any(x.track != track for x, track in known.learned):
            return True
        return not self._kinds_hold()

    def _kinds_hold(self) -> bool:
        """Whether what is captured has the dtypes and shapes that it had: surely if these are the arrays of before."""
        values = list(map(_value_of, self.captured))
        if len(values) == len(self._values) and all(map(operator.is_, values, self._values)):
            return True
        if any(x.dtype is not dtype or x.dims != dims for x, dtype, dims in self._kinds):
            return False
        # Memory of a device is replaced at each change: to hold the one of before would be to hold it twice.
        self._values = values if all(type(v) is np.ndarray for v in values) else []
        return True

    def is_of_another_mode(self) -> bool:
        """Whether it can be of use again: nothing but what modules and callers switch to and fro keeps it from it."""
        return self._kinds_hold() and not self.reliance.learned and self.reliance.holds_but_for_modes()

    def explain(self, shapes: Sequence[tuple[int, ...]]) -> Any:
        """What the compiler made of it, for arguments of these shapes."""
        return self.session.explain(self.fetches, self._samples(shapes))

    @property
    def fetches(self) -> list[Any]:
        """What is computed."""
        return [*self.stage.outputs, *self.stage.extra]

    def _samples(self, shapes: Sequence[tuple[int, ...]]) -> dict[Tensor, Any]:
        given = [*shapes, *[x.dims for x in self.captured]]
        return {x: np.zeros(s, x.dtype.np) for x, s in zip(self.stage.inputs, given, strict=True)}
