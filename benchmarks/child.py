"""One peer in a process of its own, obeying one JSON request a line: `python -m benchmarks.child PEER`.

Policy: answers go to the pipe that was standard output at the start; whatever a library prints goes to standard
error.  A failure is an answer too.  Nothing is timed across the pipe: the clock stands here.

State: the workload that is prepared.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.peers import PEERS, LeftOut, Prepared
from benchmarks.workloads import WORKLOADS, Workload


class Child:
    """Prepares, shows and times one workload after the other."""

    def __init__(self, peer: str) -> None:
        self.row = PEERS[peer]
        self.module = importlib.import_module(f"benchmarks.peers.{self.row.module}")
        self.workload: Workload | None = None
        self.prepared: Prepared | None = None

    def hello(self) -> dict[str, Any]:
        """Who answers."""
        return {"versions": self.module.versions()}

    def prepare(self, workload: str, warm: float) -> dict[str, Any]:
        """Build and compile, run for a while, and say how long the first result took and how long one run takes."""
        self.drop()
        self.workload = WORKLOADS[workload]
        arrays = data.arrays(self.workload.family)
        started = time.perf_counter()
        self.prepared = self.module.prepare(self.workload, arrays, self.row.variant)
        self.prepared.step()
        first = time.perf_counter() - started
        return {"first": first, "pace": self._warm(warm)}

    def _warm(self, seconds: float) -> float:
        assert self.prepared is not None
        step, times, until = self.prepared.step, [], time.perf_counter() + seconds
        while len(times) < 2 or time.perf_counter() < until and len(times) < 2_000:
            started = time.perf_counter()
            step()
            times.append(time.perf_counter() - started)
        late = sorted(times[len(times) // 2 :])  # a peer may have become faster meanwhile
        return late[len(late) // 2]

    def show(self, file: str) -> dict[str, Any]:
        """Write what the runs compute, from the first weights on, to an .npz file."""
        assert self.prepared is not None and self.workload is not None
        self.prepared.reset()
        out: Any = ()
        for _ in range(self.workload.steps):
            out = self.prepared.step()
        values = [np.asarray(v) for v in (*out, *(self.prepared.weights() if self.workload.trains else ()))]
        np.savez(file, *values)
        return {}

    def time(self, count: int, warm: int) -> dict[str, Any]:
        """Seconds for `count` runs."""
        assert self.prepared is not None
        step = self.prepared.step
        for _ in range(warm):
            step()
        enabled = gc.isenabled()
        gc.disable()
        try:
            started = time.perf_counter()
            for _ in range(count):
                step()
            return {"seconds": time.perf_counter() - started}
        finally:
            if enabled:
                gc.enable()

    def drop(self) -> dict[str, Any]:
        """Free the workload."""
        self.prepared = self.workload = None
        gc.collect()
        return {}

    def ladder(self, count: int) -> dict[str, Any]:
        """Phases and memory of a large graph; for a fresh process."""
        if not hasattr(self.module, "ladder"):
            raise LeftOut("does not build a graph of that size in a reasonable time")
        self.module.ladder(8, self.row.variant)  # whatever a library does once
        before = _memory("VmRSS")
        phases = self.module.ladder(count, self.row.variant)
        return {"phases": phases, "bytes": max(0, _memory("VmHWM") - before)}


def _memory(line: str) -> int:
    """Resident bytes, now (VmRSS) or at the most (VmHWM); `getrusage` would answer with what the parent had."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return next(int(words.split()[1]) * 1024 for words in file if words.startswith(line))
    return 0


def _answer(child: Child, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": True, **getattr(child, request.pop("do"))(**request)}
    except LeftOut as reason:
        return {"ok": False, "left_out": str(reason)}
    except Exception as error:
        traceback.print_exc()
        return {"ok": False, "failed": f"{type(error).__name__}: {str(error).strip()[:300]}"}


def main(make: Callable[[str], Child] = Child) -> None:
    """Answer until the pipe is closed."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        child = make(sys.argv[1])
    except Exception as error:
        traceback.print_exc()
        print(json.dumps({"ok": False, "failed": f"{type(error).__name__}: {error}"}), file=pipe, flush=True)
        return
    print(json.dumps({"ok": True, **child.hello()}), file=pipe, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(child, json.loads(line))), file=pipe, flush=True)


if __name__ == "__main__":
    main()
