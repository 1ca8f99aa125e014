"""Whole-number arithmetic in OpenCL C as NumPy does it: division, remainders, powers, and casts of floats to integers.

Policy: what overflows wraps around; a divisor of zero divides nothing, and never traps (whoever launches the kernel
finds it by `expressions.FAILS`); the least number by -1 is itself.  Floats go to integers towards zero, stop at the
limits, and NaN becomes 0.

State: none; its functions stand in `library`.
"""

from __future__ import annotations

from graphflow.dtypes import as_dtype
from graphflow_opencl import library
from graphflow_opencl.registers import BITS, MASKS, REGISTERS, WIDTHS, literal, vector

# `@T` is the vector, `@U` its unsigned sibling, `@M` the vector of masks, `@N` the bits of an element.  Scalars below
# int are promoted to it, where the product of two ushorts would overflow: `@1` makes it an unsigned one.
SIGNED = {
    "quotient": """
@T gf_quotient_@T(@T x, @T y) {
    @M special = (y == (@T)(0)) | (y == (@T)(-1));
    @T found = x / (special ? (@T)(1) : y);
    @U negative = (@U)(0) - as_@U(x);
    return (y == (@T)(-1)) ? as_@T(negative) : found;
}""",
    "remainder": """
@T gf_remainder_@T(@T x, @T y) {
    @M special = (y == (@T)(0)) | (y == (@T)(-1));
    @T found = x % (special ? (@T)(1) : y);
    return special ? (@T)(0) : found;
}""",
    "floor_quotient": """
@T gf_floor_quotient_@T(@T x, @T y) {
    @M broken = (gf_remainder_@T(x, y) != (@T)(0)) & ((x ^ y) < (@T)(0));
    @T found = gf_quotient_@T(x, y);
    return broken ? found - (@T)(1) : found;
}""",
    "floor_remainder": """
@T gf_floor_remainder_@T(@T x, @T y) {
    @T found = gf_remainder_@T(x, y);
    @M broken = (found != (@T)(0)) & ((x ^ y) < (@T)(0));
    return broken ? found + y : found;
}""",
}
UNSIGNED = {
    "quotient": """
@T gf_quotient_@T(@T x, @T y) {
    return x / ((y == (@T)(0)) ? (@T)(1) : y);
}""",
    "remainder": """
@T gf_remainder_@T(@T x, @T y) {
    return x % ((y == (@T)(0)) ? (@T)(1) : y);
}""",
}
BOTH = {
    "power": """
@T gf_power_@T(@T x, @T y) {
    @U base = as_@U(x);
    @U rest = as_@U(y);
    @U found = (@U)(1);
    for (int bit = 0; bit < @N && @SOME; bit++) {
        found = ((rest & (@U)(1)) != (@U)(0)) ? (@U)(@1found * base) : found;
        base = @1base * base;
        rest >>= (@U)(1);
    }
    return as_@T(found);
}""",
}
# `@F` is the vector of floats or doubles, `@C` its scalar; the limits are exact in it.
SATURATED = """
@T gf_saturated_@T_@F(@F x) {
    @F whole = trunc(x);
    @F inside = ((whole >= @LOW) & (whole < @HIGH)) ? whole : (@F)(0);
    @T found = convert_@T(inside);
    found = convert_@M(whole >= @HIGH) ? (@T)(@MOST) : found;
    return convert_@M(whole < @LOW) ? (@T)(@LEAST) : found;
}"""


def _filled(text: str, scalar: str, size: int, width: int) -> str:
    unsigned = scalar if scalar.startswith("u") else f"u{scalar}"
    text = text.replace("@1", "1u * " if width == 1 and size < 4 else "")
    text = text.replace("@SOME", "rest != 0" if width == 1 else "any(rest != (@U)(0))")
    for mark, filling in (("@T", scalar), ("@U", unsigned), ("@M", MASKS[size])):
        text = text.replace(mark, vector(filling, width))
    return text.replace("@N", str(8 * size)).strip()


def _register() -> None:
    for name in (n for n in REGISTERS if "int" in n):
        scalar, size, _ = REGISTERS[name]
        dtype = as_dtype(name)
        templates = (UNSIGNED if dtype.is_unsigned else SIGNED) | BOTH
        for width in WIDTHS:
            for function, text in templates.items():
                library.function(f"gf_{function}_{vector(scalar, width)}", _filled(text, scalar, size, width))
            for source in BITS:
                text = SATURATED.replace("@F", vector(source, width))
                ends = f"({float(dtype.min).hex()})", f"({float(dtype.max + 1).hex()})"
                low, high = (e.replace(")", "f)") if source == "float" else e for e in ends)
                text = text.replace("@LOW", low).replace("@HIGH", high)
                text = text.replace("@LEAST", literal(dtype, dtype.min)).replace("@MOST", literal(dtype, dtype.max))
                key = f"gf_saturated_{vector(scalar, width)}_{vector(source, width)}"
                library.function(key, _filled(text, scalar, size, width))


_register()
