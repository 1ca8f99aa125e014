"""Changes in place: `add_`, `zero_`, `+=`, `x[i] = v`, and what they mean for gradients.

Policy: PyTorch's rules.  A leaf that requires gradients is changed under `no_grad` only.  A change that is recorded
gives the tensor a new origin, a `Replacement`; who used the tensor before it is led to what the tensor was then, when
gradients are asked for (`settle`).  Every change is counted in `memory`, [changes, numbers of the recorded ones ...],
which views share, so that a derivative that reads what is no longer there refuses.

State: how many recorded changes there were, so that programs without any pay nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow import source
from graphflow.defaults import stacks
from graphflow.eager import indexing, pointwise
from graphflow.eager.engine import EAGER, here
from graphflow.eager.tensor import DEVICES, REQUIRED, UNTRACKED, EagerTensor, Record
from graphflow.errors import DTypeError, FailedPreconditionError, OutOfRangeError, ShapeError, shown
from graphflow.ops import array, casts

_changes = [0]


class Replacement(Record):
    """The op that stands for a change in place: its output is the tensor that was changed."""

    __slots__ = ("before", "since")

    before: EagerTensor  # stands for what the tensor was
    since: int  # the number of the change


# -- changing --------------------------------------------------------------------------------------------------------


def change(x: EagerTensor, function: Callable[..., Any], *others: Any) -> EagerTensor:
    """Make x what `function(x, *others)` is."""
    recorded = _recorded(x, others)
    check_changeable(x, recorded)
    old = _handle(x) if recorded else x
    with EAGER.as_default():
        new = function(_copy_of(old) if recorded else x, *others)
        if not isinstance(new, EagerTensor):
            new = EagerTensor(x.dtype.type(new), x.dtype)
        new = _fitting(x, new)
    if recorded:
        _replace(x, old, new)
    else:
        _write(x, new.value)
        x.touched()[0] += 1
    return x


def _recorded(x: EagerTensor, others: Sequence[Any]) -> bool:
    track = x.track
    for other in others:
        if type(other) is EagerTensor and other.track > track:
            track = other.track
    return bool(track and (here.tapes or track == REQUIRED and here.records))


def check_changeable(x: EagerTensor, recorded: bool) -> None:
    """Raise if this tensor may not be changed in place here."""
    if recorded:
        leaf = _owner(x)
        if leaf.origin is None and leaf.track == REQUIRED:
            what = "a leaf that requires gradients" if leaf is x else "a view of a leaf that requires gradients"
            raise FailedPreconditionError(
                f"{what} is changed in place, where gradients are recorded",
                got=repr(x)[:80],
                hint="with torch.no_grad(): around an update; x = x + y makes a new tensor",
            )
        if x.origin is None and type(x.value) is np.ndarray and isinstance(x.value.base, np.ndarray):
            raise FailedPreconditionError(
                "a view is changed by what requires gradients, and the tensor that it shows would not know",
                got=repr(x)[:80],
                hint="x[i] = v changes a part of x; x.clone() has memory of its own",
            )
    if type(x.value) is np.ndarray and not x.value.flags.writeable:
        raise FailedPreconditionError(
            "this memory cannot be written: it is a constant's, or expanded, where one element stands for several",
            got=repr(x)[:80],
            hint="x.clone() has memory of its own",
        )


def _owner(x: EagerTensor) -> EagerTensor:
    """The tensor whose memory x shows."""
    while x.origin is not None and not isinstance(x.origin, Replacement):
        base = next((i for i in x.origin.inputs if i.memory is not None and i.memory is x.memory), None)
        if base is None:
            break
        x = base
    return x


def _handle(x: EagerTensor) -> EagerTensor:
    """Another tensor that stands for what x is now."""
    old = EagerTensor(x.value, x.dtype, x.track)
    old.origin, old.index, old.memory = x.origin, x.index, x.touched()
    return old


def _copy_of(old: EagerTensor) -> EagerTensor:
    """The old value in memory that stays as it is, for the derivative of the change itself."""
    value = old.value.copy() if type(old.value) not in DEVICES else old.value  # those are replaced, never written
    copy = EagerTensor(value, old.dtype, old.track)
    if old.track:
        Record(EAGER, "Identity", EAGER.scope, (old,), {}, None, source.user_frame()).made([copy])
    return copy


def _fitting(x: EagerTensor, new: EagerTensor) -> EagerTensor:
    """The new value in the dtype and shape of x."""
    if new.dtype is not x.dtype:
        if not np.can_cast(new.dtype.np, x.dtype.np, "same_kind"):
            raise DTypeError(
                f"a result of {new.dtype.name} does not fit into a tensor of {x.dtype.name}",
                hint="x = x + y makes a new tensor of the wider dtype",
            )
        new = casts.cast(new, x.dtype)
    if new.dims != x.dims:
        raise ShapeError(
            "a change in place cannot change the shape",
            expected=str(list(x.dims)),
            got=str(list(new.dims)),
            hint="x = x + y makes a new tensor",
        )
    return new


def _write(x: EagerTensor, value: Any) -> None:
    if type(x.value) is np.ndarray:
        np.copyto(x.value, value)
    else:
        x.value = value  # a NumPy scalar, which nobody shares


def _replace(x: EagerTensor, old: EagerTensor, new: EagerTensor) -> None:
    """Record that x, of which `old` is what it was, is `new` from now on."""
    record = Replacement(EAGER, "Identity", EAGER.scope, (new,), {}, None, source.user_frame())
    if x.origin is not None:
        x.origin._outputs[x.index] = weakref.ref(old)
    _write(x, new.value)
    memory = x.touched()
    memory[0] += 1
    memory.append(memory[0])
    record.before, record.since = old, memory[0]
    record.made([x])
    x.track = new.track
    _changes[0] += 1


# -- asking for gradients afterwards ---------------------------------------------------------------------------------


def settle(ys: Sequence[EagerTensor]) -> None:
    """Lead every record below `ys` to what its inputs were when it read them."""
    if not _changes[0]:
        return
    seen: set[int] = set()
    stack = [y.origin for y in ys if y.origin is not None]
    while stack:
        record = stack.pop()
        if record.id in seen or record.freed:
            continue
        seen.add(record.id)
        inputs = tuple([_as_of(x, v, record) for x, v in zip(record.inputs, record.versions, strict=True)])
        record.inputs = inputs
        stack += [x.origin for x in inputs if x.origin is not None]


def _as_of(x: EagerTensor, version: int, reader: Record) -> EagerTensor:
    """What x was at a version of its memory."""
    while isinstance(x.origin, Replacement) and version < x.origin.since:
        x = x.origin.before
    memory = x.memory
    if memory is not None and len(memory) > 1 and x.origin is not None:
        latest = max([c for c in memory[1:] if c <= version], default=0)
        if latest > _made_at(x.origin, x):
            raise FailedPreconditionError(
                "a view was used after the tensor that it shows, or another view of it, was changed in place",
                op=reader,
                got=f"{x.dtype.name}{list(x.dims)}, made by {x.origin.type} at {x.origin.source}",
                hint="make the view again after the change: y = x[i]",
            )
    return x


def _made_at(record: Record, y: EagerTensor) -> int:
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
        if y is not None and y.memory is not None and y.memory[0] != _made_at(record, y):
            out.append(number)
    return out


# -- the methods -----------------------------------------------------------------------------------------------------


def _method(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def method(self: EagerTensor, *others: Any, **options: Any) -> EagerTensor:
        if options:
            return change(self, lambda x, *rest: function(x, *rest, **options), *others)
        return change(self, function, *others)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"{function.__doc__} In place."
    return method


def fill_(self: EagerTensor, value: Any) -> EagerTensor:
    """One value everywhere, in place."""
    if isinstance(value, EagerTensor) and value.dims:
        raise ShapeError("fill_ takes one number", got=f"shape {list(value.dims)}", hint="x.copy_(y)")
    return copy_(self, value if isinstance(value, EagerTensor) else _of(self, value))


def zero_(self: EagerTensor) -> EagerTensor:
    """Zeros, in place."""
    return copy_(self, _of(self, 0))


def _of(x: EagerTensor, value: Any) -> EagerTensor:
    try:
        return EagerTensor(x.dtype.type(value), x.dtype)
    except (TypeError, ValueError):
        raise DTypeError("not a number", expected=x.dtype.name, got=shown(value)) from None


def copy_(self: EagerTensor, src: Any, non_blocking: bool = False) -> EagerTensor:
    """The elements of another tensor, in place; it broadcasts, and takes on the dtype."""
    if not isinstance(src, EagerTensor):
        raise DTypeError("copy_ takes a tensor", got=shown(src), hint="torch.tensor(values)")

    def copied(_: Any, other: Any) -> Any:
        found = other if other.dtype is self.dtype else casts.cast(other, self.dtype)
        return found if found.dims == self.dims else array.broadcast_to(found, list(self.dims))

    return change(self, copied, src)


def setitem(self: EagerTensor, key: Any, value: Any) -> None:
    """x[key] = value."""
    given = value if isinstance(value, EagerTensor) else None
    if _recorded(self, (given,)):
        if given is None:
            given = EagerTensor(np.asarray(value, self.dtype.np), self.dtype)
        fitting = given if given.dtype is self.dtype else casts.cast(given, self.dtype)
        change(self, lambda x, v: indexing.with_elements(x, key, v), fitting)
        return
    check_changeable(self, False)
    parts = tuple([indexing._part(k) for k in (key if isinstance(key, tuple) else (key,))])
    try:
        with np.errstate(all="ignore"):
            if type(self.value) is np.ndarray:
                self.value[parts] = value if given is None else given._array()
            else:
                whole = np.array(self.value)
                whole[parts] = value if given is None else given._array()
                self.value = whole[()]
    except IndexError as error:
        raise OutOfRangeError("an index is out of range", got=f"shape {list(self.dims)}", hint=str(error)) from None
    except (ValueError, TypeError) as error:
        what = f"shape {list(given.dims)}" if given is not None else shown(value)
        raise ShapeError("the value does not fit what is assigned to", got=what, hint=str(error)) from None
    self.touched()[0] += 1


def _operator(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`x += y`: in place, or a new tensor where the memory is a constant's or a graph is being built."""

    def method(self: EagerTensor, other: Any) -> Any:
        frozen = type(self.value) is np.ndarray and not self.value.flags.writeable
        if frozen or stacks.graphs and not stacks.graphs[-1].computes:
            return function(self, other)
        return change(self, function, other)

    method.__name__ = method.__qualname__ = name
    return method


