"""Eager tensors inside graphs: a parameter of a module becomes a variable of the graph.

Policy: one model serves both modes.  A parameter is one variable for each graph that it is used in, made at its first
use there, with the parameter's value of then as its initial value.  Every other eager tensor in a graph is most
likely a mistake, and is refused with the remedy.

State: for each graph, in its store, the variables that stand for parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.eager.tensor import EagerTensor
from graphflow.errors import GraphError
from graphflow.graph import FuncGraph, Graph, bind_adoption
from graphflow.tensor import Tensor
from graphflow.variables import Variable

STORE = "parameters"  # key in graph.store: id of a parameter -> (the parameter, its variable)


def adopt(graph: Graph, tensor: Tensor) -> Tensor:
    """What stands for an eager tensor in a graph."""
    root = graph
    while isinstance(root, FuncGraph):
        root = root.outer
    if not isinstance(tensor, EagerTensor) or not tensor.is_parameter:
        raise GraphError(
            "an eager tensor is used in a graph, which would keep the value of this moment for ever",
            got=repr(tensor)[:80],
            hint="tf.constant(x.numpy()) says that it is a constant; a placeholder takes another value in each run",
        )
    found = variable_of(root, tensor)
    return graph.capture(found._as_tensor())


def variable_of(root: Graph, parameter: EagerTensor) -> Any:
    """The variable of a parameter in a graph."""
    known = root.store.setdefault(STORE, {})
    if id(parameter) not in known:
        with root.as_default(), root.control_dependencies(None):
            variable = Variable(np.array(parameter.value), trainable=parameter.requires_grad, name="parameter")
        known[id(parameter)] = parameter, variable
    return known[id(parameter)][1]


bind_adoption(adopt)
