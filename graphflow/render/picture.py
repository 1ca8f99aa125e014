"""`render`: from anything that can be drawn to a file.

Policy: what is drawn becomes a `View` or, for charts, SVG; what the file's ending says becomes bytes; the file
appears whole or not at all.  Both are tables.  Every mistake is found before anything is laid out.

State: none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphflow import durable, nest
from graphflow.collector import CollectorPaused
from graphflow.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnimplementedError,
    shown,
)
from graphflow.graph import Graph
from graphflow.program import Program
from graphflow.render import (
    analysis,
    as_built,
    dot,
    engines,
    folding,
    gantt,
    gradient_view,
    memory_picture,
    mermaid,
    mistakes,
    page,
    raster,
    rewrites,
    selection,
    units,
    view_json,
)
from graphflow.render.view import View
from graphflow.tensor import Operation, Tensor

PICTURES = ("png", "svg", "pdf")
TEXTS = ("html", "dot", "gv", "mermaid", "mmd", "json")
FORMATS = (*PICTURES, *TEXTS)
CHARTS = ("schedule", "memory")
OF_PROGRAMS = ("rewrites", *CHARTS)
VIEWS = ("graph", "gradients", *OF_PROGRAMS)
OF_FILES = ("format", "engine", "timeout", "color")
_SIZE = re.compile(r'<svg[^>]* width="([0-9.]+)"[^>]* height="([0-9.]+)"')


def render(
    target: Any,
    path: Any,
    view: str = "graph",
    *,
    format: str | None = None,
    engine: str | None = None,
    timeout: float = 120.0,
    color: str = "phase",
    **options: Any,
) -> str:
    """Draw a graph, tensors, ops or a program into a file; returns the path.

    The file's ending, or `format`, is png, svg, pdf, html (a page to explore), dot or gv (Graphviz's text), mermaid
    or mmd, or json.  `view` is "graph", or "gradients" (each derivative beside what it is of); of a program also
    "rewrites" (what each pass did), "schedule" and "memory".  For tensors and ops only what they need is drawn.

    engine    "graphviz-pure", "dot", "pygraphviz" or "matplotlib"; else GRAPHFLOW_RENDER_ENGINE, else what is here
    timeout   seconds that the layout may take
    color     "phase" (forward, gradient, update), "time", "bytes" or "device"

    `as_view` has the other options.
    """
    name = durable.text_path(path)
    kind = kind_of(name, format)
    if view in CHARTS:
        chart = _chart(_program(target, view), view, **options)
        durable.write_file(name, [_chart_content(chart, view, kind)])
        return name
    mistakes.check_names(options, [*OF_FILES, *mistakes.names_of(as_view, 2)], "a picture")
    if kind in PICTURES:
        engines.choose(kind, engine)  # a missing engine is told before any work
    if kind == "html" and not options.get("expand") and options.get("depth") is None:
        options["expand"] = folding.ALL  # the page folds by itself
    with CollectorPaused():
        made = as_view(target, view, **options)
        content = content_of(made, kind, engine=engine, timeout=timeout, color=color)
    durable.write_file(name, [content])
    return name


def content_of(
    view: View, kind: str, *, engine: str | None = None, timeout: float = 120.0, color: str = "phase"
) -> bytes:
    """The view in a format."""
    if kind in PICTURES:
        flat = view._replace(boxes=())
        simpler = (lambda: dot.to_dot(view, color, one_ranking=True), lambda: dot.to_dot(flat, color, one_ranking=True))
        return engines.draw(view, dot.to_dot(view, color), kind, engine, timeout, simpler)
    if kind in ("dot", "gv"):
        return dot.to_dot(view, color).encode()
    return _WRITERS[kind](view).encode()


def as_view(
    target: Any,
    view: str = "graph",
    *,
    title: str | None = None,
    expand: Sequence[str] | str = (),
    depth: int | None = None,
    budget: float = folding.BUDGET,
    around: Any = None,
    hops: int = mistakes.HOPS,
    between: tuple[Any, Any] | None = None,
    setup: bool = False,
    values: Mapping[Any, Any] | None = None,
    seconds: Mapping[Any, float] | None = None,
    run: Any = None,
) -> View:
    """What `render` draws, as plain values.

    title     words below the picture
    expand    name scopes to open, or "all"
    depth     open scopes inside each other so many levels, instead of as many as can be read
    budget    about how many nodes are shown
    around    a tensor or op, or its name: only what is within `hops` edges of it
    between   two of them: only what is on the paths from the first to the second
    setup     also draw what initialises variables
    values    arrays by tensors or their names: what a run computed
    seconds   by ops or their names: what a run took
    run       what `session.observe` returned, values and seconds; or the RunMetadata of a traced run, its seconds
    """
    mistakes.check_title(title)
    if isinstance(target, View):
        return target if title is None else target._replace(title=title)
    first: Any = target[0] if isinstance(target, (list, tuple)) and target else target
    if isinstance(first, Tensor) and first.graph.computes:  # what was recorded of eager tensors, with its values
        target, known = first.graph.recorded(target)  # type: ignore[attr-defined]
        values = {**known, **(values or {})}
    if view not in VIEWS or view in CHARTS:
        raise InvalidArgumentError("there is no such view", expected=", ".join(VIEWS), got=shown(view))
    mistakes.check_folding(expand, depth, budget)
    mistakes.check_hops(around, hops)
    if view == "rewrites":
        program = _program(target, view)
        return rewrites.view(program, expand=expand, depth=depth, budget=budget, title=title or "")
    graph, only = _drawn(target, around, hops, between)
    named_values, named_seconds = mistakes.by_name(values), mistakes.seconds_by_name(seconds)
    if run is not None:
        found_values, found_seconds = _of_run(run)
        named_values, named_seconds = found_values | named_values, found_seconds | named_seconds
    if view == "gradients":
        return gradient_view.view(graph, only, values=named_values, title=title or "")
    found = units.collect(graph, only, setup)
    made = as_built.view(
        found, expand=expand, depth=depth, budget=budget, values=named_values, seconds=named_seconds, title=title or ""
    )
    return made._replace(caption=analysis.caption(found, named_seconds))


# -- what is drawn -------------------------------------------------------------------------------------------------


def _drawn(target: Any, around: Any, hops: int, between: Any) -> tuple[Graph, set[Operation] | None]:
    """The graph, and the ops of it that are drawn; None for all."""
    graph, only = _graph_of(target)
    if around is not None:
        near = selection.around(graph, selection.op_of(graph, around), hops)
        only = near if only is None else only & near
    if between is not None:
        if not isinstance(between, (tuple, list)) or len(between) != 2:
            raise InvalidArgumentError("between takes two tensors or ops", got=shown(between))
        first, last = (selection.op_of(graph, end) for end in between)
        path = selection.between(graph, first, last)
        only = path if only is None else only & path
    return graph, only


def _graph_of(target: Any) -> tuple[Graph, set[Operation] | None]:
    if isinstance(target, Graph):
        return target, None
    program = _program_of(target)
    if program is not None:
        ops = {instruction.op for instruction in program.instructions}
        if not ops:
            raise InvalidArgumentError("the program has no instructions to draw")
        return next(iter(ops)).graph, ops
    items = [item for item in nest.flatten(target) if item is not None]
    elements = [getattr(item, "_as_graph_element", lambda item=item: item)() for item in items]
    if not elements or not all(isinstance(item, (Tensor, Operation)) for item in elements):
        wanted = "a tf.Graph, tensors, ops, variables or a program"
        raise InvalidArgumentError("this cannot be drawn", expected=wanted, got=shown(target))
    graph = elements[0].graph
    return graph, selection.needed([selection.op_of(graph, item) for item in elements])


def _program_of(target: Any) -> Program | None:
    found = target if isinstance(target, Program) else getattr(target, "program", None)
    return found if isinstance(found, Program) else None


def _program(target: Any, view: str) -> Program:
    found = _program_of(target)
    if found is None:
        raise InvalidArgumentError(
            f"the view {view!r} is of a program", got=shown(target), hint="session.program(fetches, feed_dict) has it"
        )
    return found


def _of_run(run: Any) -> tuple[dict[str, Any], dict[str, float]]:
    """What a run computed, by names of tensors, and the seconds that it took, by names of ops."""
    if hasattr(run, "summaries"):  # an Observation, whose class stands above this package
        return {**run.summaries, **run.values}, dict(run.seconds)
    return {}, _traced(run)


def _traced(run: Any) -> dict[str, float]:
    """Seconds by names of ops; what a step took for several ops is shared among them."""
    found: dict[str, float] = {}
    for device in getattr(getattr(run, "step_stats", None), "dev_stats", ()):
        for node in device.node_stats:
            names = node.op_names
            for name in names:
                found[name] = found.get(name, 0.0) + 1e-9 * node.all_end_rel_nanos / len(names)
    if not found:
        raise FailedPreconditionError(
            "the run was not traced",
            got=shown(run),
            hint="session.run(..., options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), run_metadata=run)",
        )
    return found


# -- what is written -----------------------------------------------------------------------------------------------


def kind_of(name: str, format: str | None = None, formats: Sequence[str] = FORMATS) -> str:
    """What is to be written: what `format` says, or else the file's ending; one of `formats`."""
    kind = str(format if format is not None else os.path.splitext(name)[1].removeprefix(".")).lower()
    if kind not in formats:
        what = "format=" if format is not None else "the file's ending"
        wanted = ", ".join(f".{f}" for f in formats)
        raise InvalidArgumentError(f"{what} says what to write", expected=wanted, got=shown(format or name))
    return kind


