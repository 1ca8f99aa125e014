"""The states of the tasks of a run: a pure state machine, which every driver uses.

Policy.  A task is in exactly one state, and moves in this order only:

    waiting    some task that must be finished before it is not
    ready      nothing stands in its way; `ready` lists them by urgency, the most urgent last
    running    a driver has taken it and has not said that it is done
    finished   done, while some task that had to wait for it is not done yet: what it made may still be read
    released   done, and so is all that had to wait for it: what it made may be freed

or, where it ends with an error, from running to

    failed     for good: nothing that waits for it ever becomes ready

The constant half is a `TaskGraph`, computed once for a schedule:

    counts     how many tasks must be finished before each one
    before     which these are
    followers  which tasks wait for each one
    ranks      its place among all tasks by urgency: the longest way to the end of the run first, then program order

The changing half is a `State`, one for each run.  There are three transitions, and which ready task is taken is the
choice of the driver, `choose(ready) -> task`:

    take(state, choose)   ready -> running
    finish(state, task)   running -> finished, or released; what waited for it alone: waiting -> ready;
                          what it was the last to wait for: finished -> released
    fail(state, task)     running -> failed

For the tasks  a -> b, a -> c, (b, c) -> d:

    start_state       waiting {b: 1, c: 1, d: 2}   ready [a]
    take              waiting {b: 1, c: 1, d: 2}                running {a}
    finish(a)         waiting {d: 2}               ready [c, b]               finished {a}
    take, take        waiting {d: 2}                            running {b, c} finished {a}
    finish(b)         waiting {d: 1}                            running {c}   finished {a, b}
    finish(c)                                      ready [d]                  finished {b, c}    released {a}
    take, finish(d)                                                                             released {a, b, c, d}

No transition recurses, and each costs as much as the task has neighbours.

State: none in the module; a `State` belongs to its run, and whoever shares one between threads locks it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from typing import NamedTuple

from graphflow.program import Task

Choose = Callable[[Sequence[int]], int]


class TaskGraph(NamedTuple):
    """What waits for what; see the module's docstring."""

    counts: tuple[int, ...]
    before: tuple[tuple[int, ...], ...]
    followers: tuple[tuple[int, ...], ...]
    ranks: tuple[int, ...]


class State:
    """Where the tasks of one run are; see the module's docstring."""

    __slots__ = ("failed", "finished", "graph", "ready", "released", "running", "unread", "waiting")

    def __init__(self, graph: TaskGraph) -> None:
        self.graph = graph
        self.waiting: dict[int, int] = {}  # task -> how many unfinished tasks it waits for
        self.ready: list[int] = []  # the most urgent last
        self.running: set[int] = set()
        self.finished: set[int] = set()
        self.released: set[int] = set()
        self.failed: set[int] = set()
        self.unread = [len(f) for f in graph.followers]  # how many of its followers are not done

    def __repr__(self) -> str:
        parts = [
            f"{name} {getattr(self, name)}"
            for name in ("waiting", "ready", "running", "finished", "released", "failed")
        ]
        return f"State({'; '.join(parts)})"


def task_graph(tasks: Sequence[Task]) -> TaskGraph:
    """The constant half: what waits for what, and how urgent it is."""
    followers: list[list[int]] = [[] for _ in tasks]
    before = tuple([tuple(dict.fromkeys(task.before)) for task in tasks])
    for number, earlier in enumerate(before):
        for other in earlier:
            followers[other].append(number)
    ranks = [0] * len(tasks)
    for rank, number in enumerate(sorted(range(len(tasks)), key=lambda n: (-tasks[n].priority, n))):
        ranks[number] = rank
    counts = tuple([len(earlier) for earlier in before])
    return TaskGraph(counts, before, tuple([tuple(f) for f in followers]), tuple(ranks))


def start_state(graph: TaskGraph) -> State:
    """Nothing has run: tasks that wait for nothing are ready, all others wait."""
    state = State(graph)
    for number, count in enumerate(graph.counts):
        if count:
            state.waiting[number] = count
        else:
            state.ready.append(number)
    state.ready.sort(key=graph.ranks.__getitem__, reverse=True)
    return state


def most_urgent(ready: Sequence[int]) -> int:
    """The choice of a run whose only aim is to be over soon."""
    return ready[-1]


def take(state: State, choose: Choose = most_urgent) -> int:
    """Ready -> running: the chosen task, for the driver to run now."""
    task = choose(state.ready)
    if state.ready[-1] == task:
        state.ready.pop()
    else:
        state.ready.remove(task)
    state.running.add(task)
    return task


def finish(state: State, task: int) -> None:
    """Running -> finished or released, and what follows from it for its neighbours."""
    state.running.remove(task)
    (state.finished if state.unread[task] else state.released).add(task)
    graph = state.graph
    for other in graph.before[task]:
        state.unread[other] -= 1
        if not state.unread[other]:
            state.finished.remove(other)
            state.released.add(other)
    waiting = state.waiting
    for other in graph.followers[task]:
        waiting[other] -= 1
        if not waiting[other]:
            del waiting[other]
            insort(state.ready, other, key=lambda n: -graph.ranks[n])


def fail(state: State, task: int) -> None:
    """Running -> failed: what waits for it waits for ever."""
    state.running.remove(task)
    state.failed.add(task)


def is_over(state: State) -> bool:
    """Whether every task is done, and well."""
    return not (state.waiting or state.ready or state.running or state.failed)


def check_invariants(state: State) -> None:
    """Raise AssertionError, saying which, unless all that must hold between two transitions holds."""
    graph = state.graph
    sets = (set(state.waiting), set(state.ready), state.running, state.finished, state.released, state.failed)
    everything = range(len(graph.counts))
    _demand(sum(map(len, sets)) == len(everything) and set().union(*sets) == set(everything), state, "one state each")
    _demand(len(set(state.ready)) == len(state.ready), state, "ready lists a task twice")
    ranks = [graph.ranks[n] for n in state.ready]
    _demand(ranks == sorted(ranks, reverse=True), state, "ready is not in the order of urgency")
    done = state.finished | state.released
    for number in everything:
        missing = [n for n in graph.before[number] if n not in done]
        _demand(state.waiting.get(number, 0) == len(missing), state, f"{number} waits for {missing}")
        unread = [n for n in graph.followers[number] if n not in done]
        _demand(state.unread[number] == len(unread), state, f"{number} is awaited by {unread}")
        _demand((number in state.released) == (number in done and not unread), state, f"release of {number}")
    stuck = bool(state.waiting) and not (state.ready or state.running or state.failed)
    _demand(not stuck, state, "tasks wait, and none is ready or running")


def _demand(holds: bool, state: State, what: str) -> None:
    if not holds:
        raise AssertionError(f"{what}: {state}")
