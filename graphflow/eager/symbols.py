"""`Symbol`: a tensor of a trace, which has PyTorch's methods, so that one Python function serves both modes.

Policy: the methods are those of eager tensors, taken over from their tables where they need no value; what needs one,
or changes a tensor in place, is refused with what there is instead.  `==` is elementwise while the trace is made, and
Python's own afterwards, when compilers and sessions ask whether two tensors are the same.

State: none; fills the class on import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphflow import dtypes
from graphflow.defaults import stacks
from graphflow.eager import inplace, methods, pointwise, promotion, reductions, shaping
from graphflow.eager.methods import METHODS
from graphflow.eager.tensor import Size
from graphflow.errors import SymbolicUseError
from graphflow.ops import casts, core
from graphflow.spec import is_concrete
from graphflow.tensor import Tensor

CASTS = {name: METHODS[name] for name in ("float", "double", "half", "long", "int", "short", "bool")}
SHARED = ("size", "dim", "ndimension", "nelement", "is_floating_point", "astype", "where", "ravel", "view_as")
_COMPARABLE = (*methods.COMPARABLE, Tensor)
_WITHOUT_VALUE = {
    "numpy": "return it: what a traced function returns has a value",
    "item": "return it: what a traced function returns has a value",
    "tolist": "return it: what a traced function returns has a value",
    "backward": "return the loss, and call backward() on what the traced function returns",
    "requires_grad_": "say that before the call, of the tensor that is passed in",
}


class Symbol(Tensor):
    """What stands for an eager tensor while a function is traced."""

    __slots__ = ()

    @property
    def shape(self) -> Any:
        """A tuple where it is known, which it is unless the input signature leaves it open."""
        return Size(self.dims) if is_concrete(self.dims) else super().shape

    def to(self, *where: Any, dtype: Any = None, device: Any = None, **options: Any) -> Any:
        """The tensor in another dtype; where it is computed is the session's business."""
        for item in where:
            dtype = getattr(item, "dtype", dtype) if isinstance(item, Tensor) else dtype
            dtype = item if hasattr(item, "is_floating") else dtype
        return self if dtype is None else casts.cast(self, dtype)

    def detach(self) -> Any:
        """The same value, cut off from gradients."""
        return core.stop_gradient(self)

    def clone(self) -> Any:
        """The same value: in a graph nothing changes in place."""
        return core.identity(self)

    def contiguous(self) -> Any:
        """Itself."""
        return self

    cpu = contiguous


def _elementwise(name: str) -> Callable[..., Any]:
    function = pointwise.FUNCTIONS[name]

    def method(self: Any, other: Any) -> Any:
        graphs = stacks.graphs
        if not graphs or graphs[-1].computes or not isinstance(other, _COMPARABLE):
            return NotImplemented
        return function(*_met(self, other))

    return method


def _met(x: Any, other: Any) -> tuple[Any, Any]:
    """Both operands in the dtype in which PyTorch has them meet."""
    y: Any = other
    if isinstance(other, Tensor):
        found = promotion.result_type(x, y)
        return promotion.as_dtype_of(x, found), promotion.as_dtype_of(y, found)
    return promotion._beside(x, y)


def _operator(name: str, reflected: bool) -> Callable[..., Any]:
    function = methods.function_of(name)

    def method(self: Any, other: Any) -> Any:
        x, y = (self, other) if name == "matmul" else _met(self, other)
        if name == "div" and x.dtype.is_integer:
            x, y = casts.cast(x, dtypes.float32), casts.cast(y, dtypes.float32)
        return function(y, x) if reflected else function(x, y)

    return method


def _refused(name: str, hint: str) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        raise SymbolicUseError(f"{name}() in a traced function: the tensor has no value yet", op=self.op, hint=hint)

    return method


def _attach() -> None:
    tables: dict[str, Any] = {**pointwise.FUNCTIONS, **reductions.METHODS, **shaping.METHODS, **CASTS}
    tables |= {name: METHODS[name] for name in SHARED}
    for name, method in tables.items():
        if name not in Symbol.__dict__:
            setattr(Symbol, name, method)
    for name in inplace.METHODS:
        if not name.startswith("__"):
            setattr(Symbol, name, _refused(name, f"nothing changes in place in a graph: x = x.{name.rstrip('_')}(...)"))
    for name, hint in _WITHOUT_VALUE.items():
        setattr(Symbol, name, _refused(name, hint))
    for short, name in {**methods.OPERATORS, "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}.items():
        setattr(Symbol, f"__{short}__", _operator(name, False))
        if short in methods.OPERATORS:
            setattr(Symbol, f"__r{short}__", _operator(name, True))
    for name, function in (("__eq__", "eq"), ("__ne__", "ne")):
        setattr(Symbol, name, _elementwise(function))
    Symbol.__hash__ = object.__hash__  # type: ignore[method-assign]
    Symbol.T = property(shaping.swap_all)  # type: ignore[attr-defined]


_attach()
