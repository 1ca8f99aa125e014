"""Parameters in a list or under keys.

Policy: PyTorch's names.  What is put in becomes a parameter, unless it is one.

State: the parameters, in the tree.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any

from graphflow.eager.nn.module import Module
from graphflow.eager.nn.parameter import Parameter
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.traced import used_here
from graphflow.errors import InvalidArgumentError, OutOfRangeError, UnimplementedError, shown


class _Parameters(Module):
    """Parameters under names that are asked for in brackets."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Refused: these hold parameters, and compute nothing."""
        raise UnimplementedError(f"{type(self).__name__} holds parameters and computes nothing", hint="p[0] @ x")

    def _check_part_name(self, name: str) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise InvalidArgumentError("a key is a word without dots", got=shown(name))

    def _put(self, name: str, value: Any) -> None:
        self.register_parameter(name, value if isinstance(value, Parameter) else Parameter(value))

    def _held(self) -> dict[str, Any]:
        """What is inside, which a function that is being traced relies on from now on."""
        used_here(self)
        return self._parameters

    def __len__(self) -> int:
        return len(self._held())

    def __repr__(self) -> str:
        lines = [
            f"  ({name}): Parameter containing: [{p.dtype.name} of size {'x'.join(map(str, p.dims))}]"
            for name, p in self._parameters.items()
        ]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"]) if lines else f"{type(self).__name__}()"


class ParameterList(_Parameters):
    """A list of parameters, which are those of the module that holds it."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        self.extend(values)

    def _place(self, number: Any) -> str:
        at = operator.index(number)
        if not -len(self) <= at < len(self):
            raise OutOfRangeError(f"no parameter {at}", expected=f"-{len(self)} ... {len(self) - 1}")
        return str(at % len(self))

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return ParameterList(list(self)[number])
        return getattr(self, self._place(number))

    def __setitem__(self, number: int, value: Any) -> None:
        self._put(self._place(number), value)

    def __iter__(self) -> Iterator[EagerTensor]:
        return (self[i] for i in range(len(self)))

    def append(self, value: Any) -> ParameterList:
        """One more at the end."""
        self._put(str(len(self)), value)
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """More at the end."""
        for value in list(values):
            self.append(value)
        return self


class ParameterDict(_Parameters):
    """Parameters under keys, which are those of the module that holds it."""

    def __init__(self, parameters: Any = ()) -> None:
        super().__init__()
        self.update(parameters)

    def update(self, parameters: Any) -> None:
        """More of them."""
        for key, value in parameters.items() if hasattr(parameters, "items") else parameters:
            self[key] = value

    def __getitem__(self, key: str) -> Any:
        used_here(self)
        return self.get_parameter(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._put(key, value)

    def __delitem__(self, key: str) -> None:
        del self._parameters[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held())

    def __contains__(self, key: object) -> bool:
        return key in self._held()

    def keys(self) -> Iterable[str]:
        """The keys."""
        return self._held().keys()

    def values(self) -> Iterable[EagerTensor]:
        """The parameters."""
        return self._held().values()

    def items(self) -> Iterable[tuple[str, EagerTensor]]:
        """Keys and parameters."""
        return self._held().items()

    def pop(self, key: str) -> EagerTensor:
        """Take one out."""
        found: EagerTensor = self._parameters.pop(key)
        return found
