"""The commands that look inside a program: `show`, `render`, `explain` and `trace`.

Policy: SOURCE is a script, run unmodified with what stands after it as its arguments, or a graph in a file.  Of a
script the last graph that it built or ran is shown; its own output goes where it always goes, so with `--json` the
answer can be written into a file.  A script that fails ends the command with its exit code, after what can be shown
was shown.  What can be refused before a script runs is refused then: it may be hours of training.

State: none; what a script did is kept in one `_Seen` while the command runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from graphflow import durable, inspection, render, spec
from graphflow.debug.script import exit_code, print_failure, run_script
from graphflow.errors import InvalidArgumentError, NotFoundError, UnimplementedError, shown
from graphflow.graph import Graph, get_default_graph
from graphflow.keys import GraphKeys
from graphflow.render import engines
from graphflow.render.picture import CHARTS, FORMATS, OF_PROGRAMS, PICTURES, VIEWS, check_writable, kind_of
from graphflow.render.units import is_fed
from graphflow.train.graph_import import import_graph_def
from graphflow.train.graph_json import GraphDef
from graphflow.train.meta_graph import read_meta

SHOWN_TYPES = 12
CHART_FORMATS = ("svg", "png")


class _Seen:
    """The sessions of a script, and its exit code."""

    def __init__(self) -> None:
        self.sessions: list[Any] = []
        self.code = 0

    @property
    def graph(self) -> Graph:
        """The graph of the last session with ops, or else the default graph."""
        graphs = [session.graph for session in self.sessions if len(session.graph)]
        return graphs[-1] if graphs else get_default_graph()


def _source_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="a Python script, or a graph in a .meta or .json file")
    parser.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER, help="what the script gets")


@contextlib.contextmanager
def _watched(seen: _Seen, hear: Any) -> Iterator[None]:
    """Be told of the sessions that a script makes."""

    def adopt(session: Any) -> None:
        seen.sessions.append(session)
        hear(session)

    inspection.heralds.append(adopt)
    try:
        yield
    finally:
        inspection.heralds.remove(adopt)


def _ran(arguments: argparse.Namespace, hear: Any = lambda session: None) -> _Seen:
    """Run the script, or load the graph."""
    seen = _Seen()
    name = arguments.source
    if not os.path.isfile(name) and not os.path.isfile(f"{name}.json"):
        raise NotFoundError(f"there is no file {name!r}", expected="a Python script, or a graph in a file")
    if not name.endswith(".py"):
        _load(name)
        return seen
    with _watched(seen, hear):
        try:
            run_script(name, arguments.arguments)
        except SystemExit as end:
            seen.code = exit_code(end)
        except Exception as error:
            print_failure(error, name)
            seen.code = 1
    return seen


def _load(name: str) -> None:
    """Add the graph of a file to the default graph."""
    if name.removesuffix(".json").endswith(".meta"):  # as `Saver.save` writes it, and as `export_meta_graph` does
        import_graph_def(read_meta(name).graph_def, name="")
        return
    with open(name, "rb") as file:
        import_graph_def(GraphDef.FromString(file.read()), name="")


def _answer(value: Any, file: str | None) -> None:
    """JSON to standard output or into a file."""
    text = json.dumps(value, indent=1) + "\n"
    if file is None or file == "-":
        sys.stdout.write(text)
    else:
        durable.write_file(file, [text.encode()])


# -- show --------------------------------------------------------------------------------------------------------------


def show_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `show`."""
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="as JSON, to standard output or a file")
    _source_arguments(parser)


def show(arguments: argparse.Namespace) -> int:
    """What a graph consists of."""
    check_writable(arguments.json)
    seen = _ran(arguments)
    found = summary(seen.graph)
    if arguments.json is not None:
        _answer(found, arguments.json)
        return seen.code
    sys.stdout.write("\n".join(_summary_lines(found)) + "\n")
    return seen.code


def summary(graph: Graph) -> dict[str, Any]:
    """The graph in numbers: ops by type, variables, placeholders, and what the pictures' caption says."""
    ops = graph.get_operations()
    variables = [
        {"name": v.name, "dtype": v.dtype.name, "shape": spec.describe(v.handle_dims), "numbers": v.numbers}
        for v in map(_Variable, graph.get_collection(GraphKeys.GLOBAL_VARIABLES))
    ]
    return {
        "ops": len(ops),
        "types": dict(Counter(op.type for op in ops).most_common()),
        "placeholders": [
            {"name": op.name, "dtype": op.outputs[0].dtype.name, "shape": spec.describe(op.outputs[0].dims)}
            for op in ops
            if is_fed(op)
        ],
        "variables": variables,
        "numbers": sum(v["numbers"] or 0 for v in variables),
        "caption": list(render.as_view(graph).caption) if ops else [],
    }


class _Variable:
    """What `show` tells of a variable."""

    def __init__(self, variable: Any) -> None:
        dims = variable.handle.op.attrs["dims"]
        self.name = variable.op.name
        self.dtype = variable.handle.op.attrs["dtype"]
        self.handle_dims = dims
        self.numbers = spec.numel(dims) if spec.is_concrete(dims) else None


def _summary_lines(found: dict[str, Any]) -> list[str]:
    lines = [f"{found['ops']} ops", *found["caption"], ""]
    for kind in ("placeholders", "variables"):
        rows = found[kind]
        if rows:
            width = max(len(row["name"]) for row in rows)
            lines.append(f"{kind}:")
            lines += [f"  {row['name']:<{width}}  {row['dtype']} {row['shape']}" for row in rows]
    types = list(found["types"].items())
    lines.append("types:")
    lines += [f"  {count:>6}  {type}" for type, count in types[:SHOWN_TYPES]]
    if len(types) > SHOWN_TYPES:
        lines.append(f"  and {len(types) - SHOWN_TYPES} more types; --json lists all")
    return lines


