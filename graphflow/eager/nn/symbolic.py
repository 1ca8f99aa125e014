"""PyTorch's methods on the tensors of a graph, while a module's `forward` is running: `x.view(-1, 28 * 28)`.

Policy: one model serves both modes, so what its `forward` may ask of a value it may ask of a tensor without one, as far
as that makes sense; the methods are those of traced functions.  Elsewhere the tensors of a graph speak TensorFlow
alone.  A size that is not known yet is a tensor, which `view` and `reshape` take.

State: per thread, how many calls of modules on symbolic tensors are under way; fills hooks of the class on import.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from graphflow.eager import pointwise, reductions, shaping
from graphflow.eager.adoption import naming
from graphflow.eager.indexing import getitem_of_graph
from graphflow.eager.symbols import CASTS, SHARED, Symbol
from graphflow.eager.traced import module_call
from graphflow.ops import array
from graphflow.tensor import Tensor


class _Inside(threading.local):
    """What holds in one thread."""

    def __init__(self) -> None:
        self.calls = 0


_inside = _Inside()


def _size(x: Any, dim: int | None = None) -> Any:
    """All sizes, or that of one axis; a tensor where it is not known."""
    sizes = [array.shape(x)[i] if d is None else d for i, d in enumerate(x.dims)]
    return tuple(sizes) if dim is None else sizes[dim]


def _view(x: Any, *shape: Any) -> Any:
    """The elements in another shape; -1 stands for the size that is left."""
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    return array.reshape(x, list(sizes))


def _getitem(self: Tensor, key: Any) -> Any:
    """`x[:, torch.arange(2)]` while a module is called; elsewhere TensorFlow's keys."""
    return getitem_of_graph(self, key) if _inside.calls else _of_graphs(self, key)


_MAKERS = ("new_zeros", "new_ones", "new_full", "new_empty", "new_tensor")
_NAMES = {*pointwise.FUNCTIONS, *reductions.METHODS, *shaping.METHODS, *CASTS, *SHARED}
_METHODS: dict[str, Callable[..., Any]] = {
    **{name: getattr(Symbol, name) for name in (*_NAMES, *_MAKERS, "to", "detach", "clone", "contiguous", "cpu")},
    "size": _size, "view": _view, "reshape": _view, "flatten": shaping.flatten,
}  # fmt: skip


def _method(self: Tensor, name: str) -> Any:
    """What `x.name` is if the class has no such attribute."""
    if _inside.calls and name in _METHODS:
        return functools.partial(_METHODS[name], self)
    raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def inside(module: Any, call: Callable[[], Any]) -> Any:
    """Make a call of a module, in which tensors have PyTorch's methods."""
    if not _inside.calls:
        naming.module, naming.paths, module_call.numbers = module, None, {}
    _inside.calls += 1
    try:
        return call()
    finally:
        _inside.calls -= 1
        if not _inside.calls:
            naming.module = naming.paths = module_call.numbers = None


def _compared(name: str) -> Callable[[Tensor, object], Any]:
    """`x == 0` of each element while a module is called; elsewhere it asks whether two tensors are the same."""
    elementwise = getattr(Symbol, name)

    def method(self: Tensor, other: object) -> Any:
        return elementwise(self, other) if _inside.calls else NotImplemented

    return method


Tensor.__eq__ = _compared("__eq__")  # type: ignore[method-assign, assignment]
Tensor.__ne__ = _compared("__ne__")  # type: ignore[method-assign, assignment]
_of_graphs = Tensor.__getitem__
Tensor.__getitem__ = _getitem  # type: ignore[method-assign, assignment]
Tensor.__getattr__ = _method  # type: ignore[attr-defined]
