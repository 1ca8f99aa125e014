"""No op without a row in the table, a kernel, a decision on its gradient, an error row and a docstring; no strays."""

from __future__ import annotations

import collections
import importlib
import pkgutil
import re
from pathlib import Path

from graphflow_numpy.table import TABLE

import graphflow
from graphflow.backend import load_backend
from graphflow.compile.lower import PLACEHOLDERS
from graphflow.opdef import OPS, OpDef, gradient_of
from graphflow.testing import OpCase
from tests.cases import CASES, ERRORS, NO_GRADIENT_ROW, NO_ZERO_SIZE, NOT_TESTED_HERE

ROOT = Path(__file__).parent.parent
# Ops whose inference accepts whatever can be built.
NOTHING_TO_REFUSE = {
    "InitializedValue": "built by variables alone, with a value that fits",
    "IsVariableInitialized": "takes any variable",
    "NoOp": "takes nothing",
    "Rank": "takes any tensor",
    "Size": "takes any tensor",
    "UninitializedNames": "built by tf.report_uninitialized_variables alone",
    "VariableHandle": "built by variables alone",
}
PROGRAMS = ("graphflow.__main__", "graphflow.cli", "graphflow.demo")
for _found in pkgutil.walk_packages(graphflow.__path__, "graphflow."):
    if not _found.name.startswith(PROGRAMS):
        importlib.import_module(_found.name)


def ours() -> dict[str, OpDef]:
    """The library's ops, without those that other tests define."""
    return {name: d for name, d in OPS.items() if d.function.__module__.startswith("graphflow.")}


def family(definition: OpDef) -> str:
    return str(definition.function.__module__)


def inference(definition: OpDef) -> object:
    """What tells two inference functions apart, though one factory may have made both."""
    code = getattr(getattr(definition.infer, "func", definition.infer), "__code__", definition.infer)
    return getattr(code, "co_filename", code), getattr(code, "co_firstlineno", 0)


def rows_of(type: str) -> list[OpCase]:
    return [c for c in CASES if c.op == type]


def test_every_op_has_a_row() -> None:
    missing = {t: family(d) for t, d in ours().items() if not rows_of(t) and t not in NOT_TESTED_HERE}
    assert not missing, f"neither in tests/cases nor in NOT_TESTED_HERE: {missing}"


def test_rows_have_distinct_names() -> None:
    for rows in (CASES, ERRORS):
        counts = collections.Counter(str(c) for c in rows)
        twice = [name for name, n in counts.items() if n > 1]
        assert not twice, f"two rows of one name: {twice}"


def test_rows_name_what_exists() -> None:
    unknown = sorted({c.op for c in [*CASES, *ERRORS] if c.op not in OPS and "." not in c.op})
    assert not unknown, f"neither an op type nor a public name like 'tf.nn.moments': {unknown}"
    stale = sorted((set(NOT_TESTED_HERE) | set(NO_ZERO_SIZE) | set(NO_GRADIENT_ROW)) - set(OPS))
    assert not stale, f"excused, but there is no such op: {stale}"


def test_what_is_tested_elsewhere_names_the_place() -> None:
    for type, place in [*NOT_TESTED_HERE.items(), *NO_GRADIENT_ROW.items()]:
        files = re.findall(r"tests/[\w/]+\.py", place)
        assert files, f"{type}: {place!r} names no test file"
        for file in files:
            assert (ROOT / file).is_file(), f"{type}: there is no {file}"


def test_every_op_has_a_kernel_and_every_kernel_an_op() -> None:
    backend = load_backend("numpy")
    missing = [t for t in ours() if not backend.has_kernel(t) and t not in PLACEHOLDERS]
    assert not missing, f"no NumPy kernel: {missing}"
    stray = sorted(set(TABLE) - set(OPS))
    assert not stray, f"kernels of ops that do not exist: {stray}"


def test_every_op_has_exactly_one_decision_on_its_gradient() -> None:
    wrong = {}
    for type, d in ours().items():
        decisions = [d.rules is not None, gradient_of(type) is not None, not d.differentiable]
        if sum(decisions) != 1:
            names = ("vjp rules", "a registered gradient", "differentiable=False")
            wrong[type] = [n for n, on in zip(names, decisions, strict=True) if on] or "none"
    assert not wrong, f"an op has rules, or a registered gradient, or differentiable=False: {wrong}"


def test_every_differentiable_op_is_differentiated() -> None:
    missing = [
        t
        for t, d in ours().items()
        if d.differentiable and rows_of(t) and t not in NO_GRADIENT_ROW and not any(c.wanted for c in rows_of(t))
    ]
    assert not missing, f"all rows have wrt=(), but the op has a gradient: {missing}"


def test_every_op_has_a_zero_size_row() -> None:
    missing = {}
    for type, d in ours().items():
        if type in NOT_TESTED_HERE and not rows_of(type) or type in NO_ZERO_SIZE:
            continue
        if not any(c.zero or _is_empty(c) for c in rows_of(type)):
            missing[type] = family(d)
    assert not missing, f"no row with zero= (or a reason in NO_ZERO_SIZE): {missing}"


def _is_empty(case: OpCase) -> bool:
    return any(a.size == 0 for a in case.arrays())


def test_every_family_has_error_rows() -> None:
    families = {family(d) for t, d in ours().items() if t not in NOT_TESTED_HERE or rows_of(t)}
    counts = collections.Counter(family(OPS[c.op]) for c in ERRORS if c.op in OPS)
    few = {f: counts[f] for f in sorted(families) if counts[f] < 3}
    assert not few, f"fewer than three error rows for the ops of a module: {few}"


def test_every_op_has_an_error_row_or_shares_its_inference() -> None:
    covered = {c.op for c in ERRORS}
    tested_inference = {inference(OPS[t]) for t in covered if t in OPS}
    missing = {
        t: family(d)
        for t, d in ours().items()
        if t not in covered | {*NOTHING_TO_REFUSE, *NOT_TESTED_HERE} and inference(d) not in tested_inference
    }
    assert not missing, f"nothing tests what is refused: {missing}"


def test_every_public_op_is_documented() -> None:
    silent = [t for t, d in ours().items() if not d.function.__name__.startswith("_") and len(d.doc.strip()) < 10]
    assert not silent, f"no docstring: {silent}"
