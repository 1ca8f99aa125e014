"""Gradients of conditionals and loops, as conditionals and loops.

Policy: the gradient of a branch is traced into a branch of its own; where it needs a value from inside the forward
branch, the forward op hands that value out (`control.save`), so nothing is computed twice and random ops keep their
draw.  The gradient of a loop is a loop that runs backwards over the stacked values of the forward loop; it works for
any number of iterations.  Both are made of ordinary ops and can be differentiated again (a loop inside a loop only
where what is kept of its turns has one shape).  The gradient of a tensor
that a body only gathers rows of is kept as rows.

State: none; registers the gradients of If and While.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow import constants, dtypes
from graphflow.errors import GradientLookupError
from graphflow.gradients import DIFFERENTIABLE, gradients
from graphflow.graph import get_default_graph
from graphflow.indexed_slices import IndexedSlices
from graphflow.opdef import RegisterGradient
from graphflow.ops import array, control
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation, Tensor

FLOATS = DIFFERENTIABLE[:2]


class _BackwardGraph(control.TracedGraph):
    """A function that may use tensors of the forward function that it differentiates."""

    def __init__(self, name: str, op: Operation, forward: control.TracedGraph, stacked: bool) -> None:
        super().__init__(name, get_default_graph())
        self.forward_op = op
        self.forward = forward
        self.stacked = stacked
        self.iteration: Tensor | None = None
        self._resolved: dict[Tensor, Tensor] = {}
        self._argument = {arg: i for i, arg in enumerate(forward.args)}

    def capture(self, tensor: Tensor) -> Tensor:
        """The argument or value that stands for a tensor of the surroundings or of the forward function."""
        if tensor.graph is not self.forward:
            return super().capture(tensor)
        found = self._resolved.get(tensor)
        if found is None:
            with self.as_default(), self.scoped(controls=(), region=None):
                found = self._resolve(tensor)
            self._resolved[tensor] = found
        return found

    def encloses(self, other: Any) -> bool:
        """Whether tensors of `other` can be used here."""
        return other is self.forward or super().encloses(other)

    def _resolve(self, tensor: Tensor) -> Tensor:
        op = self.forward_op
        if tensor.op.type == "Const" and not tensor.op.control_inputs:
            return constants.constant_tensor(tensor.op.attrs["value"], tensor.dtype, self, None)
        place = self._argument.get(tensor)
        changing = op.attrs["count"] if self.stacked else 0
        if place is not None and place >= changing:
            return self.capture(op.inputs[op.attrs[self.forward.name + "_inputs"][place]])
        kept = self.capture(control.save(op, self.forward, tensor, self.stacked))
        if not self.stacked:
            return kept
        assert self.iteration is not None
        row: Tensor = control.history_row(kept, self.iteration)
        row.set_shape(tensor.shape)
        return row


def _known(t: Any) -> TensorSpec:
    return TensorSpec(t.dtype, t.dims)


def _dense(g: Any) -> Any:
    return g.to_tensor() if isinstance(g, IndexedSlices) else g


def _refuse_written(op: Operation, wanted: Sequence[bool]) -> None:
    """A variable that the function writes is read inside it: its gradient would be lost without a word."""
    for x, needed in zip(op.inputs, wanted, strict=True):
        if needed and x.dtype.kind == "resource":
            raise GradientLookupError(
                f"no gradient through {op.type} for {x.op.name!r}, which is written inside it",
                op=op,
                hint="read the variable outside, value = v.read_value(), and use that inside",
            )


@RegisterGradient("If")
def _if_gradient(op: Operation, *grads: Any, wanted: Sequence[bool]) -> list[Any]:
    _refuse_written(op, wanted)
    inputs = [i for i, x in enumerate(op.inputs) if wanted[i] and x.dtype.kind in FLOATS]
    out: list[Any] = [None] * len(op.inputs)
    if not inputs:
        return out
    then_branch, else_branch = (_branch_gradient(op, name, grads, inputs) for name in ("then_branch", "else_branch"))
    found = control.if_op(op.inputs[0], then_branch, else_branch)
    for i, g in zip(inputs, found, strict=True):
        out[i] = g
    return out


def _branch_gradient(op: Operation, name: str, grads: Sequence[Any], inputs: list[int]) -> control.TracedGraph:
    forward: control.TracedGraph = op.attrs[name]
    places = op.attrs[name + "_inputs"]
    backward = _BackwardGraph(name, op, forward, stacked=False)
    ys, dys = _outputs_with_gradient(forward, forward.results, grads)

    def build() -> list[Any]:
        xs = [forward.args[places.index(i)] if i in places else None for i in inputs]
        inner = [x for x in xs if x is not None]
        found = dict(zip(inner, gradients(ys, inner, grad_ys=dys) if ys and inner else [], strict=False))
        result = []
        for i, x in zip(inputs, xs, strict=True):
            g = found.get(x) if x is not None else None
            result.append(array.zeros_like(backward.capture(op.inputs[i])) if g is None else _dense(g))
        return result

    return control.trace(build, name, [], graph=backward)


def _outputs_with_gradient(
    forward: control.TracedGraph, results: Sequence[Tensor], grads: Sequence[Any]
) -> tuple[list[Tensor], list[Any]]:
    """Tensors of a branch that the op hands out and that have a gradient, and these gradients."""
    pairs = list(zip(results, grads, strict=False))
    pairs += [(t, grads[n]) for t, n in forward.saved.items() if n < len(grads)]
    kept = [(t, _dense(g)) for t, g in pairs if g is not None and t.dtype.kind in FLOATS]
    return [t for t, _ in kept], [g for _, g in kept]


@RegisterGradient("While")
def _while_gradient(op: Operation, *grads: Any, wanted: Sequence[bool]) -> list[Any]:
    _refuse_written(op, wanted)
    work = _LoopGradient(op, grads, wanted)
    return work.build()


class _LoopGradient:
    """Builds the backward loop.

    Its variables are the iteration, the gradients of the forward loop variables, and one sum for each input that the
    body uses densely.
    """

    def __init__(self, op: Operation, grads: Sequence[Any], wanted: Sequence[bool]) -> None:
        self.op = op
        self.body: control.TracedGraph = op.attrs["body"]
        self.count: int = op.attrs["count"]
        self.grads = grads
        self.places: tuple[int, ...] = op.attrs["body_inputs"]
        self.variables = [i for i in range(self.count) if self.body.args[i].dtype.kind in FLOATS]
        self.inputs = [
            j for j in range(self.count, len(self.places))
            if wanted[self.places[j]] and self.body.args[j].dtype.kind in FLOATS
        ]  # fmt: skip
        self.sparse: dict[int, tuple[int, int]] = {}

    def build(self) -> list[Any]:
        op = self.op
        turns = op.outputs[len(self.body.results)]
        start: list[Any] = [turns - 1]
        for i in self.variables:
            g = self.grads[i]
            start.append(array.zeros_like(op.outputs[i]) if g is None else _dense(g))
        start += [array.zeros_like(op.inputs[self.places[j]]) for j in self.inputs]
        start = [get_default_graph().capture(t) for t in start]
        known = [TensorSpec(dtypes.int32, ()), *[_known(self.body.args[i]) for i in self.variables]]
        known += [_known(self.body.args[j]) for j in self.inputs]
        condition = control.trace(lambda i, *rest: i >= 0, "cond", known)
        backward = _BackwardGraph("body", op, self.body, stacked=True)
        control.trace(self._step(backward), "body", known, graph=backward)
        control.check_state(backward.results, known)
        found = control.while_op(start, condition, backward)
        return self._collect(found, len(start))

    def _step(self, backward: _BackwardGraph) -> Callable[..., list[Any]]:
        def step(i: Tensor, *rest: Tensor) -> list[Any]:
            backward.iteration = i
            dstate, sums = list(rest[: len(self.variables)]), list(rest[len(self.variables) :])
            ys, dys = self._seeds(backward, i, dstate)
            xs = [self.body.args[k] for k in (*self.variables, *self.inputs)]
            found = gradients(ys, xs, grad_ys=dys)
            first = [
                array.zeros_like(d) if g is None else _dense(g)
                for d, g in zip(dstate, found[: len(dstate)], strict=True)
            ]
            second: list[Any] = []
            rows: list[Any] = []
            for j, total, g in zip(self.inputs, sums, found[len(dstate) :], strict=True):
                if isinstance(g, IndexedSlices):
                    self.sparse[j] = (len(rows), len(rows) + 1)
                    rows += [g.values, g.indices]
                    second.append(total)
                else:
                    second.append(total if g is None else total + g)
            return [i - 1, *first, *second, *rows]

        return step

    def _seeds(self, backward: _BackwardGraph, i: Tensor, dstate: list[Any]) -> tuple[list[Tensor], list[Any]]:
        """The results of one forward iteration, and their gradients."""
        ys: list[Tensor] = [self.body.results[k] for k in self.variables]
        dys: list[Any] = list(dstate)
        further = [(self.body.results[k], self.grads[k]) for k in range(self.count, len(self.body.results))]
        further += [(t, self.grads[n]) for t, n in self.body.saved.items() if n < len(self.grads)]
        for t, g in further:
            if g is not None and t.dtype.kind in FLOATS:
                row = control.history_row(backward.capture(get_default_graph().capture(_dense(g))), i)
                row.set_shape(t.shape)
                ys.append(t)
                dys.append(row)
        return ys, dys

    def _collect(self, found: Sequence[Tensor], states: int) -> list[Any]:
        out: list[Any] = [None] * len(self.op.inputs)
        for position, i in enumerate(self.variables):
            out[i] = found[1 + position]
        for position, j in enumerate(self.inputs):
            total: Any = found[1 + len(self.variables) + position]
            if j in self.sparse:
                values, indices = (found[states + k] for k in self.sparse[j])
                x = self.op.inputs[self.places[j]]
                total = self._rows(values, indices, x)
            out[self.places[j]] = total
        return out

    def _rows(self, values: Tensor, indices: Tensor, x: Tensor) -> IndexedSlices:
        """The rows of all iterations as one set of rows."""
        shape = array.shape(get_default_graph().capture(x))
        count = array.reshape(array.size(indices), [1])  # and not -1, which no turns at all would leave open
        flat = array.reshape(values, array.concat([count, array.shape(values)[2:]], 0))
        return IndexedSlices(flat, array.reshape(indices, [-1]), shape)
