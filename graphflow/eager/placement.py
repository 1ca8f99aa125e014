"""Eager tensors on the devices of other backends: how they get there and back.

Policy: data decides: an op runs where its inputs lie, as a program of one instruction whose results stay there (the
engine does that).  A value on a device is never written; a change in place replaces it.  Gradients come back to where
their tensor is.

State: none of its own; `tensor.DEVICES` knows the array types of the devices in use.
"""

from __future__ import annotations

from typing import Any

from graphflow import source
from graphflow.backend import load_backend
from graphflow.eager.engine import EAGER, here
from graphflow.eager.tensor import DEVICES, REQUIRED, EagerTensor, Record
from graphflow.errors import Error, UnavailableError
from graphflow.opdef import RegisterGradient

MOVED = "MovedToDevice"


def move(x: EagerTensor, place: str) -> EagerTensor:
    """The tensor on another device; itself if it is there."""
    if x.device == place:
        return x
    value = x.value.numpy() if x.device != "cpu" else x.value
    made = EagerTensor(value if place == "cpu" else _sent(value, x, place), x.dtype)
    if x.track and here.records and (here.tapes or x.track == REQUIRED):
        record = Record(EAGER, "Identity", EAGER.scope, (x,), {}, None, source.user_frame())
        record.gradient_type = MOVED
        record.made([made])
        made.track = x.track
    return made


def next_to(made: Any, x: Any) -> Any:
    """What a function made of numbers, on the device of the tensor that it goes with."""
    both = isinstance(made, EagerTensor) and isinstance(x, EagerTensor)
    return move(made, str(x.device)) if both else made


def check_place(place: str) -> None:
    """Raise unless tensors can go to a device of that name."""
    try:
        if place == "cpu" or hasattr(load_backend(place), "array_type"):
            return
    except Error as error:
        raise _unavailable(place, error.hint) from None
    raise _unavailable(place, None)


def _sent(value: Any, x: EagerTensor, place: str) -> Any:
    """The value as an array of the device."""
    try:
        backend = load_backend(place)
        kind = getattr(backend, "array_type", None)
    except Error as error:
        raise _unavailable(place, error.hint) from None
    if kind is None:
        raise _unavailable(place, None)
    found = EAGER.send(value, x.dtype, backend)
    if type(found) is not kind:
        raise UnavailableError(
            f"tensors of {x.dtype.name} stay on the CPU", got=repr(x)[:80], hint='x.float().to("opencl")'
        )
    DEVICES[kind] = place
    return found


def _unavailable(place: str, hint: str | None) -> UnavailableError:
    there = '"cpu", or "opencl" where its package is'
    return UnavailableError(f"no eager tensor can go to {place!r}", expected=there, hint=hint or 'device="cpu"')


@RegisterGradient(MOVED)
def _moved_back(op: Any, grad: Any) -> Any:
    return move(grad, op.inputs[0].device)
