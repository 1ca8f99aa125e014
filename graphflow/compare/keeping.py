"""What a compared function may change, kept and put back: tensors, gradients, modules, optimizers, random numbers.

Policy: whatever can be reached from the function and its arguments is looked at before anything runs, by what its code
names and its closures hold; the insides of libraries are not.  Dictionaries, lists, sets, deques, bytearrays, the
attributes and slots of objects, and streams of random numbers (ours, NumPy's and Python's) are put back as they were,
memory of tensors by content, and only where it was changed: a derivative that was recorded earlier stays good.  What
is put back counts as a change, so that nobody who watches the memory believes what came between.  Not put back are
attributes of classes and of modules of Python, arrays of NumPy that are no tensors, iterators, and what is outside of
the process.

State: each `Kept` holds copies of the memory, and the objects, for as long as the comparison takes.
"""

from __future__ import annotations

import functools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.eager import generator
from graphflow.eager.engine import EAGER, here
from graphflow.eager.function import Function
from graphflow.eager.nn.module import Module
from graphflow.eager.preferences import preferred
from graphflow.eager.tensor import EagerTensor
from graphflow.variables import Variable

LIBRARIES = frozenset({*sys.stdlib_module_names, "graphflow", "numpy"}) - {"__main__"}
LEARNING = ("graphflow.eager.nn", "graphflow.eager.optim", "graphflow.eager.utils", "graphflow.eager.states")
_SLOTS = {name for kind in EagerTensor.__mro__ for name in getattr(kind, "__slots__", ())} - {"views"}  # who looks on
FIELDS = tuple(name for name in sorted(_SLOTS) if isinstance(getattr(EagerTensor, name, None), MemberDescriptorType))
MOST = 200_000  # objects: what lies behind more of them is no argument of a function
CONTAINERS: dict[type, Callable[[Any], Any]] = {  # and how the content of one is copied
    dict: dict, list: list, set: set, deque: list, bytearray: bytes,
}  # fmt: skip
STREAMS: dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]] = {  # of random numbers: how to keep one
    generator.Generator: (lambda x: x.get_state(), lambda x, state: x.set_state(state)),
    np.random.Generator: (lambda x: x.bit_generator.state, lambda x, state: setattr(x.bit_generator, "state", state)),
    np.random.RandomState: (lambda x: x.get_state(), lambda x, state: x.set_state(state)),
    random.SystemRandom: (lambda x: None, lambda x, state: None),  # has no state
    random.Random: (lambda x: x.getstate(), lambda x, state: x.setstate(state)),
}
_PLAIN = (int, float, complex, str, bytes, type(None), type, np.ndarray, np.generic)


class Kept:
    """How things were when this was made."""

    def __init__(self, roots: Iterable[Any]) -> None:
        self._found: dict[int, Any] = {}
        self._tensors: list[_Tensor] = []
        self._containers: list[tuple[Any, Any]] = []
        self._names: list[tuple[FunctionType, dict[str, Any]]] = []  # what the globals of functions were
        self._cells: list[tuple[Any, Any]] = []
        self._slots: list[tuple[Any, MemberDescriptorType, Any]] = []
        self._streams: list[tuple[Any, Callable[[Any, Any], None], Any]] = []
        self.add(roots)
        self._random = random.getstate()
        self._numpy: Any = np.random.get_state()
        self._drawn = generator.state_of(EAGER)
        self._records = here.records
        self._preferred = preferred.floats, preferred.device

    def add(self, roots: Iterable[Any]) -> None:
        """Keep these as well, and what is behind them."""
        stack = list(roots)
        while stack and len(self._found) < MOST:
            item = stack.pop()
            if isinstance(item, _PLAIN) or id(item) in self._found:
                continue
            self._found[id(item)] = item
            stack += self._behind(item)

    def restore(self) -> None:
        """Everything is again as it was."""
        for tensor in self._tensors:
            tensor.restore()
        for container, content in self._containers:
            if not _is_same(container, content):
                _refill(container, content)
        for item, slot, content in self._slots:
            _fill_slot(item, slot, content)
        for function, known in self._names:
            function.__globals__.update({n: x for n, x in known.items() if function.__globals__.get(n) is not x})
        for cell, content in self._cells:
            if _content(cell) is not content:
                cell.cell_contents = content
        random.setstate(self._random)
        np.random.set_state(self._numpy)
        generator.restore(EAGER, self._drawn)
        for stream, put, state in self._streams:
            put(stream, state)
        here.records = self._records
        preferred.floats, preferred.device = self._preferred

    def names(self) -> dict[int, str]:
        """By their ids, what tensors are called in functions, and parameters in the outermost module around them."""
        modules = [x for x in self._found.values() if isinstance(x, Module)]
        paths = [(name, p) for module in modules for name, p in module.named_parameters()]
        plain = {id(x): n for _, known in self._names for n, x in known.items() if isinstance(x, EagerTensor)}
        return plain | {id(p): name for name, p in sorted(paths, key=lambda pair: pair[0].count("."))}

    # -- what is there -----------------------------------------------------------------------------------------------

    def _behind(self, item: Any) -> list[Any]:
        """Keep one object; what is to be looked at next."""
        if isinstance(item, EagerTensor):
            self._tensors.append(_Tensor(item))
            return [item.grad, getattr(item, "hooks", None)]
        content = _copy(item)
        if content is not None:
            self._containers.append((item, content))
            return [*content, *content.values()] if isinstance(content, dict) else list(content)
        if isinstance(item, (tuple, frozenset)):
            return list(item)
        if isinstance(item, Function):
            return [item._python]
        if isinstance(item, functools.partial):
            return [item.func, item.args, item.keywords]
        if isinstance(item, MethodType):
            return [item.__self__, item.__func__]
        if isinstance(item, FunctionType):
            return self._behind_function(item)
        return self._behind_object(item)

    def _behind_function(self, function: FunctionType) -> list[Any]:
        """What a function of the user can see: closures, defaults, and what its code names."""
        if is_library(function.__module__):
            return []
        cells = [cell for cell in function.__closure__ or () if _content(cell) is not _NOTHING]
        self._cells += [(cell, cell.cell_contents) for cell in cells]
        words = set(_words(function.__code__))
        named = {n: function.__globals__[n] for n in words if n in function.__globals__}
        self._names.append((function, named))
        inside = [
            x for m in named.values() if isinstance(m, ModuleType) and not is_library(m.__name__)
            for n, x in vars(m).items() if n in words
        ]  # fmt: skip
        held = [cell.cell_contents for cell in cells]
        return [*held, *named.values(), *inside, function.__defaults__, function.__kwdefaults__]

    def _behind_object(self, item: Any) -> list[Any]:
        """The attributes of what is not a library's, and of what learns."""
        for kind, (get, put) in STREAMS.items():
            if isinstance(item, kind):
                self._streams.append((item, put, get(item)))
                return []
        if isinstance(item, Variable):
            return [item.handle]
        if isinstance(item, ModuleType) or _closed(type(item)):
            return []
        methods = [
            f for c in type(item).__mro__ if not is_library(c.__module__)
            for f in vars(c).values() if isinstance(f, FunctionType)
        ]  # fmt: skip
        slots = [
            (item, slot, _in_slot(item, slot)) for c in type(item).__mro__ if "__slots__" in vars(c) and not _closed(c)
            for slot in vars(c).values() if isinstance(slot, MemberDescriptorType)
        ]  # fmt: skip
        self._slots += slots
        return [getattr(item, "__dict__", None), *[content for _, _, content in slots], *methods]


