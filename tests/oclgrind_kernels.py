"""All families of kernels under oclgrind, in both schedules: `python tests/oclgrind_kernels.py`, not for pytest.

Needs pyopencl and the oclgrind wheel.  oclgrind interprets kernels and tells of accesses outside a buffer and of data
races; values are held against NumPy's besides.  Sizes are small, with those around the widths of vectors and groups.

With the word `unwritten` it looks for values from private or local memory that nobody has written instead, for people
and not for CI: oclgrind's check for that finds the planted faults, but it also tells of a few graphs that are right,
others in each run, and mostly in the GPU schedule.  Only a kernel's line that is told of in every run is a fault.

Policy: any word of oclgrind is a failure.  Each value gets a buffer of exactly its size, where a plan would cut it from
an arena, so that an access beyond it is seen; and memory that nobody has written is full of ones, which is NaN or -1,
so that reading it shows in the values.  The check that oclgrind has for it takes what an earlier kernel wrote for
unwritten, so all buffers are written anew before each launch; and it dies on vector literals, which are taken apart
(`oclgrind_vectors`).  Kernels are not optimised, since oclgrind makes 255 of a true that comes as a single bit.  Not
seen by CI: reads of unwritten local memory, and accesses to the word beside a word that a plan keeps.

State: `pyopencl.Buffer` is replaced, and for the check of unwritten memory how programs are written and launched; the
stream of errors goes into a file, to be read after each graph.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import tempfile
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["OCLGRIND_UNINITIALIZED" if "unwritten" in sys.argv else "OCLGRIND_DATA_RACES"] = "1"
os.environ["GRAPHFLOW_OCL_PRODUCTS"] = "device"
os.environ["GRAPHFLOW_OCL_LANES"] = "1"  # oclgrind has no locks
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyopencl as cl
from graphflow_opencl import building, sorted_walks
from graphflow_opencl.devices import open_device

import graphflow as tf
from graphflow.testing import Arg, OpCase
from tests.cases import CASES
from tests.oclgrind_vectors import taken_apart
from tests.opencl_graphs import Rows, complaints, run_on_device, together

UNWRITTEN = "unwritten" in sys.argv  # look for reads of unwritten private and local memory, and for nothing else
SIZES = (0, 1, 7, 9) if UNWRITTEN else (0, 1, 7, 8, 9, 63, 65)
EACH = 2  # rows of each op type in the table of cases
MOST = 2  # rows in a graph: oclgrind takes the local memory of all its kernels together for that of each
SORTED_FROM = 64  # updates of a walk that are sorted on a GPU: with the large sizes here, with thousands elsewhere
WORD = 4  # bytes: what a kernel refuses is told in parts of one buffer
BUFFERS: weakref.WeakSet[Any] = weakref.WeakSet()


class Buffer(cl.Buffer):
    """A buffer that is full of ones until it is written; its parts are buffers of their own."""

    def __init__(self, context: Any, flags: Any, size: int = 0, hostbuf: Any = None) -> None:
        self._made_in = context
        if hostbuf is None:
            flags, hostbuf = flags | cl.mem_flags.COPY_HOST_PTR, np.full(size, 0xFF, np.uint8)
        super().__init__(context, flags, 0, hostbuf)
        BUFFERS.add(self)

    def get_sub_region(self, origin: int, size: int, flags: int = 0) -> Any:
        """Memory elsewhere, unless it is a single word."""
        if size == WORD:
            return super().get_sub_region(origin, size, flags)
        return Buffer(self._made_in, cl.mem_flags.READ_WRITE, size)


# -- graphs of a size ----------------------------------------------------------------------------------------------


def _chain(a: Any, b: Any, c: Any, d: Any) -> list[Any]:
    y = tf.tanh(a * b + c) * tf.sigmoid(d) - 0.5 * tf.square(a) + tf.exp(-tf.square(c))
    return [y, tf.reduce_sum(y), tf.reduce_max(y) if y.shape.num_elements() else y]


def _broadcast(column: Any, row: Any, x: Any) -> list[Any]:
    y = tf.maximum(column, row) * x
    return [y, tf.reduce_sum(y, 0), tf.reduce_sum(y, 1), tf.reduce_mean(tf.erf(y), 1, keepdims=True), y > 0.5]


def _casts(x: Any) -> list[Any]:
    dtypes = (tf.float16, tf.bfloat16, tf.int8, tf.int64, tf.bool, tf.float64)
    return [*(tf.cast(x, d) for d in dtypes), tf.cast(tf.cast(x, tf.int32) // 3, tf.uint8)]


def _rows(x: Any, labels: Any) -> list[Any]:
    mean, variance = tf.nn.moments(x, [1], keep_dims=True)
    return [
        tf.nn.softmax(x), tf.nn.log_softmax(x), (x - mean) * tf.rsqrt(variance + 1e-3),
        tf.nn.softmax_cross_entropy_with_logits_v2(labels=tf.nn.softmax(labels), logits=x),
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, x.shape[1].value - 1, 0], logits=x),
    ]  # fmt: skip


def _lines(x: Any, scale: Any, offset: Any) -> list[Any]:
    """Normalisations of rows and of columns, their gradients, and what is kept from one pass to the next."""
    ends = []
    for axis in (-1, 0):
        mean, variance = tf.nn.moments(x, [axis], keep_dims=True)
        y = tf.nn.batch_normalization(x, mean, variance, offset, scale, 1e-3)
        ends += [y, *tf.gradients(tf.reduce_sum(y * x), [x, scale, offset])]
    e = tf.exp(tf.tanh(x * x) + tf.sigmoid(x))
    share = e / tf.reduce_sum(e, -1, keepdims=True)
    return [*ends, tf.nn.l2_normalize(x, -1), tf.reduce_sum(share * tf.log(share), -1)]


def _products(x: Any, w: Any, b: Any, many: Any) -> list[Any]:
    return [
        tf.nn.relu(tf.matmul(x, w) + b), tf.matmul(x, x, transpose_b=True), tf.matmul(w, x, True, True),
        tf.matmul(many, many, transpose_b=True),
    ]  # fmt: skip


def _windows(x: Any, w: Any, depth: Any) -> list[Any]:
    y = tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")
    return [
        tf.nn.max_pool(y, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"), tf.nn.conv2d(x, w, [1, 2, 1, 1], "SAME"),
        tf.nn.avg_pool(x, [1, 3, 2, 1], [1, 2, 1, 1], "SAME"), tf.nn.depthwise_conv2d(x, depth, [1, 1, 1, 1], "SAME"),
        tf.nn.lrn(x, 1),
    ]  # fmt: skip


def _moved(x: Any) -> list[Any]:
    n = x.shape[0].value
    return [
        tf.transpose(x), tf.reverse(x, [0]), tf.roll(x, 3, 0), tf.pad(x, [[2, 1], [0, 3]]), tf.tile(x, [2, 3]),
        tf.concat([x, x[:1], x], 0), tf.stack([x, x], 1), *tf.split(x, [1, n - 1], 0), x[::-2], x[1:, ::2],
        tf.matrix_diag(x), tf.matrix_band_part(x, 1, 0), tf.pad(x, [[1, 1], [1, 1]], "SYMMETRIC"), tf.eye(n),
    ]  # fmt: skip


def _places(n: int) -> Any:
    return np.arange(n, dtype=np.int32) * 5 % max(1, n - 1)


def _indexed(x: Any) -> list[Any]:
    places = _places(x.shape[0].value)
    return [
        tf.gather(x, places), tf.gather(x, [2, 0], axis=1), tf.gather_nd(x, np.stack([places, places % 3], 1)),
        tf.one_hot(places, 4), tf.unsorted_segment_sum(x, places, 64), tf.unsorted_segment_max(x, places, 70),
        tf.segment_sum(x, np.sort(places)), tf.scatter_nd(places[:, None], x, [70, 3]),
    ]  # fmt: skip


def _ordered(x: Any) -> list[Any]:
    return [
        tf.sort(x), tf.sort(x, 0, "DESCENDING"), tf.nn.top_k(x, x.shape[1].value // 2 + 1)[0], tf.argmax(x, 1),
        tf.argmin(x, 0), tf.cumsum(x, 1), tf.cumprod(x, 1, exclusive=True), tf.cumsum(x, 0, reverse=True),
        tf.invert_permutation(np.random.default_rng(0).permutation(x.shape[1].value)),
    ]  # fmt: skip


def _drawn(x: Any) -> list[Any]:
    shape = x.shape.as_list()
    return [
        tf.random_uniform(shape, seed=1), tf.random_normal(shape, seed=2), tf.truncated_normal(shape, seed=3),
        tf.random_uniform(shape, 3, 99, tf.int32, seed=4), tf.nn.dropout(x, 0.5, seed=5),
    ]  # fmt: skip


# A family: what makes its tensors, the shapes of its inputs for a size, and the smallest size that has a meaning.
FAMILIES: dict[str, tuple[Callable[..., Any], Callable[[int], Sequence[tuple[int, ...]]], int]] = {
    "a chain": (_chain, lambda n: [(n,)] * 4, 0),
    "broadcasts and reductions": (_broadcast, lambda n: [(n, 1), (1, 5), (n, 5)], 0),
    "many columns": (_broadcast, lambda n: [(3, 1), (1, n), (3, n)], 1),
    "casts": (_casts, lambda n: [(n,)], 0),
    "rows": (_rows, lambda n: [(3, n), (3, n)], 1),
    "lines": (_lines, lambda n: [(n, 5), (5,), (5,)], 2),
    "long lines": (_lines, lambda n: [(3, n), (n,), (n,)], 2),
    "products": (_products, lambda n: [(n, 9), (9, n), (n,), (2, 3, n)], 0),
    "windows": (_windows, lambda n: [(1, n, 5, 3), (3, 2, 3, 4), (2, 2, 3, 2)], 1),
    "moved": (_moved, lambda n: [(n, 3)], 1),
    "indexed": (_indexed, lambda n: [(n, 3)], 1),
    "ordered": (_ordered, lambda n: [(2, n)], 1),
    "drawn": (_drawn, lambda n: [(n,)], 0),
}
LONG = () if UNWRITTEN else ("a chain", "casts", "drawn")  # cheap enough for a thousand


def swept() -> Iterator[list[OpCase]]:
    """Each family in each size."""
    for name, (build, shapes, least) in FAMILIES.items():
        for size in (*SIZES, *((1000,) if name in LONG else ())):
            if size >= least:
                inputs = tuple(Arg(shape, -1.5, 2.5) for shape in shapes(size))
                yield [OpCase(name, str(size), build, inputs)]


def tabled() -> Iterator[list[OpCase]]:
    """Some rows of each op type of the table of cases."""
    chosen = [case for kind in together(CASES, len(CASES)) for case in kind[:EACH]]
    for i in range(0, len(chosen), MOST):
        yield chosen[i : i + MOST]


class Reports:
    """What was written to the stream of errors since it was last asked for."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as the process lives
        os.dup2(self._file.fileno(), 2)
        self._read = 0

    def new(self) -> str:
        text = os.pread(self._file.fileno(), 1 << 20, self._read)
        self._read += len(text)
        return text.decode("utf-8", "replace").strip()


