"""Functions in OpenCL C that kernels may call, by name: `gf_...`; a program gets those that its kernels need.

Policy: a function stands here once, with the functions that it calls found by their names in its text.

State: the table.
"""

from __future__ import annotations

import re

FUNCTIONS: dict[str, str] = {}
_CALL = re.compile(r"\bgf_\w+")


def function(name: str, source: str) -> None:
    """Add one function; its name begins with `gf_`."""
    if name in FUNCTIONS:
        raise KeyError(f"two functions {name}")
    FUNCTIONS[name] = source


def needed(text: str) -> str:
    """The functions that a text calls, and those that they call, callees first."""
    out: dict[str, None] = {}
    waiting = [(name, False) for name in reversed(list(dict.fromkeys(_CALL.findall(text)))) if name in FUNCTIONS]
    while waiting:
        name, ready = waiting.pop()
        if ready:
            out.setdefault(name)
        elif name not in out:
            waiting.append((name, True))
            callees = dict.fromkeys(_CALL.findall(FUNCTIONS[name]))
            waiting += [(n, False) for n in callees if n in FUNCTIONS and n != name and n not in out]
    return "\n".join(FUNCTIONS[name] for name in out)
