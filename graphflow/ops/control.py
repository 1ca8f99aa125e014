"""Conditionals and loops: `cond`, `case`, `while_loop`.

Policy: branches and bodies are FuncGraphs, attributes of one op; only the taken branch runs, and a body runs as long
as its condition holds.  Tensors of the surroundings that a branch uses become inputs of the op; nesting is free.
The op can be asked afterwards to hand out more of what its function computes (`save`), which is how gradients get at
the values inside: the graph is never built twice.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from graphflow import constants, dtypes, nest, spec
from graphflow.compile.lower import needed_ops
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.graph import FuncGraph, get_default_graph
from graphflow.indexed_slices import IndexedSlices
from graphflow.opdef import call, op
from graphflow.ops import array, core, state
from graphflow.spec import Dims, TensorSpec
from graphflow.tensor import Operation, Scope, Tensor


class TracedGraph(FuncGraph):
    """A branch or body, with what its op hands out beyond its results: tensor -> number of the op's output."""

    def __init__(self, name: str, outer: Any) -> None:
        super().__init__(name, outer)
        self.saved: dict[Tensor, int] = {}
        self.structure: Any = None
        around = outer.scope
        self.enter_scope(Scope(name=f"{around.name}{name}/", device=around.device, gradient_map=around.gradient_map))


def trace(
    function: Callable[..., Any], name: str, known: Sequence[TensorSpec], like: Any = None, graph: Any = None
) -> TracedGraph:
    """Build `function` of arguments of those specs into a graph of its own."""
    around: Any = get_default_graph()
    graph = graph or getattr(around, "functions", TracedGraph)(name, around)
    with graph.as_default():
        arguments: Any = [graph.add_argument(k) for k in known]
        if like is not None:
            arguments = nest.pack(like, arguments)
        found = function(*arguments)
        graph.structure = found
        graph.results = [_result(leaf, graph) for leaf in nest.flatten(found)]
    _localise_reads(graph, state.written_in(graph))
    _drop_unused(graph)
    return graph  # type: ignore[no-any-return]


def _result(leaf: Any, graph: FuncGraph) -> Tensor:
    """A result of a branch as a tensor of the branch; an op becomes a True that waits for it."""
    if leaf is None:
        raise InvalidArgumentError(
            "a branch or loop body returned None",
            expected="a tensor or a structure of tensors",
            hint="is `return` missing?",
        )
    if isinstance(leaf, Operation):
        return core.with_dependencies([leaf], constants.convert_to_tensor(True))
    if isinstance(leaf, IndexedSlices):
        leaf = leaf.to_tensor()
    return constants.convert_to_tensor(leaf, graph=graph)


def _localise_reads(graph: FuncGraph, written: Collection[Tensor]) -> None:
    """A variable that the function writes is read inside it, not before it: turn hoisted reads into local ones."""
    hoisted = graph.store.get("hoisted_reads", {})
    for handle in [h for h in hoisted if h in written]:
        argument = hoisted.pop(handle)
        graph.args = [a for a in graph.args if a is not argument]
        del graph.captured[graph.stands_for.pop(argument)]
        reader = argument.op
        reader.type = reader.gradient_type = "ReadVariable"
        reader.inputs = (graph.capture(handle),)
        reader.attrs = {"dtype": handle.op.attrs["dtype"], "dims": handle.op.attrs["dims"]}


def _drop_unused(graph: FuncGraph) -> None:
    """What the function captured and its results do not need is no input of it: it need not be computed."""
    needed = set(needed_ops([r.op for r in graph.results], {}))
    unused = {a for a in graph.args if a in graph.stands_for and a.op not in needed}
    graph.args = [a for a in graph.args if a not in unused]
    for argument in unused:
        del graph.captured[graph.stands_for.pop(argument)]


def captured_inputs(graph: FuncGraph) -> list[Tensor]:
    """The surrounding tensors that a function uses, in the order of its arguments."""
    return [graph.stands_for[arg] for arg in graph.args if arg in graph.stands_for]


def save(op: Operation, graph: TracedGraph, tensor: Tensor, stacked: bool) -> Tensor:
    """The output of a control-flow op that holds a tensor of its function (one per iteration if `stacked`)."""
    number = graph.saved.get(tensor)
    if number is None:
        dims: Dims = tensor.dims
        if stacked:
            dims = None if dims is None else (None, *dims)
        graph.saved[tensor] = len(op.outputs)
        return op.add_output(TensorSpec(tensor.dtype, dims))
    return op.outputs[number]


def _one_of(history: Any, number: Any) -> TensorSpec:
    return TensorSpec(history.dtype, None if history.dims is None else history.dims[1:])


