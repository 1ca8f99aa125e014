"""Runs in the trace event format that Perfetto and chrome://tracing open.

Policy: the documented JSON object format: complete events ("X") for runs and steps, one lane (`tid`) for each thread or
queue with its name in the metadata, flow arrows ("s" to "f") where a result goes from one lane to another, a counter
("C") of the bytes of live results.  Times are microseconds since the trace began; events stand in the order of their
times.  Every text is a JSON string, so a name is never anything but a name.

State: none in the module.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from graphflow.collector import CollectorPaused
from graphflow.durable import StrPath, os_error, require_regular, text_path, write_file
from graphflow.errors import Error
from graphflow.program import Program
from graphflow.runtime.provenance import HOST as HOST_DEVICE
from graphflow.runtime.tracing import Happening, Made, RunRecord, Tracer
from graphflow.spec import describe

HOST, QUEUES = 1, 2  # processes of the trace: the threads of this process, the queues of a device
RUN, STEP, FLOW = "run", "op", "data"  # categories
MOST_NAMED = 3
AT_ONCE = 1000  # events
Event = dict[str, Any]
logger = logging.getLogger("graphflow")
_DECIMALS = 3  # of microseconds


def document(events: Sequence[Event], facts: Mapping[str, Any]) -> Iterator[bytes]:
    """The whole file, in pieces."""
    encode = json.JSONEncoder(allow_nan=False).encode
    yield b'{"displayTimeUnit": "ms", "otherData": ' + encode(facts).encode() + b', "traceEvents": [\n'
    for begin in range(0, len(events), AT_ONCE):
        text = encode(events[begin : begin + AT_ONCE])[1:-1]
        yield (b",\n" if begin else b"") + text.encode()
    yield b"\n]}\n"


def complete(name: str, category: str, lane: tuple[int, int], span: tuple[float, float], args: Event) -> Event:
    """Something that took from one time to another."""
    start, end = (round(t, _DECIMALS) for t in span)
    duration = round(max(0.0, end - start), _DECIMALS)
    return {
        "name": name, "cat": category, "ph": "X", "ts": start, "dur": duration,
        "pid": lane[0], "tid": lane[1], "args": args,
    }  # fmt: skip


def arrow(number: int, name: str, tail: Event, head: Event) -> list[Event]:
    """From the end of one complete event to the beginning of another."""
    common = {"name": name, "cat": FLOW, "id": number}
    leaves = round(tail["ts"] + tail["dur"], _DECIMALS)
    inside = max(tail["ts"], round(leaves - 10**-_DECIMALS, _DECIMALS))  # at its very end it would belong to the next
    return [
        {**common, "ph": "s", "ts": inside, "pid": tail["pid"], "tid": tail["tid"]},
        {**common, "ph": "f", "bp": "e", "ts": max(inside, head["ts"]), "pid": head["pid"], "tid": head["tid"]},
    ]


def counter(name: str, pid: int, time: float, values: Mapping[str, int]) -> Event:
    """The values of a counter from a time on."""
    return {"name": name, "ph": "C", "ts": round(time, _DECIMALS), "pid": pid, "tid": 0, "args": dict(values)}


def named(pid: int, tid: int | None, name: str) -> Event:
    """The name of a process, or of one of its lanes."""
    kind = "process_name" if tid is None else "thread_name"
    return {"name": kind, "ph": "M", "pid": pid, "tid": tid or 0, "ts": 0, "args": {"name": name}}


def in_order(events: Iterable[Event]) -> list[Event]:
    """Metadata first, then by time; what encloses another event of the same time stands before it."""
    return sorted(events, key=lambda e: (e["ph"] != "M", e["ts"], -e.get("dur", 0.0), e["ph"] == "f"))


# -- the trace of a session -----------------------------------------------------------------------------------------


@contextmanager
def written(path: StrPath, tracer: Tracer, device: str) -> Iterator[None]:
    """A block at whose end the trace is written, atomically; what can be known of the path is checked before it."""
    _check_target(path)
    try:
        yield
    except BaseException:
        try:
            _write(path, tracer, device)
        except Error as lost:  # the error of the block is what matters
            logger.warning("the trace was not written: %s", lost)
        raise
    _write(path, tracer, device)


def _write(path: StrPath, tracer: Tracer, device: str) -> None:
    facts = {"runs": len(tracer.runs), "dropped_steps": tracer.dropped, "made_by": "graphflow"}
    with CollectorPaused():  # so many new objects make it run again and again
        write_file(path, document(trace_events(tracer, device), facts))
    if tracer.dropped:
        logger.warning("the trace is full: %d steps are missing in %s", tracer.dropped, path)


def _check_target(path: StrPath) -> None:
    """Raise where a file of that name could not be written."""
    target = os.path.realpath(text_path(path))
    folder = os.path.dirname(target)
    try:
        if os.path.lexists(target):
            require_regular(os.stat(target), target)
        os.scandir(folder).close()
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise os_error(error, target, "write a trace to") from error


def trace_events(tracer: Tracer, device: str) -> list[Event]:
    """All events of a trace."""
    lanes = _Lanes(tracer.threads)
    texts = _Texts()
    events: list[Event] = []
    runs = list(tracer.runs)
    for record in runs:
        span = _micros(record.started, tracer.began), _micros(record.ended, tracer.began)
        args: Event = {"run": record.number, "steps": len(record.happenings)}
        if record.error:
            args["error"] = record.error
        events.append(complete(f"run {record.number}", RUN, lanes.of(record.thread), span, args))
        steps = []
        for h in record.happenings:
            name, args = texts.of(h)
            span = _micros(h.started, tracer.began), _micros(h.ended, tracer.began)
            where = device if isinstance(h.lane, str) else HOST_DEVICE
            steps.append(complete(name, STEP, lanes.of(h.lane), span, {**args, "device": where, "run": record.number}))
        events += steps
        events += _arrows(record.happenings, steps, len(events))
    events += [counter("memory", HOST, _micros(t, tracer.began), {"live results": n}) for t, n in _live(runs)]
    return in_order([*lanes.metadata(device), *events])


def _micros(time: float, began: float) -> float:
    return max(0.0, time - began) * 1e6


class _Lanes:
    """The process and number of each thread and each queue."""

    def __init__(self, threads: Mapping[int, str]) -> None:
        self._threads = threads
        self._found: dict[int | str, tuple[int, int]] = {}

    def of(self, lane: int | str) -> tuple[int, int]:
        found = self._found.get(lane)
        if found is None:
            pid = HOST if isinstance(lane, int) else QUEUES
            found = self._found[lane] = pid, 1 + sum(p == pid for p, _ in self._found.values())
        return found

    def metadata(self, device: str) -> list[Event]:
        out = [named(HOST, None, "graphflow")]
        if any(pid == QUEUES for pid, _ in self._found.values()):
            out.append(named(QUEUES, None, f"graphflow on {device}"))
        for lane, (pid, tid) in self._found.items():
            out.append(named(pid, tid, lane if isinstance(lane, str) else self._threads.get(lane, f"thread {lane}")))
        return out


class _Texts:
    """The name and the arguments of each step: the same in every run of one plan."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Sequence[Made], str, Event]] = {}

    def of(self, h: Happening) -> tuple[str, Event]:
        found = self._found.get(id(h.made))  # the very same list in every run, but where shapes differ
        if found is None:
            names = [ins.op.name for ins in h.instructions]
            more = f" +{len(names) - MOST_NAMED}" if len(names) > MOST_NAMED else ""
            title = ", ".join(names[:MOST_NAMED]) + more
            args = {
                "op": ", ".join(names),
                "type": ", ".join(ins.type for ins in h.instructions),
                "shapes": ", ".join(shapes(h)),
                "source": "; ".join(dict.fromkeys(str(ins.op.source) for ins in h.instructions)),
            }
            found = self._found[id(h.made)] = h.made, title, args  # kept, so that its id stays its own
        return found[1], found[2]


