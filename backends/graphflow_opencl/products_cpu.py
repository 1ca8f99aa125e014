"""Sums of products on CPU devices: tiles held in vector registers, column after column of them by one work-item.

Policy: a work-item computes the tiles of a panel, which is as wide as a tile, for some of the rows.  It first copies
the panel of the right operand, one row after the other, unless that lies nearly like that or is used too rarely; the
left operand is read in place, one element at a time.  The last rows, and the last columns of what is not copied, are
computed by a tile that overlaps its neighbour and stores only what is its own.  A depth that is long for few tiles is
cut into parts, whose sums are added in their order: how many depends on the sizes alone.  Loops over few rows that are
no part of the sum are kept as loops, for compilers take long over unrolled ones.

State: none.
"""

from __future__ import annotations

from typing import NamedTuple

from graphflow.dtypes import DType
from graphflow_opencl.affine import Axes, Epilogue, Operand, Product, launch, parameters, pointer
from graphflow_opencl.registers import REGISTERS, load, register_type, store
from graphflow_opencl.table import Launch, Scratch, Traits

# By the vectors that a tile is wide: the rows that fit into 32 registers, and into 16.
ROWS = {32: {1: 14, 2: 12, 3: 8, 4: 6}, 16: {1: 8, 2: 6, 3: 4}}
ENOUGH_TILES = 16  # with fewer, the depth is cut
LEAST_DEPTH = 256  # of a part
MOST_DEPTH = 4096  # of a part, in the operand's rows that stay in cache meanwhile
COPIED_FROM = 3  # row tiles that read a panel
COPIED_ABOVE = 1 << 16  # bytes of the right operand: what is smaller stays in cache as it is
NARROW = 256  # bytes from row to row of the right operand, up to which panels are good as they lie
COPIES_FOR = {True: 256, False: 1024}  # rows that a copy is worth, by whether a panel's rows lie side by side
PRIVATE = 1 << 16  # bytes of a copy on a work-item's stack; several products may be one kernel
FEW_ITEMS, MANY_ITEMS = 2, 32  # of a core: fewer leave one idle, more are no better
LEAST_WORK = 1 << 16  # multiplications of an item
SMALL = 1 << 15  # multiplications for which a small tile, whose kernel is built sooner, is as good
SMALL_ROWS = 4
LINE = 16  # elements that are turned together
ROLLED = "__attribute__((opencl_unroll_hint(1)))"
SCALAR = "#pragma clang loop vectorize(disable) unroll(disable)\n"  # before a loop over the few elements at an edge


class Tile(NamedTuple):
    """What is held in registers: rows, and columns as so many vectors of so many elements."""

    rows: int
    vectors: int
    width: int
    copied: bool  # whether the right operand's panels are copied

    @property
    def columns(self) -> int:
        """How wide it is."""
        return self.vectors * self.width


