"""`Inspection`: what a session offers to those who want to look inside a run.

Policy: each method is thin: it compiles, or looks on at a run, and hands what it found to the module that knows how to
show it.  Most sessions are never asked, so these modules are imported at their first use.

State: who traces, watches that no run uses now, and who is told of new sessions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from graphflow.backend import PlacingExecutable, Run, Watch
from graphflow.plans import Plans, closed_error
from graphflow.program import Program

if TYPE_CHECKING:
    from graphflow.durable import StrPath
    from graphflow.runtime.explanation import Explanation
    from graphflow.runtime.observation import Observation
    from graphflow.runtime.profile import Profile
    from graphflow.runtime.tracing import Tracer
    from graphflow.runtime.watching.debugger import Debugger


class _Reusable(Watch, Protocol):
    """A watch of one run at a time, which `begin` makes as good as new."""

    def begin(self) -> None:
        """A run begins."""


W = TypeVar("W", bound=_Reusable)
heralds: list[Callable[[Any], None]] = []  # are told of every new session: how a debugger gets at those of a script


class Inspection(Plans):
    """The methods of a session that show what it does."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._tracer: Tracer | None = None  # of the `trace` that goes on
        self._idle: dict[type, list[Any]] = {}  # watches by their class, for use again
        for hear in heralds:
            hear(self)

    def program(self, fetches: Any, feed_dict: Any = None) -> Program:
        """The compiled Program that `run` would execute; print it to read it."""
        return self._executable(fetches, feed_dict).program

    def explain(self, fetches: Any, feed_dict: Any = None) -> Explanation:
        """What the compiler made of these fetches and feeds: print it, or read its fields."""
        from graphflow.runtime.explanation import Explanation
        from graphflow.runtime.provenance import origin_of, placements_of

        executable, entry = self._executable(fetches, feed_dict), self._prepare(fetches, feed_dict)
        program, wanted = executable.program, entry.fetches
        origin = origin_of(self.graph, wanted.tensors, wanted.operations, entry.feeds)
        found = executable.placements() if isinstance(executable, PlacingExecutable) else {}
        places = placements_of(program, found, self._backend.kinds)
        return Explanation(program, executable.listing(), executable.native_code(), origin, places)

    # -- measuring -----------------------------------------------------------------------------------------------

    def _recorded_run(
        self, fetches: Any, feed_dict: Any, options: Any, run_metadata: Any, device_arrays: bool = False
    ) -> Any:
        """What `run` returns, within a time limit, or with the times of all steps in `run_metadata.step_stats`."""
        from graphflow.runtime import run_stats, tracing

        with self._borrowed(tracing.Recorder) as recorder:
            entry, executable, values = self._watched_call(recorder, fetches, feed_dict)
            run, tracer = Run(next(self._runs), self._entropy), self._tracer

            def keep(record: Any, threads: Any) -> None:
                if run_metadata is not None:
                    run_metadata.program = record.program
                    if options.trace_level:
                        fed = dict(zip(record.program.feeds, [t.op.name for t in entry.feeds], strict=True))
                        run_metadata.step_stats = run_stats.step_stats(record, threads, self._queue_device, fed)
                if tracer is not None:
                    tracer.add(record, threads)

            with tracing.recorded_run(recorder, executable.program, run.index, keep, options.timeout_in_ms):
                out = executable.stay(values, run) if device_arrays else executable(values, run)
        return out[0] if entry.single else entry.fetches.rebuild(out)

    @contextmanager
    def trace(self, path: StrPath, limit: int = 100_000) -> Iterator[None]:
        """`with session.trace("run.json"):` all runs inside become one trace for ui.perfetto.dev or chrome://tracing.

        The file is written at the end of the block, also if that ends by an error.  The first `limit` steps are kept;
        the file tells how many are missing.
        """
        from graphflow.runtime import chrome, tracing

        tracer = tracing.Tracer(limit)
        with self.enclosing(tracer.enclose), chrome.written(path, tracer, self._queue_device):
            self._tracer = tracer
            try:
                yield
            finally:
                self._tracer = None

    def profile(self, fetches: Any, feed_dict: Any = None, runs: int = 10) -> Profile:
        """Where the time of `run` goes, by op, by type and by line: print it.

        By turns a run is watched, which takes longer, and one is not: both times are told.  The fetches are computed
        `runs` times in each way, and once before that to warm up: a training step is done `2 * (runs + 1)` times.
        Inside `trace` all runs are watched.
        """
        from graphflow.runtime import profile, tracing

        records: list[Any] = []
        unwatched: list[float] = []
        count = profile.checked_runs(runs)
        with self._borrowed(tracing.Recorder) as recorder:
            for _ in range(1 + count):
                entry, executable, values = self._watched_call(recorder, fetches, feed_dict)
                run = Run(next(self._runs), self._entropy)
                with tracing.recorded_run(recorder, executable.program, run.index, lambda r, _: records.append(r)):
                    executable(values, run)
                if self._looking is not None:  # then no run is unwatched
                    continue
                plain = self._plan(entry, tuple([v.shape for v in values]))
                run = Run(next(self._runs), self._entropy)
                started = time.perf_counter()
                plain(values, run)
                unwatched.append(time.perf_counter() - started)
        return profile.profile_of(records[1:], unwatched[1:])

    def observe(self, fetches: Any, feed_dict: Any = None, level: int | None = 0, small: int = 4096) -> Observation:
        """Run once and keep what pictures show: values of small tensors, ranges of large ones, seconds of ops.

        At level 0, the default, every op of the graph is there as it was built; `level=None` is the session's own,
        where ops may be folded or fused.  Arrays of at most `small` bytes are kept as they are.
        """
        from graphflow.runtime import observation

        with self._borrowed(observation.Witness) as witness:
            witness.begin(small)
            entry, executable, values = self._watched_call(witness, fetches, feed_dict, level)
            for tensor, value in zip(entry.feeds, values, strict=True):
                witness.keep(tensor.name, value)
            out = executable(values, Run(next(self._runs), self._entropy))
            return witness.found(out[0] if entry.single else entry.fetches.rebuild(out))

    @contextmanager
    def _borrowed(self, kind: type[W]) -> Iterator[W]:
        """A watch that nobody else uses now; what was compiled for it is used again."""
        idle = self._idle.setdefault(kind, [])
        try:
            watch = idle.pop()
        except IndexError:
            watch = kind()
        try:
            yield watch
        finally:
            watch.begin()  # it keeps nothing of the run
            idle.append(watch)

    @property
    def _queue_device(self) -> str:
        """The device that queues belong to, in TF1's words."""
        kinds = self._backend.kinds - {"cpu"} or {"cpu"}
        return f"/device:{('gpu' if 'gpu' in kinds else min(kinds)).upper()}:0"

    # -- debugging -----------------------------------------------------------------------------------------------

    def check_numerics(self, fetches: Any, feed_dict: Any = None, allow_infinity: bool = False) -> Any:
        """What `run` returns, if no op makes a NaN or an infinity; else a `NumericsError` that names the first one.

        Every result is looked at, also in loops, gradients and updates, of the program as it was written (level 0).
        """
        from graphflow.runtime.watching import numerics

        return self.watched_run(numerics.CHECKS[bool(allow_infinity)], fetches, feed_dict, level=0)

    def checking_numerics(self, allow_infinity: bool = False) -> AbstractContextManager[None]:
        """`with session.checking_numerics():` every run inside is done as `check_numerics` does it."""
        from graphflow.runtime.watching import numerics

        return self.looking_on(numerics.CHECKS[bool(allow_infinity)], level=0)

    def debug(self) -> Debugger:
        """`with session.debug() as dbg:` runs that stop at breakpoints and go on step by step; see `Debugger`."""
        from graphflow.runtime.watching import debugger

        if self._closed:
            raise closed_error()
        return debugger.Debugger(self)
