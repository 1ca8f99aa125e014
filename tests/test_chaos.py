"""No hang, no leaked thread, and the next run right, whatever goes wrong in a run: see chaos.py.

GRAPHFLOW_CHAOS_RUNS=10000 is what the project promises; GRAPHFLOW_SEED changes the seed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = int(os.environ.get("GRAPHFLOW_CHAOS_RUNS", "300"))
SEED = int(os.environ.get("GRAPHFLOW_SEED", "0"))
PROGRAM = Path(__file__).with_name("chaos.py")
WORKERS = (1, 2, 4)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.mark.timeout(600 + RUNS // 10)
@pytest.mark.parametrize("workers", WORKERS)
def test_chaos(workers: int) -> None:
    command = [sys.executable, "-W", "error", str(PROGRAM), str(SEED), str(RUNS // len(WORKERS)), str(workers)]
    environment = {**os.environ, "GRAPHFLOW_FAST": "wait"}  # else O2 may round differently from some run on
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=500 + RUNS // 10, check=False
    )
    assert done.returncode == 0, f"{' '.join(command[3:])}\n{done.stdout}\n{done.stderr[-6000:]}"
    counts = {name: int(count) for count, _, name in (part.partition(" ") for part in done.stdout.split(", "))}
    assert {"failing", "nesting", "closing", "interrupted"} <= set(counts), done.stdout


def test_a_hang_is_seen() -> None:
    """The watchdog ends a program that does not go on, and says where it is."""
    program = "import faulthandler, threading; faulthandler.dump_traceback_later(0.2, exit=True); threading.Lock()"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; lock = threading.Lock(); lock.acquire(); lock.acquire()"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "Timeout" in done.stderr
