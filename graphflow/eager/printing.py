"""How eager tensors are shown: numbers as PyTorch shows them, and what gradients may be asked of.

Policy: long tensors are cut in the middle; text never depends on who looks at it twice.

State: the options of the process, which `set_printoptions` changes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from graphflow.eager.preferences import complex_default, preferred
from graphflow.eager.tensor import LEARNED, REQUIRED, EagerTensor
from graphflow.errors import InvalidArgumentError, shown

Form = Callable[[Any], str]

_PLAIN = ("int64", "bool")
_PREFIX = "tensor("


class _Options:
    """How tensors are shown."""

    __slots__ = ("edgeitems", "linewidth", "precision", "sci_mode", "threshold")

    def __init__(self) -> None:
        self.precision, self.threshold, self.edgeitems, self.linewidth = 4, 1000.0, 3, 80
        self.sci_mode: bool | None = None


options = _Options()
_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None, threshold: float | None = None, edgeitems: int | None = None,
    linewidth: int | None = None, profile: str | None = None, sci_mode: bool | None = None,
) -> None:  # fmt: skip
    """How many digits, elements and columns are shown; a profile is "default", "short" or "full"."""
    if profile is not None and profile not in _PROFILES:
        raise InvalidArgumentError("no such profile", expected=", ".join(map(repr, _PROFILES)), got=repr(profile)[:80])
    wanted = dict(_PROFILES[profile]) if profile is not None else {}
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    wanted.update({name: value for name, value in given.items() if value is not None})
    for name, value in wanted.items():
        if not isinstance(value, (int, float)) or value < 0:
            raise InvalidArgumentError(f"{name} is a number from 0 on", got=shown(value))
        setattr(options, name, value)
    options.sci_mode = sci_mode


def text(x: EagerTensor) -> str:
    """`tensor([1., 2.], requires_grad=True)`."""
    values = np.asarray(x._array())
    if x.dtype.is_floating and values.dtype.kind != "f":  # bfloat16, which NumPy cannot format
        values = values.astype(np.float32)
    plain = x.dtype.name in _PLAIN or x.dtype in (preferred.floats, complex_default())
    told = [] if plain else [f"dtype={x.dtype.name}"]
    if not values.size and values.ndim > 1:
        told.insert(0, f"size={values.shape}")
    if x.device != "cpu":
        told.insert(0, f"device='{x.device}'")
    if x.track == REQUIRED:
        told.append("requires_grad=True" if x.origin is None else f"grad_fn=<{x.origin.type}>")
    elif x.origin is not None:
        told.append(f"from=<{x.origin.type}>")
    head = "Parameter containing:\n" if x.role == LEARNED else ""
    return head + _with_suffixes(f"{_PREFIX}{numbers(values)}", told)


def _with_suffixes(shown: str, told: list[str]) -> str:
    """What is told behind the numbers, on a line of its own where it does not fit."""
    width = len(shown) - shown.rfind("\n") - 1
    for suffix in told:
        fits = width + len(suffix) + 2 <= options.linewidth
        shown += f", {suffix}" if fits else f",\n{' ' * len(_PREFIX)}{suffix}"
        width = width + len(suffix) + 2 if fits else len(_PREFIX) + len(suffix)
    return shown + ")"


def numbers(values: np.ndarray[Any, Any]) -> str:
    """The elements, all equally wide."""
    if not values.size:
        return "[]"
    edge = options.edgeitems if values.size > options.threshold else values.size
    form = _aligned(_at_edges(values, edge))
    return form(values[()]) if values.ndim == 0 else _nested(values, form, edge, len(_PREFIX))


def _nested(values: np.ndarray[Any, Any], form: Form, edge: int, indent: int) -> str:
    """Brackets for each dimension; as deep as the rank."""
    count = len(values)
    chosen = [*range(edge), None, *range(count - edge, count)] if count > 2 * edge else [*range(count)]
    if values.ndim == 1:
        return _row([" ..." if i is None else form(values[i]) for i in chosen], indent + 1)
    parts = ["..." if i is None else _nested(values[i], form, edge, indent + 1) for i in chosen]
    return "[" + ("," + "\n" * (values.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _row(items: list[str], indent: int) -> str:
    """Numbers in lines of one length."""
    width = max(map(len, items), default=0) + 2
    each = max(1, int((options.linewidth - indent + 1) // width))
    lines = [", ".join(items[at : at + each]) for at in range(0, len(items), each)]
    return "[" + (",\n" + " " * indent).join(lines) + "]"


def _at_edges(values: np.ndarray[Any, Any], edge: int) -> np.ndarray[Any, Any]:
    """The elements that are shown: those at the edges of a long tensor."""
    for axis, n in enumerate(values.shape):
        if n > 2 * edge:
            values = np.take(values, np.r_[0:edge, n - edge : n], axis)
    return values


def _aligned(values: np.ndarray[Any, Any]) -> Form:
    """How one number is written beside these."""
    if values.dtype.kind == "c":
        real, imag = _aligned(values.real), _aligned(values.imag)
        return lambda v: real(v.real) + f"+{imag(v.imag).lstrip()}j".replace("+-", "-")
    form, measured = _format(values) if values.dtype.kind == "f" else (_plainly(values), values.reshape(-1))
    width = max((len(form(v)) for v in measured), default=1)
    return lambda v: form(v).rjust(width)


def _plainly(values: np.ndarray[Any, Any]) -> Form:
    return repr if values.dtype.kind == "O" else str


def _format(values: np.ndarray[Any, Any]) -> tuple[Form, np.ndarray[Any, Any]]:
    """How one fraction is written beside these, and those that say how wide."""
    some = values[np.isfinite(values) & (values != 0)]
    size = np.abs(some.astype(np.float64))
    small, large = (float(size.min()), float(size.max())) if size.size else (1.0, 1.0)
    whole = not (size % 1).any()
    scientific = options.sci_mode
    if scientific is None:
        scientific = large / small > 1000 or large > 1e8 or not whole and small < 1e-4
    if scientific:
        return f"{{:.{options.precision}e}}".format, some
    if whole:
        return (lambda v: f"{v:.0f}." if np.isfinite(v) else str(v)), some
    return f"{{:.{options.precision}f}}".format, some
