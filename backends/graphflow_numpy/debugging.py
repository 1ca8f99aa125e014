"""Kernels that look at values or call Python: Print, Assert, CheckNumerics, PyFunc.

State: how often each Print of a program has printed.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import errors
from graphflow.backend import Context
from graphflow.program import Instruction
from graphflow.runtime import workers
from graphflow_numpy.table import kernel


def _shown(value: Any, summarize: int) -> str:
    """The first elements of a value, as TensorFlow prints them; control characters are escaped."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", "backslashreplace")
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    array = np.asarray(value)
    if array.ndim == 0:
        item: Any = array[()]
        return _shown(item, summarize) if type(item) is bytes else str(item)
    flat = array.ravel()
    shown = flat if summarize < 0 else flat[:summarize]
    dots = "..." if shown.size < flat.size else ""
    return "[" + " ".join(_shown(v, summarize) if isinstance(v, bytes) else str(v) for v in shown) + dots + "]"


@kernel("Print", bound=True, view=True)
def _print(context: Context, ins: Instruction) -> Callable[..., Any]:
    message, limit, summarize = ins.attrs["message"], ins.attrs["first_n"], ins.attrs["summarize"]
    printed = itertools.count()

    def show(x: Any, *data: Any) -> Any:
        if limit < 0 or next(printed) < limit:
            shown = [_shown(d, summarize) for d in data]
            sys.stderr.write(message + "".join(s if s.startswith("[") else f"[{s}]" for s in shown) + "\n")
        return x

    return show


@kernel("Assert")
def _assert(condition: Any, *data: Any, summarize: int) -> tuple[()]:
    if not np.all(condition):
        raise errors.InvalidArgumentError(
            "assertion failed: " + " ".join(_shown(d, summarize) for d in data),
            expected="a condition that holds",
            got=_not_so(np.asarray(condition)),
        )
    return ()


def _not_so(condition: Any) -> str:
    """Where a condition does not hold."""
    if not condition.ndim:
        return "False"
    lost = np.argwhere(~condition)
    return f"{len(lost)} of {condition.size} elements are False, the first at {lost[0].tolist()}"


@kernel("CheckNumerics", view=True)
def _check_numerics(x: Any, *, message: str) -> Any:
    if not np.isfinite(x).all():
        nan, inf = np.isnan(x).any(), np.isinf(x).any()
        found = " and ".join(w for w, there in (("NaN", nan), ("Inf", inf)) if there)
        first = np.argwhere(~np.isfinite(np.atleast_1d(x)))[0].tolist()
        raise errors.InvalidArgumentError(
            f"{message} : Tensor had {found} values", got=f"the first at {first} in shape {list(np.shape(x))}"
        )
    return x


_PYTHON_ERRORS: tuple[tuple[type[BaseException], type[errors.Error]], ...] = (
    (StopIteration, errors.OutOfRangeError),
    (MemoryError, errors.ResourceExhaustedError),
    (NotImplementedError, errors.UnimplementedError),
    (ValueError, errors.InvalidArgumentError),
    (TypeError, errors.InvalidArgumentError),
)


@kernel("PyFunc", bound=True, view=True, user=True)
def _py_func(context: Context, ins: Instruction) -> Callable[..., Any]:
    function, wanted = ins.attrs["function"], ins.attrs["out"]
    name = getattr(function, "called", None) or f"py_func {getattr(function, '__name__', repr(function))}"

    def call_python(*inputs: Any) -> tuple[Any, ...]:
        try:
            with workers.alone():  # a run inside it may want locks that only this thread may pass
                found = function(*[np.array(x) if isinstance(x, np.ndarray) else x for x in inputs])
        except errors.Error:
            raise
        except Exception as error:
            kind = next((ours for theirs, ours in _PYTHON_ERRORS if isinstance(error, theirs)), errors.UnknownError)
            raise kind(f"{type(error).__name__} in {name}: {error}", op=ins.op) from error
        results = list(found) if isinstance(found, (list, tuple)) and len(wanted) != 1 else [found]
        if not wanted:
            return ()
        if len(wanted) == 1 and isinstance(found, (list, tuple)) and len(found) == 1:
            results = list(found)
        if len(results) != len(wanted):
            raise errors.InvalidArgumentError(
                f"{name} returned {len(results)} value{'' if len(results) == 1 else 's'}",
                expected=f"{len(wanted)}, one for each of Tout",
            )
        checked = [_checked(v, dtype, i, name) for i, (v, dtype) in enumerate(zip(results, wanted, strict=True))]
        return checked[0] if len(checked) == 1 else tuple(checked)

    return call_python


def _checked(value: Any, dtype: Any, number: int, name: str) -> Any:
    """One result as an array of exactly the dtype that was promised."""
    array = np.asarray(value, object if dtype.name == "string" else None)
    python = not hasattr(value, "dtype")
    if array.dtype != dtype.np:
        literal = python and (array.dtype.kind, dtype.kind) in {("f", "float"), ("i", "int"), ("i", "float")}
        if not literal:
            raise errors.InvalidArgumentError(
                f"result {number} of {name} has the wrong dtype",
                expected=dtype.name,
                got=errors.shown(value) if python else str(array.dtype),
                hint="is `return` missing?" if value is None else f"return value.astype(numpy.{dtype.name})",
            )
        as_promised = array.astype(dtype.np)
        lost = as_promised != array if dtype.is_integer else np.isfinite(array) & ~np.isfinite(as_promised)
        if lost.any():
            raise errors.InvalidArgumentError(
                f"result {number} of {name} does not fit {dtype.name}", got=errors.shown(value)
            )
        array = as_promised
    if dtype.name == "string":
        out = np.empty(array.shape, object)
        out.ravel()[:] = [v.encode() if isinstance(v, str) else v for v in array.ravel().tolist()]
        return out
    return np.array(array)[()]
