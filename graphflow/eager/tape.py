"""Gradients of what was computed at once: `GradientTape`, and `backward` in PyTorch's manner.

Policy: the walk is that of `tf.gradients`, over records instead of operations, so each derivative is written once.
`backward` adds to `.grad` of the leaves and frees the records it passed, unless they are to be retained; a tape
answers once, unless it is persistent.  Gradients are themselves recorded only where someone will differentiate them.
A value that was changed in place after it was recorded is refused if a derivative reads it, and only then.

State: which tensors keep their gradient though they are no leaves; whether ops are recorded is the engine's.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from graphflow.collector import CollectorPaused
from graphflow.eager.engine import EAGER, here
from graphflow.eager.inplace import Replacement, changed_outputs, settle
from graphflow.eager.tensor import REQUIRED, TAPED, UNTRACKED, EagerTensor, Record
from graphflow.errors import FailedPreconditionError, InvalidArgumentError, ShapeError, shown
from graphflow.gradients import Walk, given_or_ones, listed
from graphflow.indexed_slices import IndexedSlices
from graphflow.ops import array


class _EagerWalk(Walk):
    """The reverse walk over records."""

    def apply(self, op: Any, dys: list[Any], wanted: list[bool]) -> Sequence[Any]:
        """The contributions of one record, which must not have been freed, to its inputs."""
        if op.freed:
            raise _freed(op)
        return super().apply(_as_recorded(op), dys, wanted)


def _freed(record: Record) -> FailedPreconditionError:
    return FailedPreconditionError(
        "the gradient was computed already, and what it needs was freed",
        op=record,
        hint="loss.backward(retain_graph=True), if it is wanted twice; else compute the loss again",
    )


class _Changed(EagerTensor):
    """Stands for an input whose memory was changed after the op had read it."""

    __slots__ = ("old", "reader")

    def __init__(self, old: EagerTensor, reader: Record) -> None:
        super().__init__(None, old.dtype)
        self.old, self.reader = old, reader

    @property
    def dims(self) -> tuple[int, ...]:  # type: ignore[override]
        """The shape, which is the same."""
        return self.old.dims

    @property
    def hint(self) -> Any:
        """Whoever asks wants the value."""
        raise self.error()

    def error(self) -> FailedPreconditionError:
        """Why there is no value."""
        return FailedPreconditionError(
            "the gradient needs a value that was changed in place after it was used",
            op=self.reader,
            got=f"{self.old.dtype.name}{list(self.old.dims)}, changed after the op had read it",
            hint="x = x + y makes a new tensor; x += y and x.add_(y) change the one that is there",
        )


def _as_recorded(record: Any) -> Any:
    """The record as its derivative sees it: inputs that were changed in place refuse to be read."""
    stale = [
        x.memory is not None and x.memory[0] != version
        for x, version in zip(record.inputs, record.versions, strict=True)
    ]
    lost = changed_outputs(record)
    if not (lost or any(stale)):
        return record
    seen = Record(EAGER, record.type, EAGER.scope, (), record.attrs, record._name, record.user_source)
    seen.gradient_type = record.gradient_type
    seen.inputs = tuple(_Changed(x, record) if s else x for x, s in zip(record.inputs, stale, strict=True))
    seen._outputs, seen.values, seen.dtypes = record._outputs, record.values, record.dtypes
    if lost:
        outputs = [_Changed(y, record) if i in lost else y for i, y in enumerate(record.outputs)]
        return _Seen(seen, outputs)
    return seen


class _Seen:
    """A record some outputs of which were changed in place."""

    def __init__(self, record: Record, outputs: list[EagerTensor]) -> None:
        self.record = record  # which holds its inputs
        self.outputs = tuple(outputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.record, name)


def differentiate(
    ys: Sequence[EagerTensor], xs: Sequence[EagerTensor], grad_ys: Any, records: bool
) -> tuple[list[Any], list[Any]]:
    """The derivatives of the sum of `ys` by each of `xs`, None where there is no path; and the records passed."""
    settle(ys)
    before, here.records, tapes = here.records, records, here.tapes
    here.tapes = tapes if records else 0
    try:
        with EAGER.as_default(), CollectorPaused():
            walk = _EagerWalk(ys, xs, set())
            walk.seed(ys, given_or_ones(ys, grad_ys))
            walk.run()
            found = [walk.total(x) for x in xs]
            return [g.to_tensor() if isinstance(g, IndexedSlices) else g for g in found], walk.path
    finally:
        here.records, here.tapes = before, tapes


_retained: weakref.WeakValueDictionary[int, EagerTensor] = weakref.WeakValueDictionary()


def retain_grad(x: EagerTensor) -> None:
    """Let `backward` set `.grad` of a tensor that is no leaf."""
    if x.track != REQUIRED:
        raise FailedPreconditionError(
            "a tensor without gradients keeps none", got=repr(x)[:80], hint="requires_grad=True on a leaf"
        )
    if x.origin is not None:
        _retained[id(x)] = x


def leaves_of(y: EagerTensor) -> list[EagerTensor]:
    """The leaves that y depends on and that require a gradient (and what retains its own), in the order of the walk."""
    found: dict[int, EagerTensor] = {}
    seen: set[int] = set()
    stack = [y]
    while stack:
        x = stack.pop()
        record = x.origin
        if record is None:
            if x.track == REQUIRED:
                found[id(x)] = x
        elif record.id not in seen:
            if record.freed:
                raise _freed(record)
            seen.add(record.id)
            stack += [i for i in record.inputs if i.track]
        if _retained and record is not None and _retained.get(id(x)) is x:
            found[id(x)] = x
    return list(found.values())


def backward(y: EagerTensor, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
    """Add the derivative of y to `.grad` of every leaf that requires one."""
    if y.track != REQUIRED:
        raise FailedPreconditionError(
            "backward() on a tensor that no gradient can be asked of",
            got=repr(y)[:80],
            hint="requires_grad=True on what it is computed from; detach() and no_grad() cut the path",
        )
    if gradient is None and y.dims and max(y.dims) * min(y.dims) != 1:
        raise ShapeError(
            "backward() without a gradient takes a scalar",
            expected="shape []",
            got=f"shape {list(y.dims)}",
            hint="loss.sum().backward(), or backward(gradient) with a gradient of that shape",
        )
    settle([y])
    leaves = leaves_of(y)
    gradients, passed = differentiate([y], leaves, None if gradient is None else [gradient], create_graph)
    taken = {id(gradient.value)} if isinstance(gradient, EagerTensor) else set()
    for x, g in zip(leaves, gradients, strict=True):
        if g is not None and x.grad is None:
            x.grad = g if create_graph else _own(g, taken)
        elif g is not None:
            x.grad = _sum(x.grad, g, create_graph)  # type: ignore[arg-type]
    if not (retain_graph or create_graph):
        free(passed)


def _own(g: EagerTensor, taken: set[int]) -> EagerTensor:
    """The gradient in memory that is nobody else's: what is done to it in place is done to it alone."""
    value = g.value
    if type(value) is np.ndarray and (value.base is not None or not value.flags.writeable or id(value) in taken):
        value = np.array(value)
    taken.add(id(value))
    return EagerTensor(value, g.dtype)


