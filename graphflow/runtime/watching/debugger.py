"""`Debugger`: a run that stops and goes on as the caller says, from a script, a notebook or pdb.

Policy: the run is in a thread of its own, and exactly one of the two threads works at any time: `run`, `step` and the
like let the run go on and wait for its next stop or its end.  What may need locks that the run holds (an optimizer's
update in the midst of which we are) is done by the run's thread.  Leaving the block, an interruption and `cancel` end a
stopped run as a failing op would: its locks are let go, and the session stays usable.

State: the thread of the run that is stopped.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple

from graphflow.errors import FailedPreconditionError
from graphflow.runtime.watching import stepping
from graphflow.runtime.watching.looking import Looker
from graphflow.runtime.watching.stepping import Left, Stepper, Stop


class _End(NamedTuple):
    """What a run came to."""

    result: Any
    error: BaseException | None


class _Work(NamedTuple):
    """Something for the run's thread to do while it is stopped."""

    function: Callable[[], Any]
    answer: SimpleQueue[_End]


class Debugger(Looker):
    """Step through runs of a session: `with session.debug() as dbg:`."""

    def __init__(self, session: Any) -> None:
        super().__init__(session, Stepper(self._attend))
        self._session = session
        self._thread: threading.Thread | None = None
        self._news: SimpleQueue[Stop | _End] = SimpleQueue()  # from the run
        self._orders: SimpleQueue[_Work | str | None] = SimpleQueue()  # to the run; None: leave it

    def __enter__(self) -> Debugger:
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()
        self.clear()
        self._stepper.values.clear()
        self._session.forget(self._stepper)

    # -- going on ------------------------------------------------------------------------------------------------

    def run(self, fetches: Any, feed_dict: Any = None) -> Any:
        """Run until the first stop, which is returned, or to the end, with the results that `session.run` returns.

        Without a breakpoint it stops after the first op.  The program is that of level 0: op by op, as it was written.
        """
        if self._thread is not None:
            raise FailedPreconditionError(
                f"a run is stopped {self.stop}", hint="continue_(), finish() or cancel() it before the next one"
            )
        entry = self._session._prepare(fetches, feed_dict)
        self._news, self._orders = SimpleQueue(), SimpleQueue()
        self._stepper.begin(stepping.CONTINUE if self._stepper.breakpoints else stepping.STEP)
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._do, entry, feed_dict), daemon=True, name="graphflow debugger"
        )
        self._thread.start()
        return self._wait()

    def step(self) -> Any:
        """To the next op, also inside a loop or branch; returns the stop, or the results of the run."""
        return self._go_on(stepping.STEP)

    def over(self) -> Any:
        """To the next op that is not inside a loop or branch, or not deeper inside than we are."""
        return self._go_on(stepping.OVER)

    def out(self) -> Any:
        """To the end of the loop or branch that we are in; outside of any, to the last op of the run."""
        return self._go_on(stepping.OUT)

    def continue_(self) -> Any:
        """To the next breakpoint."""
        return self._go_on(stepping.CONTINUE)

    def finish(self) -> Any:
        """To the end, whatever breakpoints there are; returns the results of the run."""
        return self._go_on(stepping.FINISH)

    def cancel(self) -> None:
        """Leave the run that is stopped, if there is one: what it has assigned so far stays."""
        thread = self._thread
        if thread is None:
            return
        self._stepper.leaving = True
        self._orders.put(None)
        thread.join()
        self._thread = None
        self._stepper.stop = None

    # -- the two threads -----------------------------------------------------------------------------------------

    def _go_on(self, mode: str) -> Any:
        if self._thread is None:
            raise FailedPreconditionError("no run is stopped", hint="dbg.run(fetches, feed_dict) begins one")
        self._orders.put(mode)
        return self._wait()

    def _wait(self) -> Any:
        """The next stop, or what the run came to."""
        try:
            news = self._news.get()
        except BaseException:
            self.cancel()
            raise
        if isinstance(news, Stop):
            return news
        assert self._thread is not None
        self._thread.join()
        self._thread = None
        if news.error is not None:
            try:
                raise news.error
            finally:
                del news  # no cycle through the traceback
        self._stepper.stop = None
        return news.result

    def _do(self, entry: Any, feed_dict: Any) -> None:
        """The run, in its own thread."""
        wanted = entry.fetches
        try:
            with self._session.as_default():
                out = self._session.watched_run(
                    self._stepper, [*wanted.tensors, *wanted.operations], feed_dict, level=0
                )
            changed = self._stepper.changed
            out = [changed.get(t, v) for t, v in zip(wanted.tensors, out, strict=False)]
            self._news.put(_End(out[0] if entry.single else wanted.rebuild(out), None))
        except BaseException as error:
            self._news.put(_End(None, error))

    def _attend(self, stop: Stop) -> None:
        """In the run's thread: hand over the stop and do as we are told."""
        if stop.error is not None:  # the run ends with it
            return
        self._news.put(stop)
        while True:
            order = self._orders.get()
            if order is None:
                raise Left("the debugger has left the run")
            if isinstance(order, str):
                self._stepper.mode = order
                return
            order.answer.put(_answer(order.function))

    def _beside_the_run(self, function: Callable[[], Any]) -> Any:
        if self._thread is None:
            return function()
        work = _Work(function, SimpleQueue())
        self._orders.put(work)
        end = work.answer.get()
        if end.error is not None:
            raise end.error
        return end.result


def _answer(function: Callable[[], Any]) -> _End:
    try:
        return _End(function(), None)
    except BaseException as error:
        return _End(None, error)
