"""The engine: LLVM IR as text becomes native functions; llvmlite is imported at first use.

Policy: a kernel is an LLVM function `void name(ptr data, i64 begin, i64 end)`.  `data` holds pointers to the inputs,
then to the outputs, then to scratch memory; shapes and strides are constants in its code; begin and end are a range of
its outer index, so that threads can share the work.  Kernels have no state of their own and run without the GIL.
A kernel is compiled once for its key; several new ones are compiled in one module, which costs less than one each.
The code comes as vectors, so no pass need find them: variables on the stack become registers, and that is all.  What
the IR says is computed, bit for bit.

State: the kernels by key, with the code that LLVM keeps for them.  Whoever asks for a kernel that exists never waits;
compilation is behind a lock.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import itertools
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

MINIMUM = (20, 0)  # LLVM's version: opaque pointers, and `splat` in constants

SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class Kernel(NamedTuple):
    """A compiled function, and what its caller must know."""

    address: int
    units: int  # the range of the outer index: 0 ... units
    grain: int  # the smallest range that is worth a call
    symbol: str
    source: str  # its IR
    scratch: tuple[int, ...] = ()  # bytes of each scratch buffer, whose pointers follow those of the outputs
    finish: int = 0  # address of a function to be called once with (data, 0, 1) after all units are done; 0: none

    @property
    def call(self) -> Any:
        """The function as ctypes sees it; it releases the GIL."""
        return SIGNATURE(self.address)


class Entry(NamedTuple):
    """What a builder returns about the function it has put into a module."""

    symbol: str
    units: int
    grain: int = 1
    scratch: tuple[int, ...] = ()
    finish: str = ""  # symbol


class ModuleBuilder:
    """The text of one module: functions, declarations and constants under names that nobody else has."""

    def __init__(self) -> None:
        self._declared: dict[str, None] = {}
        self._parts: list[str] = []

    def symbol(self, prefix: str) -> str:
        """A name that no other function in this process has."""
        return f"{prefix}_{next(_numbers)}"

    def declare(self, line: str) -> None:
        """A declaration, such as that of an intrinsic; the same one may come again."""
        self._declared[line] = None

    def add(self, text: str) -> None:
        """A whole function or global variable."""
        self._parts.append(text)

    def mark(self) -> int:
        """Where the next part will stand, for `since`."""
        return len(self._parts)

    def since(self, mark: int) -> str:
        """The parts that were added after a mark."""
        return "\n".join(self._parts[mark:])

    def declarations(self) -> str:
        """The lines of `declare`."""
        return "\n".join(self._declared)

    def text(self) -> str:
        """The module's IR."""
        return "\n".join([*self._declared, *self._parts])


Build = Callable[[ModuleBuilder], Entry]

_lock = threading.RLock()
_kernels: dict[Hashable, Kernel] = {}
_numbers = itertools.count()


def available() -> bool:
    """Whether llvmlite is installed, recent enough and has a code generator for this machine."""
    return _machine() is not None


class _Machine(NamedTuple):
    """LLVM for this machine."""

    binding: Any
    target: Any
    compiler: Any
    builder: Any  # what passes run with
    passes: Any
    features: frozenset[str]


_machines: list[_Machine | None] = []  # none before the first use, then one


def _machine() -> _Machine | None:
    """LLVM, once and for all threads; None where there is none."""
    if not _machines:
        with _lock:
            if not _machines:
                _machines.append(_new_machine())
    return _machines[0]


def _new_machine() -> _Machine | None:
    if importlib.util.find_spec("llvmlite") is None:
        return None
    try:
        binding: Any = importlib.import_module("llvmlite.binding")
        if tuple(binding.llvm_version_info) < MINIMUM:
            return None
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        found = binding.get_host_cpu_features()
        if binding.get_default_triple().startswith("x86_64") and not (found.get("avx2") and found.get("fma")):
            return None  # the accuracy of the polynomials counts on fused multiply-add
        target = binding.Target.from_default_triple().create_target_machine(
            cpu=binding.get_host_cpu_name(), features=found.flatten(), opt=2, jit=True
        )
        compiler = binding.create_mcjit_compiler(binding.parse_assembly(""), target)
        builder = binding.create_pass_builder(target, binding.create_pipeline_tuning_options())
        passes = binding.create_new_function_pass_manager()
        passes.add_sroa_pass()
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return _Machine(binding, target, compiler, builder, passes, frozenset(n for n, has in found.items() if has))


@functools.cache
def vector_bytes() -> int:
    """The width of the machine's vectors."""
    machine = _machine()
    features = machine.features if machine is not None else frozenset()
    return 64 if "avx512f" in features else 32 if "avx2" in features else 16


def attributes() -> str:
    """The attributes of every function: vectors as wide as the machine's."""
    bits = 8 * vector_bytes()
    return f'nounwind "prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}"'


def get_kernel(key: Hashable, build: Build) -> Kernel:
    """The kernel of that key, compiled by the first who asks."""
    return compile_many([(key, build)])[0]


def compile_many(wanted: Sequence[tuple[Hashable, Build]]) -> list[Kernel]:
    """The kernels of these keys; the new ones are compiled together."""
    if any(key not in _kernels for key, _ in wanted):
        with _lock:
            missing = {key: build for key, build in wanted if key not in _kernels}
            if missing:
                _kernels.update(_compiled(missing))
    return [_kernels[key] for key, _ in wanted]


def _compiled(missing: dict[Hashable, Build]) -> dict[Hashable, Kernel]:
    module = ModuleBuilder()
    entries: dict[Hashable, tuple[Entry, str]] = {}
    for key, build in missing.items():
        mark = module.mark()
        entry = build(module)
        entries[key] = entry, module.since(mark)
    address = _native(module.text())
    declared = module.declarations()
    return {
        key: Kernel(
            address(e.symbol), e.units, e.grain, e.symbol, f"{declared}\n{source}", e.scratch,
            address(e.finish) if e.finish else 0,
        )
        for key, (e, source) in entries.items()
    }  # fmt: skip


def _native(text: str) -> Callable[[str], int]:
    """Compile a module; the function gives the addresses of its symbols."""
    machine = _machine()
    if machine is None:
        raise RuntimeError("the extra `fast` (llvmlite) is not installed")
    module = machine.binding.parse_assembly(text)
    module.verify()
    for function in module.functions:
        if not function.is_declaration:
            machine.passes.run(function, machine.builder)
    machine.compiler.add_module(module)
    machine.compiler.finalize_object()
    address: Callable[[str], int] = machine.compiler.get_function_address
    return address


def assembly(kernel: Kernel) -> str:
    """The machine code of a kernel, for people."""
    machine = _machine()
    assert machine is not None
    text: str = machine.target.emit_assembly(machine.binding.parse_assembly(kernel.source))
    return text
