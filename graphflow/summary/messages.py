"""Protocol buffers for TensorBoard: a graph as it draws it, and what a run took as it lists it.

Policy: messages are made by tensorboardX's classes, without TensorFlow.  Those of a run's statistics tensorboardX does
not have: they are declared here, field by field, with TensorFlow's numbers.

State: the classes of a run's statistics, made once.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from graphflow.dtypes import DType
from graphflow.errors import UnavailableError
from graphflow.graph import Graph
from graphflow.spec import Dims
from graphflow.tensor import Operation

# TensorFlow's numbers of dtypes.
_DTYPES = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "string": 7, "complex64": 8, "int64": 9,
    "bool": 10, "bfloat16": 14, "uint16": 17, "complex128": 18, "float16": 19, "resource": 20, "uint32": 22,
    "uint64": 23,
}  # fmt: skip

# message -> fields as (name, number, type): "*" for repeated ones, a capital letter for a message.
_RUN_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "AllocationDescription": (("requested_bytes", 1, "int64"), ("allocated_bytes", 2, "int64")),
    "TensorDescription": (("dtype", 1, "int32"), ("allocation_description", 4, "AllocationDescription")),
    "NodeOutput": (("slot", 1, "int32"), ("tensor_description", 3, "TensorDescription")),
    "NodeExecStats": (
        ("node_name", 1, "string"), ("all_start_micros", 2, "int64"), ("op_start_rel_micros", 3, "int64"),
        ("op_end_rel_micros", 4, "int64"), ("all_end_rel_micros", 5, "int64"), ("output", 7, "*NodeOutput"),
        ("timeline_label", 8, "string"), ("scheduled_micros", 9, "int64"), ("thread_id", 10, "uint32"),
    ),
    "DeviceStepStats": (("device", 1, "string"), ("node_stats", 2, "*NodeExecStats")),
    "StepStats": (("dev_stats", 1, "*DeviceStepStats"),),
    "RunMetadata": (("step_stats", 1, "StepStats"),),
}  # fmt: skip


def module(name: str) -> Any:
    """A module of tensorboardX, at first use."""
    try:
        return importlib.import_module(f"tensorboardX.{name}")
    except ImportError as error:
        raise UnavailableError(
            "files for TensorBoard are written with tensorboardX, which is not installed",
            hint="pip install tensorboardX",
        ) from error


def graph_def(graph: Graph) -> Any:
    """The graph with its shapes, as TensorBoard's graph page reads it."""
    made = module("proto.graph_pb2").GraphDef()
    made.versions.producer = 22
    for op in graph.get_operations():
        node = made.node.add(name=op.name, op=op.type, device=op.device or "")
        node.input.extend([_reference(x) for x in op.inputs])
        node.input.extend([f"^{before.name}" for before in op.control_inputs])
        _describe(node, op)
    return made


def _reference(tensor: Any) -> str:
    name, _, number = str(tensor.name).rpartition(":")
    return name if number == "0" else f"{name}:{number}"


def _describe(node: Any, op: Operation) -> None:
    shapes = node.attr["_output_shapes"].list
    for output in op.outputs:
        _fill_shape(shapes.shape.add(), output.dims)
    if op.outputs:
        node.attr["T"].type = dtype_number(op.outputs[0].dtype)
    if op.source:
        node.attr["_source"].s = str(op.source).encode()


def _fill_shape(shape: Any, dims: Dims) -> None:
    if dims is None:
        shape.unknown_rank = True
    else:
        for size in dims:
            shape.dim.add(size=-1 if size is None else size)


def dtype_number(dtype: DType) -> int:
    """TensorFlow's number of a dtype; 0 if it has none."""
    return _DTYPES.get(dtype.name, 0)


@functools.cache
def run_message(name: str) -> Any:
    """The class of one of the messages of a run's statistics."""
    module("proto.event_pb2")  # brings protobuf
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="graphflow_run.proto", package="graphflow_run", syntax="proto3")
    for message, fields in _RUN_MESSAGES.items():
        made = file.message_type.add(name=message)
        for field, number, kind in fields:
            repeated, kind = kind.startswith("*"), kind.lstrip("*")
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _RUN_MESSAGES:
                made.field.add(
                    name=field, number=number, label=label, type=kinds.TYPE_MESSAGE, type_name=f".graphflow_run.{kind}"
                )
            else:
                made.field.add(name=field, number=number, label=label, type=getattr(kinds, f"TYPE_{kind.upper()}"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"graphflow_run.{name}"))
