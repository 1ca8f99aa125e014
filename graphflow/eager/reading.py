"""What Python code takes from around it: the names that a function says, and those of the functions that it calls.

Policy: names are read off the code, so what is only reached in another way (a list of functions, `getattr`) is not
among them.  Functions of installed packages are not looked into; how modules do their work is looked into whoever wrote
them, for plain attributes such as `p` of a dropout.

State: none.
"""

from __future__ import annotations

import inspect
import sysconfig
import types
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, NamedTuple

PLAIN = frozenset({int, str, bool, bytes, float, complex, type(None)})
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_OWN = __name__.partition(".")[0]
_MOST = 256  # functions that are looked into for one: nobody calls more by name

Names = list[tuple[dict[str, Any], str, Any]]
Cells = list[tuple[Any, Any]]


class Around(NamedTuple):
    """What some functions take from around them, each with what it is now."""

    names: Names = []  # noqa: RUF012 - globals
    cells: Cells = []  # noqa: RUF012 - of closures
    said: frozenset[str] = frozenset()  # all words of their code
    objects: list[tuple[Any, dict[str, Any]]] = []  # noqa: RUF012 - others than modules, with plain attributes


def contents(cell: Any) -> Any:
    """What a name of a closure means now; None where it means nothing yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def words_of(code: types.CodeType) -> dict[str, None]:
    """The globals and attributes that code names, with the functions that it defines inside."""
    found, codes = dict.fromkeys(code.co_names), [code]
    while codes:
        inside = [c for c in codes.pop().co_consts if isinstance(c, types.CodeType)]
        for c in inside:
            found.update(dict.fromkeys(c.co_names))
        codes += inside
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
        words = words_of(code)
        said.update(words)
        everywhere = plain.__globals__
        names += [(everywhere, n, everywhere[n]) for n in words if n in everywhere]
        cells += [(cell, contents(cell)) for cell in plain.__closure__ or ()]
        met += [everywhere[n] for n in words if n in everywhere] + [contents(c) for c in plain.__closure__ or ()]
        stack += [x for x in met if _is_of_the_user(x)]
        objects.update({id(x): x for x in met if _has_attributes(x)})
    return Around(
        [(w, n, x) for w, n, x in names if may_change(x)],
        [(c, x) for c, x in cells if may_change(x)],
        frozenset(said),
        [(x, attributes_of(x, said)) for x in objects.values()],
    )


def attributes_of(x: Any, words: Container[str]) -> dict[str, Any]:
    """The plain attributes of an object that these words name."""
    return {n: v for n, v in x.__dict__.items() if type(v) in PLAIN and n in words}


def may_change(x: Any) -> bool:
    """Whether a name that means this is watched: a tensor, a module or a plain value."""
    return type(x) in PLAIN or hasattr(type(x), "touched") or is_module(x)


def _has_attributes(x: Any) -> bool:
    """Whether it is an object of the user's, or a namespace, whose attributes may come to mean something else."""
    if isinstance(x, (type, types.FunctionType, types.ModuleType)) or may_change(x):
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
