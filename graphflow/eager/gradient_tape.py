"""`GradientTape`: TensorFlow's way to ask for gradients of what was computed at once.

Policy: a tape records what is computed from what it watches, inside its `with` block; it answers once, unless it is
persistent.  Under an outer tape, or while it records itself, its answers are recorded.

State: none; how many tapes are open is the engine's, for each thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np

from graphflow.eager.engine import EAGER, here
from graphflow.eager.recording import no_grad
from graphflow.eager.tape import differentiate, jacobian_of
from graphflow.eager.tensor import TAPED, UNTRACKED, EagerTensor
from graphflow.errors import FailedPreconditionError, InvalidArgumentError, ShapeError, shown
from graphflow.gradients import listed
from graphflow.ops import array


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
        ys, xs = self._asked(target, sources, unconnected_gradients)
        outer = here.tapes > 0  # an outer tape, or this one while it records, may be asked for second derivatives
        found, _ = differentiate(ys, xs, None if output_gradients is None else listed(output_gradients), outer)
        if unconnected_gradients == "zero":
            with EAGER.as_default():
                found = [array.zeros_like(x) if g is None else g for g, x in zip(found, xs, strict=True)]
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
        reached = differentiate([y], xs, None, False)[0] if unconnected_gradients == "none" else xs
        found = jacobian_of(y, xs, here.tapes > 0)
        found = [None if g is None else j for g, j in zip(reached, found, strict=True)]
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
            g = differentiate([y], [x], [EagerTensor(seed.reshape(y.dims), y.dtype)], here.tapes > 0)[0][0]
            if g is not None:
                columns.append(g)
        with EAGER.as_default():
            if columns:
                return array.reshape(array.stack(columns, 1), [*y.dims, *x.dims[1:]])
            return None if unconnected_gradients == "none" else array.zeros([*y.dims, *x.dims[1:]], y.dtype)
