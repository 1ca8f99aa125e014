"""Keys: unsigned integers in the order of the elements that they stand for.

Policy: NaN is the largest, both zeros are equal, and a descending order turns the bits of the keys over; equal keys
keep their order, so that places decide.

State: none.
"""

from __future__ import annotations

from graphflow.dtypes import DType
from graphflow_opencl.axes import WORDS

INFINITY = {"float16": "0x7c00", "bfloat16": "0x7f80", "float32": "0x7f800000U", "float64": "0x7ff0000000000000UL"}


def sortable(dtype: DType) -> bool:
    """Whether a dtype has keys."""
    return dtype.name in INFINITY or dtype.kind in ("bool", "int", "uint")


def key_type(dtype: DType) -> str:
    """The C type of the keys."""
    return WORDS[int(dtype.size)]


def key_function(dtype: DType, descending: bool = False) -> str:
    """The function `KERNEL_key(x, i)`, to stand before the kernel; `x` is read as words."""
    kind = key_type(dtype)
    top = f"(({kind})1 << {8 * int(dtype.size) - 1})"
    if dtype.name in INFINITY:
        text = f"""const {kind} size = raw & ({kind})~{top};
    {kind} key = (raw & {top}) ? ({kind})~raw : ({kind})(raw | {top});
    if (!size) key = {top};
    if (size > {INFINITY[dtype.name]}) key = ({kind})~({kind})0;"""
    else:
        text = f"const {kind} key = {f'raw ^ {top}' if dtype.kind == 'int' else 'raw'};"
    return f"""{kind} KERNEL_key(__global const {kind} *x, long i) {{
    const {kind} raw = x[i];
    {text}
    return {f"({kind})~key" if descending else "key"};
}}
"""
