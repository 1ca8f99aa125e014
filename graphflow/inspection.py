"""`Inspection`: what a session offers to those who want to look inside a run.

Policy: each method is thin: it compiles, or looks on at a run, and hands what it found to the module that knows how to
show it.

State: none of its own.
"""

from __future__ import annotations

from typing import Any

from graphflow.plans import Plans
from graphflow.program import Program
from graphflow.runtime.explanation import Explanation


class Inspection(Plans):
    """The methods of a session that show what it does."""

    def program(self, fetches: Any, feed_dict: Any = None) -> Program:
        """The compiled Program that `run` would execute; print it to read it."""
        return self._executable(fetches, feed_dict).program

    def explain(self, fetches: Any, feed_dict: Any = None) -> Explanation:
        """What the compiler made of these fetches and feeds: print it, or read its fields."""
        executable = self._executable(fetches, feed_dict)
        return Explanation(executable.program, executable.listing(), executable.native_code())
