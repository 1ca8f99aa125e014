"""What tensors were before they were changed in place, and what views show afterwards, for gradients.

Policy: a change that is recorded gives the tensor a new origin, a `Replacement`; who used the tensor before it is led
to what the tensor was then, when gradients are asked for (`settle`).  A change through a view is one of the tensor
that the view shows, in the places where it shows it; other views are derived from that tensor anew, when it is known
that somebody used them after the change.  The derivatives of both are gathering and scattering, and read no values.

State: how many recorded changes there were, so that programs without any pay nothing; how many views were derived anew.
"""

from __future__ import annotations

import bisect
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow import dtypes, source
from graphflow.eager.engine import EAGER
from graphflow.eager.tensor import DEVICES, REQUIRED, EagerTensor, Record, last_record
from graphflow.errors import FailedPreconditionError
from graphflow.indexed_slices import IndexedSlices
from graphflow.opdef import RegisterGradient
from graphflow.ops import array, index, segment

CHANGED, SHOWN = "ChangedInPart", "ShownAgain"
_changes = [0]
_derived = [0]
_FINE = 1 << 22  # records derived from one change have numbers between it and the next record


class Replacement(Record):
    """The op that stands for a change in place: its output is the tensor that was changed."""

    __slots__ = ("before", "since")

    before: EagerTensor  # stands for what the tensor was
    since: int  # the number of the change

    def let_go(self) -> None:
        """Its derivative was asked for: let go of what was before as well."""
        super().let_go()
        self.before = EagerTensor(None, self.before.dtype)


class Undivided(Record):
    """An op with a derivative of its own, which is not passed by: a view that it made is not derived anew."""

    __slots__ = ()


class Place(NamedTuple):
    """Where in its memory a tensor has the elements that a view shows; bytes, as NumPy counts them."""

    whole: tuple[int, ...]
    whole_strides: tuple[int, ...]
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    def numbers(self) -> np.ndarray[Any, Any]:
        """For each element of the view its number in the tensor, both counted row by row."""
        own = _spread(self.dims, self.strides, self.offset)
        there = _spread(self.whole, self.whole_strides, 0)
        if not there.size or not own.size:
            return np.zeros(own.size, np.int64)
        order = np.argsort(there, kind="stable")
        return order[np.searchsorted(there, own, sorter=order)]


def _spread(dims: Sequence[int], strides: Sequence[int], offset: int) -> np.ndarray[Any, Any]:
    """Where each element lies, as a vector."""
    found = np.asarray([offset], np.int64)
    for size, stride in zip(dims, strides, strict=True):
        found = (found[:, None] + np.arange(size, dtype=np.int64) * stride).reshape(-1)
    return found


def place_of(view: EagerTensor, whole: EagerTensor) -> Place:
    """Where a view lies in the tensor that it shows."""
    a, b = view.value, whole.value
    return Place(b.shape, b.strides, a.shape, a.strides, _address(a) - _address(b))


def _everywhere(dims: tuple[int, ...]) -> Place:
    """All of a tensor."""
    strides = np.empty(dims, np.int8).strides
    return Place(dims, strides, dims, strides, 0)


def _address(value: np.ndarray[Any, Any]) -> int:
    return int(value.__array_interface__["data"][0])


def base_of(x: EagerTensor) -> EagerTensor | None:
    """The tensor that x is a view of; None if it is none, or if either has other memory by now."""
    base: EagerTensor | None = getattr(x, "base", None)
    return base if base is not None and base.memory is x.memory else None


# -- recording -------------------------------------------------------------------------------------------------------


def as_it_is(x: EagerTensor) -> EagerTensor:
    """Another tensor that stands for what x is now."""
    old = EagerTensor(x.value, x.dtype, x.track)
    old.origin, old.index, old.memory = x.origin, x.index, x.touched()
    if hasattr(x, "cut"):
        old.cut = x.cut
    base = base_of(x)
    if base is not None:
        old.base = base
    return old


def copy_of(x: EagerTensor) -> EagerTensor:
    """What x is now in memory that stays as it is, with the derivative of x."""
    value = x.value.copy() if type(x.value) not in DEVICES else x.value  # those are replaced, never written
    copy = EagerTensor(value, x.dtype, x.track)
    if x.track:
        Record(EAGER, "Identity", EAGER.scope, (x,), {}, None, source.user_frame()).made([copy])
    return copy


