"""Rules where several elements of a source meet in one of the result, or follow from one another along an axis.

Policy: gathers, never scatters: each item makes its own elements and takes what meets there in a fixed order.  What
NumPy's kernel rounds between two axes is rounded here too.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.dtypes import DType
from graphflow.spec import numel
from graphflow_opencl.axes import each_launch, index_type, plain, strides, unravelled
from graphflow_opencl.expressions import load, register_type, storage_type, store
from graphflow_opencl.movement import Launches, paddings_of, plain_move
from graphflow_opencl.registers import held
from graphflow_opencl.table import Launch, Scratch, Site, rule

COLUMNS = 16  # lines that an item of a CPU follows side by side


def _each(
    site: Site, dtype: DType, count: int, body: str, arguments: Sequence[Any], names: Sequence[str], title: str
) -> Launch:
    """A launch of statements for each `id` of a result; the last argument is what is written."""
    index = index_type(count, *[numel(site.dims_in(i)) for i in range(len(site.inputs))])
    kind = storage_type(dtype)
    declared = [*[f"__global const {kind} *restrict {n}" for n in names[:-1]], f"__global {kind} *restrict {names[-1]}"]
    written = [a for a in arguments[-1:] if isinstance(a, int)]
    cost = 4 * int(dtype.size)
    return each_launch(site.traits, count, cost, declared, arguments, written, body, title, index=index)


@rule("TileGrad")
def _tile_grad(site: Site) -> Launches:
    dims, out, dtype = site.dims_in(), site.dims_out(), site.inputs[0].dtype
    if not held(dtype) or 0 in dims and 0 not in out:
        return None
    if not numel(out):
        return []
    times = [d // n for d, n in zip(dims, out, strict=True)]
    index = index_type(numel(dims))
    step = strides(dims)
    names = [f"c{k}" for k in range(len(out))]
    place = " + ".join(["0", *[f"{s} * {n}" for s, n in zip(step, names, strict=True)]])
    opening, closing, at = "", "", f"b{len(out)}"
    for k, (m, d) in enumerate(zip(times, out, strict=True)):
        opening += f"for ({index} t{k} = 0; t{k} < {m}; t{k}++) {{\n        "
        opening += f"const {index} b{k + 1} = b{k} + t{k} * {d * step[k]};\n        "
        closing += "}"
    kind = register_type(dtype, 1)
    body = f"""{index} rest = id; {unravelled(out, names, "rest", index)}
    const {index} b0 = {place};
    {kind} sum = 0;
    {opening}sum += {load(dtype, 1, "x", at)};{closing}
    {store(dtype, 1, "y", "id", "sum")}"""
    return [_each(site, dtype, numel(out), body, (site.ins.inputs[0], site.ins.outputs[0]), ("x", "y"), "fold tiles")]


@rule("MirrorPadGrad")
def _mirror_pad_grad(site: Site) -> Launches:
    pairs, dims, dtype, out = paddings_of(site, 2), list(site.dims_in()), site.inputs[0].dtype, site.dims_out()
    edge = int(site.attrs["mode"] == "REFLECT")
    if pairs is None or not held(dtype) or any(n + a + b != d for n, (a, b), d in zip(out, pairs, dims, strict=True)):
        return None
    if not numel(out):
        return []
    padded = [k for k, pair in enumerate(pairs) if pair != (0, 0)]
    if not padded:
        return plain_move(site, [plain(numel(out), 1)], "copy")
    launches: list[Launch] = []
    source: Any = site.ins.inputs[0]
    for number, k in enumerate(padded):
        dims[k] = out[k]
        last = k == padded[-1]
        target: Any = site.ins.outputs[0] if last else Scratch(number % 2, numel(dims) * int(dtype.size))
        body = _folded(dtype, out[k], pairs[k], numel(dims[k + 1 :]), edge, index_type(numel(site.dims_in())))
        launches.append(_each(site, dtype, numel(dims), body, (source, target), ("x", "y"), "fold mirrors"))
        source = target
    return _of_one_size(launches)


def _of_one_size(launches: Sequence[Launch]) -> list[Launch]:
    """The launches, equal scratch numbers having the largest of their sizes."""
    most: dict[int, int] = {}
    for launch in launches:
        for a in launch.arguments:
            if isinstance(a, Scratch):
                most[a.number] = max(a.nbytes, most.get(a.number, 0))

    def enlarged(argument: Any) -> Any:
        return argument._replace(nbytes=most[argument.number]) if isinstance(argument, Scratch) else argument

    return [x._replace(arguments=tuple([enlarged(a) for a in x.arguments])) for x in launches]


def _folded(dtype: DType, size: int, pair: tuple[int, int], inner: int, edge: int, index: str) -> str:
    """Statements that add both margins of one axis to what they mirror."""
    before, after = pair
    kind = register_type(dtype, 1)

    def at(place: str) -> str:
        return load(dtype, 1, "x", f"base + ({place}) * {inner}")

    lines = [
        f"const {index} i = id % {inner}, c = id / {inner} % {size};",
        f"const {index} base = id / {inner * size} * {inner * (size + before + after)} + i;",
        f"{kind} sum = {at(f'c + {before}')};",
    ]
    if before:
        lines.append(f"if (c >= {edge} && c < {edge + before}) sum += {at(f'{before - 1 + edge} - c')};")
    if after:
        low = size - edge - after
        lines.append(f"if (c >= {low} && c < {low + after}) sum += {at(f'{before + size + size - edge - 1} - c')};")
    lines.append(store(dtype, 1, "y", "id", "sum"))
    return "\n    ".join(lines)


@rule("LinearRecurrence")
def _recurrence(site: Site) -> Launches:
    """`y[0] = 0, y[i + 1] = a[i] * y[i] + b[i]` along an axis, or the same backwards."""
    dims, dtype = site.dims_in(1), site.inputs[1].dtype
    if not held(dtype) or site.inputs[0].dtype is not dtype or site.dims_in() != dims:
        return None
    if not numel(dims):
        return []
    axis = site.attrs["axis"] % len(dims)
    outer, steps, inner = numel(dims[:axis]), dims[axis], numel(dims[axis + 1 :])
    index, kind = index_type(numel(dims)), register_type(dtype, 1)
    columns = 1 if site.traits.schedule == "gpu" else min(COLUMNS, inner)
    blocks = -(-inner // columns)
    at = "steps - 1 - i" if site.attrs["reverse"] else "i"
    body = f"""const {index} steps = {steps}, c0 = id % {blocks} * {columns}, n = min(({index}){columns}, {inner} - c0);
    {kind} s[{columns}];
    for ({index} c = 0; c < n; c++) s[c] = 0;
    for ({index} i = 0; i < steps; i++) {{
        const {index} base = (id / {blocks} * steps + {at}) * {inner} + c0;
        for ({index} c = 0; c < n; c++) {{
            {store(dtype, 1, "y", "base + c", "s[c]")}
            s[c] = {load(dtype, 1, "a", "base + c")} * s[c] + {load(dtype, 1, "b", "base + c")};
        }}
    }}"""
    arguments = (*site.ins.inputs[:2], site.ins.outputs[0])
    return [_each(site, dtype, outer * blocks, body, arguments, ("a", "b", "y"), "linear recurrence")]
