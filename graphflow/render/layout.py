"""From Graphviz text to a picture: finds the program that lays it out, and runs it.

Policy: the system's `dot` where there is one, else the `graphviz-pure` program of the wheel of that name; an argument
list and standard input, never a shell; a time limit; every failure is a typed error.  A file appears whole or not.

State: none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from typing import Any

from graphflow import durable
from graphflow.errors import DeadlineExceededError, InvalidArgumentError, UnavailableError, UnknownError
from graphflow.graph import Graph
from graphflow.render.dot import to_dot

FORMATS = ("png", "svg")
TEXT_FORMATS = ("dot", "gv")


def write(graph: Graph, path: Any, timeout: float = 120.0) -> str:
    """Draw the graph into a .png or .svg file, or write its Graphviz text into a .dot file; returns the path."""
    if not isinstance(graph, Graph):
        raise InvalidArgumentError("a picture is drawn of a tf.Graph", got=repr(graph)[:80])
    name = durable.text_path(path)
    kind = os.path.splitext(name)[1].lower().removeprefix(".")
    if kind not in FORMATS + TEXT_FORMATS:
        wanted = ", ".join(f".{f}" for f in FORMATS + TEXT_FORMATS)
        raise InvalidArgumentError("the file's ending says what to write", expected=wanted, got=name)
    text = to_dot(graph).encode()
    durable.write_file(name, [text if kind in TEXT_FORMATS else laid_out(text, kind, timeout)])
    return name


def laid_out(text: bytes, kind: str, timeout: float) -> bytes:
    """Graphviz text as a picture of that format."""
    command = [layout_program(), f"-T{kind}"]
    try:
        done = subprocess.run(command, input=text, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise DeadlineExceededError(
            f"the layout of the graph took longer than {timeout:g} s",
            hint="write a .dot file and lay it out in your own time, or draw a smaller graph",
        ) from None
    except OSError as error:
        raise UnavailableError(f"{command[0]!r} does not start: {error.strerror}") from error
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip() or f"nothing, with exit code {done.returncode}"
        raise UnknownError("the layout program failed", got=said[:300], hint=f"it is {command[0]!r}")
    return done.stdout


def layout_program() -> str:
    """The path of `dot`, or of `graphviz-pure` on the path or beside this Python."""
    beside = sysconfig.get_path("scripts")
    found = shutil.which("dot") or shutil.which("graphviz-pure") or shutil.which("graphviz-pure", path=beside)
    if found is None:
        raise UnavailableError(
            "there is no program here that lays out graphs", hint="pip install graphviz-pure, or install Graphviz"
        )
    return found
