"""Products whose operands are read through affine addresses: what matrix products and convolutions have in common.

`c[row, column] = sum over depth of a[row, depth] * b[depth, column]`, for each member of a batch.  Each of these
indices runs over `Axes`, digits with a stride each, so an operand may be a transposed matrix, the windows of images, or
the taps of a filter in reverse, without a copy of it ever being made.

Policy: a description is a value; which kernels compute it is decided elsewhere, by schedule.  Addresses count elements
and are constants in the source.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

from graphflow.dtypes import DType
from graphflow_opencl.registers import storage_type
from graphflow_opencl.table import Launch, Scratch
from graphflow_opencl.text import BODY

INT32 = 2**31 - 1


class Axes(NamedTuple):
    """An index that runs over digits, the outermost first; equal neighbours in memory are one digit."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def places(self) -> int:
        """How many places there are."""
        return prod(self.sizes)

    @property
    def reach(self) -> int:
        """The largest distance from the first place to another one."""
        return sum((n - 1) * abs(s) for n, s in zip(self.sizes, self.strides, strict=True) if n)

    @property
    def stride(self) -> int | None:
        """The distance between neighbours if it is always the same, else None."""
        if not self.sizes:
            return 0
        return self.strides[0] if len(self.sizes) == 1 else None

    def address(self, index: str) -> str:
        """The C expression of the address of a flat index, which is a name."""
        terms, inner = [], 1
        for place in reversed(range(len(self.sizes))):
            n, stride = self.sizes[place], self.strides[place]
            digit = f"{index} / {inner}" if inner > 1 else index
            digit = f"({digit}) % {n}" if place else digit
            inner *= n
            if stride:
                terms.append(f"({digit}) * {stride}" if stride != 1 else f"({digit})")
        return " + ".join(terms) or "0"


def axes(*digits: tuple[int, int]) -> Axes:
    """Axes of (size, stride) pairs, the outermost first, with what lies side by side merged."""
    sizes: list[int] = []
    strides: list[int] = []
    for n, stride in digits:
        if n == 1:
            continue
        if sizes and strides[-1] == n * stride:
            sizes[-1] *= n
            strides[-1] = stride
        else:
            sizes.append(n)
            strides.append(stride)
    return Axes(tuple(sizes), tuple(strides))


class Operand(NamedTuple):
    """An argument of a kernel with the dtype of its elements, and where its first one stands."""

    argument: int | Scratch
    dtype: DType
    start: int = 0


class Product(NamedTuple):
    """One sum of products; the two rows, the two columns, the two depths, and the three batches have equal counts."""

    a_rows: Axes
    a_depth: Axes
    b_depth: Axes
    b_columns: Axes
    c_rows: Axes
    c_columns: Axes
    batch: tuple[Axes, Axes, Axes] = (Axes((), ()),) * 3
    batches: int = 1

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows, columns, depth."""
        return self.a_rows.places, self.b_columns.places, self.a_depth.places

    def index_type(self) -> str:
        """The C type that holds every address."""
        a, b, c = self.batch
        reaches = (
            self.a_rows.reach + self.a_depth.reach + a.reach,
            self.b_depth.reach + self.b_columns.reach + b.reach,
            self.c_rows.reach + self.c_columns.reach + c.reach,
        )
        m, n, k = self.sizes
        padded = (n + 64) * k * self.batches  # of what is packed
        return "int" if max(*reaches, padded, (m + 64) * (n + 64) * self.batches) < INT32 // 2 else "long"


class Epilogue(NamedTuple):
    """What happens to a result before it is stored: a bias for each column is added, then a function applied."""

    bias: int | None = None  # number of a value: a vector as long as there are columns
    activation: Callable[[str, int], str] | None = None  # (name of a register, its width) -> C expression

    @property
    def trivial(self) -> bool:
        """Whether nothing happens."""
        return self.bias is None and self.activation is None

    def text(self, value: str, bias: str, width: int) -> str:
        """The C expression of a result from the name of its sum, and the expression of its bias."""
        found = f"({value} + {bias})" if self.bias is not None else value
        return f"({self.activation(found, width)})" if self.activation is not None else found


NOTHING = Epilogue()


Parameters = list[tuple[str, str, Any]]  # of a kernel: type of the pointer, name, argument


def pointer(name: str, argument: Any, dtype: DType, written: bool = False) -> tuple[str, str, Any]:
    """A parameter for the elements of an argument."""
    return f"__global {'' if written else 'const '}{storage_type(dtype)} *", name, argument


def parameters(operands: tuple[Operand, Operand, Operand], epilogue: Epilogue) -> Parameters:
    """The parameters a, b, c and, if there is one, bias of a product's kernel."""
    a, b, c = operands
    found = [pointer("a", a.argument, a.dtype), pointer("b", b.argument, b.dtype)]
    found.append(pointer("c", c.argument, c.dtype, True))
    if epilogue.bias is not None:
        found.append(pointer("bias", epilogue.bias, c.dtype))
    return found


def rounded_up(number: int, step: int) -> int:
    """The least multiple of `step` that is not smaller."""
    return -(-number // step) * step


def launch(
    statements: str,
    units: int,
    group: int,
    listed: Parameters,
    writes: Sequence[Any],
    title: str,
    local_bytes: int = 0,
) -> Launch:
    """A launch whose items do the statements, in which `unit` is an item's number, at least `units` times.

    `writes` may name scratch, which needs no mention.  With `local_bytes` there are so many bytes of local memory at
    `tile`, and `units` must be a multiple of the group, all of which comes to each barrier.
    """
    assert not local_bytes or units % group == 0
    items = rounded_up(max(1, units), group)
    number = "int" if items < INT32 else "long"
    inside = ["__local long *tile"] if local_bytes else []
    head = ", ".join(f"{kind}restrict {name}" for kind, name, _ in listed)
    declared = ", ".join([f"const {number} unit", *inside, head])
    passed = ", ".join(["get_global_id(0)", *["tile"] * len(inside), *(name for _, name, _ in listed)])
    guard = f"  if (unit >= {units}) return;\n" if items != units else ""
    local = f"  __local long tile[{-(-local_bytes // 8)}];\n" if local_bytes else ""
    text = f"static void {BODY}({declared}) {{\n{guard}{statements}\n}}\n"
    text += f"__kernel void KERNEL({head}) {{\n{local}  {BODY}({passed});\n}}\n"
    written = tuple(w for w in writes if isinstance(w, int))
    return Launch(text, (items,), (group,), tuple(argument for _, _, argument in listed), written, title)
