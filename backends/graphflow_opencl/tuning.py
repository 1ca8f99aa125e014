"""Which of several ways to compute a product is faster on this device, by trying.

Policy: on a CPU device that sees the host's memory, products and convolutions of each size class run either by our own
kernels or as host tasks by the NumPy backend; a short probe decides when the first one of a class comes, and what it
found is stored.  On a GPU the configurations of the tiled kernel are tried at the first product of a class, those that
the driver refuses left out.  Nothing in here can fail a run: if a probe breaks, the kernels' defaults are used.
`GRAPHFLOW_OCL_PRODUCTS=host|device` overrides the probe.

State: none; what was measured is in `choices`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyopencl as cl

from graphflow.backend import load_backend
from graphflow.dtypes import DType, as_dtype
from graphflow.errors import Error, InvalidArgumentError
from graphflow.program import Instruction
from graphflow.spec import TensorSpec, numel
from graphflow_opencl import choices, clblast, products_gpu
from graphflow_opencl.affine import NOTHING, Operand, Product, axes
from graphflow_opencl.devices import Device
from graphflow_opencl.table import RULES, Launch, Scratch, Site

OVERRIDE = clblast.FORCED
WAYS = ("clblast", "host", "device")
ROUNDS = 10  # the least of so many: a core that is busy elsewhere must not decide for ever
HOST_SECONDS = 50e-6  # what a host task costs beyond its kernel: the wait for its inputs, the event for its results
TUNED_FROM = 2 * 128**3  # operations of a product that is worth trying configurations
MOST_BYTES = 1 << 30  # of the arrays that a trial takes
_FLOAT = as_dtype("float32")
_LOG = logging.getLogger("graphflow")
_WINDOW: dict[str, Any] = {"strides": (1, 1), "padding": "SAME", "data_format": "NHWC", "dilations": (1, 1)}
_MATRIX: dict[str, Any] = {"transpose_a": False, "transpose_b": False}


class Row(NamedTuple):
    """A size class: what stands for it, and how many operations that takes."""

    inputs: tuple[tuple[int, ...], tuple[int, ...]]
    result: tuple[int, ...]
    flops: float


class Probe(NamedTuple):
    """How a kind of work is measured."""

    type: str
    attrs: dict[str, Any]
    rows: tuple[Row, ...]


PROBES: dict[str, Probe] = {
    "product": Probe("MatMul", _MATRIX, tuple(Row(((n, n), (n, n)), (n, n), 2.0 * n**3) for n in (64, 256, 512))),
    "convolution": Probe(
        "Conv2D", _WINDOW,
        (Row(((16, 14, 14, 32), (3, 3, 32, 32)), (16, 14, 14, 32), 2.0 * 16 * 14 * 14 * 9 * 32 * 32),)
    ),
}  # fmt: skip


def prefers_host(device: Device, kind: str, flops: float) -> bool:
    """Whether an op of this kind ("product", "convolution") and of so many operations is the host's."""
    forced = os.environ.get(OVERRIDE, "")
    if forced not in ("", *WAYS):
        raise InvalidArgumentError(f"{OVERRIDE} has an unknown value", expected=" or ".join(WAYS), got=forced)
    if forced:
        return forced == "host"
    if not device.traits.shares_memory or device.traits.schedule != "cpu":
        return False
    row = _nearest(kind, flops)
    known = choices.hosts(device, kind).get(row.flops)
    if known is None:
        known = _probe(device, kind, row)
        choices.keep_host(device, kind, row.flops, known)
    return known


def _nearest(kind: str, flops: float) -> Row:
    """The size class that is nearest by ratio."""
    return min(PROBES[kind].rows, key=lambda row: max(row.flops, flops) / max(1.0, min(row.flops, flops)))


def _probe(device: Device, kind: str, row: Row) -> bool:
    """Whether the host is faster."""
    try:
        own, host = _race(device, PROBES[kind], row)
    except (cl.Error, Error) as error:
        _LOG.debug("the probe of a %s failed, it runs on the host: %s", kind, error)
        own, host = np.inf, 0.0
    _LOG.debug("%s of %.3g operations: %.3g s on the device, %.3g s on the host", kind, row.flops, own, host)
    return bool(host + HOST_SECONDS < own)