def free(records: Sequence[Any]) -> None:
    """Let go of what the derivatives of these records needed; they cannot be asked for again."""
    for record in records:
        if isinstance(record, Record):
            record.freed = True
            record.inputs, record.values = _emptied(record.inputs), [None] * len(record.values)
            if isinstance(record, Replacement):
                record.before = EagerTensor(None, record.before.dtype)


def check_not_freed(ys: Sequence[EagerTensor]) -> None:
    """Raise if the gradient of one of these was computed already, and is not kept."""
    for y in ys:
        if y.origin is not None and y.origin.freed:
            raise _freed(y.origin)


def _emptied(inputs: Sequence[EagerTensor]) -> tuple[EagerTensor, ...]:
    """Tensors that keep no memory: only their places in the graph are still asked for."""
    return tuple([x if x.origin is None and x.track else EagerTensor(None, x.dtype) for x in inputs])


def _sum(a: EagerTensor, b: EagerTensor, records: bool) -> Any:
    before, here.records = here.records, records
    try:
        return a + b
    finally:
        here.records = before


class GradientTape:
    """Records what is computed from watched tensors inside its `with` block.

    with gf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    dy_dx = tape.gradient(y, x)
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._persistent = persistent
        self._watched: dict[int, EagerTensor] = {}
        self._used = False
        self._open = False

    def __enter__(self) -> GradientTape:
        if self._open:
            raise FailedPreconditionError("the tape is recording already", hint="another tape: gf.GradientTape()")
        here.tapes += 1
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here.tapes -= 1
        self._open = False

    def watch(self, tensor: Any) -> None:
        """From now on record what is computed from these tensors."""
        for x in listed(tensor):
            if not isinstance(x, EagerTensor):
                raise InvalidArgumentError(
                    "a tape watches eager tensors", got=shown(x), hint="torch.tensor(values); in a graph, tf.gradients"
                )
            if not (x.dtype.is_floating or x.dtype.is_complex):
                raise InvalidArgumentError("only floating-point tensors have gradients", got=shown(x), hint="x.float()")
            if x.track == UNTRACKED:
                x.track = TAPED
            self._watched[id(x)] = x

    def watched_variables(self) -> list[EagerTensor]:
        """What was watched."""
        return list(self._watched.values())

    @contextlib.contextmanager
    def stop_recording(self) -> Iterator[None]:
        """What is computed inside is not recorded."""
        with no_grad():
            tapes, here.tapes = here.tapes, 0
            try:
                yield
            finally:
                here.tapes = tapes

    def reset(self) -> None:
        """Forget what was watched."""
        self._watched.clear()
        self._used = False

    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: str = "none"
    ) -> Any:
        """The derivatives of the sum of `target` by `sources`, in the structure of `sources`."""
        if self._used and not self._persistent:
            raise FailedPreconditionError(
                "the tape was asked already", hint="GradientTape(persistent=True) answers several times"
            )
        if unconnected_gradients not in ("none", "zero"):
            raise InvalidArgumentError(
                "no such answer for what is not connected",
                expected='unconnected_gradients="none" or "zero"',
                got=shown(unconnected_gradients),
            )
        ys, xs = listed(target), [getattr(x, "handle", x) for x in listed(sources)]
        for x in (*ys, *xs):
            if not isinstance(x, EagerTensor):
                raise InvalidArgumentError("a tape knows eager tensors", got=shown(x), hint="tf.gradients, in a graph")
        self._used = True
        outer = here.tapes > 0  # an outer tape, or this one while it records, may be asked for second derivatives
        found, _ = differentiate(ys, xs, None if output_gradients is None else listed(output_gradients), outer)
        if unconnected_gradients == "zero":
            with EAGER.as_default():
                found = [array.zeros_like(x) if g is None else g for g, x in zip(found, xs, strict=True)]
        return found if isinstance(sources, (list, tuple)) else found[0]


class no_grad(contextlib.ContextDecorator):
    """Inside, or in a function so decorated, nothing is recorded for `backward`."""

    _wanted = False

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        self._before: list[bool] = []
        self._function = function
        if function is not None:  # @no_grad without parentheses
            functools.update_wrapper(self, function)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """As a decorator, or the function that was decorated."""
        if self._function is None:
            return super().__call__(*arguments, **named)
        with type(self)():
            return self._function(*arguments, **named)

    def __enter__(self) -> no_grad:
        self._before.append(here.records)
        here.records = self._wanted
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here.records = self._before.pop()


class enable_grad(no_grad):
    """Inside, ops are recorded again."""

    _wanted = True
