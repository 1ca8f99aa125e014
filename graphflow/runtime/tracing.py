"""Recording runs: which steps were done, when, and in which thread or queue.

Policy: a recorder looks on at one run at a time, so that every step belongs to a run without asking.  Where runs go on
side by side there are as many recorders, each with a plan of its own.  A recorder keeps readings of the clock, and
shapes where the program does not know them, and never a value.  What it costs is paid by the runs that are traced.

State: a recorder has the steps of the run that goes on; a tracer those of all runs, up to its limit.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from graphflow.backend import Executable, Observer, Run, Watch
from graphflow.errors import DeadlineExceededError, InvalidArgumentError, shown
from graphflow.opdef import is_view
from graphflow.program import Instruction, Program
from graphflow.spec import Dims, TensorSpec, is_concrete, nbytes

Compile = Callable[[Watch], Executable]


class Made(NamedTuple):
    """One result of a step."""

    v: int  # its number in the program
    dims: Dims
    nbytes: int  # 0 for what shares memory with something else


class Happening(NamedTuple):
    """One step that was done."""

    program: Program
    instructions: Sequence[Instruction]
    lane: int | str  # the thread's number, or the name of the device's queue
    started: float  # of `time.perf_counter`
    ended: float
    made: Sequence[Made]  # what others read, or what is fetched


class RunRecord(NamedTuple):
    """One run, from the call of its program to the results."""

    number: int
    program: Program
    thread: int
    started: float
    ended: float
    happenings: Sequence[Happening]
    error: str = ""  # the class of the error that ended it


HandOver = Callable[[RunRecord, Mapping[int, str]], object]  # a run, and the names of the threads


class Recorder:
    """Looks on at one run at a time."""

    wants_values = False

    def __init__(self) -> None:
        self.happenings: list[Happening] = []
        self.threads: dict[int, str] = {}
        self.deadline = float("inf")
        self.limit_ms = 0

    def observe(self, program: Program) -> Observer:
        """Where the steps of a program are noted."""
        return _Notes(self, program)

    def begin(self, timeout_in_ms: int = 0) -> None:
        """A run begins."""
        self.happenings = []
        self.threads = {}  # the number of a thread that has ended may come again
        self.limit_ms = timeout_in_ms
        self.deadline = time.perf_counter() + timeout_in_ms / 1e3 if timeout_in_ms else float("inf")

    def too_late(self) -> DeadlineExceededError:
        """The error of a run that took too long."""
        return DeadlineExceededError(
            "the run took longer than its time limit",
            expected=f"the end within {self.limit_ms} ms",
            hint="RunOptions(timeout_in_ms=...) is looked at before each step; a step that has begun is finished",
        )


class _Notes:
    """The observer of one program."""

    def __init__(self, recorder: Recorder, program: Program) -> None:
        self._recorder = recorder
        self._program = program
        self._unknown = frozenset(v for v, known in enumerate(program.values) if not is_concrete(known.dims))
        self._reads = Counter(v for ins in program.instructions for v in set(ins.inputs))
        self._made: dict[int, tuple[Sequence[Instruction], list[Made]]] = {}

    def _made_by(self, instructions: Sequence[Instruction]) -> list[Made]:
        """The results of a step, as far as the program knows them."""
        found = self._made.get(id(instructions))
        if found is None:
            results = [v for ins in instructions for v in ins.outputs if v >= 0]
            inside = Counter(v for ins in instructions for v in set(ins.inputs)) if len(instructions) > 1 else {}
            fetched, values = self._program.fetches, self._program.values
            read = [v for v in results if not inside.get(v) or self._reads[v] > inside[v] or v in fetched]
            sized = not all(is_view(ins.type) for ins in instructions)
            made = [Made(v, values[v].dims, _bytes(values[v]) if sized else 0) for v in read]
            found = self._made[id(instructions)] = instructions, made  # kept, so that its id stays its own
        return found[1]

    def before(self, instructions: Sequence[Instruction], inputs: Mapping[int, Any]) -> None:
        if time.perf_counter() > self._recorder.deadline:
            raise self._recorder.too_late()

    def after(
        self, instructions: Sequence[Instruction], made: Mapping[int, Any], started: float, ended: float
    ) -> Mapping[int, Any] | None:
        recorder, thread = self._recorder, threading.get_ident()
        if thread not in recorder.threads:
            recorder.threads[thread] = threading.current_thread().name
        self._note(instructions, thread, started, ended, made)
        return None

    def failed(self, instructions: Sequence[Instruction], error: BaseException) -> None:
        """What failed is in the run's own event."""

    def queued(self, instructions: Sequence[Instruction], queue: str, started: float, ended: float) -> None:
        """A device did a step by itself."""
        self._note(instructions, queue, started, ended, {})

    def _note(
        self,
        instructions: Sequence[Instruction],
        lane: int | str,
        started: float,
        ended: float,
        made: Mapping[int, Any],
    ) -> None:
        results = self._made_by(instructions)
        if self._unknown and not self._unknown.isdisjoint(made):
            results = [self._as_made(one, made[one.v]) if one.v in made else one for one in results]
        self._recorder.happenings.append(Happening(self._program, instructions, lane, started, ended, results))

    def _as_made(self, one: Made, value: Any) -> Made:
        """With the shape that only the run knows."""
        known = self._program.values[one.v]._replace(dims=tuple(getattr(value, "shape", ())))
        return Made(one.v, known.dims, _bytes(known))


