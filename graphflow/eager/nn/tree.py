"""A tree of modules: parameters, buffers and modules under the names of attributes.

Policy: PyTorch's names.  Assigning registers; a name keeps its kind.  Trees are walked with a stack, and what is shared
is met once.

State: each module its own parameters, buffers and modules, and how often these were changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphflow.defaults import stacks
from graphflow.eager.nn.parameter import Parameter
from graphflow.eager.reading import PLAIN
from graphflow.eager.tensor import KEPT, UNTRACKED, EagerTensor
from graphflow.eager.traced import parts_changed, trace_here, used_here
from graphflow.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, MissingNameError, shown
from graphflow.tensor import Tensor


class Parts(dict[str, Any]):
    """What a module holds under names of one kind; counts the changes, for the functions that were traced with it."""

    __slots__ = ("version",)
    version: int

    def __new__(cls) -> Parts:
        """Nothing yet."""
        made = super().__new__(cls)
        made.version = 0
        return made

    def _changed(self) -> None:
        self.version += 1
        parts_changed[0] += 1

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self._changed()

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self._changed()

    def pop(self, *arguments: Any) -> Any:
        """Take one out."""
        found = super().pop(*arguments)
        self._changed()
        return found

    def clear(self) -> None:
        """Take all out."""
        super().clear()
        self._changed()

    def update(self, *arguments: Any, **named: Any) -> None:
        """Put several in."""
        super().update(*arguments, **named)
        self._changed()


class Tree:
    """What modules hold."""

    _parameters: Parts
    _buffers: Parts
    _modules: Parts
    _non_persistent_buffers_set: set[str]  # names of buffers that no state holds

    def __init__(self) -> None:
        own = self.__dict__
        own["_parameters"] = Parts()
        own["_buffers"] = Parts()
        own["_modules"] = Parts()
        own["_non_persistent_buffers_set"] = set()

    def _parts_version(self) -> int:
        """How often parameters, buffers and modules were put in or taken out."""
        own = self.__dict__
        return sum([own[kind].version for kind in ("_parameters", "_buffers", "_modules")])

    # -- attributes ----------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if "_modules" not in own and (isinstance(value, (Tree, Parameter))):
            raise FailedPreconditionError(
                f"{type(self).__name__} is not ready to hold {name!r}", hint="super().__init__() first, in __init__"
            )
        for kind in ("_parameters", "_modules", "_buffers"):
            if name in own.get(kind, ()):
                self._replace_part(own[kind], name, value)
                return
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Tree):
            self.add_module(name, value)
        else:
            object.__setattr__(self, name, value)
            if type(value) in PLAIN:  # whether it is in training, or what else its code goes by
                parts_changed[0] += 1

    def _replace_part(self, kind: dict[str, Any], name: str, value: Any) -> None:
        """Give a registered name another value of its kind, or None."""
        if kind is self._buffers and kind[name] is not None and _has_no_value(value):
            kind[name].copy_(value)  # a traced function computes it, at each call
            return
        wanted: Any = Tree if kind is self._modules else Parameter if kind is self._parameters else EagerTensor
        if value is not None and not isinstance(value, wanted):
            raise InvalidArgumentError(
                f"{name!r} of {type(self).__name__} is registered",
                expected=f"a {'Module' if wanted is Tree else wanted.__name__}, or None",
                got=shown(value),
                hint="nn.Parameter(x), or another name" if wanted is Parameter else None,
            )
        if kind is self._buffers and value is not None:
            value = _as_buffer(value)
        kind[name] = value

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for kind in ("_parameters", "_modules", "_buffers"):
            found = own.get(kind)
            if found is not None and name in found:
                if stacks.graphs:
                    used_here(self)
                return found[name]
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for kind in (self._parameters, self._modules, self._buffers):
            if name in kind:
                del kind[name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._modules, *self._buffers})

    def _check_part_name(self, name: str) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise InvalidArgumentError("a name within a module is a word without dots", got=shown(name))
        if name in self.__dict__ or hasattr(type(self), name):
            raise AlreadyExistsError(f"{type(self).__name__} has an attribute {name!r} already")

    def register_parameter(self, name: str, param: Any) -> None:
        """A parameter, or None for one that is absent, under a name."""
        self._check_part_name(name)
        if param is not None and not isinstance(param, Parameter):
            raise InvalidArgumentError("register_parameter takes an nn.Parameter", got=shown(param))
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """A tensor that belongs to the state and is not learned; in a graph it is a variable as well."""
        self._check_part_name(name)
        if tensor is not None:
            if not isinstance(tensor, EagerTensor):
                raise InvalidArgumentError("register_buffer takes an eager tensor", got=shown(tensor))
            tensor = _as_buffer(tensor)
        self._buffers[name] = tensor
        if not persistent:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Any) -> None:
        """A module, or None, under a name."""
        self._check_part_name(name)
        if module is not None and not isinstance(module, Tree):
            raise InvalidArgumentError("add_module takes an nn.Module", got=shown(module))
        if module is not None and any(m is self for m in module.modules()):
            raise InvalidArgumentError(
                f"{type(self).__name__} would hold itself",
                got=f"a {type(module).__name__} that holds it",
                hint=f"object.__setattr__(self, {name!r}, module) keeps it without registering it",
            )
        self._modules[name] = module

    register_module = add_module

    # -- what is inside ------------------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
        """This module and all below it, parents first; one that is held twice comes once, or under both paths."""
        seen: set[int] = set()
        stack: list[tuple[str, Tree]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if remove_duplicate and id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            inside = [(n, m) for n, m in module._modules.items() if m is not None]
            stack += [(f"{path}.{n}" if path else n, m) for n, m in reversed(inside)]

    def modules(self) -> Iterator[Any]:
        """This module and all below it."""
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """The modules right below this one."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Any]:
        """The modules right below this one."""
        return (m for _, m in self.named_children())

    def _named_members(
        self, kind: str, prefix: str, recurse: bool, persistent: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """The tensors of a kind, under all of their paths."""
        for path, module in self.named_modules(prefix, False) if recurse else ((prefix, self),):
            for name, x in module.__dict__[kind].items():
                if x is not None and not (persistent and name in module._non_persistent_buffers_set):
                    yield f"{path}.{name}" if path else name, x

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, EagerTensor]]:
        """All parameters, each once, or under all of their paths."""
        found = self._named_members("_parameters", prefix, recurse)
        return _distinct(found) if remove_duplicate else found

    def parameters(self, recurse: bool = True) -> Iterator[EagerTensor]:
        """All parameters, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, EagerTensor]]:
        """All buffers, each once, or under all of their paths."""
        found = self._named_members("_buffers", prefix, recurse)
        return _distinct(found) if remove_duplicate else found

    def buffers(self, recurse: bool = True) -> Iterator[EagerTensor]:
        """All buffers, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Any:
        """The module at a path such as "layers.0"."""
        found: Any = self
        for name in target.split(".") if target else ():
            if found._modules.get(name) is None:
                raise MissingNameError(f"no module {target!r}", got=name, expected=", ".join(found._modules) or "none")
            found = found._modules[name]
        return found

    def _tensor_at(self, target: str, kind: str, what: str) -> EagerTensor:
        path, _, name = target.rpartition(".")
        there = self.get_submodule(path).__dict__[kind]
        if there.get(name) is None:
            raise MissingNameError(f"no {what} {target!r}", got=name, expected=", ".join(there) or "none")
        found: EagerTensor = there[name]
        return found

    def get_parameter(self, target: str) -> EagerTensor:
        """The parameter at a path such as "layers.0.weight"."""
        return self._tensor_at(target, "_parameters", "parameter")

    def get_buffer(self, target: str) -> EagerTensor:
        """The buffer at a path such as "layers.1.running_mean"."""
        return self._tensor_at(target, "_buffers", "buffer")


def _has_no_value(x: Any) -> bool:
    return trace_here() is not None and isinstance(x, Tensor) and not isinstance(x, EagerTensor)


def _as_buffer(x: EagerTensor) -> EagerTensor:
    """The tensor, marked: a graph may make a variable of it."""
    if x.origin is not None or x.track != UNTRACKED:
        raise InvalidArgumentError("a buffer is not part of gradients", hint="x.detach()", got=shown(x))
    x.role = x.role or KEPT
    return x


def _distinct(named: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Each tensor once, under its first name."""
    seen: set[int] = set()
    for name, x in named:
        if id(x) not in seen:
            seen.add(id(x))
            yield name, x
