"""The debugger's prompt: commands in words, each one line of help.

Policy: what is typed is a command and names, never Python: nothing is evaluated but literals (`ast.literal_eval`).  A
mistake is told in a line and the prompt stays.

State: where we are, and what to do next.
"""

from __future__ import annotations

import ast
import cmd
import linecache
import math
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from graphflow.errors import Error, InvalidArgumentError, shown
from graphflow.runtime.watching import stepping
from graphflow.runtime.watching.breakpoints import all_operations
from graphflow.runtime.watching.looking import Looker
from graphflow.runtime.watching.summaries import not_finite, summary

AROUND = 5  # lines of source on each side
MOST_NAMES = 50  # proposals for what is half typed

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    ">": np.greater, "<": np.less, ">=": np.greater_equal, "<=": np.less_equal, "==": np.equal, "!=": np.not_equal,
}  # fmt: skip


class Quit(SystemExit):
    """The debugger was left; no `except Exception` of the script's stops it."""


class Prompt(cmd.Cmd):
    """Reads commands until one of them lets the run go on."""

    prompt = "(gf) "
    doc_header = "commands (help COMMAND tells one; the first letter is enough for most):"

    def __init__(self, stdin: IO[str] | None = None, stdout: IO[str] | None = None) -> None:
        super().__init__(stdin=stdin, stdout=stdout)
        self.mode = stepping.STEP
        self._looker: Looker | None = None
        self._failure: Error | None = None  # an op that could not be built

    def attend(self, looker: Looker) -> str:
        """Ask what to do at a stop; how to go on."""
        self._looker, self._failure = looker, None
        self._say(str(looker.where()))
        self._loop()
        return self.mode

    def after_death(self, looker: Looker | None, error: Error) -> None:
        """The script has ended by an error."""
        self._looker, self._failure = looker, error
        self._say(f"the script has failed:\n{error}")
        self._loop()

    def _loop(self) -> None:
        while True:
            try:
                self.cmdloop()
                return
            except KeyboardInterrupt:
                self._say("quit, or Ctrl-D, leaves the debugger")

    def _say(self, text: str) -> None:
        print(text, file=self.stdout, flush=True)

    def _here(self) -> Looker:
        if self._looker is None:
            raise InvalidArgumentError("no run has begun", hint="quit")
        return self._looker

    def onecmd(self, line: str) -> bool:
        """One command; what it refuses is told."""
        command, rest, _ = self.parseline(line)
        if command in ALONE and rest:
            self._say(f"{command} takes nothing after it, got {shown(rest)}")
            return False
        try:
            return bool(super().onecmd(line))
        except Error as error:
            expected = f"; expected {error.expected}" if error.expected else ""
            got = f", got {error.got}" if error.got else ""
            hint = f" ({error.hint})" if error.hint else ""
            self._say(f"{error.summary}{expected}{got}{hint}")
            return False

    def parseline(self, line: str) -> tuple[str | None, str | None, str]:
        """Letters stand for the commands that begin with them; the rest of the line is not touched."""
        word, _, rest = line.strip().partition(" ")
        return super().parseline(f"{LETTERS[word]} {rest}" if word in LETTERS else line)

    def emptyline(self) -> bool:
        """An empty line does nothing: a step that was not meant cannot be taken back."""
        return False

    def default(self, line: str) -> None:
        """What is no command."""
        self._say(f"there is no command {line.split(maxsplit=1)[0]!r}; help lists them" if line.split() else "")

    def do_help(self, arg: str) -> None:
        """help [COMMAND]: this list, or one command."""
        names = [name for name in self.get_names() if name.startswith("do_") and name != "do_EOF"]
        chosen = [f"do_{LETTERS.get(arg, arg)}"] if arg else names
        for name in chosen:
            method = getattr(self, name, None)
            self._say(f"  {method.__doc__}" if method else f"there is no command {arg!r}")

    # -- going on ------------------------------------------------------------------------------------------------

    def _go(self, mode: str) -> bool:
        self.mode = mode
        return True

    def do_step(self, arg: str) -> bool:
        """step: to the next op, also inside a loop or branch."""
        return self._go(stepping.STEP)

    def do_next(self, arg: str) -> bool:
        """next: to the next op, past what is inside loops and branches."""
        return self._go(stepping.OVER)

    def do_out(self, arg: str) -> bool:
        """out: to the end of the loop or branch we are in; outside of any, to the end of the run."""
        return self._go(stepping.OUT)

    def do_continue(self, arg: str) -> bool:
        """continue: to the next breakpoint, in this run or a later one."""
        return self._go(stepping.CONTINUE)

    def do_finish(self, arg: str) -> bool:
        """finish: to the end of this run, whatever breakpoints there are."""
        return self._go(stepping.FINISH)

    def do_quit(self, arg: str) -> bool:
        """quit: end the run and the script."""
        raise Quit(0)

    def do_EOF(self, arg: str) -> bool:
        """Ctrl-D: as quit."""
        self._say("")
        raise Quit(0)

    # -- breakpoints ---------------------------------------------------------------------------------------------

    def do_break(self, arg: str) -> None:
        """break [PLACE] [if CONDITION]: stop at a name, a scope layer1/*, a line train.py:12; if nan, inf, > 3."""
        if not arg:
            found = [str(point) for point in self._here().breakpoints]
            self._say("\n".join(found) or "there are no breakpoints")
            return
        place, _, words = f" {arg}".partition(" if ")
        self._say(str(self._here().break_at(place.strip() or None, _condition(words) if words else None)))

    def do_clear(self, arg: str) -> None:
        """clear [NUMBER]: take away one breakpoint, or all."""
        if arg and not arg.isdecimal():
            raise InvalidArgumentError(
                "clear takes the number of a breakpoint", got=shown(arg), hint="break lists them"
            )
        self._here().clear(int(arg) if arg else None)

    # -- looking -------------------------------------------------------------------------------------------------

    def do_where(self, arg: str) -> None:
        """where: the op we are at, the line it was built at, what it read and made, its neighbours."""
        self._say(str(self._failure) if self._failure is not None else self._here().where())

    def do_list(self, arg: str) -> None:
        """list: the lines of the script around the one that built the op."""
        stop = self._here().stop
        if stop is None:
            self._say("no run is stopped")
            return
        place = stop.op.user_source
        for number in range(max(1, place.line - AROUND), place.line + AROUND + 1):
            text = linecache.getline(place.filename, number)
            if text:
                self._say(f"{number:5} {'->' if number == place.line else '  '} {text.rstrip()}")

    def do_print(self, arg: str) -> None:
        """print [NAME ...]: values of tensors, ops or variables; without a name, what the op has made."""
        here = self._here()
        if arg:
            for name in arg.split():
                self._say(f"{name} = {here.value(name)}")
        elif here.stop is not None:
            for name, value in here.stop.values.items():
                self._say(f"{name} = {value}")

    def do_set(self, arg: str) -> None:
        """set NAME VALUE: go on with another value, such as 0.5 or [1, 2]; a variable keeps it."""
        name, _, text = arg.strip().partition(" ")
        if not text:
            raise InvalidArgumentError("set takes a name and a value", hint="set layer1/h [0.0, 1.0]")
        self._here().set(name, _literal(text))
        self._say(f"{name} = {summary(np.asarray(self._here().value(name)))}")

    def do_vars(self, arg: str) -> None:
        """vars: the variables, as they are now."""
        found = self._here().variables()
        lines = [f"{name}: {summary(v) if v is not None else 'not initialized'}" for name, v in found.items()]
        self._say("\n".join(lines) or "the graph has no variables")

    def do_picture(self, arg: str) -> None:
        """picture [FILE]: draw the ops around this one into a .png, .svg or .html file (here.png)."""
        path = arg.strip() or "here.png"
        self._say(self._failure.render(path) if self._failure is not None else self._here().picture(path))

    def completenames(self, text: str, *ignored: Any) -> list[str]:
        """Commands that begin so."""
        return [name for name in super().completenames(text, *ignored) if name != "EOF"]

    def completedefault(self, text: str, line: str, begidx: int, endidx: int) -> list[str]:
        """Names of ops that begin so."""
        if self._looker is None:
            return []
        word = line[:endidx].rpartition(" ")[2]
        cut = len(word) - len(text)
        names = sorted({op.name for op in all_operations(self._looker.graph) if op.name.startswith(word)})
        return [name[cut:] for name in names[:MOST_NAMES]]


