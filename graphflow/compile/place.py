"""Placement: which device each instruction asks for, checked against what there is.

Policy: device strings are TensorFlow 1's (`/cpu:0`, `/device:GPU:1`, `/job:worker/task:0/cpu:0`).  A device that does
not exist is an error naming the op, unless soft placement was asked for.

State: none.
"""

from __future__ import annotations

import re

from graphflow.errors import InvalidArgumentError
from graphflow.program import Program

_DEVICE = re.compile(r"(?:/job:\w+)?(?:/replica:\d+)?(?:/task:\d+)?(?:/(?:device:)?([A-Za-z]+)(?::(\d+|\*))?)?\Z")


def kinds_wanted(program: Program) -> frozenset[str]:
    """The kinds of devices that instructions ask for by name."""
    devices = {ins.op.device for ins in program.instructions if ins.op.device}
    return frozenset(kind for device in devices if (kind := kind_of(device)) is not None)


def kind_of(device: str) -> str | None:
    """The kind that a device string asks for, such as "gpu"; None if it is no device string."""
    match = _DEVICE.match(device)
    return None if match is None else (match.group(1) or "cpu").lower()


def check_devices(program: Program, kinds: frozenset[str], soft: bool) -> None:
    """Raise for the first instruction whose device does not exist."""
    for ins in program.instructions:
        device = ins.op.device
        if not device:
            continue
        match = _DEVICE.match(device)
        if match is None:
            raise InvalidArgumentError(
                f"not a device: {device!r}", op=ins.op, expected="a string such as '/cpu:0' or '/device:GPU:0'"
            )
        kind = (match.group(1) or "cpu").lower()
        first = kind == "cpu" or match.group(2) in (None, "0", "*")  # a session has one device of a kind
        if not (kind in kinds and first) and not soft:
            raise InvalidArgumentError(
                f"cannot place the op on {device!r}: there is no such device",
                op=ins.op,
                expected=", ".join(f"/{k}:0" for k in sorted(kinds)),
                hint="tf.Session(config=tf.ConfigProto(allow_soft_placement=True)) runs it on the CPU",
            )
