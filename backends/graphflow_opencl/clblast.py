"""CLBlast's matrix products, where that library is installed: one more candidate beside our own kernels.

Policy: nothing needs the library, and it is looked for only when the tuner wants to try it or when it is asked for:
`GRAPHFLOW_CLBLAST` names the file, or is `0` to leave it alone; else the system's search decides.  It computes a
product only where the tuner found it faster (`choices`), or where `GRAPHFLOW_OCL_PRODUCTS=clblast` forces it: float32
and float64, operands that are matrices in rows or columns, batches with one stride.  Bias and activation are applied by
a kernel of ours afterwards.  It links its own OpenCL loader, another one than pyopencl's: both only pass calls on
through the tables that the driver's objects bring, so queues and buffers of one are good for the other.

State: the library, once it was looked for.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pyopencl as cl

from graphflow.errors import UnavailableError
from graphflow_opencl import building, choices
from graphflow_opencl.affine import Axes, Epilogue, Operand, Product
from graphflow_opencl.devices import Device
from graphflow_opencl.products_cpu import added_parts
from graphflow_opencl.table import Launch, Scratch, Traits

CHOICE = 1000  # stands for CLBlast among the numbers of configurations, far beyond our own
PLACE, FORCED = "GRAPHFLOW_CLBLAST", "GRAPHFLOW_OCL_PRODUCTS"
LOADER = "libOpenCL.so.1"  # what CLBlast is linked to
ROW_MAJOR, PLAIN, TURNED = 101, 111, 112  # the names that its C interface shares with CBLAS
ROUTINES: dict[str, tuple[str, Any]] = {
    "float32": ("CLBlastS", ctypes.c_float),
    "float64": ("CLBlastD", ctypes.c_double),
}


class Matrix(NamedTuple):
    """How an operand lies: whether in columns, and the distances between lines and between members of a batch."""

    turned: bool
    line: int
    batch: int
    start: int


class Routine(NamedTuple):
    """A call of CLBlast in place of a kernel; its arguments are a, b and c."""

    dtype: str
    sizes: tuple[int, int, int]  # rows, columns, depth
    a: Matrix
    b: Matrix
    c: Matrix
    batches: int

    @property
    def name(self) -> str:
        """The function of the C interface."""
        return ROUTINES[self.dtype][0] + ("gemmStridedBatched" if self.batches > 1 else "gemm")


# -- the library -----------------------------------------------------------------------------------------------------


@functools.cache
def library() -> tuple[Any, str]:
    """The library, or None, and where it is or why it is not here."""
    wanted = os.environ.get(PLACE, "")
    if wanted == "0":
        return None, f"{PLACE} is 0"
    place = wanted or ctypes.util.find_library("clblast")
    if not place:
        return None, "CLBlast is not installed"
    beside = os.path.join(os.path.dirname(place), LOADER)
    try:
        if os.path.exists(beside):  # found by its name afterwards, though no search path leads there
            ctypes.CDLL(beside)
        found = ctypes.CDLL(place)
        for prefix, _ in ROUTINES.values():
            for name in (f"{prefix}gemm", f"{prefix}gemmStridedBatched"):
                getattr(found, name).restype = ctypes.c_int
    except (OSError, AttributeError) as error:
        return None, f"{place} cannot be used: {error}"
    return found, place


# -- which products --------------------------------------------------------------------------------------------------


def chosen(product: Product, dtype: str, traits: Traits) -> bool:
    """Whether CLBlast is to compute a product."""
    forced = os.environ.get(FORCED, "") == "clblast"
    if not forced and choices.configuration(product.sizes, dtype, traits) != CHOICE:
        return False
    found, where = library()
    if forced and found is None:
        raise UnavailableError(
            f"{FORCED} asks for CLBlast, which is not here: {where}",
            hint=f"apt-get install libclblast1, or {PLACE}=/path/to/libclblast.so.1, or unset {FORCED}",
        )
    return found is not None


def launches(
    product: Product, operands: tuple[Operand, Operand, Operand], epilogue: Epilogue, traits: Traits, free: int
) -> list[Launch] | None:
    """The launches of a product, or None if it is none for CLBlast; scratch gets numbers from `free` on."""
    m, n, _ = product.sizes
    c = operands[2]
    if epilogue.trivial:
        routine = routine_of(product, operands)
        return None if routine is None else [_launch(routine, operands)]
    partial = Scratch(free, product.batches * m * n * c.dtype.np.itemsize)
    sums = product._replace(
        c_rows=Axes((m,), (n,)),
        c_columns=Axes((n,), (1,)),
        batch=(*product.batch[:2], Axes((product.batches,), (m * n,))),
    )
    whole = (*operands[:2], Operand(partial, c.dtype))
    routine = routine_of(sums, whole)
    if routine is None:
        return None
    last = added_parts(product, partial, c, c.dtype, 1, epilogue, traits)
    return [_launch(routine, whole), last._replace(title="bias and activation of a product")]


def routine_of(product: Product, operands: tuple[Operand, Operand, Operand]) -> Routine | None:
    """The call for a product, if CLBlast has one."""
    dtype = operands[2].dtype
    m, n, k = product.sizes
    if dtype.name not in ROUTINES or any(x.dtype is not dtype for x in operands) or product.index_type() != "int":
        return None
    sides = (product.a_rows, product.a_depth), (product.b_depth, product.b_columns), (product.c_rows, product.c_columns)
    found = [
        _matrix(*side, batch, x.start) for side, batch, x in zip(sides, product.batch, operands, strict=True)
    ]  # fmt: skip
    a, b, c = found
    if a is None or b is None or c is None or c.turned or not k or (product.batches > 1 and not c.batch):
        return None
    return Routine(dtype.name, (m, n, k), a, b, c, product.batches)


def _matrix(rows: Axes, columns: Axes, batch: Axes, start: int) -> Matrix | None:
    """How a matrix lies, if it lies as a matrix does."""
    down, across, each = rows.stride, columns.stride, batch.stride
    if down is None or across is None or each is None or each < 0:
        return None
    m, n = rows.places, columns.places
    line = down if m > 1 else n
    if (across == 1 or n == 1) and line >= n:
        return Matrix(False, line, each, start)
    line = across if n > 1 else m
    if (down == 1 or m == 1) and line >= m:
        return Matrix(True, line, each, start)
    return None


def _launch(routine: Routine, operands: tuple[Operand, Operand, Operand]) -> Launch:
    m, n, k = routine.sizes
    many = f"{routine.batches} x " if routine.batches > 1 else ""
    title = f"{routine.name}, {many}{m} x {k} x {n}"
    arguments = tuple(x.argument for x in operands)
    written = tuple(w for w in arguments[2:] if isinstance(w, int))
    return Launch(f"// {title}: computed by that library\n", (m, n), (1, 1), arguments, written, title, routine)


# -- doing it --------------------------------------------------------------------------------------------------------


class Call:
    """A routine with its arguments, used as a kernel is."""

    def __init__(self, routine: Routine) -> None:
        found = library()[0]
        assert found is not None  # or there would be no such launch
        self._routine = routine
        self._function = getattr(found, routine.name)
        self._buffers: list[Any] = [None] * 3
        self._words: list[Any] = []  # of the last call, good until an argument changes

    def set_arg(self, place: int, buffer: Any) -> None:
        """Let an argument be this buffer."""
        self._buffers[place] = buffer
        self._words = []

    def set_args(self, *buffers: Any) -> None:
        """Let the arguments be these buffers."""
        self._buffers[:] = buffers
        self._words = []

    def enqueue(self, queue: Any, waits: Any = None) -> Any:
        """Queue it behind these events; the event of its end."""
        if waits:
            cl.enqueue_barrier(queue, wait_for=waits)
        self._words = self._words or list(self._parameters())
        handle = ctypes.c_void_p(queue.int_ptr)
        status = self._function(*self._words, ctypes.byref(handle), None)
        if status:
            record = cl._cl._ErrorRecord(msg=f"status {status}", code=status, routine=self._routine.name)
            raise cl.RuntimeError(record)
        return cl.enqueue_marker(queue)

    def _parameters(self) -> Iterator[Any]:
        """The parameters before the queue, as the C interface lists them."""
        r, size = self._routine, ctypes.c_size_t
        number = ROUTINES[r.dtype][1]
        many = r.batches > 1
        yield from (ROW_MAJOR, *(TURNED if x.turned else PLAIN for x in (r.a, r.b)), *map(size, r.sizes), number(1))
        for x, buffer in zip((r.a, r.b, r.c), self._buffers, strict=True):
            if x is r.c:
                yield number(0)
            yield from (ctypes.c_void_p(buffer.int_ptr), size(x.start), size(x.line))
            if many:
                yield size(x.batch)
        if many:
            yield size(r.batches)


def bound(device: Device, given: Sequence[Launch], origins: Sequence[str] = ()) -> list[Any]:
    """For each launch its kernel, or its call of CLBlast."""
    kernels = iter(building.build(device, [x.source for x in given if x.routine is None], origins))
    return [next(kernels) if x.routine is None else Call(x.routine) for x in given]


def enqueuer(queue: Any, kernel: Any, launch: Launch) -> Callable[..., Any]:
    """A function that queues a launch behind the events that it is given, and returns the event of its end."""
    if launch.routine is not None:
        return functools.partial(kernel.enqueue, queue)
    return functools.partial(cl.enqueue_nd_range_kernel, queue, kernel, launch.items, launch.group, None)
