"""What Python and NumPy say of arguments that make no sense, said as the library's own errors.

Policy: arguments are not checked one by one where the work itself finds out.  What then comes up as an error of
Python's gets the name of the function, what it takes and what came; the error of Python's is its cause.

State: none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphflow.errors import DTypeError, Error, InvalidArgumentError, OutOfRangeError, shown
from graphflow.tensor import Tensor

_INSTEAD: dict[type[Exception], type[Error]] = {
    TypeError: DTypeError, AttributeError: DTypeError, ValueError: InvalidArgumentError,
    ArithmeticError: InvalidArgumentError, LookupError: OutOfRangeError,
}  # fmt: skip
PYTHONS = tuple(_INSTEAD)
_ASKED_OF_TENSORS = frozenset({"dims", "dtype", "value", "graph", "op", "shape"})


def explained(
    function: Callable[..., Any], error: Exception, arguments: Sequence[Any], named: Mapping[str, Any]
) -> Exception:
    """The library's error that stands for one of Python's; its own errors are what they are."""
    if isinstance(error, Error):
        return error
    kind = next(mine for theirs, mine in _INSTEAD.items() if isinstance(error, theirs))
    came = [*map(_described, arguments), *(f"{name}={_described(value)}" for name, value in named.items())]
    name = function.__name__.rstrip("_")
    return kind(
        f"{name}: {_reason(error)}", expected=f"{name}({_parameters(function)})", got=", ".join(came) or "nothing"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, AttributeError) and error.name in _ASKED_OF_TENSORS and not isinstance(error.obj, Tensor):
        return f"a {type(error.obj).__name__} stands where a tensor is wanted"
    return " ".join(str(error).split())


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {value.dtype.name}{'' if value.dims is None else list(value.dims)}"
    return shown(value, 40)


def _parameters(function: Callable[..., Any]) -> str:
    """The parameters, without what they are annotated with."""
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in inspect.signature(function).parameters.values()]
    return str(inspect.Signature(plain))[1:-1]
