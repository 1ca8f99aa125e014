"""Recipes: graphs as plain values, which can be built, printed as a program, cut down and compared.

Policy: a `Recipe` is immutable and knows no tensor.  Its steps are calls of the public face (`tf` is a parameter:
any module with TensorFlow 1's names will do), whose arguments are literals, arrays (`Data`) and the results of
earlier steps (`Ref`).  `str(recipe)` is a program that can be pasted into a file and run.

State: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"


class Ref(NamedTuple):
    """What an earlier step returned, or one element of the list that it returned."""

    step: int
    output: int | None = None


class Local(NamedTuple):
    """Inside a `Body`: a parameter, or (numbered on from these) the result of one of its steps."""

    number: int


class Face(NamedTuple):
    """A name of the public face that is no call: `float32`."""

    path: str


class Cut(NamedTuple):
    """A slice."""

    start: int | None
    stop: int | None
    step: int | None


@dataclass(frozen=True)
class Data:
    """An array, hashable: its dtype, shape and items in C order."""

    dtype: str
    shape: tuple[int, ...]
    items: tuple[Any, ...]

    @staticmethod
    def of(array: Any) -> Data:
        """The array as a value; one NaN is as good as another."""
        array = np.asarray(array)
        items = [math.nan if item != item else item for item in array.ravel().tolist()]  # one object equals itself
        return Data(array.dtype.name, array.shape, tuple(items))

    def array(self) -> Array:
        """A new array."""
        return np.array(self.items, self.dtype).reshape(self.shape)

    def __str__(self) -> str:
        flat = f"np.array({list(self.items)!r}, np.{self.dtype})"
        return flat if len(self.shape) == 1 and self.items else f"{flat}.reshape({self.shape!r})"


class Step(NamedTuple):
    """One call: `relu`, `nn.conv2d`, `.read_value` (a method of the first argument), `[]` (an element of it)."""

    call: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()
    after: tuple[Ref, ...] = ()  # control dependencies


class Body(NamedTuple):
    """The function given to `cond` or `while_loop`."""

    parameters: int
    steps: tuple[Step, ...]
    results: tuple[Any, ...]


@dataclass(frozen=True)
class Recipe:
    """A graph, what to fetch from it, and what to feed."""

    seed: int
    steps: tuple[Step, ...]
    fetches: tuple[Ref, ...]
    feeds: tuple[tuple[Ref, tuple[Data, ...]], ...] = ()  # placeholder -> its values in several runs
    cut: Ref | None = None  # a tensor that may be fed with its own value

    def __str__(self) -> str:
        return program_text(self)

    def refs(self) -> Iterator[Ref]:
        """All references to results, those of fetches and feeds included."""
        for step in self.steps:
            yield from refs_in(step)
        yield from self.fetches
        yield from (ref for ref, _ in self.feeds)
        if self.cut is not None:
            yield self.cut

    @property
    def runs(self) -> int:
        """How many different feeds there are."""
        return max([len(data) for _, data in self.feeds], default=1)

    def feed(self, run: int) -> dict[Ref, Array]:
        """What to feed in a run."""
        return {ref: data[run % len(data)].array() for ref, data in self.feeds}


class Built(NamedTuple):
    """A recipe as a graph."""

    graph: Any
    results: tuple[Any, ...]  # of each step
    fetches: list[Any]
    variables: list[Any]
    init: Any

    def element(self, ref: Ref) -> Any:
        """The tensor, variable or op."""
        return element(self.results, ref)


# -- walking ---------------------------------------------------------------------------------------------------------


def refs_in(value: Any) -> Iterator[Ref]:
    """The references in a step, or in one of its arguments."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, tuple) and not isinstance(value, (Local, Face, Cut)):
        for part in value:
            yield from refs_in(part)


