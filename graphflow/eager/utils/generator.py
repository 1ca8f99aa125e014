"""`Generator`: random numbers apart from those of `manual_seed`, for shuffling and splitting.

Policy: a seed says everything; without one the order is drawn from the library's own stream.

State: each generator its own place in its stream.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphflow.eager.engine import EAGER
from graphflow.errors import DTypeError, InvalidArgumentError, shown
from graphflow.ops import array, random

Orders = np.ndarray[Any, Any]


class Generator:
    """A stream of random numbers with a seed of its own."""

    def __init__(self, device: Any = None) -> None:
        self.manual_seed(0)

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream of that seed; returns the generator."""
        try:
            self._seed = operator.index(seed)
        except TypeError:
            raise DTypeError("a seed is an integer", got=shown(seed)) from None
        self._numbers = np.random.Generator(np.random.Philox(abs(self._seed)))
        return self

    def initial_seed(self) -> int:
        """The seed."""
        return self._seed

    def permutation(self, n: int) -> Orders:
        """0 ... n - 1 in random order."""
        return self._numbers.permutation(n)


def random_order(n: int, generator: Any = None) -> Orders:
    """0 ... n - 1 in random order: of a generator, of a seed, or of the stream that `manual_seed` starts."""
    if generator is None:
        with EAGER.as_default():
            return np.asarray(random.random_shuffle(array.range_(0, n)).value)
    if isinstance(generator, int):
        generator = Generator().manual_seed(generator)
    if not hasattr(generator, "permutation"):
        raise InvalidArgumentError("generator is a Generator, or a seed", got=shown(generator))
    return np.asarray(generator.permutation(n))