def check_writable(path: str | None) -> None:
    """Raise where a file of that name could not be written; None and - stand for standard output."""
    if path is None or path == "-":
        return
    target = os.path.realpath(durable.text_path(path))
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise NotFoundError(f"cannot write {path!r}: there is no such folder", got=folder, hint="make the folder first")
    if os.path.lexists(target):
        durable.require_regular(os.stat(target), path)
    if not os.access(folder, os.W_OK):
        raise PermissionDeniedError(f"cannot write {path!r}: nothing may be written to its folder", got=folder)


def _chart(program: Program, view: str, **options: Any) -> str:
    charts: dict[str, Callable[..., str]] = {"schedule": gantt.to_svg, "memory": memory_picture.to_svg}
    mistakes.check_names(options, mistakes.names_of(charts[view], 1), f"the view {view!r}")
    mistakes.check_title(options.get("title"))
    return charts[view](program, **options)


def _chart_content(chart: str, view: str, kind: str) -> bytes:
    """A chart, which is SVG, in a format."""
    if kind == "svg":
        return chart.encode()
    if kind != "png":
        raise UnimplementedError(
            f"the view {view!r} is written as svg or png alone", expected=".svg, .png", got=f".{kind}"
        )
    found = _SIZE.search(chart)
    width, height = (float(number) for number in found.groups()) if found else (800.0, 600.0)
    return raster.to_png(chart, width, height)


_WRITERS: dict[str, Callable[[View], str]] = {
    "html": page.to_html,
    "json": view_json.to_json,
    "mermaid": mermaid.to_mermaid,
    "mmd": mermaid.to_mermaid,
}
