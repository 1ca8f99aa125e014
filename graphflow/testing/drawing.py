"""What a random graph is drawn with: a pool of values of known dtype and shape, and sources of new ones.

Policy: a step is added and at once built into a scratch graph, which says the dtypes and shapes of its results: rows of
the table (`random_rows`) ask the pool for values that fit and never guess.  A source has few sizes to choose from, so
that shapes meet; an axis may have size 1 (broadcasting) or 0.

State: a `Drawing` belongs to one graph; its random numbers are a function of the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.testing import recipes
from graphflow.testing.recipes import Data, Face, Ref, Step

FLOATS = ("float32", "float64", "float16")
INTS = ("int32", "int64")
KINDS = {"f": FLOATS, "i": INTS, "b": ("bool",), "w": ("float32", "float64")}
SMALL, LARGE = 2048, 400_000  # elements of a value, at most
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0)
EXTREME_INTS = (0, 1, -1, 2, 7)


class Value(NamedTuple):
    """One tensor of the graph."""

    ref: Ref
    dtype: str
    dims: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many elements."""
        return int(np.prod(self.dims, dtype=np.int64))


class Drawing:
    """A graph while it is drawn."""

    def __init__(self, seed: int, tf: Any, large: bool = False) -> None:
        self.rng = random.Random(seed)
        self.tf = tf
        self.graph = tf.Graph()
        self.results: list[Any] = []
        self.steps: list[Step] = []
        self.values: list[Value] = []
        self.variables: list[Value] = []
        self.waitable: list[Ref] = []  # what may stand in a control dependency
        self.writes: list[Ref] = []
        self.opaque: list[Ref] = []  # results of unknown shape: to be fetched, not to be computed with
        self.feeds: list[tuple[Ref, tuple[Data, ...]]] = []
        self.limit = LARGE if large else SMALL
        self.special = self.chance(0.35)
        self.faulty = self.chance(0.12)  # whether steps may refuse their values
        self.dtypes = self.some(("float32", "float32", "float32", "float64", "float16"), 2)
        few = [self.rng.randint(2, 5) for _ in range(3)]
        self.sizes: list[int] = [self.rng.choice((300, 400, 512)), *few[:1]] if large else few

    # -- chance ------------------------------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.rng.random() < probability

    def choose(self, options: Sequence[Any]) -> Any:
        """One of them."""
        return options[self.rng.randrange(len(options))]

    def some(self, options: Sequence[Any], most: int) -> tuple[Any, ...]:
        """Between one and `most` different places of them, in their order."""
        count = self.rng.randint(1, min(most, len(options)))
        return tuple(options[i] for i in sorted(self.rng.sample(range(len(options)), count)))

    # -- adding ------------------------------------------------------------------------------------------------------

    def add(self, call: str, *args: Any, **kwargs: Any) -> list[Value]:
        """A step; the values among its results whose shapes are known."""
        after: tuple[Ref, ...] = ()
        if self.waitable and self.chance(0.08):
            after = (self.choose(self.waitable),)
        step = Step(call, tuple(map(_plain, args)), tuple((k, _plain(v)) for k, v in kwargs.items()), after)
        with self.graph.as_default():
            found = recipes.perform(step, self.results, self.tf)
        number = len(self.steps)
        self.steps.append(step)
        self.results.append(found)
        if not isinstance(found, (list, tuple)):
            return self._known(found, Ref(number))
        return [v for i, x in enumerate(found) if x is not None for v in self._known(x, Ref(number, i))]

    def object(self, call: str, *args: Any, **kwargs: Any) -> Ref:
        """A step that returns no tensor."""
        self.add(call, *args, **kwargs)
        return Ref(len(self.steps) - 1)

    def _known(self, found: Any, ref: Ref) -> list[Value]:
        """A result as a value of the pool, if it is one."""
        if not (hasattr(found, "dtype") and hasattr(found, "shape")):  # an operation, or IndexedSlices
            return []
        if not hasattr(found, "initializer"):
            self.waitable.append(ref)
        dims: Any = found.shape.as_list() if found.shape.ndims is not None else [None]
        if None in dims:
            self.opaque.append(ref)
            return []
        value = Value(ref, found.dtype.name, tuple(dims))
        if value.size <= self.limit and value.dtype in (*FLOATS, *INTS, "bool"):
            self.values.append(value)
        return [value]

    def wait_for_last(self) -> None:
        """Later steps may wait for the last one."""
        self.waitable += [Ref(len(self.steps) - 1)] * 3

    def take_back(self) -> None:
        """Forget the last step, whose results are in no pool."""
        self.steps.pop()
        self.results.pop()

    # -- the pool ----------------------------------------------------------------------------------------------------

    def pick(self, kinds: str = "f", fits: Callable[[Value], bool] | None = None, rank: int | None = None) -> Any:
        """A value of one of the kinds (f, i, b, w: float without float16), late ones more often; None if none fits."""
        dtypes = [name for kind in kinds for name in KINDS[kind]]
        found = [
            v
            for v in self.values
            if v.dtype in dtypes and (rank is None or len(v.dims) >= rank) and (fits is None or fits(v))
        ]
        if not found:
            return None
        return self.choose(found[-4:] if self.chance(0.5) else found)

    def want(self, kinds: str = "f", rank: int = 0) -> Value:
        """A value of one of the kinds and at least that rank, a new source if there is none."""
        found: Value | None = self.pick(kinds, rank=rank)
        return self.source(self.dtype(kinds), self.shape(rank)) if found is None else found

    def partner(self, x: Value, same: bool = False) -> Value:
        """A value that broadcasts with `x`, or has its very shape."""

        def fits(v: Value) -> bool:
            if v.dtype != x.dtype:
                return False
            return v.dims == x.dims if same else broadcast(v.dims, x.dims, self.limit)

        found: Value | None = self.pick("fib", fits) if self.chance(0.75) else None
        if found is not None:
            return found
        dims = x.dims
        if not same and self.chance(0.5):
            dims = tuple(1 if self.chance(0.3) else d for d in dims)[self.rng.randint(0, len(dims)) :]
        return self.source(x.dtype, dims)

    # -- sources -----------------------------------------------------------------------------------------------------

    def dtype(self, kinds: str) -> str:
        """A dtype, those of this graph more often."""
        names = [name for kind in kinds for name in KINDS[kind]]
        mine = [name for name in self.dtypes if name in names]
        found: str = self.choose(mine if mine and self.chance(0.9) else names)
        return found

    def shape(self, least: int = 0, most: int = 3) -> tuple[int, ...]:
        """A shape of the sizes of this graph."""
        rank = self.rng.randint(least, max(least, most))
        if self.limit == LARGE and least <= 2 <= most and self.chance(0.7):
            return self.choose(self.sizes[:1] * 3 + self.sizes[1:]), self.sizes[0]
        dims: tuple[int, ...] = ()
        for _ in range(rank):
            chance = self.rng.random()
            dims += (0 if chance < 0.03 else 1 if chance < 0.13 else self.choose(self.sizes),)
        if np.prod(dims) > self.limit:
            dims = tuple(min(d, 4) if i else d for i, d in enumerate(dims))
        return dims

    def source(self, dtype: str, dims: tuple[int, ...]) -> Value:
        """A placeholder, a constant or the value of a variable."""
        chance = self.rng.random()
        first = self.data(dtype, dims)
        if chance < 0.5:
            (found,) = self.add("placeholder", Face(dtype), tuple(dims))
            self.feeds.append((found.ref, (first, first, self.data(dtype, dims))))
        elif chance < 0.75:
            (found,) = self.add("constant", first)
        else:
            found = self.variable(first)
        return found

    def numbers(self, dtype: str, dims: tuple[int, ...], end: int) -> Value:
        """Integers from 0 to before `end`, which no one knows while the graph is built."""
        rng = np.random.default_rng(self.rng.getrandbits(64))
        (found,) = self.add("placeholder", Face(dtype), dims)
        self.feeds.append((found.ref, tuple(Data.of(rng.integers(0, end, dims, dtype)) for _ in range(2))))
        return found

    def variable(self, initial: Data) -> Value:
        """A variable, which may be used as a tensor."""
        (found,) = self.add("Variable", initial)
        self.variables.append(found)
        return found

    def data(self, dtype: str, dims: tuple[int, ...], low: int = -4, high: int = 5) -> Data:
        """Random numbers, with special ones among them in some graphs."""
        rng = np.random.default_rng(self.rng.getrandbits(64))
        if dtype == "bool":
            return Data.of(rng.random(dims) < 0.5)
        if dtype in INTS:
            array = rng.integers(low, high, dims, dtype)
            if self.special and self.chance(0.3):
                edges = [*EXTREME_INTS, np.iinfo(dtype).min, np.iinfo(dtype).max]
                array = np.where(rng.random(dims) < 0.3, rng.choice(np.array(edges, dtype), dims), array)
            return Data.of(array.astype(dtype))
        array = rng.normal(0.0, self.choose((0.5, 1.0, 3.0)), dims)
        if self.chance(0.2):
            array = np.abs(array)
        if self.chance(0.15):
            array = np.rint(array)  # ties in comparisons, zeros
        if self.special and self.chance(0.5):
            info = np.finfo(dtype)
            small = info.smallest_subnormal
            special = np.array([*SPECIAL, info.max, info.tiny, small, -small, info.eps], dtype)
            array = np.where(rng.random(dims) < 0.3, rng.choice(special, dims), array)
        with np.errstate(over="ignore"):
            return Data.of(array.astype(dtype))

    # -- structure -------------------------------------------------------------------------------------------------

    def ancestors(self, x: Value) -> set[int]:
        """The steps that a value depends on."""
        found: set[int] = set()
        stack = [x.ref.step]
        while stack:
            number = stack.pop()
            if number not in found:
                found.add(number)
                stack.extend(ref.step for ref in recipes.refs_in((self.steps[number].args, self.steps[number].kwargs)))
        return found

    def depth(self, x: Value) -> int:
        """How many steps a value depends on, beside its own."""
        return len(self.ancestors(x)) - 1

    # -- the end -----------------------------------------------------------------------------------------------------

    def sinks(self) -> list[Ref]:
        """What no step reads."""
        read = {ref for step in self.steps for ref in recipes.refs_in(step)}
        return [v.ref for v in self.values if v.ref not in read] + [r for r in self.opaque if r not in read]


def broadcast(a: tuple[int, ...], b: tuple[int, ...], limit: int) -> bool:
    """Whether two shapes broadcast to no more elements than that."""
    try:
        return int(np.prod(np.broadcast_shapes(a, b), dtype=np.int64)) <= limit
    except ValueError:
        return False


def _plain(argument: Any) -> Any:
    """A value's reference in its place."""
    if isinstance(argument, Value):
        return argument.ref
    if type(argument) in (tuple, list):
        return tuple(map(_plain, argument))
    return argument
