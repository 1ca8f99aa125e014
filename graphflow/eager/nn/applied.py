"""`Applied`: the base of modules that are one function with fixed arguments.

Policy: such a class is a table: the function, the names and defaults of what `__init__` takes, and which of these its
printed form tells.  The order is PyTorch's, which is not always that of the function.

State: the arguments of each module, as attributes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from graphflow.eager.nn.module import Module
from graphflow.errors import InvalidArgumentError

NEEDED: Any = inspect.Parameter.empty  # in the place of a default


class _OfClass:
    """How a class is called; its objects are called in another way."""

    def __init__(self, signature: inspect.Signature) -> None:
        self.signature = signature

    def __get__(self, instance: Any, owner: Any = None) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")
        return self.signature


class Applied(Module):
    """Calls `function(*inputs, **arguments)`."""

    function: ClassVar[Callable[..., Any]]
    arguments: ClassVar[dict[str, Any]] = {}
    shown: ClassVar[tuple[str, ...]] = ()
    ignored: ClassVar[tuple[str, ...]] = ()  # what `__init__` takes and the function does not

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__()
        signature = inspect.signature(type(self))
        try:
            bound = signature.bind(*given, **named)
        except TypeError as error:
            raise InvalidArgumentError(f"{type(self).__name__}: {error}", expected=str(signature)) from None
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            setattr(self, name, value)

    def __init_subclass__(cls) -> None:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        of = [inspect.Parameter(name, kind, default=value) for name, value in cls.arguments.items()]
        cls.__signature__ = _OfClass(inspect.Signature(of))  # type: ignore[attr-defined]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the function makes of the inputs."""
        own = {name: getattr(self, name) for name in self.arguments if name not in self.ignored}
        return type(self).function(*inputs, **named, **own)

    def extra_repr(self) -> str:
        """The arguments that tell the most."""
        told = [f"{name}={getattr(self, name)!r}" for name in self.shown]
        silent = "inplace" in self.shown or not getattr(self, "inplace", False)
        return ", ".join(told if silent else [*told, "inplace=True"])
