"""`DebugMode`: a session that computes everything twice, as it was written and as it was optimised, and compares.

Policy: the program of level 0 runs beside the session's own, on variables of its own that begin with the same values,
with the same random numbers; so what a run assigns is assigned once.  Every value that both have is compared, bit for
bit where the level promises that.  Feeds are frozen, released memory is filled with rubbish.  If the two differ, passes
are switched off from the last to the first until they agree: the pass that was switched off last is named.  What acts
on the world (`Print`, `py_func`, callbacks) acts twice; before a pass is blamed, the program of level 0 runs once more:
if it does not agree with itself, a function of the user's answers differently each time, and no pass is at fault.

State: the variables and plans of the second program; one run at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.backend import Cell, Executable, Run
from graphflow.compile import pipeline
from graphflow.debug.records import Difference, Outcome, Values, first_difference, nearly
from graphflow.dtypes import resource
from graphflow.errors import (
    Error,
    FailedPreconditionError,
    InvalidArgumentError,
    RewriteError,
    UnimplementedError,
    shown,
)
from graphflow.plans import Enclose, Entry, Onlooker
from graphflow.runtime.selection import check_options
from graphflow.session import Session
from graphflow.tensor import Operation
from graphflow.testing.numeric import same_bits

MAX_PAIRS = 64


class Rounding(NamedTuple):
    """What is let pass where a level may round differently."""

    norm: float  # of the difference, as a part of the value's
    unit: float  # in each element, as a part of the numbers that it was made of


ROUNDING = {2: Rounding(5e-2, 1e-2), 4: Rounding(2e-2, 1e-5), 8: Rounding(1e-6, 1e-13)}  # by bytes of a number


class _Beside(Onlooker):
    """What the backend sees of the program that runs beside the session's own: other variables, other passes."""

    def __init__(self, session: DebugMode, watch: Values, options: pipeline.Options) -> None:
        super().__init__(session, watch, 0)
        self.options = options
        self.cell = session.cell_beside


class _Pair(NamedTuple):
    """The two programs for one combination of fetches and shapes of feeds."""

    written: Executable
    optimised: Executable
    wanted: Values
    got: Values


