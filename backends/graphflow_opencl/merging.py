"""Several independent launches as one: each gets a range of the work-groups.

Policy: only launches that are a function and a kernel that calls it (see `text`), over the same number of items a
group; memory between launches has a number of its own for each rule by then.  Equal functions are there once, and are
called at one place with the pointers of the launch that an item belongs to.  A kernel has at most `MOST` pointers.
Functions with barriers are joined with their equals alone: a barrier in a branch is legal where a whole group takes
it, and yet there are compilers that it kills (PoCL 3).

State: none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from graphflow_opencl.table import Launch, Scratch
from graphflow_opencl.text import BODY

MOST = 64  # pointers: half of the 1024 bytes of parameters that every device takes
KERNEL = "__kernel void KERNEL"
_PARAMETER = re.compile(r"(__global (?:const )?\w+ \*)(?:restrict )?\w+")
_LOCAL = re.compile(r"__local long tile\[(\d+)\];")


def merged(launches: Sequence[Launch]) -> list[Launch]:
    """The same work in fewer launches; the launches must not depend on each other."""
    out: list[Launch] = []
    waiting: dict[tuple[tuple[int, ...], str], list[Launch]] = {}  # by the size of their groups, and what waits inside
    for launch in launches:
        if not fits(launch):
            out.append(launch)
            continue
        function = launch.source.partition(KERNEL)[0]
        found = waiting.setdefault((launch.group, function if "barrier(" in function else ""), [])
        if _count([*found, launch]) > MOST:
            out.append(_joined(found))
            found.clear()
        found.append(launch)
    return [*out, *map(_joined, waiting.values())]


def fits(launch: Launch) -> bool:
    """Whether a launch may be merged with others."""
    return f"static void {BODY}(" in launch.source and len(launch.arguments) <= MOST


def _count(launches: Sequence[Launch]) -> int:
    return len({_key(a) for launch in launches for a in launch.arguments})


def _key(argument: Any) -> Any:
    return argument if isinstance(argument, (int, Scratch)) else id(argument)


def _types(launch: Launch) -> list[str]:
    """The C types of a kernel's pointers."""
    return _PARAMETER.findall(launch.source.partition(KERNEL)[2].partition("{")[0])


def scratch_written(launch: Launch) -> set[Scratch]:
    """The memory between launches that a kernel writes; all that it has if its declaration is of another form."""
    kinds = _types(launch)
    if len(kinds) != len(launch.arguments):
        return {a for a in launch.arguments if isinstance(a, Scratch)}
    return {
        a for a, kind in zip(launch.arguments, kinds, strict=True) if isinstance(a, Scratch) and "const" not in kind
    }


def _joined(launches: Sequence[Launch]) -> Launch:
    """One launch of several."""
    if len(launches) == 1:
        return launches[0]
    by_function: dict[str, list[Launch]] = {}
    parameters: dict[Any, tuple[str, Any]] = {}  # key -> its C type, the argument
    for launch in launches:
        by_function.setdefault(launch.source.partition(KERNEL)[0], []).append(launch)
        for ctype, argument in zip(_types(launch), launch.arguments, strict=True):
            kept = parameters.get(_key(argument))  # what one reads another may write, if it writes other elements
            if kept is None or "const" in kept[0]:
                parameters[_key(argument)] = ctype, argument
    names = {key: f"p{number}" for number, key in enumerate(parameters)}
    calls, groups = [], 0
    for number, members in enumerate(by_function.values()):
        call, groups = _call(number, members, names, groups)
        calls.append(call)
    calls[-1] = calls[-1].partition(") ")[2]  # no group is beyond the last one
    declarations = ", ".join(f"{ctype}{names[key]}" for key, (ctype, _) in parameters.items())
    local = [int(n) for launch in launches for n in _LOCAL.findall(launch.source)]
    source = "".join(f.replace(f"{BODY}(", f"{BODY}{n}(") for n, f in enumerate(by_function))
    source += f"{KERNEL}({declarations}) {{\n"
    source += f"    __local long tile[{max(local)}];\n" if local else ""
    source += "    const int group = get_group_id(0), item = get_global_id(0);\n"
    source += "    " + "\n    else ".join(calls) + "\n}\n"
    size = launches[0].group[0]
    arguments = tuple(argument for _, argument in parameters.values())
    writes = {v for launch in launches for v in launch.writes}
    written = tuple(v for v in arguments if isinstance(v, int) and v in writes)
    title = "; ".join(dict.fromkeys(launch.title for launch in launches))
    return Launch(source, (groups * size,), (size,), arguments, written, title)


def _call(number: int, members: Sequence[Launch], names: dict[Any, str], start: int) -> tuple[str, int]:
    """The call of one function for all launches that have it, from group `start` on, and the group after theirs."""
    size, first = members[0].group[0], members[0]
    local = "tile, " if _LOCAL.search(first.source) else ""
    cases = []
    for launch in members:
        begin, start = start * size, start + launch.items[0] // size
        pointers = [names[_key(a)] for a in launch.arguments]
        if len(members) == 1:
            return f"if (group < {start}) {BODY}{number}(item - {begin}, {local}{', '.join(pointers)});", start
        chosen = "".join(f" q{i} = {p};" for i, p in enumerate(pointers))
        cases.append(f"if (group < {start}) {{ begin = {begin};{chosen} }}")
    cases[-1] = cases[-1].partition(") ")[2]
    declared = " ".join(f"{ctype}q{i};" for i, ctype in enumerate(_types(first)))
    passed = ", ".join(f"q{i}" for i in range(len(first.arguments)))
    inside = ["int begin;", declared, "\n        else ".join(cases), f"{BODY}{number}(item - begin, {local}{passed});"]
    lines = "\n        ".join(inside)
    return f"if (group < {start}) {{\n        {lines}\n    }}", start
