"""Which op each of Python's operators means.

State: none; fills the tables of `graphflow.operators` once, on import.
"""

from __future__ import annotations

from graphflow.operators import bind_operators
from graphflow.ops import math, slicing

bind_operators({
    "add": lambda x, y: math.add(x, y, name="add"),
    "sub": lambda x, y: math.subtract(x, y, name="sub"),
    "mul": lambda x, y: math.multiply(x, y, name="mul"),
    "neg": math.negative,
    "getitem": slicing.getitem,
})
