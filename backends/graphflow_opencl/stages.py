"""What the doctor does with drivers, each stage in a child process: `python -m graphflow_opencl.stages STAGE ...`.

Policy: a vendor's library may abort, hang or print, so nothing here runs in the user's process.  A child says which
step it begins and how it ended, one JSON object a line behind a record separator, so that the parent knows how far a
dead child came.  pyopencl and NumPy are imported by the steps that need them.  The kernels are for probing only.

State: none.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MARK = "\x1e"  # begins a line that is ours; drivers print to the same stream
PROBE_SECONDS = 0.1  # for each of latency, stream and matrix product
STREAM_FLOATS = 1 << 22
SIDE = 512  # of the square matrices

SOURCE = """
__kernel void sums(__global const float *a, __global const float *b, __global float *c) {
    int i = get_global_id(0);
    if (i < 1000) c[i] = a[i] + b[i];
}
__kernel void exps(__global const float *a, __global float *b) {
    int i = get_global_id(0);
    b[i] = exp(a[i]);
}
__kernel void stream(__global const float *a, __global const float *b, __global float *c, int first, int step, int n) {
    int at = get_global_id(0) * first;
    for (int j = 0; j < n; j++, at += step) vstore8(vload8(at, a) * 3.0f + vload8(at, b), at, c);
}
__kernel void product(__global const float *a, __global const float *b, __global float *c, int n) {
#pragma OPENCL FP_CONTRACT ON
    int row = get_global_id(0) * 4, column = get_global_id(1) * 16;
    float16 s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    __global const float *p = a + row * n;
    for (int k = 0; k < n; k++) {
        float16 v = vload16(0, b + k * n + column);
        s0 += p[k] * v; s1 += p[n + k] * v; s2 += p[2 * n + k] * v; s3 += p[3 * n + k] * v;
    }
    __global float *q = c + row * n + column;
    vstore16(s0, 0, q); vstore16(s1, 0, q + n); vstore16(s2, 0, q + 2 * n); vstore16(s3, 0, q + 3 * n);
}
"""


def tell(step: str, state: str, **facts: Any) -> None:
    """Say how a step stands: begin, ok or failed."""
    line = MARK + json.dumps({"step": step, "state": state, **facts}) + "\n"
    os.write(sys.stdout.fileno(), line.encode())


def imported(arguments: Sequence[str]) -> None:
    """Whether pyopencl can be imported."""
    tell("import", "begin")
    import pyopencl

    tell("import", "ok", version=pyopencl.VERSION_TEXT, folder=os.path.dirname(pyopencl.__file__))


def library(arguments: Sequence[str]) -> None:
    """Whether a vendor's library can be opened and looks like a driver."""
    tell("library", "begin")
    opened = ctypes.CDLL(arguments[0])
    if not hasattr(opened, "clGetExtensionFunctionAddress"):
        raise OSError(f"{arguments[0]}: not an OpenCL driver: it has no clGetExtensionFunctionAddress")
    tell("library", "ok")


def platforms(arguments: Sequence[str]) -> None:
    """All platforms and what their devices say of themselves, the device that would be chosen first."""
    tell("platforms", "begin")
    import pyopencl as cl

    found = cl.get_platforms()
    tell("platforms", "ok", count=len(found))
    for p, platform in enumerate(found):
        about = {"number": p, "platform": platform.name.strip(), "version": platform.version.strip()}
        tell("devices", "begin", **about)
        try:
            devices = platform.get_devices()
        except cl.Error as error:
            tell("devices", "failed", text=str(error), **about)
            continue
        records = [_record(f"opencl:{p}:{d}", device) for d, device in enumerate(devices)]
        tell("devices", "ok", records=records, **about)
    from graphflow_opencl.devices import candidates

    tell("order", "ok", names=[name for name, _ in candidates()])


def _record(name: str, device: Any) -> dict[str, Any]:
    import pyopencl as cl

    kinds = {cl.device_type.GPU: "gpu", cl.device_type.CPU: "cpu", cl.device_type.ACCELERATOR: "accelerator"}
    extensions = device.extensions.split()
    return {
        "name": name,
        "backend": "opencl",
        "type": next((word for bit, word in kinds.items() if device.type & bit), "other"),
        "device": device.name.strip(),
        "platform": device.platform.name.strip(),
        "driver": device.driver_version.strip(),
        "version": device.version.strip(),
        "units": device.max_compute_units,
        "memory": device.global_mem_size,
        "largest_buffer": device.max_mem_alloc_size,
        "align": device.mem_base_addr_align // 8,
        "out_of_order": bool(device.queue_properties & cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE),
        "fission": _parts(device) > 1,
        "float16": "cl_khr_fp16" in extensions,
        "float64": "cl_khr_fp64" in extensions,
        "subgroups": "cl_khr_subgroups" in extensions,
    }


def _parts(device: Any) -> int:
    import pyopencl as cl

    try:
        return int(device.partition_max_sub_devices)
    except cl.Error:  # older than OpenCL 1.2
        return 1


def caches(arguments: Sequence[str]) -> None:
    """Whether built programs can be kept: by us, and by PoCL, which finds no device if it cannot."""
    from graphflow_opencl import cache

    folder = cache.folder()
    tell("cache", "begin", folder=str(folder))
    try:
        _write_in(folder)
    except OSError as error:
        tell("cache", "failed", folder=str(folder), text=_said(error))
    else:
        sizes = [path.stat().st_size for path in folder.glob(f"*{cache.SUFFIX}")]
        tell("cache", "ok", folder=str(folder), files=len(sizes), bytes=sum(sizes))
    kept = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    theirs = Path(os.environ.get("POCL_CACHE_DIR") or os.path.join(kept, "pocl", "kcache"))
    tell("pocl cache", "begin", folder=str(theirs))
    _write_in(theirs)
    tell("pocl cache", "ok", folder=str(theirs))


