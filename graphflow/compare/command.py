"""`python -m graphflow compare script.py:function`: a comparison from the command line.

Policy: the script is run as a module, not as the main program, so what stands below `if __name__ == "__main__"` is not
done.  The arguments come from the script's own function or list `arguments`, or from one that is named; without either
the function is called without arguments.

State: none.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import os
import sys
from types import ModuleType
from typing import Any

from graphflow import durable
from graphflow.compare.comparing import compare
from graphflow.compare.measure import ROUNDS, WARM_SECONDS
from graphflow.compare.report import FORMATS, Report
from graphflow.compare.subject import users_line
from graphflow.compare.ways import LEVELS
from graphflow.errors import Error, FailedPreconditionError, InvalidArgumentError, NotFoundError, shown
from graphflow.render.picture import check_writable, kind_of

ARGUMENTS, MODULE = "arguments", "compared_script"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    parser.epilog = (
        "The arguments of FUNCTION are what the script's own `arguments` is or returns: one tensor or array, or a list "
        "of them.  Exit code 0: all ways agree; 1: they do not, or something failed."
    )
    parser.add_argument("what", metavar="SCRIPT:FUNCTION", help="a Python file and a function of tensors in it")
    parser.add_argument(
        "--arguments", metavar="NAME", help=f"what of the script gives the arguments (default: {ARGUMENTS}, if there)"
    )
    parser.add_argument("--no-grad", action="store_true", help="without gradients")
    parser.add_argument(
        "--steps", type=int, metavar="N", help="runs of each way in one round (default: some milliseconds)"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", default=ROUNDS,
        help=f"rounds in which the ways take turns (default: {ROUNDS})",
    )  # fmt: skip
    parser.add_argument(
        "--warm", type=float, metavar="S", default=WARM_SECONDS,
        help=f"seconds that each way runs before that (default: {WARM_SECONDS})",
    )  # fmt: skip
    parser.add_argument("--levels", metavar="LEVELS", help="levels on NumPy, comma between (default: 0,1,2)")
    parser.add_argument("--devices", metavar="NAMES", help="backends, comma between (default: all that are here)")
    parser.add_argument(
        "--render", metavar="FILE", action="append", default=[],
        help="write a page or a picture: .html, .png, .svg; may be given several times",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write all figures here, - for standard output")


def run(options: argparse.Namespace) -> int:
    """Compare, print, write; exit code 1 if results do not agree."""
    path, colon, name = options.what.rpartition(":")
    if not colon or not path or not name:
        raise InvalidArgumentError("compare takes SCRIPT:FUNCTION", got=options.what, hint="model.py:loss")
    for file in options.render:
        kind_of(file, formats=FORMATS)
    for file in (*options.render, options.json):
        check_writable(file)
    if not os.path.isfile(path):
        raise NotFoundError(f"there is no file {path!r}", expected="a Python script")
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))  # where the script looks for its own modules
    try:
        report = _compared(path, name, options)
    finally:
        del sys.path[0]
    sys.stdout.write(f"{report.to_json() if options.json == '-' else report}\n")
    if options.json not in (None, "-"):
        durable.write_file(options.json, [report.to_json().encode()])
    for file in options.render:
        sys.stderr.write(f"written: {report.render(file)}\n")
    return 0 if report.agrees else 1


def _compared(path: str, name: str, options: argparse.Namespace) -> Report:
    found = _script(path)
    known = ", ".join(sorted(n for n, x in found.items() if _is_own(x))) or "a function"
    if not callable(found.get(name)):
        raise NotFoundError(f"the script has no function {shown(name)}", expected=known)
    if isinstance(found[name], ModuleType):
        raise InvalidArgumentError(
            f"{shown(name)} is a module that the script imports, not a function of it",
            expected=known, got=shown(found[name].__name__),
        )  # fmt: skip
    return compare(
        found[name],
        *_arguments(found, options.arguments),
        grad=not options.no_grad,
        steps=options.steps,
        rounds=options.rounds,
        warm=options.warm,
        levels=LEVELS if options.levels is None else _levels(options.levels),
        devices=None if options.devices is None else options.devices.split(","),
    )


def _is_own(item: Any) -> bool:
    """Whether it is a function of the script."""
    return inspect.isfunction(item) and item.__module__ == MODULE and not item.__name__.startswith("_")


def _levels(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise InvalidArgumentError("--levels takes numbers", expected="0,1,2", got=text) from None


def _script(path: str) -> dict[str, Any]:
    """What stands in a script, run as a module."""
    spec = importlib.util.spec_from_file_location(MODULE, path)
    if spec is None or spec.loader is None:
        raise InvalidArgumentError("this is no Python file", got=shown(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module  # where classes of the script look for their names
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, Error):
            raise
        raise FailedPreconditionError(
            f"the script {path!r} failed before anything was compared", got=shown(error),
            source=users_line(error),
            hint='what a script does belongs below `if __name__ == "__main__":`, which is not done here',
        ) from error  # fmt: skip
    return module.__dict__


def _arguments(found: dict[str, Any], name: str | None) -> list[Any]:
    """The arguments that the script gives."""
    if name is not None and name not in found:
        raise NotFoundError(f"the script has no {shown(name)}")
    given = found.get(name or ARGUMENTS, ())
    try:
        given = given() if callable(given) else given
    except Exception as error:
        if isinstance(error, Error):
            raise
        raise FailedPreconditionError(
            f"{name or ARGUMENTS} of the script raised {type(error).__name__}", got=shown(error),
            source=users_line(error),
        ) from error  # fmt: skip
    return list(given) if isinstance(given, (list, tuple)) else [given]
