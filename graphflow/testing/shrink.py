"""Shrinking: the smallest recipe, as far as simple cuts go, that still fails in the same way.

    small = shrink(recipe, tf, lambda r: disagreement(r, tf, [Way()]) is not None)
    print(small)

Policy: candidates come from a table of cuts (fewer fetches, steps replaced by their value or by one of their inputs,
no control edges, plainer numbers), each is pruned, and kept if it still fails.  A candidate that cannot be built does
not fail.  Deterministic; the number of trials is bounded.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from graphflow.errors import Error
from graphflow.testing.differential import REFERENCE, outcomes
from graphflow.testing.recipes import Data, Face, Recipe, Ref, Step, build, pruned, refs_in, with_refs

Fails = Callable[[Recipe], bool]
SOURCES = ("placeholder", "constant", "Variable")


def shrink(recipe: Recipe, tf: Any, fails: Fails, trials: int = 2000) -> Recipe:
    """A smaller recipe that fails as this one does."""
    left = trials
    progress = True
    while progress and left > 0:
        progress = False
        for cut in CUTS:
            again = True
            while again and left > 0:
                again = False
                for candidate in cut(recipe, tf):
                    left -= 1
                    if size(candidate) < size(recipe) and _fails(candidate, fails):
                        recipe, again, progress = candidate, True, True
                        break
                    if left <= 0:
                        break
    return recipe


def size(recipe: Recipe) -> tuple[int, int, int, int, int, int]:
    """What gets smaller with every cut that is kept."""
    data = [d for step in recipe.steps for d in step.args if isinstance(d, Data)]
    data += [d for _, feeds in recipe.feeds for d in feeds]
    items = [item for d in data for item in d.items]
    work = sum(step.call not in SOURCES for step in recipe.steps)
    rank = sum(SOURCES.index(step.call) for step in recipe.steps if step.call in SOURCES)
    edges = sum(len(step.after) for step in recipe.steps) + len(recipe.fetches) + (recipe.cut is not None)
    plain = sum(item not in (0, 1) for item in items)
    return work, len(recipe.steps), edges, rank, plain, len(data)


def _fails(recipe: Recipe, fails: Fails) -> bool:
    try:
        return fails(recipe)
    except (Error, TypeError, ValueError, LookupError, AttributeError):
        return False


def _fewer_fetches(recipe: Recipe, tf: Any) -> Iterator[Recipe]:
    """One fetch alone; without one."""
    if len(recipe.fetches) > 1:
        for ref in recipe.fetches:
            yield pruned(replace(recipe, fetches=(ref,)))
        for i in range(len(recipe.fetches)):
            yield pruned(replace(recipe, fetches=recipe.fetches[:i] + recipe.fetches[i + 1 :]))


def _earlier_fetches(recipe: Recipe, tf: Any) -> Iterator[Recipe]:
    """What a fetch was computed from, in its place."""
    for i, fetch in enumerate(recipe.fetches):
        for ref in refs_in(recipe.steps[fetch.step]):
            yield pruned(replace(recipe, fetches=(*recipe.fetches[:i], ref, *recipe.fetches[i + 1 :])))


def _no_edges(recipe: Recipe, tf: Any) -> Iterator[Recipe]:
    """Without control dependencies; without the cut."""
    if recipe.cut is not None:
        yield replace(recipe, cut=None)
    for number, step in enumerate(recipe.steps):
        if step.after:
            yield pruned(_with_step(recipe, number, step._replace(after=())))


def _skipped_steps(recipe: Recipe, tf: Any) -> Iterator[Recipe]:
    """Readers of a step read one of its inputs instead."""
    for number in reversed(range(len(recipe.steps))):
        step = recipe.steps[number]
        if step.call not in SOURCES:
            for other in dict.fromkeys(refs_in((step.args, step.kwargs))):
                yield _redirected(recipe, number, other)


def _redirected(recipe: Recipe, number: int, other: Ref) -> Recipe:
    def change(ref: Ref) -> Ref:
        return other if ref.step == number else ref

    fetches = tuple(change(ref) for ref in recipe.fetches)
    cut = None if recipe.cut is None or recipe.cut.step == number else recipe.cut
    steps = tuple(with_refs(step, change) if i > number else step for i, step in enumerate(recipe.steps))
    return pruned(replace(recipe, steps=steps, fetches=fetches, cut=cut))


def _values_for_steps(recipe: Recipe, tf: Any) -> Iterator[Recipe]:
    """A placeholder or a constant that has the value of a step."""
    singles = [
        Ref(n)
        for n, step in enumerate(recipe.steps)
        if step.call not in SOURCES and all(r.output is None for r in recipe.refs() if r.step == n)
    ]
    built = build(recipe, tf)
    usable = [ref for ref in singles if hasattr(built.element(ref), "dtype")]
    found = outcomes(replace(recipe, fetches=()), built, REFERENCE, recipe.runs, more=usable)
    if any(o.error for o in found):
        return
    for place, ref in reversed(list(enumerate(usable))):
        values = tuple(Data.of(o.values[len(recipe.fetches) + place]) for o in found)
        fed = Step("placeholder", (Face(values[0].dtype), values[0].shape))
        feeds = (*recipe.feeds, (ref, values))
        yield pruned(replace(_with_step(recipe, ref.step, fed), feeds=feeds))
        yield pruned(_with_step(recipe, ref.step, Step("constant", (values[0],))))


def _plain_sources(recipe: Recipe, tf: Any) -> Iterator[Recipe]:
    """Placeholders become constants and variables become placeholders, all arrays become plainer."""
    for number, step in enumerate(recipe.steps):
        if step.call == "Variable" and isinstance(step.args[0], Data):
            data = step.args[0]
            source = Step("placeholder", (Face(data.dtype), data.shape), after=step.after)
            yield replace(_with_step(recipe, number, source), feeds=(*recipe.feeds, (Ref(number), (data,))))
        for i, argument in enumerate(step.args):
            for plain in _plainer(argument):
                args = (*step.args[:i], plain, *step.args[i + 1 :])
                yield _with_step(recipe, number, step._replace(args=args))
    for i, (ref, fed) in enumerate(recipe.feeds):
        for plain in _plainer(fed[0]):
            yield replace(recipe, feeds=(*recipe.feeds[:i], (ref, (plain,)), *recipe.feeds[i + 1 :]))
        if len(fed) > 1:
            yield replace(recipe, feeds=(*recipe.feeds[:i], (ref, fed[:1]), *recipe.feeds[i + 1 :]))


def _plainer(data: Any) -> Iterator[Data]:
    if isinstance(data, Data):
        for item in (0, 1):
            yield replace(data, items=tuple(np.full(len(data.items), item, data.dtype).tolist()))
        for i, old in enumerate(data.items[:12]):
            if old not in (0, 1):
                item = np.asarray(1, data.dtype).item()
                yield replace(data, items=(*data.items[:i], item, *data.items[i + 1 :]))


def _with_step(recipe: Recipe, number: int, step: Step) -> Recipe:
    return replace(recipe, steps=(*recipe.steps[:number], step, *recipe.steps[number + 1 :]))


CUTS: tuple[Callable[[Recipe, Any], Iterator[Recipe]], ...] = (
    _fewer_fetches, _earlier_fetches, _no_edges, _skipped_steps, _values_for_steps, _plain_sources,
)  # fmt: skip
