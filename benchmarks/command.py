"""`python -m graphflow bench`: plans a run, makes it, and tells what it found.

Policy: what cannot be done is said before anything is measured.

State: none.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import bars, floors, ladder, report, starts
from benchmarks.peers import OURS, PEERS, QUICK
from benchmarks.processes import CORES, cores, environment
from benchmarks.runner import Peers, Plan, Say, measure_all
from benchmarks.workloads import chosen
from graphflow.errors import FailedPreconditionError, InvalidArgumentError

ROUNDS, QUICK_ROUNDS = 15, 5


def planned(options: argparse.Namespace) -> Plan:
    """The options, checked and completed."""
    asked = _words(options.peers)
    unknown = [p for p in asked if p not in PEERS]
    if unknown:
        raise InvalidArgumentError(f"no peer named {', '.join(unknown)}", expected=", ".join(PEERS))
    if options.rounds is not None and options.rounds < 1:
        raise InvalidArgumentError("--rounds is a positive number", got=str(options.rounds))
    if options.png and importlib.util.find_spec("matplotlib") is None:
        raise FailedPreconditionError("--png needs a package that is not installed", hint="pip install matplotlib")
    try:
        workloads = chosen(_words(options.workloads))
    except ValueError as error:
        raise InvalidArgumentError(str(error)) from None
    everyone = QUICK if options.quick else tuple(p for p in PEERS if p not in OURS)
    return Plan(
        peers=tuple(dict.fromkeys((*OURS, *(asked or everyone)))),
        workloads=tuple(workloads),
        rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        block=0.015 if options.quick else 0.2,
        warm=0.1 if options.quick else 0.4,
        limit=60 if options.quick else 300,
        patience=5 if options.quick else 60,
        python=options.peers_python or sys.executable,
        quick=options.quick,
    )


def _words(given: str | None) -> list[str]:
    return [word.strip() for word in (given or "").split(",") if word.strip()]


def machine() -> dict[str, Any]:
    """What to know about where the figures come from."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": model, "cores": cores() or CORES, "python": platform.python_version(), "threads": CORES,
        "system": f"{platform.system()} {platform.machine()}", "load at the start": load,
    }  # fmt: skip


def measured_floors(seconds: float) -> dict[str, Any]:
    """The floors, from a process of their own."""
    command = [sys.executable, "-m", "benchmarks.floors", str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment({}))
    return dict(json.loads(done.stdout))


def execute(plan: Plan, say: Say, log: Any = None) -> dict[str, Any]:
    """Measure everything that the plan names."""
    if cores():
        os.sched_setaffinity(0, cores())
    results: dict[str, Any] = {"plan": plan._asdict(), "machine": machine()}
    say(", ".join(f"{key}: {value}" for key, value in results["machine"].items()))
    seconds = 0.1 if plan.quick else 0.5
    results["floors"] = measured_floors(seconds)
    say(f"floors: {results['floors']}")
    peers = Peers(plan, log)
    try:
        say("peers:")
        names = peers.start(say)
        say(f"each on {CORES} threads; {plan.rounds} interleaved rounds; medians:")
        results |= {"versions": peers.versions, "absent": peers.absent}
        results["workloads"] = measure_all(peers, names, say)
    finally:
        peers.end()
    if "compile" in plan.workloads:
        results["compile"] = ladder.measure(names, plan.python, plan.quick, say, log)
    if "import" in plan.workloads:
        results["import"] = starts.measure(names, plan.python, 3 if plan.quick else 9, say)
    results["floors"] = floors.better(results["floors"], measured_floors(seconds))
    results["verdicts"] = [v._asdict() for v in bars.verdicts(results)]
    return results


def run(options: argparse.Namespace, say: Callable[[str], None] | None = None) -> int:
    """Plan, measure, report; the exit code."""
    plan = planned(options)
    out = say or (lambda line: print(line, flush=True))
    started = time.perf_counter()
    log = open(options.log, "w", encoding="utf-8") if options.log else None  # noqa: SIM115 - closed below
    try:
        results = execute(plan, out, log)
    finally:
        if log:
            log.close()
    results["seconds"] = time.perf_counter() - started
    out("\n" + report.text(results))
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1), encoding="utf-8")
        out(f"\nfigures: {options.json}")
    if options.png:
        report.chart(results, options.png)
        out(f"chart: {options.png}")
    out(f"{results['seconds']:.0f} s in all")
    return 0
