"""Sums of products on CPU devices: tiles held in vector registers, each computed by one work-item.

Policy: the right operand is packed into panels as wide as a tile, one row of the panel after the other, unless it lies
like that already or is used too rarely; the left one is read in place, one element at a time.  The last rows, and the
last columns of what is not packed, are computed by a tile that overlaps its neighbour and stores only what is its own.
A depth that is long for few tiles is cut into parts, whose sums are added in their order: how many depends on the sizes
alone.

State: none.
"""

from __future__ import annotations

from typing import NamedTuple

from graphflow.dtypes import DType
from graphflow_opencl.affine import Axes, Epilogue, Operand, Product, halved_until, launch, parameters
from graphflow_opencl.registers import REGISTERS, load, register_type, storage_type, store
from graphflow_opencl.table import Launch, Scratch, Traits

# By the vectors that a tile is wide: the rows that fit into 32 registers, and into 16.
ROWS = {32: {1: 14, 2: 12, 3: 8, 4: 6}, 16: {1: 8, 2: 6, 3: 4}}
ENOUGH_TILES = 16  # with fewer, the depth is cut
LEAST_DEPTH = 256  # of a part
MOST_DEPTH = 4096  # of a part, in the operand's rows that stay in cache meanwhile
PACKED_FROM = 3  # row tiles that read a panel
PACKED_ABOVE = 1 << 16  # bytes of the right operand: what is smaller stays in cache as it is
SMALL = 1 << 15  # multiplications for which a small tile, whose kernel is built sooner, is as good
SMALL_ROWS = 4
DEPTH_OF_PACK = 16  # rows of a panel that an item packs


class Tile(NamedTuple):
    """What a work-item computes: rows, and columns as so many vectors of so many elements."""

    rows: int
    vectors: int
    width: int
    packed: bool  # whether the right operand is packed

    @property
    def columns(self) -> int:
        """How wide it is."""
        return self.vectors * self.width


