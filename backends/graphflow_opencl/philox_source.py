"""Random words in OpenCL C: Philox4x64-10, and the functions that turn words into numbers.

Policy: the words are those of the NumPy backend, bit for bit, and what is made of them without a logarithm, a
sine or a cosine is, too.  Lanes of a register are elements in their order: words, or halves of words, low half first.
Products of 64 bits are made with 128-bit integers where the compiler has them: PoCL's `mul_hi` is many times slower.

State: none; its functions stand in `library`.
"""

from __future__ import annotations

from graphflow.numerics.polynomials import COSINE, SINE
from graphflow.numerics.streams import NDTRI, TWO_SIGMA
from graphflow_opencl import library
from graphflow_opencl.polynomials import horner, number
from graphflow_opencl.special import horner as polynomial

WORDS = 4  # of a block

library.function(
    "gf_high_product",
    """ulong gf_high_product(ulong x, ulong y) {
#ifdef __SIZEOF_INT128__
    return (ulong)(((unsigned __int128)x * y) >> 64);
#else
    return mul_hi(x, y);
#endif
}""",
)
# `stream` has words 1 to 3 of the counter, and the key.
library.function(
    "gf_random_words",
    """ulong4 gf_random_words(__global const ulong *stream, ulong block) {
    ulong x0 = block + 1, x1 = stream[0], x2 = stream[1], x3 = stream[2], k0 = stream[3], k1 = stream[4];
    #pragma unroll
    for (int i = 0; i < 10; i++) {
        const ulong high0 = gf_high_product(x0, 0xD2E7470EE14C6C93UL), low0 = x0 * 0xD2E7470EE14C6C93UL;
        const ulong high1 = gf_high_product(x2, 0xCA5A826395121157UL), low1 = x2 * 0xCA5A826395121157UL;
        x0 = high1 ^ x1 ^ k0;
        x1 = low1;
        x2 = high0 ^ x3 ^ k1;
        x3 = low0;
        k0 += 0x9E3779B97F4A7C15UL;
        k1 += 0xBB67AE8584CAA73BUL;
    }
    return (ulong4)(x0, x1, x2, x3);
}""",
)
library.function(
    "gf_random_halves",
    """uint8 gf_random_halves(__global const ulong *stream, ulong block) {
    const ulong4 words = gf_random_words(stream, block);
    uint8 out;
    out.even = convert_uint4(words & 0xffffffffUL);
    out.odd = convert_uint4(words >> 32);
    return out;
}""",
)

# -- pairs of normal numbers, by Box and Muller ----------------------------------------------------------------------

library.function(
    "gf_turned_sine",
    f"""float4 gf_turned_sine(float4 r, int4 quarters) {{
    const float4 square = r * r;
    const float4 sine = r * square * {horner(SINE, "square").replace("@F", "float4")} + r;
    const float4 cosine = square * square * {horner(COSINE, "square").replace("@F", "float4")} + (1.0f - 0.5f * square);
    const float4 size = ((quarters & 1) != 0) ? cosine : sine;
    return as_float4(as_int4(size) ^ ((quarters & 2) << 30));
}}""",
)
# The angle is below 2 pi, so a few quarter turns leave it exactly in three steps.
library.function(
    "gf_normals_float",
    f"""float8 gf_normals_float(uint8 halves) {{
    const float8 unit = convert_float8(halves) * 0x1p-32f + 0x1p-33f;
    const float4 radius = sqrt(gf_log_float4(unit.even) * -2.0f);
    const float4 angle = unit.odd * {number(6.2831854820251465)};
    const float4 turns = rint(angle * {number(0.6366197723675814)});
    const float4 rest = ((angle - turns * 0x1.92p+0f) - turns * 0x1.fb4p-12f) - turns * 0x1.4442d2p-24f;
    const int4 quarters = convert_int4(turns);
    float8 out;
    out.even = radius * gf_turned_sine(rest, quarters + 1);
    out.odd = radius * gf_turned_sine(rest, quarters);
    return out;
}}""",
)
library.function(
    "gf_open_double",
    """double4 gf_open_double(ulong4 words) {
    return (convert_double4(words >> 12) + 0.5) * 0x1p-52;
}""",
)
library.function(
    "gf_normals_double",
    """double4 gf_normals_double(ulong4 words) {
    const double4 unit = gf_open_double(words);
    const double2 radius = sqrt(log(unit.even) * -2.0);
    const double2 angle = unit.odd * 0x1.921fb54442d18p+2;
    double4 out;
    out.even = radius * cos(angle);
    out.odd = radius * sin(angle);
    return out;
}""",
)

# -- normal numbers within two sigma, by inverting the distribution --------------------------------------------------

for _width in (4, 8):
    _doubles = f"double{_width}"
    library.function(
        f"gf_truncated_{_doubles}",
        f"""{_doubles} gf_truncated_{_doubles}({_doubles} unit) {{
    const {_doubles} x = (unit * 2.0 - 1.0) * {TWO_SIGMA.hex()};
    const {_doubles} depth = -log(1.0 - x * x);
    return fmax(fmin(x * {polynomial(NDTRI, "depth")}, ({_doubles})(2.0)), ({_doubles})(-2.0));
}}""",
    )
# A double as a float whose last bit says whether it was rounded, so that rounding it again rounds but once.
library.function(
    "gf_sticky_float",
    """float8 gf_sticky_float(double8 x) {
    const float8 near = convert_float8(x);
    const double8 back = convert_double8(near);
    const int8 bits = as_int8(near);
    const int8 inward = convert_int8(fabs(back) > fabs(x)) & -1;
    const int8 change = (convert_int8(back != x) != 0) & ((bits & 1) == 0);
    return as_float8(bits + ((change != 0) ? ((inward != 0) ? (int8)(-1) : (int8)(1)) : (int8)(0)));
}""",
)
