"""Random graphs: every level gives what O0 gives, bit for bit at O1 and within the rounding rule at O2.

GRAPHFLOW_RANDOM_GRAPHS sets how many graphs, GRAPHFLOW_SEED the first seed.  A failure prints its seed and, shrunk, a
program that shows it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import graphflow_numpy.tiles
import numpy as np
import pytest

import graphflow as tf
from graphflow.compile import pipeline
from graphflow.program import Instruction, Program
from graphflow.testing import Recipe, Way, build, disagreement, judge, random_recipe, shrink
from graphflow.testing.differential import outcomes
from graphflow.testing.random_rows import ROWS
from graphflow.testing.recipes import Data, Face, Ref, Step, pruned
from graphflow.testing.rounding import within


@pytest.fixture(autouse=True)
def _small_values_are_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """These graphs are small, and a plan without values proves nothing."""
    monkeypatch.setattr(pipeline, "SMALLEST_TAKEN", 0)


GRAPHS = int(os.environ.get("GRAPHFLOW_RANDOM_GRAPHS", "500"))
FIRST_SEED = int(os.environ.get("GRAPHFLOW_SEED", "0"))
PARTS = 10
ACCURATE = 5  # of so many graphs one is run at O2, too: judging it takes ten more runs, and compiling it some time


def seeds(part: int, share: int = 1) -> range:
    """The seeds of one of the parts into which the graphs are divided."""
    return range(FIRST_SEED + part, FIRST_SEED + max(GRAPHS // share, PARTS), PARTS)


def report(recipe: Recipe, problem: Callable[[Recipe], str | None]) -> str:
    """The seed, what is wrong, and the shrunk program."""
    small = shrink(recipe, tf, lambda r: problem(r) is not None, trials=400)
    return f"seed {recipe.seed}: {problem(recipe)}\nshrunk: {problem(small)}\n{small}"


@pytest.mark.parametrize("part", range(PARTS))
def test_o1_gives_the_bits_of_o0(part: int) -> None:
    """Values, variables after each run, errors; plans cold and warm; cut and whole."""
    ways = [Way()]
    for seed in seeds(part):
        recipe = random_recipe(seed, tf)
        if disagreement(recipe, tf, ways) is not None:
            pytest.fail(report(recipe, lambda r: disagreement(r, tf, ways)))


@pytest.mark.parametrize("fast", ["0", "wait"])
@pytest.mark.parametrize("part", range(PARTS))
def test_o2_stays_within_the_rounding_rule(part: int, fast: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On NumPy alone, and with native code where it can be made."""
    monkeypatch.setenv("GRAPHFLOW_FAST", fast)
    decided = undecided = 0
    for seed in seeds(part, ACCURATE if fast == "0" else 5 * ACCURATE):
        recipe = random_recipe(seed, tf)
        found = judge(recipe, build(recipe, tf), Way(level=2))
        decided, undecided = decided + found.decided, undecided + found.undecided
        if found.problem is not None:
            pytest.fail(report(recipe, lambda r: judge(r, build(r, tf), Way(level=2)).problem))
    assert undecided <= 0.2 * decided, "the rule lets too much pass unjudged"


