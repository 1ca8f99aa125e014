"""What Python code takes from around it: the names that a function says, and those of the functions that it calls.

Policy: names are read off the code, so what is only reached in another way (a list of functions, `getattr`) is not
among them.  A small container of plain values counts by what it holds.  Functions of installed packages are not looked
into; how modules do their work is looked into whoever wrote them, for plain attributes such as `p` of a dropout.

State: none.
"""

from __future__ import annotations

import dis
import inspect
import sysconfig
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

PLAIN = frozenset({int, str, bool, bytes, float, complex, type(None), *np.sctypeDict.values()})
CONTAINERS = frozenset({dict, list, set, tuple, frozenset})
_MOST_ITEMS = 64  # of a container whose contents are watched, what is inside of its parts included
_FOR_FILES = ("_non_persistent_buffers_set",)  # of modules, whatever they compute
_MOST_LETTERS = 4096  # that such a container is written with
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_OWN = __name__.partition(".")[0]
ABSENT: Any = object()  # instead of an attribute that there is not
_CALLABLE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_MOST = 256  # functions that are looked into for one: nobody calls more by name

Names = list[tuple[dict[str, Any], str, Any]]
Cells = list[tuple[Any, Any]]


class Around(NamedTuple):
    """What some functions take from around them, each with what it is now."""

    names: Sequence[tuple[dict[str, Any], str, Any]] = ()  # globals
    cells: Sequence[tuple[Any, Any]] = ()  # of closures
    said: frozenset[str] = frozenset()  # all words of their code
    objects: Sequence[tuple[Any, dict[str, Any]]] = ()  # others than modules, with plain attributes


class Snapshot:
    """What a small container of plain values holds, as it is written: that tells 1 from True, and 0.0 from -0.0."""

    __slots__ = ("itself", "kind", "words")

    def __init__(self, x: Any, words: str) -> None:
        self.kind, self.words = type(x), words
        self.itself = x if self.kind is tuple and PLAIN.issuperset(map(type, x)) else ABSENT  # it holds that for ever

    def is_of(self, x: Any) -> bool:
        """Whether a container, or another snapshot, holds the same."""
        if type(x) is Snapshot:
            return x.kind is self.kind and x.words == self.words
        if type(x) is not self.kind:
            return False
        return x is self.itself or len(x) <= _MOST_ITEMS and repr(x) == self.words


def kept(x: Any) -> Any:
    """What to keep of a value so that one can tell later whether it is the same: a snapshot of a small container."""
    if type(x) not in CONTAINERS or not _is_small(x):
        return x
    words = repr(x)
    return Snapshot(x, words) if len(words) <= _MOST_LETTERS else x


def _is_small(x: Any) -> bool:
    """Whether a container holds few values, all plain or in such containers."""
    count, parts = 0, [x]
    while parts:
        part = parts.pop()
        if type(part) in CONTAINERS:
            count += len(part)
            if count > _MOST_ITEMS:
                return False
            parts += [*part, *part.values()] if type(part) is dict else part
        elif type(part) not in PLAIN:
            return False
    return True


