"""Child processes, one a peer: starting them on the same two cores, asking them, and ending them.

Policy: every request has a time limit; a child that misses it is ended and its peer is left out from then on.

State: the children that are running, each owned by whoever started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS

ROOT = Path(__file__).resolve().parents[1]
CORES = 2
THREADS = {
    name: str(CORES)
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    )
}


class Gone(Exception):
    """The child ended, or did not answer in time."""


def cores() -> list[int]:
    """The cores that everything runs on; none where the system cannot say."""
    with contextlib.suppress(AttributeError, OSError):
        return sorted(os.sched_getaffinity(0))[:CORES]
    return []


def environment(extra: dict[str, str]) -> dict[str, str]:
    """What a child process sees: two threads for everybody, and this checkout last on the path."""
    path = os.pathsep.join(p for p in (os.environ.get("PYTHONPATH", ""), str(ROOT)) if p)
    return {**os.environ, **THREADS, "PYTHONPATH": path, "PYTHONHASHSEED": "0", **extra}


def interpreter(peer: str, peers_python: str) -> str:
    """Which Python a peer runs in."""
    return sys.executable if PEERS[peer].own else peers_python


def has(python: str, module: str) -> bool:
    """Whether an interpreter finds a module."""
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", look], check=False, env=environment({})).returncode == 0


class Process:
    """One peer that answers requests."""

    def __init__(self, peer: str, peers_python: str, log: Any = None) -> None:
        self.peer = peer
        self.folder = tempfile.TemporaryDirectory(prefix="graphflow-bench-")
        self.process = subprocess.Popen(
            [interpreter(peer, peers_python), "-m", "benchmarks.child", peer],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log or subprocess.DEVNULL, cwd=self.folder.name,
            env=environment(PEERS[peer].environment), text=True,
        )  # fmt: skip
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]

    def answer(self, seconds: float) -> dict[str, Any]:
        """The next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline() if self.selector.select(seconds) else None
        if line:
            return dict(json.loads(line))
        self.end()
        raise Gone(f"no answer in {seconds:.0f} s" if line is None else "the process ended")

    def ask(self, do: str, seconds: float = 120, **arguments: Any) -> dict[str, Any]:
        """One request and its answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        except (OSError, ValueError):
            self.end()
            raise Gone("the process ended") from None
        return self.answer(seconds)

    def seconds(self) -> float:
        """Processor time that the process has used."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = Path(f"/proc/{self.process.pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
            return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def end(self) -> None:
        """End the process and remove its folder."""
        self.selector.close()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def busy_seconds() -> float | None:
    """Processor time that the whole machine has used since it started; None where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = Path("/proc/stat").read_text("ascii", "replace").splitlines()[0].split()[1:]
        ticks = [int(word) for word in words[:8]]
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # all but idle and waiting for disks
    return None


@contextlib.contextmanager
def hogged_core(wanted: bool) -> Any:
    """Keep the last of the cores busy for a while, if wanted."""
    if not wanted:
        yield
        return
    pin = f"import os; os.sched_setaffinity(0, [{cores()[-1]}])\n" if cores() else ""
    hog = subprocess.Popen([sys.executable, "-c", f"{pin}while True: pass"])
    try:
        yield
    finally:
        hog.kill()
        hog.wait()