@pytest.mark.parametrize("part", range(PARTS // 2))
def test_tiles_change_no_bit(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups in tiles of a few elements: what large arrays do, in many graphs."""
    for name, value in {"WORTH": 0, "SMALLEST": 4, "LARGEST": 8, "CACHE": 64, "SHARED": 4}.items():
        monkeypatch.setattr(graphflow_numpy.tiles, name, value)
    ways = [Way()]
    for seed in seeds(part, 2):
        recipe = random_recipe(seed, tf, large=False)
        if disagreement(recipe, tf, ways) is not None:
            pytest.fail(report(recipe, lambda r: disagreement(r, tf, ways)))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_change_no_bit(workers: int) -> None:
    ways = [Way(workers=workers)]
    for seed in range(FIRST_SEED, FIRST_SEED + max(GRAPHS // 10, 5)):
        recipe = random_recipe(seed, tf)
        if disagreement(recipe, tf, ways) is not None:
            pytest.fail(report(recipe, lambda r: disagreement(r, tf, ways)))


# -- the generator ---------------------------------------------------------------------------------------------------


def test_a_seed_always_means_the_same_graph() -> None:
    for seed in range(20):
        first, second = random_recipe(seed, tf), random_recipe(seed, tf)
        assert first == second and hash(first) == hash(second) and str(first) == str(second)
    assert len({str(random_recipe(seed, tf)) for seed in range(20)}) == 20


def test_a_printed_recipe_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is the program: it fetches the same bits."""
    for seed in (*range(12), 448):
        recipe = random_recipe(seed, tf, large=False)
        scope: dict[str, object] = {}
        tf.reset_default_graph()
        try:
            exec(compile(str(recipe), f"seed {seed}", "exec"), scope)
        except tf.errors.OpError:
            continue
        text = capsys.readouterr().out
        wanted = outcomes(recipe, build(recipe, tf), Way(level=0), recipe.runs)
        assert [o.error for o in wanted] == [None] * recipe.runs
        for outcome in wanted:
            assert f"0 {list(outcome.values)}" in text


def test_graphs_are_varied() -> None:
    """All rows are taken, all kinds of trouble occur, and few graphs fail on purpose."""
    calls: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for seed in range(200):
        recipe = random_recipe(seed, tf)
        calls.update({step.call for step in recipe.steps})
        built = build(recipe, tf)
        found = outcomes(recipe, built, Way(level=0), 1)[0]
        arrays = [np.asarray(v) for v in found.values if v is not None]
        kinds["fails"] += found.error is not None
        kinds["variables"] += bool(built.variables)
        kinds["control edges"] += any(step.after for step in recipe.steps)
        kinds["cut"] += recipe.cut is not None
        kinds["large"] += any(a.size > 60_000 for a in arrays)
        kinds["zero size"] += any(a.size == 0 for a in arrays)
        floats = [a for a in arrays if a.dtype.kind == "f"]
        kinds["nan"] += any(np.isnan(a).any() for a in floats)
        kinds["infinite"] += any(np.isinf(a).any() for a in floats)
        kinds["negative zero"] += any((np.signbit(a) & (a == 0)).any() for a in floats)
        for dtype in ("float16", "float32", "float64", "int32", "int64", "bool"):
            kinds[dtype] += any(a.dtype == dtype for a in arrays)
    assert len(calls) > 100, calls
    assert {"gradients", "cond", "assign_add", "nn.conv2d", "matmul", "random_normal"} <= set(calls)
    assert min(kinds.values()) >= 2 and kinds["fails"] < 30, kinds
    assert len({row.draw.__name__ for row in ROWS}) == len(ROWS)


def test_a_recipe_is_pruned_to_what_it_fetches() -> None:
    recipe = Recipe(
        0,
        (
            Step("constant", (1.0,)),
            Step("constant", (2.0,)),
            Step("tanh", (Ref(1),)),
            Step("add", (Ref(2), Ref(1)), after=(Ref(0),)),
        ),
        (Ref(2),),
    )
    small = pruned(recipe)
    assert [step.call for step in small.steps] == ["constant", "tanh"]
    assert small.steps[1].args == (Ref(0),) and small.fetches == (Ref(1),)
    assert len(pruned(Recipe(0, recipe.steps, (Ref(3),))).steps) == 4, "a control edge is a need"


# -- what the tests can find -----------------------------------------------------------------------------------------


def _without_tanh(program: Program) -> Program:
    """A planted fault: a compiler that takes tanh for the identity wherever it reads a sum."""
    producers = program.producers()
    alias = {
        ins.outputs[0]: ins.inputs[0]
        for ins in program.instructions
        if ins.type == "Tanh" and ins.inputs[0] in producers and producers[ins.inputs[0]].type == "Add"
    }
    changed = tuple(ins._replace(inputs=tuple(alias.get(v, v) for v in ins.inputs)) for ins in program.instructions)
    return Program(
        changed, program.values, program.constants, program.feeds,
        tuple(alias.get(v, v) for v in program.fetches), program.record, program.handles,
    )  # fmt: skip


def test_a_planted_fault_is_found_and_shrunk() -> None:
    ways = [Way(level=0, rewrite=_without_tanh)]
    recipes = (random_recipe(seed, tf, large=False) for seed in range(FIRST_SEED, FIRST_SEED + 500))
    failing = next((r for r in recipes if disagreement(r, tf, ways)), None)
    assert failing is not None, "no graph shows the fault"
    small = shrink(failing, tf, lambda r: disagreement(r, tf, ways) is not None)
    work = [step.call for step in small.steps if step.call not in ("placeholder", "constant", "Variable")]
    assert work[-1] in ("tanh", "gradients") and len(work) <= 2, str(small)


def test_the_rounding_rule_catches_what_is_off() -> None:
    wanted = np.array([1.0, np.nan, 3.0, 4.0], np.float32)
    near = wanted * np.float32(1 + 1e-6)
    assert within(wanted, near, [near])[0] is None
    assert within(wanted, wanted * np.float32(1.001), [near])[0] is not None
    assert within(wanted, np.array([1.0, 2.0, 3.0, 4.0], np.float32), [near])[0] is not None
    assert within(np.array([1, 2]), np.array([1, 3]), [np.array([1, 2])])[0] is not None
    assert within(np.array([1, 2]), np.array([1, 3]), [np.array([1, 3])]) == (None, 1, 1)


def test_a_function_that_is_too_far_off_is_found() -> None:
    """tanh 100 ulp off: most graphs that have one show it."""

    def off(program: Program) -> Program:
        factor, last = len(program.values), -1 - max((ins.key for ins in program.instructions), default=0)
        values, constants, instructions, renamed = [*program.values], {**program.constants}, [], {}
        for ins in program.instructions:
            instructions.append(ins._replace(inputs=tuple(renamed.get(v, v) for v in ins.inputs)))
            if ins.type == "Tanh":
                known = values[ins.outputs[0]]
                factor, last = len(values), last - 1
                constants[factor] = known.dtype.np.type(1 + 100 * np.finfo(known.dtype.np).eps)
                values += [known._replace(dims=(), hint=None), known]
                instructions.append(Instruction(last, "Mul", (ins.outputs[0], factor), (factor + 1,), {}, (), ins.op))
                renamed[ins.outputs[0]] = factor + 1
        fetches = tuple(renamed.get(v, v) for v in program.fetches)
        return replace(
            program, instructions=tuple(instructions), values=tuple(values), constants=constants, fetches=fetches
        )

    tried = found = 0
    for seed in range(FIRST_SEED, FIRST_SEED + 200):
        recipe = random_recipe(seed, tf, large=False)
        if "tanh" in [step.call for step in recipe.steps]:
            tried += 1
            found += judge(recipe, build(recipe, tf), Way(level=0, rewrite=off), 1).problem is not None
    assert tried > 15 and found > 0.5 * tried, (tried, found)


def test_the_rounding_rule_knows_cancellation() -> None:
    """(x + 1e4) - 1e4 may lose x's digits, x itself may not."""
    steps = (
        Step("placeholder", (Face("float32"), (3,))),
        Step("add", (Ref(0), 1e4)),
        Step("subtract", (Ref(1), 1e4)),
        Step("multiply", (Ref(0), 1.5)),
    )
    data = Data.of(np.array([0.1, 0.2, 0.3], np.float32))
    recipe = Recipe(0, steps, (Ref(2), Ref(3)), ((Ref(0), (data,)),))
    for place, accepted in ((0, True), (1, False)):

        def off(program: Program, place: int = place) -> Program:
            new = len(program.values)
            fetch = program.fetches[place]
            values = (*program.values, program.values[fetch], program.values[fetch]._replace(dims=(3,)))
            (last,) = [ins for ins in program.instructions if fetch in ins.outputs]
            more = last._replace(key=-1, type="Add", inputs=(fetch, new), outputs=(new + 1,), attrs={})
            fetches = tuple(new + 1 if i == place else v for i, v in enumerate(program.fetches))
            constants = {**program.constants, new: np.full(3, 1e-4, np.float32)}
            return Program((*program.instructions, more), values, constants, program.feeds, fetches)

        found = judge(recipe, build(recipe, tf), Way(level=0, rewrite=lambda p: off(p) if len(p.fetches) == 2 else p))
        assert (found.problem is None) is accepted, found
