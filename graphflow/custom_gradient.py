"""`custom_gradient`: a function of tensors together with its derivative, written by the user.

Policy: the function's results pass through one op whose gradient is the user's; what is inside is not differentiated.

State: none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from graphflow import constants, nest
from graphflow.errors import InvalidArgumentError
from graphflow.opdef import RegisterGradient, call, op
from graphflow.ops.core import name_scope
from graphflow.spec import TensorSpec


def _infer(*inputs: Any, results: int, **attrs: Any) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(x.dtype, x.dims, x.hint) for x in inputs[:results])


@op("CustomGradient", infer=_infer, same_dtype=None, result=lambda *outputs: outputs)
def _with_gradient(results: Any, arguments: Any, derivative: Callable[..., Any]) -> Any:
    return call((*results, *arguments), None, results=len(results), derivative=derivative)


@RegisterGradient("CustomGradient")
def _custom_gradient(operation: Any, *grads: Any) -> list[Any]:
    count = operation.attrs["results"]
    wanted = len(operation.inputs) - count
    found = operation.attrs["derivative"](*grads)
    found = list(found) if isinstance(found, (list, tuple)) else [found]
    if len(found) != wanted:
        raise InvalidArgumentError(
            f"a custom gradient returned {len(found)} gradients",
            op=operation,
            expected=f"{wanted}, one for each argument",
        )
    return [None] * count + found


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a function that returns `(results, grad_fn)`; `grad_fn(*dys)` gives a gradient per argument."""

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with name_scope(None, "custom_gradient"):
            arguments = [constants.convert_to_tensor(a) for a in args]
            found = f(*arguments, **kwargs)
            if not isinstance(found, tuple) or len(found) != 2 or not callable(found[1]):
                raise InvalidArgumentError(
                    f"{getattr(f, '__name__', 'the function')} must return its result and its gradient function",
                    expected="return y, grad",
                    got=repr(found)[:80],
                )
            results, derivative = found
            flat = [constants.convert_to_tensor(r) for r in nest.flatten(results)]
            return nest.pack(results, list(_with_gradient(flat, arguments, derivative)))

    return wrapper
