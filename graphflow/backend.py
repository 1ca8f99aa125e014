"""What a backend is, and how backends are found.

Policy: a backend turns a Program into an executable and owns the memory of variables; it imports `graphflow.backend`,
`.spec`, `.dtypes`, `.errors` and `.program` and nothing else of ours.  Backends are found through the entry-point
group `graphflow.backends`; listing them imports nothing; one that cannot be loaded becomes `BackendUnavailable` with
the command that mends it.  Kernels are rows of a table keyed by op type; users add rows for their own ops.

State: the loaded backends, and the kernel rows that users registered.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, Protocol, runtime_checkable

from graphflow.errors import AlreadyExistsError, BackendUnavailable, Error, NotFoundError
from graphflow.program import Group, Instruction, Program, Storage
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation

GROUP = "graphflow.backends"
_loaded: dict[str, Backend] = {}
_user_rows: dict[str, dict[str, Callable[..., Any]]] = {}


class Cell(Protocol):
    """The memory of one variable in one session."""

    name: str
    dtype: Any
    dims: Any
    lock: Any

    @property
    def initialized(self) -> bool:
        """Whether it holds a value."""

    def snapshot(self) -> Any:
        """The value as an array that will not change."""

    def assign(self, value: Any) -> Any:
        """Replace the value by a copy of `value`, atomically."""


class Run:
    """What one run knows of itself; kernels of random ops and of loops ask for it."""

    __slots__ = ("held", "index", "path", "seed")

    def __init__(self, index: int, seed: int | None = None, path: tuple[int, ...] = ()) -> None:
        self.index = index
        self.seed = seed
        self.path = path  # numbers of the iterations of the loops that we are in
        self.held: list[Any] = []  # locks of the atomic region that we are in


class Executable(Protocol):
    """A compiled program; callable any number of times, from several threads at once."""

    program: Program
    needs_run: bool  # whether a kernel asks for the Run; if not, None may be passed

    def __call__(self, feeds: Sequence[Any], run: Run | None) -> list[Any]:
        """The fetched values, each owned by the caller."""

    def stay(self, feeds: Sequence[Any], run: Run) -> list[Any]:
        """The fetched values as arrays on the device, each owned by the caller."""

    def compute(self, feeds: Sequence[Any], run: Run) -> list[Any]:
        """The same inside another program, where the results may share memory with the feeds."""

    def listing(self) -> str:
        """The generated code, or the steps, each with the user's own line."""

    def native_code(self) -> str:
        """The code of native kernels, if the program has some."""


@runtime_checkable
class PlacingExecutable(Executable, Protocol):
    """One that does not do all of its instructions in the same place."""

    def placements(self) -> Mapping[int, tuple[str, str]]:
        """Instruction's key -> the device, such as "/device:GPU:0" ("": none), and why, if that needs a reason."""


class Observer(Protocol):
    """Looks on while one program runs, perhaps several times at once and in several threads.

    A step of the backend may stand for several instructions.  Values are keyed by their numbers in the program; who
    wants to keep one copies it, for its memory may be used again.
    """

    def before(self, instructions: Sequence[Instruction], inputs: Mapping[int, Any]) -> Mapping[int, Any] | None:
        """A step is about to be done; returns what it is to read instead.  What is raised here fails the run."""

    def after(
        self, instructions: Sequence[Instruction], made: Mapping[int, Any], started: float, ended: float
    ) -> Mapping[int, Any] | None:
        """A step was done, between these readings of `time.perf_counter`; returns what to go on with instead."""

    def failed(self, instructions: Sequence[Instruction], error: BaseException) -> None:
        """A step raised this; an interruption is no `Exception`."""


@runtime_checkable
class QueueObserver(Observer, Protocol):
    """One that also takes the times of what a device did by itself while Python went on."""

    def queued(self, instructions: Sequence[Instruction], queue: str, started: float, ended: float) -> None:
        """A device's queue did a step between these times, of the clock `time.perf_counter`; there is no `after`."""


class Watch(Protocol):
    """What traces, profiles and debuggers are to a session: it gives each program an observer."""

    wants_values: bool  # if not, `inputs` and `made` may be empty: a backend need not wait for them

    def observe(self, program: Program) -> Observer:
        """The observer of a program, or of a branch or loop body."""