class _Tensor:
    """A tensor, and what it held."""

    __slots__ = ("_content", "_fields", "_x")

    def __init__(self, x: EagerTensor) -> None:
        self._x = x
        x.touched()  # from here on there is a counter
        self._fields: dict[str, Any] = {name: getattr(x, name, _NOTHING) for name in FIELDS}
        self._content: Any = None
        if x.dtype is dtypes.resource:
            self._content = x.value.snapshot() if x.value.initialized else None
        elif isinstance(x.value, (np.ndarray, np.generic)):
            self._content = np.array(x.value)

    def restore(self) -> None:
        """Put back the value, if it was changed, and all that a tensor says of itself."""
        x, value = self._x, self._fields["value"]
        replaced = x.value is not value
        for name, known in self._fields.items():
            if known is _NOTHING and hasattr(x, name):
                delattr(x, name)
            elif known is not getattr(x, name, _NOTHING):
                setattr(x, name, known)
        if x.dtype is dtypes.resource:
            if self._content is not None and not np.array_equal(value.snapshot(), self._content):
                value.assign(self._content)
            return
        changed = type(value) is np.ndarray and value.tobytes() != self._content.tobytes()
        if changed and value.flags.writeable:
            np.copyto(value, self._content)
        if changed or replaced:
            x.touched()[0] += 1


_NOTHING = object()


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the name has no value yet
        return _NOTHING


def _in_slot(item: Any, slot: MemberDescriptorType) -> Any:
    try:
        return slot.__get__(item)
    except AttributeError:  # it has no value yet
        return _NOTHING


def _fill_slot(item: Any, slot: MemberDescriptorType, content: Any) -> None:
    """By the slot itself, since a frozen class refuses what comes by name."""
    if _in_slot(item, slot) is content:
        return
    if content is _NOTHING:
        slot.__delete__(item)
    else:
        slot.__set__(item, content)


def _closed(kind: type) -> bool:
    """Whether the attributes of its objects are a library's own affair: what learns is looked into."""
    return is_library(kind.__module__) and not str(kind.__module__).startswith(LEARNING)


def is_library(module: Any) -> bool:
    """Whether a module of this name is Python's, NumPy's or this package's."""
    return str(module).partition(".")[0] in LIBRARIES


def _words(code: CodeType) -> Iterator[str]:
    """The names that a function's code, and the code of functions inside it, looks up."""
    stack = [code]
    while stack:
        found = stack.pop()
        yield from found.co_names
        stack += [c for c in found.co_consts if isinstance(c, CodeType)]


def _copy(item: Any) -> Any:
    """The content of a container; None of what is none."""
    return next((copied(item) for kind, copied in CONTAINERS.items() if isinstance(item, kind)), None)


def _is_same(container: Any, content: Any) -> bool:
    """Whether it holds the same objects."""
    if len(container) != len(content):
        return False
    if isinstance(container, Mapping):
        return all(a is b and container[a] is content[b] for a, b in zip(container, content, strict=True))
    if isinstance(container, (set, bytearray)):
        return bool(container == content)
    return all(a is b for a, b in zip(container, content, strict=True))


def _refill(container: Any, content: Any) -> None:
    if isinstance(container, bytearray):
        container[:] = content  # which is allowed while somebody looks at the memory
        return
    container.clear()
    container.update(content) if isinstance(container, (dict, set)) else container.extend(content)
