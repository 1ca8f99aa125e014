"""How many floating-point operations an op takes, for those where the number of elements does not tell.

Policy: functions (specs of the inputs, specs of the outputs, attributes) -> operations, for the column `flops` of an
op's record; called only where all shapes are known.  Estimates, for the scheduler: a factor of two does no harm.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphflow.spec import TensorSpec, numel

Specs = Sequence[TensorSpec]
Attrs = Mapping[str, Any]


def product(inputs: Specs, outputs: Specs, attrs: Attrs) -> float:
    """A matrix product: a multiplication and an addition for each element and each step of the sum."""
    inner: Any = (inputs[0].dims or (1, 1))[-2 if attrs["transpose_a"] else -1]
    places: Any = outputs[0].dims
    return 2.0 * float(inner) * numel(places)


def contraction(inputs: Specs, outputs: Specs, attrs: Attrs) -> float:
    """An einsum: one multiplication and one addition for each combination of the letters."""
    sizes: dict[str, int] = {}
    for letters, known in zip(attrs["equation"].split("->")[0].split(","), inputs, strict=True):
        sizes.update(zip(letters, known.dims, strict=True))  # type: ignore[arg-type]
    return 2.0 * numel(list(sizes.values()))


def convolution(data: int, filter: int, channels: int = 1) -> Callable[[Specs, Specs, Attrs], float]:
    """A convolution or a gradient of one.

    `data` is the number of the input that has the places of the convolution's result, `filter` that of its filter, each
    -1 where it is the output; every place takes all of the filter but for its last `channels` axes.
    """

    def flops(inputs: Specs, outputs: Specs, attrs: Attrs) -> float:
        places: Any = (inputs[data] if data >= 0 else outputs[0]).dims
        weights: Any = (inputs[filter] if filter >= 0 else outputs[0]).dims
        return 2.0 * numel(places) * numel(weights[: len(weights) - channels])

    return flops


def factorisation(times: float) -> Callable[[Specs, Specs, Attrs], float]:
    """So many times n³, for each matrix; LAPACK is slower than a product, so `times` is more than the books say."""

    def flops(inputs: Specs, outputs: Specs, attrs: Attrs) -> float:
        dims: Any = (inputs or outputs)[0].dims
        return times * numel(dims) * dims[-1] if dims else 1.0

    return flops
