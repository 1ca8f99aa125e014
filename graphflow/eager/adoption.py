"""Eager tensors inside graphs: a parameter of a module becomes a variable of the graph.

Policy: one model serves both modes.  A parameter is one variable for each graph that it is used in, made at its first
use there, with the parameter's value of then as its initial value, and named by the path of the parameter in the module
that is called, `Net/layers/0/weight`.  What a module makes of numbers while it is called is a constant.  Every other
eager tensor in a graph is most likely a mistake, and is refused with the remedy.

State: for each graph, in its store, the variables that stand for parameters; per thread the module that is called.
"""

from __future__ import annotations

import re
import threading
from typing import Any

import numpy as np

from graphflow.defaults import stacks
from graphflow.eager.storage import plain_array
from graphflow.eager.tensor import ANY, EagerTensor
from graphflow.eager.traced import module_call
from graphflow.errors import GraphError
from graphflow.graph import FuncGraph, Graph, bind_adoption
from graphflow.ops import core
from graphflow.tensor import Tensor
from graphflow.variables import Variable

UNFIT = re.compile(r"[^A-Za-z0-9_.\\/-]")  # what names of ops have not
_IN_A_GRAPH = "tf.constant(x.numpy()) says that it is a constant; a placeholder takes another value in each run"
STORE = "parameters"  # key in graph.store: id of a parameter -> (the parameter, its variable)


class Naming(threading.local):
    """The outermost module that is called on the tensors of a graph, and the paths of its parameters and buffers."""

    def __init__(self) -> None:
        self.module: Any = None
        self.paths: dict[int, str] | None = None

    def name_of(self, parameter: EagerTensor) -> str:
        """The name of the variable that stands for a parameter."""
        module = self.module
        if module is None:
            return "parameter"
        if self.paths is None:
            self.paths = {id(x): path for path, x in (*module.named_buffers(), *module.named_parameters())}
        whole = type(module).__name__.lstrip("_")
        path = self.paths.get(id(parameter), "parameter").replace(".", "/")
        return UNFIT.sub("_", f"{whole}/{path}" if whole else path)


naming = Naming()


def adopt(graph: Graph, tensor: Tensor) -> Tensor:
    """What stands for an eager tensor in a graph."""
    root = graph
    while isinstance(root, FuncGraph):
        root = root.outer
    if id(tensor) in (module_call.numbers or ()):
        with graph.as_default():
            return core.constant(np.array(plain_array(tensor)), tensor.dtype)
    if not isinstance(tensor, EagerTensor) or tensor.role == ANY:
        raise GraphError(
            "an eager tensor is used in a graph, which would keep the value of this moment for ever",
            got=repr(tensor)[:80],
            hint=_IN_A_GRAPH if stacks.graphs else f"`with gf.eager():` around it computes it at once; {_IN_A_GRAPH}",
        )
    found = variable_of(root, tensor)
    return graph.capture(found._as_tensor())


def variable_of(root: Graph, parameter: EagerTensor) -> Any:
    """The variable of a parameter in a graph."""
    known = root.store.setdefault(STORE, {})
    if id(parameter) not in known:
        name = naming.name_of(parameter)
        with root.as_default(), root.control_dependencies(None), root.name_scope(None):
            variable = Variable(np.array(plain_array(parameter)), trainable=parameter.requires_grad, name=name)
        known[id(parameter)] = parameter, variable
    return known[id(parameter)][1]


bind_adoption(adopt)
