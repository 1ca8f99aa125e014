"""Functions in OpenCL C that kernels may call, by name: `gf_...`; a program gets those that its kernels need.

Policy: a function stands here once, with the functions that it calls found by their names in its text.  One of floats
that computes in doubles has another text for devices that have none, so that these get no function of doubles.

State: the tables.
"""

from __future__ import annotations

import re

FUNCTIONS: dict[str, str] = {}
WITHOUT_DOUBLES: dict[str, str] = {}  # the texts that are others on devices without doubles
_CALL = re.compile(r"\bgf_\w+")


def function(name: str, source: str, without_doubles: str = "") -> None:
    """Add one function; its name begins with `gf_`.  It may have another text for devices without doubles."""
    if name in FUNCTIONS:
        raise KeyError(f"two functions {name}")
    FUNCTIONS[name] = source
    if without_doubles:
        WITHOUT_DOUBLES[name] = without_doubles


def needed(text: str, doubles: bool) -> str:
    """The functions that a text calls, and those that they call, callees first."""
    functions = FUNCTIONS if doubles else {**FUNCTIONS, **WITHOUT_DOUBLES}
    out: dict[str, None] = {}
    waiting = [(name, False) for name in reversed(list(dict.fromkeys(_CALL.findall(text)))) if name in functions]
    while waiting:
        name, ready = waiting.pop()
        if ready:
            out.setdefault(name)
        elif name not in out:
            waiting.append((name, True))
            callees = dict.fromkeys(_CALL.findall(functions[name]))
            waiting += [(n, False) for n in callees if n in functions and n != name and n not in out]
    return "\n".join(functions[name] for name in out)
