"""`python -m graphflow devices`: what programs can run on, and with `--doctor` what is wrong and how to mend it.

Policy: each backend tells of its devices through the entry-point group `graphflow.devices`: a function
`examine(doctor: bool)` that returns `{"devices": [records], "checks": [checks]}` of plain values, measures only if
asked to, and raises nothing.  A backend whose function cannot be loaded is one failed check.  A check has a step, a
subject, a state (ok, note or failed), a text and, where it failed, one line of advice.  Failures are always shown, the
rest only by the doctor, who ends with exit code 1 if something failed.

State: none.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

GROUP = "graphflow.devices"
INSTALL = {"pyopencl": 'pip install "pyopencl[pocl]"'}
LABELS = {"ok": "ok", "note": "note", "failed": "FAILED"}
COLUMNS = ("NAME", "TYPE", "DEVICE", "UNITS", "MEMORY", "DRIVER")
RIGHT = frozenset({"UNITS", "MEMORY"})

Record = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--doctor", action="store_true", help="try each driver and device, and tell how to mend failures"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, one record a device, with measured speeds")


def run(arguments: argparse.Namespace) -> int:
    """The command."""
    reports = examine(arguments.doctor or arguments.json)
    devices = [record for report in reports for record in report["devices"]]
    checks = [{"backend": report["backend"], **check} for report in reports for check in report["checks"]]
    if arguments.json:
        sys.stdout.write(json.dumps({"devices": devices, "checks": checks}, indent=1) + "\n")
        return 0
    lines = [*_table(devices), "", *_choice(devices)]
    failures = [check for check in checks if check["state"] == "failed"]
    shown = checks if arguments.doctor else failures
    lines += _described(shown)
    if failures:
        count = "one failure" if len(failures) == 1 else f"{len(failures)} failures"
        lines += ["", count if arguments.doctor else f"{count}; python -m graphflow devices --doctor tells more"]
    elif arguments.doctor:
        lines += ["", "no failures"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if arguments.doctor and failures else 0


def examine(doctor: bool) -> list[dict[str, Any]]:
    """The reports of all backends."""
    entries = sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    if entries:
        return [_examined(entry, doctor) for entry in entries]
    text = "no backend tells of its devices"
    return [_failed("graphflow", "install", text, "run `pip install -e .` in the checkout")]


def _examined(entry: metadata.EntryPoint, doctor: bool) -> dict[str, Any]:
    try:
        report: dict[str, Any] = {"backend": entry.name, **entry.load()(doctor)}
    except Exception as error:
        missing = (getattr(error, "name", None) or "").partition(".")[0]
        advice = INSTALL.get(missing) or (f"pip install {missing}" if missing else "install the backend again")
        return _failed(entry.name, "load", f"{type(error).__name__}: {error}", advice)
    return report


def _failed(backend: str, step: str, text: str, advice: str) -> dict[str, Any]:
    check = {"step": step, "subject": backend, "state": "failed", "text": text, "advice": advice}
    return {"backend": backend, "devices": [], "checks": [check]}


# -- for people ----------------------------------------------------------------------------------------------------


def _table(devices: Sequence[Record]) -> list[str]:
    rows = [COLUMNS, *(_row(record) for record in devices)]
    widths = [max(len(row[c]) for row in rows) for c in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = zip(COLUMNS, row, widths, strict=True)
        lines.append("  ".join(x.rjust(n) if name in RIGHT else x.ljust(n) for name, x, n in cells).rstrip())
    return lines


def _row(record: Record) -> tuple[str, ...]:
    memory = record.get("memory")
    return (
        str(record["name"]),
        str(record["type"]),
        str(record["device"]),
        str(record["units"]),
        f"{memory / 2**30:.1f} GiB" if memory else "-",
        f"{record['platform']} {record['driver']}",
    )


def _choice(devices: Sequence[Record]) -> Iterable[str]:
    names = {r["backend"]: r["name"] for r in reversed(devices) if r.get("chosen")}
    for backend, name in names.items():
        if backend != name:
            yield f'Session(device="{backend}") takes {name}.'
    given = os.environ.get("GRAPHFLOW_DEVICE")
    now = f"now {given}" if given else "not set, which means numpy"
    yield f"GRAPHFLOW_DEVICE or the argument `device` of a Session chooses by name ({now})."


def _described(checks: Sequence[Record]) -> Iterable[str]:
    backend = None
    steps = max((len(check["step"]) for check in checks), default=0)
    for check in checks:
        if check["backend"] != backend:
            backend = check["backend"]
            yield ""
            yield backend
        subject = "" if check["subject"] == backend else f"{check['subject']}: "
        yield f"  {LABELS[check['state']]:<6}  {check['step']:<{steps}}  {subject}{check['text']}"
        if check["advice"]:
            yield f"  {'':<6}  {'':<{steps}}  -> {check['advice']}"
