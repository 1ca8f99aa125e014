"""What to do for an op of a certain signature, once it has been worked out: `Bound`, and what makes a signature.

Policy: a signature is what decides how an op is computed and whether it may be: the op, dtypes, shapes and devices of
its inputs, its attributes with their types; and the values of small integer inputs, for ops whose results' shapes are
found to depend on them.

State: per process which ops these are, and the bound signatures, at most `MAX_BOUND`; the oldest go first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphflow.eager.tensor import DEVICES, EagerTensor
from graphflow.errors import Error
from graphflow.opdef import OpDef
from graphflow.spec import TensorSpec

MAX_BOUND = 1 << 12
Kernel = Callable[..., Any]


class Bound(NamedTuple):
    """What to do for one signature."""

    function: Kernel
    dtypes: tuple[Any, ...]  # of the results
    single: bool  # the function returns its one result, not a tuple
    views: bool  # results may share memory with inputs
    recorded: bool  # it has a gradient
    plain: bool  # its function returns its one output


BOUND: dict[Any, Bound] = {}
_by_value: set[OpDef] = set()  # ops whose results' shapes depend on the values of small integer inputs


def _depends_on_values(definition: OpDef, inputs: Sequence[EagerTensor], attrs: Any, specs: Sequence[Any]) -> bool:
    """Whether the results' shapes follow from more than the inputs' shapes: labels and counters do not matter."""
    if all(x.hint is None for x in inputs):
        return False
    try:
        blind = definition.infer(*[TensorSpec(x.dtype, x.dims) for x in inputs], **attrs)
    except Error:
        return True
    found = (blind,) if type(blind) is TensorSpec else tuple(blind)
    return [s.dims for s in found] != [s.dims for s in specs]


def signature_of(
    definition: OpDef, inputs: Sequence[EagerTensor], attrs: dict[str, Any]
) -> tuple[tuple[Any, ...], list[Any], int] | None:
    """What decides how an op is computed, and whether it may be; the values; and who looks at gradients.

    None if an input is no eager tensor.
    """
    key: list[Any] = [definition]
    values, track = [], 0
    by_value = definition in _by_value
    for x in inputs:
        if type(x) is not EagerTensor and not isinstance(x, EagerTensor):
            return None
        value = x.value
        values.append(value)
        key.append(x.dtype.name)  # whose hash is known, unlike that of the dtype
        key.append(getattr(value, "shape", None))
        if DEVICES and type(value) in DEVICES:
            key.append(type(value))
        elif by_value and x.dtype.is_integer and (value is None or value.ndim < 2):
            key.append(x.hint)
        if x.track > track:
            track = x.track
    for name, setting in attrs.items():
        kind = type(setting)
        key += name, setting, kind
        if kind is float and not setting:
            key.append(str(setting))  # 0.0 equals -0.0, and they are not the same
    return tuple(key), values, track


def remember(
    definition: OpDef, inputs: Sequence[EagerTensor], attrs: dict[str, Any], specs: Sequence[Any], bound: Bound
) -> None:
    """Do this for such inputs from now on."""
    if definition not in _by_value and _depends_on_values(definition, inputs, attrs, specs):
        _by_value.add(definition)
    found = signature_of(definition, inputs, attrs)
    if found is None:
        return
    if len(BOUND) >= MAX_BOUND:
        with contextlib.suppress(StopIteration, KeyError, RuntimeError):  # another thread may do the same
            del BOUND[next(iter(BOUND))]
    with contextlib.suppress(TypeError):  # not every attribute is a key
        BOUND[found[0]] = bound