@op("HistoryRow", infer=_one_of, same_dtype=None)
def history_row(history: Any, number: Any, name: str | None = None) -> Any:
    """What a loop kept of one iteration."""
    return call((history, number), name)


def _history_gradient(op: Operation, dy: Any) -> Any:
    history, number = op.inputs
    return IndexedSlices(array.expand_dims(dy, 0), array.reshape(number, [1]), array.shape(history))


history_row.vjp(_history_gradient, None)


# -- cond ------------------------------------------------------------------------------------------------------------


def _common(a: Dims, b: Dims) -> Dims:
    """What is true of both shapes."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if x == y else None for x, y in zip(a, b, strict=True))


def _check_predicate(pred: Any) -> None:
    if pred.dtype is not dtypes.bool_:
        raise DTypeError("the predicate must be bool", expected="bool", got=pred.dtype.name)
    if not spec.compatible(pred.dims, ()):
        raise ShapeError("the predicate must be a scalar", expected="[]", got=spec.describe(pred.dims))


def _infer_if(pred: Any, *captured: Any, then_branch: Any, else_branch: Any, **attrs: Any) -> tuple[TensorSpec, ...]:
    _check_predicate(pred)
    pairs = list(zip(then_branch.results, else_branch.results, strict=True))
    return tuple(TensorSpec(a.dtype, _common(a.dims, b.dims)) for a, b in pairs)


@op("If", infer=_infer_if, same_dtype=None, control_flow=True, result=lambda *outputs: outputs)
def if_op(pred: Any, then_branch: Any, else_branch: Any, name: str | None = None) -> Any:
    """The results of one of two functions without parameters."""
    first, second = captured_inputs(then_branch), captured_inputs(else_branch)
    split = 1 + len(first)
    return call(
        (pred, *first, *second),
        name,
        then_branch=then_branch,
        else_branch=else_branch,
        then_branch_inputs=tuple(range(1, split)),
        else_branch_inputs=tuple(range(split, split + len(second))),
    )


def cond(
    pred: Any,
    true_fn: Callable[[], Any] | None = None,
    false_fn: Callable[[], Any] | None = None,
    strict: bool = False,
    name: str | None = None,
    fn1: Callable[[], Any] | None = None,
    fn2: Callable[[], Any] | None = None,
) -> Any:
    """`true_fn()` where `pred` holds and `false_fn()` where not; only the taken branch is run."""
    true_fn, false_fn = fn1 if true_fn is None else true_fn, fn2 if false_fn is None else false_fn
    if not callable(true_fn) or not callable(false_fn):
        raise DTypeError("cond takes two functions without parameters", hint="tf.cond(p, lambda: x, lambda: y)")
    if isinstance(pred, bool):
        raise DTypeError("the predicate must be a tensor, not a Python bool", hint="use Python's own `if`")
    with core.name_scope(name, "cond"):
        pred = constants.convert_to_tensor(pred)
        if pred.graph.computes:
            _check_predicate(pred)
            taken = nest.map_structure(constants.convert_to_tensor, (true_fn if pred else false_fn)())
            return _unwrapped(taken, strict)
        then_branch = trace(true_fn, "then_branch", [])
        else_branch = trace(false_fn, "else_branch", [])
        _check_branches(then_branch, else_branch)
        outputs = list(if_op(pred, then_branch, else_branch))
        packed = nest.pack(then_branch.structure, outputs)
    return _unwrapped(packed, strict)


def _unwrapped(packed: Any, strict: bool) -> Any:
    if isinstance(packed, (list, tuple)) and len(packed) == 1 and not strict and not hasattr(packed, "_fields"):
        return packed[0]
    return packed


def _check_branches(first: TracedGraph, second: TracedGraph) -> None:
    if not nest.same_structure(first.structure, second.structure):
        raise InvalidArgumentError(
            "both branches must return the same structure",
            expected=repr(first.structure)[:100],
            got=repr(second.structure)[:100],
        )
    for a, b in zip(first.results, second.results, strict=True):
        if a.dtype is not b.dtype:
            raise DTypeError(
                "both branches must return the same dtypes", expected=a.dtype.name, got=b.dtype.name, hint="tf.cast"
            )


def case(
    pred_fn_pairs: Any,
    default: Callable[[], Any] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str | None = None,
) -> Any:
    """The function of the first pair whose predicate holds, else `default`."""
    pairs = list(pred_fn_pairs.items()) if hasattr(pred_fn_pairs, "items") else list(pred_fn_pairs)
    if not pairs or any(not isinstance(p, tuple) or len(p) != 2 or not callable(p[1]) for p in pairs):
        raise DTypeError("case takes a non-empty list of (predicate, function) pairs", got=repr(pairs)[:80])
    with core.name_scope(name, "case"):
        from_here: Callable[[], Any]
        gate = [_exclusive(pairs)] if exclusive else []
        if default is None:
            *pairs, (last_pred, from_here) = pairs
            from_here = _asserting(last_pred, from_here)
        else:
            from_here = default
        with core.control_dependencies(gate):
            for pred, function in reversed(pairs):
                from_here = _either(pred, function, from_here, strict)
            return from_here()


def _either(pred: Any, function: Callable[[], Any], otherwise: Callable[[], Any], strict: bool) -> Callable[[], Any]:
    return lambda: cond(pred, function, otherwise, strict=strict)


def _asserting(pred: Any, function: Callable[[], Any]) -> Callable[[], Any]:
    def checked() -> Any:
        with core.control_dependencies([assert_true(pred, "case: no predicate holds and there is no default")]):
            return nest.map_structure(lambda t: core.identity(t) if not isinstance(t, Operation) else t, function())

    return checked


def _exclusive(pairs: Sequence[tuple[Any, Any]]) -> Any:
    held: Any = constants.convert_to_tensor([p for p, _ in pairs])
    return at_most_one(held)


@op("AssertTrue", infer=lambda pred, *, message: (), stateful=True, can_fail="always", differentiable=False)
def assert_true(pred: Any, message: str, name: str | None = None) -> Any:
    """Fail the run with `message` unless every element is True."""
    return call((pred,), name, message=message)


@op("AtMostOne", infer=lambda preds: (), stateful=True, can_fail="always", differentiable=False)
def at_most_one(preds: Any, name: str | None = None) -> Any:
    """Fail the run if more than one element is True."""
    return call((preds,), name)


# -- while_loop ------------------------------------------------------------------------------------------------------


def _infer_while(*inputs: Any, body: Any, count: int, **attrs: Any) -> tuple[TensorSpec, ...]:
    finals = [TensorSpec(arg.dtype, arg.dims) for arg in body.args[:count]]
    rows = [TensorSpec(t.dtype, None if t.dims is None else (None, *t.dims)) for t in body.results[count:]]
    return (*finals, *rows, TensorSpec(dtypes.int32, ()))


@op("While", infer=_infer_while, same_dtype=None, control_flow=True, result=lambda *outputs: outputs)
def while_op(loop_vars: Sequence[Any], condition: Any, body: Any, name: str | None = None) -> Any:
    """Final loop variables, then the body's further results stacked over the iterations, then their number."""
    count = len(loop_vars)
    first, second = captured_inputs(condition), captured_inputs(body)
    split = count + len(first)
    own = tuple(range(count))
    return call(
        (*loop_vars, *first, *second),
        name,
        cond=condition,
        body=body,
        count=count,
        cond_inputs=(*own, *range(count, split)),
        body_inputs=(*own, *range(split, split + len(second))),
    )


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:
    """Run `loop_vars = body(*loop_vars)` while `cond(*loop_vars)` holds, and return the last loop variables."""
    if not callable(cond) or not callable(body):
        raise DTypeError("while_loop takes two functions of the loop variables")
    if not nest.is_nested(loop_vars):
        loop_vars = (loop_vars,)
    if not nest.flatten(loop_vars):
        raise InvalidArgumentError("while_loop needs at least one loop variable")
    with core.name_scope(name, "while"):
        start = [constants.convert_to_tensor(v) for v in nest.flatten(loop_vars)]
        known = [
            TensorSpec(t.dtype, d) for t, d in zip(start, _invariants(start, loop_vars, shape_invariants), strict=True)
        ]
        like = list(loop_vars) if isinstance(loop_vars, (list, tuple)) else [loop_vars]
        if start[0].graph.computes:
            outputs = _at_once(cond, body, start, known, like, maximum_iterations)
        elif maximum_iterations is not None:
            outputs = _bounded(cond, body, start, known, like, maximum_iterations)
        else:
            outputs = loop(cond, body, start, known, like)[0]
        if not back_prop:
            outputs = [core.stop_gradient(t) for t in outputs]
        packed = nest.pack(like, outputs)
    if isinstance(loop_vars, tuple):
        packed = type(loop_vars)(*packed) if hasattr(loop_vars, "_fields") else tuple(packed)
    if len(like) == 1 and not return_same_structure:
        return packed[0]
    return packed