# -- faults that must be seen --------------------------------------------------------------------------------------

BEYOND = "__kernel void KERNEL(__global int *a) { a[get_global_id(0) + 1] = 1; }"
RACE = """__kernel void KERNEL(__global int *a) {
    __local int shared[8];
    shared[get_local_id(0)] = get_global_id(0);
    a[get_global_id(0)] = shared[7 - get_local_id(0)];
}"""
LOCAL = """__kernel void KERNEL(__global int *a) {
    __local int shared[8];
    if (get_local_id(0) < 7) shared[get_local_id(0)] = 3;
    barrier(CLK_LOCAL_MEM_FENCE);
    a[get_global_id(0)] = shared[get_local_id(0)];
}"""
PRIVATE = """__kernel void KERNEL(__global int *a) {
    int4 part[2];
    part[get_global_id(0) & 1] = vload4(0, a);
    int4 whole = (int4)(part[1].s01, 5, 6);
    a[get_global_id(0)] = whole.s1;
}"""
ACCESSES = (BEYOND, "Invalid write"), (RACE, "data race")
FAULTS = ((LOCAL, "ninitialized"), (PRIVATE, "ninitialized")) if UNWRITTEN else ACCESSES


def overlooked(reports: Reports) -> list[str]:
    """Which of the planted faults oclgrind does not tell."""
    device = open_device()
    out = []
    for source, words in FAULTS:
        program = cl.Program(device.context, building.whole_source([source], False)[0]).build(
            list(building.OPTIONS), cache_dir=False
        )
        kernel = cl.Kernel(program, "k0")
        memory = Buffer(device.context, cl.mem_flags.READ_WRITE, 32)
        kernel.set_args(memory)
        cl.enqueue_nd_range_kernel(device.queue(0), kernel, (8,), (8,))
        device.finish()
        if words not in reports.new():
            out.append(words)
    return out


