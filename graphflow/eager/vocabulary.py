"""The tables of names beyond `pointwise`, `reductions` and `shaping`, as one: what tensors and traces attach.

Policy: a table says whether a name is a function, a method, or both, and whether it has a form in place.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphflow.eager import counting, diagonals, elements, products, rearranging, scattering, statistics

_NEIGHBOURS = (elements, rearranging, diagonals, scattering, counting, statistics, products)

METHODS: dict[str, Callable[..., Any]] = {
    **{name: function for module in _NEIGHBOURS for name, function in module.METHODS.items()},
    **rearranging.ONLY_METHODS, **elements.ONLY_METHODS,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: function for module in _NEIGHBOURS for name, function in module.FUNCTIONS.items()
}
IN_PLACE: dict[str, Callable[..., Any]] = {
    **elements.IN_PLACE, **scattering.IN_PLACE, **diagonals.IN_PLACE, **statistics.IN_PLACE,
}  # fmt: skip
