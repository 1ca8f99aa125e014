"""Running a user's script as Python itself would.

State: none.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import traceback
from collections.abc import Iterator, Sequence


def run_script(script: str, arguments: Sequence[str]) -> None:
    """Run it as `python script arguments` would; what it raises, `SystemExit` too, comes out."""
    with _as_main(script, arguments):
        runpy.run_path(script, run_name="__main__")


@contextlib.contextmanager
def _as_main(script: str, arguments: Sequence[str]) -> Iterator[None]:
    """The arguments and the search path that a script of its own would see."""
    argv, path = sys.argv, list(sys.path)
    sys.argv = [script, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path


def print_failure(error: BaseException, script: str) -> None:
    """The traceback as Python itself would print it: from the script's first frame on."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != script:
        frame = frame.tb_next
    traceback.print_exception(error.with_traceback(frame))


def exit_code(end: SystemExit) -> int:
    """What the shell would get; a text goes to standard error, as Python does it."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code
    sys.stderr.write(f"{end.code}\n")
    return 1
