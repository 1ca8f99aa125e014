"""A program as one generated Python function.

Policy: the source is made of our own templates and integer slots only; no name, attribute or value of the user's ever
enters it.  It is kept, it is readable, and line numbers lead back from an error to the instruction.  Kernels that are
Python's own operators, on NumPy scalars, are written as such.  `frame` is called once for each set of buffers (`b4`),
`make` once for the program.

    def make(k0, k1, c3, f0):
        def frame(b4):
            def outer(run, v0):
                k0(v0, c3, b4)
                v5 = (b4 + c3)
                return [f0(v5)]
            ...

State: none after construction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from graphflow.program import Instruction
from graphflow_numpy.binding import OPERATORS, Bound
from graphflow_numpy.steploop import StepLoop, settling
from graphflow_numpy.steps import Step

FILE = "<graphflow program>"


class StraightLine:
    """The generated functions of one program: `inner` hands out values as they are, `outer` hands them over."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._lines: list[Step | None] = []
        read = {v for step in bound.steps for v in step.inputs} | {slot for slot, _ in bound.fetches}
        called = {i: step.function for i, step in enumerate(bound.steps) if step.function not in OPERATORS}
        parameters: dict[str, Any] = {f"k{i}": function for i, function in called.items()}
        parameters.update({f"c{v}": value for v, value in bound.fixed.items() if v in read})
        parameters.update({f"f{i}": finish for i, (_, finish) in enumerate(bound.fetches) if finish})
        parameters.update({f"g{i}": finish for i, (_, finish) in enumerate(bound.inner_fetches) if finish})
        self._codes: set[Any] = set()
        self.source = self._source(list(parameters))
        namespace: dict[str, Any] = {}
        exec(compile(self.source, FILE, "exec"), {"__builtins__": {}}, namespace)
        self._frame = namespace["make"](**parameters)

    def frame(self, buffers: Mapping[int, Any]) -> tuple[Callable[..., list[Any]], Callable[..., list[Any]]]:
        """The two functions over one set of buffers."""
        inner, outer = self._frame(**{f"b{v}": array for v, array in buffers.items()})
        self._codes.update((inner.__code__, outer.__code__))
        if self._bound.program.schedule is None:
            return inner, outer
        return settling(self._bound, inner, self), settling(self._bound, outer, self)

    def _source(self, parameters: list[str]) -> str:
        bound = self._bound
        body = self._body()
        buffers = ", ".join(f"b{v}" for v in sorted(bound.planned))
        feeds = "".join(f", v{v}" for v in bound.feeds)
        inner = [
            f"g{i}({self._name(v)})" if finish else self._name(v) for i, (v, finish) in enumerate(bound.inner_fetches)
        ]
        outer = [f"f{i}({self._name(v)})" if finish else self._name(v) for i, (v, finish) in enumerate(bound.fetches)]
        lines = [f"def make({', '.join(parameters)}):", f"    def frame({buffers}):"]
        self._first = []
        for function, results in (("inner", inner), ("outer", outer)):
            lines.append(f"        def {function}(run{feeds}):")
            self._first.append(len(lines) + 1)
            lines += [*body, f"            return [{', '.join(results)}]"]
        lines += ["        return inner, outer", "    return frame"]
        return "\n".join(lines) + "\n"

    def _name(self, slot: int) -> str:
        bound = self._bound
        if slot == bound.run_slot:
            return "run"
        if slot in bound.planned:
            return f"b{slot}"
        return f"c{slot}" if slot in bound.fixed else f"v{slot}"

    def _body(self) -> list[str]:
        out = []
        for i, step in enumerate(self._bound.steps):
            names = [self._name(s) for s in step.inputs]
            template = OPERATORS.get(step.function)
            call = template.format(*names) if template else f"k{i}({', '.join(names)})"
            targets = [f"v{s}" if s >= 0 else "_" for s in step.outputs]
            if not targets:
                out.append(f"            {call}")
            else:
                out.append(f"            {', '.join(targets)}{',' if step.several else ''} = {call}")
            self._lines.append(step)
            if step.drops:
                out.append(f"            del {', '.join(self._name(s) for s in step.drops)}")
                self._lines.append(None)
        return out

    def listing(self) -> str:
        """The source of what `run` calls, each line with the op it came from and the user's own line."""
        first = self._first[1] - 1
        out = []
        for number, line in enumerate(self.source.splitlines()[first - 1 : first + len(self._lines) + 1]):
            step = self._lines[number - 1] if 0 < number <= len(self._lines) else None
            if step is None:
                out.append(line[8:])
            else:
                ins = step.instruction
                out.append(f"{line[8:]}  # {self._bound.words(step.function, ins)}, {ins.op.source}")
        return "\n".join(out)

    def where(self, error: BaseException) -> tuple[Instruction | None, list[Any]]:
        """The instruction that failed, if it was one, and its inputs; read from the frame of the generated function."""
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if code.co_filename == FILE and code in self._codes:
                step, local = self._stand(trace)
                if step is None:
                    break
                return step.instruction, [local.get(self._name(v)) for v in step.instruction.inputs]
            if code is StepLoop.execute.__code__:  # what was run after the first failure
                return StepLoop.where(error)
            trace = trace.tb_next
        return None, []

    def stopped(self, error: BaseException) -> tuple[list[Any], int] | None:
        """The values by their slots as the error left them, and how many steps were done."""
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code in self._codes:
                step, local = self._stand(trace)
                if step is None:
                    break
                slots = [local.get(self._name(v)) for v in range(self._bound.slots)]
                return [*slots, None], next(i for i, other in enumerate(self._bound.steps) if other is step)
            trace = trace.tb_next
        return None

    def _stand(self, trace: TracebackType) -> tuple[Step | None, dict[str, Any]]:
        """The step at which the generated function stands, if it is one, and what its names mean."""
        line = trace.tb_lineno - self._first[trace.tb_frame.f_code.co_name == "outer"]
        step = self._lines[line] if line < len(self._lines) else None
        return step, {**trace.tb_frame.f_locals, **{f"c{v}": x for v, x in self._bound.fixed.items()}}
