"""Scales of charts: round numbers on an axis, and amounts as people write them.

Policy: ticks at 1, 2 or 5 times a power of ten (or of two, for bytes); a whole axis has one unit.

State: none.
"""

from __future__ import annotations

import math

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))


def ticks(most: float, count: int = 8, base: float = 1.0) -> list[float]:
    """About so many round multiples of `base` from 0 up to `most`."""
    if not most > 0:
        return [0.0]
    rough = most / base / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * (1 - 1e-9))
    if base > 1:
        step = max(1.0, step)
    return [i * step * base for i in range(int(most / (step * base) + 1e-9) + 1)]


def time_unit(most: float) -> tuple[float, str]:
    """The unit in which times up to `most` seconds are written."""
    return next(((unit, name) for unit, name in _TIMES if most >= unit), _TIMES[-1])


def size_unit(most: float) -> tuple[int, str]:
    """The unit in which sizes up to `most` bytes are written."""
    return next(((unit, name) for unit, name in _SIZES if most >= unit), _SIZES[-1])


def seconds_text(seconds: float) -> str:
    """A time in three digits."""
    unit, name = time_unit(seconds)
    return f"{_three(seconds / unit)} {name}"


def bytes_text(nbytes: float) -> str:
    """A size in three digits."""
    unit, name = size_unit(nbytes)
    return f"{_three(nbytes / unit)} {name}"


def _three(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
