"""Rules of softmax and of cross-entropies: kernels that work on the rows of a matrix.

Policy: a row is read from memory once or from a near cache, and all results of an op come from one launch.  The largest
element is subtracted first; a row that holds a NaN, or -inf alone, gives NaN; a class that is impossible and unlabelled
counts as 0 in a cross-entropy.  Half precision is computed in float32.  What the ops differ in stands in `OPS`.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from graphflow.errors import InvalidArgumentError
from graphflow_opencl import short_rows
from graphflow_opencl.movement import Launches
from graphflow_opencl.registers import held
from graphflow_opencl.row_text import NUMBERS, SHARES, RowOp, Rows, cpu_rows, gpu_rows
from graphflow_opencl.table import Site, rule

TOTAL = ("total", "e")  # the sum of the exponentials

OPS: dict[str, RowOp] = {
    "Softmax": RowOp("softmax", (TOTAL,), "1 / total", "e * scale"),
    "LogSoftmax": RowOp("log-softmax", (TOTAL,), "LOG(total)", "d - scale"),
    "SoftmaxCrossEntropyWithLogits": RowOp(
        "softmax cross-entropy",
        (TOTAL, ("weight", "t"), ("found", "(t == 0) ? (VECTOR)(0) : t * d")),
        "weight / total",
        "e * scale - t",
        "((weight == 0 && found == 0) ? (VECTOR)(0) : weight * LOG(total)) - found",
        SHARES,
    ),
    "SparseSoftmaxCrossEntropyWithLogits": RowOp(
        "sparse softmax cross-entropy",
        (TOTAL,),
        "1 / total",
        "e * scale",
        "LOG(total) - chosen",
        NUMBERS,
    ),
}


def _launches(site: Site, op: RowOp, rows: Rows) -> Launches:
    """The launch over these rows."""
    if not rows.height:
        return []
    if not rows.classes:
        return None if op.labels else []  # sums over nothing are for the host
    if any(not held(known.dtype) for known in site.inputs):
        return None
    if short_rows.fits(rows, site.traits):
        return [short_rows.cpu_short_rows(op, rows, site.traits)]
    return [gpu_rows(op, rows, site.traits) if site.traits.schedule == "gpu" else cpu_rows(op, rows, site.traits)]


@rule("Softmax", "LogSoftmax")
def _softmax(site: Site) -> Launches:
    dims = site.dims_out()
    rows = Rows(prod(dims[:-1]), dims[-1], site.inputs[0].dtype, site.ins.inputs[0], slope=site.ins.outputs[0])
    return _launches(site, OPS[site.ins.type], rows)


@rule("SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits")
def _cross_entropy(site: Site) -> Launches:
    op, dims = OPS[site.ins.type], site.dims_in()
    logits, labels = site.inputs
    if site.dims_in(1) != (dims if op.labels == SHARES else dims[:-1]):
        return None
    if op.labels == SHARES and labels.dtype != logits.dtype:
        return None
    loss, slope = site.ins.outputs
    rows = Rows(
        prod(dims[:-1]), dims[-1], logits.dtype, site.ins.inputs[0], site.ins.inputs[1], labels.dtype, loss, slope,
        _no_class(site, dims),
    )  # fmt: skip
    return _launches(site, op, rows)


def _no_class(site: Site, dims: tuple[int, ...]) -> Callable[[int], Exception]:
    """The error for the label of a row."""

    def explain(position: int) -> Exception:
        where = [int(i) for i in np.unravel_index(position, dims[:-1])] if dims[1:] else []
        return InvalidArgumentError(
            f"the label{f' at {where}' if where else ''} is no class",
            op=site.ins.op,
            expected=f"0 <= label < {dims[-1]}, the size of the logits' last axis",
        )

    return explain
