"""What a kernel launch is, and which rule makes the launches of which op type.

Policy: a rule is a pure function from a `Site`, one instruction with concrete shapes on a device with given traits, to
the launches that compute it, or None if it has none for this site: the instruction then runs on the host.  Rules write
OpenCL C from their own tables and integers only, never from a name or a string attribute.  Sizes are constants in the
source.  Op types that have no rule at all stand in `HOST`, with the reason, which `explain` shows.

State: the table, filled while the family modules are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from graphflow.program import Instruction
from graphflow.spec import TensorSpec, is_concrete


class Traits(NamedTuple):
    """What a generator of kernels may know of the device."""

    schedule: str = "cpu"  # "cpu": fat items, explicit vectors, no barriers; "gpu": coalesced, local memory, barriers
    units: int = 2  # compute units: cores, or multiprocessors
    width: int = 8  # floats of a vector register, on a CPU
    group: int = 64  # items of a work-group, a power of two
    local_bytes: int = 32768
    doubles: bool = True  # float64 arithmetic
    halves: bool = False  # float16 arithmetic; it is stored and loaded everywhere
    shares_memory: bool = True  # the host sees the device's memory at the same addresses


class Scratch(NamedTuple):
    """An argument: memory for the launches of one rule alone; equal numbers are the same memory."""

    number: int
    nbytes: int


class PerRun(NamedTuple):
    """An argument: a few words that the host computes anew in each run."""

    nbytes: int
    fill: Callable[[Any], Any]  # (Run) -> an array of that many bytes


class Status(NamedTuple):
    """An argument, `__global int *`: a kernel that meets a bad value does `atomic_min(status, position of it)`."""

    explain: Callable[[int], Exception]  # the error for the first bad position


class Launch(NamedTuple):
    """One kernel call.

    `source` is one `__kernel void KERNEL(...)`; functions `gf_...` of `library` that it calls are added to it.
    An argument is the number of a value (a global pointer to its elements in C order; of a variable's handle, to the
    variable's), a NumPy scalar (passed by value), a NumPy array (a table, `__constant` or `__global const`), a
    Scratch, a PerRun or a Status.  The launches of one rule run in their order.
    """

    source: str
    items: tuple[int, ...]  # the global size, a multiple of `group`
    group: tuple[int, ...]
    arguments: tuple[Any, ...]
    writes: tuple[int, ...]  # which of the values among the arguments are written; the others are read
    title: str  # what it does in a few words, for `explain`
    routine: Any = None  # a library's routine that does it in place of a kernel: see `clblast`


class Site(NamedTuple):
    """One instruction, with what a rule may know of it."""

    ins: Instruction
    inputs: tuple[TensorSpec, ...]  # all with concrete dims
    outputs: tuple[TensorSpec | None, ...]  # None where nobody reads an output; its number in ins.outputs is -1
    constants: tuple[Any, ...]  # for each input its value, if it is known now, as a NumPy array; else None
    traits: Traits

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes of the instruction."""
        return self.ins.attrs

    def dims_in(self, which: int = 0) -> tuple[int, ...]:
        """The dims of an input."""
        dims = self.inputs[which].dims
        assert is_concrete(dims)
        return dims

    def dims_out(self, which: int = 0) -> tuple[int, ...]:
        """The dims of an output that somebody reads."""
        found = self.outputs[which]
        assert found is not None and is_concrete(found.dims)
        return found.dims


Rule = Callable[[Site], "Sequence[Launch] | None"]
R = TypeVar("R", bound=Rule)

RULES: dict[str, Rule] = {}
HOST: dict[str, str] = {}  # op type -> why it runs on the host


def rule(*types: str) -> Callable[[R], R]:
    """Decorator: the function makes the launches of these op types."""

    def add(function: R) -> R:
        for name in types:
            if name in RULES or name in HOST:
                raise KeyError(f"two rules for {name}")
            RULES[name] = function
        return function

    return add


def on_the_host(reason: str, *types: str) -> None:
    """State that op types have no kernel, and why."""
    for name in types:
        if name in RULES or name in HOST:
            raise KeyError(f"two rules for {name}")
        HOST[name] = reason