# -- the run -------------------------------------------------------------------------------------------------------


def check(cases: Sequence[OpCase], reports: Reports) -> list[str]:
    """What is wrong with some rows."""
    try:
        rows = Rows(cases, ["float32"])
        bad = complaints(rows, run_on_device(rows), rows.run(optimization_level=0))
    except Exception as error:
        bad = ["".join(traceback.format_exception(error))[-1500:]]
    text = reports.new()
    return [*bad, *(["oclgrind says\n" + text[:3000]] if text else [])]


def without_literals(whole_source: Callable[..., tuple[str, list[str]]]) -> Callable[..., tuple[str, list[str]]]:
    """How programs are written for the check of unwritten memory."""

    def whole(sources: Sequence[str], doubles: bool) -> tuple[str, list[str]]:
        text, names = whole_source(sources, doubles)
        return taken_apart(text), names

    return whole


def rewritten_before(enqueue: Callable[..., Any]) -> Callable[..., Any]:
    """A launch before which the host writes all buffers anew, with what is in them: nothing is unwritten then."""

    def launch(queue: Any, *arguments: Any) -> Any:
        for buffer in list(BUFFERS):
            contents = np.empty(buffer.size, np.uint8)
            cl.enqueue_copy(queue, contents, buffer)
            cl.enqueue_copy(queue, buffer, contents)
        return enqueue(queue, *arguments)

    return launch