def _invariants(start: Sequence[Tensor], loop_vars: Any, given: Any) -> list[Dims]:
    from graphflow.tensor_shape import TensorShape, as_dims

    if given is None:
        return [t.dims for t in start]

    def leaves(shapes: Any) -> list[Any]:
        if isinstance(shapes, TensorShape) or shapes is None:
            return [shapes]
        return [leaf for part in shapes for leaf in leaves(part)]

    shapes = [as_dims(s) for s in leaves(given)]
    if len(shapes) != len(start):
        raise InvalidArgumentError(
            "shape_invariants needs one shape for each loop variable", expected=str(len(start)), got=str(len(shapes))
        )
    for t, dims in zip(start, shapes, strict=True):
        if not spec.compatible(t.dims, dims):
            raise ShapeError("a shape invariant does not fit its loop variable", op=t.op,
                             expected=spec.describe(dims), got=spec.describe(t.dims))  # fmt: skip
    return shapes


def _at_once(cond: Any, body: Any, state: Any, known: Any, like: Any, maximum: Any) -> list[Tensor]:
    """The loop itself, where ops are computed at once."""
    turns = 0
    while maximum is None or turns < int(maximum):
        going: Any = constants.convert_to_tensor(cond(*nest.pack(like, state)))
        _check_predicate(going)
        if not going:
            break
        found = as_list(body(*nest.pack(like, state)), len(like))
        state = [constants.convert_to_tensor(leaf, preferred=k.dtype) for leaf, k in
                 zip(_leaves(found, like, len(known)), known, strict=True)]  # fmt: skip
        check_state(state, known)
        turns += 1
    return list(state)


