"""`python -m graphflow compare script.py:function`: a comparison from the command line.

Policy: the script is run as a module, not as the main program, so what stands below `if __name__ == "__main__"` is not
done.  The arguments come from the script's own function or list `arguments`, or from one that is named; without either
the function is called without arguments.

State: none.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from typing import Any

from graphflow import durable
from graphflow.compare.comparing import compare
from graphflow.errors import InvalidArgumentError, NotFoundError, shown

ARGUMENTS = "arguments"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    parser.add_argument("what", metavar="SCRIPT:FUNCTION", help="a Python file and a function of tensors in it")
    parser.add_argument(
        "--arguments", metavar="NAME", help=f"what of the script gives the arguments (default: {ARGUMENTS}, if there)"
    )
    parser.add_argument("--no-grad", action="store_true", help="without gradients")
    parser.add_argument("--steps", type=int, metavar="N", help="runs of each way in one round")
    parser.add_argument("--rounds", type=int, metavar="N", default=15, help="rounds in which the ways take turns")
    parser.add_argument("--warm", type=float, metavar="S", default=0.25, help="seconds of each way before that")
    parser.add_argument("--devices", metavar="NAMES", help="backends, comma between (default: all that are here)")
    parser.add_argument(
        "--render", metavar="FILE", action="append", default=[], help="write a .png, .svg or .html file"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures here, - for standard output")


def run(options: argparse.Namespace) -> int:
    """Compare, print, write; exit code 1 if results do not agree."""
    path, colon, name = options.what.rpartition(":")
    if not colon or not path or not name:
        raise InvalidArgumentError("compare takes SCRIPT:FUNCTION", got=options.what, hint="model.py:loss")
    if not os.path.isfile(path):
        raise NotFoundError(f"there is no file {path!r}", expected="a Python script")
    found = _script(path)
    if not callable(found.get(name)):
        known = ", ".join(sorted(n for n, x in found.items() if callable(x) and not n.startswith("_"))[:12])
        raise NotFoundError(f"the script has no function {shown(name)}", expected=known or "a function")
    report = compare(
        found[name],
        *_arguments(found, options.arguments),
        grad=not options.no_grad,
        steps=options.steps,
        rounds=options.rounds,
        warm=options.warm,
        devices=None if options.devices is None else options.devices.split(","),
    )
    sys.stdout.write(f"{report.to_json() if options.json == '-' else report}\n")
    if options.json not in (None, "-"):
        durable.write_file(options.json, [report.to_json().encode()])
    for file in options.render:
        sys.stderr.write(f"written: {report.render(file)}\n")
    return 0 if report.agrees else 1


def _script(path: str) -> dict[str, Any]:
    """What stands in a script, run as a module."""
    spec = importlib.util.spec_from_file_location("compared_script", path)
    if spec is None or spec.loader is None:
        raise InvalidArgumentError("this is no Python file", got=shown(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where classes of the script look for their names
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.path[0]
    return module.__dict__


def _arguments(found: dict[str, Any], name: str | None) -> list[Any]:
    """The arguments that the script gives."""
    if name is not None and name not in found:
        raise NotFoundError(f"the script has no {shown(name)}")
    given = found.get(name or ARGUMENTS, ())
    given = given() if callable(given) else given
    return list(given) if isinstance(given, (list, tuple)) else [given]
