"""Which products and convolutions the host had better compute, and what is tried before the device computes one.

Policy: what counts is how many operations an instruction takes; the rest is for `tuning` to find out.  One row an op
type.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphflow.program import Instruction
from graphflow.spec import TensorSpec, is_concrete, numel
from graphflow_opencl import tuning
from graphflow_opencl.devices import Device

Values = Sequence[TensorSpec]


class Work(NamedTuple):
    """What the host may be better at."""

    kind: str  # as `tuning` knows it
    result: int  # where the result stands among inputs and outputs
    weights: int  # where the second operand does


WORK = {
    "MatMul": Work("product", 2, 1),
    "Conv2D": Work("convolution", 2, 1),
    "Conv2DBackpropInput": Work("convolution", 2, 1),
    "Conv2DBackpropFilter": Work("convolution", 2, 3),
    "Conv3D": Work("convolution", 2, 1),
    "Conv3DBackpropInputV2": Work("convolution", 2, 1),
    "Conv3DBackpropFilterV2": Work("convolution", 2, 3),
}


def host_is_better(ins: Instruction, values: Values, device: Device) -> str:
    """Why the host is the better place for an instruction that has a kernel, if it is."""
    work = WORK.get(ins.type)
    if work is None:
        return ""
    numbers = (*ins.inputs, *ins.outputs)
    made, weights = values[numbers[work.result]].dims, values[numbers[work.weights]].dims
    assert is_concrete(made) and is_concrete(weights)
    if not numel(made) or not weights or not weights[-1]:
        return ""
    flops = 2.0 * numel(made) * numel(weights) / _sharing(ins, work.kind, weights, values)
    if tuning.prefers_host(device, work.kind, flops):
        return "a probe found the host faster for products of this size"
    return ""


def _sharing(ins: Instruction, kind: str, weights: tuple[int, ...], values: Values) -> int:
    """How many results share an element of the first operand."""
    if kind == "product":
        columns = (values[ins.outputs[0]].dims or (1,))[-1]
        return (columns or 1) * max(1, numel(weights[:-2]))
    return weights[-1]


def tune_for(ins: Instruction, values: Values, device: Device) -> None:
    """On a GPU, find the best way to compute a product of these sizes when the first one comes."""
    if ins.type == "MatMul" and device.kind == "gpu" and device.traits.schedule == "gpu":
        made, other = values[ins.outputs[0]].dims, values[ins.inputs[0]]
        assert is_concrete(made) and is_concrete(other.dims)
        if numel(made):
            depth = other.dims[-2] if ins.attrs.get("transpose_a") else other.dims[-1]
            tuning.tune(device, (made[-2], made[-1], depth), values[ins.outputs[0]].dtype.name)