def _leaves(found: Any, like: Any, count: int) -> list[Any]:
    leaves = nest.flatten(found)
    if not nest.same_structure(found, like):
        raise InvalidArgumentError(
            "the body must return the structure of the loop variables",
            expected=f"{count} tensors",
            got=f"{len(leaves)}: {found!r}"[:120],
        )
    return leaves


def _bounded(cond: Any, body: Any, start: Any, known: Any, like: Any, maximum: Any) -> list[Tensor]:
    """A loop that counts its iterations as well."""
    limit = constants.convert_to_tensor(maximum, preferred=dtypes.int32)
    counter = constants.convert_to_tensor(0, preferred=limit.dtype)

    def both(i: Any, variables: Any) -> Any:
        return (i < limit) & constants.convert_to_tensor(cond(*variables))

    def step(i: Any, variables: Any) -> Any:
        found = body(*variables)
        return i + constants.convert_to_tensor(1, preferred=limit.dtype), as_list(found, len(like))

    outputs, _ = loop(both, step, [counter, *start], [TensorSpec(limit.dtype, ()), *known], [0, like])
    return outputs[1:]


def as_list(found: Any, count: int) -> Any:
    """What a body returned, as a list of loop variables."""
    if count == 1 and not (isinstance(found, (list, tuple)) and len(found) == 1):
        return [found]
    return list(found) if isinstance(found, tuple) and not hasattr(found, "_fields") else found


def loop(
    cond: Any, body: Any, start: Sequence[Tensor], known: Sequence[TensorSpec], like: list[Any]
) -> tuple[list[Tensor], Any]:
    """Trace and build a While op: its final loop variables, and the op."""
    condition = trace(cond, "cond", known, like)
    if len(condition.results) != 1 or condition.results[0].dtype is not dtypes.bool_:
        got = ", ".join(t.dtype.name for t in condition.results)
        raise DTypeError("the condition of a loop must be one bool", expected="bool", got=got)
    if not spec.compatible(condition.results[0].dims, ()):
        raise ShapeError("the condition of a loop must be a scalar", got=spec.describe(condition.results[0].dims))
    traced = trace(lambda *a: as_list(body(*a), len(like)), "body", known, like)
    _check_body(traced, known, like)
    for function, other in ((condition, traced), (traced, condition)):
        _localise_reads(function, state.written_in(other))
    outputs = while_op(list(start), condition, traced)
    return list(outputs[: len(known)]), outputs[0].op


def _check_body(body: TracedGraph, known: Sequence[TensorSpec], like: Any) -> None:
    _leaves(body.structure, like, len(known))
    check_state(body.results, known)


def check_state(results: Sequence[Tensor], known: Sequence[TensorSpec]) -> None:
    """Raise unless the body returns loop variables of the dtypes and shapes that it takes."""
    for i, (have, want) in enumerate(zip(results, known, strict=False)):
        if have.dtype is not want.dtype:
            raise DTypeError(
                f"the body changes the dtype of loop variable {i}",
                op=have.op,
                expected=want.dtype.name,
                got=have.dtype.name,
            )
        if not _at_least_as_known(have.dims, want.dims):
            raise ShapeError(
                f"the body changes the shape of loop variable {i}",
                op=have.op,
                expected=spec.describe(want.dims),
                got=spec.describe(have.dims),
                hint="shape_invariants=[...] with None where a size may change, or x.set_shape(...) in the body",
            )


def _at_least_as_known(have: Dims, want: Dims) -> bool:
    if want is None:
        return True
    if have is None or len(have) != len(want):
        return False
    return all(w is None or w == h for h, w in zip(have, want, strict=True))