def main() -> int:
    """Everything; the exit status."""
    faulthandler.enable(sys.stdout)
    cl.Buffer = Buffer
    building.OPTIONS += ("-cl-opt-disable",)
    sorted_walks.MANY = SORTED_FROM
    if UNWRITTEN:
        building.whole_source = without_literals(building.whole_source)
        cl.enqueue_nd_range_kernel = rewritten_before(cl.enqueue_nd_range_kernel)
    reports = Reports()
    np.seterr(all="ignore")
    if missing := overlooked(reports):
        print(f"planted faults were overlooked: {', '.join(missing)}; is {open_device()} oclgrind's?")
        return 1
    failed = count = 0
    for schedule in ("cpu", "gpu"):
        os.environ["GRAPHFLOW_OCL_SCHEDULE"] = schedule
        started = time.process_time()
        for cases in (*swept(), *tabled()):
            bad = check(cases, reports)
            count += 1
            if bad:
                failed += 1
                print(f"FAILED, {schedule} schedule, {', '.join(map(str, cases))}\n" + "\n".join(bad[:4]), flush=True)
        print(f"{schedule} schedule: {time.process_time() - started:.0f} s of CPU time", flush=True)
    what = "unwritten memory" if UNWRITTEN else "accesses and races"
    print(f"{count} graphs under oclgrind for {what}, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
