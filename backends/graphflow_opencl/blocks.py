"""Rules of diagonals, and of pictures cut into blocks.

State: none.
"""

from __future__ import annotations

from graphflow.spec import numel
from graphflow_opencl.axes import Axis, Extra, plain, strides, word
from graphflow_opencl.checking import numbers
from graphflow_opencl.movement import Launches, plain_move, rearranged
from graphflow_opencl.moving import move
from graphflow_opencl.table import Site, rule

# -- diagonals -------------------------------------------------------------------------------------------------------


@rule("Diag")
def _diag(site: Site) -> Launches:
    size = numel(site.dims_in())
    return plain_move(site, [plain(size, 1, "line"), Axis(size, (), "", "0", 0, "@ == line")], "diagonal")


@rule("MatrixDiag")
def _matrix_diag(site: Site) -> Launches:
    *outer, size = site.dims_in()
    axes = [plain(numel(outer), size), plain(size, 1, "line"), Axis(size, (), "", "0", 0, "@ == line")]
    return plain_move(site, axes, "diagonal matrices")


@rule("DiagPart")
def _diag_part(site: Site) -> Launches:
    dims = site.dims_in()
    half = dims[: len(dims) // 2]
    if not dims or dims != (*half, *half):
        return None
    return plain_move(site, [plain(numel(half), numel(half) + 1)], "diagonal part")


@rule("MatrixDiagPart")
def _matrix_diag_part(site: Site) -> Launches:
    *outer, lines, columns = site.dims_in()
    axes = [plain(numel(outer), lines * columns), plain(min(lines, columns), columns + 1)]
    return plain_move(site, axes, "diagonals of matrices")


@rule("MatrixSetDiag")
def _matrix_set_diag(site: Site) -> Launches:
    *outer, lines, columns = site.dims_in()
    shorter = min(lines, columns)
    found = word(site.inputs[0].dtype)
    if site.dims_in(1) != (*outer, shorter) or found is None or found[1] > 1:
        return None
    axes = [
        plain(numel(outer), lines * columns, "matrix"),
        plain(lines, columns, "line"),
        Axis(columns, (), "", "@", 1, "@ != line"),
    ]
    extras = (Extra(f"__global const {found[0]} *diagonal", site.ins.inputs[1]),)
    return move(
        site, axes, site.ins.inputs[0], site.ins.outputs[0], site.inputs[0].dtype, "set diagonals",
        fill=f"diagonal[matrix * {shorter} + line]", extras=extras,
    )  # fmt: skip


@rule("MatrixBandPart")
def _matrix_band_part(site: Site) -> Launches:
    *outer, lines, columns = site.dims_in()
    lower = "((long)lower[0] < 0 || @ - line >= -(long)lower[0])"
    upper = "((long)upper[0] < 0 || @ - line <= (long)upper[0])"
    axes = [
        plain(numel(outer), lines * columns),
        plain(lines, columns, "line"),
        Axis(columns, (), "", "@", 1, f"{lower} && {upper}"),
    ]
    extras = [numbers(site.inputs[k].dtype, ("lower", "upper")[k - 1], site.ins.inputs[k]) for k in (1, 2)]
    return plain_move(site, axes, "band part", extras=extras)


# -- pictures --------------------------------------------------------------------------------------------------------


@rule("DepthToSpace")
def _depth_to_space(site: Site) -> Launches:
    s, dims = site.attrs["block_size"], site.dims_in()
    if site.attrs["data_format"] == "NCHW":
        n, c, h, w = dims
        return rearranged(site, (n, s, s, c // (s * s), h, w), (0, 3, 4, 1, 5, 2), "depth to space")
    n, h, w, c = dims
    return rearranged(site, (n, h, w, s, s, c // (s * s)), (0, 1, 3, 2, 4, 5), "depth to space")


@rule("SpaceToDepth")
def _space_to_depth(site: Site) -> Launches:
    s, dims = site.attrs["block_size"], site.dims_in()
    if site.attrs["data_format"] == "NCHW":
        n, c, h, w = dims
        return rearranged(site, (n, c, h // s, s, w // s, s), (0, 3, 5, 1, 2, 4), "space to depth")
    n, h, w, c = dims
    return rearranged(site, (n, h // s, s, w // s, s, c), (0, 1, 3, 2, 4, 5), "space to depth")


@rule("SpaceToBatchND")
def _space_to_batch(site: Site) -> Launches:
    dims, block, pairs = site.dims_in(), site.attrs["block_shape"], site.attrs["paddings"]
    step, count = strides(dims), len(block)
    blocks: list[Axis] = []
    inner: list[Axis] = []
    offset = 0
    for k, (s, (a, b)) in enumerate(zip(block, pairs, strict=True)):
        size, stride = dims[1 + k], step[1 + k]
        if not a and not b:
            blocks.append(plain(s, stride))
            inner.append(plain(size // s, stride * s))
            continue
        at = f"(@ * {s} + r{k})"
        blocks.append(plain(s, stride, f"r{k}"))
        inner.append(Axis((size + a + b) // s, (), "", "@", stride * s, f"{at} >= {a} && {at} < {a + size}"))
        offset -= a * stride
    rest = [plain(d, s) for d, s in zip(dims[1 + count :], step[1 + count :], strict=True)]
    return plain_move(site, [*blocks, plain(dims[0], step[0]), *inner, *rest], "space to batch", offset)


@rule("BatchToSpaceND")
def _batch_to_space(site: Site) -> Launches:
    dims, block, crops = site.dims_in(), site.attrs["block_shape"], site.attrs["crops"]
    out, count = site.dims_out(), len(block)
    step = strides((*block, dims[0] // numel(block), *dims[1:]))
    axes = [plain(out[0], step[count])]
    for k, (s, (a, b)) in enumerate(zip(block, crops, strict=True)):
        across, along = step[k], step[count + 1 + k]
        if not a and not b:
            axes += [plain(dims[1 + k], along), plain(s, across)]
        else:
            axes.append(Axis(out[1 + k], (), "", f"(@ + {a}) / {s} * {along} + (@ + {a}) % {s} * {across}", 1))
    axes += [plain(d, s) for d, s in zip(dims[1 + count :], step[2 * count + 1 :], strict=True)]
    return plain_move(site, axes, "batch to space")
