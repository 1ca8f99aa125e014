"""`Symbol`: a tensor of a trace, which has PyTorch's methods, so that one Python function serves both modes.

Policy: the methods are those of eager tensors, taken over from their tables: they are functions that serve graphs as
well.  What needs a value, or what only the caller's tensors have, is refused with what there is instead.  `==` is
elementwise while the trace is made, and Python's own afterwards, when compilers and sessions ask whether two tensors
are the same.

State: none; fills the class on import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from graphflow.defaults import stacks
from graphflow.dtypes import DType
from graphflow.eager import devices, methods, pointwise, promotion, shaping
from graphflow.eager.indexing import getitem, getitem_of_graph
from graphflow.eager.methods import METHODS, PROPERTIES
from graphflow.eager.tensor import Size
from graphflow.eager.traced import CUT, trace_here
from graphflow.errors import SymbolicUseError
from graphflow.operators import _UFUNCS, Operators
from graphflow.ops import array, core
from graphflow.ops.state import outermost
from graphflow.spec import describe, is_concrete
from graphflow.tensor import Tensor

CASTS = {name: METHODS[name] for name in ("float", "double", "half", "long", "int", "short", "bool")}
SHARED = ("size", "dim", "ndimension", "nelement", "is_floating_point", "astype", "where", "ravel", "view_as")
_COMPARABLE = (*methods.COMPARABLE, Tensor)
_RETURN_IT = "return it: what a traced function returns has a value"
_OF_THE_CALLER = "ask the tensor that is passed in, outside; a traced function serves tensors of both kinds"
# What a tensor without a value, or one that is nobody's leaf, is not asked for; with what there is instead.
_REFUSED = {
    "numpy": _RETURN_IT, "item": _RETURN_IT, "tolist": _RETURN_IT, "eval": _RETURN_IT, "_array": _RETURN_IT,
    "data_ptr": _RETURN_IT, "__dlpack__": _RETURN_IT, "__dlpack_device__": _RETURN_IT,
    "backward": "return the loss, and call backward() on what the traced function returns; "
    "function(trains=True) with an optimizer of graphflow.train does a whole step inside",
    "requires_grad_": "say that before the call, of the tensor that is passed in",
    "retain_grad": "return it, and ask what the traced function returns",
    "register_hook": "return it, and ask what the traced function returns",
    "detach_": "x = x.detach()",
}  # fmt: skip
# Python's own questions: what is asked, in words, and what there is instead.
_QUESTIONS = {
    "__float__": ("converted to a Python number", _RETURN_IT),
    "__int__": ("converted to a Python number", _RETURN_IT),
    "__complex__": ("converted to a Python number", _RETURN_IT),
    "__index__": ("used as a Python index", "pass a Python number, which is a trace of its own; x[i] takes a tensor i"),
    "__bool__": ("used as a Python bool",
                 "torch.where(condition, a, b) chooses by element, tf.cond one of two functions; `is None` is fine"),
    "__iter__": ("iterated over", "for row in x.unbind(0): ... if it has few; tf.while_loop and tf.map_fn for many"),
    "__format__": ("formatted as a number", _RETURN_IT),
    "__array__": ("converted to a NumPy array", "torch's own functions, not NumPy's; or " + _RETURN_IT),
}  # fmt: skip
_REFUSED_PROPERTIES = {
    "grad": _OF_THE_CALLER, "grad_fn": _OF_THE_CALLER, "is_leaf": _OF_THE_CALLER, "origin": _OF_THE_CALLER,
}  # fmt: skip
# Python's own questions, to which `Operators` and `Tensor` have the answers of graphs.
_OF_GRAPHS = frozenset({
    "__repr__", "__str__", "__format__", "__bool__", "__contains__", "__deepcopy__", "__array__", "__hash__",
    "__array_ufunc__", "__eq__", "__ne__",
})  # fmt: skip


class Symbol(Tensor):
    """What stands for an eager tensor while a function is traced."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"tensor(..., shape={describe(self.dims)}, dtype={self.dtype.name}, traced)"

    @property
    def shape(self) -> Any:
        """A tuple where it is known, which it is unless the input signature leaves it open."""
        return Size(self.dims) if is_concrete(self.dims) else super().shape

    @property
    def device(self) -> Any:
        """Where the trace is computed."""
        return devices.device(getattr(outermost(self.graph), "place", None) or self.op.device or "cpu")

    @property
    def requires_grad(self) -> bool:
        """False where no gradient comes through; otherwise that is for the caller to say."""
        if not (self.dtype.is_floating or self.dtype.is_complex) or self.op.gradient_type in (CUT, "StopGradient"):
            return False
        _refuse(self, "requires_grad", _OF_THE_CALLER)

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        _refuse(self, "requires_grad", _REFUSED["requires_grad_"])

    @property
    def data(self) -> Any:
        """The same value, cut off from gradients."""
        return self.detach()

    @data.setter
    def data(self, other: Any) -> None:
        _refuse(self, "data", "x = other")

    def detach(self) -> Any:
        """The same value, cut off from gradients."""
        return core.stop_gradient(self)

    def size(self, dim: int | None = None) -> Any:
        """All sizes, or one of them; a tensor where the input signature leaves it open."""
        if is_concrete(self.dims):
            return shaping.size(self, dim)
        sizes = tuple([array.shape(self)[i] if d is None else d for i, d in enumerate(self.dims or ())])
        return sizes if dim is None else sizes[dim]

    def reshape(self, *shape: Any) -> Any:
        """The elements in another shape, of which one size may be -1 or a tensor."""
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        if is_concrete(self.dims) and not any(isinstance(s, Tensor) for s in sizes):
            return shaping.reshape(self, *sizes)
        return array.reshape(self, list(sizes))

    def view(self, *shape: Any) -> Any:
        """The elements in another shape, or read as another dtype of the same width."""
        return shaping.view(self, *shape) if shape and isinstance(shape[0], DType) else self.reshape(*shape)

    def __len__(self) -> int:
        if not is_concrete(self.dims):
            return Operators.__len__(self)
        return methods.check_len(self)  # type: ignore[arg-type]

    def __getitem__(self, key: Any) -> Any:
        return getitem(self, key) if is_concrete(self.dims) else getitem_of_graph(self, key)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        short = _UFUNCS.get(ufunc.__name__)
        if short is None or method != "__call__" or options:
            return super().__array_ufunc__(ufunc, method, *inputs, **options)
        return methods.of_ufunc(short)(*inputs)

    __hash__ = object.__hash__