def _race(device: Device, probe: Probe, row: Row) -> tuple[float, float]:
    """The seconds of our kernels and those of NumPy's: the least of some rounds, taken in turns."""
    inputs = [np.linspace(-1, 1, numel(dims), dtype=np.float32).reshape(dims) for dims in row.inputs]
    ins = Instruction(0, probe.type, (0, 1), (2,), probe.attrs, (), None)  # type: ignore[arg-type]
    specs = tuple(TensorSpec(_FLOAT, dims) for dims in row.inputs)
    site = Site(ins, specs, (TensorSpec(_FLOAT, row.result),), (None, None), device.traits)
    launches = RULES[probe.type](site) or []
    own = _bound(device, launches, {0: inputs[0], 1: inputs[1], 2: np.empty(row.result, np.float32)})

    numpy_backend = load_backend("numpy")

    def host() -> None:
        numpy_backend.evaluate(ins, inputs)

    times = [(_seconds(own), _seconds(host)) for _ in range(ROUNDS)]
    return min(t for t, _ in times[1:]), min(t for _, t in times[1:])


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _bound(device: Device, launches: Sequence[Launch], arrays: dict[int, Any]) -> Callable[[], None]:
    """A function that runs launches and waits for them."""
    queue, flags = device.queue(0), cl.mem_flags.READ_WRITE
    memory: dict[Any, cl.Buffer] = {}
    for v, array in arrays.items():
        memory[v] = cl.Buffer(device.context, flags | cl.mem_flags.COPY_HOST_PTR, hostbuf=array)
    for argument in (a for launch in launches for a in launch.arguments if isinstance(a, Scratch)):
        memory.setdefault(argument, cl.Buffer(device.context, flags, max(1, argument.nbytes)))
    kernels = clblast.bound(device, launches)
    for kernel, launch in zip(kernels, launches, strict=True):
        kernel.set_args(*(memory[a] for a in launch.arguments))
    queued = [clblast.enqueuer(queue, kernel, x) for kernel, x in zip(kernels, launches, strict=True)]
    kept = memory  # a kernel does not hold the memory that it is bound to

    def run() -> None:
        for enqueue in queued:
            enqueue()
        queue.finish()
        assert kept is memory

    return run


# -- configurations on a GPU -----------------------------------------------------------------------------------------


def tune(device: Device, sizes: tuple[int, int, int], dtype: str = "float32") -> int:
    """Try the configurations for products of this class, once; the number of the fastest, or -1 for the default."""
    traits, (m, n, k) = device.traits, sizes
    known = choices.configuration(sizes, dtype, traits)
    if known < 0:
        choices.hosts(device, "product")  # what the file says
        known = choices.configuration(sizes, dtype, traits)
    if known == clblast.CHOICE and clblast.library()[0] is None:
        known = -1  # it was here in an earlier process
    itemsize = as_dtype(dtype).size
    too_large = (m * k + k * n + m * n) * itemsize > MOST_BYTES
    if known >= 0 or device.kind != "gpu" or 2 * m * n * k < TUNED_FROM or too_large:
        return known
    try:
        best = try_configurations(device, sizes, dtype)
    except (cl.Error, Error) as error:
        _LOG.debug("trying the configurations of a product failed, the default is used: %s", error)
        return -1
    if best >= 0:  # else the default is used, and the next such product is tried again
        choices.keep_configuration(device, sizes, dtype, best)
    return best


def _candidates(
    product: Product, operands: tuple[Operand, Operand, Operand], device: Device, numbers: Sequence[int]
) -> Iterator[tuple[int, Sequence[Launch]]]:
    """The ways to compute a product on a GPU, with their numbers: our configurations, and CLBlast if it is here."""
    dtype = operands[2].dtype
    for number in numbers:
        yield number, products_gpu.gpu_launches(product, *operands, dtype, NOTHING, device.traits, 0, number)
    if clblast.library()[0] is not None:
        found = clblast.launches(product, operands, NOTHING, device.traits, 0)
        if found is not None:
            yield clblast.CHOICE, found


def try_configurations(device: Device, sizes: tuple[int, int, int], dtype: str) -> int:
    """The number of the configuration that is fastest for a product of these sizes; -1 if none works.

    Those with smaller groups are tried only if the driver refuses all others.
    """
    kind, traits = as_dtype(dtype), device.traits
    first = products_gpu.usable(kind, traits)
    best = _fastest(device, sizes, kind, first)
    if best >= 0:
        return best
    return _fastest(device, sizes, kind, [n for n in products_gpu.fitting(kind, traits) if n not in first])


def _fastest(device: Device, sizes: tuple[int, int, int], kind: DType, numbers: Sequence[int]) -> int:
    """The fastest of these configurations and CLBlast; what the driver refuses is left out."""
    m, n, k = sizes
    arrays = {0: np.ones((m, k), kind.np), 1: np.ones((k, n), kind.np), 2: np.empty((m, n), kind.np)}
    product = Product(
        axes((m, k)), axes((k, 1)), axes((k, n)), axes((n, 1)), axes((m, n)), axes((n, 1))
    )  # fmt: skip
    a, b, c = (Operand(number, kind) for number in range(3))
    best, least = -1, np.inf
    for number, launches in _candidates(product, (a, b, c), device, numbers):
        try:
            run = _bound(device, launches, arrays)
            run()
            seconds = min(_seconds(run) for _ in range(ROUNDS))
        except (cl.Error, Error) as error:
            name = "CLBlast" if number == clblast.CHOICE else f"configuration {number}"
            _LOG.debug("%s failed and is left out: %s", name, error)
            continue
        if seconds < least:
            best, least = number, seconds
    return best
