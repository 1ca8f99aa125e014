"""Runs the workloads: one process a peer, results compared before anything is timed, rounds interleaved.

Policy: within a round every peer runs a block of the same length in time, one after the other, so that a disturbance
of the machine meets all of them; the median over the rounds is reported, with the smallest.  A peer whose result is
not the reference's is not timed; results are compared once more after the timing, for a peer may have switched to
another code meanwhile.

How busy other processes kept the machine during the rounds of a workload is told: with two threads on two cores the
medians of threaded BLAS are then many times too long.

State: none; the child processes belong to one `Peers` object.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import references
from benchmarks.peers import PEERS, skipped
from benchmarks.processes import Gone, Process, busy_seconds, has, hogged_core, interpreter
from benchmarks.workloads import WORKLOADS, Workload, initial

Say = Callable[[str], None]
FEWEST = 3  # rounds
DISTURBED = 0.2  # cores: with more taken by others, threaded BLAS and OpenMP lose many times what they should


class Plan(NamedTuple):
    """What to measure and how long."""

    peers: tuple[str, ...]
    workloads: tuple[str, ...]
    rounds: int
    block: float  # seconds of one peer in one round
    warm: float  # seconds of running before anything is compared or timed
    limit: float  # seconds for compiling one workload
    patience: float  # seconds of rounds of one workload, after which the fewest will do
    python: str  # the peers' interpreter
    quick: bool = False


class Peers:
    """The processes of a run, started when first asked and again after one was lost."""

    def __init__(self, plan: Plan, log: Any = None) -> None:
        self.plan = plan
        self.log = log
        self.running: dict[str, Process] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.absent: dict[str, str] = {}

    def start(self, say: Say) -> list[str]:
        """Start every peer that is there; the names of those that answer."""
        for name in self.plan.peers:
            python = interpreter(name, self.plan.python)
            if not has(python, PEERS[name].needs):
                self.absent[name] = f"{PEERS[name].needs} is not installed in {python}"
            else:
                try:
                    self.get(name)
                except Gone as reason:
                    self.absent[name] = str(reason)
            say(f"  {name}: {self.absent.get(name) or self.versions[name]}")
        return [name for name in self.plan.peers if name not in self.absent]

    def get(self, name: str) -> Process:
        """The process of a peer."""
        if name not in self.running:
            process = Process(name, self.plan.python, self.log)
            hello = process.answer(120)
            if not hello["ok"]:
                process.end()
                raise Gone(hello["failed"])
            self.versions[name] = hello["versions"]
            self.running[name] = process
        return self.running[name]

    def ask(self, name: str, do: str, seconds: float = 120, **arguments: Any) -> dict[str, Any]:
        """Ask one peer; a lost process is a failed answer, and the next question starts another."""
        try:
            return self.get(name).ask(do, seconds, **arguments)
        except Gone as reason:
            self.running.pop(name, None)
            return {"ok": False, "failed": str(reason)}

    def seconds(self) -> float:
        """Processor time that they and this process have used."""
        return time.process_time() + sum(process.seconds() for process in self.running.values())

    def end(self) -> None:
        """End them all."""
        while self.running:
            self.running.popitem()[1].end()


def error_of(workload: Workload, got: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """The largest relative difference over the arrays that are compared."""
    start = initial(workload)
    if len(got) != len(wanted):
        return float("inf")
    first = len(got) - len(start)
    worst = 0.0
    for i, (a, b) in enumerate(zip(got, wanted, strict=True)):
        a = np.asarray(a, np.float64)
        if a.shape != b.shape and not a.size == b.size == 1:
            return float("inf")
        change = a - start[i - first] if i >= first else a
        scale = float(np.linalg.norm(b.ravel())) or 1.0
        difference = float(np.linalg.norm((change.reshape(b.shape) - b).ravel())) / scale
        worst = max(worst, difference if np.isfinite(difference) else float("inf"))
    return worst


def compared(peers: Peers, name: str, workload: Workload, wanted: Sequence[np.ndarray]) -> tuple[float, str | None]:
    """The error of a peer's results, and what is wrong with them if anything is."""
    with tempfile.TemporaryDirectory(prefix="graphflow-bench-") as folder:
        file = Path(folder) / "results.npz"
        answer = peers.ask(name, "show", file=str(file))
        if not answer["ok"]:
            return float("inf"), answer.get("failed") or answer.get("left_out")
        with np.load(file) as saved:
            got = [saved[key] for key in saved.files]
    error = error_of(workload, got, wanted)
    if error <= workload.tolerance:
        return error, None
    return error, f"its result is wrong: relative error {error:.2g}, allowed {workload.tolerance:.2g}"


