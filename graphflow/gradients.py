"""Reverse-mode differentiation: `gradients` inserts the derivative as more graph.

Policy: only ops are inserted, so a gradient can be differentiated again and runs on every backend.  Ops that do not
lie between xs and ys are never looked at.  The contributions to one tensor are summed by one AddN, in the order in
which their consumers were created, last first: the same graph gives the same bits.  A gradient is None where no
path exists.  The walk goes by creation order, backwards; nothing recurses.

A rule sees `(op, dy)` (or one dy for each output) and returns one gradient for each input, None where there is none.

State: none; rules are registered in `opdef`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from graphflow import spec
from graphflow.collector import CollectorPaused
from graphflow.compile.lower import needed_ops
from graphflow.constants import convert_to_tensor
from graphflow.errors import (
    DTypeError,
    Error,
    FailedPreconditionError,
    GradientLookupError,
    GraphError,
    InvalidArgumentError,
    ShapeError,
)
from graphflow.graph import FuncGraph, get_default_graph
from graphflow.indexed_slices import IndexedSlices
from graphflow.opdef import OPS, OpDef, definition_of, gradient_of, takes_none
from graphflow.ops import array, math
from graphflow.ops.casts import to_int64
from graphflow.tensor import Operation, Tensor

DIFFERENTIABLE = ("float", "complex", "resource")


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
    unconnected_gradients: str = "none",
) -> list[Any]:
    """The derivatives of the sum of `ys` with respect to each of `xs`; None where `ys` do not depend on it."""
    if unconnected_gradients not in ("none", "zero"):
        raise InvalidArgumentError('unconnected_gradients is "none" or "zero"', got=repr(unconnected_gradients)[:80])
    targets = tensors(ys, "ys")
    sources, keys = _sources(xs)
    stops = set(_sources([] if stop_gradients is None else stop_gradients)[1])
    with get_default_graph().name_scope(name), CollectorPaused():
        _check_one_graph(targets, keys)
        walk = Walk(targets, keys, stops)
        walk.seed(targets, given_or_ones(targets, grad_ys))
        walk.run()
        if not walk.path and targets and targets[0].graph.computes:
            raise FailedPreconditionError(
                "nothing was recorded of what was computed at once",
                got=", ".join(y.name for y in targets[:4]),
                hint="with tf.GradientTape() as tape: tape.watch(x) ..., and tape.gradient(y, x)",
            )
        found = [walk.total(key) for key in keys]
        _complain_if_cut(found, targets, sources, walk)
        if unconnected_gradients == "zero":
            found = [array.zeros_like(x) if g is None else g for g, x in zip(found, sources, strict=True)]
    graph = get_default_graph()
    if not graph.computes:
        graph.store.setdefault("derivatives", []).append((targets, walk.parts))  # for pictures
    return found


def listed(values: Any) -> list[Any]:
    """One item or several, as a list."""
    return list(values) if isinstance(values, (list, tuple)) else [values]


def tensors(values: Any, what: str) -> list[Tensor]:
    """The values as tensors that can be differentiated."""
    out = []
    for v in listed(values):
        if isinstance(v, Operation) or v is None:
            raise DTypeError(f"{what} must be tensors", got=repr(v), hint="an Operation has no value to differentiate")
        t = v if isinstance(v, Tensor) else convert_to_tensor(v)
        if t.dtype.kind not in DIFFERENTIABLE:
            raise DTypeError(f"{what} must be floating-point tensors", op=t.op, expected="float", got=t.dtype.name)
        out.append(t)
    return out


def _sources(values: Any) -> tuple[list[Any], list[Tensor]]:
    """The xs, and the tensors whose gradients are theirs: for a variable that is its handle."""
    items = listed(values)
    keys = []
    for v in items:
        handle = getattr(v, "handle", None)
        if handle is None and not isinstance(v, (Tensor, IndexedSlices)):
            raise DTypeError("xs must be tensors or variables", got=repr(v)[:80])
        key = handle if handle is not None else v.values if isinstance(v, IndexedSlices) else v
        keys.append(key)
    return items, keys


def _check_one_graph(ys: Sequence[Tensor], xs: Sequence[Tensor]) -> None:
    roots = {_root(t.graph): t for t in (*xs, *ys)}
    if len(roots) > 1:
        stranger = next(iter(roots.values()))
        raise GraphError(f"ys and xs belong to different graphs: {stranger.name!r} is of another one", op=stranger.op)


def _root(graph: Any) -> Any:
    while isinstance(graph, FuncGraph):
        graph = graph.outer
    return graph


def given_or_ones(ys: Sequence[Tensor], grad_ys: Any) -> list[Any]:
    """The gradients of ys to begin with: those given, checked, or ones."""
    given = [None] * len(ys) if grad_ys is None else listed(grad_ys)
    if len(given) != len(ys):
        raise InvalidArgumentError("grad_ys needs one entry for each of ys", expected=str(len(ys)), got=str(len(given)))
    out = []
    for y, g in zip(ys, given, strict=True):
        if g is None:
            out.append(array.ones_like(y))
            continue
        g = convert_to_tensor(g, preferred=y.dtype) if not isinstance(g, IndexedSlices) else g
        if g.dtype is not y.dtype:
            raise DTypeError("a gradient has the dtype of its tensor", op=y.op, expected=y.dtype.name, got=g.dtype.name)
        if isinstance(g, Tensor) and not spec.compatible(g.dims, y.dims):
            raise ShapeError(
                "a gradient has the shape of its tensor",
                op=y.op,
                expected=spec.describe(y.dims),
                got=spec.describe(g.dims),
            )
        out.append(g)
    return out


class Walk:
    """The reverse walk: contributions to each tensor, and the ops between xs and ys."""

    def __init__(self, ys: Sequence[Tensor], xs: Sequence[Tensor], stops: set[Tensor], ops: Any = None) -> None:
        """`ops`: all that ys depend on, each after its inputs, from who knows them already."""
        self.parts: dict[Tensor, list[Any]] = {}
        self.stops = stops
        self.blocked: list[Operation] = []
        wanted = set(xs)
        reached: set[Tensor] = set(wanted)
        self.path: list[Operation] = []
        for op in _ancestors(ys) if ops is None else ops:
            hit = False
            for x in op.inputs or _surroundings(op):
                if x in reached and x not in stops:
                    hit = True
                    break
            if hit:
                self.path.append(op)
                reached.update(op.outputs)
        self.reached = reached

    def seed(self, ys: Sequence[Tensor], grads: Sequence[Any]) -> None:
        """Begin with these gradients of ys."""
        for y, g in zip(ys, grads, strict=True):
            self.parts.setdefault(y, []).append(g)

    def total(self, tensor: Tensor) -> Any:
        """The sum of what was contributed to a tensor; computed once."""
        parts = self.parts.get(tensor)
        if not parts:
            return None
        if len(parts) > 1:
            parts[:] = [_sum(parts)]
        return parts[0]

    def run(self) -> None:
        """Go through the ops between xs and ys, the last one first."""
        parts = self.parts
        reached = self.reached - self.stops
        for op in reversed(self.path):
            outputs = op.outputs
            if len(outputs) == 1:
                if outputs[0] not in parts:
                    continue
                dys: list[Any] = [self.total(outputs[0])]
            else:
                dys = [self.total(t) for t in outputs]
                if all(g is None for g in dys):
                    continue
            inputs = op.inputs or _surroundings(op)
            wanted = [x in reached and x.dtype.kind in DIFFERENTIABLE for x in inputs]
            if True not in wanted:
                continue
            for x, g in zip(inputs, self.apply(op, dys, wanted), strict=True):
                if g is not None and x in reached:
                    found = parts.get(x)
                    if found is None:
                        parts[x] = [g]
                    else:
                        found.append(g)

    def apply(self, op: Operation, dys: list[Any], wanted: list[bool]) -> Sequence[Any]:
        """The contributions of one op to its inputs."""
        if op.type == "Arg":
            return dys  # inside a branch or loop body: the same tensor, outside
        function = gradient_of(op.gradient_type)
        definition = OPS.get(op.type) or definition_of(op)
        try:
            if function is not None:
                if definition.control_flow:
                    return function(op, *dys, wanted=wanted)  # type: ignore[no-any-return]
                return self._whole(op, function, dys)
            if definition.rules is not None and op.gradient_type == op.type:
                return _by_rules(op, definition, dys, wanted)
        except Error as error:
            if error.op_name is None:
                error.attach(op)
            raise
        if not definition.differentiable and op.gradient_type == op.type:
            if definition.known_value is None:  # otherwise the value does not depend on the input's value at all
                self.blocked.append(op)
            return [None] * len(op.inputs)
        raise GradientLookupError(
            f"no gradient is registered for {op.gradient_type!r}",
            op=op,
            hint=f'@tf.RegisterGradient("{op.gradient_type}") on a function (op, grad)',
        )

    def _whole(self, op: Operation, function: Callable[..., Any], dys: list[Any]) -> Sequence[Any]:
        filled = dys if takes_none(op.gradient_type) else [
            array.zeros_like(t) if g is None and t.dtype.kind in DIFFERENTIABLE[:2] else g
            for g, t in zip(dys, op.outputs, strict=True)
        ]  # fmt: skip
        result = function(op, *filled)
        grads = list(result) if isinstance(result, (list, tuple)) else [result]
        if len(grads) != len(op.inputs):
            raise InvalidArgumentError(
                f"the gradient of {op.gradient_type!r} returned {len(grads)} gradients",
                op=op,
                expected=f"{len(op.inputs)}, one for each input",
            )
        for i, (x, g) in enumerate(zip(op.inputs, grads, strict=True)):
            if g is None or isinstance(g, IndexedSlices):
                continue
            g = grads[i] = convert_to_tensor(g, preferred=x.dtype)
            if g.dtype is not x.dtype and x.dtype.kind in DIFFERENTIABLE[:2]:
                raise DTypeError(
                    f"the gradient of {op.gradient_type!r} for input {i} has the wrong dtype",
                    op=op,
                    expected=x.dtype.name,
                    got=g.dtype.name,
                )
            if x.dtype.kind != "resource" and not spec.compatible(g.dims, x.dims):
                raise ShapeError(
                    f"the gradient of {op.gradient_type!r} for input {i} has the wrong shape",
                    op=op,
                    expected=spec.describe(x.dims),
                    got=spec.describe(g.dims),
                )
        return grads


def _surroundings(op: Operation) -> tuple[Tensor, ...]:
    """For a captured argument of a branch or loop body: the tensor outside that it stands for."""
    if op.type != "Arg" or not isinstance(op.graph, FuncGraph):
        return ()
    outer = op.graph.stands_for.get(op.outputs[0])
    return () if outer is None else (outer,)


def _ancestors(ys: Sequence[Tensor]) -> list[Operation]:
    """All ops that ys depend on, each after its inputs; through the borders of branches and loop bodies outwards."""
    found: list[Operation] = []
    front = list(ys)
    while front:
        graph = max((y.graph for y in front), key=_depth)
        inside = needed_ops([y.op for y in front if y.graph is graph], {})
        outside = [t for op in inside for t in _surroundings(op)]
        found = inside + found
        front = list(dict.fromkeys([y for y in front if y.graph is not graph] + outside))
    return found


def _depth(graph: Any) -> int:
    depth = 0
    while isinstance(graph, FuncGraph):
        graph, depth = graph.outer, depth + 1
    return depth


def _by_rules(op: Operation, definition: OpDef, dys: list[Any], wanted: list[bool]) -> list[Any]:
    rules = definition.rules
    assert rules is not None
    dy = dys[0]
    if isinstance(dy, IndexedSlices) and op.type != "ReadVariable":
        dy = dy.to_tensor()
    out: list[Any] = []
    for i, x in enumerate(op.inputs):
        rule = rules[i] if i < len(rules) else rules[-1] if len(rules) == 1 else None
        if not wanted[i] or rule is None:
            out.append(None)
            continue
        g = rule(op, dy)
        if definition.broadcasts and g is not None:
            g = math.sum_to_like(g, x, op.inputs)
        out.append(g)
    return out


def _sum(parts: list[Any]) -> Any:
    if all(isinstance(p, IndexedSlices) for p in parts):
        mixed = any(p.indices.dtype is not parts[0].indices.dtype for p in parts)
        return IndexedSlices(
            array.concat([p.values for p in parts], 0),
            array.concat([to_int64(p.indices) if mixed else p.indices for p in parts], 0),
            parts[0].dense_shape,
        )
    dense = [p.to_tensor() if isinstance(p, IndexedSlices) else p for p in parts]
    return math.add(dense[0], dense[1]) if len(dense) == 2 else math.add_n(dense)


def _complain_if_cut(found: list[Any], ys: list[Tensor], xs: list[Any], walk: Walk) -> None:
    """Where no gradient at all came out, and an op without gradient is the reason, say which."""
    if not found or any(g is not None for g in found) or not walk.blocked:
        return
    cut = max(walk.blocked, key=lambda op: op.id)
    warnings.warn(
        f"all gradients of {ys[0].name!r} are None: {cut.name!r} ({cut.type}), built at {cut.source}, "
        "has no gradient and lies on the only path",
        stacklevel=4,
    )
