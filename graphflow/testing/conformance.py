"""All checks over all rows, and a report: what a third party runs to prove an op or a backend.

    from graphflow.testing import OpCase, Arg, run_conformance
    report = run_conformance([OpCase("Cube", "plain", cube, (Arg((2, 3)),), lambda x: x**3)])
    print(report)
    assert report.ok

Policy: nothing here needs pytest, and one failure stops nothing else.

State: none.
"""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphflow.errors import Error
from graphflow.graph import Graph
from graphflow.session import Session
from graphflow.testing.cases import ErrorCase, OpCase
from graphflow.testing.derivatives import (
    check_forward_mode,
    check_gradient,
    check_second_gradient,
    check_zero_size_gradient,
)
from graphflow.testing.forward import check_aliasing, check_forward, check_layouts, check_zero_size
from graphflow.testing.numeric import Mismatch

Check = Callable[..., None]
CHECKS: dict[str, Check] = {
    "forward": check_forward,
    "layouts": check_layouts,
    "aliasing": check_aliasing,
    "zero size": check_zero_size,
    "gradient": check_gradient,
    "second gradient": check_second_gradient,
    "forward mode": check_forward_mode,
    "gradient at zero size": check_zero_size_gradient,
}


@dataclass(frozen=True)
class Result:
    """One check of one row; `problem` is None where it passed."""

    case: str
    check: str
    problem: str | None


@dataclass(frozen=True)
class Report:
    """What was checked and what failed; prints as a summary with every failure."""

    backend: str
    results: tuple[Result, ...]

    @property
    def failures(self) -> tuple[Result, ...]:
        """The checks that failed."""
        return tuple(r for r in self.results if r.problem is not None)

    @property
    def ok(self) -> bool:
        """Whether something was checked and nothing failed."""
        return bool(self.results) and not self.failures

    def __str__(self) -> str:
        lines = [f"{len(self.results)} checks on {self.backend!r}, {len(self.failures)} failed"]
        lines += [f"  {r.check}: {r.problem}" for r in self.failures]
        return "\n".join(lines)


def run_conformance(
    cases: Iterable[OpCase],
    backend: str = "numpy",
    errors: Iterable[ErrorCase] = (),
    checks: Sequence[str] = tuple(CHECKS),
) -> Report:
    """Run the checks (names of CHECKS) on every row, and every error row, on a backend."""
    factory = functools.partial(Session, device=backend)
    results = [_result(case, name, CHECKS[name], factory) for case in cases for name in checks]
    results += [_result(case, "error", check_error) for case in errors]
    return Report(backend, tuple(results))


def _result(case: OpCase | ErrorCase, name: str, check: Check, *more: Any) -> Result:
    try:
        check(case, *more)
    except Mismatch as error:
        return Result(str(case), name, str(error))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Result(str(case), name, f"{case}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})")
    return Result(str(case), name, None)


def _near(build: Callable[[], Any], source: str | None) -> bool:
    """Whether `source` ("file:line, in function") is a file of the folder in which the row stands."""
    code = getattr(build, "__code__", None)
    if source is None or code is None:
        return source is not None
    return Path(source.partition(":")[0]).resolve().parent == Path(code.co_filename).resolve().parent


def check_error(case: ErrorCase) -> None:
    """The mistake raises the error of the row, which says what it should and where the user made it."""
    with Graph().as_default():
        try:
            found = case.build()
        except case.error as error:
            text = str(error)
            if not re.search(case.match, text):
                raise Mismatch(f"{case}: the error does not say {case.match!r}:\n{text}") from error
            if isinstance(error, Error) and not _near(case.build, error.source):
                raise Mismatch(f"{case}: the error does not name the user's line:\n{text}") from error
            return
        except Exception as error:
            raise Mismatch(f"{case}: raised {type(error).__name__}, expected {case.error.__name__}: {error}") from error
    raise Mismatch(f"{case}: expected {case.error.__name__}, got {found!r}")
