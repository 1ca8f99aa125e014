"""Rows of random graphs that move values: shapes, pieces, look-ups, sorting.

Policy: as `random_rows` says.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.testing.drawing import Drawing
from graphflow.testing.recipes import Cut, Data, Face


def transpose(d: Drawing) -> None:
    """Axes in another order."""
    x = d.want("fib", rank=1)
    order = list(range(len(x.dims)))
    d.rng.shuffle(order)
    d.add("transpose", x, *((order,) if d.chance(0.7) else ()))


def reshape(d: Drawing) -> None:
    """The same elements in another shape; sometimes it is computed."""
    x = d.want("fib")
    if d.chance(0.2):
        d.add("reshape", x, *d.add("shape", x))
        return
    options: list[tuple[int, ...]] = [(x.size,), (1, *x.dims), (*x.dims, 1)]
    if x.size:
        options.append((-1,))
    if len(x.dims) >= 2:
        options += [(x.dims[0] * x.dims[1], *x.dims[2:]), (*x.dims[::-1],)]
    if x.dims and x.dims[-1] % 2 == 0:
        options.append((*x.dims[:-1], 2, x.dims[-1] // 2))
    d.add("reshape", x, d.choose(options))


def axes(d: Drawing) -> None:
    """expand_dims and squeeze."""
    x = d.want("fib")
    ones = [i for i, n in enumerate(x.dims) if n == 1]
    if ones and d.chance(0.6):
        d.add("squeeze", x, axis=(d.choose(ones),))
    elif len(x.dims) < 5:
        d.add("expand_dims", x, d.rng.randint(0, len(x.dims)))


def concat(d: Drawing) -> None:
    """concat and stack of values that differ in one axis at most."""
    x = d.want("fi", rank=1)
    axis = d.rng.randrange(len(x.dims))
    other = d.pick("fi", lambda v: v.dtype == x.dtype and len(v.dims) == len(x.dims)
                   and v.dims[:axis] == x.dims[:axis] and v.dims[axis + 1 :] == x.dims[axis + 1 :])  # fmt: skip
    parts = [x, other or x, *([x] if d.chance(0.2) else [])]
    if d.chance(0.3):
        d.add("stack", [x, d.partner(x, same=True)], axis)
    elif sum(p.size for p in parts) <= d.limit:
        d.add("concat", parts, axis)


def pieces(d: Drawing) -> None:
    """split and unstack, of which only some outputs will be read."""
    x = d.want("fi", rank=1)
    axis = d.rng.randrange(len(x.dims))
    size = x.dims[axis]
    if size in (2, 3, 4, 5) and d.chance(0.5):
        d.add("unstack", x, axis=axis)
    elif size >= 2:
        first = d.rng.randint(0, size)
        d.add("split", x, (first, size - first), axis=axis)


def subscript(d: Drawing) -> None:
    """Slices with steps, also backwards, and single elements."""
    x = d.want("fib", rank=1)
    key: list[Any] = []
    for size in x.dims[: d.rng.randint(1, len(x.dims))]:
        chance = d.rng.random()
        if chance < 0.3 and size:
            key.append(d.rng.randrange(-size, size))
        elif chance < 0.5:
            key.append(Cut(None, None, None))
        elif chance < 0.65:
            key.append(Cut(None, None, -1))
        else:
            start = d.rng.randint(0, size)
            key.append(Cut(start, d.rng.randint(start, size), d.choose((None, None, 2))))
    d.add("[]", x, tuple(key))


def slice_(d: Drawing) -> None:
    """tf.slice."""
    x = d.want("fi", rank=1)
    begin = tuple(d.rng.randint(0, n) for n in x.dims)
    d.add("slice", x, begin, tuple(d.rng.randint(0, n - b) for n, b in zip(x.dims, begin, strict=True)))


def pad(d: Drawing) -> None:
    """Padding with a constant or by reflection."""
    x = d.want("fi", rank=1)
    mode = d.choose(("CONSTANT", "CONSTANT", "REFLECT", "SYMMETRIC"))
    most = [2 if mode == "CONSTANT" else n - 1 if mode == "REFLECT" else n for n in x.dims]
    paddings = tuple((d.rng.randint(0, max(0, min(2, m))), d.rng.randint(0, max(0, min(2, m)))) for m in most)
    if x.size * 2 <= d.limit or len(x.dims) == 1:
        d.add("pad", x, paddings, mode)


def repeat(d: Drawing) -> None:
    """tile, broadcast_to, reverse, roll."""
    x = d.want("fi", rank=1)
    chance = d.rng.random()
    axis = d.rng.randrange(len(x.dims))
    if chance < 0.35:
        multiples = tuple(d.rng.randint(1, 2) for _ in x.dims)
        if x.size * 2 ** len(x.dims) <= d.limit:
            d.add("tile", x, multiples)
    elif chance < 0.6 and x.size * 3 <= d.limit:
        d.add("broadcast_to", x, (d.rng.randint(0, 3), *x.dims))
    elif chance < 0.8:
        d.add("reverse", x, (axis,))
    else:
        d.add("roll", x, d.rng.randint(-3, 3), axis)


def gather(d: Drawing) -> None:
    """Rows by number; the numbers may be computed, and in faulty graphs may not exist."""
    x = d.want("fi", rank=1)
    axis = d.rng.randrange(len(x.dims))
    size = x.dims[axis]
    count = d.rng.randint(0, 4)
    if not size or x.size * max(count, 1) > d.limit * 4:
        return
    computed = d.pick("i", lambda v: v.size <= 8 and x.size * max(v.size, 1) <= d.limit)
    if computed is not None and d.chance(0.6):
        (index,) = d.add("floormod", computed, Data(computed.dtype, (), (size,)))
    else:
        kind = d.choose(("int32", "int64"))
        index = d.numbers(kind, (count,), size + 1 if d.faulty else size)
    d.add("gather", x, index, axis=axis)


def one_hot(d: Drawing) -> None:
    """Ones at places."""
    x = d.pick("i", lambda v: v.size <= 64)
    if x is not None:
        d.add("one_hot", x, d.rng.randint(1, 4), dtype=Face(d.dtype("w")))


def masked(d: Drawing) -> None:
    """Results whose shape depends on values, and what is computed from them."""
    x = d.want("w", rank=1)
    mask = d.source("bool", x.dims[:1])
    d.add("boolean_mask", x, mask)
    d.add(d.choose(("reduce_sum", "reduce_prod")), d.opaque[-1], axis=0)


def shapes(d: Drawing) -> None:
    """Shapes as values, and what is filled from them."""
    x = d.want("fib")
    (found,) = d.add(d.choose(("shape", "size", "rank")), x)
    if len(found.dims) == 1 and d.chance(0.5):
        d.add("fill", found, Data(d.dtype("w"), (), (1.5,)))


def segments(d: Drawing) -> None:
    """Sums of the rows of each segment."""
    x = d.pick("w", lambda v: len(v.dims) >= 1 and v.dims[0] > 0)
    if x is not None:
        ids = d.add("constant", d.data("int32", x.dims[:1], 0, 3))[0]
        d.add(d.choose(("unsorted_segment_sum", "unsorted_segment_max")), x, ids, 3)


def ordering(d: Drawing) -> None:
    """Sorting and the largest few."""
    x = d.want("w", rank=1)
    if x.dims[-1] > 0:
        d.add(*d.choose((("sort", x), ("nn.top_k", x, d.rng.randint(1, x.dims[-1])))))
