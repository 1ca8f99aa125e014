"""`map_fn`, `scan`, `foldl`, `foldr`: functions applied along the first axis, as loops.

Policy: the rows that a body returns beside its loop variables are stacked by the loop op itself, so there is no array
that grows; gradients run in time proportional to the number of rows.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow import constants, dtypes, nest
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.ops import arrange, array, control, core, index
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor


def _elements(elems: Any) -> tuple[list[Tensor], Any, int | None]:
    """The flat elems as tensors, the number of rows as a tensor, and as an int where it is known."""
    flat = [constants.convert_to_tensor(e) for e in nest.flatten(elems)]
    if not flat:
        raise InvalidArgumentError("elems must hold at least one tensor")
    for t in flat:
        if t.dims == ():
            raise ShapeError("elems must have rows: a first axis to run along", op=t.op, got="a scalar")
    lengths = {t.dims[0] for t in flat if t.dims is not None and t.dims[0] is not None}
    if len(lengths) > 1:
        raise ShapeError("elems have different numbers of rows", got=" and ".join(map(str, sorted(lengths))))
    known = next(iter(lengths), None)
    return flat, array.shape(flat[0])[0], known


def _spec(t: Tensor) -> TensorSpec:
    return TensorSpec(t.dtype, t.dims)


def _along(
    function: Callable[..., Any],
    flat: Sequence[Tensor],
    like: Any,
    count: Any,
    state: Sequence[Any],
    reverse: bool,
    keep: bool,
) -> tuple[list[Tensor], list[Tensor], Any]:
    """Loop over rows: (final state, stacked rows, structure); `function(state, row)` -> (new state, row out)."""
    shape: dict[str, Any] = {}
    if flat[0].graph.computes and flat[0].dims and flat[0].dims[0]:
        return _at_once(function, flat, like, list(state), reverse, keep)

    def going(i: Any, *rest: Any) -> Any:
        return i < count

    def body(i: Any, *rest: Any) -> Any:
        at = count - 1 - i if reverse else i
        row = nest.pack(like, [index.gather(t, at) for t in flat])
        new_state, out = function(list(rest), row)
        shape["out"] = out
        return [i + 1, *new_state, *(nest.flatten(out) if keep else [])]

    start = [constants.convert_to_tensor(0, preferred=dtypes.int32), *state]
    known = [_spec(t) for t in start]
    condition = control.trace(going, "cond", known)
    traced = control.trace(body, "body", known)
    control.check_state(traced.results, known)
    outputs = control.while_op(start, condition, traced)
    rows = list(outputs[len(start) : len(traced.results)])
    if reverse:
        rows = [arrange.reverse(r, [0]) for r in rows]
    return list(outputs[1 : len(start)]), rows, shape.get("out")


def _at_once(
    function: Callable[..., Any], flat: Sequence[Tensor], like: Any, state: list[Any], reverse: bool, keep: bool
) -> tuple[list[Tensor], list[Tensor], Any]:
    """The loop over rows itself, where ops are computed at once."""
    known = [_spec(t) for t in state]
    numbers = range((flat[0].dims or ())[0] or 0)
    kept: list[list[Any]] = []
    out: Any = None
    for at in reversed(numbers) if reverse else numbers:
        new_state, out = function(state, nest.pack(like, [index.gather(t, at) for t in flat]))
        state = [constants.convert_to_tensor(v, preferred=k.dtype) for v, k in zip(new_state, known, strict=True)]
        control.check_state(state, known)
        if keep:
            kept.append(nest.flatten(out))
    rows = [array.stack(parts[::-1] if reverse else parts) for parts in map(list, zip(*kept, strict=True))]
    return state, rows, out


def _with_rows(rows: Sequence[Tensor], known: int | None) -> list[Tensor]:
    for r in rows:
        if known is not None and r.dims is not None:
            r.set_shape((known, *r.dims[1:]))
    return list(rows)


def map_fn(
    fn: Callable[..., Any],
    elems: Any,
    dtype: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
) -> Any:
    """`fn` of each row of `elems`, stacked; `dtype` is checked where it is given."""
    if not callable(fn):
        raise InvalidArgumentError("map_fn takes a function", got=repr(fn)[:80])
    with core.name_scope(name, "map"):
        flat, count, known = _elements(elems)

        def row(state: list[Any], item: Any) -> Any:
            return [], fn(item)

        _, rows, out = _along(row, flat, elems, count, [], reverse=False, keep=True)
        _check_dtypes(rows, dtype)
        rows = _with_rows(rows, known)
        if not back_prop:
            rows = [core.stop_gradient(r) for r in rows]
        return nest.pack(out, rows)


def _check_dtypes(rows: Sequence[Tensor], dtype: Any) -> None:
    wanted = [dtypes.as_dtype(d) for d in nest.flatten(dtype)] if dtype is not None else []
    for have, want in zip(rows, wanted, strict=False):
        if have.dtype is not want:
            raise InvalidArgumentError(
                "the function returns another dtype than `dtype` says", expected=want.name, got=have.dtype.name
            )


def _fold(fn: Callable[..., Any], elems: Any, initializer: Any, reverse: bool, keep: bool, back_prop: bool) -> Any:
    flat, count, known = _elements(elems)
    if initializer is None:
        at = count - 1 if reverse else 0
        first = [index.gather(t, at) for t in flat]
        structure = elems
        rest = [t[:-1] if reverse else t[1:] for t in flat]
        start, total = first, count - 1
    else:
        structure, rest, total = initializer, flat, count
        start = [constants.convert_to_tensor(v) for v in nest.flatten(initializer)]

    def step(state: list[Any], item: Any) -> Any:
        new = fn(nest.pack(structure, state), item)
        leaves = nest.flatten(new)
        return leaves, leaves

    final, rows, _ = _along(step, rest, elems, total, start, reverse=reverse, keep=keep)
    if not keep:
        out = final
    elif initializer is None:
        pieces = [
            [r, array.expand_dims(f, 0)] if reverse else [array.expand_dims(f, 0), r]
            for f, r in zip(start, rows, strict=True)
        ]
        out = _with_rows([array.concat(p, 0) for p in pieces], known)
    else:
        out = _with_rows(rows, known)
    if not back_prop:
        out = [core.stop_gradient(t) for t in out]
    return nest.pack(structure, out)


def scan(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: str | None = None,
) -> Any:
    """All intermediate results of folding `fn(accumulated, row)` over the rows."""
    with core.name_scope(name, "scan"):
        return _fold(fn, elems, initializer, reverse, True, back_prop)


def foldl(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """`fn(accumulated, row)` over the rows from the first to the last."""
    with core.name_scope(name, "foldl"):
        return _fold(fn, elems, initializer, False, False, back_prop)


def foldr(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """`fn(accumulated, row)` over the rows from the last to the first."""
    with core.name_scope(name, "foldr"):
        return _fold(fn, elems, initializer, True, False, back_prop)