class Context(Protocol):
    """What a session offers a backend while it compiles."""

    @property
    def watch(self) -> Watch | None:
        """Who looks on when the program runs."""

    @property
    def workers(self) -> int:
        """How many tasks may run at once."""

    @property
    def threads(self) -> int:
        """How many threads one op may use."""

    @property
    def soft_placement(self) -> bool:
        """Whether what a device cannot do may be done elsewhere."""

    def is_closed(self) -> bool:
        """Whether the session was closed: what runs is to end soon."""

    def cell(self, variable: Operation) -> Cell:
        """The memory of a variable."""

    def compile_function(self, graph: Any, results: Sequence[Any], dims: Sequence[Any]) -> Executable:
        """The executable of a branch or loop body, for these of its tensors and these shapes of its arguments."""


class Backend(Protocol):
    """One way of executing programs."""

    name: str
    default_level: int  # the optimisation level of a session that asks for none
    array_type: type | None  # of arrays on its devices, which may be fed as they are
    own_passes: frozenset[str]  # passes of the compiler that the backend does by itself, in its own way

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of devices that `tf.device` may ask for, in lower case."""

    def at(self, device: str) -> Backend:
        """The backend for one of its devices, such as "opencl:0:1"; itself, if it has but one."""

    def compile(self, program: Program, context: Context) -> Executable:
        """Make a program executable."""

    def evaluate(self, ins: Instruction, inputs: Sequence[Any]) -> Sequence[Any]:
        """Compute one instruction on NumPy values (constant folding)."""

    def kernel(
        self, ins: Instruction, values: Sequence[TensorSpec], next_run: Callable[[], Run]
    ) -> tuple[Callable[..., Any], bool] | None:
        """What computes one instruction outside a program: `(arrays...) -> array, or a tuple of several`.

        `values` are the specs of its inputs and outputs, whose numbers are places in it.  With it comes whether results
        may share memory with inputs.  None where a program must be made of it, because it needs a session.
        """

    def kernel_context(self) -> contextvars.Context:
        """What such kernels run in: without NumPy's warnings, whatever the caller's settings are."""

    def explained(self, error: Exception, ins: Instruction, inputs: Sequence[Any]) -> Error:
        """What such a kernel raised, as an error of ours."""

    def storage(self, program: Program, ins: Instruction) -> Storage:
        """Where the kernel of an instruction puts its results, for the memory plan."""

    def is_whole(self, program: Program, group: Group) -> bool:
        """Whether a fusion group is evaluated as one, without memory for what stays inside."""

    def new_cell(self, name: str, dtype: Any, dims: Any) -> Cell:
        """Memory for a variable, without a value."""

    def has_kernel(self, type: str) -> bool:
        """Whether an op type can be executed."""


def available_backends() -> list[str]:
    """The names of the installed backends; nothing is imported."""
    return sorted({e.name for e in metadata.entry_points(group=GROUP)})


def load_backend(name: str) -> Backend:
    """The backend of that name."""
    found = _loaded.get(name)
    if found is not None:
        return found
    entries = [e for e in metadata.entry_points(group=GROUP) if e.name == name]
    if not entries:
        names = available_backends()
        raise NotFoundError(
            f"no backend named {name!r}",
            expected=", ".join(names) or "an installed backend",
            hint=None if names else "no backend is installed; run `pip install -e .` in the checkout",
        )
    try:
        backend: Backend = entries[0].load()
    except Exception as error:
        missing = getattr(error, "name", None)
        hint = {"pyopencl": 'pip install "pyopencl[pocl]"'}.get(
            missing or "", f"pip install {missing}" if missing else None
        )
        raise BackendUnavailable(f"backend {name!r} cannot be loaded: {error}", hint=hint) from error
    _loaded[name] = backend
    return backend


class RegisterKernel:
    """Decorator: the function is the kernel of an op type of yours; `(arrays..., **attrs) -> array or tuple`.

    @tf.RegisterKernel("Cube")
    def _(x):
        return x * x * x
    """

    def __init__(self, op_type: str, backend: str = "numpy") -> None:
        self._type = op_type
        self._backend = backend

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Register the function and return it."""
        rows = _user_rows.setdefault(self._backend, {})
        if self._type in rows:
            raise AlreadyExistsError(f"a kernel is registered for {self._type!r} on {self._backend!r} already")
        rows[self._type] = function
        return function


def user_kernels(backend: str) -> dict[str, Callable[..., Any]]:
    """The kernel rows that users registered for a backend."""
    return _user_rows.setdefault(backend, {})
