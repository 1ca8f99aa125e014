"""Gradients of what was computed at once: `backward` in PyTorch's manner, and the walk that `GradientTape` shares.

Policy: the walk is that of `tf.gradients`, over records instead of operations, so each derivative is written once.
`backward` adds to `.grad` of the leaves, where that lies, and frees the records it passed, unless they are to be
retained.  Gradients are themselves recorded only where someone will differentiate them.
A value that was changed in place after it was recorded is refused if a derivative reads it, and only then.

State: which tensors keep their gradient though they are no leaves; whether ops are recorded is the engine's.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphflow.collector import CollectorPaused
from graphflow.dtypes import float64
from graphflow.eager import anomaly, hooks
from graphflow.eager.engine import EAGER, here
from graphflow.eager.history import changed_outputs, copy_of, is_changed, settle
from graphflow.eager.storage import accumulate
from graphflow.eager.tensor import REQUIRED, EagerTensor, Record
from graphflow.errors import FailedPreconditionError, InvalidArgumentError, ShapeError, shown
from graphflow.gradients import Walk, given_or_ones, listed
from graphflow.indexed_slices import IndexedSlices
from graphflow.ops import array
from graphflow.tensor import Tensor


class _EagerWalk(Walk):
    """The reverse walk over records."""

    def apply(self, op: Any, dys: list[Any], wanted: list[bool]) -> Sequence[Any]:
        """The contributions of one record, which must not have been freed, to its inputs."""
        if op.freed:
            raise _freed(op)
        found = super().apply(_as_recorded(op), dys, wanted)
        if anomaly.wanted.on:
            anomaly.check(op, found, self.path)
        return found


class _HookedWalk(_EagerWalk):
    """The reverse walk where somebody registered a hook: what is complete goes through those of its tensor."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._done: set[int] = set()

    def total(self, tensor: Any) -> Any:
        """The sum of what was contributed to a tensor, after its hooks."""
        found = super().total(tensor)
        if found is not None and id(tensor) not in self._done:
            self._done.add(id(tensor))
            found = hooks.passed(tensor, found.to_tensor() if isinstance(found, IndexedSlices) else found)
            self.parts[tensor] = [found]
        return found


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
    lost = changed_outputs(record)
    if not lost and record.is_as_it_was():
        return record
    stale = [is_changed(x, version) for x, version in zip(record.inputs, record.versions, strict=True)]
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
    ys: Sequence[EagerTensor], xs: Sequence[EagerTensor], grad_ys: Any, records: bool, behind: Any = None
) -> tuple[list[Any], list[Any]]:
    """The derivatives of the sum of `ys` by each of `xs`, None where there is no path; and the records passed.

    `behind`: the records behind ys, if they are known already.
    """
    if behind is None:
        settle(ys)
        behind = look_behind(ys)[0]
    before, here.records, tapes = here.records, records, here.tapes
    here.tapes = tapes if records else 0
    try:
        with EAGER.as_default(), CollectorPaused():
            walk = (_HookedWalk if hooks.used[0] else _EagerWalk)(ys, xs, set(), behind)
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


def retains_grad(x: EagerTensor) -> bool:
    """Whether `backward` sets `.grad` of it though it is no leaf."""
    return _retained.get(id(x)) is x


def look_behind(ys: Sequence[EagerTensor]) -> tuple[list[Record], list[EagerTensor]]:
    """The records that ys were computed by, in their order; and what `backward` gives a gradient."""
    leaves: dict[int, EagerTensor] = {}
    found: dict[int, Record] = {}
    stack = list(ys)
    while stack:
        x = stack.pop()
        record = x.origin
        if record is None:
            if x.track == REQUIRED:
                leaves[id(x)] = x
        elif record.id not in found:
            if record.freed:
                raise _freed(record)
            found[record.id] = record
            for i in record.inputs:
                if i.track:
                    stack.append(i)
        if _retained and record is not None and _retained.get(id(x)) is x:
            leaves[id(x)] = x
    return [found[number] for number in sorted(found)], list(leaves.values())


