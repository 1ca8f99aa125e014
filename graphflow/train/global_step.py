"""The global step: one integer variable that counts the updates.

Policy: it is the only item of the collection GLOBAL_STEP, and called `global_step` if graphflow makes it.

State: none; the variable belongs to its graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.errors import AlreadyExistsError, DTypeError, InvalidArgumentError, MissingNameError, ShapeError
from graphflow.graph import Graph, get_default_graph
from graphflow.keys import GraphKeys
from graphflow.ops import state
from graphflow.variables import Variable


def get_global_step(graph: Graph | None = None) -> Any:
    """The global step of the graph; None if it has none."""
    graph = state.outermost(graph or get_default_graph())
    found = list(dict.fromkeys(graph.get_collection(GraphKeys.GLOBAL_STEP)))
    if len(found) > 1:
        raise InvalidArgumentError("the graph has several global steps", got=", ".join(v.name for v in found))
    if not found:
        try:
            handle = graph.get_tensor_by_name("global_step:0")
        except MissingNameError:
            return None
        found = [graph.store.get("variables", {}).get(handle, handle)]
    assert_global_step(found[0])
    return found[0]


def create_global_step(graph: Graph | None = None) -> Any:
    """Make the global step, an int64 variable that starts at 0."""
    graph = state.outermost(graph or get_default_graph())
    if get_global_step(graph) is not None:
        raise AlreadyExistsError('"global_step" already exists.', hint="tf.train.get_or_create_global_step()")
    with graph.as_default(), graph.name_scope(None):
        return Variable(
            np.int64(0),
            trainable=False,
            collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP],
            name="global_step",
        )


def get_or_create_global_step(graph: Graph | None = None) -> Any:
    """The global step of the graph, made if it has none."""
    found = get_global_step(graph)
    return create_global_step(graph) if found is None else found


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The value of the global step in a session."""
    return int(sess.run(global_step_tensor))


def assert_global_step(global_step_tensor: Any) -> None:
    """Raise unless it is an integer scalar."""
    if not hasattr(global_step_tensor, "dtype") or not hasattr(global_step_tensor, "graph"):
        raise DTypeError("the global step is a variable or a tensor", got=repr(global_step_tensor)[:80])
    if global_step_tensor.dtype not in (dtypes.int32, dtypes.int64):
        raise DTypeError("the global step counts", expected="int32 or int64", got=global_step_tensor.dtype.name)
    if global_step_tensor.dims not in ((), None):
        raise ShapeError("the global step is a scalar", got=str(global_step_tensor.shape))
