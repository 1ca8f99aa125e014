"""`torch.save` and `torch.load`: tensors by name, in the format of safetensors.

Policy: a file holds arrays and their names, nothing that runs; nested dicts become names with dots.

State: none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphflow import checkpoint
from graphflow.eager.creation import tensor
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import DTypeError, shown


def save(obj: Any, f: Any) -> None:
    """Write a dict of tensors, which may be nested, to a file."""
    checkpoint.save(f, _flat(obj))


def _flat(obj: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    work: list[tuple[str, Any]] = [("", obj)]
    while work:
        name, item = work.pop()
        if isinstance(item, Mapping):
            work += [(f"{name}.{key}" if name else str(key), value) for key, value in reversed(list(item.items()))]
        elif isinstance(item, EagerTensor) and name:
            found[name] = np.asarray(item._array())
        elif isinstance(item, (int, float, np.ndarray)) and name:
            found[name] = np.asarray(item)
        else:
            raise DTypeError(
                "save writes tensors by name",
                expected="a dict of tensors",
                got=f"{name or 'the object'}: {shown(item)}",
                hint="torch.save(model.state_dict(), path)",
            )
    return found


def load(f: Any, map_location: Any = None, weights_only: bool = True) -> dict[str, EagerTensor]:
    """The tensors of a file, by name."""
    return {name: tensor(np.array(values)) for name, values in checkpoint.load(f).read_all().items()}
