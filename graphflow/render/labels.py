"""Few words for names, shapes and values, as they stand in pictures.

Policy: every text is one line of printable characters and not too long; whatever a name holds stays visible as text.
Escaping for a format is the business of its writer.

State: none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable
from numbers import Number
from typing import Any

import numpy as np

from graphflow import spec
from graphflow.errors import InvalidArgumentError, shown
from graphflow.numerics.extent import Summary, summary_of
from graphflow.numerics.extent import plain as plain_array
from graphflow.tensor import Operation, Tensor

MAX_TEXT = 40
SMALL = 4  # a tensor of so many elements is written out
TIMES = "\N{MULTIPLICATION SIGN}"
LARGE = 10_000  # from here on numbers are shortened: 25.6 M


def plain(text: str, limit: int = MAX_TEXT) -> str:
    """The text on one line, control characters visible, and not too long."""
    cut = text if len(text) <= 4 * limit else f"{text[: 2 * limit]}…{text[-2 * limit :]}"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return shown if len(shown) <= limit else f"{shown[: limit // 2]}…{shown[1 - limit // 2 :]}"


def local(name: str) -> str:
    """The last part of a name."""
    return name.rpartition("/")[2]


def scope_of(name: str) -> str:
    """The scope that a name stands in, without the last slash."""
    return name.rpartition("/")[0]


def nearest(scope: str, known: Container[str]) -> str:
    """The innermost of the known scopes that this one is, or stands in; "" for none."""
    while scope and scope not in known:
        scope = scope_of(scope)
    return scope


def usual_dtype(tensors: Iterable[Tensor]) -> str:
    """The dtype that most tensors have; labels leave it out."""
    found = Counter(t.dtype.name for t in tensors if t.dtype.kind != "resource")
    return found.most_common(1)[0][0] if found else "float32"


def shape(tensor: Tensor, usual: str = "") -> str:
    """The shape, with the dtype before it if it is not the usual one; nothing for a scalar of the usual dtype."""
    dims = "" if tensor.dims == () else spec.describe(tensor.dims)
    return dims if tensor.dtype.name == usual else f"{tensor.dtype.name} {dims}".rstrip()


def full_shape(tensor: Tensor) -> str:
    """Dtype and shape, whatever they are."""
    return f"{tensor.dtype.name} {'scalar' if tensor.dims == () else spec.describe(tensor.dims)}"


def number(x: Any) -> str:
    """A number as people write it."""
    if isinstance(x, (bool, np.bool_)):
        return str(bool(x))
    if isinstance(x, (complex, np.complexfloating)):
        return f"{complex(x):.4g}"
    if isinstance(x, (int, np.integer)):
        return str(int(x))
    return f"{float(x):.4g}"


def count(n: float) -> str:
    """How many, in few characters: 1,234 or 25.6 M."""
    if n < LARGE:
        return f"{int(n):,}"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{int(n):,}"


def written_out(value: Any) -> str:
    """A small constant as people write it."""
    if isinstance(value, list):
        return f"[{', '.join(map(written_out, value))}]"
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return repr(value) if isinstance(value, str) else number(value)


def constant(op: Operation) -> str:
    """A small constant itself, the shape of a larger one."""
    value: Any = op.attrs.get("value")
    if value is None or value.size > SMALL:
        return full_shape(op.outputs[0])
    return written_out(value.tolist())


def value(found: Any) -> str:
    """What was computed, an array or what describes one: a small tensor itself, of a larger one its extremes."""
    if not isinstance(found, Summary) and np.size(found) <= SMALL:
        array = plain_array(found)
        if array.dtype.kind == "O" and not all(isinstance(x, (str, bytes, Number)) for x in array.flat):
            raise InvalidArgumentError("what a run computed is an array of numbers or text", got=shown(found))
        return written_out(array.tolist())
    known = found if isinstance(found, Summary) else summary_of(found)
    lost = f", {known.bad} not finite" if known.bad else ""
    if known.least is None or known.greatest is None:
        return f"{math.prod(known.shape)} {TIMES} {known.dtype}{lost}"
    kind: Any = bool if known.dtype == "bool" else int if "int" in known.dtype else float
    return f"{number(kind(known.least))} … {number(kind(known.greatest))}{lost}"


def is_bad(found: Any) -> bool:
    """Whether a NaN or an infinity is in it."""
    return bool((found if isinstance(found, Summary) else summary_of(found)).bad)


def elements(dims: spec.Dims) -> int:
    """How many elements; a dimension that is not known counts as one."""
    return math.prod(d or 1 for d in dims) if dims is not None else 1


def nbytes(tensor: Tensor) -> int | None:
    """The bytes of a tensor, with one for each dimension that is not known; None for what has no size."""
    width = tensor.dtype.size if tensor.dtype.kind not in ("resource", "string") else 0
    return elements(tensor.dims) * width or None
