"""The frame of a generated kernel: nested statements, and the function around them.

Policy: one dimension of work-items, each of which does the unit of work of its number, or `lanes` of them together do
one.  A kernel without local memory is a function of the unit's number that the kernel calls, so that `merging` can put
several of them into one kernel.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow_opencl.bodies import Parameters, Work
from graphflow_opencl.table import Launch, Traits

BODY = "KERNEL_body"


def block(header: str, statements: Sequence[str]) -> list[str]:
    """Statements under a loop or a condition."""
    return [f"{header} {{", *(f"    {s}" for s in statements), "}"]


def launch_of(
    work: Work,
    parameters: Parameters,
    statements: Sequence[str],
    units: int,
    traits: Traits,
    lanes: int = 1,
    local: Sequence[str] = (),
) -> Launch:
    """The launch whose items do the statements, in which `unit` (and `lane`, if there are several) is known."""
    group = 1 if traits.schedule == "cpu" else traits.group
    items = -(-units * lanes // group) * group
    number = "int" if items < 2**31 else "long"
    declarations = parameters.declarations
    lines = [f"    {s}" for s in statements]
    if lanes > 1:
        head = [
            f"__kernel void KERNEL({declarations}) {{",
            *(f"    {s}" for s in local),
            f"    const int item = get_local_id(0), lane = item % {lanes};",
            f"    const {number} unit = get_global_id(0) / {lanes};",
        ]
        source = [*head, *lines, "}"]
    else:
        guard = [] if items == units else [f"    if (unit >= {units}) return;"]
        source = [
            f"static void {BODY}(const {number} unit, {declarations}) {{",
            *guard,
            *lines,
            "}",
            f"__kernel void KERNEL({declarations}) {{",
            f"    {BODY}(get_global_id(0), {parameters.names});",
            "}",
        ]
    return Launch(
        "\n".join(source) + "\n", (items,), (group,), parameters.arguments, parameters.writes, work.title or "a copy"
    )
