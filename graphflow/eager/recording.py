"""Whether what is computed is recorded for `backward`: `no_grad`, `enable_grad`, `set_grad_enabled`, `inference_mode`.

Policy: PyTorch's rules.  Each is a context and a decorator.  A generator or a coroutine that is decorated runs each of
its steps in the mode, and leaves the mode of whoever drives it alone in between.

State: none of its own; whether ops are recorded is the engine's, for each thread.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any

from graphflow.eager.engine import here
from graphflow.eager.traced import CALLERS, caller_records
from graphflow.errors import InvalidArgumentError, shown


class _Mode:
    """A context in which `here.records` has another value, and the decorator that goes with it."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._before: list[bool] = []

    def __enter__(self) -> Any:
        self._before.append(here.records)
        here.records = self._wanted
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here.records = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which runs in this mode."""
        if isinstance(function, type):
            raise InvalidArgumentError(
                "a class is not decorated with a mode of recording: which of its methods is meant?",
                got=shown(function),
                hint="decorate a method, such as __init__ or forward",
            )
        if not callable(function):
            raise InvalidArgumentError("a mode of recording decorates functions", got=shown(function))
        if inspect.isasyncgenfunction(function):
            raise InvalidArgumentError(
                "an asynchronous generator is not decorated with a mode of recording",
                got=shown(function),
                hint="with torch.no_grad(): inside, around what is computed between two awaits",
            )
        return _decorated(function, self._wanted)


def _decorated(function: Callable[..., Any], wanted: bool) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*arguments: Any, **named: Any) -> Any:
            return await _awaitable(function(*arguments, **named), wanted)

        return coroutine
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*arguments: Any, **named: Any) -> Any:
            return (yield from _stepwise(function(*arguments, **named), wanted))

        return generator

    @functools.wraps(function)
    def plain(*arguments: Any, **named: Any) -> Any:
        with _Mode(wanted):
            return function(*arguments, **named)

    return plain


def _stepwise(inner: Any, wanted: bool) -> Generator[Any, Any, Any]:
    """Run each step of a generator or a coroutine in the mode."""
    step: Callable[..., Any] = inner.send
    given: Any = None
    while True:
        try:
            with _Mode(wanted):
                found = step(given)
        except StopIteration as end:
            return end.value
        try:
            step, given = inner.send, (yield found)
        except GeneratorExit:
            with _Mode(wanted):
                inner.close()
            raise
        except BaseException as error:
            step, given = inner.throw, error


_awaitable = types.coroutine(_stepwise)


def _given(function: Any) -> bool:
    """Whether the decorator was written without parentheses."""
    return callable(function) or isinstance(function, type)


class no_grad(_Mode):
    """Inside, or in a function so decorated, nothing is recorded for `backward`."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        """The context; or the decorated function, where the decorator has no parentheses."""
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(no_grad):
    """Inside, ops are recorded again."""

    def __init__(self) -> None:
        _Mode.__init__(self, True)


class inference_mode(_Mode):
    """Inside, nothing is recorded; inside `inference_mode(False)`, everything is."""

    def __new__(cls, mode: Any = True) -> Any:
        """The context; or the decorated function, where the decorator has no parentheses."""
        return super().__new__(cls) if isinstance(mode, bool) else cls()(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode)


class set_grad_enabled(_Mode):
    """Record what is computed, or do not: from now on, or for the length of a `with` block; or as a decorator."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._first: bool | None = here.records
        here.records = self._wanted

    def __enter__(self) -> Any:
        """The mode holds since the call."""
        self._before.append(here.records if self._first is None else self._first)
        self._first = None
        here.records = self._wanted
        return self

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which runs in this mode; what the call itself set is taken back."""
        if self._first is not None:
            here.records, self._first = self._first, None
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Whether what is computed from tensors that require gradients is recorded."""
    if here.records is CALLERS:
        return caller_records()
    return here.records


def is_inference_mode_enabled() -> bool:
    """Whether nothing is recorded; to be inside of `inference_mode` or of `no_grad` is the same here."""
    return not is_grad_enabled()