LETTERS = {
    "s": "step", "n": "next", "o": "out", "c": "continue", "cont": "continue", "f": "finish", "q": "quit",
    "exit": "quit", "b": "break", "w": "where", "l": "list", "p": "print", "v": "vars", "h": "help", "?": "help",
}  # fmt: skip

ALONE = frozenset({"step", "next", "out", "continue", "finish", "quit", "where", "list", "vars"})


def _literal(text: str) -> Any:
    """A number, a list of numbers, a text."""
    try:
        return float(text) if not text.strip().lstrip("+-").isdecimal() else int(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise InvalidArgumentError(f"{text.strip()[:60]!r} is no value", expected="0.5, [1, 2] or 'text'") from None


class _Condition:
    """What stands after `if`, of a value: true if any of its elements is so."""

    def __init__(self, words: str, holds: Callable[[Any], Any]) -> None:
        self.words = words
        self.holds = holds

    def __call__(self, value: Any) -> bool:
        return bool(np.any(self.holds(value)))


def _condition(words: str) -> _Condition:
    text = words.strip()
    if text in ("nan", "inf"):
        find = np.isnan if text == "nan" else np.isinf
        return _Condition(text, lambda value: not_finite(value).any() and find(value))
    sign = next((s for s in sorted(COMPARISONS, key=len, reverse=True) if text.startswith(s)), None)
    limit = _literal(text[len(sign) :]) if sign else None
    if sign is None or not isinstance(limit, (int, float)) or math.isnan(limit):
        raise InvalidArgumentError(
            f"{text[:60]!r} is no condition", hint="if nan, if inf, if > 3, if <= 0.5: of any element of the value"
        )
    compare = COMPARISONS[sign]
    return _Condition(text, lambda value: np.asarray(value).dtype != object and compare(value, limit))
