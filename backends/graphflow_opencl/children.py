"""Child processes of the doctor: one stage each, under a time limit, with what it said until it ended or died.

Policy: the child gets this process's environment and module path; what is not ours in its output is kept for its last
words.  A child that takes too long is killed with all that it started.

State: none.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from graphflow_opencl.stages import MARK

LAST_WORDS = 1000  # characters of what a dead child printed


class Outcome(NamedTuple):
    """How a stage went."""

    lines: tuple[dict[str, Any], ...]  # what the child told, in order
    code: int  # its exit status; below zero: the signal that ended it
    seconds: float | None = None  # the limit that it ran into
    words: str = ""  # the end of what it printed besides

    def of(self, step: str) -> list[dict[str, Any]]:
        """What was told of the end of a step."""
        return [line for line in self.lines if line["step"] == step and line["state"] != "begin"]

    @property
    def begun(self) -> str:
        """The step that was begun last."""
        return next((str(line["step"]) for line in reversed(self.lines) if line["state"] == "begin"), "start")

    @property
    def trouble(self) -> str | None:
        """What went wrong with the child as a whole, in words."""
        if self.seconds is not None:
            return f"no answer within {self.seconds:g} s"
        if self.code < 0:
            return f"the process was ended by {_signal_name(-self.code)}{self._said}"
        told = next((str(line["text"]) for line in reversed(self.lines) if line["step"] == ""), None)
        if told is not None:
            return told
        return f"the process ended with status {self.code}{self._said}" if self.code else None

    @property
    def _said(self) -> str:
        return f": {self.words}" if self.words else ""


Launcher = Callable[[Sequence[str], Mapping[str, str], float], Outcome]


def run(words: Sequence[str], extra: Mapping[str, str], limit: float) -> Outcome:
    """Run a stage in a child with these additions to the environment."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *(p for p in sys.path if p)])
    command = [sys.executable, "-m", "graphflow_opencl.stages", *words]
    return run_command(command, {"PYTHONPATH": path, **extra}, limit)


def run_command(command: Sequence[str], extra: Mapping[str, str], limit: float) -> Outcome:
    """Run a command that tells lines as `stages` does."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env={**os.environ, **extra},
            start_new_session=True,
        )  # fmt: skip
        late = None
        try:
            child.wait(limit)
        except subprocess.TimeoutExpired:
            late = limit
        finally:
            _end(child)
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    lines, rest = _separated(texts[0])
    return Outcome(tuple(lines), child.returncode, late, _last_words(rest + texts[1]))


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.kill()
        child.wait()


def _separated(text: str) -> tuple[list[dict[str, Any]], str]:
    lines, rest = [], []
    for line in text.split("\n"):  # splitlines splits at the mark too
        before, mark, told = line.partition(MARK)
        try:
            lines += [json.loads(told)] if mark else []
        except ValueError:  # the child died while it wrote
            before = line
        rest += [before] if before else []
    return lines, "".join(f"{line}\n" for line in rest)


def _last_words(text: str) -> str:
    return " | ".join(line.strip() for line in text[-LAST_WORDS:].splitlines()[-3:] if line.strip())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
