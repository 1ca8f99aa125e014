"""What eager tensors can do beyond being tensors: operators, PyTorch's methods and properties.

Policy: a method is the function of the same name; nothing is written twice.  The tables of the neighbours are attached
to the class here, once.

State: none; fills the class `EagerTensor` on import.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.defaults import stacks
from graphflow.dtypes import DType, as_dtype
from graphflow.eager import (
    creation,
    devices,
    drawing,
    facts,
    hooks,
    indexing,
    inplace,
    layout,
    nodes,
    pointwise,
    printing,
    reductions,
    shaping,
    tape,
    vocabulary,
)
from graphflow.eager.engine import EAGER
from graphflow.eager.mode import placed
from graphflow.eager.tensor import DEVICES, REQUIRED, UNTRACKED, EagerTensor
from graphflow.eager.traced import trace_here
from graphflow.errors import (
    DTypeError,
    FailedPreconditionError,
    InvalidArgumentError,
    ShapeError,
    SymbolicUseError,
    shown,
)
from graphflow.operators import _UFUNCS
from graphflow.ops import arithmetic, casts, compare, core

# -- operators -------------------------------------------------------------------------------------------------------

OPERATORS = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide", "mod": "remainder",
    "pow": "pow", "matmul": "matmul", "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip
_COMPARISONS = {
    "eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor",
}  # fmt: skip


# Operators whose op takes its operands as they are, once they have one dtype.
_DIRECT: dict[str, Any] = {
    "__add__": arithmetic.add, "__sub__": arithmetic.subtract, "__mul__": arithmetic.multiply,
    "__lt__": compare.less, "__le__": compare.less_equal, "__gt__": compare.greater, "__ge__": compare.greater_equal,
}  # fmt: skip


def function_of(name: str) -> Callable[..., Any]:
    """The function behind an operator."""
    return pointwise.FUNCTIONS.get(name) or reductions.FUNCTIONS[name]


def _operator(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    direct = _DIRECT.get(name)
    if direct is not None:
        return _quick(direct.definition, function, name)

    def method(self: Any, other: Any) -> Any:
        return function(self, other)

    method.__name__ = method.__qualname__ = name
    return method


def _quick(definition: Any, function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The operator, by the shortest way to its op where nothing has to be promoted."""

    def method(self: Any, other: Any) -> Any:
        dtype = self.dtype
        same = other.dtype is dtype if type(other) is EagerTensor else type(other) is float and dtype.is_floating
        if same and dtype is not dtypes.bool_ and not stacks.graphs:
            return EAGER.compute(definition, (self, other), None, {})
        return function(self, other)

    method.__name__ = method.__qualname__ = name
    return method


