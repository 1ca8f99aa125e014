"""ONNX Runtime: forward workloads as ONNX models, two threads, its own optimiser on except for the chain.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks import data
from benchmarks.peers import LeftOut, Prepared
from benchmarks.workloads import Workload


def versions() -> dict[str, str]:
    """What to print beside the figures."""
    return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}


class _Builder:
    """Collects nodes; every node has one output, whose name it returns."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def weight(self, name: str, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def scalar(self, name: str, value: float) -> str:
        return self.weight(name, np.array(value, np.float32))


def _noop(b: _Builder, arrays: data.Arrays) -> str:
    return b.add("Add", "x", b.scalar("one", 1.0))


def _chain(b: _Builder, arrays: data.Arrays) -> str:
    y = "x"
    for _ in range(data.CHAIN):
        y = b.add("Add", y, "b")
    return y


def _small(b: _Builder, arrays: data.Arrays) -> str:
    products = [b.add("MatMul", "x", b.weight(f"w{i}", arrays[f"w{i}"])) for i in range(data.SMALL)]
    return b.add("Sum", *products)


def _elementwise(b: _Builder, arrays: data.Arrays) -> str:
    first = b.add("Mul", b.add("Tanh", b.add("Add", b.add("Mul", "a", "b"), "c")), b.add("Sigmoid", "d"))
    second = b.add("Mul", b.add("Mul", "a", "a"), b.scalar("half", 0.5))
    third = b.add("Exp", b.add("Neg", b.add("Mul", "c", "c")))
    return b.add("ReduceMean", b.add("Add", b.add("Sub", first, second), third), keepdims=0)


def _wide(b: _Builder, arrays: data.Arrays) -> str:
    ends = []
    for i in range(data.BRANCHES):
        y = "x"
        for j in range(data.DEPTH):
            y = b.add("Tanh", b.add("MatMul", y, b.weight(f"w{i}_{j}", arrays[f"w{i}_{j}"])))
        ends.append(y)
    return b.add("Sum", *ends)


def _cnn(b: _Builder, arrays: data.Arrays) -> str:
    y = "x"
    for kernel, bias in (("k1", "c1"), ("k2", "c2")):
        weight = b.weight(kernel, arrays[kernel].transpose(3, 2, 0, 1))
        y = b.add("Conv", y, weight, b.weight(bias, arrays[bias]), pads=[2, 2, 2, 2])
        y = b.add("MaxPool", b.add("Relu", y), kernel_shape=[2, 2], strides=[2, 2])
    w1 = arrays["w1"].reshape(7, 7, 64, -1).transpose(2, 0, 1, 3).reshape(7 * 7 * 64, -1)
    y = b.add("Relu", b.add("Gemm", b.add("Flatten", y), b.weight("w1", w1), b.weight("b1", arrays["b1"])))
    return b.add("Gemm", y, b.weight("w2", arrays["w2"]), b.weight("b2", arrays["b2"]))


BUILDERS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "noop": (_noop, ("x",)), "chain": (_chain, ("x", "b")), "small": (_small, ("x",)), "wide": (_wide, ("x",)),
    "cnn": (_cnn, ("x",)), **{f"elementwise_{size}": (_elementwise, tuple("abcd")) for size in data.ELEMENTS},
}  # fmt: skip


def prepare(workload: Workload, arrays: data.Arrays, variant: str) -> Prepared:
    """The workload as an ONNX model in an inference session."""
    if workload.trains or workload.options.get("gradient"):
        raise LeftOut("runs forward only")
    builder, fed = BUILDERS[workload.family]
    b = _Builder()
    out = builder(b, arrays)
    feeds = {name: arrays[name] for name in fed}
    if workload.family == "cnn":
        feeds["x"] = arrays["x"].transpose(0, 3, 1, 2).copy()
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in feeds.items()]
    outputs = [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)]
    graph = helper.make_graph(b.nodes, workload.family, inputs, outputs, b.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.inter_op_num_threads = 1
    if workload.family == "chain":  # it would fold the additions
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Prepared(lambda: session.run(None, feeds))
