"""Modules that hold modules: in a row, in a list, under keys.

Policy: PyTorch's names; the names of what they hold are numbers or keys.

State: what they hold, in the tree.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphflow.eager.calling import checked
from graphflow.eager.nn.module import Module
from graphflow.eager.traced import used_here
from graphflow.errors import InvalidArgumentError, OutOfRangeError, shown


class _Holding(Module):
    """Modules that are asked for in brackets or one after another."""

    def _held(self) -> dict[str, Any]:
        """What is inside, which a function that is being traced relies on from now on."""
        used_here(self)
        return self._modules


class _Numbered(_Holding):
    """Modules named 0, 1, 2, ..."""

    def _place(self, number: Any) -> str:
        at = operator.index(number)
        if not -len(self) <= at < len(self):
            raise OutOfRangeError(f"no module {at}", expected=f"-{len(self)} ... {len(self) - 1}")
        return list(self._held())[at]

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return type(self)(*self._as_arguments(list(self)[number]))
        return self._held()[self._place(number)]

    def _as_arguments(self, modules: list[Any]) -> list[Any]:
        """What the class is called with to hold these."""
        return modules

    def __setitem__(self, number: int, module: Any) -> None:
        setattr(self, self._place(number), module)

    def __delitem__(self, number: int) -> None:
        kept = list(self)
        del kept[number]
        self._renumber(kept)

    def _renumber(self, modules: Iterable[Any]) -> None:
        self._modules.clear()
        for n, module in enumerate(modules):
            self.add_module(str(n), module)

    def __len__(self) -> int:
        return len(self._held())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._held().values())

    def append(self, module: Any) -> Any:
        """One more at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Any]) -> Any:
        """More at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, key: int) -> Any:
        """Take one out."""
        found = self[key]
        del self[key]
        return found

    def insert(self, index: int, module: Any) -> Any:
        """One more before another."""
        kept = list(self)
        kept.insert(index, module)
        self._renumber(kept)
        return self


class Sequential(_Numbered):
    """Modules one after another; also of an ordered dictionary, under its names."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        named = modules[0].items() if len(modules) == 1 and isinstance(modules[0], Mapping) else enumerate(modules)
        for name, module in named:
            self.add_module(str(name), module)

    def forward(self, input: Any) -> Any:
        """The output of the last."""
        for module in self._modules.values():
            input = module(input)
        return input


class ModuleList(_Numbered):
    """A list of modules, whose parameters are those of the module that holds it."""

    @checked
    def __init__(self, modules: Iterable[Any] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def _as_arguments(self, modules: list[Any]) -> list[Any]:
        return [modules]

    def _printed_parts(self, inside: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Modules of one form that follow one another are told once: (0-3): 4 x Linear(...)."""
        found: list[tuple[str, str]] = []
        for told, group in itertools.groupby(inside, key=lambda entry: entry[1]):
            names = [name for name, _ in group]
            count = len(names)
            found.append((f"{names[0]}-{names[-1]}", f"{count} x {told}") if count > 1 else (names[0], told))
        return found

    def __add__(self, other: Iterable[Any]) -> ModuleList:
        return ModuleList([*self, *other])

    def __iadd__(self, other: Iterable[Any]) -> ModuleList:
        self.extend(other)
        return self


class ModuleDict(_Holding):
    """Modules under keys, whose parameters are those of the module that holds it."""

    def __init__(self, modules: Any = ()) -> None:
        super().__init__()
        self.update(modules)

    def update(self, modules: Any) -> None:
        """More of them."""
        for key, module in modules.items() if hasattr(modules, "items") else modules:
            self[key] = module

    def _check_part_name(self, name: str) -> None:
        """A key may be the name of a method: it is asked for in brackets."""
        if not isinstance(name, str) or not name or "." in name:
            raise InvalidArgumentError("a key is a word without dots", got=shown(name))

    def __getitem__(self, key: str) -> Any:
        return self._held()[key]

    def __setitem__(self, key: str, module: Any) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._held())

    def __iter__(self) -> Iterator[str]:
        return iter(self._held())

    def __contains__(self, key: object) -> bool:
        return key in self._held()

    def keys(self) -> Iterable[str]:
        """The keys."""
        return self._held().keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Keys and modules."""
        return self._held().items()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return self._held().values()

    def pop(self, key: str) -> Any:
        """Take one out."""
        return self._modules.pop(key)

    def clear(self) -> None:
        """Take all out."""
        self._modules.clear()
