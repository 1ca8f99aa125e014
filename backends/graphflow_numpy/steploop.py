"""A program as a loop over its steps, with the values in a list of slots.

Policy: for programs that are too large to be worth generating source for, and for those whose tasks run side by side:
a task is a range of steps over slots that all tasks share.  A buffer of the arena is in its slot from the start.
Where the compiler has changed the order of the instructions, a run that fails is brought to the failure that it would
have met in the order of their creation (`first_failure`).

State: none after construction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphflow.backend import Run
from graphflow.program import Instruction
from graphflow_numpy.binding import Bound, MemberFailed
from graphflow_numpy.first_failure import Failure, first_failure
from graphflow_numpy.regions import let_go
from graphflow_numpy.steps import Step

Slots = list[Any]
Body = Callable[..., list[Any]]


class StepLoop:
    """The steps of one program, flattened for the loop."""

    source: str | None = None

    def __init__(self, bound: Bound, steps: Sequence[Step] | None = None) -> None:
        self._bound = bound
        self._steps = [_flat(step) for step in (bound.steps if steps is None else steps)]
        self._template: Slots = [None] * (bound.slots + 1)  # slot -1 takes the outputs that nobody reads
        for slot, value in bound.fixed.items():
            self._template[slot] = value

    def frame(self, buffers: Mapping[int, Any]) -> tuple[Callable[..., list[Any]], Callable[..., list[Any]]]:
        """The two functions over one set of buffers."""
        template = self.template(buffers)

        def inner(run: Run | None, *feeds: Any) -> list[Any]:
            slots = self.filled(template, run, feeds)
            self.execute(slots, self._steps)
            return [finish(slots[v]) if finish else slots[v] for v, finish in self._bound.inner_fetches]

        def outer(run: Run | None, *feeds: Any) -> list[Any]:
            slots = self.filled(template, run, feeds)
            self.execute(slots, self._steps)
            return self.results(slots)

        if self._bound.program.schedule is None:
            return inner, outer
        return settling(self._bound, inner, self), settling(self._bound, outer, self)

    def template(self, buffers: Mapping[int, Any]) -> Slots:
        """The slots as they are before a run."""
        template = self._template.copy()
        for slot, array in buffers.items():
            template[slot] = array
        return template

    def filled(self, template: Slots, run: Run | None, feeds: Sequence[Any]) -> Slots:
        """The slots as a run finds them."""
        slots = template.copy()
        for slot, value in zip(self._bound.feeds, feeds, strict=True):
            slots[slot] = value
        slots[self._bound.run_slot] = run
        return slots

    def results(self, slots: Slots) -> list[Any]:
        """What the caller gets."""
        return [finish(slots[v]) if finish else slots[v] for v, finish in self._bound.fetches]

    def steps_of(self, begin: int, end: int) -> list[Any]:
        """The steps of instructions[begin:end]."""
        first = self._bound.first_step
        return self._steps[first[begin] : first[end]]

    @staticmethod
    def execute(slots: Slots, steps: Sequence[Any]) -> None:
        """Run the steps, one after the other."""
        for function, kind, a, b, inputs, out, drops, _ in steps:
            if kind == 2:
                slots[out] = function(slots[a], slots[b])
            elif kind == 5:
                function(*[slots[i] for i in inputs])
            elif kind == 1:
                slots[out] = function(slots[a])
            elif kind == 3:
                slots[out] = function(*[slots[i] for i in inputs])
            else:
                for slot, value in zip(out, function(*[slots[i] for i in inputs]), strict=False):
                    slots[slot] = value
            for slot in drops:
                slots[slot] = None

    def stopped(self, error: BaseException) -> tuple[Slots, int] | None:
        """The slots as the error left them, and how many steps were done; None if it came from elsewhere."""
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is StepLoop.execute.__code__:
                return trace.tb_frame.f_locals["slots"], self.done(error, self._steps)
            trace = trace.tb_next
        return None

    @staticmethod
    def done(error: BaseException, steps: Sequence[Any]) -> int:
        """How many of these steps were done when the error ended `execute`."""
        trace = error.__traceback__
        while trace is not None:
            local = trace.tb_frame.f_locals
            if trace.tb_frame.f_code is StepLoop.execute.__code__ and local["steps"] is steps:
                places = (i for i, step in enumerate(steps) if step[0] is local["function"] and step[-1] is local["_"])
                return next(places, len(steps))
            trace = trace.tb_next
        return len(steps)

    def listing(self) -> str:
        """The steps, each with the op it came from and the user's own line."""
        out = []
        for function, _, _, _, inputs, outputs, drops, ins in self._steps:
            made = outputs if isinstance(outputs, tuple) else (outputs,)
            left = ", ".join(f"v{v}" for v in made) + " = " if made else ""
            name = getattr(function, "__name__", None) or getattr(getattr(function, "func", None), "__name__", "call")
            freed = f"; del {', '.join(f'v{v}' for v in drops)}" if drops else ""
            call = f"{left}{name}({', '.join(f'v{v}' for v in inputs)}){freed}"
            out.append(f"{call}  # {self._bound.words(function, ins)}, {ins.op.source}")
        return "\n".join(out)

    @staticmethod
    def where(error: BaseException) -> tuple[Instruction | None, list[Any]]:
        """The instruction that failed, if it was one, and its inputs; read from the frame of the loop."""
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is StepLoop.execute.__code__:
                local = trace.tb_frame.f_locals
                return local["_"], [local["slots"][i] for i in local["_"].inputs]
            trace = trace.tb_next
        return None, []


def settling(bound: Bound, function: Body, body: Any) -> Body:
    """The function of a body that runs the steps in order; of several ops that fail, the first created is reported."""

    def call(run: Run | None, *feeds: Any) -> list[Any]:
        held = len(run.held) if run is not None else 0
        try:
            return function(run, *feeds)
        except Exception as error:
            first_error = _settled(bound, body, error, run, held)
        try:
            raise first_error
        finally:
            del first_error  # no cycle through the traceback

    return call


def _settled(bound: Bound, body: Any, error: Exception, run: Run | None, held: int) -> Exception:
    """The error to raise; what it finds out by running more holds no lock afterwards that was not held before."""
    stop = body.stopped(error)
    if stop is None:
        return error
    slots, done = stop

    def run_steps(begin: int, end: int) -> None:
        StepLoop.execute(slots, [_flat(step._replace(drops=())) for step in bound.steps[begin:end]])

    def instruction_of(error: BaseException) -> Instruction | None:
        found: Instruction | None = error.instruction if isinstance(error, MemberFailed) else body.where(error)[0]
        return found

    def let_all_go() -> None:
        if run is not None:
            let_go(run.held, held)

    let_all_go()
    return first_failure(bound, [], [Failure(error, range(done))], instruction_of, run_steps, let_all_go)


def _flat(step: Step) -> tuple[Any, ...]:
    """The step as the loop wants it: how many inputs, the first two apart, one output, several, or none."""
    inputs = step.inputs
    a = inputs[0] if inputs else 0
    b = inputs[1] if len(inputs) > 1 else 0
    single = len(step.outputs) == 1 and not step.several
    kind = (len(inputs) if 0 < len(inputs) < 3 else 3) if single else 4 if step.outputs else 5
    out: Any = step.outputs[0] if single else step.outputs
    return step.function, kind, a, b, inputs, out, step.drops, step.instruction
