"""`torch.testing.assert_close`: tensors, numbers and nests of them that should be the same.

Policy: tolerances are PyTorch's, by dtype; what differs is told with the largest difference and its place.

State: none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphflow.eager.creation import as_tensor
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import InvalidArgumentError

__all__ = ["assert_close"]


def __dir__() -> list[str]:
    return list(__all__)


# rtol and atol of each dtype; whatever is not here has to be equal.
_TOLERANCES = {
    "float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5), "complex128": (1e-7, 1e-7),
}  # fmt: skip


def assert_close(
    actual: Any, expected: Any, *, rtol: float | None = None, atol: float | None = None, equal_nan: bool = False,
    check_dtype: bool = True, msg: str | None = None,
) -> None:  # fmt: skip
    """Raise AssertionError unless the two are close; nests are compared part by part."""
    if (rtol is None) != (atol is None):
        raise InvalidArgumentError("rtol and atol are given both, or neither", got=f"{rtol} and {atol}")
    work = [("", actual, expected)]
    while work:
        where, x, y = work.pop()
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            _check(x.keys() == y.keys(), f"{where}: the keys differ: {list(x)} and {list(y)}", msg)
            work += [(f"{where}[{key!r}]", x[key], y[key]) for key in x]
        elif isinstance(x, (list, tuple)) and isinstance(y, (list, tuple)):
            _check(len(x) == len(y), f"{where}: the lengths differ: {len(x)} and {len(y)}", msg)
            work += [(f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(x, y, strict=True))]
        else:
            _compare(where, as_tensor(x), as_tensor(y), (rtol, atol), equal_nan, check_dtype, msg)


def _check(holds: bool, told: str, msg: str | None) -> None:
    if not holds:
        raise AssertionError(msg if msg is not None else told.removeprefix(": "))


def _compare(
    where: str, x: EagerTensor, y: EagerTensor, tolerances: tuple[Any, Any], equal_nan: bool, check_dtype: bool,
    msg: str | None,
) -> None:  # fmt: skip
    _check(x.dims == y.dims, f"{where}: the shapes differ: {list(x.dims)} and {list(y.dims)}", msg)
    _check(not check_dtype or x.dtype is y.dtype, f"{where}: the dtypes differ: {x.dtype.name} and {y.dtype.name}", msg)
    loosest = max(_TOLERANCES.get(v.dtype.name, (0.0, 0.0)) for v in (x, y))
    rtol, atol = loosest if tolerances[0] is None else tolerances
    a, b = (np.asarray(v._array()) for v in (x, y))
    if a.dtype.kind not in "fc" and a.dtype.kind != "O":
        a, b = a.astype(np.float64), b.astype(np.float64)
    close = np.isclose(a, b, rtol, atol, equal_nan)
    if not close.all():
        apart = np.where(close, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf))
        place = tuple(map(int, np.unravel_index(int(apart.argmax()), apart.shape)))
        told = f"{close.size - int(close.sum())} of {close.size} elements differ, most at {place}: "
        _check(False, f"{where}: {told}{a[place]!s} and {b[place]!s} (rtol {rtol:g}, atol {atol:g})", msg)
