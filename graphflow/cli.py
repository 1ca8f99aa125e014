"""The command line, `python -m graphflow COMMAND`: what there is to be called, and how failures are told.

Policy: a wrong call ends with exit code 2 and the nearest right word; something missing or failed with exit code 1,
one short text and no traceback; an interruption with 130.  Optional packages are looked for before any work.

State: none.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

import graphflow
from graphflow import demo, devices, looking
from graphflow.backend import available_backends
from graphflow.compare import command as comparison
from graphflow.debug import terminal
from graphflow.errors import Error, NotFoundError
from graphflow.opdef import OPS, OpDef, gradient_of


class Command(NamedTuple):
    """One command: what it is for, its options, what it does, and the packages it cannot do without."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    packages: dict[str, str]


class _Parser(argparse.ArgumentParser):
    """A parser that answers a wrong command with the nearest right one."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n{self.format_usage()}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    word = next((a for a in given if not a.startswith("-")), None)
    if word is not None and word not in COMMANDS:
        near = difflib.get_close_matches(word, COMMANDS, n=1)
        said = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
        parser.error(f"there is no command {word!r}; {said}")
    arguments = parser.parse_args(given)
    if arguments.command is None:
        parser.print_help()
        return 0
    return _run(arguments)


def _parser() -> argparse.ArgumentParser:
    lines = "\n".join(f"  {name:<10}{command.summary}" for name, command in COMMANDS.items())
    parser = _Parser(
        prog="python -m graphflow", usage="%(prog)s [-h] [--version] COMMAND ...", allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(graphflow.__doc__ or "").strip(),
        epilog=f"commands:\n{lines}\n\n`python -m graphflow COMMAND -h` tells the options of one.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"graphflow {graphflow.__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", help=argparse.SUPPRESS, parser_class=_Parser, prog=parser.prog
    )
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, description=command.summary, allow_abbrev=False)
        command.add_arguments(own)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    command = COMMANDS[arguments.command]
    absent = [install for module, install in command.packages.items() if importlib.util.find_spec(module) is None]
    if absent:
        one = "a package that is" if len(absent) == 1 else "packages that are"
        return _fail(arguments.command, f"needs {one} not installed: pip install {' '.join(absent)}")
    try:
        code = command.run(arguments)
        sys.stdout.flush()
        return code
    except Error as error:
        return _fail(arguments.command, str(error))
    except KeyboardInterrupt:
        return _fail(arguments.command, "interrupted", 130)
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fail(command: str, message: str, code: int = 1) -> int:
    print(f"python -m graphflow {command}: {message}", file=sys.stderr)
    return code


# -- ops -----------------------------------------------------------------------------------------------------------


def _ops_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("word", nargs="?", default="", help="only ops with this in their type or description")
    parser.add_argument("--json", action="store_true", help="as JSON, with everything that is known")


def _ops(arguments: argparse.Namespace) -> int:
    word = arguments.word.lower()
    chosen = [d for _, d in sorted(OPS.items()) if word in d.type.lower() or word in d.doc.lower()]
    if arguments.json:
        print(json.dumps([_described(d) for d in chosen], indent=1))
        return 0
    width = max((len(d.type) for d in chosen), default=0)
    for d in chosen:
        print(f"{d.type:<{width}}  {'gradient' if _has_gradient(d) else '-':<8}  {_first_line(d.doc)}")
    print(f"{len(chosen)} of {len(OPS)} op types" if word else f"{len(OPS)} op types", file=sys.stderr)
    return 0


def _described(d: OpDef) -> dict[str, Any]:
    return {
        "type": d.type,
        "function": d.function.__name__,
        "doc": d.doc.strip(),
        "gradient": _has_gradient(d),
        "effect": d.effect or None,
        "stateful": d.stateful,
    }


def _has_gradient(d: OpDef) -> bool:
    return d.rules is not None or gradient_of(d.type) is not None


def _first_line(doc: str) -> str:
    return doc.strip().partition("\n")[0] or "(internal)"


# -- version -------------------------------------------------------------------------------------------------------


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def _version(arguments: argparse.Namespace) -> int:
    print(f"graphflow {graphflow.__version__}")
    print(f"Python    {platform.python_version()} on {platform.system()} {platform.machine()}")
    print(f"NumPy     {np.__version__}")
    print(f"backends  {', '.join(available_backends()) or 'none: install this checkout, pip install -e .'}")
    return 0


# -- bench ---------------------------------------------------------------------------------------------------------

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def _bench_arguments(parser: argparse.ArgumentParser) -> None:
    for option, metavar, text in (
        ("--peers", "NAMES", "whom to measure beside graphflow, comma between: numpy, torch, tf1, jax, ..."),
        ("--peers-python", "FILE", "the Python in which the peers are installed (default: this one)"),
        ("--workloads", "NAMES", "what to measure, comma between: noop, mlp, elementwise_1k, compile, ..."),
        ("--json", "FILE", "write all figures here"),
        ("--png", "FILE", "draw a bar chart"),
        ("--log", "FILE", "keep here what the peers print"),
    ):
        parser.add_argument(option, metavar=metavar, help=text)
    parser.add_argument("--rounds", metavar="N", type=int, help="interleaved rounds; medians are over these")
    parser.add_argument("--quick", action="store_true", help="fewer peers and rounds: under four minutes")


def _bench(arguments: argparse.Namespace) -> int:
    if not (BENCHMARKS / "command.py").is_file():
        raise NotFoundError("the benchmarks are in the checkout, not in the installed package")
    if str(BENCHMARKS.parent) not in sys.path:
        sys.path.append(str(BENCHMARKS.parent))
    return int(importlib.import_module("benchmarks.command").run(arguments))


COMMANDS: dict[str, Command] = {
    "demo": Command(
        "train a small network on real data and draw it: two pictures in this folder",
        demo.add_arguments, demo.run, demo.PACKAGES,
    ),
    "show": Command("what the graph of a script, or of a file, consists of", looking.show_arguments, looking.show, {}),
    "render": Command("draw the graph of a script, or of a file", looking.render_arguments, looking.draw, {}),
    "explain": Command(
        "what the compiler made of a script's runs: passes, order, memory, code",
        looking.explain_arguments, looking.explain, {},
    ),
    "trace": Command(
        "run a script and write its timeline, for ui.perfetto.dev", looking.trace_arguments, looking.trace, {}
    ),
    "compare": Command(
        "run a function eagerly and traced, and tell who wins where",
        comparison.add_arguments, comparison.run, {},
    ),
    "debug": Command("run a script under the step debugger", terminal.add_arguments, terminal.run, {}),
    "ops": Command("list the op types: gradient or not, and what each does", _ops_arguments, _ops, {}),
    "devices": Command(
        "list what programs can run on; --doctor tries each and tells how to mend what fails",
        devices.add_arguments, devices.run, {},
    ),
    "version": Command("the versions of graphflow, Python and NumPy, and the backends", _no_arguments, _version, {}),
    "bench": Command("measure graphflow and its peers side by side (needs the checkout)", _bench_arguments, _bench, {}),
}  # fmt: skip
