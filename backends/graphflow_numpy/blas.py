"""The BLAS that NumPy loaded: how many threads it may use, and matrix products whose bits do not depend on that.

Policy.  Measured on OpenBLAS 0.3.31: a product of floats has other bits on two threads than on one (in 1 to 25 % of its
elements, beyond some 64 x 64 x 64); a product computed in two halves has other bits than one computed whole; and a
thread of OpenBLAS that has just worked goes on spinning for some 25 ms, in which our own threads stand still.  So BLAS
gets one thread while a program runs, and what is large enough is cut into panels: *which* panels depends on the shape
alone, never on how many threads there are, so the bits are the same on any number of them.

A `Lease` asks for a number of threads.  While there are leases, BLAS has the least that any of them asks for; when the
last one ends, it has again what it had before the first.  Where the BLAS has no such control nothing happens.

State: the library's functions, found at first need, and the leases of this process.
"""

from __future__ import annotations

import _thread
import ctypes
import glob
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

# OpenBLAS as NumPy's wheels bring it and as distributions do, then MKL; each with the function that reads the number
_SYMBOLS = (
    ("scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
    ("scipy_openblas_set_num_threads", "scipy_openblas_get_num_threads"),
    ("openblas_set_num_threads64_", "openblas_get_num_threads64_"),
    ("openblas_set_num_threads", "openblas_get_num_threads"),
    ("MKL_Set_Num_Threads", "MKL_Get_Max_Threads"),
)
MATRIX_THREADS_FROM = 1 << 18  # m * k * n beyond which OpenBLAS uses threads
VECTOR_THREADS_FROM = 9216  # the same where m or n is 1
PANELS = ((1 << 28, 8), (1 << 25, 4), (3 << 22, 2))  # from which m * k * n on a product is cut into so many panels
NARROWEST = 48  # rows or columns of a panel

_lock = threading.RLock()  # a lease may end in the middle of anything, when it is collected
_asked: dict[int, int] = {}  # id of the lease -> threads
_before = 0  # what BLAS had before the first lease
_functions: tuple[Callable[[int], Any], Callable[[], int]] | None = None
_searched = False


class Lease:
    """While it lasts, BLAS has at most so many threads; it ends with `release`, or when it is dropped."""

    __slots__ = ("__weakref__",)

    def __init__(self, threads: int = 1) -> None:
        global _before
        control = _control()
        if control is None:
            return
        with _lock:
            if not _asked:
                _before = control[1]()
            _asked[id(self)] = threads
            _apply(control)

    def release(self) -> None:
        """BLAS may have what the other leases allow, or what it had."""
        if id(self) in _asked:
            with _lock:
                _asked.pop(id(self), None)
                if _functions is not None:
                    _apply(_functions)

    def __del__(self) -> None:
        try:
            self.release()
        except KeyboardInterrupt:  # what is raised here reaches nobody, so it is raised again
            self.release()
            _thread.interrupt_main()


def _apply(control: tuple[Callable[[int], Any], Callable[[], int]]) -> None:
    wanted = min((_before, *_asked.values()))
    if control[1]() != wanted:
        control[0](wanted)


def has_one_thread() -> bool:
    """Whether BLAS has one thread without any lease, and so keeps it."""
    control = _control()
    return control is None or not _asked and control[1]() == 1


def threads() -> int | None:
    """How many threads BLAS may use now; None if it does not say."""
    control = _control()
    return None if control is None else control[1]()


def _control() -> tuple[Callable[[int], Any], Callable[[], int]] | None:
    """The functions that set and read the number of threads."""
    global _functions, _searched
    if not _searched:
        _functions = _find()
        _searched = True
    return _functions


def _find() -> tuple[Callable[[int], Any], Callable[[], int]] | None:
    for path in _libraries():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for setter, getter in _SYMBOLS:
            found, reader = getattr(library, setter, None), getattr(library, getter, None)
            if found is not None and reader is not None:
                found.argtypes, found.restype = [ctypes.c_int], None
                reader.argtypes, reader.restype = [], ctypes.c_int
                return found, reader
    return None


def _libraries() -> list[str]:
    """NumPy's own extension first: looking a symbol up in it looks in what it is linked to, which is its BLAS."""
    folder = os.path.dirname(np.__file__)
    core = getattr(getattr(np, "_core", None), "_multiarray_umath", None)
    own = [core.__file__] if core is not None and getattr(core, "__file__", None) else []
    return own + sorted(glob.glob(os.path.join(folder + ".libs", "*openblas*")))


def may_thread(m: int, k: int, n: int) -> bool:
    """Whether BLAS might use threads for a product of that size: only then a program needs a lease."""
    return m * k * n > (MATRIX_THREADS_FROM if m > 1 and n > 1 else VECTOR_THREADS_FROM)


def panels(m: int, k: int, n: int) -> int:
    """Into how many panels an (m, k) x (k, n) product is cut, along the longer of m and n; 1 if it is not."""
    work = m * k * n
    for least, count in PANELS:
        if work >= least:
            return max(1, min(count, max(m, n) // NARROWEST))
    return 1


def one_after_the_other(count: int, function: Callable[[int], Any]) -> None:
    """Call function(0) ... function(count - 1) here: for who has no threads to share with."""
    for number in range(count):
        function(number)


def multiply(
    a: Any, b: Any, out: Any = None, share: Callable[[int, Callable[[int], Any]], None] = one_after_the_other
) -> Any:
    """The product of two matrices of one dtype, panel by panel, which `share(count, function)` may spread."""
    n = b.shape[1]
    m, k = a.shape
    if a.size * n < PANELS[-1][0] or (count := panels(m, k, n)) == 1:
        return a.dot(b) if out is None else a.dot(b, out)
    if out is None:
        out = np.empty((m, n), a.dtype)
    if n >= m:
        edges = [n * i // count for i in range(count + 1)]

        def panel(i: int) -> None:
            columns = slice(edges[i], edges[i + 1])
            np.matmul(a, b[:, columns], out[:, columns])
    else:
        edges = [m * i // count for i in range(count + 1)]

        def panel(i: int) -> None:
            rows = slice(edges[i], edges[i + 1])
            np.matmul(a[rows], b, out[rows])

    share(count, panel)
    return out
