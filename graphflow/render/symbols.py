"""Formulas for ops: what one computes from its inputs, and what its derivative multiplies.

Policy: two tables by op type; an op without a row is written as a function call, its derivative as a quotient of
differentials, which is always right.  A formula names its inputs and never holds another formula, so its length is
bounded.

State: none.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

from graphflow.render.labels import local, plain
from graphflow.tensor import Operation, Tensor

MAX_SYMBOL = 14
MAX_END = 24  # characters, with the scopes that tell it from others
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
    """Short and different names for tensors: those of their ops where people chose them, else t1, t2, ...

    Where several of the known names end alike, as layer0/w and layer1/w do, each is called by as much of its end as
    tells it from the others.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.names: dict[Tensor, str] = {}
        self.taken: set[str] = set()
        self.unnamed = 0
        self.ends = Counter(end for name in dict.fromkeys(known) for end in _ends(name))

    def of(self, tensor: Tensor, owner: Operation | None = None, unnamed: str = "") -> str:
        """The symbol; `owner` is the op whose name counts, a variable for what reads it; `unnamed` if it has none."""
        found = self.names.get(tensor)
        if found is None:
            op = owner or tensor.op
            name = plain(local(op.name), MAX_SYMBOL)
            generic = name.rstrip("_0123456789").lower() == op.type.lower()
            found = self.names[tensor] = (unnamed or self._number()) if generic else self._end_of(op.name)
            self.taken.add(found)
        return found

    def _number(self) -> str:
        while True:
            self.unnamed += 1
            if f"t{self.unnamed}" not in self.taken:
                return f"t{self.unnamed}"

    def _end_of(self, name: str) -> str:
        """The shortest end of the name that is nobody else's; of a name that has none, a number makes it different."""
        ends = _ends(name)
        free = [end for end in ends if end not in self.taken]
        alone = [end for end in free if self.ends[end] <= 1]
        if alone or free:
            return alone[0] if alone else free[-1]
        return next(other for i in itertools.count(1) if (other := f"{ends[0]}_{i}") not in self.taken)


def _ends(name: str) -> list[str]:
    """The last part of a name, then with each scope around it that still fits into a formula."""
    scope, _, last = name.rpartition("/")
    ends = [plain(last, MAX_SYMBOL)]
    while scope:
        scope, _, part = scope.rpartition("/")
        longer = f"{part}/{ends[-1]}"
        if len(longer) > MAX_END or not longer.isprintable():
            break
        ends.append(longer)
    return ends


def formula(op: Operation, inputs: Sequence[str]) -> str:
    """What the op computes of inputs with these symbols."""
    template = VALUES.get(op.type)
    if template is None or "{1}" in template and len(inputs) < 2:
        shown = [*inputs[:3], *(["..."] if len(inputs) > 3 else [])]
        return f"{op.type}({', '.join(shown)})"
    return template.format(*[_turned(op, i, x) for i, x in enumerate(inputs)])


def slope(op: Operation, number: int, target: str, output: str, inputs: Sequence[str]) -> str:
    """What the op adds to the derivative of `target` for that input, by the chain rule."""
    upper, same = derivative(target, output), target == output
    inputs, output = [_grouped(x) for x in inputs], _grouped(output)
    factors = SLOPES.get(op.type, ())
    if number >= len(factors) or any(_is_turned(op, i) for i in range(2)):
        factor = f"d{output}/d{inputs[number]}"
    else:
        factor = factors[number].format(*inputs, y=output, g="{g}")
    if "{g}" in factor:
        return factor.replace("{g}", "1" if same else upper)
    if same:
        return factor or "1"
    return f"{upper} {DOT} {factor}" if factor else upper


def derivative(target: str, symbol: str) -> str:
    """How the derivative with respect to a symbol is written."""
    return f"d{_grouped(target)}/d{_grouped(symbol)}"


def _grouped(symbol: str) -> str:
    """The symbol, in brackets if a slash in it could be read as a quotient."""
    return f"({symbol})" if "/" in symbol else symbol


def _is_turned(op: Operation, number: int) -> bool:
    return bool(op.attrs.get(("transpose_a", "transpose_b")[number])) if number < 2 else False


def _turned(op: Operation, number: int, symbol: str) -> str:
    return f"{symbol}^T" if _is_turned(op, number) else symbol