def tile_for(product: Product, dtype: DType, traits: Traits) -> Tile:
    """The tile that wastes least of the registers and of its columns."""
    m, n, _ = product.sizes
    size = REGISTERS[dtype.name].size
    width = max(2, min(16, traits.width * 4 // size))
    in_place = product.b_columns.stride == 1 and product.b_depth.stride is not None
    kinds = ROWS[32 if traits.width >= 16 else 16]
    while width // 2 >= n:
        width //= 2

    def padded(vectors: int) -> int:
        return -(-n // (vectors * width)) * vectors * width

    fitting = [v for v in kinds if v == 1 or v * width <= max(n, width)]
    small = m * n * product.sizes[2] <= SMALL
    fitting = [1] if small else fitting
    vectors = min(fitting, key=lambda v: (padded(v) * (1 + 0.12 * abs(v - 3)), -v))
    rows = min(SMALL_ROWS if small else kinds[vectors], m)
    few = -(-m // rows) < PACKED_FROM or n * product.sizes[2] * size <= PACKED_ABOVE
    if in_place and few:  # columns of the last tile overlap, so nothing is padded
        width = width if width <= n else width // 2
        return Tile(rows, max([v for v in fitting if v * width <= n] or [1]), width, False)
    return Tile(rows, vectors, width, True)


def parts_of(product: Product, tile: Tile) -> int:
    """Into how many parts the outermost digit of the depth is cut."""
    m, n, k = product.sizes
    digits = product.a_depth.sizes
    if not digits or k < 2 * LEAST_DEPTH or product.b_depth.stride is None and not tile.packed:
        return 1
    tiles = -(-m // tile.rows) * -(-n // tile.columns) * product.batches
    wanted = max(-(-ENOUGH_TILES // tiles), k // MOST_DEPTH if len(digits) > 1 else 1)
    return max(1, min(wanted, k // LEAST_DEPTH, digits[0]))


def cpu_launches(
    product: Product, a: Operand, b: Operand, c: Operand, dtype: DType, epilogue: Epilogue, traits: Traits, free: int
) -> list[Launch]:
    """The launches of a product; `dtype` is what is computed in, scratch gets numbers from `free` on."""
    tile = tile_for(product, dtype, traits)
    m, n, k = product.sizes
    found = []
    if tile.packed:
        panels = -(-n // tile.columns)
        packed = Scratch(free, product.batch[1].places * panels * tile.columns * k * dtype.np.itemsize)
        found.append(_pack(product, b, Operand(packed, dtype), tile, traits))
        b = Operand(packed, dtype)
    parts = parts_of(product, tile)
    if parts == 1:
        return [*found, _multiply(product, (a, b, c), dtype, tile, epilogue, traits)]
    partial = Scratch(free + 1, parts * product.batches * m * n * dtype.np.itemsize)
    sums = product._replace(
        c_rows=Axes((m,), (n,)),
        c_columns=Axes((n,), (1,)),
        batch=(*product.batch[:2], Axes((product.batches,), (m * n,))),
    )
    found.append(_multiply(sums, (a, b, Operand(partial, dtype)), dtype, tile, Epilogue(), traits, parts))
    return [*found, added_parts(product, partial, c, dtype, parts, epilogue, traits)]


# -- packing ---------------------------------------------------------------------------------------------------------


def _pack(product: Product, b: Operand, packed: Operand, tile: Tile, traits: Traits) -> Launch:
    """The right operand as panels [batch, panel, depth, column], zero beside its last column."""
    _, n, k = product.sizes
    panels, width = -(-n // tile.columns), tile.columns
    batches, index = product.batch[1], product.index_type()
    straight = product.b_columns.stride == 1
    lane = load(b.dtype, 1, "b", "from + x" if straight else f"from + {_at(product.b_columns, 'column + x')}")
    whole = "".join(
        store(
            packed.dtype,
            tile.width,
            "to",
            str(v * tile.width),
            load(b.dtype, tile.width, "b", f"from + {v * tile.width}"),
        )
        for v in range(tile.vectors)
    )
    body = f"""for (int x = 0; x < {width}; x++) to[x] = column + x < {n} ? {lane} : 0;"""
    if straight:
        body = f"if (column + {width} <= {n}) {{ {whole} }} else {{ {body} }}"
    counts = (-(-k // DEPTH_OF_PACK), panels, batches.places)
    text = f"""__kernel void KERNEL(__global const {storage_type(b.dtype)} *restrict b,
    __global {storage_type(packed.dtype)} *restrict p) {{
  int part = get_global_id(0), panel = get_global_id(1), batch = get_global_id(2);
  if (part >= {counts[0]} || panel >= {panels} || batch >= {counts[2]}) return;
  int column = panel * {width};
  {index} start = {b.start} + ({batches.address("batch")}){" + column" * straight};
  {index} place = ({index}) (batch * {panels} + panel) * {k} + part * {DEPTH_OF_PACK};
  __global {storage_type(packed.dtype)} *to = p + place * {width};
  for (int k = part * {DEPTH_OF_PACK}; k < min({k}, (part + 1) * {DEPTH_OF_PACK}); k++, to += {width}) {{
    {index} from = start + ({product.b_depth.address("k")});
    {body}
  }}
}}"""
    group = halved_until((16, 1, 1), counts, 4 * traits.units)
    return launch(text, counts, group, (b.argument, packed.argument), (), "packs the right operand of a product")


def _at(axes: Axes, index: str) -> str:
    """The address of an index that is an expression."""
    return axes.address(f"({index})") if axes.sizes else "0"


# -- the product -----------------------------------------------------------------------------------------------------


def _multiply(
    product: Product,
    operands: tuple[Operand, Operand, Operand],
    dtype: DType,
    tile: Tile,
    epilogue: Epilogue,
    traits: Traits,
    parts: int = 1,
) -> Launch:
    a, b, c = operands
    m, n, _ = product.sizes
    blocks, panels = -(-m // tile.rows), -(-n // tile.columns)
    listed, arguments = parameters(operands, epilogue)
    text = f"""__kernel void KERNEL({listed}) {{
  int block = get_global_id(0), panel = get_global_id(1), z = get_global_id(2);
  if (block >= {blocks} || panel >= {panels}) return;
  int batch = z{f" / {parts}, part = z % {parts}" if parts > 1 else ""};
{_places(product, operands, tile, parts)}
{_sums(product, a, b, dtype, tile, parts)}
{_stores(product, c, dtype, tile, epilogue)}
}}"""
    counts = (blocks, panels, product.batches * parts)
    group = halved_until((8, 4, 1), counts, 4 * traits.units)
    title = f"product {m} x {product.sizes[2]} x {n}" + f", depth in {parts} parts" * (parts > 1)
    return launch(text, counts, group, arguments, (c.argument,), title)


def _places(product: Product, operands: tuple[Operand, Operand, Operand], tile: Tile, parts: int) -> str:
    """Where the item's rows and columns begin, in the tile and in memory."""
    a, b, c = operands
    m, n, k = product.sizes
    index, width = product.index_type(), tile.columns
    lines = [f"int first = block * {tile.rows}, row = min(first, {m - tile.rows});"]
    if tile.packed:
        lines.append(f"int column = panel * {width}, low = 0, high = min({width}, {n} - column);")
        panels = -(-n // width)
        member = "batch" if product.batch[1].places > 1 else "0"
        lines.append(f"{index} at_b = (({index}) {member} * {panels} + panel) * {k * width};")
    else:
        lines.append(f"int column = min(panel * {width}, {n - width}), low = panel * {width} - column, high = {width};")
        lines.append(f"{index} at_b = {b.start} + ({product.batch[1].address('batch')}) + column;")
    lines.append(f"{index} at_a = {a.start} + ({product.batch[0].address('batch')});")
    partial = f" + ({index}) part * {product.batches * m * n}" if parts > 1 else ""
    lines.append(f"{index} at_c = {c.start} + ({product.batch[2].address('batch')}){partial};")
    if product.a_rows.stride is not None:
        lines.append(f"at_a += ({index}) row * {product.a_rows.stride};")
    else:
        for i in range(tile.rows):
            lines.append(f"int r{i} = row + {i}; {index} a{i} = at_a + {product.a_rows.address(f'r{i}')};")
    return "\n".join("  " + line for line in lines)


def _sums(product: Product, a: Operand, b: Operand, dtype: DType, tile: Tile, parts: int) -> str:
    """The loops over the depth, which add to the tile's registers."""
    kind, rows = register_type(dtype, tile.width), range(tile.rows)
    vectors = range(tile.vectors)
    stride = product.a_rows.stride
    names = ", ".join(f"s{i}_{v} = 0" for i in rows for v in vectors)
    step = tile.columns if tile.packed else product.b_depth.stride
    body = [f"{kind} b{v} = {load(b.dtype, tile.width, 'b', f'at_b + {v * tile.width}')};" for v in vectors]
    depth = product.a_depth
    inner = f" + k{len(depth.sizes) - 1} * {depth.strides[-1]}" if depth.sizes else ""
    for i in rows:
        place = f"at + {i * stride}" if stride is not None else f"a{i} + at"
        value = load(a.dtype, 1, "a", place + inner)
        body.append(
            f"{{ {register_type(dtype, 1)} x = {value}; " + " ".join(f"s{i}_{v} += x * b{v};" for v in vectors) + " }"
        )
    body.append(f"at_b += {step};")
    lines = [f"{kind} {names};", "{", "#pragma OPENCL FP_CONTRACT ON"]
    start = "at_a" if stride is not None else "0"
    index = product.index_type()
    if not depth.sizes:
        return "\n".join(["  " + x for x in lines] + [f"  {index} at = {start};", *("  " + x for x in body), "  }"])
    chunk = -(-depth.sizes[0] // parts)
    within = product.sizes[2] // max(1, depth.sizes[0])
    if parts > 1:
        lines.append(f"int begin = part * {chunk}, end = min(begin + {chunk}, {depth.sizes[0]});")
        lines.append(f"at_b += ({index}) min(begin, {depth.sizes[0]}) * {within * int(step or 0)};")
    for d, n in enumerate(depth.sizes):
        base = f"({start})" + "".join(f" + k{e} * {depth.strides[e]}" for e in range(d))
        if d == len(depth.sizes) - 1:
            lines.append(f"{index} at = {base};")
        low, high = ("begin", "end") if d == 0 and parts > 1 else ("0", str(n))
        lines.append(f"for (int k{d} = {low}; k{d} < {high}; k{d}++) {{")
    lines += body
    return "\n".join("  " + line for line in [*lines, "}" * len(depth.sizes) + " }"])


def _stores(product: Product, c: Operand, dtype: DType, tile: Tile, epilogue: Epilogue) -> str:
    """The tile's registers to memory: whole where it is all the item's own, else element by element."""
    width, columns = tile.width, tile.columns
    n = product.sizes[1]
    whole, spill = [], []
    bias_of = load(c.dtype, 1, "bias", "column + x")
    for i in range(tile.rows):
        row = f"int r = row + {i}; at_r = at_c + ({product.c_rows.address('r')});"
        vectors = []
        for v in range(tile.vectors):
            bias = load(c.dtype, width, "bias", f"column + {v * width}")
            value = epilogue.text(f"s{i}_{v}", bias, width)
            vectors.append(store(c.dtype, width, "c", f"at_r + column + {v * width}", value))
            spill.append(store(dtype, width, "t", str(i * columns + v * width), f"s{i}_{v}"))
        whole.append(f"if (row + {i} >= first) {{ {row} {' '.join(vectors)} }}")
    value = epilogue.text("s", bias_of, 1)
    at = f"at_r + ({_at(product.c_columns, 'column + x')})"
    single = f"""{" ".join(spill)}
    for (int i = first - row; i < {tile.rows}; i++) {{
      int r = row + i; at_r = at_c + ({product.c_rows.address("r")});
      for (int x = low; x < high; x++) {{
        {register_type(dtype, 1)} s = t[i * {columns} + x]; {store(c.dtype, 1, "c", at, value)}
      }}
    }}"""
    head = f"{product.index_type()} at_r;"
    kept = f"{register_type(dtype, 1)} t[{tile.rows * columns}];"
    if product.c_columns.stride != 1 and n > 1:
        return f"  {head} {kept} {single}"
    lines = "\n    ".join(whole)
    if n % columns == 0:
        return f"  {head}\n    {lines}"
    return f"  {head}\n  if (low == 0 && high == {columns}) {{\n    {lines}\n  }} else {{ {kept} {single} }}"


# -- parts of the depth ----------------------------------------------------------------------------------------------


def added_parts(
    product: Product, partial: Scratch, c: Operand, dtype: DType, parts: int, epilogue: Epilogue, traits: Traits
) -> Launch:
    """The sums of all parts, added in their order, as the result."""
    m, n, _ = product.sizes
    total, index = product.batches * m * n, product.index_type()
    kind = register_type(dtype, 1)
    bias = ", __global const " + storage_type(c.dtype) + " *restrict bias" if epilogue.bias is not None else ""
    at = f"{c.start} + ({product.batch[2].address('batch')}) + ({product.c_rows.address('row')})"
    at += f" + ({product.c_columns.address('column')})"
    chunk = 1 if traits.schedule == "gpu" else 64
    text = f"""__kernel void KERNEL(__global const {storage_type(dtype)} *restrict p,
    __global {storage_type(c.dtype)} *restrict c{bias}) {{
  {index} begin = ({index}) get_global_id(0) * {chunk};
  for ({index} e = begin; e < min(begin + {chunk}, ({index}) {total}); e++) {{
    int column = e % {n}, row = e / {n} % {m}, batch = e / {m * n};
    {kind} s = 0;
    for (int part = 0; part < {parts}; part++) s += p[e + ({index}) part * {total}];
    {store(c.dtype, 1, "c", at, epilogue.text("s", load(c.dtype, 1, "bias", "column"), 1))}
  }}
}}"""
    arguments = [partial, c.argument, *([epilogue.bias] if epilogue.bias is not None else [])]
    counts = (-(-total // chunk),)
    group = (traits.group,) if traits.schedule == "gpu" else halved_until((16,), counts, 4 * traits.units)
    return launch(text, counts, group, arguments, (c.argument,), f"adds {parts} parts of a product")