def _refuse(x: Tensor, what: str, hint: str) -> NoReturn:
    raise SymbolicUseError(f"{what} in a traced function: the tensor has no value yet", op=x.op, hint=hint)


def _refused(name: str, hint: str) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        _refuse(self, "a value is asked for" if name == "_array" else f"{name}()", hint)

    return method


def _question(what: str, hint: str) -> Callable[..., Any]:
    def ask(self: Any, *arguments: Any, **named: Any) -> Any:
        if arguments == ("",):
            return repr(self)  # f"{x}" is to look at
        raise SymbolicUseError(f"a tensor of a traced function was {what}: it has no value yet", op=self.op, hint=hint)

    return ask


def _refused_property(name: str, hint: str) -> property:
    def ask(self: Any) -> Any:
        _refuse(self, name, hint)

    def say(self: Any, value: Any) -> None:
        _refuse(self, name, hint)

    return property(ask, say)


def _elementwise(name: str) -> Callable[..., Any]:
    function = pointwise.FUNCTIONS[name]

    def method(self: Any, other: Any) -> Any:
        graphs = stacks.graphs
        if not graphs or graphs[-1].computes or not isinstance(other, _COMPARABLE):
            return NotImplemented
        return function(self, other)

    return method


def _in_place(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A change in place: of the graph's own tensors while it is being built."""
    plain = None if not name.startswith("__i") else METHODS[f"__{name[3:]}"]

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        graph, graphs = trace_here(), stacks.graphs
        if plain is not None and (graph is None or graphs[-1] is not graph):
            return plain(self, *arguments)  # in a branch or loop body names are bound anew
        if graph is None:
            _refuse(self, f"{name}()", "a tensor of a trace is not used outside of it; return it")
        return function(self, *arguments, **named)

    return method


def _attach() -> None:
    own = {*Symbol.__dict__, *_OF_GRAPHS, *_REFUSED, *_REFUSED_PROPERTIES}
    tables: dict[str, Any] = {**METHODS, **PROPERTIES}
    for name, method in tables.items():
        if name in own:
            continue
        changes = name == "__setitem__" or name.startswith("__i") or name.endswith("_") and not name.startswith("__")
        changes = changes and name != "__invert__"
        setattr(Symbol, name, _in_place(name, method) if changes else method)
    for name, hint in _REFUSED.items():
        setattr(Symbol, name, _refused(name, hint))
    for name, (what, hint) in _QUESTIONS.items():
        setattr(Symbol, name, _question(what, hint))
    for name, hint in _REFUSED_PROPERTIES.items():
        setattr(Symbol, name, _refused_property(name, hint))
    for name, function in (("__eq__", "eq"), ("__ne__", "ne")):
        setattr(Symbol, name, _elementwise(function))


_attach()
promotion.let_promote(Symbol)
