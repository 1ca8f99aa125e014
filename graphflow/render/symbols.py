"""Formulas for ops: what one computes from its inputs, and what its derivative multiplies.

Policy: two tables by op type; an op without a row is written as a function call, its derivative as a quotient of
differentials, which is always right.  A formula names its inputs and never holds another formula, so its length is
bounded.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.render.labels import local, plain
from graphflow.tensor import Operation, Tensor

MAX_SYMBOL = 14
SQUARED, ROOT, DOT, SUM, SIGMA = (
    "\N{SUPERSCRIPT TWO}",
    "\N{SQUARE ROOT}",
    "\N{MIDDLE DOT}",
    "\N{N-ARY SUMMATION}",
    "sigmoid",
)

# What an op computes; {0}, {1}: its inputs.
VALUES = {
    "Add": "{0} + {1}",
    "BiasAdd": "{0} + {1}",
    "Sub": "{0} - {1}",
    "Mul": f"{{0}} {DOT} {{1}}",
    "RealDiv": "{0} / {1}",
    "Neg": "-{0}",
    "Square": f"{{0}}{SQUARED}",
    "Sqrt": f"{ROOT}{{0}}",
    "Pow": "{0} ^ {1}",
    "Exp": "exp {0}",
    "Log": "ln {0}",
    "Sin": "sin {0}",
    "Cos": "cos {0}",
    "Tanh": "tanh {0}",
    "Sigmoid": f"{SIGMA} {{0}}",
    "Relu": "max(0, {0})",
    "Maximum": "max({0}, {1})",
    "Minimum": "min({0}, {1})",
    "MatMul": "{0} {1}",
    "Sum": f"{SUM} {{0}}",
    "Mean": "mean {0}",
    "Softmax": "softmax {0}",
    "SquaredDifference": f"({{0}} - {{1}}){SQUARED}",
    "Identity": "{0}",
}

# By what the slope of the output is multiplied for each input; {y}: the output.  "" is 1; {g} is the slope itself,
# where it does not simply stand before; n: how many elements become one.
SLOPES = {
    "Add": ("", ""),
    "BiasAdd": ("", f"{SUM} {{g}}"),
    "Sub": ("", "-{g}"),
    "Mul": ("{1}", "{0}"),
    "RealDiv": ("1 / {1}", "-{y} / {1}"),
    "Neg": ("-{g}",),
    "Square": ("2{0}",),
    "Sqrt": ("1 / 2{y}",),
    "Exp": ("{y}",),
    "Log": ("1 / {0}",),
    "Sin": ("cos {0}",),
    "Cos": ("-sin {0}",),
    "Tanh": (f"(1 - {{y}}{SQUARED})",),
    "Sigmoid": ("{y}(1 - {y})",),
    "Relu": ("[{0} > 0]",),
    "MatMul": ("{g} {1}^T", "{0}^T {g}"),
    "Sum": ("",),
    "Mean": ("{g} / n",),
    "SquaredDifference": ("2({0} - {1})", "2({1} - {0})"),
    "Identity": ("",),
}


class Symbols:
    """Short and different names for tensors: those of their ops where people chose them, else t1, t2, ..."""

    def __init__(self) -> None:
        self.names: dict[Tensor, str] = {}
        self.taken: set[str] = set()
        self.unnamed = 0

    def of(self, tensor: Tensor, owner: Operation | None = None, unnamed: str = "") -> str:
        """The symbol; `owner` is the op whose name counts, a variable for what reads it; `unnamed` if it has none."""
        found = self.names.get(tensor)
        if found is None:
            op = owner or tensor.op
            name = plain(local(op.name), MAX_SYMBOL)
            generic = name.rstrip("_0123456789").lower() == op.type.lower()
            if generic and unnamed:
                name, generic = unnamed, False
            while generic or name in self.taken:
                self.unnamed += 1
                name, generic = f"t{self.unnamed}", False
            found = self.names[tensor] = name
            self.taken.add(name)
        return found


def formula(op: Operation, inputs: Sequence[str]) -> str:
    """What the op computes of inputs with these symbols."""
    template = VALUES.get(op.type)
    if template is None or "{1}" in template and len(inputs) < 2:
        shown = [*inputs[:3], *(["..."] if len(inputs) > 3 else [])]
        return f"{op.type}({', '.join(shown)})"
    return template.format(*[_turned(op, i, x) for i, x in enumerate(inputs)])


def slope(op: Operation, number: int, target: str, output: str, inputs: Sequence[str]) -> str:
    """What the op adds to the derivative of `target` for that input, by the chain rule."""
    upper = f"d{target}/d{output}"
    factors = SLOPES.get(op.type, ())
    if number >= len(factors) or op.type == "MatMul" and any(_is_turned(op, i) for i in range(2)):
        factor = f"d{output}/d{inputs[number]}"
    else:
        factor = factors[number].format(*inputs, y=output, g="{g}")
    if "{g}" in factor:
        return factor.replace("{g}", "1" if target == output else upper)
    if target == output:
        return factor or "1"
    return f"{upper} {DOT} {factor}" if factor else upper


def _is_turned(op: Operation, number: int) -> bool:
    return bool(op.attrs.get(("transpose_a", "transpose_b")[number])) if number < 2 else False


def _turned(op: Operation, number: int, symbol: str) -> str:
    return f"{symbol}^T" if _is_turned(op, number) else symbol
