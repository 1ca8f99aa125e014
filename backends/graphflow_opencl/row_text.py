"""The text of kernels that work on rows: three passes over each row, on a CPU by one item, on a GPU by some lanes.

Policy: the passes find the largest element; the exponentials and their sums; the results.  On a CPU an item does many
rows, in vectors, and what the passes hand on lies in the result's own memory, which is in the nearest cache; a row of
one vector stays in registers.  On a GPU neighbouring lanes read neighbouring elements and keep them in registers if
they are few; sums meet in local memory in a fixed order.

State: none; its functions stand in `library`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphflow.dtypes import DType, float32, float64
from graphflow_opencl import polynomials
from graphflow_opencl.axes import cpu_launch, index_type, shares
from graphflow_opencl.checking import STATUS, checked
from graphflow_opencl.registers import broadcast_scalar, literal, load, register_type, storage_type, store
from graphflow_opencl.table import Launch, Status, Traits
from graphflow_opencl.tails import DIGITS, load_block, only_first, store_block
from graphflow_opencl.text import block

FUNCTIONS = (polynomials,)  # its functions in C are in the library once it is imported
SHARES = "shares"  # the labels are a distribution over the classes
NUMBERS = "numbers"  # the labels are numbers of classes
COST = 4  # an element costs about as much as moving so many times its bytes
KEPT = 16  # elements that a lane of a GPU keeps in registers
EACH = 4  # elements of a lane, unless the group has not enough lanes
ALONE = 8  # so few classes are done by one lane
UNROLLED = 4  # vectors of the first pass at a time, which waits for memory


def element(value: str, width: int, number: int) -> str:
    """C text: one element of a register."""
    return value if width == 1 else f"{value}.s{DIGITS[number]}"


class RowOp(NamedTuple):
    """What an op does with a row, as C text.

    `d` is an element less the largest one, `e` its exponential, `t` the label beside it, `chosen` the `d` of the
    labelled class; `scale`, like the sums by their names, is known in the last pass.
    """

    title: str
    sums: tuple[tuple[str, str], ...]
    scale: str
    result: str
    loss: str = ""
    labels: str = ""


class Rows(NamedTuple):
    """The rows of one op: how many, of which size, and the values that they are; -1 is an output that nobody reads."""

    height: int
    classes: int
    dtype: DType
    x: int
    labels: int = -1
    labels_dtype: DType = float32
    loss: int = -1
    slope: int = -1
    explain: Callable[[int], Exception] | None = None

    @property
    def wide(self) -> DType:
        """The dtype of sums."""
        return self.dtype if self.dtype == float64 else float32


class Block(NamedTuple):
    """Elements from a place on: `width` of them, of which only the first `tail` are there, unless it is 0."""

    width: int
    tail: int = 0
    at: str = "at"
    stride: int = 1  # from one element to the next

    def lanes(self) -> list[str]:
        """Where the elements stand; the first one for those that are not there."""
        there = [k if k < (self.tail or self.width) else 0 for k in range(self.width)]
        return [f"{self.at} + {k * self.stride}" for k in there]

    def load(self, dtype: DType, pointer: str) -> str:
        """C text: the elements as a register."""
        if self.stride == 1:
            return load_block(dtype, self.width, self.tail, pointer, self.at)
        parts = [load(dtype, 1, pointer, place) for place in self.lanes()]
        return f"({register_type(dtype, self.width)})({', '.join(parts)})"

    def store(self, dtype: DType, pointer: str, value: str) -> str:
        """Statements that store a register, which is a variable unless the elements are neighbours."""
        if self.stride == 1:
            return store_block(dtype, self.width, self.tail, pointer, self.at, value)
        there = enumerate(self.lanes()[: self.tail or self.width])
        return " ".join(store(dtype, 1, pointer, place, element(value, self.width, k)) for k, place in there)

    def counted(self, dtype: DType, value: str) -> str:
        """C text: a register with 0 for what is not there; between rows that does no harm."""
        there = not self.tail or self.stride != 1
        return value if there else only_first(dtype, self.width, self.tail, value, literal(dtype, 0))


class Passes:
    """The statements of the passes for one block.  `kept` names where a block stays in registers between them."""

    def __init__(self, op: RowOp, rows: Rows, width: int, kept: str, in_memory: bool, together: int = 1) -> None:
        self.op, self.rows, self.width, self.kept = op, rows, width, kept
        self.together = together  # rows, each with a place of its own in the registers of what is known of a row
        self.vector = register_type(rows.wide, width)
        self.exponential = "e" in op.result.split()
        self.in_memory = in_memory and rows.slope >= 0 and self.exponential and not kept and rows.dtype.size >= 4

    def text(self, text: str, width: int) -> str:
        """C text of the table for registers of a width."""
        kind = register_type(self.rows.wide, width)
        log = "log" if self.rows.wide == float64 else f"gf_log_{kind}"
        return text.replace("VECTOR", kind).replace("LOG", log)

    def _exp(self, d: str) -> str:
        return f"exp({d})" if self.rows.wide == float64 else f"gf_exp_{self.vector}({d})"

    def _difference(self, block: Block) -> str:
        return f"{self.kept or block.load(self.rows.dtype, 'x')} - top"

    def first(self, block: Block, largest: str = "largest") -> list[str]:
        """The largest element; a NaN is passed over here, and spoils the sums."""
        out = [f"const {self.vector} v = {block.load(self.rows.dtype, 'x')};"]
        out += [f"{self.kept} = v;"] if self.kept else []
        return [*out, f"{largest} = (v > {largest}) ? v : {largest};"]

    def second(self, block: Block) -> list[str]:
        """The exponentials and the sums."""
        rows = self.rows
        out = [f"const {self.vector} d = {self._difference(block)};", f"const {self.vector} e = {self._exp('d')};"]
        if self.op.labels == SHARES:
            out.append(f"const {self.vector} t = {block.load(rows.labels_dtype, 'labels')};")
        for name, value in self.op.sums:
            out.append(f"s_{name} += {block.counted(rows.wide, self.text(f'({value})', self.width))};")
        if self.kept:
            out.append(f"{self.kept} = {'e' if self.exponential else 'd'};")
        elif self.in_memory:
            out.append(block.store(rows.dtype, "y", "e"))
        return out

    def third(self, block: Block) -> list[str]:
        """The results."""
        rows = self.rows
        name = "e" if self.exponential else "d"
        if self.kept:
            value = self.kept
        elif self.in_memory:
            value = block.load(rows.dtype, "y")
        else:
            value = self._difference(block) if name == "d" else self._exp(self._difference(block))
        out = [f"const {self.vector} {name} = {value};"]
        if self.op.labels == SHARES:
            out.append(f"const {self.vector} t = {block.load(rows.labels_dtype, 'labels')};")
        made = self.op.result
        if self.op.labels == NUMBERS and self.together > 1:
            made = f"(label == c) ? {made} - 1 : {made}"
        out.append(f"const {self.vector} made = {made};")
        return [*out, block.store(rows.dtype, "y", "made")]

    def label(self) -> list[str]:
        """The number of the labelled class, if there is one."""
        if self.op.labels != NUMBERS:
            return []
        return [f"const long label = {checked('labels[row]', self.rows.classes, 'row')};"]

    def after_sums(self) -> list[str]:
        """What is known of a row once its sums are."""
        kind = register_type(self.rows.wide, self.together)
        scale = self.text(self.op.scale, self.together)
        out = [f"const {kind} scale = {scale};"] if self.rows.slope >= 0 else []
        if self.op.labels == NUMBERS and self.together == 1:
            out.append(f"const {kind} chosen = {Block(1, 0, 'base + label').load(self.rows.dtype, 'x')} - top;")
        return out

    def loss(self, tail: int = 0) -> list[str]:
        """The loss of the rows that are done together."""
        if self.rows.loss < 0:
            return []
        value = f"({self.text(self.op.loss, self.together)})"
        return [Block(self.together, tail, "row").store(self.rows.dtype, "loss", value)]

    def chosen(self) -> str:
        """The slope at the labelled class."""
        exp = "exp(chosen)" if self.rows.wide == float64 else "gf_exp_float(chosen)"
        return Block(1, 0, "base + label").store(self.rows.dtype, "y", f"({exp} * scale - 1)")

    def launch_parts(self) -> tuple[list[str], list[Any], list[int]]:
        """Parameters, arguments, and what is written."""
        rows = self.rows
        stored = storage_type(rows.dtype)
        table: list[tuple[bool, str, Any]] = [
            (True, f"__global const {stored} *restrict x", rows.x),
            (
                rows.labels >= 0,
                f"__global const {storage_type(rows.labels_dtype)} *restrict labels",
                rows.labels,
            ),
            (rows.loss >= 0, f"__global {stored} *restrict loss", rows.loss),
            (rows.slope >= 0, f"__global {stored} *restrict y", rows.slope),
        ]
        if self.op.labels == NUMBERS and rows.explain is not None:
            table.append((True, STATUS, Status(rows.explain)))
        used = [(text, argument) for there, text, argument in table if there]
        return [t for t, _ in used], [a for _, a in used], [v for v in (rows.loss, rows.slope) if v >= 0]


# -- a CPU -----------------------------------------------------------------------------------------------------------


def _row_width(rows: Rows, traits: Traits) -> int:
    """Elements of a vector: those of a register, or as many as a short row fills."""
    most = max(2, traits.width // 2) if rows.wide == float64 else traits.width
    width = 1
    while width < min(most, rows.classes):
        width *= 2
    return width


def _joined(name: str, wide: DType, width: int, combine: str) -> list[str]:
    """Statements that make one number, `name`, of the vector `s_name`."""
    whole, out = f"s_{name}", []
    while width > 1:
        width //= 2
        half, kind = f"{name}_{width}", register_type(wide, width)
        out.append(f"const {kind} {half} = {combine.format(a=f'{whole}.lo', b=f'{whole}.hi')};")
        whole = half
    return [*out, f"const {register_type(wide, 1)} {name} = {whole};"]


def _along(passes: Passes, index: str, statements: Callable[[Block], list[str]]) -> list[str]:
    """One pass over a row."""
    classes, width = passes.rows.classes, passes.width
    whole, out = classes // width * width, []
    if whole:
        head = f"for ({index} at = base; at < base + {whole}; at += {width})"
        out += block(head, statements(Block(width)))
    if whole < classes:
        out += block("", [f"const {index} at = base + {whole};", *statements(Block(width, classes - whole))])
    return out


def _largest(passes: Passes, index: str) -> list[str]:
    """The first pass, a few vectors at a time where there are many."""
    rows, width = passes.rows, passes.width
    step = UNROLLED * width
    if rows.classes < 2 * step:
        return _along(passes, index, lambda block: passes.first(block, "s_top"))
    out = [f"{passes.vector} {', '.join(f's_{k} = s_top' for k in range(UNROLLED))};", f"{index} start = base;"]
    parts = []
    for k in range(UNROLLED):
        parts += block("", [f"const {index} at = start + {k * width};", *passes.first(Block(width), f"s_{k}")])
    out += block(f"for (; start + {step} <= base + {rows.classes}; start += {step})", parts)
    whole = rows.classes // width * width
    if rows.classes % step >= width:
        head = f"for ({index} at = start; at < base + {whole}; at += {width})"
        out += block(head, passes.first(Block(width), "s_top"))
    if rows.classes > whole:
        tail = Block(width, rows.classes - whole)
        out += block("", [f"const {index} at = base + {whole};", *passes.first(tail, "s_top")])
    return [*out, *[f"s_top = (s_{k} > s_top) ? s_{k} : s_top;" for k in range(UNROLLED)]]


def cpu_rows(op: RowOp, rows: Rows, traits: Traits) -> Launch:
    """The launch of fat items, each of which does neighbouring rows."""
    width = _row_width(rows, traits)
    single = rows.classes <= width
    passes = Passes(op, rows, width, "kept" if single else "", True)
    index = index_type(rows.height * rows.classes + width)
    scalar = register_type(rows.wide, 1)
    lowest = broadcast_scalar(rows.wide, width, f"({scalar})(-INFINITY)")
    row = [f"const {index} base = row * {rows.classes};", *passes.label()]
    row += [f"{passes.vector} s_top = {lowest};"]
    row += [f"{passes.vector} kept;"] if single else []
    row += [*_largest(passes, index), *_joined("top", rows.wide, width, "({a} > {b}) ? {a} : {b}")]
    row += [f"{passes.vector} s_{name} = ({passes.vector})(0);" for name, _ in op.sums]
    row += _along(passes, index, passes.second)
    for name, _ in op.sums:
        row += _joined(name, rows.wide, width, "{a} + {b}")
    row += [*passes.after_sums(), *passes.loss()]
    if rows.slope >= 0:
        row += _along(passes, index, passes.third)
        row += [passes.chosen()] if op.labels == NUMBERS else []
    declared, arguments, writes = passes.launch_parts()
    nbytes = COST * rows.height * rows.classes * int(rows.dtype.size)
    each = -(-rows.height // shares(nbytes, rows.height, traits))
    head = f"const {index} low = ({index})get_global_id(0) * {each}, high = min(low + {each}, ({index}){rows.height});"
    lines = [head, *block(f"for ({index} row = low; row < high; row++)", row)]
    source = "\n".join(block(f"__kernel void KERNEL({', '.join(declared)})", lines))
    return cpu_launch(source, (-(-rows.height // each),), arguments, writes, op.title)


# -- a GPU -----------------------------------------------------------------------------------------------------------


def _lanes(classes: int, group: int) -> int:
    """How many lanes do a row together."""
    lanes = 1
    while classes > ALONE and lanes < group and lanes * EACH < classes:
        lanes *= 2
    return lanes


def _tree(names: Sequence[str], lanes: int, wide: DType, combine: str) -> list[str]:
    """Statements that make one number for each row of those of its lanes."""
    kind = register_type(wide, 1)
    if lanes == 1:
        return [f"const {kind} {name} = s_{name};" for name in names]
    out = [f"t_{name}[item] = s_{name};" for name in names]
    joined = [f"t_{n}[item] = {combine.format(a=f't_{n}[item]', b=f't_{n}[item + reach]')};" for n in names]
    barrier = "barrier(CLK_LOCAL_MEM_FENCE);"
    out += block(f"for (int reach = {lanes // 2}; reach; reach /= 2)", [barrier, *block("if (lane < reach)", joined)])
    return [*out, barrier, *[f"const {kind} {name} = t_{name}[item - lane];" for name in names]]


def gpu_rows(op: RowOp, rows: Rows, traits: Traits) -> Launch:
    """The launch of groups, of which each does some rows, or one."""
    group = traits.group
    lanes = _lanes(rows.classes, group)
    turns = -(-rows.classes // lanes)
    few = turns <= KEPT
    passes = Passes(op, rows, 1, "kept[k]" if few else "", False)
    index = index_type(rows.height * rows.classes + group)
    scalar = register_type(rows.wide, 1)

    def along(statements: list[str]) -> list[str]:
        inside = [f"const {index} at = base + c;", *statements]
        if turns * lanes > rows.classes:
            inside = block(f"if (c < {rows.classes})", inside)
        return block(f"for (int k = 0; k < {turns}; k++)", [f"const int c = lane + k * {lanes};", *inside])

    names = [name for name, _ in op.sums]
    row = [f"const int item = get_local_id(0), lane = item % {lanes};"]
    row += [f"__local {scalar} t_{name}[{group}];" for name in ("top", *names) if lanes > 1]
    row += [f"const {index} wanted = get_global_id(0) / {lanes};"]
    row += [f"const {index} row = min(wanted, ({index}){rows.height - 1}), base = row * {rows.classes};"]
    row += [*passes.label(), f"{scalar} s_top = -INFINITY;"]
    row += [f"{scalar} kept[{turns}];"] if few else []
    row += [*along(passes.first(Block(1), "s_top")), *_tree(["top"], lanes, rows.wide, "max({a}, {b})")]
    row += [f"{scalar} s_{name} = 0;" for name in names]
    row += [*along(passes.second(Block(1))), *_tree(names, lanes, rows.wide, "{a} + {b}")]
    row += ["if (wanted > row) return;", *passes.after_sums()]
    if rows.loss >= 0:
        row += block("if (!lane)", passes.loss())
    if rows.slope >= 0:
        last = passes.third(Block(1))
        if op.labels == NUMBERS:
            last = [*last[:-1], *block("if (c == label)", [passes.chosen()]), "else " + last[-1]]
        row += along(last)
    declared, arguments, writes = passes.launch_parts()
    source = "\n".join(block(f"__kernel void KERNEL({', '.join(declared)})", row))
    items = -(-rows.height * lanes // group) * group
    return Launch(source, (items,), (group,), tuple(arguments), tuple(writes), op.title)
