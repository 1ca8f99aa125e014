"""`Timeline`: the steps of one run as a trace for chrome://tracing, as `tensorflow.python.client.timeline` has it.

Policy: reads `RunMetadata.step_stats` and nothing else, so step stats from elsewhere with these fields do as well.
Traces of many runs, with the threads as they were, are written by `session.trace`.

State: none.
"""

from __future__ import annotations

import json
from typing import Any

from graphflow.errors import InvalidArgumentError, shown
from graphflow.runtime import chrome
from graphflow.runtime.step_stats import BETWEEN_NAMES, NodeExecStats


class Timeline:
    """`Timeline(run_metadata.step_stats).generate_chrome_trace_format()` is the text of a trace file."""

    def __init__(self, step_stats: Any, graph: Any = None) -> None:
        if not hasattr(step_stats, "dev_stats"):
            raise InvalidArgumentError(
                "a timeline is made of step stats",
                expected="run_metadata.step_stats after session.run(..., options=tf.RunOptions(trace_level=3), "
                "run_metadata=run_metadata)",
                got=shown(step_stats),
            )
        self._step_stats = step_stats
        self._graph = graph

    def generate_chrome_trace_format(
        self, show_dataflow: bool = True, show_memory: bool = False, op_time: str = "schedule"
    ) -> str:
        """The trace as JSON text; arrows and a counter of the bytes of results if they are asked for."""
        nodes = [(pid, node) for pid, device in self._devices() for node in device.node_stats]
        began = min((node.all_start_micros for _, node in nodes), default=0)
        boxes = [_box(pid, node, began) for pid, node in nodes]
        events = self._metadata() + boxes
        if show_dataflow:
            events += _arrows(nodes, boxes)
        if show_memory:
            events += _memory(nodes, boxes)
        return json.dumps({"traceEvents": chrome.in_order(events)}, indent=1, allow_nan=False)

    def _devices(self) -> list[tuple[int, Any]]:
        return list(enumerate(self._step_stats.dev_stats, 1))

    def _metadata(self) -> list[chrome.Event]:
        out = []
        for pid, device in self._devices():
            out.append(chrome.named(pid, None, f"{device.device} Compute"))
            for tid, name in getattr(device, "thread_names", {}).items():
                out.append(chrome.named(pid, tid, name))
        return out


def _times(node: Any) -> tuple[float, float]:
    """The beginning and the end of a step in microseconds, as exactly as they are known."""
    start, length = getattr(node, "all_start_nanos", 0), getattr(node, "all_end_rel_nanos", 0)
    if start:
        return start / 1e3, (start + length) / 1e3
    return node.all_start_micros, node.all_start_micros + node.all_end_rel_micros


def _parts(node: Any) -> tuple[str, list[str]]:
    """The type and the inputs that a label tells: "name = Type(input, input)"."""
    _, _, call = node.timeline_label.partition(" = ")
    kind, _, inputs = call.partition("(")
    return kind or node.node_name, [i for i in inputs.removesuffix(")").split(BETWEEN_NAMES) if i]


def _box(pid: int, node: Any, began: int) -> chrome.Event:
    kind, inputs = _parts(node)
    start, end = _times(node)
    args = {"name": node.node_name, "op": kind, **{f"input{i}": name for i, name in enumerate(inputs)}}
    return chrome.complete(kind, "Op", (pid, node.thread_id), (start - began, end - began), args)


def _arrows(nodes: list[tuple[int, Any]], boxes: list[chrome.Event]) -> list[chrome.Event]:
    """From each step to those that read its results, as far as they were done after it."""
    maker: dict[str, chrome.Event] = {}
    out: list[chrome.Event] = []
    for (_, node), box in sorted(zip(nodes, boxes, strict=True), key=lambda pair: pair[1]["ts"]):
        for name in _parts(node)[1]:
            tail = maker.get(name.removeprefix("^").partition(":")[0])
            if tail is not None and tail["ts"] + tail["dur"] <= box["ts"] + box["dur"]:
                out += chrome.arrow(len(out) // 2, name, tail, box)
        for name in node.node_name.split(BETWEEN_NAMES):
            maker[name] = box
    return out


def _memory(nodes: list[tuple[int, Any]], boxes: list[chrome.Event]) -> list[chrome.Event]:
    """By device, the bytes of results from the step that makes them to the last one that reads them."""
    last: dict[str, float] = {}
    for (_, node), box in zip(nodes, boxes, strict=True):
        for name in _parts(node)[1]:
            made_by = name.removeprefix("^").partition(":")[0]
            last[made_by] = max(last.get(made_by, 0.0), box["ts"] + box["dur"])
    changes: dict[int, list[tuple[float, int]]] = {}
    for (pid, node), box in zip(nodes, boxes, strict=True):
        size = _bytes(node)
        end = max([last[name] for name in node.node_name.split(BETWEEN_NAMES) if name in last], default=box["ts"])
        if size:
            changes.setdefault(pid, []).extend([(box["ts"], size), (max(end, box["ts"] + box["dur"]), -size)])
    out = []
    for pid, found in changes.items():
        out += [chrome.counter("memory", pid, time, {"live results": n}) for time, n in chrome.sums(found)]
    return out


def _bytes(node: NodeExecStats) -> int:
    return sum(out.tensor_description.allocation_description.requested_bytes for out in node.output)
