"""Several independent launches as one: each gets a range of the work-groups.

Policy: only launches that are a function and a kernel that calls it (see `text`), over the same number of items a
group; memory between launches has a number of its own for each rule by then.  Equal functions are there once.  A kernel
has at most `MOST` pointers.

State: none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from graphflow_opencl.table import Launch, Scratch
from graphflow_opencl.text import BODY

MOST = 64  # pointers: half of the 1024 bytes of parameters that every device takes
_PARAMETER = re.compile(r"(__global (?:const )?\w+ \*)p(\d+)")


def merged(launches: Sequence[Launch]) -> list[Launch]:
    """The same work in fewer launches; the launches must not depend on each other."""
    out: list[Launch] = []
    waiting: list[Launch] = []
    for launch in launches:
        if not fits(launch):
            out.append(launch)
            continue
        if waiting and (launch.group != waiting[0].group or _count([*waiting, launch]) > MOST):
            out.append(_joined(waiting))
            waiting = []
        waiting.append(launch)
    if waiting:
        out.append(_joined(waiting))
    return out


def fits(launch: Launch) -> bool:
    """Whether a launch may be merged with others."""
    return f"static void {BODY}(" in launch.source and len(launch.arguments) <= MOST


def _count(launches: Sequence[Launch]) -> int:
    return len({_key(a) for launch in launches for a in launch.arguments})


def _key(argument: Any) -> Any:
    return argument if isinstance(argument, (int, Scratch)) else id(argument)


def _joined(launches: Sequence[Launch]) -> Launch:
    """One launch of several."""
    if len(launches) == 1:
        return launches[0]
    functions: dict[str, int] = {}
    parameters: dict[Any, tuple[str, Any]] = {}  # key -> its C type, the argument
    calls = []
    group = launches[0].group[0]
    groups = 0
    writes = {v for launch in launches for v in launch.writes}
    for launch in launches:
        function, _, head = launch.source.partition("__kernel void KERNEL")
        number = functions.setdefault(function, len(functions))
        declared = _PARAMETER.findall(head.partition("{")[0])
        for (ctype, _), argument in zip(declared, launch.arguments, strict=True):
            writable = ctype if argument not in writes else ctype.replace("const ", "")
            parameters.setdefault(_key(argument), (writable, argument))
        order = list(parameters)
        names = ", ".join(f"p{order.index(_key(a))}" for a in launch.arguments)
        start, groups = groups, groups + launch.items[0] // group
        calls.append(f"if (group < {groups}) {BODY}{number}(item - {start * group}, {names});")
    declarations = ", ".join(f"{ctype}p{i}" for i, (ctype, _) in enumerate(parameters.values()))
    source = "".join(f.replace(f"{BODY}(", f"{BODY}{n}(") for f, n in functions.items())
    source += (
        f"__kernel void KERNEL({declarations}) {{\n    const int group = get_group_id(0), item = get_global_id(0);\n"
    )
    source += "    " + "\n    else ".join(calls) + "\n}\n"
    arguments = tuple(argument for _, argument in parameters.values())
    written = tuple(v for v in arguments if isinstance(v, int) and v in writes)
    title = "; ".join(dict.fromkeys(launch.title for launch in launches))
    return Launch(source, (groups * group,), (group,), arguments, written, title)
