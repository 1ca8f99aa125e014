"""`Generator`: random numbers apart from those of `manual_seed`, with a place in their stream of their own.

Policy: a generator of a seed gives what `manual_seed` of that seed gives, draw for draw, and disturbs no other
stream, in this thread or another: it draws on an eager graph of its own.

State: each generator its graph, in which its seed and its place in the stream are.
"""

from __future__ import annotations

import itertools
import operator
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.eager.engine import EAGER, EagerGraph
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import DTypeError, InvalidArgumentError, shown
from graphflow.ops import array, random

Orders = np.ndarray[Any, Any]
_WORDS = 4  # of a state: whether there is a seed, the seed, how many draws were made, and in how many runs


def start(graph: EagerGraph, seed: int) -> None:
    """The stream of that seed, from its beginning."""
    try:
        graph.seed = operator.index(seed)
    except TypeError:
        raise DTypeError("a seed is an integer", got=shown(seed), hint="torch.manual_seed(0)") from None
    graph.store["random_ops"] = 0
    graph.session.runs = itertools.count()


def state_of(graph: EagerGraph) -> EagerTensor:
    """Where a stream stands, as a tensor."""
    run = next(graph.session.runs)
    graph.session.runs = itertools.count(run)
    seed = 0 if graph.seed is None else graph.seed
    words = [graph.seed is not None, seed, graph.store.get("random_ops", 0), run]
    return EagerTensor(np.array(words, np.int64), dtypes.int64)


def restore(graph: EagerGraph, state: Any) -> None:
    """A stream goes on where it stood."""
    if not isinstance(state, EagerTensor) or state.dims != (_WORDS,) or state.dtype is not dtypes.int64:
        raise InvalidArgumentError("not a state of random numbers", got=shown(state), hint="torch.get_rng_state()")
    seeded, seed, drawn, run = state._array().tolist()
    graph.seed = seed if seeded else None
    graph.store["random_ops"] = drawn
    graph.session.runs = itertools.count(run)


class Generator:
    """A stream of random numbers with a seed of its own."""

    def __init__(self, device: Any = "cpu") -> None:
        self.device = device
        self.graph = EagerGraph()
        self.manual_seed(0)

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream of that seed; returns the generator."""
        start(self.graph, seed)
        return self

    def initial_seed(self) -> int:
        """The seed."""
        return self.graph.seed or 0

    def seed(self) -> int:
        """Begin the stream of a seed that nobody knows yet; returns it."""
        return self.manual_seed(secrets.randbits(53)).initial_seed()

    def get_state(self) -> EagerTensor:
        """Where the stream stands, as a tensor."""
        return state_of(self.graph)

    def set_state(self, new_state: Any) -> Generator:
        """Go on where the stream stood; returns the generator."""
        restore(self.graph, new_state)
        return self

    def permutation(self, n: int) -> Orders:
        """0 ... n - 1 in random order."""
        return drawn(lambda: random.random_shuffle(array.range_(0, n)), self)


def home_of_draws(generator: Any) -> EagerGraph:
    """The eager graph on which a generator draws; without one the graph of `manual_seed`."""
    if generator is None:
        return EAGER
    if not isinstance(generator, Generator):
        raise InvalidArgumentError("generator is a torch.Generator", got=shown(generator), hint="torch.Generator()")
    return generator.graph


def drawn(draw: Callable[[], Any], generator: Any) -> np.ndarray[Any, Any]:
    """What is drawn, as an array."""
    with home_of_draws(generator).as_default():
        return np.asarray(draw().value)


def random_order(n: int, generator: Any = None) -> Orders:
    """0 ... n - 1 in random order: of a generator, of a seed, or of the stream that `manual_seed` starts."""
    if isinstance(generator, int):
        generator = Generator().manual_seed(generator)
    if generator is not None and hasattr(generator, "permutation") and not isinstance(generator, Generator):
        return np.asarray(generator.permutation(n))  # one of NumPy's
    return drawn(lambda: random.random_shuffle(array.range_(0, n)), generator)
