"""`GradientTape`: TensorFlow's way to ask for gradients of what was computed at once.

Policy: a tape records what is computed from what it watches, inside its `with` block; it answers once, unless it is
persistent.  Variables that are trained, and leaves that require gradients, are watched when they are used, unless the
tape is told otherwise.  `no_grad` inside of a tape cuts what it records; a tape inside of `no_grad` records all the
same.  Under an outer tape, or while it records itself, its answers are recorded.

State: each tape what it watches; which tapes are open is the engine's, for each thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np

from graphflow.eager.creation import zeros_like
from graphflow.eager.engine import EAGER, here
from graphflow.eager.recording import no_grad
from graphflow.eager.tape import differentiate, jacobian_of
from graphflow.eager.tensor import REQUIRED, TAPED, UNTRACKED, EagerTensor, last_record
from graphflow.errors import FailedPreconditionError, InvalidArgumentError, ShapeError, shown
from graphflow.gradients import listed
from graphflow.ops import array


def _recorded() -> bool:
    """Whether answers are recorded: an open tape may be asked for second derivatives."""
    return here.tapes > 0 and here.records


def _variable(handle: EagerTensor) -> Any:
    """The variable that a handle belongs to; the handle itself, if nobody holds the variable any longer."""
    return EAGER.store["variables"].get(handle, handle)


class GradientTape:
    """Records what is computed from watched tensors inside its `with` block.

    with gf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    dy_dx = tape.gradient(y, x)
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._persistent = persistent
        self._accesses = watch_accessed_variables
        self._watched: dict[int, EagerTensor] = {}
        self._read: dict[int, EagerTensor] = {}  # handles of the variables that were used while it was open
        self._marked: list[EagerTensor] = []  # what is recorded on its account alone
        self._since = 0  # the number of the last record before it was opened
        self._used = False
        self._open = False
        self._records = True  # whether things were recorded outside of it

    def __enter__(self) -> GradientTape:
        if self._open:
            raise FailedPreconditionError("the tape is recording already", hint="another tape: gf.GradientTape()")
        here.tapes += 1
        here.open.append(self)
        self._records, here.records = here.records, True
        self._since = self._since or last_record()
        self._open = True
        self._mark()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here.tapes -= 1
        here.open.remove(self)
        here.records = self._records
        self._open = False
        self._unmark()

    def _mark(self) -> None:
        """Let what is computed from what it watches be recorded."""
        for x in self._watched.values():
            if x.track == UNTRACKED:
                x.track = TAPED
                self._marked.append(x)

    def _unmark(self) -> None:
        """Later tapes do not record what this one watches, but open ones may."""
        marked, self._marked = self._marked, []
        for x in marked:
            if x.track == TAPED and x.origin is None:
                x.track = UNTRACKED
        for tape in here.open:
            tape._mark()

    @contextlib.contextmanager
    def _marking(self) -> Iterator[None]:
        """What it watches is marked inside."""
        self._mark()
        try:
            yield
        finally:
            if not self._open:
                self._unmark()

    def reads(self, handle: EagerTensor) -> None:
        """A variable is used while the tape is open."""
        self._read[id(handle)] = handle

    def watch(self, tensor: Any) -> None:
        """From now on record what is computed from these tensors."""
        for x in [getattr(x, "handle", x) for x in listed(tensor)]:
            if not isinstance(x, EagerTensor):
                raise InvalidArgumentError(
                    "a tape watches eager tensors", got=shown(x), hint="torch.tensor(values); in a graph, tf.gradients"
                )
            if not (x.dtype.is_floating or x.dtype.is_complex or x.dtype.kind == "resource"):
                raise InvalidArgumentError("only floating-point tensors have gradients", got=shown(x), hint="x.float()")
            self._watched[id(x)] = x
        if self._open:
            self._mark()

    def watched_variables(self) -> tuple[Any, ...]:
        """The variables that it watches: those that were given to `watch`, and those that are trained and were used."""
        handles = {**{key: x for key, x in self._watched.items() if x.dtype.kind == "resource"}, **self._read}
        return tuple([_variable(x) for x in handles.values() if self._watches(x)])

    def _watches(self, x: EagerTensor) -> bool:
        """Whether it answers for the derivative by x."""
        if id(x) in self._watched:
            return True
        if x.origin is not None:
            return x.track == REQUIRED or x.origin.id > self._since
        if x.dtype.kind == "resource":
            return self._accesses and bool(getattr(_variable(x), "trainable", True))
        return self._accesses and x.track == REQUIRED

    @contextlib.contextmanager
    def stop_recording(self) -> Iterator[None]:
        """What is computed inside is not recorded."""
        with no_grad():
            yield

    def reset(self) -> None:
        """Forget what was watched."""
        self._unmark()
        self._watched.clear()
        self._read.clear()
        self._used = False

    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: str = "none"
    ) -> Any:
        """The derivatives of the sum of `target` by `sources`, in the structure of `sources`."""
        ys, xs = self._asked(target, sources, unconnected_gradients)
        given = None if output_gradients is None else listed(output_gradients)
        with self._marking():
            found, _ = differentiate(ys, xs, given, _recorded())
        found = [g if self._watches(x) else None for g, x in zip(found, xs, strict=True)]
        if unconnected_gradients == "zero":
            found = [zeros_like(x) if g is None else g for g, x in zip(found, xs, strict=True)]
        return found if isinstance(sources, (list, tuple)) else found[0]

    def _asked(self, target: Any, sources: Any, unconnected: str) -> tuple[list[EagerTensor], list[EagerTensor]]:
        """The targets and the sources, which the tape may be asked for."""
        if self._used and not self._persistent:
            raise FailedPreconditionError(
                "the tape was asked already", hint="GradientTape(persistent=True) answers several times"
            )
        if unconnected not in ("none", "zero"):
            raise InvalidArgumentError(
                "no such answer for what is not connected",
                expected='unconnected_gradients="none" or "zero"',
                got=shown(unconnected),
            )
        ys, xs = listed(target), [getattr(x, "handle", x) for x in listed(sources)]
        for x in (*ys, *xs):
            if not isinstance(x, EagerTensor):
                raise InvalidArgumentError("a tape knows eager tensors", got=shown(x), hint="tf.gradients, in a graph")
        self._used = True
        return ys, xs

    def jacobian(
        self,
        target: Any,
        sources: Any,
        unconnected_gradients: str = "none",
        parallel_iterations: Any = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """The derivatives of every element of `target` by those of `sources`: the shapes one after the other."""
        (y, *more), xs = self._asked(target, sources, unconnected_gradients)
        if more:
            raise InvalidArgumentError("a Jacobian has one target", got=f"{len(more) + 1} targets")
        with self._marking():
            reached = differentiate([y], xs, None, False)[0] if unconnected_gradients == "none" else xs
            rows = jacobian_of(y, xs, _recorded())
        found: list[Any] = []
        for x, g, row in zip(xs, reached, rows, strict=True):
            if row is None or g is not None and self._watches(x):
                found.append(row)
            else:
                found.append(None if unconnected_gradients == "none" else zeros_like(row))
        return found if isinstance(sources, (list, tuple)) else found[0]

    def batch_jacobian(
        self,
        target: Any,
        source: Any,
        unconnected_gradients: str = "none",
        parallel_iterations: Any = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """The Jacobian of each row of `target` by the same row of `source`: [rows, target's, source's dimensions]."""
        (y,), (x,) = self._asked(target, source, unconnected_gradients)
        if not y.dims or not x.dims or y.dims[0] != x.dims[0]:
            raise ShapeError("target and source have as many rows", got=f"shapes {list(y.dims)} and {list(x.dims)}")
        columns = []
        for i in range(y.shape.numel() // max(1, y.dims[0])):
            seed = np.zeros((y.dims[0], y.shape.numel() // max(1, y.dims[0])), y.dtype.np)
            seed[:, i] = 1  # rows do not depend on each other, so one walk serves all of them
            with self._marking():
                g = differentiate([y], [x], [EagerTensor(seed.reshape(y.dims), y.dtype)], _recorded())[0][0]
            if g is not None and self._watches(x):
                columns.append(g)
        with EAGER.as_default():
            if columns:
                return array.reshape(array.stack(columns, 1), [*y.dims, *x.dims[1:]])
            return None if unconnected_gradients == "none" else array.zeros([*y.dims, *x.dims[1:]], y.dtype)
