"""What gradients go through on their way: `register_hook`, and hooks for when `.grad` has been added to.

Policy: PyTorch's rules.  A hook sees the whole gradient of its tensor, before it goes further back, and may return
another of the same shape.  Hooks of a tensor that was computed belong to the op that made it: they stay when the
tensor itself is forgotten, and when it is changed in place.

State: the hooks of what was computed, by the record; whether there was ever one, so that others pay nothing.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

from graphflow.eager.tensor import REQUIRED, EagerTensor, Record, check_gradient
from graphflow.errors import FailedPreconditionError, InvalidArgumentError, shown

Hook = Callable[[Any], Any]
_of_records: weakref.WeakKeyDictionary[Record, dict[int, dict[int, Hook]]] = weakref.WeakKeyDictionary()
_number = itertools.count()
used = [False]


class RemovableHandle:
    """What `register_hook` returns: `remove()` takes the hook away; so does the end of a `with` block."""

    def __init__(self, hooks: dict[int, Any], number: int) -> None:
        self._hooks, self.id = hooks, number

    def remove(self) -> None:
        """The hook is not called any longer."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def _table(x: EagerTensor) -> dict[int, Any]:
    """The hooks of a tensor, to add to."""
    if x.origin is not None:
        found: dict[int, Any] = _of_records.setdefault(x.origin, {}).setdefault(x.index, {})
        return found
    if not hasattr(x, "hooks"):
        x.hooks = {}
    return x.hooks


def _added(x: EagerTensor, hook: Any, entry: Any) -> RemovableHandle:
    if not callable(hook):
        raise InvalidArgumentError("a hook is a function", got=shown(hook), hint="x.register_hook(lambda grad: ...)")
    used[0] = True
    hooks, number = _table(x), next(_number)
    hooks[number] = entry
    return RemovableHandle(hooks, number)


def register_hook(self: EagerTensor, hook: Hook) -> RemovableHandle:
    """Call `hook(grad)` when the gradient of this tensor is known; what it returns, if anything, takes its place."""
    if self.track != REQUIRED:
        raise FailedPreconditionError(
            "a hook waits for the gradient of a tensor that requires none",
            got=repr(self)[:80],
            hint="x.requires_grad_(), before it is used",
        )
    return _added(self, hook, hook)


class _Afterwards:
    """A hook for when `.grad` has been added to."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook


def register_post_accumulate_grad_hook(self: EagerTensor, hook: Hook) -> RemovableHandle:
    """Call `hook(x)` when `backward` has added to `x.grad`; only leaves have that."""
    if self.track != REQUIRED or self.origin is not None:
        raise FailedPreconditionError(
            "only for a leaf that requires gradients is .grad added to", got=repr(self)[:80], hint="x.register_hook"
        )
    return _added(self, hook, _Afterwards(hook))


def passed(x: EagerTensor, gradient: Any) -> Any:
    """The gradient of x after its hooks."""
    found = getattr(x, "hooks", None) if x.origin is None else _of_records.get(x.origin, {}).get(x.index)
    for hook in list(found.values()) if found else ():
        if isinstance(hook, _Afterwards):
            continue
        other = hook(gradient)
        if other is not None:
            check_gradient(x, other)
            gradient = other
    return gradient


def added_to(x: EagerTensor) -> None:
    """Tell those who wait for it that `.grad` of x has been added to."""
    for hook in list(getattr(x, "hooks", {}).values()):
        if isinstance(hook, _Afterwards):
            hook.hook(x)


METHODS: dict[str, Callable[..., Any]] = {
    "register_hook": register_hook, "register_post_accumulate_grad_hook": register_post_accumulate_grad_hook,
}  # fmt: skip
