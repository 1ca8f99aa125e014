"""Scheduling: in which order instructions stand, which of them go together to a worker, and whether workers pay.

Policy: exact; no instruction changes, only its place.  Units are never split: a fusion group, an atomic region with
all that stands inside it, or else one instruction.  Units become tasks (`clusters`), tasks are run on paper
(`ordering`), and the instructions take the order in which the tasks were begun, so each task is a range of them and
its priority is how long before the end it was begun.  Several workers are promised only where that is worth at least
`GAIN` against one thread that spreads large kernels over the cores.  Otherwise the order is changed only if that
lowers the peak of memory.  What is small, or spends its time under Python's lock, is left as it is, at once.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphflow.compile import calibration, clusters, cost, ordering
from graphflow.compile.clusters import Dag
from graphflow.compile.cost import Cost, Machine
from graphflow.program import Group, Instruction, PassRecord, Program, Schedule, Task
from graphflow.spec import TensorSpec, nbytes

TINY = 16  # elements
SHORTEST = 3e-4  # seconds without Python's lock: a program that has less of it runs in the caller's thread
GAIN = 1.1  # one worker, against several
MOST_UNITS = 8192  # beyond which neighbours are joined first
LEAST_MEMORY = 1 << 20  # bytes at the peak below which the order does not matter
LEAST_SAVING = 0.9  # of the peak


def schedule(program: Program, workers: int, threads: int, machine: Machine | None = None) -> Program:
    """The program in the order of its schedule.

    `workers` may run tasks side by side; one op may use `threads` where it runs alone.  The machine is measured at
    first need.
    """
    record = PassRecord("schedule")
    if all(map(_is_tiny, program.values)):
        return program.with_record(record)
    rough = cost.costs(program, cost.DEFAULT if machine is None else machine)
    if cost.total(rough)[1] < SHORTEST:
        return program.with_record(record)
    machine = calibration.machine() if machine is None else machine
    found = cost.costs(program, machine)
    python, free = cost.total(found)
    units = units_of(program, found)
    sequential = sum([cost.sequential_seconds(c, threads, machine) for c in found])
    if workers > 1 and free * (1 - 1 / workers) > (1 - 1 / GAIN) * (python + free):
        done = _side_by_side(program, units, workers, sequential, machine)
        if done is not None:
            return done.with_record(record)
    return _frugal(program, units).with_record(record, schedule=Schedule((), 1, sequential, sequential))


def _is_tiny(known: TensorSpec) -> bool:
    """Whether no kernel on such values is worth a thought: numbers, and vectors of a few."""
    dims = known.dims
    return dims is not None and (not dims or len(dims) == 1 and dims[0] is not None and dims[0] <= TINY)


def finest(program: Program) -> Schedule:
    """Every unit a task of its own, for tests: all that the order may be."""
    units = units_of(program)
    tasks = [
        Task(begin, end, 1.0, float(len(units.ranges) - n), tuple(sorted(units.dag.before[n])))
        for n, (begin, end) in enumerate(units.ranges)
    ]
    return Schedule(tuple(tasks), len(tasks), float(len(tasks)), float(len(tasks)))


class Units:
    """What is never split, and what waits for what."""

    def __init__(self, ranges: list[tuple[int, int]], dag: Dag, unit_of: list[int]) -> None:
        self.ranges = ranges  # of instructions, in their order
        self.dag = dag
        self.unit_of = unit_of  # of each instruction


def units_of(program: Program, found: Sequence[Cost] | None = None) -> Units:
    """The units of a program, each as costly as its instructions (or all alike)."""
    found = [Cost(0.0, 1.0, False)] * len(program.instructions) if found is None else found
    ranges = _ranges(program)
    unit_of = [0] * len(program.instructions)
    python, free = [0.0] * len(ranges), [0.0] * len(ranges)
    for number, (begin, end) in enumerate(ranges):
        for position in range(begin, end):
            unit_of[position] = number
            python[number] += found[position].python
            free[number] += found[position].free
    producer: dict[int, int] = {}
    by_key: dict[int, int] = {}
    before: list[set[int]] = [set() for _ in ranges]
    for position, ins in enumerate(program.instructions):
        number = unit_of[position]
        mine = before[number]
        mine.update([producer[v] for v in ins.inputs if v in producer])
        if ins.after:
            mine.update([by_key[key] for key in ins.after if key in by_key])
        mine.discard(number)
        by_key[ins.key] = number
        for v in ins.outputs:
            producer[v] = number
    return Units(ranges, Dag(python, free, before, [[n] for n in range(len(ranges))]), unit_of)


def _ranges(program: Program) -> list[tuple[int, int]]:
    """The instructions as ranges that are never split; ranges that overlap become one."""
    fixed = [(group.begin, group.end) for group in program.groups]
    spans: dict[int, tuple[int, int]] = {}
    for position, ins in enumerate(program.instructions):
        region = ins.op.region
        if region is not None:
            spans[region.id] = spans.get(region.id, (position, 0))[0], position + 1
    out: list[tuple[int, int]] = []
    position = 0
    for begin, end in sorted([*fixed, *spans.values()]):
        if out and begin < position:
            last = out.pop()
            begin, end = last[0], max(position, end)
        else:
            out += [(p, p + 1) for p in range(position, begin)]
        out.append((begin, end))
        position = end
    out += [(p, p + 1) for p in range(position, len(program.instructions))]
    return out


# -- several workers -------------------------------------------------------------------------------------------------


def _side_by_side(program: Program, units: Units, workers: int, sequential: float, machine: Machine) -> Program | None:
    """The program as tasks, or None if they are not worth their threads."""
    dag = units.dag
    if len(dag.before) > MOST_UNITS:
        dag = clusters.blocks(dag, MOST_UNITS)
    dag = clusters.coarsened(dag)
    if len(dag.before) < 2:
        return None
    plan = ordering.simulate(dag, workers, machine.wake, _growth(program, units, dag))
    parallel = max(plan.seconds, sum(dag.python)) + machine.wake
    if plan.width < 2 or parallel * GAIN > sequential:
        return None
    arranged, ranges = moved(program, units, [dag.members[n] for n in plan.order])
    place = {n: number for number, n in enumerate(plan.order)}
    tasks = tuple(
        Task(begin, end, dag.seconds(n), plan.seconds - plan.start[n], tuple(sorted(place[o] for o in dag.before[n])))
        for n, (begin, end) in zip(plan.order, ranges, strict=True)
    )
    return replace(arranged, schedule=Schedule(tasks, plan.width, sequential, parallel))


def moved(program: Program, units: Units, order: Sequence[Sequence[int]]) -> tuple[Program, list[tuple[int, int]]]:
    """The program with its units in that order, and where each list of units went."""
    instructions: list[Instruction] = []
    to = [0] * len(program.instructions)
    ranges = []
    for chosen in order:
        first = len(instructions)
        for unit in chosen:
            begin, end = units.ranges[unit]
            for position in range(begin, end):
                to[position] = len(instructions)
                instructions.append(program.instructions[position])
        ranges.append((first, len(instructions)))
    groups = sorted(Group(to[g.begin], to[g.begin] + g.end - g.begin, *g[2:]) for g in program.groups)
    return replace(program, instructions=tuple(instructions), groups=tuple(groups)), ranges


# -- memory ----------------------------------------------------------------------------------------------------------


def _sizes(program: Program) -> list[int]:
    """Bytes of each value; 0 where they are not known."""
    return [nbytes(known) or 0 for known in program.values]


def _growth(program: Program, units: Units, dag: Dag) -> list[float]:
    """By how many bytes each node makes memory fuller: what it leaves to others, less what it is the last to read."""
    node_of = [0] * len(units.ranges)
    for number, members in enumerate(dag.members):
        for unit in members:
            node_of[unit] = number
    sizes = _sizes(program)
    maker: dict[int, int] = {}
    readers: dict[int, set[int]] = {}
    for position, ins in enumerate(program.instructions):
        node = node_of[units.unit_of[position]]
        for v in ins.outputs:
            if v >= 0:
                maker[v] = node
        for v in ins.inputs:
            if v in maker:
                readers.setdefault(v, set()).add(node)
    growth = [0.0] * len(dag.before)
    kept = set(program.fetches)
    for v, node in maker.items():
        outside = readers.get(v, set()) - {node}
        if v in kept or outside:
            growth[node] += sizes[v]
        if len(outside) == 1 and v not in kept:
            growth[next(iter(outside))] -= sizes[v]
    return growth


def _frugal(program: Program, units: Units) -> Program:
    """The program in an order with a lower peak of memory, if one is found."""
    before = peak(program)
    if before < LEAST_MEMORY or len(units.ranges) > MOST_UNITS:
        return program
    plan = ordering.simulate(units.dag, 1, 0.0, _growth(program, units, units.dag))
    arranged, _ = moved(program, units, [plan.order])
    return arranged if peak(arranged) < LEAST_SAVING * before else program


def peak(program: Program) -> int:
    """The most bytes of results that are alive at a time, if each is freed after its last reader."""
    sizes = _sizes(program)
    last = {v: position for position, ins in enumerate(program.instructions) for v in ins.inputs}
    kept = set(program.fetches)
    made: set[int] = set()
    alive = most = 0
    for position, ins in enumerate(program.instructions):
        fresh = [v for v in ins.outputs if v >= 0]
        made.update(fresh)
        alive += sum([sizes[v] for v in fresh])
        most = max(most, alive)
        over = {v for v in (*ins.inputs, *fresh) if last.get(v, position) == position and v not in kept and v in made}
        alive -= sum([sizes[v] for v in over])
    return most
