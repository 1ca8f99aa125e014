"""`Step`: one call of a bound program.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from graphflow.program import Instruction


class Step(NamedTuple):
    """One call."""

    function: Callable[..., Any]
    inputs: tuple[int, ...]  # slots; what the results are written into comes last
    outputs: tuple[int, ...]  # slots; -1 where nobody reads that output
    drops: tuple[int, ...]  # slots that no later step reads
    several: bool  # the function returns a tuple
    instruction: Instruction
