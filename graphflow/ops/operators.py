"""Which op each of Python's operators means.

State: none; fills the table of `graphflow.operators` once, on import.
"""

from __future__ import annotations

from graphflow.operators import bind_operators
from graphflow.ops import arithmetic, compare, debug, linalg, math, slicing

bind_operators(
    {
        "add": lambda x, y: arithmetic.add(x, y, name="add"),
        "sub": lambda x, y: arithmetic.subtract(x, y, name="sub"),
        "mul": lambda x, y: arithmetic.multiply(x, y, name="mul"),
        "truediv": lambda x, y: arithmetic.truediv(x, y, name="truediv"),
        "floordiv": lambda x, y: arithmetic.floordiv(x, y, name="floordiv"),
        "mod": lambda x, y: arithmetic.floormod(x, y, name="mod"),
        "pow": lambda x, y: math.pow(x, y, name="pow"),
        "matmul": lambda x, y: linalg.matmul(x, y, name="matmul"),
        "and": lambda x, y: compare.logical_and(x, y, name="and"),
        "or": lambda x, y: compare.logical_or(x, y, name="or"),
        "xor": lambda x, y: compare.logical_xor(x, y, name="xor"),
        "lt": compare.less,
        "le": compare.less_equal,
        "gt": compare.greater,
        "ge": compare.greater_equal,
        "neg": arithmetic.negative,
        "abs": arithmetic.abs,
        "invert": compare.logical_not,
        "getitem": slicing.getitem,
        "on_value": debug.Callback,
    }
)
