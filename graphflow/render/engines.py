"""The engines that lay a picture out: which there are, which of them is here, and how each is called.

Policy: an engine is a row of a table; the one that the caller or GRAPHFLOW_RENDER_ENGINE names, else the first that
is here and can write the format.  Programs get an argument list and standard input, never a shell, and a time limit;
every failure is a typed error that says what to install.

State: none.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphflow.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
    shown,
)
from graphflow.render import pdf
from graphflow.render.view import View

VARIABLE = "GRAPHFLOW_RENDER_ENGINE"
INSTALL = 'pip install "graphviz-pure>=0.2,<1"'
OTHERWISE = 'budget= draws fewer nodes, engine="matplotlib" lays out by itself, and a .dot file is for any program'


class Engine(NamedTuple):
    """One way to make a picture of a view."""

    name: str
    formats: tuple[str, ...]
    find: Callable[[], str | None]  # where it is, or None
    draw: Callable[[str, View, str, str, float], bytes]  # where, view, its DOT text, format, seconds
    install: str


def choose(kind: str, engine: str | None = None) -> Engine:
    """The engine for a format: the named one, else the first one that is here."""
    name = engine or os.environ.get(VARIABLE) or ""
    if name:
        if not isinstance(name, str) or name not in ENGINES:
            where = "engine=" if engine else VARIABLE
            raise InvalidArgumentError(f"{where} names no engine", expected=", ".join(ENGINES), got=shown(name))
        chosen = ENGINES[name]
        if kind not in chosen.formats:
            able = ", ".join(e.name for e in ENGINES.values() if kind in e.formats)
            raise UnimplementedError(f"the engine {name} does not write {kind}", expected=able)
        if chosen.find() is None:
            raise UnavailableError(f"the engine {name} is not installed", hint=chosen.install)
        return chosen
    found = next((e for e in ENGINES.values() if kind in e.formats and e.find() is not None), None)
    if found is None:
        raise UnavailableError(f"there is no program here that lays out graphs as {kind}", hint=INSTALL)
    return found


def draw(
    view: View,
    text: str,
    kind: str,
    engine: str | None = None,
    timeout: float = 120.0,
    simpler: Sequence[Callable[[], str]] = (),
) -> bytes:
    """The view, whose DOT text is `text`, as a picture of that format.

    Layout programs fail at some graphs: `simpler` makes texts that ask less of them, tried one after the other.
    """
    chosen = choose(kind, engine)
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise InvalidArgumentError("timeout is how many seconds the layout may take", got=shown(timeout))
    place, end = chosen.find() or "", time.monotonic() + timeout
    for another in simpler:
        try:
            return chosen.draw(place, view, text, kind, timeout)
        except UnknownError:
            text, timeout = another(), max(end - time.monotonic(), 1.0)
    return chosen.draw(place, view, text, kind, timeout)


# -- programs ------------------------------------------------------------------------------------------------------


def _pure() -> str | None:
    """The program of the wheel graphviz-pure: on the path, or beside this Python."""
    return shutil.which("graphviz-pure") or shutil.which("graphviz-pure", path=sysconfig.get_path("scripts"))


def _dot() -> str | None:
    return shutil.which("dot")


def run_program(program: str, text: bytes, kind: str, timeout: float) -> bytes:
    """DOT text through a program that takes it as Graphviz does."""
    try:
        done = subprocess.run([program, f"-T{kind}"], input=text, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise DeadlineExceededError(
            f"the layout of the graph took longer than {timeout:g} s",
            hint="give timeout=, fold more of the graph, or write a .dot file and lay it out in your own time",
        ) from None
    except OSError as error:
        raise UnavailableError(f"{program!r} does not start: {error.strerror}", hint=INSTALL) from error
    if done.returncode or not done.stdout:
        said = _complaint(done.stderr.decode(errors="replace")) or f"nothing, with exit code {done.returncode}"
        raise UnknownError("the layout program failed", got=said[:300], hint=f"it is {program!r}; {OTHERWISE}")
    return done.stdout


def _complaint(said: str) -> str:
    """What a program said on its way out, without what it only warned of."""
    lines = said.splitlines()
    return "\n".join([line for line in lines if not line.startswith("Warning")] or lines).strip()


def _by_program(program: str, view: View, text: str, kind: str, timeout: float) -> bytes:
    return run_program(program, text.encode(), kind, timeout)


def _by_pure(program: str, view: View, text: str, kind: str, timeout: float) -> bytes:
    """It writes no PDF: that is made of the operations that its layout consists of."""
    if kind == "pdf":
        return pdf.to_pdf(run_program(program, text.encode(), "json", timeout))
    return run_program(program, text.encode(), kind, timeout)


# -- Python packages -----------------------------------------------------------------------------------------------


def _package(*names: str) -> Callable[[], str | None]:
    """Whether packages can be imported, without importing them."""

    def find() -> str | None:
        try:
            here = all(importlib.util.find_spec(name) is not None for name in names)
        except (ImportError, ValueError):
            here = False
        return names[0] if here else None

    return find


def _by_pygraphviz(place: str, view: View, text: str, kind: str, timeout: float) -> bytes:
    try:
        pygraphviz: Any = importlib.import_module(place)
        made = pygraphviz.AGraph(string=text).draw(format=kind, prog="dot")
    except Exception as error:  # what it raises depends on what it finds of Graphviz
        raise UnknownError("pygraphviz failed", got=str(error)[:300], hint=INSTALL) from error
    return bytes(made)


def _by_matplotlib(place: str, view: View, text: str, kind: str, timeout: float) -> bytes:
    from graphflow.render import plain_drawing

    return plain_drawing.draw(view, kind)


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("graphviz-pure", ("png", "svg", "pdf"), _pure, _by_pure, INSTALL),
        Engine("dot", ("png", "svg", "pdf"), _dot, _by_program, "install Graphviz, which has the program dot"),
        Engine("pygraphviz", ("png", "svg", "pdf"), _package("pygraphviz"), _by_pygraphviz, "pip install pygraphviz"),
        Engine(
            "matplotlib", ("png", "svg", "pdf"), _package("matplotlib", "networkx"), _by_matplotlib,
            "pip install matplotlib",
        ),
    )
}  # fmt: skip
