"""How elements are held in registers and in memory: C types, literals, loads, stores, masks.

Policy: a register has one element (width 1) or an OpenCL vector of 2, 4, 8 or 16.  float16 and bfloat16 are floats in
registers and are rounded, half to even, when they are stored; a bool is an int, 0 or 1, beside operands of every size.
Addresses count elements, and need no alignment but an element's own.  Arguments are names or literals of this module,
so that they need no parentheses.

State: none; its functions stand in `library`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from graphflow.dtypes import DType
from graphflow_opencl import library


class Register(NamedTuple):
    """How a dtype is held: its C type in a register, the bytes of that, its C type in memory."""

    scalar: str
    size: int
    stored: str


REGISTERS: dict[str, Register] = {
    "bool": Register("int", 4, "uchar"),
    "int8": Register("char", 1, "char"),
    "int16": Register("short", 2, "short"),
    "int32": Register("int", 4, "int"),
    "int64": Register("long", 8, "long"),
    "uint8": Register("uchar", 1, "uchar"),
    "uint16": Register("ushort", 2, "ushort"),
    "uint32": Register("uint", 4, "uint"),
    "uint64": Register("ulong", 8, "ulong"),
    "float16": Register("float", 4, "half"),
    "bfloat16": Register("float", 4, "ushort"),
    "float32": Register("float", 4, "float"),
    "float64": Register("double", 8, "double"),
}
WIDTHS = (1, 2, 4, 8, 16)
MASKS = {1: "char", 2: "short", 4: "int", 8: "long"}  # what comparisons of vectors give, by the bytes of an element
BITS = {"float": ("uint", "0x7fc00000", "0x7f800000"), "double": ("ulong", "0x7ff8000000000000", "0x7ff0000000000000")}


INLINE = "__attribute__((always_inline))\n"  # before the functions of `library`: vectors are best not passed in memory


def held(dtype: DType) -> bool:
    """Whether there are registers for a dtype."""
    return dtype.name in REGISTERS


def vector(scalar: str, width: int) -> str:
    """The type of a vector; of one element, the scalar's."""
    return scalar if width == 1 else f"{scalar}{width}"


def register_type(dtype: DType, width: int) -> str:
    """The C type of a register: "float8", "int8" for eight bools."""
    return vector(REGISTERS[dtype.name].scalar, width)


def storage_type(dtype: DType) -> str:
    """The type of an element in memory, to which a kernel's parameter points."""
    return REGISTERS[dtype.name].stored


def literal(dtype: DType, value: Any) -> str:
    """One element as an exact constant of the register's scalar type."""
    scalar = REGISTERS[dtype.name].scalar
    if scalar in BITS:
        return _floating(scalar, float(dtype.type(value)))
    number = int(value)
    if scalar == "long":
        return "(-9223372036854775807L - 1)" if number == -(2**63) else f"({number}L)"
    if scalar == "int":
        return "(-2147483647 - 1)" if number == -(2**31) else f"({number})"
    suffix = {"ulong": "UL", "uint": "U"}.get(scalar, "")
    return f"({scalar})({number}{suffix})"


def _floating(scalar: str, value: float) -> str:
    _, nan, infinity = BITS[scalar]
    suffix = "f" if scalar == "float" else ""
    if math.isnan(value):
        return f"as_{scalar}({nan}{'' if suffix else 'L'})"
    if math.isinf(value):
        return f"({'-' if value < 0 else ''}as_{scalar}({infinity}{'' if suffix else 'L'}))"
    return f"({value.hex()}{suffix})"


def broadcast_scalar(dtype: DType, width: int, text: str) -> str:
    """A scalar in every element of a register."""
    return text if width == 1 else f"({register_type(dtype, width)})({text})"


def constant(dtype: DType, width: int, value: Any) -> str:
    """A literal in every element of a register."""
    return broadcast_scalar(dtype, width, literal(dtype, value))


# -- memory ----------------------------------------------------------------------------------------------------------


def load(dtype: DType, width: int, pointer: str, index: str) -> str:
    """The elements from that place on, as a register."""
    if dtype.name == "float16":
        if width == 1:
            return f"vload_half({index}, {pointer})"
        bits = f"vload{width}(0, (__global const ushort *){pointer} + ({index}))"
        return f"gf_halves_{vector('float', width)}({bits})"
    raw = f"{pointer}[{index}]" if width == 1 else f"vload{width}(0, {pointer} + ({index}))"
    if dtype.name == "bfloat16":
        return f"as_{vector('float', width)}(convert_{vector('uint', width)}({raw}) << 16)"
    return f"convert_{vector('int', width)}({raw})" if dtype.is_bool else raw


def store(dtype: DType, width: int, pointer: str, index: str, value: str) -> str:
    """A statement that writes a register to that place and those after it."""
    if dtype.name == "float16":
        if width == 1:
            return f"vstore_half_rte({value}, {index}, {pointer});"
        bits = f"gf_half_bits_{vector('float', width)}({value})"
        return f"vstore{width}({bits}, 0, (__global ushort *){pointer} + ({index}));"
    if dtype.name == "bfloat16":
        value = f"gf_bfloat16_bits_{vector('float', width)}({value})"
    elif dtype.is_bool:
        value = f"convert_{vector('uchar', width)}({value})"
    return f"{pointer}[{index}] = {value};" if width == 1 else f"vstore{width}({value}, 0, {pointer} + ({index}));"


# -- truth -----------------------------------------------------------------------------------------------------------


def truth(compared: DType, comparison: str, width: int) -> str:
    """The bool register of a comparison between registers of a dtype."""
    if width == 1:
        return f"({comparison})"
    if REGISTERS[compared.name].size == 4:
        return f"(({comparison}) & 1)"
    return f"(convert_int{width}({comparison}) & 1)"


def mask(chosen: DType, condition: str, width: int) -> str:
    """A bool register as the first operand of `?:` between registers of a dtype."""
    if width == 1:
        return f"({condition})"
    size = REGISTERS[chosen.name].size
    return f"({condition} != 0)" if size == 4 else f"(convert_{MASKS[size]}{width}({condition} != 0))"


# -- float16 as bits: PoCL 3.0 takes what `vload_half8` reads for aligned, and may fault where it is not ---------------

for _width in WIDTHS:
    _floats, _bits = vector("float", _width), vector("ushort", _width)
    _name = "half" if _width == 1 else f"half{_width}"
    library.function(
        f"gf_halves_{_floats}",
        f"{_floats} gf_halves_{_floats}({_bits} x) {{ return vload_{_name}(0, (const __private half *)&x); }}",
    )
    library.function(
        f"gf_half_bits_{_floats}",
        f"""{_bits} gf_half_bits_{_floats}({_floats} x) {{
    {_bits} bits;
    vstore_{_name}_rte(x, 0, (__private half *)&bits);
    return bits;
}}""",
    )