def backward(
    y: EagerTensor,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the derivative of y to `.grad` of every leaf that requires one, or of `inputs` alone."""
    backward_of([y], [gradient], retain_graph, create_graph, inputs)


def backward_of(
    ys: Sequence[EagerTensor], given: Sequence[Any], retain_graph: bool | None, create_graph: bool, inputs: Any = None
) -> None:
    """Add the derivatives of several tensors to `.grad`."""
    for y, g in zip(ys, given, strict=True):
        _check_start(y, g)
    settle(ys)
    behind, leaves = look_behind(ys)
    if inputs is not None:
        leaves = _asked(inputs)
    gradients, passed = differentiate(ys, leaves, given, create_graph, behind)
    taken = {id(g.value) for g in given if isinstance(g, EagerTensor)}
    for i, x in enumerate(leaves):
        if gradients[i] is None:
            continue
        if x._grad is None:
            x._grad = copy_of(gradients[i]) if create_graph else _own(gradients, i, taken, passed)
        elif create_graph:
            x._grad = x._grad + gradients[i]
        else:
            accumulate(x._grad, gradients[i])
        if hooks.used[0]:
            hooks.added_to(x)
    if not (create_graph if retain_graph is None else retain_graph):
        free(passed)


def jacobian_of(y: EagerTensor, xs: Sequence[EagerTensor], records: bool, strict: bool = False) -> list[Any]:
    """The derivatives of every element of y by every element of each of xs; what is kept is not freed."""
    rows: list[list[Any]] = [[] for _ in xs]
    for i in range(y.shape.numel() if y.track else 0):
        seed = np.zeros(y.dims, y.dtype.np)
        seed.reshape(-1)[i] = 1
        found, _ = differentiate([y], xs, [EagerTensor(seed, y.dtype)], records)
        for row, g in zip(rows, found, strict=True):
            row.append(g)
    return [_stacked(row, y, x, strict) for row, x in zip(rows, xs, strict=True)]


def _stacked(rows: Sequence[Any], y: EagerTensor, x: EagerTensor, strict: bool) -> Any:
    dims = next((g.dims for g in rows if g is not None), None)
    if dims is None and strict:
        raise FailedPreconditionError("there is no path from an output to an input", got=repr(x)[:80])
    with EAGER.as_default():
        if dims is None:
            return array.zeros([*y.dims, *x.dims], x.dtype) if x.dtype.kind != "resource" else None
        blank = array.zeros(list(dims), y.dtype)
        return array.reshape(array.stack([blank if g is None else g for g in rows], 0), [*y.dims, *dims])


def hint_for(x: Any) -> str:
    """What helps who gave something else than an eager tensor."""
    return (
        "gf.gradients(y, x) differentiates in a graph, and in a traced function"
        if isinstance(x, Tensor)
        else "torch.tensor(values, requires_grad=True)"
    )


def _check_start(y: Any, gradient: Any) -> None:
    """Raise unless `backward` can begin here."""
    if not isinstance(y, EagerTensor):
        raise InvalidArgumentError("backward begins at eager tensors", got=shown(y), hint=hint_for(y))
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


def each_of(values: Any) -> list[Any]:
    """One tensor or several, as a list; a generator such as `model.parameters()` counts as several."""
    return list(values) if isinstance(values, Iterator) else listed(values)


def _asked(inputs: Any) -> list[EagerTensor]:
    """What `backward(inputs=...)` is to add gradients to."""
    found = each_of(inputs)
    for x in found:
        if not isinstance(x, EagerTensor) or x.track != REQUIRED:
            raise InvalidArgumentError(
                "inputs are tensors that require gradients", got=shown(x), hint="x.requires_grad_(), before it is used"
            )
    if not found:
        raise InvalidArgumentError("inputs are not empty", hint="leave them out for all leaves")
    return found


def _own(gradients: list[Any], number: int, taken: set[int], passed: Sequence[Any]) -> EagerTensor:
    """One of these in memory that is nobody else's: what is done to it in place is done to it alone."""
    shared = _holders(gradients, number) > _ALONE and (hooks.used[0] or any(_is_users(record) for record in passed))
    g = gradients[number]
    value = g.value
    if type(value) is np.ndarray and (
        shared or value.base is not None or not value.flags.writeable or id(value) in taken
    ):
        value = np.array(value)
    taken.add(id(value))
    return EagerTensor(value, g.dtype)


def _is_users(record: Any) -> bool:
    """Whether its derivative may be the user's own, which may return a tensor that the user has."""
    return (record.gradient_type != record.type or record.type == "CustomGradient") and "stage" not in record.attrs


def _holders(gradients: list[Any], number: int) -> int:
    """How many hold a gradient and its value; views of the value count."""
    g = gradients[number]
    value = g.value
    return sys.getrefcount(g) + sys.getrefcount(value)


_ALONE = _holders([EagerTensor(np.empty(0), float64)], 0)  # where the list alone holds it


def free(records: Sequence[Any]) -> None:
    """Let go of what the derivatives of these records needed; they cannot be asked for again."""
    for record in records:
        if isinstance(record, Record):
            record.let_go()


def check_not_freed(ys: Sequence[EagerTensor]) -> None:
    """Raise if the gradient of one of these was computed already, and is not kept."""
    for y in ys:
        if y.origin is not None and y.origin.freed:
            raise _freed(y.origin)
