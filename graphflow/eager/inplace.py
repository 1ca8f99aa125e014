"""Changes in place: `add_`, `zero_`, `+=`, `x[i] = v`, and what they mean for gradients.

Policy: PyTorch's rules.  A leaf that requires gradients is changed under `no_grad` only.  Every change is counted in
`memory`, which views share, so that a derivative that reads what is no longer there refuses; what a change means for
tensors and views that were used before or are used after it is the business of `history`.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.defaults import stacks
from graphflow.eager import history, indexing, pointwise, shaping
from graphflow.eager.engine import EAGER, here
from graphflow.eager.mode import placed
from graphflow.eager.placement import move
from graphflow.eager.tensor import DEVICES, REQUIRED, UNTRACKED, EagerTensor
from graphflow.eager.traced import made_here, trace_here
from graphflow.errors import DTypeError, FailedPreconditionError, OutOfRangeError, ShapeError, shown
from graphflow.ops import array, casts
from graphflow.tensor import Tensor

# -- changing --------------------------------------------------------------------------------------------------------


def change(x: EagerTensor, function: Callable[..., Any], *others: Any) -> EagerTensor:
    """Make x what `function(x, *others)` is."""
    graph = trace_here()
    if graph is not None and not graph.is_constant((x, *others)):
        traced: EagerTensor = graph.change(x, function, others)
        return traced
    recorded = _recorded(x, others)
    check_changeable(x, recorded)
    if recorded:
        history.up_to_date(x)
    old = history.as_it_is(x) if recorded else x
    with EAGER.as_default():
        new = function(history.copy_of(old) if recorded else x, *others)
        if not isinstance(new, EagerTensor):
            new = EagerTensor(x.dtype.type(new), x.dtype)
        new = fitting(x, new)
        if new.device != x.device:
            new = move(new, x.device)
    _write(x, new.value)
    if recorded:
        history.replaced(x, old, new)
    else:
        x.touched()[0] += 1
    return x


def _recorded(x: EagerTensor, others: Sequence[Any]) -> bool:
    track = x.track
    for other in others:
        if type(other) is EagerTensor and other.track > track:
            track = other.track
    return bool(track and here.records and (here.tapes or track == REQUIRED))


def check_changeable(x: EagerTensor, recorded: bool) -> None:
    """Raise if this tensor may not be changed in place here."""
    if recorded:
        base = history.base_of(x)
        leaf = x if base is None or x.track == REQUIRED and x.origin is None else base
        if leaf.origin is None and leaf.track == REQUIRED:
            what = "a leaf that requires gradients" if leaf is x else "a view of a leaf that requires gradients"
            raise FailedPreconditionError(
                f"{what} is changed in place, where gradients are recorded",
                got=repr(x)[:80],
                hint="with torch.no_grad(): around an update; x = x + y makes a new tensor",
            )
        if base is not None and base.track and not x.track:
            raise FailedPreconditionError(
                "a view that was made under no_grad is changed where gradients are recorded",
                got=repr(x)[:80],
                hint="make the view outside of no_grad, or change it inside",
            )
    if _is_apart(x):
        raise FailedPreconditionError(
            f"a view on {x.device} shares no memory, so what it shows would not change with it",
            got=repr(x)[:80],
            hint="x[i] = v and x.copy_(y) change x itself; x.clone() is another tensor",
        )
    if type(x.value) is np.ndarray and not x.value.flags.writeable:
        raise FailedPreconditionError(
            "this memory cannot be written: it is a constant's, or expanded, where one element stands for several",
            got=repr(x)[:80],
            hint="x.clone() has memory of its own",
        )


def _is_apart(x: EagerTensor) -> bool:
    """Whether it is a view on a device, where views are copies, and what it would show is in use."""
    return type(x.value) in DEVICES and hasattr(x, "apart") and x.apart() is not None


def fitting(x: Any, new: Any) -> Any:
    """The new value in the dtype and shape of x."""
    if new.dtype is not x.dtype:
        if not np.can_cast(new.dtype.np, x.dtype.np, "same_kind"):
            raise DTypeError(
                f"a result of {new.dtype.name} does not fit into a tensor of {x.dtype.name}",
                hint="x = x + y makes a new tensor of the wider dtype",
            )
        new = casts.cast(new, x.dtype)
    if new.dims != x.dims:
        raise ShapeError(
            "a change in place cannot change the shape",
            expected=str(list(x.dims)),
            got=str(list(new.dims)),
            hint="x = x + y makes a new tensor",
        )
    return new


def _write(x: EagerTensor, value: Any) -> None:
    if type(x.value) is np.ndarray:
        np.copyto(x.value, value)
    else:
        x.value = value  # a NumPy scalar, which nobody shares


# -- the methods -----------------------------------------------------------------------------------------------------


def _method(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def method(self: EagerTensor, *others: Any, **options: Any) -> EagerTensor:
        if options:
            return change(self, lambda x, *rest: function(x, *rest, **options), *others)
        return change(self, function, *others)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"{function.__doc__} In place."
    return method


def fill_(self: EagerTensor, value: Any) -> EagerTensor:
    """One value everywhere, in place."""
    if isinstance(value, Tensor) and value.dims:
        raise ShapeError("fill_ takes one number", got=f"shape {list(value.dims)}", hint="x.copy_(y)")
    return copy_(self, value if isinstance(value, Tensor) else _of(self, value))


def zero_(self: EagerTensor) -> EagerTensor:
    """Zeros, in place."""
    return copy_(self, _of(self, 0))


def _of(x: EagerTensor, value: Any) -> EagerTensor:
    try:
        return made_here(EagerTensor(x.dtype.type(value), x.dtype))
    except OverflowError as error:
        raise _too_large(x, value, error) from None
    except (TypeError, ValueError):
        raise DTypeError("not a number", expected=x.dtype.name, got=shown(value)) from None


def _too_large(x: EagerTensor, value: Any, error: Exception) -> OutOfRangeError:
    return OutOfRangeError("a number is out of range", expected=x.dtype.name, got=shown(value), hint=str(error))


def copy_(self: EagerTensor, src: Any, non_blocking: bool = False) -> EagerTensor:
    """The elements of another tensor, in place; it broadcasts, and takes on the dtype."""
    if not isinstance(src, Tensor):
        raise DTypeError("copy_ takes a tensor", got=shown(src), hint="torch.tensor(values)")

    def copied(_: Any, other: Any) -> Any:
        found = other if other.dtype is self.dtype else casts.cast(other, self.dtype)
        return found if found.dims == self.dims else array.broadcast_to(found, list(self.dims))

    return change(self, copied, src)


def setitem(self: EagerTensor, key: Any, value: Any) -> None:
    """x[key] = value."""
    graph = trace_here()
    if graph is not None and not graph.is_constant((self, value, *(key if isinstance(key, tuple) else (key,)))):
        graph.change(self, lambda x, *v: indexing.with_elements(x, key, *v), (value,))
        return
    given = value if isinstance(value, EagerTensor) else None
    if _recorded(self, (given,)):
        if given is None:
            given = _values_for(self, value)
        if not self.dims and isinstance(key, (EagerTensor, np.ndarray)):  # a mask of one element
            change(self, lambda x, v: pointwise.where(key, v, x), given)
            return
        part = indexing.getitem(self, key)
        if part.memory is not None and part.memory is self.memory:
            copy_(part, _without_ones(given, len(part.dims)))
            return
        fitting = given if given.dtype is self.dtype else _cast(given, self.dtype)
        change(self, lambda x, v: indexing.with_elements(x, key, v), fitting)
        return
    check_changeable(self, False)
    parts = tuple([indexing._part(k) for k in (key if isinstance(key, tuple) else (key,))])
    try:
        with np.errstate(all="ignore"):
            if type(self.value) is np.ndarray:
                self.value[parts] = value if given is None else given._array()
            else:
                whole = np.array(self.value)
                whole[parts] = value if given is None else given._array()
                place, self.value = self.device, whole[()]
                self.value = move(self, place).value
    except IndexError as error:
        raise OutOfRangeError("an index is out of range", got=f"shape {list(self.dims)}", hint=str(error)) from None
    except OverflowError as error:
        raise _too_large(self, value, error) from None
    except (ValueError, TypeError) as error:
        raise _unfit(value, error) from None
    self.touched()[0] += 1


def _values_for(x: EagerTensor, value: Any) -> EagerTensor:
    """What is assigned to elements of x, if it is no tensor."""
    try:
        with np.errstate(all="ignore"):
            return EagerTensor(np.asarray(value, x.dtype.np), x.dtype)
    except OverflowError as error:
        raise _too_large(x, value, error) from None
    except (ValueError, TypeError) as error:
        raise _unfit(value, error) from None


def _unfit(value: Any, error: Exception) -> ShapeError:
    what = f"shape {list(value.dims)}" if isinstance(value, EagerTensor) else shown(value)
    return ShapeError("the value does not fit what is assigned to", got=what, hint=str(error))


@placed
def _cast(x: EagerTensor, dtype: Any) -> Any:
    return casts.cast(x, dtype)


def _without_ones(x: EagerTensor, rank: int) -> Any:
    """What is assigned may have more dimensions than where it goes, if they have one element."""
    dims = x.dims
    while len(dims) > rank and dims[0] == 1:
        dims = dims[1:]
    return x if dims == x.dims else shaping.reshape(x, *dims)


def _operator(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`x += y`: in place; a new tensor for a constant, for a view on a device, or where a graph is being built."""

    def method(self: EagerTensor, other: Any) -> Any:
        if trace_here() is None or isinstance(self, EagerTensor):
            frozen = type(self.value) is np.ndarray and not self.value.flags.writeable
            if not frozen and _is_apart(self):  # x[i] += y assigns to x afterwards; what was detached has its counter
                whole = self.apart()
                frozen = self.memory is None or whole is None or whole.memory is not self.memory
            if frozen or stacks.graphs and not stacks.graphs[-1].computes and trace_here() is None:
                return function(self, other)
        return change(self, function, other)

    method.__name__ = method.__qualname__ = name
    return method


