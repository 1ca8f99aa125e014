"""Sums of products on GPUs: tiles of both operands in local memory, a block of the result in each item's registers.

Policy: a work-group loads a slice of the depth into local memory, in the order in which neighbours lie in memory, then
every item multiplies from there.  Whatever lies beside the operands is loaded as zero, so there is one kernel for all
sizes.  If there are fewer groups than the device needs, the depth is cut into parts that are added in their order.
Which of the configurations is used is asked of `choices`.

State: none.
"""

from __future__ import annotations

from typing import NamedTuple

from graphflow.dtypes import DType
from graphflow_opencl import choices
from graphflow_opencl.affine import Axes, Epilogue, Operand, Product, launch, parameters, rounded_up
from graphflow_opencl.products_cpu import added_parts
from graphflow_opencl.registers import load, register_type, store
from graphflow_opencl.table import Launch, Scratch, Traits

CUT_FROM = 512  # the depth below which a second launch costs more than it saves
LEAST_DEPTH = 128  # of a part
MOST_PARTS = 32
GROUPS_OF_UNIT = 2  # that keep a multiprocessor busy


class Blocking(NamedTuple):
    """A configuration: the block of the result for a group and for an item, and the slice of the depth."""

    rows: int
    columns: int
    depth: int
    item_rows: int
    item_columns: int

    @property
    def items(self) -> int:
        """How many items a group has."""
        return self.rows // self.item_rows * (self.columns // self.item_columns)

    def local_bytes(self, itemsize: int) -> int:
        """What it takes of local memory."""
        return self.depth * (self.rows + self.columns + 2) * itemsize


CONFIGURATIONS = (
    Blocking(128, 128, 8, 8, 8),
    Blocking(128, 128, 16, 8, 8),
    Blocking(128, 64, 16, 8, 4),
    Blocking(64, 128, 16, 4, 8),
    Blocking(64, 64, 16, 4, 4),
    Blocking(64, 64, 8, 4, 4),
    Blocking(64, 32, 16, 4, 2),
    Blocking(32, 32, 16, 2, 2),
    Blocking(16, 16, 16, 1, 1),
    Blocking(32, 32, 16, 4, 2),  # from here on for devices with smaller groups
    Blocking(32, 32, 16, 4, 4),
    Blocking(16, 16, 16, 4, 4),
    Blocking(8, 8, 8, 8, 8),
)


def fitting(dtype: DType, traits: Traits) -> list[int]:
    """The numbers of the configurations that the device can hold; the last one always."""
    size = max(4, dtype.size)
    found = [
        i for i, c in enumerate(CONFIGURATIONS) if c.items <= traits.group and c.local_bytes(size) <= traits.local_bytes
    ]
    return found or [len(CONFIGURATIONS) - 1]


def usable(dtype: DType, traits: Traits) -> list[int]:
    """Those of them that have the largest groups; the others are for drivers that refuse all of these."""
    found = fitting(dtype, traits)
    most = max(CONFIGURATIONS[i].items for i in found)
    return [i for i in found if CONFIGURATIONS[i].items == most]


