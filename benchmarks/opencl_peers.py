"""tinygrad beside ours in the OpenCL benchmark: on its CPU device and on its OpenCL device, a process for each.

Its arrays lie on its device before anything is timed, as ours lie where the device sees them; a run ends when the
results are NumPy arrays.  Its OpenCL device uses the loader that pyopencl brings, and a PoCL that does not know the CPU
is told its name as ours is (`graphflow_opencl.pocl`), or no kernel would build.

Policy: the parent sends arrays in a file and requests a line, as in `child`; results are compared before anything is
timed, and the clock stands in the child.  What tinygrad does not do, or not here, is left out with a note.

State: the processes, owned by whoever started them.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks import child, data
from benchmarks.peers import LeftOut, Prepared
from benchmarks.processes import ROOT, Gone, Process, environment, has
from benchmarks.workloads import WORKLOADS, Workload

DEVICES = {"tinygrad": "CPU", "tinygrad CL": "CL"}
PATIENCE = 180.0  # seconds for preparing; tinygrad compiles for a while
BACKENDS = str(ROOT / "backends")

# -- the parent's side -------------------------------------------------------------------------------------------


class Tinygrad(Process):
    """One of its devices in a process that answers requests."""

    def __init__(self, name: str, python: str) -> None:
        self.peer = name
        self.folder = tempfile.TemporaryDirectory(prefix="graphflow-bench-")
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.opencl_peers", DEVICES[name]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=self.folder.name,
            env=_surroundings(DEVICES[name]), text=True,
        )  # fmt: skip
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]

    def prepare(self, task: str, arrays: Sequence[Any]) -> list[Any]:
        """Build a task over these arrays; its results."""
        given, shown = (str(Path(self.folder.name) / name) for name in ("given.npz", "shown.npz"))
        np.savez(given, *arrays)
        self._told("build", task=task, file=given)
        self._told("show", file=shown)
        with np.load(shown) as found:
            return list(found.values())

    def block(self, seconds: float) -> list[float]:
        """The seconds of each of as many runs as fit into so many."""
        return list(self._told("block", lasting=seconds)["times"])

    def _told(self, do: str, **arguments: Any) -> dict[str, Any]:
        answer = self.ask(do, PATIENCE, **arguments)
        if not answer["ok"]:
            raise LeftOut(answer.get("left_out") or answer.get("failed"))
        return answer


def started(python: str, say: Callable[[str], None]) -> list[Tinygrad]:
    """The devices that are here, each in its process; a note for what is not."""
    if not has(python, "tinygrad"):
        say(f"tinygrad is left out: {python} does not have it (--peers-python names another interpreter)")
        return []
    found = []
    for name in DEVICES:
        peer = Tinygrad(name, python)
        try:
            answer = peer.answer(PATIENCE)
            if not answer["ok"]:
                raise Gone(answer["failed"])
            found.append(peer)
        except Gone as reason:
            say(f"{name} is left out: {reason}")
            peer.end()
    return found


def _surroundings(device: str) -> dict[str, str]:
    """The environment of a child: which device, and the loader that pyopencl brings."""
    found = environment({"DEV": device})
    found["PYTHONPATH"] = os.pathsep.join((found["PYTHONPATH"], BACKENDS))
    spec = importlib.util.find_spec("pyopencl")
    home = Path(spec.origin).parent if spec is not None and spec.origin else None
    loaders = glob.glob(f"{glob.escape(str(home))}/.libs/libOpenCL*") if home else []
    if device == "CL" and loaders:
        searched = [str(Path(loaders[0]).parent), os.environ.get("LD_LIBRARY_PATH", "")]
        found |= {
            "OPENCL_PATH": loaders[0], "PYOPENCL_HOME": str(home), "LD_LIBRARY_PATH": ":".join(filter(None, searched)),
        }  # fmt: skip
    return found


# -- the child's side --------------------------------------------------------------------------------------------


class Answers(child.Child):
    """Prepares, shows and times one task after the other, in a process of tinygrad's."""

    def __init__(self, device: str) -> None:
        if device == "CL":
            _name_cpu()
        super().__init__("tinygrad")

    def build(self, task: str, file: str) -> dict[str, Any]:
        """Build and compile a task: one of the benchmarks' workloads, or a function of its own."""
        self.drop()
        with np.load(file) as found:
            arrays = list(found.values())
        known = WORKLOADS.get(task)
        if known is None:
            self.prepared = _compiled(task, arrays)
        else:
            named = dict(zip("abcd", arrays, strict=True)) if arrays else data.arrays(known.family)
            self.prepared = self.module.prepare(known, named, "")
        self.workload = Workload(task, task, task, 0)  # one run is shown, and no weights
        return {}

    def block(self, lasting: float) -> dict[str, Any]:
        """Run for so long."""
        assert self.prepared is not None
        self.prepared.step()  # the first of a block finds the others' data in the caches
        times: list[float] = []
        until = time.perf_counter() + lasting
        while not times or time.perf_counter() < until:
            begun = time.perf_counter()
            self.prepared.step()
            times.append(time.perf_counter() - begun)
        return {"times": times}


def _compiled(task: str, arrays: Sequence[Any]) -> Prepared:
    from tinygrad import Tensor, TinyJit

    def cross_entropy(x: Any, labels: Any) -> Any:
        loss = -(labels * x.log_softmax(1)).sum(1).mean()
        return loss, *loss.gradient(x)

    functions: dict[str, Callable[..., Any]] = {
        "cross_entropy": cross_entropy,
        "sum": lambda x: (x.sum(1),),
        "max": lambda x: (x.max(1),),
        "matmul": lambda a, b: (a @ b,),
    }
    if task not in functions:
        raise LeftOut("is not written for this row")
    given = [Tensor(array).realize() for array in arrays]

    @TinyJit
    def compiled(*xs: Any) -> Any:
        results = functions[task](*xs)
        Tensor.realize(*results)
        return results

    def step() -> Sequence[Any]:
        return [t.numpy() for t in compiled(*given)]

    for _ in range(3):  # the first run looks, the second records
        step()
    return Prepared(step)


def _name_cpu() -> None:
    """Tell PoCL the name of a CPU that it does not know, as for ours."""
    import ctypes

    from graphflow_opencl import pocl
    from tinygrad import Device
    from tinygrad.runtime.autogen import opencl as cl

    def told(function: Any, which: Any, query: int) -> str:
        text = ctypes.create_string_buffer(1024)
        function(which, query, len(text), text, None)
        return text.value.decode()

    device: Any = Device["CL"].cl_dev  # type: ignore[attr-defined]
    platform = cl.cl_platform_id()
    cl.clGetDeviceInfo(device, cl.CL_DEVICE_PLATFORM, ctypes.sizeof(platform), ctypes.byref(platform), None)
    name, version = (told(cl.clGetPlatformInfo, platform, q) for q in (cl.CL_PLATFORM_NAME, cl.CL_PLATFORM_VERSION))
    address = ctypes.cast(device, ctypes.c_void_p).value
    pocl.give_cpu_name(SimpleNamespace(int_ptr=address, platform=SimpleNamespace(name=name, version=version)))


if __name__ == "__main__":
    child.main(Answers)
