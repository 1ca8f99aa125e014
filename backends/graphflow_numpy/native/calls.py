"""The table of what has a native kernel, and what a kernel is before it is compiled.

Policy: a maker is `(scope, instruction) -> calls`: the kernels that compute an instruction one after the other, or
None where the native code does not cover its dtypes or attributes.  All shapes are known.  A key holds everything that
the code depends on, so that equal work in one process is compiled once.

State: the table, filled while the family modules are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

from graphflow.dtypes import DType
from graphflow.program import Instruction, Program
from graphflow.spec import Dims, TensorSpec
from graphflow_numpy.native.engine import Build

ELEMENT = 4e-11  # seconds for reading or writing one element
CALL = 5e-8  # seconds of a kernel that does nothing


class Call(NamedTuple):
    """One kernel: what it reads and writes, and how to build it."""

    key: Hashable
    build: Build
    inputs: tuple[int, ...]  # values
    outputs: tuple[int, ...]  # all of them values, even if nobody reads one
    seconds: float  # estimated, on one core


class Scope:
    """The values of a program, and those that its native form adds."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.view = program  # with the new values
        self.values = list(program.values)

    def dims(self, value: int) -> tuple[int, ...]:
        """The shape of a value, which is known."""
        dims = self.values[value].dims
        assert dims is not None
        return dims  # type: ignore[return-value]

    def dtype(self, value: int) -> str:
        """The name of a value's dtype."""
        return self.values[value].dtype.name

    def size(self, value: int) -> int:
        """How many elements a value has."""
        found = 1
        for n in self.dims(value):
            found *= n
        return found

    def temporary(self, dtype: DType, dims: Dims) -> int:
        """A new value."""
        self.values.append(TensorSpec(dtype, dims))
        return len(self.values) - 1

    def constant(self, value: int) -> Any:
        """What a value is, if it is known."""
        return self.program.constants.get(value)


Maker = Callable[[Scope, Instruction], "list[Call] | None"]
F = TypeVar("F", bound=Maker)

MAKERS: dict[str, Maker] = {}


def maker(*types: str) -> Callable[[F], F]:
    """Decorator: how instructions of these types become kernels."""

    def add(function: F) -> F:
        MAKERS.update(dict.fromkeys(types, function))
        return function

    return add


def only(attrs: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    """Attributes, for a key."""
    return tuple([tuple(v) if isinstance(v := attrs[n], list) else v for n in names])