def contents(cell: Any) -> Any:
    """What a name of a closure means now; None where it means nothing yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def words_of(code: types.CodeType) -> dict[str, None]:
    """The globals and attributes that code names, with the functions that it defines inside."""
    return dict.fromkeys([n for c in _codes(code) for n in c.co_names])


def _globals_of(code: types.CodeType) -> dict[str, None]:
    """Only the globals: an attribute may be called as one of them is."""
    found = [i for c in _codes(code) for i in dis.get_instructions(c) if i.opname in _GLOBAL]
    return dict.fromkeys([i.argval for i in found])


def _codes(code: types.CodeType) -> list[types.CodeType]:
    """The code, and that of the functions that it defines inside."""
    found = [code]
    for c in found:
        found += [inside for inside in c.co_consts if isinstance(inside, types.CodeType)]
    return found


def around(functions: Iterable[Any], given: Iterable[Any] = ()) -> Around:
    """What functions, and the functions that these name, take from around them; `given` are their arguments."""
    names: Names = []
    objects: dict[int, Any] = {id(x): x for x in given if _has_attributes(x)}
    cells: Cells = []
    said: set[str] = set()
    seen: set[int] = set()
    stack = list(functions)
    while stack and len(seen) < _MOST:
        plain = stack.pop()
        met = [getattr(plain, "__self__", None)]
        plain = inspect.unwrap(plain)
        plain = getattr(plain, "__func__", plain)
        code = getattr(plain, "__code__", None)
        if code is None or id(plain) in seen:
            continue
        seen.add(id(plain))
        said.update(words_of(code))
        everywhere = plain.__globals__
        taken = [n for n in _globals_of(code) if n in everywhere]
        names += [(everywhere, n, everywhere[n]) for n in taken]
        cells += [(cell, contents(cell)) for cell in plain.__closure__ or ()]
        met += [everywhere[n] for n in taken] + [contents(c) for c in plain.__closure__ or ()]
        stack += [x for x in met if _is_of_the_user(x)]
        objects.update({id(x): x for x in met if _has_attributes(x)})
    return Around(
        [(w, n, kept(x)) for w, n, x in names if may_change(x)],
        [(c, kept(x)) for c, x in cells if may_change(x)],
        frozenset(said),
        [(x, attributes_of(x, said)) for x in objects.values()],
    )


def attributes_of(x: Any, words: Iterable[str]) -> dict[str, Any]:
    """The values and tensors that these words name among the attributes of an object, or of its class."""
    own, kind = x.__dict__, type(x)
    found = {n: kept(own[n] if n in own else getattr(kind, n, ABSENT)) for n in words}
    return {n: v for n, v in found.items() if v is not ABSENT and (_is_value(v) or type(v) is Snapshot)}


def containers_of(x: Any) -> dict[str, Snapshot]:
    """The attributes of an object that are small containers of plain values."""
    found = {n: kept(v) for n, v in x.__dict__.items() if type(v) in CONTAINERS and n not in _FOR_FILES}
    return {n: v for n, v in found.items() if type(v) is Snapshot}


def of_containers(found: Around, wanted: bool) -> Around:
    """What of this is about containers, or is not."""
    return Around(
        [(w, n, x) for w, n, x in found.names if (type(x) is Snapshot) is wanted],
        [(c, x) for c, x in found.cells if (type(x) is Snapshot) is wanted],
        found.said,
        [(x, {n: v for n, v in own.items() if (type(v) is Snapshot) is wanted}) for x, own in found.objects],
    )


def may_change(x: Any) -> bool:
    """Whether a name that means this is watched: anything but Python modules, and what a library defines."""
    if isinstance(x, types.ModuleType):
        return False
    return not isinstance(x, (type, *_CALLABLE)) or _is_of_the_user(x)


def _is_value(x: Any) -> bool:
    return type(x) in PLAIN or hasattr(type(x), "touched")


def _has_attributes(x: Any) -> bool:
    """Whether it is an object of the user's, or a namespace, whose attributes may come to mean something else."""
    if isinstance(x, (type, types.FunctionType, types.ModuleType)) or _is_value(x) or is_module(x):
        return False
    own = type(x).__module__.partition(".")[0] == _OWN
    return not own and type(getattr(x, "__dict__", None)) is dict and type(x).__weakrefoffset__ != 0


def is_module(x: Any) -> bool:
    """Whether it counts how often it was given other parts."""
    return hasattr(type(x), "_parts_version")


def _is_of_the_user(x: Any) -> bool:
    if not isinstance(x, types.FunctionType) or (x.__module__ or "").partition(".")[0] == _OWN:
        return False
    return not x.__code__.co_filename.startswith(_LIBRARIES)


def of_class(kind: type, said: Iterable[str]) -> tuple[frozenset[str], Sequence[Callable[..., Any]]]:
    """The words of what a module of a class does when it is called, or asked for what was said; and the functions.

    Of these come those of the user alone.  What a class and its bases call alike is taken together.
    """
    words: set[str] = set()
    functions: list[Any] = []
    seen = {"forward", *said}
    stack = list(seen)
    while stack:
        name = stack.pop()
        for does in [c.__dict__[name] for c in kind.__mro__ if name in c.__dict__]:
            does = does.fget if isinstance(does, property) else getattr(does, "__func__", does)
            if isinstance(does, types.FunctionType):
                does = inspect.unwrap(does)
                functions += [does] if _is_of_the_user(does) else []
                new = [w for w in words_of(does.__code__) if w not in seen]
                seen.update(new)
                words.update(new)
                stack += new
    return frozenset(words), functions