def _write_in(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"proof")


def device(arguments: Sequence[str]) -> None:
    """Context, build, a small computation, accuracy and speed of one device."""
    import numpy as np
    import pyopencl as cl

    from graphflow_opencl import pocl

    tell("context", "begin")
    chosen = cl.get_platforms()[int(arguments[0])].get_devices()[int(arguments[1])]
    named = pocl.give_cpu_name(chosen)
    context = cl.Context([chosen])
    queue = cl.CommandQueue(context)
    tell("context", "ok", cpu_name=named)
    tell("build", "begin")
    started = time.perf_counter()
    pocl.compile_once(chosen)
    program = cl.Program(context, SOURCE).build(options=["-cl-std=CL1.2"], cache_dir=False)
    program.get_info(cl.program_info.BINARIES)
    tell("build", "ok", seconds=round(time.perf_counter() - started, 3))
    tell("run", "begin")
    at_hand = np.arange(1000, dtype=np.float32)
    got = _computed(context, queue, program, "sums", [at_hand, at_hand[::-1].copy()], (1024,), 1000)
    if not np.array_equal(got, np.full(1000, 999, np.float32)):
        raise ArithmeticError(f"1000 sums that are 999 came out as {got.min():g} to {got.max():g}")
    tell("run", "ok")
    tell("accuracy", "begin")
    x = np.linspace(-87, 88, 4096, dtype=np.float32)
    tell("accuracy", "ok", exp_ulp=_ulps(_computed(context, queue, program, "exps", [x], (4096,), 4096), x))
    tell("speed", "begin")
    tell("speed", "ok", **_speed(context, queue, program, bool(chosen.type & cl.device_type.CPU)))
    from graphflow_opencl import clblast

    tell("clblast", "begin")
    found, place = clblast.library()
    tell("clblast", "ok", place=place, here=found is not None)


def _computed(
    context: Any, queue: Any, program: Any, name: str, inputs: Sequence[Any], items: tuple[int, ...], count: int
) -> Any:
    """What a kernel makes of these arrays."""
    import numpy as np
    import pyopencl as cl

    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    out = np.zeros(count, np.float32)
    buffers = [cl.Buffer(context, flags, hostbuf=a) for a in (*inputs, out)]
    kernel = cl.Kernel(program, name)
    kernel.set_args(*buffers)
    cl.enqueue_nd_range_kernel(queue, kernel, items, (64,))
    cl.enqueue_copy(queue, out, buffers[-1])
    return out


def _ulps(got: Any, x: Any) -> float:
    """The largest error of float32 exponentials in units of the last place."""
    import numpy as np

    exact = np.exp(x.astype(np.float64))
    errors = np.abs(got.astype(np.float64) - exact) / np.spacing(exact.astype(np.float32)).astype(np.float64)
    return round(float(errors.max()), 2) if np.isfinite(got).all() else 1e9


def _speed(context: Any, queue: Any, program: Any, is_cpu: bool) -> dict[str, float]:
    """Latency of a round trip, bytes moved by a stream, rate of a plain matrix product."""
    import numpy as np
    import pyopencl as cl

    ones = np.ones(STREAM_FLOATS, np.float32)
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    a, b, c = (cl.Buffer(context, flags, hostbuf=ones) for _ in range(3))
    kernels = {name: cl.Kernel(program, name) for name in ("sums", "stream", "product")}
    kernels["sums"].set_args(a, b, c)
    vectors = STREAM_FLOATS // 8
    each = 512 if is_cpu else 8  # vectors of an item: in a row, or as far apart as there are items
    items = vectors // each
    steps = (each, 1) if is_cpu else (1, items)
    kernels["stream"].set_args(a, b, c, *(np.int32(n) for n in (*steps, each)))
    kernels["product"].set_args(a, b, c, np.int32(SIDE))

    def once(name: str, size: tuple[int, ...], group: tuple[int, ...]) -> float:
        def work() -> None:
            cl.enqueue_nd_range_kernel(queue, kernels[name], size, group)
            queue.finish()

        return best_seconds(work)

    latency = once("sums", (64,), (64,))
    stream = once("stream", (items,), (64,))
    product = once("product", (SIDE // 4, SIDE // 16), (4, 16))
    return {
        "latency_us": _short(1e6 * latency),
        "stream_gb_s": _short(12e-9 * STREAM_FLOATS / stream),
        "gemm_gflops": _short(2e-9 * SIDE**3 / product),
    }


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def best_seconds(work: Callable[[], Any]) -> float:
    """The shortest time of a piece of work, over a tenth of a second and two calls at least."""
    best, begun, calls = float("inf"), time.perf_counter(), 0
    while calls < 2 or time.perf_counter() - begun < PROBE_SECONDS:
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
        calls += 1
    return max(best, 1e-9)


def _said(error: Exception) -> str:
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    return f"{error.strerror}: {error.filename}" if error.strerror else str(error)


STAGES: dict[str, Callable[[Sequence[str]], None]] = {
    "import": imported,
    "library": library,
    "platforms": platforms,
    "caches": caches,
    "device": device,
}


def main(words: Sequence[str]) -> int:
    """Do one stage; the parent knows from the last line which step failed."""
    try:
        STAGES[words[0]](words[1:])
    except Exception as error:
        tell("", "failed", text=_said(error)[:4000])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
