"""Differential runs: one recipe under several ways of compiling and executing it, compared bit for bit.

Policy: a `Way` says how (level, passes left out, their order, number of workers, a rewriting of each Program).  What a
way gives is an `Outcome` for each run: the fetched values and the variables afterwards, or the error's class and op.
Runs of one way share a session, so that plans are warm from the second run on and random ops count alike.  Results are
equal if dtype, shape and bits are; one NaN is as good as another, but NaNs must stand at the same places.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from graphflow.backend import Backend, Executable
from graphflow.compile.pipeline import Options
from graphflow.errors import Error
from graphflow.program import Program
from graphflow.runtime.config import ConfigProto
from graphflow.session import Session
from graphflow.testing.numeric import same_bits
from graphflow.testing.recipes import Built, Recipe, Ref, build

Rewrite = Callable[[Program], Program]


@dataclass(frozen=True)
class Way:
    """One way of running a graph."""

    level: int = 1
    disabled: tuple[str, ...] = ()
    order: tuple[str, ...] | None = None
    workers: int = 0  # 0: as the session sees fit
    rewrite: Rewrite | None = None  # applied to each Program before the backend gets it

    def __str__(self) -> str:
        parts = [f"O{self.level}"]
        parts += [f"without {', '.join(self.disabled)}"] if self.disabled else []
        parts += [f"in the order {', '.join(self.order)}"] if self.order else []
        parts += [f"{self.workers} workers"] if self.workers else []
        return " ".join([*parts, "rewritten"] if self.rewrite else parts)


class Outcome(NamedTuple):
    """What one run gave."""

    values: tuple[Any, ...] = ()
    variables: tuple[Any, ...] = ()
    error: tuple[str, str | None] | None = None  # class and op


REFERENCE = Way(level=0)


class RewritingBackend:
    """A backend that changes every Program, those of branches and loops too, before another one compiles it."""

    def __init__(self, backend: Backend, rewrite: Rewrite) -> None:
        self._backend = backend
        self._rewrite = rewrite

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def compile(self, program: Program, context: Any) -> Executable:
        """The executable of the changed Program."""
        return self._backend.compile(self._rewrite(program), context)


def session_of(graph: Any, way: Way) -> Session:
    """A session that works in this way."""
    config = ConfigProto(inter_op_parallelism_threads=way.workers) if way.workers else None
    session = Session(graph=graph, config=config)
    session.options = Options(way.level, way.disabled, way.order)
    if way.rewrite is not None:
        session._backend = cast(Backend, RewritingBackend(session._backend, way.rewrite))
    return session


def outcomes(recipe: Recipe, built: Built, way: Way, runs: int = 3, more: Sequence[Ref] = ()) -> list[Outcome]:
    """The runs in a session of their own, until one fails; `more` is fetched beside what the recipe fetches."""
    fetches = [*built.fetches, *(built.element(ref) for ref in more)]
    found: list[Outcome] = []
    with built.graph.as_default():
        session = session_of(built.graph, way)
        try:
            session.run(built.init)
            for number in range(runs):
                feed = {built.element(ref): data for ref, data in recipe.feed(number).items()}
                found.append(outcome(session, fetches, feed, built.variables))
                if found[-1].error:
                    break
        finally:
            session.close()
    return found


def outcome(session: Session, fetches: list[Any], feed: dict[Any, Any], variables: list[Any]) -> Outcome:
    """One run, and the variables after it."""
    try:
        values = session.run(fetches, feed)
    except Error as error:
        return Outcome(error=(type(error).__name__, error.op_name))
    return Outcome(tuple(values), tuple(session.run(variables)))


def difference(wanted: Sequence[Outcome], got: Sequence[Outcome]) -> str | None:
    """Where two lists of outcomes differ first, in words; None if they do not."""
    for run, (a, b) in enumerate(zip(wanted, got, strict=False)):
        if a.error != b.error:
            return f"run {run}: the error is {b.error}, not {a.error}"
        for kind, left, right in (("fetch", a.values, b.values), ("variable", a.variables, b.variables)):
            for place, (x, y) in enumerate(zip(left, right, strict=True)):
                if x is not None and not same_bits(x, y):
                    return f"run {run}, {kind} {place}: {told_apart(x, y)}"
    return None if len(wanted) == len(got) else f"{len(got)} runs, not {len(wanted)}"


def told_apart(wanted: Any, got: Any) -> str:
    """Two different arrays in a few words."""
    x, y = np.asarray(wanted), np.asarray(got)
    if x.dtype != y.dtype or x.shape != y.shape:
        return f"got {y.dtype}{list(y.shape)}, not {x.dtype}{list(x.shape)}"
    places = [i for i in np.ndindex(x.shape) if not same_bits(x[i], y[i])]
    at = places[0]
    return f"{len(places)} of {x.size} elements differ; at {list(at)} got {y[at]!r}, not {x[at]!r}"


def broken_promise(built: Built, found: Sequence[Outcome]) -> str | None:
    """A fetched value that has not the dtype or the shape that the graph knew; None if all have."""
    for outcome in found:
        for tensor, value in zip(built.fetches, outcome.values, strict=False):
            if value is None or not hasattr(tensor, "dtype"):
                continue
            array = np.asarray(value)
            if array.dtype != tensor.dtype.as_numpy_dtype or not tensor.shape.is_compatible_with(array.shape):
                return f"{tensor.name} is {array.dtype}{list(array.shape)}, not {tensor.dtype.name}{tensor.shape}"
    return None


def disagreement(recipe: Recipe, tf: Any, ways: Sequence[Way], runs: int = 3) -> str | None:
    """How the ways differ from the reference, O0; None if all give the same bits, states and errors."""
    built = build(recipe, tf)
    wanted = outcomes(recipe, built, REFERENCE, runs)
    broken = broken_promise(built, wanted)
    if broken is not None:
        return f"{REFERENCE}: {broken}"
    for way in ways:
        found = difference(wanted, outcomes(recipe, built, way, runs))
        if found is not None:
            return f"{way}: {found}"
    return cut_disagreement(recipe, built, ways)


def cut_disagreement(recipe: Recipe, built: Built, ways: Sequence[Way]) -> str | None:
    """How results change if the recipe's cut is fed with the value that it has."""
    if recipe.cut is None:
        return None
    target = built.element(recipe.cut)
    whole = outcomes(recipe, built, REFERENCE, 1, more=[recipe.cut])[0]
    if whole.error:
        return None
    feeds = {built.element(ref): data for ref, data in recipe.feed(0).items()}
    feeds[target] = whole.values[-1]
    first: Outcome | None = None
    for way in (REFERENCE, *ways):
        with built.graph.as_default():
            session = session_of(built.graph, way)
            session.run(built.init)
            found = outcome(session, built.fetches, feeds, built.variables)
            session.close()
        if first is None:
            first = found
            if built.variables:  # writes that the cut part alone needed were not done
                continue
            whole = whole._replace(values=whole.values[:-1])
        problem = difference([whole if not built.variables else first], [found])
        if problem is not None:
            return f"{way}, fed with its own value: {problem}"
    return None
