"""`FileWriter`: files that TensorBoard reads.

Policy: one record an event, appended in the order of the calls and checksummed; `flush` and `close` make them durable.
A writer may be used from several threads.  Nothing runs in the background, so an error of the disk is raised where it
happens.

State: each writer has its open file.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from types import TracebackType
from typing import Any

from graphflow.durable import text_path
from graphflow.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnknownError,
    shown,
)
from graphflow.graph import Graph
from graphflow.runtime.config import RunMetadata
from graphflow.summary.messages import graph_def, module, run_message

_number = itertools.count()  # of the writers of this process: two of one second have files of their own


class FileWriter:
    """Appends summaries, graphs and the statistics of runs to a file in `logdir`."""

    def __init__(
        self,
        logdir: Any,
        graph: Graph | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        graph_def: Any = None,
        filename_suffix: str | None = None,
    ) -> None:
        if not isinstance(flush_secs, (int, float)) or flush_secs < 0:
            raise InvalidArgumentError("flush_secs is a number of seconds", got=shown(flush_secs))
        self._logdir = text_path(logdir)
        self._flush_secs = float(flush_secs)
        self._suffix = filename_suffix or ""
        if os.path.basename(self._suffix) != self._suffix:
            raise InvalidArgumentError("filename_suffix is a piece of a file's name", got=shown(self._suffix))
        self._lock = threading.Lock()
        self._tags: set[str] = set()  # of runs
        self._file: Any = None
        self._closed = False
        self._open()
        if graph is not None or graph_def is not None:
            self.add_graph(graph if graph is not None else graph_def)

    def _open(self) -> None:
        self._events = module("proto.event_pb2")
        records = module("record_writer")
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
        path = os.path.join(self._logdir, name + self._suffix)
        try:
            os.makedirs(self._logdir, exist_ok=True)
            self._file = records.RecordWriter(path)
        except PermissionError as error:
            raise PermissionDeniedError(f"cannot write {path!r}") from error
        except OSError as error:
            raise UnknownError(f"cannot write {path!r}: {error.strerror}") from error
        self._flushed = time.monotonic()
        self._append(self._events.Event(wall_time=time.time(), file_version="brain.Event:2"), flush=True)

    def get_logdir(self) -> str:
        """The folder that the file is in."""
        return self._logdir

    def add_summary(self, summary: Any, global_step: Any = None) -> None:
        """What a summary op computed, at this step."""
        text = summary.SerializeToString() if hasattr(summary, "SerializeToString") else summary
        if not isinstance(text, bytes):
            raise InvalidArgumentError(
                "add_summary takes what a summary op computed",
                got=shown(summary),
                hint="writer.add_summary(sess.run(merged), step)",
            )
        event = self._events.Event(wall_time=time.time())
        try:
            event.summary.MergeFromString(text)
        except Exception as error:  # of protobuf's own kind
            raise InvalidArgumentError("add_summary takes what a summary op computed", got=shown(summary)) from error
        self._append(event, global_step)

    def add_graph(self, graph: Any, global_step: Any = None, graph_def: Any = None) -> None:
        """The graph, for TensorBoard's graph page."""
        graph = graph if graph is not None else graph_def
        if not isinstance(graph, Graph):
            raise InvalidArgumentError("add_graph takes a tf.Graph", got=shown(graph), hint="sess.graph")
        event = self._events.Event(wall_time=time.time(), graph_def=_graph_text(graph))
        self._append(event, global_step, flush=True)

    def add_run_metadata(self, run_metadata: RunMetadata, tag: str, global_step: Any = None) -> None:
        """What a run took, under a tag that no other run has: time and memory on the graph page."""
        if not isinstance(run_metadata, RunMetadata):
            raise InvalidArgumentError("add_run_metadata takes a tf.RunMetadata", got=shown(run_metadata))
        if not isinstance(tag, str) or not tag:
            raise InvalidArgumentError("a run has a tag", got=shown(tag))
        text = _run_text(run_metadata)
        with self._lock:
            if tag in self._tags:
                raise AlreadyExistsError(f"the tag {tag!r} is another run's", hint="put the step into the tag")
            self._tags.add(tag)
        event = self._events.Event(wall_time=time.time())
        event.tagged_run_metadata.tag, event.tagged_run_metadata.run_metadata = tag, text
        self._append(event, global_step, flush=True)

    def add_event(self, event: Any) -> None:
        """An event as it is."""
        if not isinstance(event, self._events.Event):
            raise InvalidArgumentError("add_event takes an Event", got=shown(event))
        self._append(event)

    def flush(self) -> None:
        """Everything that was added is on the disk when this returns."""
        with self._lock:
            self._check_open()
            self._sync()

    def close(self) -> None:
        """Flush and close the file; `reopen` begins another one."""
        with self._lock:
            if not self._closed:
                self._sync()
                self._file.close()
                self._closed = True

    def reopen(self) -> None:
        """After `close`: go on in another file of the folder."""
        if self._closed:
            self._closed = False
            try:
                self._open()
            except BaseException:
                self._closed = True
                raise

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise FailedPreconditionError("the FileWriter is closed", hint="writer.reopen() begins another file")

    def _append(self, event: Any, step: Any = None, flush: bool = False) -> None:
        if step is not None:
            try:
                event.step = int(step)
            except (TypeError, ValueError) as error:
                raise InvalidArgumentError("global_step is an integer", got=shown(step)) from error
        with self._lock:
            self._check_open()
            try:
                self._file.write(event.SerializeToString())
            except OSError as error:
                raise UnknownError(f"cannot write to {self._file.path!r}: {error.strerror}") from error
            if flush or time.monotonic() - self._flushed >= self._flush_secs:
                self._sync()

    def _sync(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            raise UnknownError(f"cannot write to {self._file.path!r}: {error.strerror}") from error
        self._flushed = time.monotonic()


def _graph_text(graph: Graph) -> bytes:
    return bytes(graph_def(graph).SerializeToString())


def _run_text(metadata: RunMetadata) -> bytes:
    """The statistics of a run as TensorFlow writes them."""
    stats: Any = metadata.step_stats  # type: ignore[attr-defined]
    if stats is None or not stats.dev_stats:
        raise InvalidArgumentError(
            "this RunMetadata has no statistics",
            hint="sess.run(..., options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), run_metadata=metadata)",
        )
    made = run_message("RunMetadata")()
    for device in stats.dev_stats:
        own = made.step_stats.dev_stats.add(device=device.device)
        for node in device.node_stats:
            own.node_stats.add(
                node_name=node.node_name,
                all_start_micros=node.all_start_micros,
                op_start_rel_micros=node.op_start_rel_micros,
                op_end_rel_micros=node.op_end_rel_micros,
                all_end_rel_micros=node.all_end_rel_micros,
                timeline_label=node.timeline_label,
                thread_id=node.thread_id,
            )
    return bytes(made.SerializeToString())