class Cut(NamedTuple):
    """How a product becomes items."""

    blocks: int  # of rows
    panels: int  # of columns
    parts: int  # of the outermost digit of the depth
    chunk: int  # of that digit in a part
    each: int  # blocks of an item

    @property
    def shares(self) -> int:
        """Items that share a panel."""
        return -(-self.blocks // self.each)


def tile_for(product: Product, dtype: DType, traits: Traits) -> Tile:
    """The tile that wastes least of the registers and of its columns."""
    m, n, k = product.sizes
    size = REGISTERS[dtype.name].size
    width = max(2, min(16, traits.width * 4 // size))
    pitch = product.b_depth.stride
    in_place = product.b_columns.stride == 1 and pitch is not None
    kinds = ROWS[32 if traits.width >= 16 else 16]
    while width // 2 >= n:
        width //= 2

    def padded(vectors: int) -> int:
        return -(-n // (vectors * width)) * vectors * width

    fitting = [v for v in kinds if v == 1 or v * width <= max(n, width)]
    small = m * n * k <= SMALL
    fitting = [1] if small else fitting
    vectors = min(fitting, key=lambda v: (padded(v) * (1 + 0.12 * abs(v - 3)), -v))
    rows = min(SMALL_ROWS if small else kinds[vectors], m)
    few = -(-m // rows) < COPIED_FROM or n * k * size <= COPIED_ABOVE or abs(pitch or 0) * size <= NARROW
    if in_place and few:  # columns of the last tile overlap, so nothing is padded
        width = width if width <= n else width // 2
        return Tile(rows, max([v for v in fitting if v * width <= n] or [1]), width, False)
    return Tile(rows, vectors, width, True)


def parts_of(product: Product, tile: Tile) -> int:
    """Into how many parts the outermost digit of the depth is cut."""
    m, n, k = product.sizes
    digits = product.a_depth.sizes
    if not digits or k < 2 * LEAST_DEPTH or product.b_depth.stride is None and not tile.copied:
        return 1
    tiles = -(-m // tile.rows) * -(-n // tile.columns) * product.batches
    wanted = max(-(-ENOUGH_TILES // tiles), k // MOST_DEPTH if len(digits) > 1 else 1)
    return max(1, min(wanted, k // LEAST_DEPTH, digits[0]))


def cut_of(product: Product, tile: Tile, parts: int, traits: Traits) -> Cut:
    """Items enough for all cores; where panels are copied, no more than that unless each copy is worth it."""
    m, n, k = product.sizes
    blocks, panels = -(-m // tile.rows), -(-n // tile.columns)
    others = panels * product.batches * parts
    least, wanted = (-(-traits.units * items // others) for items in (FEW_ITEMS, MANY_ITEMS))
    worth = m // COPIES_FOR[product.b_columns.stride == 1] if tile.copied else blocks
    work = m * tile.columns * max(1, k // parts) // LEAST_WORK
    shares = max(1, min(blocks, work, max(least, min(wanted, worth))))
    outer = (product.a_depth.sizes or (1,))[0]
    return Cut(blocks, panels, parts, -(-outer // parts), -(-blocks // shares))


def cpu_launches(
    product: Product, a: Operand, b: Operand, c: Operand, dtype: DType, epilogue: Epilogue, traits: Traits, free: int
) -> list[Launch]:
    """The launches of a product; `dtype` is what is computed in, scratch gets numbers from `free` on."""
    tile = tile_for(product, dtype, traits)
    m, n, _ = product.sizes
    parts = parts_of(product, tile)
    cut = cut_of(product, tile, parts, traits)
    if parts == 1:
        return [_multiply(product, (a, b, c), dtype, tile, cut, epilogue, free)]
    partial = Scratch(free + 1, parts * product.batches * m * n * dtype.np.itemsize)
    sums = product._replace(
        c_rows=Axes((m,), (n,)),
        c_columns=Axes((n,), (1,)),
        batch=(*product.batch[:2], Axes((product.batches,), (m * n,))),
    )
    first = _multiply(sums, (a, b, Operand(partial, dtype)), dtype, tile, cut, Epilogue(), free)
    return [first, added_parts(product, partial, c, dtype, parts, epilogue, traits)]


def _multiply(
    product: Product,
    operands: tuple[Operand, Operand, Operand],
    dtype: DType,
    tile: Tile,
    cut: Cut,
    epilogue: Epilogue,
    free: int,
) -> Launch:
    a, b, c = operands
    m, n, k = product.sizes
    listed = parameters(operands, epilogue)
    units = product.batches * cut.parts * cut.panels * cut.shares
    place = ""
    if tile.copied:
        size = cut.chunk * (k // max(1, (product.a_depth.sizes or (1,))[0])) * tile.columns
        nbytes, whole, kind = size * dtype.np.itemsize, register_type(dtype, tile.width), register_type(dtype, 1)
        if nbytes > PRIVATE:
            listed.append(pointer("copies", Scratch(free, units * nbytes), dtype, True))
            place = f"  __global {kind} *copy = copies + ({product.index_type()}) unit * {size};\n"
            place += f"  __global {whole} *copied = (__global {whole} *) copy;\n"
        else:
            place = f"  {whole} copied[{size // tile.width}];\n  {kind} *copy = ({kind} *) copied;\n"
        place += _copy(product, b, dtype, tile)
    text = f"""{_places(product, operands, tile, cut)}
{place}
  for (int block = share * {cut.each}; block < min({cut.blocks}, (share + 1) * {cut.each}); block++) {{
{_rows(product, tile)}
{_sums(product, a, b, dtype, tile)}
{_stores(product, c, dtype, tile, epilogue)}
  }}"""
    title = f"product {m} x {k} x {n}" + f", depth in {cut.parts} parts" * (cut.parts > 1)
    return launch(text, units, 1, listed, (c.argument,), title)


def _places(product: Product, operands: tuple[Operand, Operand, Operand], tile: Tile, cut: Cut) -> str:
    """Where the item's columns and its part of the depth begin, in the tile and in memory."""
    a, b, c = operands
    m, n, _ = product.sizes
    index, width = product.index_type(), tile.columns
    lines = [f"const int share = unit % {cut.shares}, panel = unit / {cut.shares} % {cut.panels};"]
    lines.append(f"const int z = unit / {cut.shares * cut.panels}, batch = z / {cut.parts}, part = z % {cut.parts};")
    outer = (product.a_depth.sizes or (1,))[0]
    lines.append(f"const int begin = min(part * {cut.chunk}, {outer}), end = min(begin + {cut.chunk}, {outer});")
    if tile.copied:
        lines.append(f"const int column = panel * {width}, low = 0, high = min({width}, {n} - column);")
    else:
        lines.append(f"const int column = min(panel * {width}, {n - width});")
        lines.append(f"const int low = panel * {width} - column, high = {width};")
    lines.append(f"const {index} from_b = {b.start} + ({product.batch[1].address('batch')});")
    lines.append(f"const {index} from_a = {a.start} + ({product.batch[0].address('batch')});")
    partial = f" + ({index}) part * {product.batches * m * n}" if cut.parts > 1 else ""
    lines.append(f"const {index} at_c = {c.start} + ({product.batch[2].address('batch')}){partial};")
    return "\n".join("  " + line for line in lines)


def _copy(product: Product, b: Operand, dtype: DType, tile: Tile) -> str:
    """The copy of the item's panel and part of the depth: [depth, column], zero beside the last column.

    Its elements are at `copy`, and the same in vectors at `copied`.
    """
    width, index = tile.columns, product.index_type()
    within = product.sizes[2] // max(1, (product.a_depth.sizes or (1,))[0])
    across, depth = product.b_columns, product.b_depth
    head = f"  const int begin_b = begin * {within}, end_b = end * {within};\n"
    lined = depth.strides[-1:] == (1,) and (len(depth.sizes) == 1 or depth.sizes[-1] % LINE == 0)
    if lined and across.stride not in (None, 1):  # a line of memory is used up before the next
        value = load(b.dtype, 1, "b", f"from + x * {across.stride} + k - first")
        return f"""{head}  for (int first = begin_b; first < end_b; first += {LINE}) {{
    const {index} from = from_b + ({index}) column * {across.stride} + {depth.address("first")};
    {ROLLED} for (int x = 0; x < {width}; x++)
      for (int k = first; k < min(first + {LINE}, end_b); k++)
        copy[(k - begin_b) * {width} + x] = x < high ? {value} : 0;
  }}"""
    single = load(b.dtype, 1, "b", f"from + ({_at(across, 'column + x')})")
    body = f"for (int x = 0; x < {width}; x++) copy[to + x] = x < high ? {single} : 0;"
    if across.stride == 1:
        whole = load(b.dtype, tile.width, "b", f"from + column + v * {tile.width}")
        whole = f"{ROLLED} for (int v = 0; v < {tile.vectors}; v++) copied[to / {tile.width} + v] = {whole};"
        body = f"if (high == {width}) {{ {whole} }} else {{ {body} }}"
    return f"""{head}  for (int k = begin_b; k < end_b; k++) {{
    const {index} from = from_b + ({depth.address("k")});
    const int to = (k - begin_b) * {width};
    {body}
  }}"""


def _at(axes: Axes, index: str) -> str:
    """The address of an index that is an expression."""
    return axes.address(f"({index})") if axes.sizes else "0"


def _rows(product: Product, tile: Tile) -> str:
    """Where the rows of a tile begin in the left operand."""
    m, index = product.sizes[0], product.index_type()
    head = f"    const int first = block * {tile.rows}, row = min(first, {m - tile.rows});"
    if product.a_rows.stride is not None:
        return f"{head}\n    const {index} at_a = from_a + ({index}) row * {product.a_rows.stride};"
    return f"""{head}
    {index} rows[{tile.rows}];
    {ROLLED} for (int i = 0; i < {tile.rows}; i++) {{
      const int r = row + i; rows[i] = from_a + {product.a_rows.address("r")};
    }}"""


# -- the sums --------------------------------------------------------------------------------------------------------


def _sums(product: Product, a: Operand, b: Operand, dtype: DType, tile: Tile) -> str:
    """The loops over the depth, which add to the tile's registers."""
    kind, index, depth = register_type(dtype, tile.width), product.index_type(), product.a_depth
    rows, vectors, stride = range(tile.rows), range(tile.vectors), product.a_rows.stride
    names = ", ".join(f"s{i}_{v} = 0" for i in rows for v in vectors)
    if tile.copied:
        step, held = tile.vectors, [f"copied[at_b + {v}]" for v in vectors]
    else:
        step = int(product.b_depth.stride or 0)
        held = [load(b.dtype, tile.width, "b", f"at_b + {v * tile.width}") for v in vectors]
    body = [f"const {kind} b{v} = {x};" for v, x in enumerate(held)]
    inner = f" + k{len(depth.sizes) - 1} * {depth.strides[-1]}" if depth.sizes else ""
    for i in rows:
        value = load(a.dtype, 1, "a", (f"at + {i * stride}" if stride is not None else f"rows[{i}] + at") + inner)
        sums = " ".join(f"s{i}_{v} += x * b{v};" for v in vectors)
        body.append(f"{{ const {register_type(dtype, 1)} x = {value}; {sums} }}")
    body.append(f"at_b += {step};")
    within = product.sizes[2] // max(1, (depth.sizes or (1,))[0])
    place = "0" if tile.copied else f"from_b + column + ({index}) begin * {within * step}"
    lines = [f"{kind} {names};", f"{index} at_b = {place};", "{", "#pragma OPENCL FP_CONTRACT ON"]
    start = "at_a" if stride is not None else "0"
    for d, n in enumerate(depth.sizes):
        if d == len(depth.sizes) - 1:
            base = start + "".join(f" + k{e} * {depth.strides[e]}" for e in range(d))
            lines.append(f"const {index} at = {base};")
        low, high = ("begin", "end") if d == 0 else ("0", str(n))
        lines.append(f"for (int k{d} = {low}; k{d} < {high}; k{d}++) {{")
    lines += [*body, "}" * len(depth.sizes) + " }"] if depth.sizes else [f"{index} at = {start};", *body, "}"]
    return "\n".join("    " + line for line in lines)


def _stores(product: Product, c: Operand, dtype: DType, tile: Tile, epilogue: Epilogue) -> str:
    """The tile's registers to memory, by way of the stack: as vectors where they are the item's own and together."""
    width, index, kind = tile.width, product.index_type(), register_type(dtype, 1)
    names = [f"s{i}_{v}" for i in range(tile.rows) for v in range(tile.vectors)]
    kept = " ".join(f"t[{number}] = {name};" for number, name in enumerate(names))
    value = epilogue.text("s", load(c.dtype, 1, "bias", "column + x"), 1)
    single = store(c.dtype, 1, "c", f"at_r + ({_at(product.c_columns, 'column + x')})", value)
    rest = f"{{\n{SCALAR}      for (int x = max(low, from); x < min(high, from + {width}); x++) {{ "
    rest += f"{kind} s = e[v * {width} + x - from]; {single} }}\n      }}"
    if product.c_columns.stride == 1 or product.sizes[1] == 1:
        value = epilogue.text("s", load(c.dtype, width, "bias", "column + from"), width)
        vector = store(c.dtype, width, "c", "at_r + column + from", value)
        vector = f"{register_type(dtype, width)} s = t[v]; {vector}"
        rest = f"if (from >= low && from + {width} <= high) {{ {vector} }} else {rest}"
    return f"""    {register_type(dtype, width)} t[{len(names)}];
    {kept}
    const {kind} *e = (const {kind} *) t;
    {ROLLED} for (int v = (first - row) * {tile.vectors}; v < {len(names)}; v++) {{
      const int r = row + v / {tile.vectors}, from = v % {tile.vectors} * {width};
      const {index} at_r = at_c + ({product.c_rows.address("r")});
      {rest}
    }}"""


# -- parts of the depth ----------------------------------------------------------------------------------------------


def added_parts(
    product: Product, partial: Scratch, c: Operand, dtype: DType, parts: int, epilogue: Epilogue, traits: Traits
) -> Launch:
    """The sums of all parts, added in their order, as the result."""
    m, n, _ = product.sizes
    total, index = product.batches * m * n, product.index_type()
    gpu = traits.schedule == "gpu"
    at = f"{c.start} + ({product.batch[2].address('batch')}) + ({product.c_rows.address('row')})"
    at += f" + ({product.c_columns.address('column')})"
    chunk = 1 if gpu else max(64, -(-total // (traits.units * MANY_ITEMS)))
    text = f"""  const {index} begin = ({index}) unit * {chunk};
  for ({index} e = begin; e < min(begin + {chunk}, ({index}) {total}); e++) {{
    const int column = e % {n}, row = e / {n} % {m}, batch = e / {m * n};
    {register_type(dtype, 1)} s = 0;
    for (int part = 0; part < {parts}; part++) s += p[e + ({index}) part * {total}];
    {store(c.dtype, 1, "c", at, epilogue.text("s", load(c.dtype, 1, "bias", "column"), 1))}
  }}"""
    listed = [pointer("p", partial, dtype), pointer("c", c.argument, c.dtype, True)]
    if epilogue.bias is not None:
        listed.append(pointer("bias", epilogue.bias, c.dtype))
    group = traits.group if gpu else 1
    return launch(text, -(-total // chunk), group, listed, (c.argument,), f"adds {parts} parts of a product")
