"""A small program as one generated Python function.

Policy: the source is made of our own templates and integer slots only; no name, attribute or value of the user's ever
enters it.  It is kept, it is readable, and line numbers lead back from an error to the instruction.

    def make(k0, k1, c3, f0):
        def program(run, v0):
            v4 = k0(v0, c3)
            v5 = k1(v4)
            del v4
            return [f0(v5)]
        ...

State: none after construction.
"""

from __future__ import annotations

from typing import Any

from graphflow.program import Instruction
from graphflow_numpy.binding import Bound, Step

FILE = "<graphflow program>"


class StraightLine:
    """The generated functions of one program: `inner` hands out values as they are, `outer` hands them over."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._lines: list[Step | None] = []
        parameters: dict[str, Any] = {f"k{i}": step.function for i, step in enumerate(bound.steps)}
        read = {v for step in bound.steps for v in step.inputs} | {slot for slot, _ in bound.fetches}
        parameters.update({f"c{v}": value for v, value in bound.fixed.items() if v in read})
        parameters.update({f"f{i}": finish for i, (_, finish) in enumerate(bound.fetches)})
        body = self._body()
        names = [self._name(slot) for slot, _ in bound.fetches]
        lines = [f"def make({', '.join(parameters)}):"]
        for function, results in (("inner", names), ("outer", [f"f{i}({n})" for i, n in enumerate(names)])):
            feeds = "".join(f", v{v}" for v in bound.feeds)
            lines += [f"    def {function}(run{feeds}):", *body, f"        return [{', '.join(results)}]"]
        lines.append("    return inner, outer")
        self.source = "\n".join(lines) + "\n"
        self._first = (3, 3 + len(body) + 2)
        namespace: dict[str, Any] = {}
        exec(compile(self.source, FILE, "exec"), {"__builtins__": {}}, namespace)
        self.inner, self.outer = namespace["make"](**parameters)

    def _name(self, slot: int) -> str:
        if slot == self._bound.run_slot:
            return "run"
        return f"c{slot}" if slot in self._bound.fixed else f"v{slot}"

    def _body(self) -> list[str]:
        out = []
        for i, step in enumerate(self._bound.steps):
            call = f"k{i}({', '.join(self._name(s) for s in step.inputs)})"
            targets = [f"v{s}" if s >= 0 else "_" for s in step.outputs]
            if not targets:
                out.append(f"        {call}")
            else:
                out.append(f"        {', '.join(targets)}{',' if step.several else ''} = {call}")
            self._lines.append(step)
            if step.drops:
                out.append(f"        del {', '.join(self._name(s) for s in step.drops)}")
                self._lines.append(None)
        return out

    def where(self, error: BaseException) -> tuple[Instruction | None, list[Any]]:
        """The instruction that failed, if it was one, and its inputs; read from the frame of the generated function."""
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if code.co_filename == FILE and code in (self.inner.__code__, self.outer.__code__):
                first = self._first[code is self.outer.__code__]
                step = self._lines[trace.tb_lineno - first] if trace.tb_lineno - first < len(self._lines) else None
                if step is None:
                    break
                local = {**trace.tb_frame.f_locals, **{f"c{v}": x for v, x in self._bound.fixed.items()}}
                return step.instruction, [local.get(self._name(v)) for v in step.instruction.inputs]
            trace = trace.tb_next
        return None, []