# -- render ------------------------------------------------------------------------------------------------------------


def render_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `render`."""
    parser.add_argument("-o", "--out", metavar="FILE", default="graph.png", help="what to write (default: graph.png)")
    parser.add_argument("--view", choices=VIEWS, default="graph", help="which picture (default: graph)")
    parser.add_argument("--color", choices=render.dot.COLOURS, default="phase", help="what colours say")
    parser.add_argument("--depth", type=int, metavar="N", help="open so many levels of name scopes")
    parser.add_argument("--expand", action="append", default=[], metavar="SCOPE", help="open this scope, or 'all'")
    parser.add_argument("--around", metavar="NAME", help="only what is near this tensor or op")
    parser.add_argument("--hops", type=int, default=2, metavar="N", help="how near (default: 2)")
    parser.add_argument("--engine", metavar="NAME", help="which engine lays it out")
    _source_arguments(parser)


def draw(arguments: argparse.Namespace) -> int:
    """Draw a graph, or of a script's last run what the compiler made of it."""
    view = arguments.view
    options = {"view": view, "engine": arguments.engine, "color": arguments.color}
    _check_picture(arguments)
    folded = {"expand": arguments.expand, "depth": arguments.depth}
    if view in OF_PROGRAMS:
        runs = _Runs()
        seen = _ran(arguments, runs.keep)
        if not runs.explanations:
            raise runs.nothing(seen, f"the view {view!r} is of a run", "a program that ran nothing")
        target: Any = runs.largest.program
        options |= {} if view in CHARTS else folded
    else:
        seen = _ran(arguments)
        target = seen.graph
        options |= {**folded, "around": arguments.around, "hops": arguments.hops}
    sys.stderr.write(f"drawing {len(seen.graph)} ops\n")
    sys.stdout.write(render.render(target, arguments.out, **options) + "\n")
    return seen.code


def _check_picture(arguments: argparse.Namespace) -> None:
    """Refuse what could not be written or laid out."""
    able = CHART_FORMATS if arguments.view in CHARTS else FORMATS
    kind = kind_of(arguments.out, formats=able)
    check_writable(arguments.out)
    if kind in PICTURES and arguments.view not in CHARTS:
        engines.choose(kind, arguments.engine)


# -- explain -----------------------------------------------------------------------------------------------------------


def explain_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `explain`."""
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="as JSON, to standard output or a file")
    parser.add_argument(
        "--all", action="store_true", help="each different run of the script, not the largest one alone"
    )
    _source_arguments(parser)


def explain(arguments: argparse.Namespace) -> int:
    """What the compiler made of a script's runs."""
    check_writable(arguments.json)
    runs = _Runs()
    seen = _ran(arguments, runs.keep)
    if not runs.explanations:
        raise runs.nothing(seen, "nothing was run, so there is nothing to explain", shown(arguments.source))
    chosen = runs.explanations if arguments.all else [runs.largest]
    if arguments.json is not None:
        _answer([json.loads(e.to_json()) for e in chosen], arguments.json)
    else:
        sys.stdout.write("\n\n".join(str(e) for e in chosen) + "\n")
    return seen.code


class _Runs:
    """The explanations of a script's different runs, and what its first failed run failed with."""

    def __init__(self) -> None:
        self.explanations: list[Any] = []
        self.failed = ""

    @property
    def largest(self) -> Any:
        """That of the run with the most instructions: usually the training step."""
        return max(self.explanations, key=lambda e: len(e.program.instructions))

    def keep(self, session: Any) -> None:
        """Explain each different run of a session when it is first asked for."""
        run, known = session.run, set()

        def explained(fetches: Any, feed_dict: Any = None, *others: Any, **named: Any) -> Any:
            try:
                result = run(fetches, feed_dict, *others, **named)
            except Exception as error:
                self.failed = self.failed or type(error).__name__
                raise
            program = session.program(fetches, feed_dict)
            if id(program) not in known:
                known.add(id(program))
                self.explanations.append(session.explain(fetches, feed_dict))
            return result

        session.run = explained

    def nothing(self, seen: _Seen, idle: str, got: str) -> InvalidArgumentError:
        """Why there is nothing: a run failed, the script failed before it ran anything, or it ran nothing."""
        if self.failed:
            return InvalidArgumentError("the script's run failed, so there is no run to look into", got=self.failed)
        if seen.code:
            return InvalidArgumentError("the script failed before it ran anything", got=f"exit code {seen.code}")
        return InvalidArgumentError(idle, got=got)


# -- trace -------------------------------------------------------------------------------------------------------------


def trace_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `trace`."""
    parser.add_argument("-o", "--out", metavar="FILE", default="trace.json", help="what to write (default: trace.json)")
    _source_arguments(parser)


def trace(arguments: argparse.Namespace) -> int:
    """Trace all runs of a script, for ui.perfetto.dev or chrome://tracing; a file for each session that runs."""
    check_writable(arguments.out)
    base, ending = os.path.splitext(arguments.out)
    files: list[str] = []
    with contextlib.ExitStack() as open_traces:

        def begin(session: Any) -> None:
            name = arguments.out if not files else f"{base}_{len(files) + 1}{ending}"
            try:
                open_traces.enter_context(session.trace(name))
            except UnimplementedError as error:
                sys.stderr.write(f"the runs of a {type(session).__name__} are not traced: {error.summary}\n")
            else:
                files.append(name)

        seen = _ran(arguments, begin)
    if not files:
        when = "failed before it made a session" if seen.code else "made no session"
        raise InvalidArgumentError(f"the script {when}, so there is nothing to trace", got=arguments.source)
    sys.stdout.write("\n".join(files) + "\n")
    return seen.code