def shapes(h: Happening) -> list[str]:
    """The dtype and shape of each result."""
    return [f"{h.program.values[v].dtype.name}{describe(dims)}" for v, dims, _ in h.made]


def _key(program: Program, v: int) -> tuple[int, int]:
    """A value of a program; the same where a backend has changed other things about the program."""
    return id(program.values), v


def _arrows(happenings: Sequence[Happening], steps: Sequence[Event], first: int) -> list[Event]:
    """Where a result goes from one lane to another."""
    maker: dict[tuple[int, int], Event] = {}
    out: list[Event] = []
    for h, event in zip(happenings, steps, strict=True):
        for name, tail in _from_elsewhere(h, event, maker):
            out += arrow(first + len(out), name, tail, event)
        maker.update(dict.fromkeys([_key(h.program, one.v) for one in h.made], event))
    return out


def _from_elsewhere(h: Happening, event: Event, maker: Mapping[tuple[int, int], Event]) -> list[tuple[str, Event]]:
    read = dict.fromkeys(v for ins in h.instructions for v in ins.inputs)
    found = [maker.get(_key(h.program, v)) for v in read]
    here = event["pid"], event["tid"]
    return [("result", tail) for tail in found if tail is not None and (tail["pid"], tail["tid"]) != here]


def _live(runs: Sequence[RunRecord]) -> list[tuple[float, int]]:
    """How many bytes of results are alive from which time on: each from its step to its last reader's end."""
    return sums([change for record in runs for change in live_changes(record)])


def sums(changes: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    """Changes of a number at some times, as the number from each of these times on."""
    out: list[tuple[float, int]] = []
    total = 0
    for time, change in sorted(changes):
        total += change
        if out and out[-1][0] == time:
            out[-1] = time, total
        else:
            out.append((time, total))
    return out


def live_changes(record: RunRecord) -> list[tuple[float, int]]:
    """The times at which results of one run come and go, and how many bytes they have; going is negative."""
    alive: dict[tuple[int, int], tuple[int, float]] = {}  # value -> bytes, end of the last reader so far
    out: list[tuple[float, int]] = []
    for h in record.happenings:
        for ins in h.instructions:
            for v in ins.inputs:
                size, _ = alive.get(_key(h.program, v), (0, 0.0))
                if size:
                    alive[_key(h.program, v)] = size, h.ended
        for v, _, size in h.made:
            if size:
                gone = alive.pop(_key(h.program, v), None)  # of an earlier turn of a loop
                out += [(gone[1], -gone[0])] if gone else []
                out.append((h.started, size))
                alive[_key(h.program, v)] = size, h.ended
    fetched = {_key(record.program, v) for v in record.program.fetches}
    out += [(record.ended if key in fetched else last, -size) for key, (size, last) in alive.items()]
    return out