class DebugMode(Session):
    """A session that doubts the compiler: a `RewriteError` names the pass, the op and the line if a result is wrong.

    with tf.debug.DebugMode() as sess:
        sess.run(train_op, feed_dict)

    It takes what `Session` takes.  Where the level keeps every bit (NumPy up to level 1), every bit is compared; else
    the norm of what two values differ by: more than 2 % of the value's norm, or `tolerance`, is wrong if rounding alone
    does not explain it.  A run takes several times as long.
    """

    def __init__(self, *arguments: Any, tolerance: float | None = None, **options: Any) -> None:
        _check_tolerance(tolerance)
        super().__init__(*arguments, **{"debug_memory": True, **options})
        self._tolerance = tolerance
        self._beside: dict[str, Cell] = {}
        self._pairs: dict[Any, _Pair] = {}
        self._pairs_of = self._mutations
        self._alone = threading.RLock()

    # -- running -------------------------------------------------------------------------------------------------

    def run(
        self,
        fetches: Any,
        feed_dict: Any = None,
        options: Any = None,
        run_metadata: Any = None,
        device_arrays: bool = False,
    ) -> Any:
        """What `Session.run` returns, once both programs agree about it."""
        check_options(options, run_metadata)
        if options is not None and (options.trace_level or options.timeout_in_ms):
            raise UnimplementedError("DebugMode runs two programs: it measures no time and has no time limit")
        if device_arrays:
            raise UnimplementedError("DebugMode compares results on the host", hint="leave device_arrays out")
        with self._alone:
            entry = self._prepare(fetches, feed_dict)
            given = [convert(v) for convert, v in zip(entry.converters, (feed_dict or {}).values(), strict=True)]
            if any(t.dtype is resource for t in entry.feeds):
                raise UnimplementedError("DebugMode cannot feed a variable's memory: both programs would write to it")
            found = self._twice(entry, given)
            if run_metadata is not None:
                run_metadata.program = self._pair(entry, given).optimised.program
        return found

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False) -> Any:
        """A function of the values of `feed_list` that returns what `run(fetches, ...)` would."""
        super().make_callable(fetches, feed_list)  # checks what it is given
        return self._by_run(fetches, list(feed_list or ()))

    def enclosing(self, enclose: Enclose, level: int | None = None) -> Any:
        """Refused: of two programs that are compared nobody else sees one."""
        raise UnimplementedError(
            "DebugMode looks on at its runs itself", expected="a plain tf.Session",
            hint="debug(), observe() and check_numerics() look at single runs",
        )  # fmt: skip

    def close(self) -> None:
        """Free the plans and the variables of both programs; the session cannot be used afterwards."""
        super().close()
        self._pairs.clear()
        self._beside.clear()

    def _twice(self, entry: Entry, given: Sequence[Any]) -> Any:
        pair = self._pair(entry, given)
        before = self._state(self._cells)
        number = next(self._runs)
        wanted = self._outcome(entry, pair.written, pair.wanted, given, number, before)
        got = self._outcome(entry, pair.optimised, pair.got, given, number)
        try:
            difference = self._difference(entry, wanted, got, pair.wanted, pair.got)
            if difference is not None:
                for name, value in before.items():
                    self._cells[name].assign(value)
                raise self._blamed(entry, given, number, before, wanted, pair.wanted, difference)
        finally:
            pair.wanted.begin()  # every value of the run: too much to be kept until the next one
            pair.got.begin()
        if got.error is not None:
            raise got.error
        return got.fetched[0] if entry.single else entry.fetches.rebuild(list(got.fetched))

    def _outcome(
        self,
        entry: Entry,
        executable: Executable,
        recorder: Values,
        given: Sequence[Any],
        number: int,
        before: dict[str, Any] | None = None,
    ) -> Outcome:
        """One run; with `before` it is one beside the session's own, and begins with these values."""
        cells = self._cells if before is None else self._beside
        for name, value in (before or {}).items():
            self._cell_beside(name).assign(value)
        recorder.begin()
        frozen, kept = [_frozen(v) for v in given], [np.array(v) for v in given]
        fetched: Sequence[Any] = ()
        error: Error | None = None
        try:
            fetched = executable(frozen, Run(number, self._entropy))
        except Error as met:
            error = met
        for tensor, value, copy in zip(entry.feeds, given, kept, strict=True):
            if not same_bits(value, copy):
                raise RewriteError(f"the run has written into what was fed for {tensor.name!r}", op=tensor.op)
        return Outcome(fetched, self._state(cells), error)

    # -- two programs --------------------------------------------------------------------------------------------

    def _pair(self, entry: Entry, given: Sequence[Any]) -> _Pair:
        if self._pairs_of != self._mutations:  # the entries are other ones now
            self._pairs.clear()
            self._pairs_of = self._mutations
        key = (entry, tuple([np.shape(v) for v in given]))
        found = self._pairs.get(key)
        if found is None:
            while len(self._pairs) >= MAX_PAIRS:
                self._pairs.pop(next(iter(self._pairs)))
            wanted, got, backend = Values(), Values(), self._backend
            optimised = self._made(entry, given, Onlooker(self, got, None))
            if self._backend is not backend:  # an op asked for a device that the one before has not
                self._beside.clear()
                self._pairs.clear()
            written = self._made(entry, given, _Beside(self, wanted, pipeline.Options(0)))
            found = self._pairs[key] = _Pair(written, optimised, wanted, got)
        return found

    def _made(self, entry: Entry, given: Sequence[Any], onlooker: Onlooker) -> Executable:
        wanted = entry.fetches
        return self.compile(wanted.tensors, wanted.operations, entry.feeds, [np.shape(v) for v in given], onlooker)

    def cell_beside(self, variable: Operation) -> Cell:
        """The memory of a variable in the program that runs beside the session's own."""
        self.cell(variable)
        return self._cell_beside(variable.name)

    def _cell_beside(self, name: str) -> Cell:
        found = self._beside.get(name)
        if found is None:
            own = self._cells[name]
            found = self._beside[name] = self._backend.new_cell(name, own.dtype, own.dims)
        return found

    @staticmethod
    def _state(cells: dict[str, Cell]) -> dict[str, Any]:
        return {name: cell.snapshot() for name, cell in list(cells.items()) if cell.initialized}

    # -- comparing -----------------------------------------------------------------------------------------------

    def _difference(
        self, entry: Entry, wanted: Outcome, got: Outcome, reference: Values, other: Values
    ) -> Difference | None:
        names = [t.name for t in entry.fetches.tensors]
        return first_difference(wanted, got, reference, other, names, self._equal)

    def _equal(self, a: Any, b: Any, scale: float) -> bool:
        if same_bits(a, b):
            return True
        exact = self.options.level < 2 and self._backend.default_level < 2
        kind = getattr(getattr(a, "dtype", None), "kind", "O")
        if exact and self._tolerance is None or kind not in "fciubV" or not hasattr(b, "dtype"):
            return False
        width = np.dtype(a.dtype).itemsize // (2 if kind == "c" else 1) if kind in "fcV" else 4
        rounding = ROUNDING[width]
        return nearly(a, b, scale, rounding.norm if self._tolerance is None else self._tolerance, rounding.unit)

    def _changing(
        self,
        entry: Entry,
        given: Sequence[Any],
        number: int,
        before: dict[str, Any],
        wanted: Outcome,
        reference: Values,
    ) -> Error | None:
        """The error if the program as it was written does not even agree with itself."""
        again = Values()
        executable = self._made(entry, given, _Beside(self, again, pipeline.Options(0)))
        outcome = self._outcome(entry, executable, again, given, number, before)
        found = self._difference(entry, wanted, outcome, reference, again)
        if found is None:
            return None
        return FailedPreconditionError(
            f"two runs of the program as it was written differ, so there is nothing to compare: {found.what}",
            op=found.op, expected=found.expected, got=found.got,
            hint="DebugMode runs everything twice: a py_func has to answer the same each time it gets the same",
        )  # fmt: skip

    def _blamed(
        self,
        entry: Entry,
        given: Sequence[Any],
        number: int,
        before: dict[str, Any],
        wanted: Outcome,
        reference: Values,
        difference: Difference,
    ) -> Error:
        """The error, with the pass whose absence makes the difference go away."""
        changing = self._changing(entry, given, number, before, wanted, reference)
        if changing is not None:
            return changing
        names = [row.name for row in self.options.table if row.name not in self._backend.own_passes]
        guilty = None
        for count in reversed(range(len(names))):
            options = pipeline.Options(self.options.level, set(pipeline.PASSES) - set(names[:count]))
            recorder = Values()
            executable = self._made(entry, given, _Beside(self, recorder, options))
            got = self._outcome(entry, executable, recorder, given, number, before)
            if self._difference(entry, wanted, got, reference, recorder) is None:
                guilty = names[count]
                break
        told = (
            f"the pass {guilty!r} is wrong" if guilty else f"the backend {self._backend.name!r} is wrong, with no pass"
        )
        hint = (
            f"Session(disabled_passes=[{guilty!r}]) runs without it; please report it" if guilty else "please report it"
        )
        error = RewriteError(
            f"{told}: {difference.what}", op=difference.op, expected=difference.expected, got=difference.got, hint=hint
        )
        error.pass_name = guilty
        return error


def _check_tolerance(tolerance: Any) -> None:
    number = isinstance(tolerance, (int, float, np.integer, np.floating)) and not isinstance(tolerance, bool)
    if tolerance is not None and not (number and tolerance >= 0):  # a NaN is not
        raise InvalidArgumentError(
            "the tolerance is a part of a value's norm",
            expected="a number from 0 on, such as 0.01",
            got=shown(tolerance),
        )


def _frozen(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    view = value.view()
    view.flags.writeable = False
    return view
