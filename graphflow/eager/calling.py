"""How PyTorch's functions may be called: the names of arguments, `out=`, and what is said of those that make no sense.

Policy: NumPy's words for arguments are understood, and what may come one by one may come under its name.  Arguments are
not checked one by one where the work itself finds out: what then comes up as an error of Python's gets the name of the
function, what it takes and what came; the error of Python's is its cause.

State: none.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from graphflow.errors import (
    DTypeError,
    Error,
    FailedPreconditionError,
    InvalidArgumentError,
    OutOfRangeError,
    ShapeError,
    shown,
)
from graphflow.tensor import Tensor

P = ParamSpec("P")
T = TypeVar("T")

# -- words -------------------------------------------------------------------------------------------------------------

_WORDS = {"axis": "dim", "keepdims": "keepdim", "ddof": "correction"}  # NumPy's, of which PyTorch takes the first two
_SEVERAL = frozenset({"dims", "size", "shape", "repeats"})  # PyTorch's names of what may also come one by one
_TAKES_SEVERAL = 0x04  # of `co_flags`: there is a parameter like `*dims`


def other_words(function: Callable[..., Any]) -> frozenset[str]:
    """What arguments may be called that are not the function's own words."""
    code = function.__code__
    own = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    words = {"out", *(word for word, name in _WORDS.items() if name in own)}
    return frozenset(words | _SEVERAL if code.co_flags & _TAKES_SEVERAL else words).difference(own)


def respelled(function: Callable[..., Any], words: frozenset[str], arguments: Any, named: dict[str, Any]) -> Any:
    """The function, called in its own words; what it gives goes to `out`."""
    out = named.pop("out", None)
    if named.get("dtype", out) is None:
        named.pop("dtype", None)  # which NumPy hands on to functions that take none
    given = (named.pop("input"),) if not arguments and "input" in named else arguments
    sizes = [named.pop(name) for name in _SEVERAL & words if name in named]
    found = function(*given, *sizes, **{_WORDS.get(name, name): value for name, value in named.items()})
    if out is None:
        return found
    several = isinstance(out, (tuple, list))
    if several != isinstance(found, (tuple, list)) or several and len(out) != len(found):
        raise InvalidArgumentError(
            f"{function.__name__}: out= takes a tensor for each result",
            expected=f"a tuple of {len(found)}" if isinstance(found, (tuple, list)) else "one tensor",
            got=f"a {type(out).__name__}{f' of {len(out)}' if several else ''}",
        )
    if several:
        parts = [into(x, y) for x, y in zip(out, found, strict=True)]
        return type(found)(*parts) if hasattr(found, "_fields") else tuple(parts)
    return into(out, found)


def into(out: Any, found: Any) -> Any:
    """What was computed, in a tensor that is there already."""
    if not hasattr(out, "copy_") or getattr(found, "requires_grad", False) or getattr(out, "requires_grad", False):
        raise FailedPreconditionError(
            "out= takes an eager tensor, and nothing that gradients go through", got=repr(out)[:80],
            hint="y = f(x); or with torch.no_grad():",
        )  # fmt: skip
    if hasattr(found, "value") and not out.shape.numel() and found.shape.numel():
        out.value = np.zeros(found.dims, out.dtype.np)  # an empty tensor becomes as large as it has to be
    if out.dims != found.dims or not np.can_cast(found.dtype.np, out.dtype.np, "same_kind"):
        raise ShapeError(
            "the result does not fit into out=", expected=f"{found.dtype.name}{list(found.dims)}",
            got=f"{out.dtype.name}{list(out.dims)}", hint="out=torch.empty(0) takes any shape",
        )  # fmt: skip
    return out.copy_(found)


# -- mistakes ----------------------------------------------------------------------------------------------------------

_INSTEAD: dict[type[Exception], type[Error]] = {
    TypeError: DTypeError, AttributeError: DTypeError, ValueError: InvalidArgumentError,
    ArithmeticError: InvalidArgumentError, LookupError: OutOfRangeError,
}  # fmt: skip
PYTHONS = tuple(_INSTEAD)
# Hints of ops, which speak as TensorFlow does, to who has asked in PyTorch's words.
IN_TORCH: dict[str | None, str] = {
    "tf.cast changes the dtype": "x.to(dtype) changes the dtype",
    "tf.cast(x, tf.int32)": "x.long()",
    "tf.gather(x, indices)": "x[indices]",
    "tf.not_equal(x, 0)": "x != 0",
    "tf.stack makes a vector of scalars": "torch.stack makes a vector of scalars",
    "tf.expand_dims makes a matrix of a vector": "x.unsqueeze(0) makes a matrix of a vector",
    "tf.expand_dims adds a batch or channel axis, tf.reshape makes images of vectors":
        "x.unsqueeze(0) adds a batch or channel axis, x.view makes images of vectors",
}  # fmt: skip
_ASKED_OF_TENSORS = frozenset({"dims", "dtype", "value", "graph", "op", "shape"})


def explained(
    function: Callable[..., Any], error: Exception, arguments: Sequence[Any], named: Mapping[str, Any]
) -> Exception:
    """The library's error that stands for one of Python's."""
    kind = next(mine for theirs, mine in _INSTEAD.items() if isinstance(error, theirs))
    made = function.__name__ == "__init__"  # of an object that is not finished, and goes without saying
    came = [*map(_described, arguments[made:]), *(f"{name}={_described(value)}" for name, value in named.items())]
    name = type(arguments[0]).__name__ if made else function.__name__.rstrip("_")
    wanted = f"{name}({_parameters(function, made)})"
    return kind(f"{name}: {_reason(error)}", expected=wanted, got=", ".join(came) or "nothing")


def _reason(error: Exception) -> str:
    if isinstance(error, AttributeError) and error.name in _ASKED_OF_TENSORS and not isinstance(error.obj, Tensor):
        return f"a {type(error.obj).__name__} stands where a tensor is wanted"
    return " ".join(str(error).split())


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {value.dtype.name}{'' if value.dims is None else list(value.dims)}"
    return shown(value, 40)


def _parameters(function: Callable[..., Any], without_self: bool) -> str:
    """The parameters, without what they are annotated with."""
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in inspect.signature(function).parameters.values()]
    return str(inspect.Signature(plain[without_self:]))[1:-1]


def checked(function: Callable[P, T], name: str = "") -> Callable[P, T]:
    """The function, with its errors and words; those that take tensors are `placed` as well."""
    if name:
        function.__name__ = function.__qualname__ = name
    words = other_words(function)

    @functools.wraps(function)
    def wrapper(*arguments: P.args, **named: P.kwargs) -> T:
        if named and not words.isdisjoint(named):
            return cast(T, respelled(wrapper, words, arguments, named))
        try:
            return function(*arguments, **named)
        except PYTHONS as error:
            if isinstance(error, Error):
                error.hint = IN_TORCH.get(error.hint, error.hint)
                raise
            raise explained(function, error, arguments, named) from error

    return wrapper
