"""`python -m graphflow debug script.py`: a script, unmodified, under the debugger's prompt.

Policy: every session that the script makes is looked on at, at level 0.  The first run stops after its first op; later
ones where the prompt was told to.  The run waits in the script's own thread.  Ctrl-C stops at the next op, a second one
interrupts the script.

State: the sessions of the script, while it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from graphflow import inspection
from graphflow.debug.prompt import Prompt, Quit
from graphflow.debug.script import exit_code, print_failure, run_script
from graphflow.errors import Error, NotFoundError, UnimplementedError
from graphflow.runtime.watching import stepping
from graphflow.runtime.watching.breakpoints import Breakpoint
from graphflow.runtime.watching.looking import Looker
from graphflow.runtime.watching.stepping import Stepper, Stop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "-b", "--break", dest="places", metavar="PLACE", action="append", default=[],
        help="stop at an op, a scope 'layer1/*' or a line train.py:12, and not at the start; may be given again",
    )  # fmt: skip
    parser.add_argument("script", help="the Python script to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the script gets as its arguments")


def run(arguments: argparse.Namespace) -> int:
    """Run the script; the exit code."""
    if not os.path.isfile(arguments.script):
        raise NotFoundError(f"there is no script {arguments.script!r}")
    return Terminal(arguments.places).run(arguments.script, arguments.arguments)


class Terminal:
    """The sessions of one script, and the prompt that they share."""

    def __init__(self, places: list[str]) -> None:
        self._prompt = Prompt()
        self._places = places  # breakpoints that the graph may not have yet
        self._prompt.mode = stepping.CONTINUE if places else stepping.STEP
        self._points: dict[int, Breakpoint] = {}
        self._steppers: list[Stepper] = []
        self._looker: Looker | None = None
        self._open = contextlib.ExitStack()
        self._one_at_a_time = threading.RLock()
        self._asked: BaseException | None = None  # the error that the prompt has shown
        self._pausing = False

    def run(self, script: str, arguments: list[str]) -> int:
        """Run a script as `python script arguments` would."""
        inspection.heralds.append(self._adopt)
        try:
            with self._open, self._interruptible():
                run_script(script, arguments)
        except Quit:
            return 0
        except SystemExit as end:
            return exit_code(end)
        except Error as error:
            return self._ended_by(error)
        except Exception as error:
            print_failure(error, script)
            return 1
        finally:
            inspection.heralds.remove(self._adopt)
            for place in self._places:
                _tell(f"no run has come by {place!r}: no graph has such a place")
        return 0

    def _ended_by(self, error: Error) -> int:
        """The script did not catch it: show it, unless it was shown when the op failed."""
        if not _comes_from(error, self._asked):
            with contextlib.suppress(Quit):
                self._prompt.after_death(self._looker, error)
        else:
            _tell(error)
        return 1

    # -- sessions ------------------------------------------------------------------------------------------------

    def _adopt(self, session: Any) -> None:
        """Look on at a new session."""
        stepper = _Stepper(self, self._points)
        stepper.mode = self._prompt.mode
        stepper.looker = Looker(session, stepper)
        try:
            self._open.enter_context(session.looking_on(stepper, level=0))
        except UnimplementedError as error:
            _tell(f"the runs of a {type(session).__name__} are not stepped through: {error.summary}")
        else:
            self._steppers.append(stepper)

    def place(self, looker: Looker) -> None:
        """Set the breakpoints of the command line that this graph has."""
        for place in list(self._places):
            with contextlib.suppress(NotFoundError):
                looker.break_at(place)
                self._places.remove(place)

    def attend(self, looker: Looker, stop: Stop) -> None:
        """Ask what to do at a stop."""
        with self._one_at_a_time:
            self._looker, self._pausing = looker, False
            self._asked = stop.error
            mode = self._prompt.attend(looker)
            for one in self._steppers:
                one.mode = mode

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C stops at the next op."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def pause(number: int, frame: FrameType | None) -> None:
            if self._pausing or not self._steppers or _is_asking(frame):
                raise KeyboardInterrupt
            self._pausing = True
            _tell("stops at the next op; Ctrl-C again interrupts the script")
            for stepper in self._steppers:
                stepper.mode = stepping.STEP

        before = signal.signal(signal.SIGINT, pause)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class _Stepper(Stepper):
    """The stepper of one session; it sets breakpoints when a run begins: then the script has built its graph."""

    looker: Looker

    def __init__(self, terminal: Terminal, points: dict[int, Breakpoint]) -> None:
        super().__init__(lambda stop: terminal.attend(self.looker, stop), points)
        self._terminal = terminal

    def run_begins(self) -> None:
        """A run begins."""
        super().run_begins()
        self._terminal.place(self.looker)


def _tell(text: object) -> None:
    sys.stderr.write(f"{text}\n")


def _comes_from(error: BaseException | None, first: BaseException | None) -> bool:
    while error is not None:
        if error is first:
            return True
        error = error.__cause__
    return False


def _is_asking(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is Prompt.cmdloop.__code__:
            return True
        frame = frame.f_back
    return False
