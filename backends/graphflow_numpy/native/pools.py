"""Native pooling over images and its gradients: all channels of a pixel in vectors, window after window.

Policy: what NumPy's kernels do: padding is never an element, a NaN in a window is its maximum, the first of several
maxima in the window's order gets the gradient.  Channels come last.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from graphflow.numerics.windows import AxisWindow, window_axes
from graphflow.program import Instruction
from graphflow_numpy.native.calls import CALL, ELEMENT, Call, Scope, maker
from graphflow_numpy.native.engine import Build, Entry, ModuleBuilder
from graphflow_numpy.native.nests import BYTES, LLVM, Body, Index, vector
from graphflow_numpy.native.tiles import lanes_for


class Pool(NamedTuple):
    """All that the code depends on."""

    dtype: str
    images: int
    rows: AxisWindow
    columns: AxisWindow
    channels: int

    @property
    def image(self) -> int:
        """Elements of an image."""
        return self.rows.size * self.columns.size * self.channels

    @property
    def pooled(self) -> int:
        """Elements of what it becomes."""
        return self.rows.out * self.columns.out * self.channels


Tap = tuple[Index, Index, "str | None"]  # row and column, inside the image, and whether they were (None: always)


def _pool(scope: Scope, ins: Instruction, x: tuple[int, ...], dtype: str) -> Pool | None:
    attrs = ins.attrs
    if attrs["data_format"] != "NHWC" or len(x) != 4 or dtype not in ("float32", "float64"):
        return None
    axes = window_axes(x[1:3], attrs["ksize"], attrs["strides"], (1, 1), attrs["padding"])
    return Pool(dtype, x[0], axes[0], axes[1], x[3]) if all(a.out > 0 for a in axes) else None


def _place(body: Body, axis: AxisWindow, o: Index, tap: int) -> tuple[Index, list[str]]:
    """Where a tap of output `o` reads, moved inside, and the conditions under which it need not be moved."""
    at = body.add(body.mul(o, axis.stride), tap - axis.before)
    below, above = tap < axis.before, (axis.out - 1) * axis.stride + tap - axis.before >= axis.size
    conditions = []
    if below:
        conditions.append(body.let(f"icmp sge i64 {at}, 0"))
    if above:
        conditions.append(body.let(f"icmp slt i64 {at}, {axis.size}"))
    if below:
        at = body.maximum(at, 0)
    if above:
        at = body.minimum(at, axis.size - 1)
    return at, conditions


def _taps(body: Body, p: Pool, y: Index, x: Index) -> list[Tap]:
    """All window positions of an output, in their order."""
    columns = [_place(body, p.columns, x, j) for j in range(p.columns.kernel)]
    out: list[Tap] = []
    for i in range(p.rows.kernel):
        row, inside = _place(body, p.rows, y, i)
        for column, also in columns:
            condition = None
            for c in (*inside, *also):
                condition = c if condition is None else body.let(f"and i1 {condition}, {c}")
            out.append((row, column, condition))
    return out


def _channels(body: Body, p: Pool, of: str, step: Callable[[Index, int, int], None]) -> None:
    """`step(channel, lanes, real)` for vectors of channels."""
    lanes = lanes_for(of, p.channels)
    whole = p.channels // lanes * lanes
    body.loop(0, whole, lanes, lambda k: step(k, lanes, lanes))
    if whole < p.channels:
        step(whole, lanes, p.channels - whole)


def _kernel(name: str, p: Pool, units: int, write: Callable[[Body, str], None]) -> Build:
    def build(module: ModuleBuilder) -> Entry:
        body = Body(module)
        write(body, LLVM[p.dtype])
        symbol = module.symbol(name)
        body.finish(symbol)
        return Entry(symbol, units)

    return build


def _pixel(body: Body, p: Pool, row: Index, column: Index) -> Index:
    return body.mul(body.add(body.mul(row, p.columns.size), column), p.channels)


# -- forward ---------------------------------------------------------------------------------------------------------


@maker("MaxPool", "AvgPool")
def _forward(scope: Scope, ins: Instruction) -> list[Call] | None:
    p = _pool(scope, ins, scope.dims(ins.inputs[0]), scope.dtype(ins.inputs[0]))
    if p is None:
        return None
    mean = ins.type == "AvgPool"

    def write(body: Body, of: str) -> None:
        source, target = body.pointer(0), body.pointer(1)

        def row(u: Index) -> None:
            n, y = body.divmod(u, p.rows.out)
            image = body.at(source, of, body.mul(n, p.image))
            out = body.at(target, of, body.mul(u, p.columns.out * p.channels))

            def pixel(x: Index) -> None:
                taps = _taps(body, p, y, x)
                places = [(body.at(image, of, _pixel(body, p, r, c)), inside) for r, c, inside in taps]
                here = body.at(out, of, body.mul(x, p.channels))
                count = _count(body, taps, of) if mean else ""

                def some(k: Index, lanes: int, real: int) -> None:
                    found = _mean(body, of, places, k, lanes, real, count) if mean else _largest(
                        body, of, places, k, lanes, real)  # fmt: skip
                    body.store_some(found, here, of, k, lanes, real)

                _channels(body, p, of, some)

            body.loop(0, p.columns.out, 1, pixel)

        body.loop("%begin", "%end", 1, row)

    seconds = CALL + p.images * (p.image + p.pooled) * ELEMENT
    return [Call((ins.type, p), _kernel("pool", p, p.images * p.rows.out, write), ins.inputs, ins.outputs, seconds)]


def _largest(body: Body, of: str, places: list[tuple[str, str | None]], k: Index, lanes: int, real: int) -> str:
    """The maximum of a window; a position that was moved inside names an element of the window again."""
    kind = vector(of, lanes)
    suffix = {"float": "f32", "double": "f64"}[of]
    name = f"llvm.maximum.{suffix}" if lanes == 1 else f"llvm.maximum.v{lanes}{suffix}"
    found = ""
    for place, _ in places:
        value = body.load_some(place, of, k, lanes, real)
        found = body.call(name, kind, (kind, found), (kind, value)) if found else value
    return found


def _count(body: Body, taps: list[Tap], of: str) -> str:
    """How many positions of a window are inside, as a number of the dtype."""
    total = "0"
    for _, _, inside in taps:
        one = "1" if inside is None else body.let(f"zext i1 {inside} to i64")
        total = body.let(f"add i64 {total}, {one}")
    return body.let(f"sitofp i64 {total} to {of}")


def _mean(
    body: Body, of: str, places: list[tuple[str, str | None]], k: Index, lanes: int, real: int, count: str
) -> str:
    kind = vector(of, lanes)
    zero = "zeroinitializer" if lanes > 1 else "0.0"
    total = ""
    for place, inside in places:
        value = body.load_some(place, of, k, lanes, real)
        if inside is not None:
            value = body.let(f"select i1 {inside}, {kind} {value}, {kind} {zero}")
        total = body.let(f"fadd {kind} {total}, {value}") if total else value
    return body.let(f"fdiv {kind} {total}, {body.spread(count, of, lanes)}")


# -- gradients -------------------------------------------------------------------------------------------------------


def _covers(p: Pool) -> bool:
    """Whether each element of the image is in exactly one window."""
    return all(a.stride == a.kernel and a.out * a.stride - a.before >= a.size for a in (p.rows, p.columns))


def _overlaps(p: Pool) -> bool:
    return any(a.stride < a.kernel for a in (p.rows, p.columns))


def _gradient(p: Pool, inputs: int, some: Callable[..., None]) -> Callable[[Body, str], None]:
    """An image a unit: cleared if need be, then window after window by `some(body, of, pixel's places)`."""

    def write(body: Body, of: str) -> None:
        pointers = [body.pointer(k) for k in range(inputs + 1)]

        def image(n: Index) -> None:
            dx = body.at(pointers[-1], of, body.mul(n, p.image))
            if not _covers(p):
                body.clear(dx, p.image * BYTES[of])

            def row(y: Index) -> None:
                def pixel(x: Index) -> None:
                    line = body.add(body.mul(body.add(body.mul(n, p.rows.out), y), p.columns.out), x)
                    some(body, of, n, pointers[:-1], body.mul(line, p.channels), _taps(body, p, y, x), dx)

                body.loop(0, p.columns.out, 1, pixel)

            body.loop(0, p.rows.out, 1, row)

        body.loop("%begin", "%end", 1, image)

    return write


def _put(
    body: Body, p: Pool, of: str, value: str, place: str, k: Index, size: tuple[int, int], inside: str | None
) -> None:
    """Write or add what one window gives to an element, if there is such an element."""
    lanes, real = size

    def store() -> None:
        found = value
        if _overlaps(p):
            kind = vector(of, lanes)
            found = body.let(f"fadd {kind} {body.load_some(place, of, k, lanes, real)}, {value}")
        body.store_some(found, place, of, k, lanes, real)

    if inside is None:
        store()
    else:
        body.when(inside, store)


@maker("MaxPoolGrad")
def _max_gradient(scope: Scope, ins: Instruction) -> list[Call] | None:
    p = _pool(scope, ins, scope.dims(ins.inputs[0]), scope.dtype(ins.inputs[0]))
    if p is None or any(scope.dtype(v) != p.dtype for v in ins.inputs):
        return None

    def some(body: Body, of: str, n: Index, inputs: list[str], at: Index, taps: list[Tap], dx: str) -> None:
        image = body.at(inputs[0], of, body.mul(n, p.image))
        offsets = [_pixel(body, p, r, c) for r, c, _ in taps]
        here, there = body.at(inputs[1], of, at), body.at(inputs[2], of, at)

        def channels(k: Index, lanes: int, real: int) -> None:
            kind, flags = vector(of, lanes), vector("i1", lanes)
            top = body.load_some(here, of, k, lanes, real)
            dy = body.load_some(there, of, k, lanes, real)
            zero = "zeroinitializer" if lanes > 1 else "0.0"
            ones = "splat (i1 true)" if lanes > 1 else "true"
            pending = ones
            for offset, (_, _, inside) in zip(offsets, taps, strict=True):
                value = body.load_some(body.at(image, of, offset), of, k, lanes, real)
                equal = body.let(f"fcmp oeq {kind} {value}, {top}")
                nan = body.let(f"fcmp uno {kind} {value}, {value}")
                found = body.let(f"and {flags} {body.let(f'or {flags} {equal}, {nan}')}, {pending}")
                if inside is not None:
                    found = body.let(
                        f"select i1 {inside}, {flags} {found}, {flags} {'zeroinitializer' if lanes > 1 else 'false'}"
                    )
                pending = body.let(f"xor {flags} {pending}, {found}")
                given = body.let(f"select {flags} {found}, {kind} {dy}, {kind} {zero}")
                _put(body, p, of, given, body.at(dx, of, offset), k, (lanes, real), inside)

        _channels(body, p, of, channels)

    seconds = CALL + p.images * (2 * p.image + 2 * p.pooled) * ELEMENT
    build = _kernel("pool_gradient", p, p.images, _gradient(p, 3, some))
    return [Call((ins.type, p), build, ins.inputs, ins.outputs, seconds)]


@maker("AvgPoolGrad")
def _mean_gradient(scope: Scope, ins: Instruction) -> list[Call] | None:
    dy = ins.inputs[1]
    p = _pool(scope, ins, scope.dims(ins.outputs[0]), scope.dtype(dy))
    if p is None:
        return None

    def some(body: Body, of: str, n: Index, inputs: list[str], at: Index, taps: list[Tap], dx: str) -> None:
        offsets = [_pixel(body, p, r, c) for r, c, _ in taps]
        count = _count(body, taps, of)
        there = body.at(inputs[0], of, at)

        def channels(k: Index, lanes: int, real: int) -> None:
            kind = vector(of, lanes)
            value = body.load_some(there, of, k, lanes, real)
            share = body.let(f"fdiv {kind} {value}, {body.spread(count, of, lanes)}")
            for offset, (_, _, inside) in zip(offsets, taps, strict=True):
                _put(body, p, of, share, body.at(dx, of, offset), k, (lanes, real), inside)

        _channels(body, p, of, channels)

    seconds = CALL + p.images * (p.image + p.pooled) * ELEMENT
    build = _kernel("pool_gradient", p, p.images, _gradient(p, 1, some))
    return [Call((ins.type, p), build, (dy,), ins.outputs, seconds)]