def with_refs(value: Any, change: Callable[[Ref], Any]) -> Any:
    """A step or argument with its references replaced."""
    if isinstance(value, Ref):
        return change(value)
    if isinstance(value, (Local, Face, Cut)) or not isinstance(value, tuple):
        return value
    parts = [with_refs(part, change) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def needed(recipe: Recipe) -> set[int]:
    """The steps that fetches and feeds depend on."""
    found: set[int] = set()
    stack = [ref.step for ref in recipe.fetches]
    while stack:
        number = stack.pop()
        if number not in found:
            found.add(number)
            stack.extend(ref.step for ref in refs_in(recipe.steps[number]))
    return found


def pruned(recipe: Recipe) -> Recipe:
    """Without the steps that nothing needs, and numbered anew."""
    kept = sorted(needed(recipe))
    number = {old: new for new, old in enumerate(kept)}

    def renamed(ref: Ref) -> Ref:
        return Ref(number[ref.step], ref.output)

    cut = recipe.cut
    return replace(
        recipe,
        steps=tuple(with_refs(recipe.steps[old], renamed) for old in kept),
        fetches=tuple(renamed(ref) for ref in recipe.fetches),
        feeds=tuple((renamed(ref), data) for ref, data in recipe.feeds if ref.step in number),
        cut=renamed(cut) if cut is not None and cut.step in number else None,
    )


# -- building --------------------------------------------------------------------------------------------------------


def element(results: Sequence[Any], ref: Ref) -> Any:
    """What a reference stands for."""
    found = results[ref.step]
    return found if ref.output is None else found[ref.output]


def build(recipe: Recipe, tf: Any) -> Built:
    """The recipe as a new graph."""
    graph = tf.Graph()
    results: list[Any] = []
    with graph.as_default():
        for step in recipe.steps:
            results.append(perform(step, results, tf))
        variables = tf.global_variables()
        init = tf.global_variables_initializer()
    return Built(graph, tuple(results), [element(results, ref) for ref in recipe.fetches], variables, init)


def perform(step: Step, results: Sequence[Any], tf: Any) -> Any:
    """The call of a step in the default graph."""
    if not step.after:
        return _called(step, results, (), tf)
    with tf.control_dependencies([element(results, ref) for ref in step.after]):
        return _called(step, results, (), tf)


def _called(step: Step, results: Sequence[Any], local: Sequence[Any], tf: Any) -> Any:
    args = [_argument(a, results, local, tf) for a in step.args]
    kwargs = {name: _argument(a, results, local, tf) for name, a in step.kwargs}
    if step.call == "[]":
        return args[0][args[1]]
    if step.call.startswith("."):
        return getattr(args[0], step.call[1:])(*args[1:], **kwargs)
    return named(tf, step.call)(*args, **kwargs)


def named(tf: Any, path: str) -> Any:
    """A dotted name of the public face."""
    for part in path.split("."):
        tf = getattr(tf, part)
    return tf


def _argument(value: Any, results: Sequence[Any], local: Sequence[Any], tf: Any) -> Any:
    if isinstance(value, Ref):
        return element(results, value)
    if isinstance(value, Local):
        return local[value.number]
    if isinstance(value, Data):
        return value.array()
    if isinstance(value, Face):
        return named(tf, value.path)
    if isinstance(value, Cut):
        return slice(*value)
    if isinstance(value, Body):
        return _function(value, results, tf)
    if isinstance(value, tuple):
        return tuple(_argument(part, results, local, tf) for part in value)
    return value


def _function(body: Body, results: Sequence[Any], tf: Any) -> Callable[..., Any]:
    def function(*args: Any) -> Any:
        local = list(args)
        for step in body.steps:
            local.append(_called(step, results, local, tf))
        found = [_argument(r, results, local, tf) for r in body.results]
        return found[0] if len(found) == 1 else tuple(found)

    return function


# -- printing --------------------------------------------------------------------------------------------------------


def program_text(recipe: Recipe, optimization_level: int = 1) -> str:
    """A program that builds the graph and runs it."""
    lines = [f"# random graph, seed {recipe.seed}", "import numpy as np", "from numpy import inf, nan", ""]
    lines += ["import graphflow as tf", ""]
    for number, step in enumerate(recipe.steps):
        lines += _step_lines(step, f"v{number}", f"f{number}", "")
    fetches = ", ".join(_text(ref) for ref in recipe.fetches)
    lines += ["", f"fetches = [{fetches}]", "feeds = ["]
    for run in range(recipe.runs):
        pairs = [f"{_text(ref)}: {data[run % len(data)]}" for ref, data in recipe.feeds]
        lines.append("    {" + ", ".join(pairs) + "},")
    lines += ["]"]
    if recipe.cut is not None:
        lines.append(f"cut = {_text(recipe.cut)}  # a tensor that may be fed, too")
    lines += [
        f"for level in (0, {optimization_level}):",
        "    with tf.Session(optimization_level=level) as session:",
        "        session.run(tf.global_variables_initializer())",
        "        for feed in feeds:",
        "            print(level, session.run(fetches, feed), session.run(tf.global_variables()))",
    ]
    return "\n".join(lines) + "\n"


def _step_lines(step: Step, name: str, function: str, indent: str, local: Mapping[int, str] | None = None) -> list[str]:
    lines: list[str] = []
    count = 0
    parts: list[str] = []
    for key, value in [*((None, a) for a in step.args), *step.kwargs]:
        if isinstance(value, Body):
            text = f"{function}_{count}"
            count += 1
            lines += _body_lines(value, text, indent)
        else:
            text = _text(value, local)
        parts.append(text if key is None else f"{key}={text}")
    if step.call == "[]":
        call = f"{parts[0]}[{parts[1][1:-1].rstrip(',')}]"
    elif step.call.startswith("."):
        call = f"{parts[0]}{step.call}({', '.join(parts[1:])})"
    else:
        call = f"tf.{step.call}({', '.join(parts)})"
    if step.after:
        lines.append(f"{indent}with tf.control_dependencies([{', '.join(_text(r) for r in step.after)}]):")
        indent += "    "
    return [*lines, f"{indent}{name} = {call}"]


def _body_lines(body: Body, name: str, indent: str) -> list[str]:
    local = {i: f"u{i}" for i in range(body.parameters + len(body.steps))}
    lines = [f"{indent}def {name}({', '.join(local[i] for i in range(body.parameters))}):"]
    for i, step in enumerate(body.steps):
        lines += _step_lines(step, local[body.parameters + i], "g", indent + "    ", local)
    return [*lines, f"{indent}    return {', '.join(_text(r, local) for r in body.results)}"]


def _text(value: Any, local: Mapping[int, str] | None = None) -> str:
    if isinstance(value, Ref):
        return f"v{value.step}" if value.output is None else f"v{value.step}[{value.output}]"
    if isinstance(value, Local):
        return (local or {})[value.number]
    if isinstance(value, Face):
        return f"tf.{value.path}"
    if isinstance(value, Cut):
        return f"slice({value.start}, {value.stop}, {value.step})"
    if isinstance(value, tuple):
        return "(" + "".join(_text(v, local) + ", " for v in value) + ")"
    return str(value) if isinstance(value, Data) else repr(value)