def _ready(peers: Peers, names: Sequence[str], workload: Workload, wanted: Any, found: dict[str, Any]) -> list[str]:
    """Prepare the workload everywhere and compare; the peers that may be timed."""
    ready = []
    for name in names:
        reason = skipped(name, workload.name, workload.family)
        if reason is None and workload.only and name not in workload.only:
            continue
        if reason is None:
            warm = max(peers.plan.warm, PEERS[name].settles)
            answer = peers.ask(name, "prepare", peers.plan.limit, workload=workload.name, warm=warm)
            reason = answer.get("left_out") or answer.get("failed")
        if reason is None:
            error, reason = compared(peers, name, workload, wanted)
        if reason is None:
            ready.append(name)
            found["peers"][name] = {
                "first": answer["first"], "pace": answer["pace"], "error": error, "samples": [],
            }  # fmt: skip
        else:
            found["left_out"][name] = reason
    return ready


def _rounds(peers: Peers, workload: Workload, ready: list[str], found: dict[str, Any]) -> float | None:
    """Time everybody in turn; how many cores processes that are none of ours kept busy meanwhile."""
    plan, started = peers.plan, (time.perf_counter(), busy_seconds(), peers.seconds())
    for turn in range(plan.rounds):
        if turn >= FEWEST and time.perf_counter() - started[0] > plan.patience:
            break
        for name in list(ready) if turn % 2 else list(reversed(ready)):
            row = found["peers"][name]
            count = max(1, round(plan.block / max(row["pace"], 1e-8)))
            seconds = min(count * row["pace"] * 50 + 60, 600)
            # a fifth of the block first: caches are cold after the others, and a processor that rested wakes slowly
            answer = peers.ask(name, "time", seconds, count=count, warm=max(1, round(count / 5)))
            if answer["ok"]:
                row["samples"].append(answer["seconds"] / count)
            else:
                ready.remove(name)
                found["left_out"][name] = answer.get("failed")
    wall, busy = time.perf_counter() - started[0], busy_seconds()
    if busy is None or started[1] is None:
        return None
    ours = peers.seconds() - started[2] + (wall if workload.hogged else 0)
    return max(0.0, (busy - started[1] - ours) / wall)


def measure(peers: Peers, names: Sequence[str], workload: Workload) -> dict[str, Any]:
    """One workload on all peers: seconds a run (median, smallest, all samples), first result, error."""
    found: dict[str, Any] = {"peers": {}, "left_out": {}}
    wanted = references.results(workload)
    ready = _ready(peers, names, workload, wanted, found)
    with hogged_core(workload.hogged):
        found["others"] = _rounds(peers, workload, ready, found)
    for name in ready:
        _, reason = compared(peers, name, workload, wanted)
        if reason is not None:
            found["left_out"][name] = f"after the timing, {reason}"
        peers.ask(name, "drop")
    for name in found["left_out"]:
        found["peers"].pop(name, None)
    for row in found["peers"].values():
        row["median"], row["min"] = statistics.median(row["samples"]), min(row["samples"])
    return found


def measure_all(peers: Peers, names: Sequence[str], say: Say) -> dict[str, Any]:
    """All workloads of the plan that are measured in rounds."""
    out: dict[str, Any] = {}
    for name in peers.plan.workloads:
        if name not in WORKLOADS or WORKLOADS[name].only and not set(WORKLOADS[name].only).intersection(names):
            continue
        out[name] = found = measure(peers, names, WORKLOADS[name])
        times = sorted((row["median"], peer) for peer, row in found["peers"].items())
        say(f"  {name}: " + ", ".join(f"{peer} {seconds * 1e6:,.1f}" for seconds, peer in times) + " us")
        if (found["others"] or 0) > DISTURBED:
            say(f"    disturbed: other processes kept {found['others']:.1f} cores busy")
        for peer, reason in found["left_out"].items():
            say(f"    {peer} left out: {reason}")
    return out