def default_configuration(sizes: tuple[int, int, int], dtype: DType, traits: Traits) -> int:
    """The largest block with which there is work for every multiprocessor."""
    m, n, k = sizes
    candidates = usable(dtype, traits)
    for number in candidates:
        c = CONFIGURATIONS[number]
        groups = -(-m // c.rows) * -(-n // c.columns) * max(1, min(MOST_PARTS, k // LEAST_DEPTH))
        if groups >= traits.units * GROUPS_OF_UNIT and c.rows <= max(m, 16) * 2 and c.columns <= max(n, 16) * 2:
            return number
    smallest = [
        i for i in candidates if CONFIGURATIONS[i].rows <= max(m, 32) and CONFIGURATIONS[i].columns <= max(n, 32)
    ]
    return smallest[0] if smallest else candidates[-1]


def gpu_launches(
    product: Product,
    a: Operand,
    b: Operand,
    c: Operand,
    dtype: DType,
    epilogue: Epilogue,
    traits: Traits,
    free: int,
    number: int | None = None,
) -> list[Launch]:
    """The launches of a product; `dtype` is what is computed in, scratch gets numbers from `free` on.

    `number` names a configuration; without it, the one that was found fastest is taken, or the default.
    """
    m, n, k = product.sizes
    if number is None:
        number = choices.configuration(product.sizes, dtype.name, traits)
    if number not in fitting(dtype, traits):
        number = default_configuration(product.sizes, dtype, traits)
    blocking = CONFIGURATIONS[number]
    groups = -(-m // blocking.rows) * -(-n // blocking.columns) * product.batches
    parts = min(-(-traits.units * GROUPS_OF_UNIT // max(1, groups)), k // LEAST_DEPTH, MOST_PARTS)
    if parts <= 1 or k < CUT_FROM:
        return [_multiply(product, (a, b, c), dtype, blocking, epilogue)]
    partial = Scratch(free, parts * product.batches * m * n * dtype.np.itemsize)
    sums = product._replace(
        c_rows=Axes((m,), (n,)),
        c_columns=Axes((n,), (1,)),
        batch=(*product.batch[:2], Axes((product.batches,), (m * n,))),
    )
    first = _multiply(sums, (a, b, Operand(partial, dtype)), dtype, blocking, Epilogue(), parts)
    return [first, added_parts(product, partial, c, dtype, parts, epilogue, traits)]


def _multiply(
    product: Product,
    operands: tuple[Operand, Operand, Operand],
    dtype: DType,
    blocking: Blocking,
    epilogue: Epilogue,
    parts: int = 1,
) -> Launch:
    a, b, c = operands
    m, n, k = product.sizes
    index, kind = product.index_type(), register_type(dtype, 1)
    chunk = rounded_up(-(-k // parts), blocking.depth)
    down, across = -(-m // blocking.rows), -(-n // blocking.columns)
    partial = f" + ({index}) part * {product.batches * m * n}" if parts > 1 else ""
    text = f"""  __local {kind} *as = (__local {kind} *) tile, *bs = as + {blocking.depth * (blocking.rows + 1)};
  const int me = get_local_id(0), tx = me % {blocking.columns // blocking.item_columns};
  const int ty = me / {blocking.columns // blocking.item_columns};
  const int block = unit / {blocking.items};
  const int row = block % {down} * {blocking.rows}, column = block / {down} % {across} * {blocking.columns};
  const int z = block / {down * across}, batch = z / {parts}, part = z % {parts};
  const int end = min({k}, (part + 1) * {chunk});
  const {index} at_a = {a.start} + ({product.batch[0].address("batch")});
  const {index} at_b = {b.start} + ({product.batch[1].address("batch")});
  const {index} at_c = {c.start} + ({product.batch[2].address("batch")}){partial};
  {kind} s[{blocking.item_rows}][{blocking.item_columns}];
  for (int i = 0; i < {blocking.item_rows}; i++) for (int j = 0; j < {blocking.item_columns}; j++) s[i][j] = 0;
  for (int from = part * {chunk}; from < end; from += {blocking.depth}) {{
{_loaded("a", a, product.a_rows, product.a_depth, "row", m, blocking.rows, blocking)}
{_loaded("b", b, product.b_columns, product.b_depth, "column", n, blocking.columns, blocking)}
    barrier(CLK_LOCAL_MEM_FENCE);
    {_slice_sums(kind, blocking)}
    barrier(CLK_LOCAL_MEM_FENCE);
  }}
{_stores(product, c, kind, blocking, epilogue)}"""
    title = f"product {m} x {k} x {n}" + f", depth in {parts} parts" * (parts > 1)
    units = down * across * product.batches * parts * blocking.items
    size = blocking.local_bytes(max(4, dtype.size))
    return launch(text, units, blocking.items, parameters(operands, epilogue), (c.argument,), title, size)


def _loaded(
    name: str, x: Operand, across: Axes, depth: Axes, corner: str, limit: int, size: int, blocking: Blocking
) -> str:
    """The loop that brings a slice of one operand to local memory; neighbouring items take what lies side by side."""
    along_depth = bool(depth.strides) and depth.strides[-1] == 1 and not (across.strides and across.strides[-1] == 1)
    if along_depth:
        places = f"int k = e % {blocking.depth}, i = e / {blocking.depth};"
    else:
        places = f"int i = e % {size}, k = e / {size};"
    at = f"at_{name} + ({across.address('i')}) + ({depth.address('k')})"
    return f"""    for (int e = me; e < {size * blocking.depth}; e += {blocking.items}) {{
      {places}
      int slot = k * {size + 1} + i;
      i += {corner}; k += from;
      {name}s[slot] = i < {limit} && k < end ? {load(x.dtype, 1, name, at)} : 0;
    }}"""


def _slice_sums(kind: str, blocking: Blocking) -> str:
    """An item's share of the products of one slice; its rows and columns lie a step apart, so banks do not clash."""
    down, across = blocking.rows // blocking.item_rows, blocking.columns // blocking.item_columns
    return f"""{{
    #pragma OPENCL FP_CONTRACT ON
    for (int k = 0; k < {blocking.depth}; k++) {{
      {kind} x[{blocking.item_rows}], y[{blocking.item_columns}];
      for (int i = 0; i < {blocking.item_rows}; i++) x[i] = as[k * {blocking.rows + 1} + ty + i * {down}];
      for (int j = 0; j < {blocking.item_columns}; j++) y[j] = bs[k * {blocking.columns + 1} + tx + j * {across}];
      for (int i = 0; i < {blocking.item_rows}; i++)
        for (int j = 0; j < {blocking.item_columns}; j++) s[i][j] += x[i] * y[j];
    }}
    }}"""


def _stores(product: Product, c: Operand, kind: str, blocking: Blocking, epilogue: Epilogue) -> str:
    m, n, _ = product.sizes
    down, across = blocking.rows // blocking.item_rows, blocking.columns // blocking.item_columns
    bias = load(c.dtype, 1, "bias", "x")
    at = f"at_c + ({product.c_rows.address('r')}) + ({product.c_columns.address('x')})"
    return f"""  for (int i = 0; i < {blocking.item_rows}; i++) for (int j = 0; j < {blocking.item_columns}; j++) {{
    int r = row + ty + i * {down}, x = column + tx + j * {across};
    {kind} sum = s[i][j];
    if (r < {m} && x < {n}) {{ {store(c.dtype, 1, "c", at, epilogue.text("sum", bias, 1))} }}
  }}"""
