"""How many threads BLAS gets for the products of a program, or for one alone.

State: none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphflow.program import Instruction
from graphflow.spec import TensorSpec, is_concrete, numel
from graphflow_numpy import blas
from graphflow_numpy.binding import Bound, row_of

WORTH_SHARING = 1 << 27  # multiplications: 3 ms; at 0.5 ms the median of a step became 4 % worse
WORTH_THREADS = 1 << 22  # multiplications from which on a product is worth a second thread of BLAS


def may_thread(values: Sequence[TensorSpec], ins: Instruction) -> bool:
    """Whether BLAS might use threads for a product, and so round otherwise than with one."""
    return _work(values, ins)[1]


def worth_sharing(values: Sequence[TensorSpec], ins: Instruction) -> bool:
    """Whether a product alone is worth waking another thread that has to come for Python's lock, too."""
    return _work(values, ins)[0] >= WORTH_SHARING


def blas_threads(bound: Bound, threads: int) -> int:
    """How many threads BLAS gets in a run of this program; 0 if no product is large enough to matter.

    With several, OpenBLAS rounds otherwise than with one: so it gets one, but at O2, where rounding is free, if no
    kernel shares out work of its own and a product is worth waking a thread for.
    """
    program = bound.program
    works = [_work(program.values, ins) for ins in bound.products]
    if not any(may_thread for _, may_thread in works):
        return 0
    side_by_side = program.schedule is not None and program.schedule.workers > 1
    alone = all(row_of(ins).blas != "pieces" for ins in bound.products) and not side_by_side
    return threads if program.level >= 2 and alone and max(works)[0] >= WORTH_THREADS else 1


def _work(values: Sequence[TensorSpec], ins: Instruction) -> tuple[float, bool]:
    """About how many multiplications a product takes, and whether BLAS might use threads for them.

    Infinitely many where its shapes are not known.
    """
    shapes = []
    for v in (*ins.inputs[:2], *ins.outputs[:1]):
        dims = values[v].dims if v >= 0 else ()
        if not is_concrete(dims):
            return math.inf, True
        shapes.append(dims)
    work = math.sqrt(math.prod(map(numel, shapes)))  # of two matrices (m k) (k n) (m n), which is (m k n) squared
    if row_of(ins).blas == "matrices" and all(len(dims) == 2 for dims in shapes):
        m, n = shapes[2]
        return work, blas.may_thread(m, round(work) // max(1, m * n), n)
    return work, work > blas.VECTOR_THREADS_FROM
