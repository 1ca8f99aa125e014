"""What it costs to import: time, resident memory and size on disk, each import in a fresh process, taking turns.

Policy: the clock stands inside the new process, around the import statement alone.

State: none.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.processes import environment, has

PROGRAM = """
import sys, time
started = time.perf_counter()
import {module}
seconds = time.perf_counter() - started
import json, os
try:
    with open("/proc/self/statm", encoding="ascii") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
except OSError:
    resident = 0
places = [os.path.dirname({module}.__file__)]
if {module!r} == "graphflow":
    import graphflow_numpy
    places.append(os.path.dirname(graphflow_numpy.__file__))
print(json.dumps({{"seconds": seconds, "resident": resident, "places": places}}))
"""
OWN = ("numpy", "graphflow")


def size(places: Sequence[str]) -> int:
    """Bytes of the files in these folders, without those that Python compiled."""
    total = 0
    for place in places:
        for file in Path(place).rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                total += file.stat().st_size
    return total


def once(python: str, module: str) -> dict[str, Any]:
    """Import in a fresh process."""
    command = [python, "-c", PROGRAM.format(module=module)]
    there = environment({"PYTHONDONTWRITEBYTECODE": ""})  # an import that compiles every module is not what users see
    done = subprocess.run(command, env=there, check=True, capture_output=True, text=True, timeout=120)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(peers: Sequence[str], peers_python: str, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Median and smallest import time, resident memory and size of graphflow, NumPy and the peers' packages."""
    wanted = [(sys.executable, module) for module in OWN]
    for module in dict.fromkeys(PEERS[p].needs for p in peers if not PEERS[p].own):
        if has(peers_python, module):
            wanted.append((peers_python, module))
    runs: dict[str, list[dict[str, Any]]] = {module: [] for _, module in wanted}
    for turn in range(rounds + 1):
        for python, module in wanted:
            found = once(python, module)
            if turn:  # the first round fills the disk cache
                runs[module].append(found)
    out = {}
    for module, found_all in runs.items():
        times = [run["seconds"] for run in found_all]
        out[module] = {
            "median": statistics.median(times), "min": min(times), "resident": found_all[0]["resident"],
            "bytes": size(found_all[0]["places"]), "samples": times,
        }  # fmt: skip
        say(f"  import {module}: {out[module]['median'] * 1e3:.0f} ms")
    return out
