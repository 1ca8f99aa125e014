"""Random valid graphs: what differential tests of the compiler and of backends are fed with.

    recipe = random_recipe(7, tf)     # always the same graph for the same seed
    print(recipe)                     # a program that can be pasted and run
    built = build(recipe, tf)         # a new tf.Graph

Policy: a graph has 5 to 30 calls of the rows of `random_rows.ROWS` (one call may add several ops, gradients many) and
fetches what nothing else reads, some of what lies between, and its writes.  Seeds keep their meaning while `VERSION`
stays; a failure is best kept as a program.

State: none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from graphflow.errors import Error
from graphflow.testing.drawing import Drawing
from graphflow.testing.random_rows import ROWS
from graphflow.testing.recipes import Recipe, Ref, Step, build, pruned

VERSION = 1
LARGE_SHARE = 0.04  # of the graphs have arrays that leave the caches
LOOSE_SHARE = 0.25  # have placeholders of which not all sizes are known


def random_recipe(seed: int, tf: Any, fewest: int = 5, most: int = 30, large: bool | None = None) -> Recipe:
    """The graph of this seed, of `fewest` to `most` steps of the table before pruning."""
    drawing = Drawing(seed, tf, large=False)
    if drawing.chance(LARGE_SHARE) if large is None else large:
        drawing = Drawing(seed, tf, large=True)
    rows = [row for row in ROWS if row.large or drawing.limit < 100_000]
    weights = [row.weight for row in rows]
    count = drawing.rng.randint(fewest, most)
    while len(drawing.steps) < count:
        drawing.rng.choices(rows, weights)[0].draw(drawing)
    recipe = pruned(_finished(drawing, seed))
    return _loosened(recipe, drawing) if drawing.chance(LOOSE_SHARE) else recipe


def _finished(d: Drawing, seed: int) -> Recipe:
    """What to fetch, and where the graph may be cut."""
    sinks = d.sinks()
    wanted = [ref for ref in sinks if d.chance(0.8)] or sinks
    between = [v.ref for v in d.values if v.ref not in wanted]
    wanted += [d.choose(between) for _ in range(d.rng.randint(0, 2)) if between]
    wanted += [ref for ref in d.writes if d.chance(0.7)]
    fed = {ref for ref, _ in d.feeds}
    variables = {v.ref for v in d.variables}
    cuts = [v.ref for v in d.values if v.ref not in fed and v.ref not in variables]
    cut: Ref | None = d.choose(cuts) if cuts and d.chance(0.5) else None
    if d.chance(0.05):
        wanted.append(wanted[0])
    return Recipe(seed, tuple(d.steps), tuple(wanted), tuple(d.feeds), cut)


def _loosened(recipe: Recipe, d: Drawing) -> Recipe:
    """Sizes of some placeholders are not told to the graph, if it can be built so."""

    def loose(step: Step) -> Step:
        if step.call != "placeholder" or d.chance(0.4):
            return step
        dtype, dims = step.args
        return step._replace(args=(dtype, tuple(None if d.chance(0.5) else n for n in dims)))

    changed = replace(recipe, steps=tuple(loose(step) for step in recipe.steps))
    try:
        build(changed, d.tf)
    except Error:  # some ops ask for more
        return recipe
    return changed