def random_(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method that fills a tensor with draws of `function(shape, *parameters)`."""

    def method(self: EagerTensor, *parameters: Any, **named: Any) -> EagerTensor:
        return copy_(self, function(self.dims, *parameters, **named))

    method.__doc__ = f"{function.__doc__} In place."
    return method


def detach_(self: EagerTensor) -> EagerTensor:
    """Cut off from what it was computed from, in place."""
    if history.base_of(self) is not None:
        raise FailedPreconditionError(
            "a view is not detached in place: the tensor that it shows would not know",
            got=repr(self)[:80],
            hint="x.detach()",
        )
    history.cut_off(self)
    self.track = UNTRACKED
    return self


_NAMES = (
    "add", "sub", "mul", "div", "pow", "neg", "abs", "sign", "floor", "ceil", "round", "trunc", "exp", "log", "sqrt",
    "rsqrt", "square", "reciprocal", "sigmoid", "tanh", "relu", "clamp", "clip", "remainder", "floor_divide", "lerp",
    "sin", "cos", "erf", "erfc", "log2", "log10", "log1p", "expm1", "logical_not", "logical_and",
    "logical_or", "logical_xor", "bitwise_not", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift",
    "bitwise_right_shift",
)  # fmt: skip
METHODS: dict[str, Callable[..., Any]] = {
    **{f"{name}_": _method(pointwise.FUNCTIONS[name], f"{name}_") for name in _NAMES},
    "fill_": fill_, "zero_": zero_, "copy_": copy_, "detach_": detach_, "__setitem__": setitem,
    **{
        f"__i{short}__": _operator(f"__i{short}__", pointwise.FUNCTIONS[name])
        for short, name in (("add", "add"), ("sub", "sub"), ("mul", "mul"), ("truediv", "div"), ("pow", "pow"),
                            ("floordiv", "floor_divide"), ("mod", "remainder"), ("and", "bitwise_and"),
                            ("or", "bitwise_or"), ("xor", "bitwise_xor"), ("lshift", "bitwise_left_shift"),
                            ("rshift", "bitwise_right_shift"))
    },
}  # fmt: skip
