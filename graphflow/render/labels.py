"""Few words for names, shapes and values, as they stand in pictures.

Policy: every text is one line of printable characters and not too long; whatever a name holds stays visible as text.
Escaping for a format is the business of its writer.

State: none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphflow import spec
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


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def size(nbytes: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit, one in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if nbytes >= one:
            return f"{nbytes / one:.3g} {unit}"
    return f"{int(nbytes)} B"


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


def value(array: Any) -> str:
    """What was computed: a small tensor itself, of a larger one its extremes."""
    found = _array(array)
    if found.size <= SMALL:
        return written_out(found.tolist())
    if found.dtype.kind not in "biufc":
        return f"{found.size} {TIMES} {found.dtype}"
    kept = found[np.isfinite(found)] if found.dtype.kind in "fc" else found
    bad = found.size - kept.size
    lost = f", {bad} not finite" if bad else ""
    if not kept.size or found.dtype.kind == "c":
        return f"{found.size} elements{lost}"
    return f"{number(kept.min())} … {number(kept.max())}{lost}"


def _array(value: Any) -> Any:
    found = np.asarray(value)
    return found.astype(np.float32) if found.dtype.kind == "V" and found.dtype.itemsize == 2 else found  # bfloat16


def is_bad(array: Any) -> bool:
    """Whether a NaN or an infinity is in it."""
    found = _array(array)
    return found.dtype.kind in "fc" and not bool(np.isfinite(found).all())


def elements(dims: spec.Dims) -> int:
    """How many elements; a dimension that is not known counts as one."""
    return math.prod(d or 1 for d in dims) if dims is not None else 1


def nbytes(tensor: Tensor) -> int | None:
    """The bytes of a tensor, with one for each dimension that is not known; None for what has no size."""
    width = tensor.dtype.size if tensor.dtype.kind not in ("resource", "string") else 0
    return elements(tensor.dims) * width or None
