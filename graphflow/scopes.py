"""The default graph's methods as functions: collections and gradient overrides.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.graph import get_default_graph


def add_to_collection(name: str, value: Any) -> None:
    """Append to a collection of the default graph."""
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: Any, value: Any) -> None:
    """Append to several collections of the default graph."""
    get_default_graph().add_to_collections(names, value)


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """A copy of a collection of the default graph, or of its items whose name matches `scope`."""
    return get_default_graph().get_collection(key, scope)


def get_collection_ref(key: str) -> list[Any]:
    """A collection of the default graph itself."""
    return get_default_graph().get_collection_ref(key)


def gradient_override_map(op_type_map: dict[str, str]) -> Any:
    """Ops built inside use the gradient registered under another name."""
    return get_default_graph().gradient_override_map(op_type_map)