def replaced(x: EagerTensor, old: EagerTensor, new: EagerTensor) -> None:
    """Record that x, of which `old` is what it was and whose memory was written, is `new` from now on."""
    base = base_of(x)
    whole = None if base is None else as_it_is(base)
    place = source.user_frame()
    if new.track:
        record = Replacement(EAGER, "Identity", EAGER.scope, (new,), {}, None, place)
    else:  # it still takes part in gradients, which are zero
        attrs = {"place": _everywhere(x.dims), "wanted": True}
        record = Replacement(EAGER, "Identity", EAGER.scope, (old, new), attrs, None, place)
        record.gradient_type = CHANGED
    memory = x.touched()
    since = memory[0] + 1
    if base is not None and whole is not None:
        attrs = {"place": place_of(x, base), "wanted": whole.track > 0}
        part = Replacement(EAGER, "Identity", EAGER.scope, (whole, new), attrs, None, place)
        part.gradient_type = CHANGED
        _renewed(base, whole, part, since, max(whole.track, new.track))
        _lead_views(old)
    _renewed(x, old, record, since, max(old.track, new.track))
    memory[0] = since
    _changes[0] += 1
    if not (old if whole is None else whole).track:
        _tell_views(x if base is None else base)


def _renewed(x: EagerTensor, old: EagerTensor, record: Replacement, since: int, track: int) -> None:
    if x.origin is not None:
        x.origin._outputs[x.index] = weakref.ref(old)
    record.before, record.since = old, since
    record.made([x])
    x.track = track


def _lead_views(view: EagerTensor) -> None:
    """Lead the views from here to the tensor that they show to what that was, so that nothing holds itself."""
    record = view.origin
    while record is not None and not isinstance(record, Replacement) and not record.freed:
        record.inputs = _as_read(record)
        record = next((x.origin for x in record.inputs if x.memory is not None and x.memory is view.memory), None)


def _tell_views(whole: EagerTensor) -> None:
    """Nobody looked at the gradients of this tensor before; now its views take part in them as well."""
    for found in getattr(whole, "views", ()):
        view = found()
        if view is not None and not view.track and base_of(view) is whole:
            _show_again(view, whole)


def _show_again(view: EagerTensor, whole: EagerTensor) -> None:
    """From the last change on, the view is derived from what the tensor is that it shows."""
    changed = whole.origin
    assert isinstance(changed, Replacement)
    if isinstance(view.origin, Undivided):
        raise FailedPreconditionError(
            "what a view shows was changed in place, and the view was made by an op with a derivative of its own",
            op=view.origin,
            got=f"{view.dtype.name}{list(view.dims)}, whose memory another tensor shares",
            hint="return x.clone() from forward, if it is a view of an argument",
        )
    attrs = {"place": place_of(view, whole)}
    record = Replacement(EAGER, "Identity", EAGER.scope, (whole,), attrs, None, changed.user_source)
    record.gradient_type = SHOWN
    record.versions = [changed.since]
    _derived[0] += 1
    record.id = changed.id + (_derived[0] % _FINE) / _FINE  # type: ignore[assignment]
    _renewed(view, as_it_is(view), record, changed.since, whole.track)


def up_to_date(x: EagerTensor) -> None:
    """Derive a view anew, if what it shows was changed since."""
    if _changes[0]:
        _as_of(x, x.touched()[0], x.origin, _Past())


# -- asking for gradients afterwards ---------------------------------------------------------------------------------


class _Past:
    """What tensors were before each of their changes, for as long as many records are led there."""

    def __init__(self) -> None:
        # by id: the tensor, its origin, its changes with the last one first, as negative numbers, what was before each
        self._steps: dict[int, tuple[EagerTensor, Any, list[int], list[EagerTensor]]] = {}

    def of(self, x: EagerTensor, version: int) -> EagerTensor:
        """What x was at a version; each of its changes is passed once, however many records ask."""
        found = self._steps.get(id(x))
        if found is None or found[1] is not x.origin:
            found = self._steps[id(x)] = x, x.origin, [], []
        _, _, changes, before = found
        last = before[-1] if before else x
        while isinstance(last.origin, Replacement) and version < last.origin.since:
            changes.append(-last.origin.since)
            last = last.origin.before
            before.append(last)
        passed = bisect.bisect_left(changes, -version)
        return before[passed - 1] if passed else x


