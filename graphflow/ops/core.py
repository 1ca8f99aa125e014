"""The ops that every graph has: constants, placeholders, identity, grouping.

State: none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow import casting, constants, dtypes, spec
from graphflow.dtypes import as_dtype
from graphflow.errors import DTypeError, GradientLookupError, InvalidArgumentError, ShapeError
from graphflow.graph import get_default_graph
from graphflow.opdef import call, op
from graphflow.ops.inference import like_first
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation, Tensor
from graphflow.tensor_shape import as_dims


def name_scope(
    name: str | None, default_name: str | None = None, values: Any = None
) -> contextlib.AbstractContextManager[str]:
    """Prefix the names of the ops built inside; `default_name` is used where `name` is None."""
    return get_default_graph().name_scope(default_name if name is None else name)


def _known(*, dtype: dtypes.DType, dims: spec.Dims = None, **attrs: Any) -> TensorSpec:
    return TensorSpec(dtype, dims)


@op(
    "Const",
    infer=lambda *, value, dtype: TensorSpec(dtype, value.shape, constants.value_hint(value)),
    differentiable=False,
)
def _const(value: Any, name: str | None = None) -> Any:
    dtype = dtypes.string if value.dtype == object else as_dtype(value.dtype)
    return call((), name, value=value, dtype=dtype)


def constant(
    value: Any, dtype: Any = None, shape: Any = None, name: str = "Const", verify_shape: bool = False
) -> Tensor:
    """A constant; with `shape` a shorter value is filled up with its last element, as TensorFlow 1 does."""
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        raise DTypeError(
            "a constant is made of a value, not of a tensor",
            hint="tf.identity(x) copies a tensor",
        )
    wanted = None if dtype is None else as_dtype(dtype)
    array = casting.as_array(constants._plain(value), wanted)
    if shape is not None:
        array = _filled(array, as_dims(shape), verify_shape)
    value = constants.freeze(array if array.ndim else array.reshape(()))
    known = dtypes.string if value.dtype == object else as_dtype(value.dtype)
    return constants.constant_tensor(value, known, get_default_graph(), name)


def _filled(array: np.ndarray[Any, Any], dims: spec.Dims, verify: bool) -> np.ndarray[Any, Any]:
    if dims is None or None in dims:
        raise ShapeError("a constant needs a complete shape", got=spec.describe(dims))
    shape = tuple(int(d or 0) for d in dims)
    total = spec.numel(shape)
    if array.shape == shape:
        return array
    if verify or array.size > total or array.size == 0 and total:
        raise ShapeError(
            "the value does not fit the shape", expected=spec.describe(dims), got=spec.describe(array.shape)
        )
    out = np.empty(total, array.dtype)
    flat = array.ravel()
    out[: flat.size] = flat
    if flat.size < total:
        out[flat.size :] = flat[-1]
    return out.reshape(shape)


def convert_to_tensor(
    value: Any, dtype: Any = None, name: str | None = None, preferred_dtype: Any = None, dtype_hint: Any = None
) -> Tensor:
    """The value as a tensor: tensors and variables as they are, everything else as a constant."""
    preferred = preferred_dtype if preferred_dtype is not None else dtype_hint
    if dtype is None and preferred is not None:
        try:
            return constants.convert_to_tensor(value, as_dtype(preferred), name)
        except DTypeError:
            pass
    return constants.convert_to_tensor(value, None if dtype is None else as_dtype(dtype), name)


@op("Placeholder", infer=_known, differentiable=False)
def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Any:
    """A tensor whose value comes from `feed_dict`."""
    return call((), name, dtype=as_dtype(dtype), dims=as_dims(shape))


@op("Arg", infer=_known, differentiable=False)
def _argument(dtype: Any, dims: Any, index: int) -> Any:
    return call((), "arg", dtype=dtype, dims=dims, index=index)


def _with_default(x: Any, *, dims: spec.Dims) -> TensorSpec:
    if not spec.compatible(x.dims, dims):
        raise ShapeError("the default does not fit the shape", expected=spec.describe(dims), got=spec.describe(x.dims))
    return TensorSpec(x.dtype, dims)


@op("PlaceholderWithDefault", infer=_with_default, weight=0)
def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Any:
    """A tensor that has the value `input` unless it is fed."""
    return call((input,), name, dims=as_dims(shape))


placeholder_with_default.vjp(lambda op, dy: dy)


@op("Identity", infer=like_first, noop=True, weight=0)
def identity(input: Any, name: str | None = None) -> Any:
    """The same value under another name (and behind the control dependencies in force)."""
    return call((input,), name)


identity.vjp(lambda op, dy: dy)


@op("StopGradient", infer=like_first, noop=True, weight=0)
def stop_gradient(input: Any, name: str | None = None) -> Any:
    """The same value, treated as a constant by `gradients`."""
    return call((input,), name)


stop_gradient.vjp(None)


@op("PreventGradient", infer=like_first, noop=True, weight=0)
def prevent_gradient(input: Any, message: str = "", name: str | None = None) -> Any:
    """The same value; asking for a gradient through it is an error that shows `message`."""
    return call((input,), name, message=str(message))


def _prevented(op: Operation, dy: Any) -> Any:
    raise GradientLookupError(f"the gradient is prevented here: {op.attrs['message']}", op=op)


prevent_gradient.vjp(_prevented)


@op("NoOp", infer=lambda **_: (), differentiable=False, weight=0)
def no_op(name: str | None = None) -> Any:
    """Does nothing; something to hang control dependencies on."""
    return call((), name)


def group(*inputs: Any, name: str | None = None, **kwargs: Any) -> Operation:
    """An op that is done when all `inputs` (ops, tensors, variables, lists of these) are done."""
    if kwargs:
        raise InvalidArgumentError(f"group() has no parameter {sorted(kwargs)}", expected="name")
    flat = [x for item in inputs for x in (item if isinstance(item, (list, tuple)) else (item,)) if x is not None]
    graph = get_default_graph()
    with graph.control_dependencies([x.op if hasattr(x, "op") else x for x in flat]):
        done: Any = no_op(name=name or "group_deps")
    return done  # type: ignore[no-any-return]


def tuple_(tensors: Sequence[Any], name: str | None = None, control_inputs: Sequence[Any] | None = None) -> list[Any]:
    """The same tensors, each available only when all of them (and `control_inputs`) are done."""
    present = [t for t in tensors if t is not None]
    with name_scope(name, "tuple"):
        gate = group(*present, *(control_inputs or ()))
        with get_default_graph().control_dependencies([gate]):
            return [None if t is None else identity(t) for t in tensors]


def with_dependencies(dependencies: Sequence[Any], output: Any, name: str | None = None) -> Tensor:
    """`output`, available only when the dependencies are done."""
    with get_default_graph().control_dependencies(dependencies):
        found: Any = identity(output, name=name)
    return found  # type: ignore[no-any-return]


def control_dependencies(control_inputs: Any) -> Any:
    """Ops built inside wait for `control_inputs`."""
    return get_default_graph().control_dependencies(control_inputs)


def device(name: Any) -> Any:
    """Ask for a device for the ops built inside."""
    return get_default_graph().device(name)


def colocate_with(op: Any, ignore_existing: bool = False) -> Any:
    """Build on the device of another op."""
    return get_default_graph().colocate_with(op, ignore_existing)


def composite(default_name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator for functions made of ops: what they build stands under one name scope, that of `name=`."""
    import functools

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def scoped(*args: Any, name: str | None = None, **kwargs: Any) -> Any:
            with get_default_graph().name_scope(name or default_name):
                return function(*args, **kwargs)

        return scoped

    return wrap
