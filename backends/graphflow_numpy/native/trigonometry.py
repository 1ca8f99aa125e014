"""Sine and cosine of float32: the angle is reduced in float64, the rest is two short polynomials.

Policy: as for `polynomials`.  Angles of any size are right: those from 2 ** 30 on are integers times a power of two,
and a table has what is left of each power after whole turns.

State: none.
"""

from __future__ import annotations

import functools
import struct

from graphflow.numerics.polynomials import COSINE, SINE
from graphflow_numpy.native.emission import Emitter, V

# pi, times 2 ** 252.
PI = 0x3243F6A8885A308D313198A2E03707344A4093822299F31D0082EFA98EC4E6C8
PI_BITS = 252
# pi / 2 as a sum of three doubles.
QUARTER = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
MAGIC = 6755399441055744.0  # a sum with it has the nearest integer in its last bits
LARGE = 2.0**30  # from here on the table is used: the exponents 7 ... 104 of integers below 2 ** 24
FIRST, LAST = 7, 104
# (sin(r) - r) / r ** 3 and (cos(r) - 1 + r ** 2 / 2) / r ** 4, in powers of r ** 2, highest first.


@functools.cache
def _table() -> tuple[str, str]:
    """Two globals: for each exponent e, 2 ** e less whole turns, as the sum of two doubles."""
    high, low = [], []
    for e in range(FIRST, LAST + 1):
        whole = 1 << (e + PI_BITS)
        rest = whole % (2 * PI)
        if rest > PI:
            rest -= 2 * PI
        high.append(rest / (1 << PI_BITS))  # rounded once, as what is left after it
        number, over = high[-1].as_integer_ratio()
        low.append((rest * over - (number << PI_BITS)) / (over << PI_BITS))
    kind = f"[{len(high)} x double]"
    return tuple(  # type: ignore[return-value]
        f"@{name} = private unnamed_addr constant {kind} "
        f"[{', '.join('double 0x' + struct.pack('>d', v).hex().upper() for v in values)}]"
        for name, values in (("turns_high", high), ("turns_low", low))
    )


def _looked_up(e: Emitter, name: str, index: V, mask: V) -> V:
    """Numbers from a table, where the mask holds."""
    if not e.lanes:
        at = e.fresh(f"getelementptr double, ptr @{name}, i64 {index.text}", "ptr")
        return e.fresh(f"load double, ptr {at.text}", "double")
    pointers = f"<{e.lanes} x ptr>"
    at = e.fresh(f"getelementptr double, ptr @{name}, {e.type('i64')} {index.text}", "ptr")
    of, bits = e.type("double"), e.type("i1")
    gather = f"llvm.masked.gather.v{e.lanes}f64.v{e.lanes}p0"
    e.intrinsics[f"declare {of} @{gather}({pointers}, i32, {bits}, {of})"] = None
    arguments = f"{pointers} {at.text}, i32 8, {bits} {mask.text}, {of} zeroinitializer"
    return e.fresh(f"call {of} @{gather}({arguments})", "double")


def _unturned(e: Emitter, x: V, angle: V, large: V) -> tuple[V, V]:
    """The angle, less whole turns where it is large, as a sum of two doubles."""
    for line in _table():
        e.intrinsics[line] = None
    bits = e.bits(x)
    exponent = e.bitwise("and", e.bitwise("lshr", bits, e.like(23, bits)), e.like(255, bits))
    place = e.select(large, e.sub(exponent, e.like(150 + FIRST, bits)), e.like(0, bits))
    fraction = e.bitwise("or", e.bitwise("and", bits, e.like((1 << 23) - 1, bits)), e.like(1 << 23, bits))
    integer = e.intrinsic("copysign", e.convert("sitofp", fraction, "double"), angle)
    index = e.convert("sext", place, "i64")
    high, low = _looked_up(e, "turns_high", index, large), _looked_up(e, "turns_low", index, large)
    product = e.mul(integer, high)
    error = e.fma(integer, low, e.fma(integer, high, e.neg(product)))
    return e.select(large, product, angle), e.select(large, error, e.like(0.0, angle))


def reduced(e: Emitter, x: V) -> tuple[V, V]:
    """(number of quarter turns, the rest in float64)."""
    angle = e.convert("fpext", x, "double")
    size = e.intrinsic("fabs", x)
    large = e.bitwise("and", e.compare("ge", size, e.like(LARGE, x)), e.compare("lt", size, e.like(float("inf"), x)))
    angle, slip = e.rarely(large, lambda: _unturned(e, x, angle, large), (angle, e.like(0.0, angle)))
    t = e.fma(angle, e.like(0.6366197723675814, angle), e.like(MAGIC, angle))
    n = e.sub(t, e.like(MAGIC, angle))
    rest = angle
    for part in QUARTER:
        rest = e.fma(n, e.like(-part, n), rest)
    return e.convert("trunc", e.bits(t), "i32"), e.add(rest, slip)


def _quadrant(e: Emitter, x: V) -> tuple[V, V]:
    quarters, rest = reduced(e, x)
    return quarters, e.convert("fptrunc", rest, "float")


def _turned(e: Emitter, quarters: V, r: V) -> V:
    """The sine of so many quarter turns and the rest."""
    square = e.mul(r, r)
    sine = e.fma(e.mul(r, square), e.horner(SINE, square), r)
    halved = e.fma(square, e.like(-0.5, r), e.like(1.0, r))
    cosine = e.fma(e.mul(square, square), e.horner(COSINE, square), halved)
    odd = e.compare("ne", e.bitwise("and", quarters, e.like(1, quarters)), e.like(0, quarters))
    sign = e.bitwise("shl", e.bitwise("and", quarters, e.like(2, quarters)), e.like(30, quarters))
    return e.floating(e.bitwise("xor", e.bits(e.select(odd, cosine, sine)), sign))


def sin(e: Emitter, x: V) -> V:
    """The sine."""
    quarters, r = _quadrant(e, x)
    return e.select(e.compare("eq", x, e.like(0.0, x)), x, _turned(e, quarters, r))  # -0 stays


def cos(e: Emitter, x: V) -> V:
    """The cosine: the sine of a quarter turn more."""
    quarters, r = _quadrant(e, x)
    return _turned(e, e.add(quarters, e.like(1, quarters)), r)