def settle(ys: Sequence[EagerTensor]) -> None:
    """Lead every record below `ys` to what its inputs were when it read them."""
    if not _changes[0]:
        return
    for y in ys:
        up_to_date(y)
    derived = None
    while derived != _derived[0]:  # a view that was derived anew is another one to records that were led before
        derived = _derived[0]
        _settle_once([y.origin for y in ys if y.origin is not None])


def _settle_once(stack: list[Record]) -> None:
    seen: set[int] = set()
    past = _Past()
    while stack:
        record = stack.pop()
        if record.id in seen or record.freed:
            continue
        seen.add(record.id)
        record.inputs = _as_read(record, past)
        stack += [x.origin for x in record.inputs if x.origin is not None]


def lead(record: Record) -> None:
    """Lead one record to what its inputs were when it read them."""
    if _changes[0] and not record.freed:
        record.inputs = _as_read(record)


def _as_read(record: Record, past: _Past | None = None) -> tuple[EagerTensor, ...]:
    past = past or _Past()
    return tuple([_as_of(x, v, record, past) for x, v in zip(record.inputs, record.versions, strict=True)])


def _as_of(x: EagerTensor, version: int, reader: Record | None, past: _Past) -> EagerTensor:
    """What x was at a version of its memory."""
    if isinstance(x.origin, Replacement) and version < x.origin.since:
        x = past.of(x, version)
    if x.origin is None:
        if reader is not None and reader.id < getattr(x, "cut", 0):
            raise FailedPreconditionError(
                "the gradient needs where a tensor came from that was cut off by detach_() after it was used",
                op=reader,
                got=f"{x.dtype.name}{list(x.dims)}",
                hint="x = x.detach() makes another tensor, and leaves what was computed before as it was",
            )
        return x
    base = base_of(x)
    if base is not None:
        whole = _as_of(base, version, reader, past)
        if isinstance(whole.origin, Replacement) and whole.origin.since > made_at(x.origin, x):
            _show_again(x, whole)
    return x


def made_at(record: Record, y: EagerTensor) -> int:
    """The version of the memory of an output when the record made it."""
    if isinstance(record, Replacement):
        return record.since
    for x, version in zip(record.inputs, record.versions, strict=True):
        if x.memory is not None and x.memory is y.memory:
            return version
    return 0


def changed_outputs(record: Record) -> list[int]:
    """The outputs whose memory was changed in place since."""
    out = []
    for number, found in enumerate(record._outputs):
        y = found()
        if y is not None and y.memory is not None and is_changed(y, made_at(record, y)):
            out.append(number)
    return out


def is_changed(x: EagerTensor, version: int) -> bool:
    """Whether values of x were changed after a version of its memory."""
    return x.memory is not None and x.memory[0] != version


def cut_off(x: EagerTensor) -> None:
    """Let x be a leaf from now on; its values remain."""
    if x.origin is not None and x.track == REQUIRED and not x.origin.freed:
        _changes[0] += 1
        x.cut = last_record()
    x.origin, x.index = None, 0


# -- derivatives -----------------------------------------------------------------------------------------------------


def _numbers(op: Any) -> EagerTensor:
    return EagerTensor(op.attrs["place"].numbers(), dtypes.int64)


@RegisterGradient(CHANGED)
def _changed_in_part(op: Any, dy: Any) -> list[Any]:
    """Where the tensor was changed the derivative is that of what was put there, elsewhere its own."""
    place, numbers = op.attrs["place"], _numbers(op)
    flat = array.reshape(dy.to_tensor() if isinstance(dy, IndexedSlices) else dy, [-1])
    part = index.gather(flat, numbers)
    rest = None
    if op.attrs["wanted"]:
        rest = index.tensor_scatter_update(flat, array.reshape(numbers, [-1, 1]), array.zeros_like(part))
        rest = array.reshape(rest, list(place.whole))
    return [rest, array.reshape(part, list(place.dims))]


@RegisterGradient(SHOWN)
def _shown_again(op: Any, dy: Any) -> Any:
    """To each element of the tensor what its places in the view contributed."""
    place = op.attrs["place"]
    flat = array.reshape(dy.to_tensor() if isinstance(dy, IndexedSlices) else dy, [-1])
    size = int(np.prod(place.whole, dtype=np.int64))
    return array.reshape(segment.unsorted_segment_sum(flat, _numbers(op), size), list(place.whole))
