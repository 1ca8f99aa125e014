"""Values that no placeholder of a dtype can take without being changed.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.bad_inputs.world import FEED, Bad, World

nan, inf = float("nan"), float("inf")
FRACTION, HUGE, BIG = 0.5, 1e300, 2**33
TEXT, NOTHING, IMAGINARY = "1.5", None, 1 + 2j

# dtype of the placeholder: values that must be refused, each alone and (numbers) as the second element of an array
REFUSED: dict[str, dict[str, Any]] = {
    "bool": {
        "two": 2, "minus_one": -1, "half": 0.5, "nan": nan, "imaginary": 1j, "text": "True", "None": None,
    },
    "uint8": {
        "minus_one": -1, "256": 256, "half": 0.5, "nan": nan, "inf": inf, "2**33": 2**33, "256.0": 256.0, "1j": 1j,
        "text": "7", "None": None,
    },
    "uint16": {"minus_one": -1, "65536": 65536, "-0.5": -0.5, "nan": nan, "65536.0": 65536.0, "1e20": 1e20},
    "uint32": {"minus_one": -1, "2**32": 2**32, "1.5": 1.5, "-inf": -inf, "float_2**32": 2.0**32, "1+0j": 1 + 0j},
    "uint64": {"minus_one": -1, "2**64": 2**64, "float_2**64": 2.0**64, "nan": nan, "int64_min": np.int64(-(2**63))},
    "int8": {"128": 128, "-129": -129, "half": 0.5, "nan": nan, "uint8_255": np.uint8(255), "text": "1"},
    "int16": {"2**15": 2**15, "-2**15-1": -(2**15) - 1, "1e5": 1e5, "1e-3": 1e-3, "inf": inf},
    "int32": {
        "2**33": 2**33, "2**33+5": 2**33 + 5, "2**31": 2**31, "-2**31-1": -(2**31) - 1, "half": 0.5, "nan": nan,
        "inf": inf, "1e20": 1e20, "float_2**31": 2.0**31, "uint32_max": np.uint32(2**32 - 1), "imaginary": 1 + 2j,
        "real_complex": 1 + 0j, "text": "1.5", "digits": "12", "bytes": b"12", "None": None, "2**100": 2**100,
    },
    "int64": {
        "2**63": 2**63, "2**64": 2**64, "float_2**63": 2.0**63, "half": 0.5, "nan": nan, "1e300": 1e300,
        "uint64_max": np.uint64(2**64 - 1), "text": "3",
    },
    "float16": {"70000": 70000, "1e5": 1e5, "-1e5": -1e5, "2**63": 2**63, "imaginary": 1j, "text": "1.5"},
    "float32": {
        "1e300": 1e300, "-1e300": -1e300, "1e39": 1e39, "2**130": 2**130, "10**400": 10**400, "imaginary": 1 + 2j,
        "real_complex": 1 + 0j, "text": "1.5", "nan_text": "nan", "bytes": b"1.5", "None": None,
        "complex64": np.complex64(2), "date": np.datetime64("2020-01-01"), "span": np.timedelta64(3, "D"),
    },
    "float64": {"10**400": 10**400, "imaginary": 1j, "text": "1e3", "None": None, "bytes": b""},
    "complex64": {"1e300": 1e300, "1e300j": 1e300j, "text": "1j", "None": None, "10**400": 10**400},
    "complex128": {"text": "1+2j", "None": None, "10**400": 10**400},
    "string": {"one": 1, "half": 0.5, "True": True, "None": None, "1j": 1j, "float64": np.float64(2)},
}  # fmt: skip


def _alone(dtype: str, name: str, value: Any) -> Bad:
    def do(world: World) -> Any:
        return world.feed(value, dtype)

    return Bad(f"{name}-to-{dtype}", do, FEED, (f"of_{dtype}:0", f"expected: {dtype}"))


def _scalar(name: str, value: Any) -> Bad:
    """A single number has a way of its own."""

    def do(world: World) -> Any:
        return world.session.run(world.twice, {world.s: value})

    return Bad(f"{name}-to-a-scalar", do, FEED, ("'s:0'", "expected: float32[]", "got:"))


def _second(dtype: str, name: str, value: Any) -> Bad:
    def do(world: World) -> Any:
        return world.feed(np.array([[0, value]]), dtype)

    words = (f"of_{dtype}:0", f"expected: {dtype}", "got:")
    return Bad(f"second-element-{name}-to-{dtype}", do, FEED, words)


ROWS = [_alone(dtype, name, value) for dtype, found in REFUSED.items() for name, value in found.items()]
ROWS += [_scalar(name, value) for name, value in REFUSED["float32"].items()]
ROWS += [
    _second(dtype, name, value)
    for dtype in ("bool", "uint8", "int32", "int64", "float16", "float32", "complex64")
    for name, value in REFUSED[dtype].items()
    if isinstance(value, (int, float, complex)) and abs(value) != 2**63
]
