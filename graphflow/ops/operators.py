"""Which op each of Python's operators means.

State: none; fills the tables of `graphflow.operators` once, on import.
"""

from __future__ import annotations

from graphflow.operators import bind_operators
from graphflow.ops import compare, linalg, math, slicing

bind_operators({
    "add": lambda x, y: math.add(x, y, name="add"),
    "sub": lambda x, y: math.subtract(x, y, name="sub"),
    "mul": lambda x, y: math.multiply(x, y, name="mul"),
    "truediv": math.truediv,
    "floordiv": math.floordiv,
    "mod": lambda x, y: math.floormod(x, y, name="mod"),
    "pow": lambda x, y: math.pow(x, y, name="pow"),
    "matmul": lambda x, y: linalg.matmul(x, y, name="matmul"),
    "and": lambda x, y: compare.logical_and(x, y, name="and"),
    "or": lambda x, y: compare.logical_or(x, y, name="or"),
    "xor": lambda x, y: compare.logical_xor(x, y, name="xor"),
    "invert": compare.logical_not,
    "lt": compare.less,
    "le": compare.less_equal,
    "gt": compare.greater,
    "ge": compare.greater_equal,
    "neg": math.negative,
    "abs": math.abs,
    "getitem": slicing.getitem,
})
