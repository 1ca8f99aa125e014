"""Inference shared by many ops: functions `(*inputs, **attrs) -> TensorSpec`, for the `infer` column.

Policy: inputs have `.dtype`, `.dims` and `.hint` (tensors while building, specs while compiling).  What an op accepts
is checked here, so that a wrong dtype or shape fails on the user's line and not in a kernel.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphflow import spec
from graphflow.dtypes import DType, bool_
from graphflow.errors import DTypeError
from graphflow.spec import TensorSpec

KINDS = {
    "float": ("float",),
    "inexact": ("float", "complex"),
    "number": ("uint", "int", "float", "complex"),
    "real": ("uint", "int", "float"),
    "integer": ("uint", "int"),
    "complex": ("complex",),
    "bool": ("bool",),
    "integer or bool": ("uint", "int", "bool"),
    "number or bool": ("uint", "int", "float", "complex", "bool"),
    "any": ("uint", "int", "float", "complex", "bool", "string", "resource"),
}

_new = tuple.__new__  # a named tuple's own constructor is three times as slow


def check_kind(x: Any, kind: str) -> None:
    """Raise unless the dtype of `x` is of that kind (a key of KINDS)."""
    if x.dtype.kind not in KINDS[kind]:
        name = getattr(x, "name", "the input")
        raise DTypeError(
            f"takes {kind} tensors", expected=kind, got=f"{name} is {x.dtype.name}", hint="tf.cast changes the dtype"
        )


def _hinted(hint: Callable[..., Any], hints: list[Any]) -> Any:
    """A hint computed from hints: scalars and vectors broadcast, unknown entries stay unknown."""
    if any(h is None for h in hints):
        return None
    lengths = {len(h) for h in hints if isinstance(h, tuple)}
    try:
        if not lengths:
            return hint(*hints)
        if len(lengths) > 1:
            return None
        rows = [h if isinstance(h, tuple) else (h,) * max(lengths) for h in hints]
        return tuple(None if None in row else hint(*row) for row in zip(*rows, strict=True))
    except (ArithmeticError, ValueError):
        return None


def elementwise(
    kind: str = "number", out: DType | None = None, hint: Callable[..., Any] | None = None
) -> Callable[..., TensorSpec]:
    """Any number of inputs that broadcast together; `out` is the dtype of the result if it is not the inputs'.

    `hint` computes small integer values (shape arithmetic) while the graph is built.
    """
    kinds = KINDS[kind]

    def infer(*inputs: Any, **attrs: Any) -> TensorSpec:
        first = inputs[0]
        if first.dtype.kind not in kinds:
            check_kind(first, kind)
        dims = first.dims
        for x in inputs[1:]:
            if x.dims != dims or dims is None or None in dims:
                dims = spec.broadcast(dims, x.dims)
        known = None
        if hint is not None and first.dtype.is_integer:
            known = _hinted(hint, [x.hint for x in inputs])
        return _new(TensorSpec, (out or first.dtype, dims, known))

    infer.pointwise = True  # type: ignore[attr-defined]  # the ops that use it are: see `opdef.op`
    return infer


def comparison(kind: str = "number or bool") -> Callable[..., TensorSpec]:
    """Elementwise with a boolean result."""
    return elementwise(kind, out=bool_)


def like_first(x: Any, *others: Any, **attrs: Any) -> TensorSpec:
    """dtype and shape of the first input."""
    return TensorSpec(x.dtype, x.dims, x.hint)


def reduction(kind: str = "number", out: DType | None = None) -> Callable[..., TensorSpec]:
    """Inputs (x), attributes axis (tuple or None) and keepdims."""

    def infer(x: Any, *, axis: tuple[int, ...] | None, keepdims: bool) -> TensorSpec:
        check_kind(x, kind)
        return TensorSpec(out or x.dtype, spec.reduced(x.dims, axis, keepdims))

    return infer


def hinted_dims(shape: Any, what: str = "shape") -> spec.Dims:
    """The dims that an integer vector `shape` stands for, as far as its value is known while building."""
    if not shape.dtype.is_integer:
        raise DTypeError(f"a {what} is a vector of integers", expected="int32 or int64", got=shape.dtype.name)
    spec.merge(shape.dims, (None,))
    if shape.hint is not None:
        return tuple(shape.hint)
    if shape.dims is None or shape.dims[0] is None:
        return None
    rank: int = shape.dims[0]
    return (None,) * rank
