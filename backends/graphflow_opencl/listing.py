"""A plan as text: its steps, and the source of its kernels, with the ops and the user's lines.

Policy: names of ops stand in comments of what is shown, never in what is compiled.

State: none.
"""

from __future__ import annotations

from graphflow.spec import describe
from graphflow_opencl.devices import Device
from graphflow_opencl.plan import KERNELS, Node, Plan

MOST_NAMED = 4


def steps(plan: Plan, device: Device) -> str:
    """One line for each launch and each task of the host."""
    launches = sum(len(node.launches) for node in plan.nodes)
    hosted = sum(node.kind != KERNELS and bool(node.reason) for node in plan.nodes)
    lines = [
        f"{device.cl.name.strip()} ({device.name}): {launches} kernel launches, {hosted} tasks of the host",
    ]
    for number, node in enumerate(plan.nodes):
        if node.launches:
            lines += [
                f"{number:4d}  kernel  {launch.title}: {' x '.join(map(str, launch.items))} items  # {_ops(node)}"
                for launch in node.launches
            ]
        elif node.reason:
            made = ", ".join(
                f"{plan.values[v].dtype.name}{describe(plan.values[v].dims)}"
                for ins in node.instructions[-1:]
                for v in ins.outputs
                if v >= 0
            )
            lines.append(f"{number:4d}  host    {_types(node)} -> {made or 'nothing'}: {node.reason}  # {_ops(node)}")
    return "\n".join(lines)


def placements(plan: Plan, kind: str) -> dict[int, tuple[str, str]]:
    """Instruction's key -> the device where it is done, and why if that is the host or nowhere."""
    out = {ins.key: ("", "it needs no kernel") for ins in plan.program.instructions}
    for node in plan.nodes:
        where = f"/device:{kind}:0" if node.launches else "/device:CPU:0"
        out.update((ins.key, (where, node.reason)) for ins in node.instructions)
    return out


def sources(plan: Plan) -> str:
    """The kernels, each once."""
    seen: dict[str, list[str]] = {}
    for node in plan.nodes:
        for launch in node.launches:
            seen.setdefault(launch.source, []).append(f"// {launch.title}: {_ops(node)}")
    parts = []
    for number, (source, used) in enumerate(seen.items()):
        parts.append("\n".join([*dict.fromkeys(used), source.replace("KERNEL", f"k{number}")]))
    return "\n\n".join(parts)


def _types(node: Node) -> str:
    types = [ins.type for ins in node.instructions]
    return ", ".join(types[:MOST_NAMED]) + (f" and {len(types) - MOST_NAMED} more" if len(types) > MOST_NAMED else "")


def _ops(node: Node) -> str:
    named = [f"{ins.op.name}, {ins.op.source}" for ins in node.instructions]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return "; ".join(named[:MOST_NAMED]) + more
