"""The functions of native code against float64 (and long double): every exponent, many fractions, special values."""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np
import pytest
from graphflow_numpy.native import engine, polynomials

from tests import native_groups

pytestmark = pytest.mark.skipif(not engine.available(), reason="the extra `fast` is not installed")

EXACT: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": lambda x: np.where(x < 0, np.exp(-np.abs(x)), 1) / (1 + np.exp(-np.abs(x))),
    "sin": np.sin,
    "cos": np.cos,
    "erf": lambda x: np.vectorize(erf, otypes=[np.float64])(x.astype(np.float64)),
}
OPS = {name: name.capitalize() for name in EXACT}
WIDER = {"float": np.float64, "double": np.longdouble}
TYPES = {"float": np.float32, "double": np.float64}
KNOWN = [key for key in polynomials.ULP if key[1] == "float" or np.finfo(np.longdouble).nmant > 60]


def everywhere(dtype: Any, fractions: int) -> Any:
    """Both signs, every exponent, many fractions with the extreme ones."""
    rng = np.random.default_rng(7)
    bits, whole, kind = (23, 256, np.uint32) if dtype is np.float32 else (52, 2048, np.uint64)
    last = (1 << bits) - 1
    some = rng.integers(0, last, (2, whole, fractions), endpoint=True, dtype=kind)
    some[:, :, :4] = [0, 1, last, last - 1]
    exponents = np.arange(whole, dtype=kind)[None, :, None] << kind(bits)
    signs = np.array([0, 1], kind)[:, None, None] << kind(bits + (8 if dtype is np.float32 else 11))
    return (some | exponents | signs).view(dtype).ravel()


@pytest.mark.parametrize(("name", "elem"), KNOWN, ids=lambda p: p)
def test_error_stays_below_the_stated_bound(name: str, elem: str) -> None:
    """And the bound is not idle: the worst error found is more than a quarter of it."""
    few = name == "erf"  # its reference is slow
    x = np.concatenate(
        [
            everywhere(TYPES[elem], 40 if few else 600 if elem == "float" else 60),
            native_groups.densely(TYPES[elem], 5000 if few else 100_000),
        ]
    )
    got = native_groups.run([x], [(OPS[name], [0], {})], [1])
    assert got is not None
    with np.errstate(all="ignore"):
        wanted = EXACT[name](x.astype(WIDER[elem]))
    error = native_groups.ulps(got[0], wanted)
    worst = int(error.argmax())
    bound = polynomials.ULP[name, elem]
    print(f"{name} {elem}: worst {error[worst]:.3f} ulp of {bound}")
    assert error[worst] <= bound, f"{name}({x[worst]!r}) = {got[0][worst]!r}, exactly {wanted[worst]!r}"
    assert error[worst] > bound / 4


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3e38, -3e38]


@pytest.mark.parametrize(("name", "elem"), list(polynomials.ULP), ids=lambda p: p)
@pytest.mark.parametrize("rank", [0, 1], ids=["scalar", "vector"])
def test_special_values_and_the_sign_of_zero(name: str, elem: str, rank: int) -> None:
    x = np.array(SPECIAL, TYPES[elem])
    with np.errstate(all="ignore"):
        wanted = EXACT[name](x.astype(WIDER[elem])).astype(TYPES[elem])
    cases = [x] if rank else list(x)
    got = np.concatenate([np.ravel(native_groups.run([c], [(OPS[name], [0], {})], [1])[0]) for c in cases])  # type: ignore[index]
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(got[~finite], wanted[~finite])
    assert (
        native_groups.ulps(got[finite], wanted[finite].astype(WIDER[elem])).max() <= polynomials.ULP[name, elem] + 0.5
    )
    np.testing.assert_array_equal(np.signbit(got[3:5]), np.signbit(wanted[3:5]))


@pytest.mark.parametrize(("name", "elem"), list(polynomials.ULP), ids=lambda p: p)
def test_a_result_depends_on_its_element_alone(name: str, elem: str) -> None:
    """Whole vectors, the masked rest and scalars give the same bits."""
    x = native_groups.densely(TYPES[elem], 9)[:71]
    whole = native_groups.run([x], [(OPS[name], [0], {})], [1])
    for part in (x[:1], x[5:22], x[40:]):
        got = native_groups.run([part], [(OPS[name], [0], {})], [1])
        start = int(np.flatnonzero(x == part[0])[0])
        np.testing.assert_array_equal(got[0], whole[0][start : start + part.size])  # type: ignore[index]
    one = native_groups.run([x[3]], [(OPS[name], [0], {})], [1])
    assert one[0] == whole[0][3]  # type: ignore[index]
