"""What a movement of data is: the axes of a result, and where along each of them its elements come from.

Policy: elements are moved as bits, by their size alone; those of 16 bytes as pairs.  Axes that can be walked as one
are.  The texts of C in here are made of integers and of what rules write, never of anything a user wrote.

State: none; its functions stand in `library`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from graphflow.dtypes import DType
from graphflow_opencl import library
from graphflow_opencl.table import Launch, Traits

WORDS = {1: "uchar", 2: "ushort", 4: "uint", 8: "ulong"}
WORD_BYTES = {name: size for size, name in WORDS.items()}
VECTOR_BYTES = 32
GPU_EACH = 4  # elements of an item
BLOCK_ELEMENTS = 256  # what nested loops cover between two computations of an address
SHARE_BYTES = 16384  # less than that is not worth an item of its own on a CPU
SHARES = 8  # items for each core: what evens out differences
SHORT = 4  # a side shorter than that is not worth a block

for _size, _word in WORDS.items():
    _width = min(16, VECTOR_BYTES // _size)
    library.function(
        f"gf_copy_{_word}",
        f"""void gf_copy_{_word}(__global {_word} *to, __global const {_word} *from, long count) {{
    long i = 0;
    for (; i + {_width} <= count; i += {_width}) vstore{_width}(vload{_width}(0, from + i), 0, to + i);
    for (; i < count; i++) to[i] = from[i];
}}""",
    )
    library.function(
        f"gf_set_{_word}",
        f"""void gf_set_{_word}(__global {_word} *to, {_word} value, long count) {{
    long i = 0;
    for (; i + {_width} <= count; i += {_width}) vstore{_width}(({_word}{_width})(value), 0, to + i);
    for (; i < count; i++) to[i] = value;
}}""",
    )


class Piece(NamedTuple):
    """The coordinates up to `stop` of an axis: `offset + stride * coordinate` in the source, or a filling."""

    stop: int
    offset: int | None
    stride: int = 0


class Axis(NamedTuple):
    """One axis of a result.

    Either `pieces`, or `place`: C text of a number that `stride` is multiplied by.  In `place` and `guard` (whether
    there is a source at all), @ is the coordinate and other axes go by their names.
    """

    size: int
    pieces: tuple[Piece, ...] = ()
    name: str = ""
    place: str = ""
    stride: int = 0
    guard: str = ""

    @property
    def plain(self) -> bool:
        """One piece without conditions."""
        return len(self.pieces) == 1 and self.pieces[0].offset == 0 and not self.name and not self.guard


class Extra(NamedTuple):
    """A further parameter of the kernel, which the texts of axes read."""

    declaration: str
    argument: Any


class Move(NamedTuple):
    """A whole movement."""

    word: str
    axes: tuple[Axis, ...]
    offset: int
    fill: str
    extras: tuple[Extra, ...]
    address: str  # the C type of addresses


def plain(size: int, stride: int, name: str = "") -> Axis:
    """An axis that is walked in the source with a stride."""
    return Axis(size, (Piece(size, 0, stride),), name)


def turned(size: int, stride: int) -> Axis:
    """An axis that is walked backwards."""
    return Axis(size, (Piece(size, (size - 1) * stride, -stride),))


def window(size: int, begin: int, count: int, stride: int, step: int = 1) -> Axis:
    """An axis of which every `step`th coordinate from `begin` on, `count` of them, has a source."""
    if step != 1 and count > 1:
        within = f"(@ >= {begin} && @ < {begin + count * step} && (@ - {begin}) % {step} == 0)"
        return Axis(size, (), "", f"((@ - {begin}) / {step})", stride, within)
    if count == size:
        return plain(size, stride)
    pieces = (Piece(begin, None), Piece(begin + count, -begin * stride, stride), Piece(size, None))
    starts = (0, begin, begin + count)
    return Axis(size, tuple([p for p, start in zip(pieces, starts, strict=True) if p.stop > start]))


def strides(dims: Sequence[int]) -> list[int]:
    """Elements between neighbours along each axis, in C order."""
    out, step = [], 1
    for size in reversed(dims):
        out.append(step)
        step *= size
    return out[::-1]


def word(dtype: DType) -> tuple[str, int] | None:
    """The C type that moves an element's bits, and how many of them an element has."""
    if dtype.kind not in ("bool", "int", "uint", "float", "complex"):
        return None
    return (WORDS[dtype.size], 1) if dtype.size in WORDS else (WORDS[8], dtype.size // 8)


def bits(dtype: DType, value: Any) -> str:
    """The bits of a value as C text, for dtypes that move as single words."""
    if dtype.size not in WORDS:
        raise ValueError(f"{dtype} moves as pairs")
    found = int(dtype.np.type(value).tobytes()[::-1].hex(), 16)
    return f"(({WORDS[dtype.size]}){found}{'UL' if dtype.size == 8 else 'U'})"


def index_type(*elements: int) -> str:
    """The type of addresses, by the numbers of elements that are addressed."""
    return "int" if max(elements) < 2**31 - 2**16 else "long"


def shares(nbytes: int, most: int, traits: Traits) -> int:
    """How many items of a CPU divide so many bytes of work that has `most` parts."""
    return max(1, min(most, traits.units * SHARES, -(-nbytes // SHARE_BYTES)))


def cpu_launch(
    source: str, items: Sequence[int], arguments: Sequence[Any], writes: Sequence[int], title: str
) -> Launch:
    """A launch of fat items, each a group by itself."""
    return Launch(source, tuple(items), (1,) * len(items), tuple(arguments), tuple(writes), title)


def gpu_launch(
    source: str, items: int, arguments: Sequence[Any], writes: Sequence[int], title: str, traits: Traits
) -> Launch:
    """A launch of thin items, in groups."""
    whole = -(-items // traits.group) * traits.group
    return Launch(source, (whole,), (traits.group,), tuple(arguments), tuple(writes), title)


def collapsed(axes: Sequence[Axis]) -> list[Axis]:
    """The same movement over fewer axes."""
    out: list[Axis] = []
    for axis in axes:
        if axis.size == 1 and axis.plain:
            continue
        before = out[-1] if out else None
        if before is not None and before.plain and axis.plain:
            stride = axis.pieces[0].stride
            if before.pieces[0].stride == stride * axis.size:
                out[-1] = plain(before.size * axis.size, stride)
                continue
        out.append(axis)
    return out


def widened(axis: Axis, times: int) -> Axis:
    """The axis where each element is `times` words."""
    found = [Piece(p.stop, None if p.offset is None else p.offset * times, p.stride * times) for p in axis.pieces]
    return axis._replace(pieces=tuple(found), stride=axis.stride * times)


def place_text(axis: Axis, at: str) -> str:
    """Where in the source a coordinate is."""
    if not axis.pieces:
        return f"{axis.stride} * ({axis.place.replace('@', at)})"
    texts = ["0" if p.offset is None else f"{p.offset} + {p.stride} * {at}" for p in axis.pieces]
    chain = [f"{at} < {p.stop} ? {t} : " for p, t in zip(axis.pieces[:-1], texts, strict=False)]
    return "".join(chain) + texts[-1]


def guard_text(axis: Axis, at: str) -> str:
    """Whether a coordinate has a source at all; empty if each has."""
    parts, start = [], 0
    for piece in axis.pieces:
        if piece.offset is not None:
            parts.append(f"({at} >= {start} && {at} < {piece.stop})")
        start = piece.stop
    found = [f"({' || '.join(parts) or '0'})"] if len(parts) < len(axis.pieces) else []
    if axis.guard:
        found.append(f"({axis.guard.replace('@', at)})")
    return " && ".join(found)


def names_of(axes: Sequence[Axis]) -> list[str]:
    """The names of the coordinates."""
    return [axis.name or f"c{k}" for k, axis in enumerate(axes)]


def unravelled(sizes: Sequence[int], names: Sequence[str], number: str, index: str) -> str:
    """Statements that take a number apart into coordinates; `number` is a variable, and spent afterwards."""
    out = []
    for k in range(len(sizes) - 1, 0, -1):
        out.append(f"const {index} {names[k]} = {number} % {sizes[k]}; {number} /= {sizes[k]};")
    if sizes:
        out.append(f"const {index} {names[0]} = {number};")
    return " ".join(out)


def parameters(work: Move) -> str:
    """The list of parameters of a movement's kernel."""
    given = [f"__global const {work.word} *source", f"__global {work.word} *target"]
    return ", ".join([*given, *[e.declaration for e in work.extras]])


def each_launch(
    traits: Traits,
    count: int,
    cost: int,
    declared: Sequence[str],
    arguments: Sequence[Any],
    writes: Sequence[int],
    body: str,
    title: str,
    *,
    index: str = "int",
    head: str = "",
) -> Launch:
    """A launch of statements for each `id` below `count`, of which one costs like moving `cost` bytes."""
    if traits.schedule == "gpu":
        text = f"const {index} id = get_global_id(0);\n    if (id >= {count}) return;\n    {body}"
        source = f"{head}__kernel void KERNEL({', '.join(declared)}) {{\n    {text}\n}}"
        return gpu_launch(source, count, arguments, writes, title, traits)
    each = -(-count // shares(cost * count, count, traits))
    text = f"""const {index} low = ({index})get_global_id(0) * {each};
    for ({index} id = low; id < min(low + {each}, ({index}){count}); id++) {{
    {body}
    }}"""
    source = f"{head}__kernel void KERNEL({', '.join(declared)}) {{\n    {text}\n}}"
    return cpu_launch(source, (-(-count // each),), arguments, writes, title)