def _reflected(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        return function(other, self)

    method.__name__ = method.__qualname__ = name
    return method


COMPARABLE = (bool, int, float, complex, np.generic, np.ndarray, EagerTensor)
_TEXT = (str, bytes, np.ndarray, EagerTensor)


def _equality(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Elementwise, and Python's own answer beside what is no number: None, a string of options, a class."""

    def method(self: Any, other: Any) -> Any:
        comparable = isinstance(other, _TEXT if self.dtype is dtypes.string else COMPARABLE)
        return function(self, other) if comparable else NotImplemented

    method.__name__ = method.__qualname__ = name
    return method


def _operators() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for short, name in OPERATORS.items():
        found[f"__{short}__"] = _operator(function_of(name), f"__{short}__")
        found[f"__r{short}__"] = _reflected(function_of(name), f"__r{short}__")
    for short, name in _COMPARISONS.items():
        make = _equality if short in ("eq", "ne") else _operator
        found[f"__{short}__"] = make(function_of(name), f"__{short}__")
        if short in ("and", "or", "xor"):
            found[f"__r{short}__"] = _reflected(function_of(name), f"__r{short}__")
    return found


# -- gradients -------------------------------------------------------------------------------------------------------


def detach(self: EagerTensor) -> EagerTensor:
    """The same memory, cut off from gradients."""
    if trace_here() is not None:
        cut: EagerTensor = core.stop_gradient(self)
        return cut
    made = EagerTensor(self.shareable(), self.dtype)
    made.memory = self.touched()
    if type(made.value) in DEVICES:
        made.is_apart_from(self)
    return made


def requires_grad_(self: EagerTensor, requires_grad: bool = True) -> EagerTensor:
    """Say whether `backward` computes a gradient for this leaf."""
    self.requires_grad = bool(requires_grad)
    return self


def _data(self: EagerTensor) -> EagerTensor:
    """The same memory, for changes that gradients do not see."""
    if trace_here() is not None:
        return detach(self)
    made = detach(self)
    made.memory = None
    return made


def _set_data(self: EagerTensor, other: Any) -> None:
    if trace_here() is not None:
        raise SymbolicUseError(
            "a traced function gives a tensor other data, which its later calls would not do",
            got=repr(self)[:80],
            hint="x.copy_(values) is done at each call; x.data = values is for outside",
        )
    if not isinstance(other, EagerTensor):
        raise DTypeError("data is a tensor", got=shown(other), hint="x.data = torch.tensor(values)")
    self.value, self.dtype = other.value, other.dtype
    self.memory = [self.touched()[0] + 1]


# -- values ----------------------------------------------------------------------------------------------------------


def _to(dtype: DType) -> Callable[..., Any]:
    @placed
    def method(self: Any) -> Any:
        return self if self.dtype is dtype else casts.cast(self, dtype)

    method.__doc__ = f"The tensor in {dtype.name}."
    return method


def astype(self: Any, dtype: Any) -> Any:
    """The tensor in another dtype."""
    return devices.to(self, dtype=as_dtype(dtype))


def dim(self: EagerTensor) -> int:
    """How many dimensions."""
    return len(self.dims)


def is_floating_point(input: EagerTensor) -> bool:
    """Whether the elements are floating-point numbers."""
    return input.dtype.is_floating


def format_(self: EagerTensor, form: str) -> str:
    """`f"{loss:.3f}"` of a tensor of one element."""
    if not form:
        return str(self)
    if self.shape.numel() != 1:
        raise InvalidArgumentError(
            "a format is for one number", got=f"shape {list(self.dims)}", hint='f"{x.mean():.3f}"'
        )
    return format(self._array().reshape(()).item(), form)


def truth(self: EagerTensor) -> bool:
    """Whether the one element is true."""
    if self.shape.numel() != 1:
        raise InvalidArgumentError(
            "a tensor of several elements is neither true nor false",
            got=f"shape {list(self.dims)}",
            hint="x.any(), x.all(); `x is not None` tests for None",
        )
    return bool(self._array().reshape(()).item())


def contains(self: EagerTensor, item: Any) -> bool:
    """Whether an element equals the item."""
    return bool((self._array() == (item._array() if isinstance(item, EagerTensor) else item)).any())


def deepcopy(self: EagerTensor, memo: Any) -> EagerTensor:
    """A leaf with memory of its own."""
    if self.origin is not None and self.track == REQUIRED:
        raise FailedPreconditionError(
            "only leaves are copied deeply: what was computed belongs to its gradients", hint="x.detach().clone()"
        )
    made = EagerTensor(copy.copy(self.value), self.dtype, self.track if self.track == REQUIRED else UNTRACKED)
    made.role = self.role
    if self.grad is not None:
        made.grad = deepcopy(self.grad, memo)
    memo[id(self)] = made
    return made


def refuse_pickle(self: EagerTensor, protocol: Any = None) -> Any:
    """Nothing is pickled: a file of pickles runs what it likes when it is read."""
    raise FailedPreconditionError(
        "tensors are not pickled", hint="torch.save({'x': x}, path) writes a safetensors file; x.numpy() is an array"
    )


def plain_numpy(self: EagerTensor, *, force: bool = False) -> Any:
    """The value as a NumPy array that shares the memory and cannot be written; `force` detaches first."""
    if self.track == REQUIRED and not force:
        raise FailedPreconditionError(
            f"{self.name!r} takes part in gradients, which would not see what NumPy does with it",
            hint="x.detach().numpy()",
        )
    return self._array()


def _array_protocol(self: EagerTensor, dtype: Any = None, copy: bool | None = None) -> Any:
    found = self.numpy()
    return np.array(found, dtype, copy=True) if copy or dtype is not None else found


def of_ufunc(short: str) -> Callable[..., Any]:
    """The function behind one of NumPy's: an array on the left is copied where it is to be remembered."""
    return function_of(OPERATORS.get(short) or _COMPARISONS[short])


def array_ufunc(self: EagerTensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """`array + tensor` is a tensor; other functions of NumPy take the values, and give arrays."""
    short = _UFUNCS.get(ufunc.__name__)
    if short is not None and method == "__call__" and not options:
        return of_ufunc(short)(*inputs)
    arrays = [x.numpy() if isinstance(x, EagerTensor) else x for x in inputs]
    return getattr(ufunc, method)(*arrays, **options)


def check_len(self: EagerTensor) -> int:
    """The first size."""
    if not self.dims:
        raise ShapeError("a scalar has no length", hint="x.numel() is 1")
    return self.dims[0]


def new_like(make: Callable[..., Any]) -> Callable[..., Any]:
    """A method that makes a tensor of the dtype of this one."""

    def method(self: EagerTensor, *arguments: Any, **options: Any) -> Any:
        dtype = options.setdefault("dtype", self.dtype)
        options.setdefault("device", creation.beside(self, as_dtype(dtype)))
        return make(*arguments, **options)

    method.__doc__ = f"{str(make.__doc__).removesuffix('.')}; of this dtype and on this device, unless told otherwise."
    return method


_CASTS: dict[str, DType] = {
    "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "long": dtypes.int64,
    "int": dtypes.int32, "short": dtypes.int16, "bool": dtypes.bool_,
    "byte": dtypes.uint8, "char": dtypes.int8, "cdouble": dtypes.complex128, "cfloat": dtypes.complex64,
    **({} if dtypes.bfloat16 is None else {"bfloat16": dtypes.bfloat16}),
}  # fmt: skip
METHODS: dict[str, Callable[..., Any]] = {
    **pointwise.FUNCTIONS, **reductions.METHODS, **shaping.METHODS, **vocabulary.METHODS, **inplace.METHODS,
    **hooks.METHODS,
    **{f"{name}_": inplace._method(f, f"{name}_") for name, f in vocabulary.IN_PLACE.items()}, **_operators(),
    **{name: _to(dtype) for name, dtype in _CASTS.items()},
    "__getitem__": indexing.getitem, "backward": tape.backward, "detach": detach, "requires_grad_": requires_grad_,
    "to": devices.to, "clone": devices.clone, "cpu": devices.cpu, "cuda": devices.cuda,
    "__dlpack__": devices.dlpack, "__dlpack_device__": devices.dlpack_device, "type": facts.type_of, "astype": astype,
    "size": shaping.size, "dim": dim, "ndimension": dim, "nelement": shaping.numel,
    "is_floating_point": is_floating_point, "__repr__": printing.text, "__str__": printing.text,
    "__format__": format_, "__bool__": truth, "__contains__": contains, "__deepcopy__": deepcopy,
    "__reduce_ex__": refuse_pickle, "__len__": check_len, "numpy": plain_numpy, "__array__": _array_protocol,
    "new_zeros": new_like(creation.zeros), "new_ones": new_like(creation.ones),
    "new_empty": new_like(creation.empty), "new_full": new_like(creation.full), "new_tensor": new_like(creation.tensor),
    **{name: inplace.random_(function) for name, function in drawing.IN_PLACE.items()},
    "random_": layout.told(
        f"{drawing.whole.__doc__} In place.",
        lambda self, *bounds, **named: inplace.copy_(self, drawing.whole(self, *bounds, **named)),
    ),
    "multinomial": drawing.multinomial, "bernoulli": drawing.bernoulli,
    "__array_ufunc__": array_ufunc, "retain_grad": tape.retain_grad,
    **layout.METHODS,
    "__invert__": pointwise.FUNCTIONS["bitwise_not"], "ravel": shaping.flatten, "__hash__": object.__hash__,
}  # fmt: skip
PROPERTIES: dict[str, property] = {
    **layout.PROPERTIES, "device": property(devices.device_of),
    "data": property(_data, _set_data), "grad_fn": property(nodes.grad_fn),
    "retains_grad": property(tape.retains_grad), "T": property(shaping.swap_all),
    "mT": property(shaping.last_two), "ndim": property(dim),
    "real": property(pointwise.FUNCTIONS["real"]), "imag": property(pointwise.imag),
}  # fmt: skip


def attach() -> None:
    """Give the class its methods."""
    for name, method in {**METHODS, **PROPERTIES}.items():
        setattr(EagerTensor, name, method)


attach()
