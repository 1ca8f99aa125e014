"""Notices of traces that are made too often: by Python's logger "graphflow", once, with the lines and the remedy.

Policy: some traces of one function are usual, and so are some functions of one code; beyond `MANY` something that
changes at each call is likely to be the reason, and is named.

State: the module counts, for each code, the functions that were made of it and traced.
"""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from graphflow import source, spec

MANY = 5  # traces of one function, or functions of one code, that need no notice
Kinds = Sequence[tuple[str, Any]]  # by parameter, what it contributed to a signature
_log = logging.getLogger("graphflow")
_functions_of: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def place_of(python: Callable[..., Any], name: str) -> str:
    """The function's name, and the line where it is defined."""
    code = getattr(inspect.unwrap(python), "__code__", None)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name


class Notices:
    """Watches over the traces of one function."""

    def __init__(self, python: Callable[..., Any], name: str) -> None:
        self._place = place_of(python, name)
        self._code = getattr(python, "__code__", None)
        self._seen: list[Kinds] = []
        self._told = False

    def traced(self, kinds: Kinds, bound: Sequence[str] = ()) -> None:
        """There is one trace more; the function has bound these names or attributes anew in it."""
        if bound and not self._told:
            self._told = True
            _log.warning(
                "%s gives another value to %s.  A traced function does that once for each trace, not at each call; "
                "a tensor, or a buffer of a module, is changed at each: count += 1.",
                self._place, ", ".join(bound[:3]),
            )  # fmt: skip
        if not self._seen and self._code is not None:
            self._first()
        if len(self._seen) > MANY:
            return
        self._seen.append(kinds)
        if len(self._seen) == MANY + 1:
            _log.warning(
                "%s was traced %d times, the last time for the call at %s: %s.  Each trace costs far more than a run.",
                self._place, len(self._seen), source.user_frame(), "; ".join(_changes(self._seen)),
            )  # fmt: skip

    def _first(self) -> None:
        """The function was traced for the first time: another one of its code."""
        _functions_of[self._code] = count = _functions_of.get(self._code, 0) + 1
        if count == MANY + 1:
            _log.warning(
                "%s is made into a traced function again and again: %d times so far, the last time from %s; each is "
                "traced anew.  Apply graphflow.function once, outside of the loop.",
                self._place, count, source.user_frame(),
            )  # fmt: skip


def is_tensor_key(key: Any) -> bool:
    """Whether a part of a signature stands for a tensor."""
    return isinstance(key, tuple) and len(key) == 2 and hasattr(key[0], "is_floating")


def _changes(seen: Sequence[Kinds]) -> list[str]:
    """In words, which parameters differ from trace to trace, and what to do."""
    told = []
    for column in zip(*seen, strict=False):
        name, kinds = column[0][0], {kind for _, kind in column}
        if len(kinds) == 1:
            continue
        if all(is_tensor_key(kind) for kind in kinds):
            advice = "pad it, or declare input_signature=[TensorSpec(dtype, (None, ...))] for any size"
            shapes = ", ".join(sorted(f"{d.name}{spec.describe(dims)}" for d, dims in kinds)[:3])
            told.append(f"{name!r} comes in {len(kinds)} shapes or dtypes ({shapes}, ...): {advice}")
        else:
            told.append(f"{name!r} is a new Python value each time: pass it as a tensor, constant({name})")
    return told or ["what it takes from around it changes"]