def random_(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method that fills a tensor with draws of `function(shape, *parameters)`."""

    def method(self: EagerTensor, *parameters: Any, **named: Any) -> EagerTensor:
        return copy_(self, function(self.dims, *parameters, **named))

    return method


def detach_(self: EagerTensor) -> EagerTensor:
    """Cut off from what it was computed from, in place."""
    self.origin, self.index, self.track = None, 0, UNTRACKED
    return self


_NAMES = (
    "add", "sub", "mul", "div", "pow", "neg", "abs", "sign", "floor", "ceil", "round", "trunc", "exp", "log", "sqrt",
    "rsqrt", "square", "reciprocal", "sigmoid", "tanh", "relu", "clamp", "clip", "remainder", "floor_divide", "lerp",
    "sin", "cos", "erf", "logical_not",
)  # fmt: skip
METHODS: dict[str, Callable[..., Any]] = {
    **{f"{name}_": _method(pointwise.FUNCTIONS[name], f"{name}_") for name in _NAMES},
    "fill_": fill_, "zero_": zero_, "copy_": copy_, "detach_": detach_, "__setitem__": setitem,
    **{
        f"__i{short}__": _operator(f"__i{short}__", pointwise.FUNCTIONS[name])
        for short, name in (("add", "add"), ("sub", "sub"), ("mul", "mul"), ("truediv", "div"), ("pow", "pow"),
                            ("floordiv", "floor_divide"), ("mod", "remainder"))
    },
}  # fmt: skip
