"""`torch.save` and `torch.load`: tensors, numbers and text, nested in dicts and lists, in the format of safetensors.

Policy: a file holds arrays by name and a JSON text that says how they are nested, nothing that runs.  Other programs
read the tensors of such a file by the names that their places give, `model.weight`; what has no form there is refused.

State: none.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graphflow import checkpoint, durable
from graphflow.dtypes import DType, as_dtype
from graphflow.eager.creation import tensor
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import DataLossError, DTypeError, InvalidArgumentError, shown

STRUCTURE = "structure"  # the key of the JSON text in the file's metadata
MAX_DEPTH, MAX_NODES = 200, 1_000_000
MAX_DIGITS = 19  # of a number that JSON holds as such; a file with a longer one is not read
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_READ: dict[str, Callable[[str], Any]] = {
    "float": _SPECIAL.__getitem__, "fraction": float.fromhex, "whole": lambda text: int(text, 16), "dtype": as_dtype,
}  # fmt: skip

# -- writing ---------------------------------------------------------------------------------------------------------


def save(obj: Any, f: Any) -> None:
    """Write tensors, numbers, strings, None, and dicts, lists and tuples of them to a file."""
    tensors: dict[str, Any] = {}
    top: list[Any] = []
    work: list[tuple[list[Any], str, Any, int]] = [(top, "", obj, 0)]  # where the node goes, its name, the object
    while work:
        into, name, item, depth = work.pop()
        node, parts = _node(item, name or "value", tensors)
        into.append(node)
        if depth > MAX_DEPTH:
            raise InvalidArgumentError("nested too deeply for a file, or in itself", expected=f"{MAX_DEPTH} levels")
        work += [(node[-1], f"{name}.{key}" if name else key, part, depth + 1) for key, part in reversed(parts)]
    text = json.dumps(top[0], separators=(",", ":"))
    try:
        _check(text)
    except DataLossError as error:
        raise InvalidArgumentError(
            "more numbers and texts than a file has room for outside of tensors", got=error.summary,
            hint="torch.tensor(values) takes a list of numbers",
        ) from None  # fmt: skip
    notes = {STRUCTURE: text}
    if not hasattr(f, "write"):
        checkpoint.save(f, tensors, notes)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tensors")
        checkpoint.save(path, tensors, notes)
        f.write(path.read_bytes())


def _is_array(x: Any) -> bool:
    return isinstance(x, (EagerTensor, np.ndarray))


def _array(x: Any) -> Any:
    return np.asarray(x._array() if isinstance(x, EagerTensor) else x)


def _node(item: Any, name: str, tensors: dict[str, Any]) -> tuple[list[Any], list[tuple[str, Any]]]:
    """What stands for an object in the JSON text, [kind, ...], and its parts, which are still to be added."""
    if _is_array(item):
        free = name if name not in tensors else next(n for i in range(len(tensors) + 1) if (n := f"{name}#{i}")
                                                     not in tensors)  # fmt: skip
        tensors[free] = _array(item)
        learned = isinstance(item, EagerTensor) and item.requires_grad and item.is_leaf
        return ["parameter" if learned else "tensor", free], []
    if isinstance(item, Mapping):
        keys = [_plain(key, name) for key in item]
        return ["dict", keys, []], [(str(key), part) for key, part in item.items()]
    if isinstance(item, (list, tuple)):
        kind = "list" if isinstance(item, list) else "tuple"
        return [kind, []], [(str(i), part) for i, part in enumerate(item)]
    return ["is", *_plain(item, name)], []


def _plain(item: Any, name: str) -> list[Any]:
    """A number, a text, None, a dtype: [kind, value]."""
    if isinstance(item, np.generic):
        item = item.item()
    if item is None or isinstance(item, (bool, str)):
        return ["", item]
    if isinstance(item, int):
        return ["", item] if abs(item) < 10**MAX_DIGITS else ["whole", hex(item)]
    if isinstance(item, float):
        if not math.isfinite(item):
            return ["float", str(item)]
        return ["", item] if len(repr(item)) < MAX_DIGITS else ["fraction", item.hex()]
    if isinstance(item, DType):
        return ["dtype", item.name]
    raise DTypeError(
        "save writes tensors, numbers and text by name",
        expected="dicts, lists and tuples of tensors, numbers, strings and None",
        got=f"{name}: {shown(item)}",
        hint="torch.save(model.state_dict(), path)",
    )


# -- reading ---------------------------------------------------------------------------------------------------------


def load(f: Any, map_location: Any = None, weights_only: bool = True) -> Any:
    """What was saved to a file; of a safetensors file by somebody else a dict of its tensors."""
    arrays, text = _of_stream(f) if hasattr(f, "read") else _of_path(f)
    tensors = {name: tensor(np.array(values), device=_place(map_location)) for name, values in arrays.items()}
    if text is None:
        return tensors
    try:
        _check(text)
        return _built(json.loads(text), tensors)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise DataLossError(
            f"{f}: the text that says how the tensors are nested is broken", got=str(error)[:80]
        ) from None


def _check(text: str) -> None:
    """Raise unless the text is one that a file may hold."""
    durable.check_structure(text.encode(), "the structure", max_depth=2 * MAX_DEPTH + 8, max_nodes=MAX_NODES)


def _of_path(path: Any) -> tuple[dict[str, Any], str | None]:
    with checkpoint.load(path) as found:
        return found.read_all(), found.metadata.get(STRUCTURE)


def _of_stream(f: Any) -> tuple[dict[str, Any], str | None]:
    """What a file that is open already, or lies in memory, holds from here on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tensors")
        path.write_bytes(f.read())
        return _of_path(path)


def _place(map_location: Any) -> Any:
    """Where tensors go: a device; what maps names of devices has nothing to say here."""
    return None if callable(map_location) or isinstance(map_location, Mapping) else map_location


_PARTED = {"dict": 2, "list": 1, "tuple": 1}  # kinds of nodes that have parts -> where in the node these are


def _built(root: Any, tensors: dict[str, EagerTensor]) -> Any:
    """The objects that the nodes stand for, the innermost first."""
    order: list[Any] = []
    work = [root]
    while work:
        node = work.pop()
        order.append(node)
        at = _PARTED.get(node[0])
        work += [] if at is None else node[at]
    made: dict[int, Any] = {}
    for node in reversed(order):
        at = _PARTED.get(node[0])
        parts = [] if at is None else [made[id(part)] for part in node[at]]
        made[id(node)] = _object(node, parts, tensors)
    return made[id(root)]


def _object(node: Any, parts: list[Any], tensors: dict[str, EagerTensor]) -> Any:
    kind = node[0]
    if kind == "dict":
        return dict(zip([_value(key) for key in node[1]], parts, strict=True))
    if kind in ("list", "tuple"):
        return parts if kind == "list" else tuple(parts)
    if kind == "is":
        return _value(node[1:])
    if kind not in ("tensor", "parameter"):
        raise ValueError(f"no such kind: {kind!r}")
    return tensors[node[1]].requires_grad_(kind == "parameter")


def _value(pair: Any) -> Any:
    kind, value = pair
    return _READ[kind](value) if kind else value
