"""`detect_anomaly`: which derivative was the first that is not a number, and from where that came.

Policy: as PyTorch's, a context or a setting that makes `backward` look at what each derivative returns; the error names
the op and the line that built it, and the first op whose own value was not a number already, if there is one.

State: whether it is looked for, in each thread.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.eager.storage import plain_array
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import NumericsError
from graphflow.indexed_slices import IndexedSlices


class _Wanted(threading.local):
    def __init__(self) -> None:
        self.on = False
        self.check_nan = True


wanted = _Wanted()


class set_detect_anomaly:
    """Look for derivatives that are no numbers, or do not: from now on, or for the length of a `with` block."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = wanted.on, wanted.check_nan
        wanted.on, wanted.check_nan = bool(mode), bool(check_nan)

    def __enter__(self) -> None:
        """It holds since the call."""

    def __exit__(self, *error: object) -> None:
        wanted.on, wanted.check_nan = self._before


class detect_anomaly(set_detect_anomaly):
    """`with torch.autograd.detect_anomaly():` looks at every derivative inside."""

    def __init__(self, check_nan: bool = True) -> None:
        self._asked = check_nan
        self._before = wanted.on, wanted.check_nan

    def __enter__(self) -> None:
        """From here on."""
        self._before = wanted.on, wanted.check_nan
        wanted.on, wanted.check_nan = True, self._asked


def is_anomaly_enabled() -> bool:
    """Whether derivatives are looked at."""
    return wanted.on


def check(op: Any, gradients: Sequence[Any], path: Sequence[Any]) -> None:
    """Raise if one of the gradients that the derivative of an op returned has an element that is not a number."""
    if not wanted.check_nan:
        return
    for number, g in enumerate(gradients):
        if not _has_nan(g.values if isinstance(g, IndexedSlices) else g):
            continue
        first = next((r for r in path if any(_array_has_nan(v) for v in getattr(r, "values", ()))), None)
        came = "its values are numbers, so the derivative is where it begins"
        if first is not None:
            came = f"the first value that is not a number came from {first.name!r} at {first.source}"
        raise NumericsError(
            f"the derivative of {op.type} returned a value that is not a number, for input {number}; {came}",
            op=op,
            got=f"nan among {g.dtype.name}{list(g.dims) if isinstance(g, EagerTensor) else ''}",
            hint="sqrt, norm and pow have no slope at 0, log and division no value there: clamp, or add a small number",
        )


def _has_nan(x: Any) -> bool:
    return isinstance(x, EagerTensor) and _array_has_nan(plain_array(x))


def _array_has_nan(value: Any) -> bool:
    if hasattr(value, "numpy"):
        value = value.numpy()
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return kind in "fcV" and kind != "" and bool(np.isnan(value).any())
