"""What may be asked of a picture, and what is told to those who ask for something else.

Policy: a mistake in an option is found before anything is drawn, and its error names what there is.

State: none.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection, Mapping
from inspect import signature
from typing import Any

from graphflow.durable import nearest
from graphflow.errors import InvalidArgumentError, shown

HOPS = 2  # edges around a tensor, if nobody says how many


def names_of(function: Callable[..., Any], positional: int) -> list[str]:
    """The options that a function takes after so many arguments."""
    return list(signature(function).parameters)[positional:]


def check_names(given: Collection[str], known: Collection[str], what: str) -> None:
    """Refuse an option that there is not."""
    for name in given:
        if name not in known:
            raise InvalidArgumentError(
                f"{what} takes no option {shown(name)}", expected=", ".join(known), hint=nearest(name, known)
            )


def check_title(title: Any) -> None:
    """A title is text."""
    if title is not None and not isinstance(title, str):
        raise InvalidArgumentError("title is the words below the picture", expected="text", got=shown(title))


def check_hops(around: Any, hops: Any) -> None:
    """Hops are counted from something."""
    if around is None and hops != HOPS:
        raise InvalidArgumentError(
            "hops is how far around a tensor to look, and none is named", got=shown(hops), hint="around=tensor"
        )


def check_folding(expand: Any, depth: Any, budget: Any) -> None:
    """What is open is told by scopes, by a depth or by how many nodes are shown."""
    scopes = [expand] if isinstance(expand, str) else expand
    if not isinstance(scopes, Collection) or not all(isinstance(scope, str) for scope in scopes):
        raise InvalidArgumentError(
            "expand takes name scopes", expected='"layer1", or a list of them', got=shown(expand)
        )
    if depth is not None and (not isinstance(depth, int) or isinstance(depth, bool) or depth < 0):
        raise InvalidArgumentError(
            "depth is how many levels of scopes are open", expected="0 or more", got=shown(depth)
        )
    if not isinstance(budget, (int, float)) or not budget > 0:
        raise InvalidArgumentError("budget is about how many nodes are shown", expected="a number", got=shown(budget))


def by_name(found: Mapping[Any, Any] | None) -> dict[str, Any]:
    """What a run found, by names; tensors and ops may be the keys."""
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise InvalidArgumentError("what a run found is a mapping from tensors, ops or names", got=shown(found))
    named: dict[str, Any] = {}
    for key, value in found.items():
        name = key if isinstance(key, str) else getattr(key, "name", None)
        if not isinstance(name, str):
            raise InvalidArgumentError("what a run found is a mapping from tensors, ops or names", got=shown(found))
        named[name] = value
    return named


def seconds_by_name(found: Mapping[Any, Any] | None) -> dict[str, float]:
    """What a run took, by names of ops; a tensor stands for the op that makes it."""
    named = {name.partition(":")[0]: taken for name, taken in by_name(found).items()}
    for name, taken in named.items():
        if isinstance(taken, bool) or not isinstance(taken, numbers.Real) or not 0 <= float(taken) < math.inf:
            raise InvalidArgumentError(
                f"seconds[{shown(name)}] is what a run took", expected="a number, 0 or more", got=shown(taken)
            )
    return named
