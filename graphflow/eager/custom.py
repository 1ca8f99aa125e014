"""`torch.autograd.Function`: an op of the user's own, with a derivative of the user's own.

Policy: PyTorch's rules.  `forward` is computed unrecorded, and what it returns is one record whose derivative is
`backward`; where gradients of gradients are wanted, what `backward` computes is itself recorded.  What is saved is
checked when it is read: one that was changed in place is refused, and it is let go with the rest of what was recorded.

State: none; a `Context` belongs to one call.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from graphflow import source
from graphflow.eager import history
from graphflow.eager.creation import zeros
from graphflow.eager.engine import EAGER, here
from graphflow.eager.mode import computes
from graphflow.eager.recording import no_grad
from graphflow.eager.tensor import REQUIRED, UNTRACKED, EagerTensor, Record
from graphflow.errors import DTypeError, FailedPreconditionError, InvalidArgumentError, UnimplementedError, shown
from graphflow.opdef import RegisterGradient
from graphflow.tensor import Tensor

CALLED, ONCE = "AutogradFunction", "DifferentiableOnce"


class Context:
    """What `forward` leaves for `backward`: tensors by `save_for_backward`, anything else as an attribute."""

    def __init__(self, function: type[Function], needs: tuple[bool, ...]) -> None:
        self._function = function
        self.label = f"{function.__name__}Backward"
        self.needs_input_grad = needs
        self._saved: list[Any] | None = []
        self._versions: list[int] = []
        self._constant: set[int] = set()
        self._fills = True
        self._places: list[int] = []  # which arguments are tensors
        self._record: Any = None

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep these tensors, inputs or outputs or others, for `backward`."""
        for x in tensors:
            if x is not None and not isinstance(x, EagerTensor):
                raise DTypeError("save_for_backward keeps tensors", got=shown(x), hint="ctx.n = n keeps anything else")
        self._saved = list(tensors)
        self._versions = [0 if x is None else x.touched()[0] for x in tensors]

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved."""
        if self._saved is None:
            raise FailedPreconditionError(
                "the gradient was computed already, and what was saved for it was freed",
                hint="loss.backward(retain_graph=True), if it is wanted twice",
            )
        out = []
        for x, version in zip(self._saved, self._versions, strict=True):
            found = self._record().outputs[x] if isinstance(x, int) else x
            if found is not None and history.is_changed(found, version):
                raise FailedPreconditionError(
                    "the gradient needs a value that was changed in place after it was saved",
                    got=f"{found.dtype.name}{list(found.dims)}, saved by {self._function.__name__}",
                    hint="x = x + y makes a new tensor; x += y and x.add_(y) change the one that is there",
                )
            out.append(found)
        return tuple(out)

    def mark_non_differentiable(self, *outputs: Any) -> None:
        """These outputs have no gradient."""
        self._constant = {id(x) for x in outputs}

    def set_materialize_grads(self, value: bool) -> None:
        """Whether an output that nobody used gives `backward` zeros, or None."""
        self._fills = bool(value)

    def mark_dirty(self, *inputs: Any) -> None:
        """Functions that change their inputs are refused."""
        raise UnimplementedError(
            f"{self._function.__name__} changes its input in place", hint="return a new tensor from forward"
        )

    def belongs_to(self, record: Record, outputs: list[EagerTensor]) -> None:
        """The outputs hold the record, which holds this: those that were saved are remembered by their numbers."""
        numbers = {id(x): number for number, x in enumerate(outputs)}
        self._record = weakref.ref(record)
        self._saved = [numbers.get(id(x), x) for x in self._saved or ()]

    def let_go(self) -> None:
        """Forget what was saved."""
        self._saved = None


class Function:
    """Derive a class with `forward(ctx, ...)` and `backward(ctx, *grads)`, and call it as `MyFunction.apply(...)`."""

    @staticmethod
    def forward(*arguments: Any) -> Any:
        """What the function computes."""
        raise FailedPreconditionError("a Function defines forward(ctx, ...)", hint="as a staticmethod of its class")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """From the gradients of the outputs those of the inputs, one for each, None for what is no tensor."""
        raise FailedPreconditionError(
            "this Function has no derivative", hint="define backward(ctx, *grads) as a staticmethod of its class"
        )

    vjp = backward
    setup_context: Callable[..., Any] | None = None

    @classmethod
    def apply(cls, *arguments: Any) -> Any:
        """Compute forward, and record how to differentiate it."""
        if not computes() or any(isinstance(x, Tensor) and not isinstance(x, EagerTensor) for x in arguments):
            raise UnimplementedError(
                f"{cls.__name__} is computed at once, and here a graph is being built",
                hint="tf.custom_gradient serves graphs; call the traced part from outside of it",
            )
        needs = tuple(isinstance(x, EagerTensor) and x.track == REQUIRED and here.records for x in arguments)
        ctx = Context(cls, needs)
        tapes, here.tapes = here.tapes, 0
        try:
            with no_grad():
                if cls.setup_context is None:
                    made = cls.forward(ctx, *arguments)
                else:
                    made = cls.forward(*arguments)
                    cls.setup_context(ctx, arguments, made)
        finally:
            here.tapes = tapes
        return _recorded(ctx, arguments, made)


def _recorded(ctx: Context, arguments: tuple[Any, ...], made: Any) -> Any:
    """What forward returned, with a record if someone may differentiate it."""
    ctx._places = [i for i, x in enumerate(arguments) if isinstance(x, EagerTensor)]
    inputs = tuple(arguments[i] for i in ctx._places)
    several = isinstance(made, (tuple, list))
    given = list(made) if several else [made]
    for x in given:
        if x is not None and not several and not isinstance(x, EagerTensor):
            raise DTypeError(f"forward of {ctx.label} returns tensors", got=shown(x), hint="torch.tensor(values)")
    out = [_fresh(x, inputs) if isinstance(x, EagerTensor) else x for x in given]
    tensors = [x for x in out if isinstance(x, EagerTensor)]
    track = max((x.track for x in inputs), default=UNTRACKED)
    if track and here.records and (here.tapes or track == REQUIRED):
        record = _Call(
            EAGER, "Identity", EAGER.scope, inputs, {"call": ctx}, ctx._function.__name__, source.user_frame()
        )
        record.gradient_type = CALLED
        constant = [
            id(x) in ctx._constant or not (x.dtype.is_floating or x.dtype.is_complex)
            for x in given
            if isinstance(x, EagerTensor)
        ]
        ctx.belongs_to(record, [x for x in given if isinstance(x, EagerTensor)])
        record.made(tensors)
        for x, without in zip(tensors, constant, strict=True):
            x.track = UNTRACKED if without else track
            if without:  # it needs not keep what the call kept
                x.origin, x.index = None, 0
    return tuple(out) if several else out[0]


def _fresh(x: EagerTensor, inputs: tuple[EagerTensor, ...]) -> EagerTensor:
    """A tensor without an origin; an input that is returned comes as another tensor with its memory."""
    if x.origin is None and not x.track and all(x is not i for i in inputs):
        return x
    made = EagerTensor(x.value, x.dtype)
    made.memory = x.touched()
    return made


class _Call(history.Undivided):
    """The record of a call, which lets go of what the call saved."""

    __slots__ = ()

    def let_go(self) -> None:
        """What its derivative needed is not needed any longer."""
        super().let_go()
        self.attrs["call"].let_go()


@RegisterGradient(CALLED, unused_as_none=True)
def _called_back(op: Any, *gradients: Any) -> list[Any]:
    """What the user's `backward` returns, for the arguments that are tensors."""
    ctx: Context = op.attrs["call"]
    dys = list(gradients)
    if ctx._fills:
        dys = [zeros(list(s.dims), dtype=s.dtype) if g is None else g for g, s in zip(dys, op.known(), strict=True)]
    function = ctx._function
    method = function.backward if function.backward is not Function.backward else function.vjp
    found = method(ctx, *dys)
    given = list(found) if isinstance(found, (tuple, list)) else [found]
    wanted = len(ctx.needs_input_grad)
    if len(given) < wanted or any(g is not None for g in given[wanted:]):
        raise InvalidArgumentError(
            f"backward of {function.__name__} returned {len(given)} gradients",
            expected=f"{wanted}, one for each argument of forward, None for what has none",
        )
    for i, g in enumerate(given[:wanted]):
        if g is not None and (i not in ctx._places or not isinstance(g, EagerTensor)):
            raise DTypeError(
                f"backward of {function.__name__} returned a gradient that is none for argument {i}",
                expected="a tensor" if i in ctx._places else "None, as the argument is no tensor",
                got=shown(g),
            )
    return [given[i] for i in ctx._places]


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a `backward` that is not to be differentiated itself; who tries is told."""

    @functools.wraps(function)
    def backward(ctx: Any, *gradients: Any) -> Any:
        with no_grad():
            found = function(ctx, *gradients)
        if not here.records:
            return found
        given = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        below = tuple(x for x in (*gradients, *ctx.saved_tensors) if isinstance(x, EagerTensor) and x.track)
        for g in given:
            if isinstance(g, EagerTensor) and below:
                record = Record(EAGER, "Identity", EAGER.scope, below, {}, ctx.label, source.user_frame())
                record.gradient_type = ONCE
                record.made([g])
                g.track = max(x.track for x in below)
        return found

    return backward


@RegisterGradient(ONCE)
def _differentiated_twice(op: Any, gradient: Any) -> Any:
    raise FailedPreconditionError(
        "a derivative that was marked with once_differentiable is differentiated",
        op=op,
        hint="without the mark, what backward computes with tensors is differentiable",
    )