def _bytes(known: TensorSpec) -> int:
    return 0 if known.dtype.kind in ("resource", "string") else nbytes(known) or 0


class Tracer:
    """All runs of a session for a while."""

    def __init__(self, limit: int) -> None:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise InvalidArgumentError("the limit of a trace is a number of steps", got=shown(limit))
        self.began = time.perf_counter()
        self.runs: list[RunRecord] = []
        self.threads: dict[int, str] = {}
        self.dropped = 0  # steps beyond the limit
        self._limit = limit
        self._kept = 0
        self._lock = threading.Lock()

    def enclose(self, compiled: Compile) -> Executable:
        """What runs are to call instead of the executable that `compiled` gives."""
        return _Recorded(self, compiled)

    def add(self, record: RunRecord, threads: Mapping[int, str]) -> None:
        """A run is over."""
        with self._lock:
            left = max(0, self._limit - self._kept)
            if len(record.happenings) > left:
                self.dropped += len(record.happenings) - left
                record = record._replace(happenings=record.happenings[:left])
            self._kept += len(record.happenings)
            self.runs.append(record)
            self.threads.update(threads)


class _Recorded:
    """An executable of which each run is recorded: as many plans as there are runs at once."""

    needs_run = True

    def __init__(self, tracer: Tracer, compiled: Compile) -> None:
        self._tracer = tracer
        self._compiled = compiled
        self._free = [self._another()]
        self._first = self._free[0][1]
        self.program = self._first.program

    def _another(self) -> tuple[Recorder, Executable]:
        recorder = Recorder()
        return recorder, self._compiled(recorder)

    def __call__(self, feeds: Sequence[Any], run: Run | None) -> list[Any]:
        """The fetched values."""
        return self._recorded(lambda e, r: e(feeds, r), run)

    def stay(self, feeds: Sequence[Any], run: Run) -> list[Any]:
        """The fetched values as arrays on the device."""
        return self._recorded(lambda e, r: e.stay(feeds, r), run)

    def compute(self, feeds: Sequence[Any], run: Run) -> list[Any]:
        """The fetched values, which may share memory with the feeds."""
        return self._recorded(lambda e, r: e.compute(feeds, r), run)

    def listing(self) -> str:
        """The steps."""
        return self._first.listing()

    def native_code(self) -> str:
        """The code of native kernels."""
        return self._first.native_code()

    def _recorded(self, call: Callable[[Executable, Run], list[Any]], run: Run | None) -> list[Any]:
        try:
            recorder, executable = self._free.pop()
        except IndexError:  # all are busy
            recorder, executable = self._another()
        run = run or Run(0)
        try:
            with recorded_run(recorder, executable.program, run.index, self._tracer.add):
                return call(executable, run)
        finally:
            self._free.append((recorder, executable))


@contextmanager
def recorded_run(
    recorder: Recorder, program: Program, number: int, hand_over: HandOver, timeout_in_ms: int = 0
) -> Iterator[None]:
    """A block in which a recorder's run goes on; at its end, however it comes, the record is handed over."""
    thread, failed = threading.get_ident(), ""
    recorder.begin(timeout_in_ms)
    recorder.threads[thread] = threading.current_thread().name
    started = time.perf_counter()
    try:
        yield
        if time.perf_counter() > recorder.deadline:
            raise recorder.too_late()
    except BaseException as error:
        failed = type(error).__name__
        raise
    finally:
        ended = time.perf_counter()
        happenings = sorted(recorder.happenings, key=lambda h: (h.started, -h.ended))
        recorder.happenings = []
        hand_over(RunRecord(number, program, thread, started, ended, happenings, error=failed), recorder.threads)
