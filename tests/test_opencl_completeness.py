"""Every op that NumPy computes has a place on an OpenCL device: a kernel, an expression, a step, or a reason."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

pytest.importorskip("pyopencl")

from graphflow_numpy.table import TABLE
from graphflow_opencl.expressions import EXPRESSIONS
from graphflow_opencl.families import __all__ as families
from graphflow_opencl.lowering import STATEFUL, VIEWS
from graphflow_opencl.table import HOST, RULES

import graphflow
from graphflow.backend import load_backend
from graphflow.opdef import OPS

PROGRAMS = ("graphflow.__main__", "graphflow.cli", "graphflow.demo")
for _found in pkgutil.walk_packages(graphflow.__path__, "graphflow."):
    if not _found.name.startswith(PROGRAMS):
        importlib.import_module(_found.name)
load_backend("numpy")
OURS = {name for name, definition in OPS.items() if definition.function.__module__.startswith("graphflow.")}
LOWERED = VIEWS | STATEFUL
WORDS = 5  # of a reason, at least


def test_every_op_has_a_place() -> None:
    homeless = {name for name in OURS & set(TABLE) if name not in LOWERED | set(RULES) | set(EXPRESSIONS) | set(HOST)}
    assert not homeless, f"no rule, no expression, no reason: {sorted(homeless)}"


def test_what_runs_on_the_host_says_why() -> None:
    short = {name: reason for name, reason in HOST.items() if len(reason.split()) < WORDS}
    assert not short


def test_no_op_has_two_places() -> None:
    assert not set(HOST) & (set(RULES) | set(EXPRESSIONS) | LOWERED)


def test_no_row_without_an_op() -> None:
    strays = (set(HOST) | set(RULES) | set(EXPRESSIONS) | LOWERED) - set(OPS)
    assert not strays


def test_families_are_all_there() -> None:
    """A module with rules that nobody imports would be no family."""
    homes = {rule.__module__.rpartition(".")[2] for rule in RULES.values()}
    assert homes <= set(families)
