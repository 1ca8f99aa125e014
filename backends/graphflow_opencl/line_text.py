"""The text of kernels over lines: a few walks along each line, with numbers of the line known in between.

Policy: on a CPU an item does some lines, one after the other: a row in vectors along it, which are joined at the end
of each walk; columns side by side, one in each place of a vector.  On a GPU some lanes walk along a line together, and
meet in a tree in local memory; lanes that are neighbours read neighbouring elements.  Sums are made of short runs.

State: none.
"""

from __future__ import annotations

from graphflow_opencl.bodies import Parameters, Unprintable, Work
from graphflow_opencl.expressions import expression
from graphflow_opencl.folds import Fold
from graphflow_opencl.index_space import index_type
from graphflow_opencl.line_sets import ALONG, FULL, LINE, ONE, Split
from graphflow_opencl.line_work import LineWork, Pass
from graphflow_opencl.registers import REGISTERS, broadcast_scalar, literal, register_type
from graphflow_opencl.sizing import GRAIN, UNITS_PER_CORE
from graphflow_opencl.table import Launch, Scratch, Traits
from graphflow_opencl.tails import load_block, only_first, store_block
from graphflow_opencl.text import block, launch_of

RUN = 64  # steps of a walk that are added up before they join the rest
SMALL = 1 << 15  # elements that few items may do
LONGEST = 1 << 16  # elements that the items of one line may have to walk along
TALLEST = 1 << 15  # rows that an item of a CPU walks down more than once: their part of its columns stays in a cache
BESIDE = 32  # columns that a work-group of a GPU does side by side
EACH = 4  # elements of a lane of a GPU, unless the group has not enough lanes


def enough_lines(split: Split, traits: Traits) -> bool:
    """Whether lines keep the device busy, each being done in one place."""
    total = split.lines * split.length
    if traits.schedule == "gpu":
        groups = split.lines if split.rows else -(-split.lines // BESIDE)
        return total // groups <= LONGEST and (total <= SMALL or groups * 2 >= traits.units)
    if total <= SMALL:
        return True
    if split.rows:
        return split.length <= LONGEST and split.lines >= traits.units * 4
    return split.length <= TALLEST and split.lines >= traits.units * traits.width


def line_launch(work: LineWork, traits: Traits) -> Launch | None:
    """The launch; None if an op has no expression."""
    try:
        return _Writer(work, traits).launch()
    except Unprintable:
        return None


def _width(work: LineWork, traits: Traits) -> int:
    dtypes = [work.dtype(v) for v in (*work.operands, *work.steps)]
    sizes = [*(REGISTERS[d.name].size for d in dtypes), *(f.wide.size for f, _ in work.folds.values())]
    width = min(16, traits.width * 4 // max(4, *sizes))
    most = work.split.length if work.split.rows else work.split.lines
    while width > max(1, most):
        width //= 2
    return max(1, width)


class _Writer:
    """The text of one launch."""

    def __init__(self, work: LineWork, traits: Traits) -> None:
        self.work, self.traits, self.split, self.title = work, traits, work.split, work.title
        self.gpu = traits.schedule == "gpu"
        self.width = 1 if self.gpu else _width(work, traits)
        self.rows = self.split.rows
        self.number = index_type(self.split.lines * self.split.length + self.width)
        self.parameters = Parameters()
        self.scratch: dict[int, Scratch] = {}
        order = [*work.operands, *work.steps, *work.folds]
        self.names = {v: f"v{i}" for i, v in enumerate(order)}
        self._deal()

    def _deal(self) -> None:
        """Lanes, groups and units."""
        count, length, group = self.split.lines, self.split.length, self.traits.group
        self.lanes = 1
        if self.gpu and self.rows:
            while self.lanes < group and self.lanes * EACH < length:
                self.lanes *= 2
        elif self.gpu:
            self.lanes = max(1, group // BESIDE)
        self.apart = 1 if self.rows else group // self.lanes
        self.blocks = count if self.rows else -(-count // self.width)
        wanted = self.blocks
        if not self.gpu:
            cost = count * length * max(1, len(self.work.steps) // 4)
            wanted = max(1, min(cost // GRAIN, self.traits.units * UNITS_PER_CORE, self.blocks))
        self.each = -(-self.blocks // wanted)
        self.units = -(-self.blocks // self.each)

    # -- registers -------------------------------------------------------------------------------------------------

    def wide(self, v: int) -> int:
        """The width of a value's register."""
        return self.width if (self.work.along(v) if self.rows else self.work.lines(v)) else 1

    def text(self, v: int, width: int) -> str:
        """C text: a value as a register of a width."""
        operand = self.work.operands.get(v)
        if operand is not None and operand.known is not None:
            return broadcast_scalar(operand.dtype, width, literal(operand.dtype, operand.known))
        if self.wide(v) == width:
            return self.names[v]
        return broadcast_scalar(self.work.dtype(v), width, self.names[v])

    def _place(self, place: str) -> str:
        element = f"line * ({self.number}){self.split.length} + j" if self.rows else f"j * {self.split.lines} + line"
        return {FULL: element, LINE: "line", ALONG: "j", ONE: "0"}[place]

    def _loaded(self, v: int, tail: int) -> str:
        operand = self.work.operands[v]
        width = self.wide(v)
        pointer = self.parameters.name(operand.argument, operand.dtype)
        value = load_block(operand.dtype, width, tail if width > 1 else 0, pointer, self._place(operand.place))
        return f"const {register_type(operand.dtype, width)} {self.names[v]} = {value};"

    def _stored(self, v: int, place: str, tail: int, width: int) -> str:
        dtype = self.work.dtype(v)
        pointer = self.parameters.name(v, dtype)
        self.parameters.written.add(v)
        return store_block(dtype, width, tail if width > 1 else 0, pointer, self._place(place), self.text(v, width))

    def _step(self, v: int) -> str:
        step = self.work.steps[v]
        width = self.wide(v)
        arguments = [self.text(x, width) for x in step.inputs]
        if self.work.is_copy(v):
            value = arguments[0]
            if v in self.work.divided:
                value = f"({value} / {broadcast_scalar(step.dtype, width, literal(step.dtype, self.work.divided[v]))})"
        else:
            inputs = [self.work.dtype(x) for x in step.inputs]
            known = [o.known if (o := self.work.operands.get(x)) else None for x in step.inputs]
            found = expression(step.ins.type, step.ins.attrs, arguments, inputs, step.dtype, width, known)
            if found is None:
                raise Unprintable(step.ins.type)
            value = found
        return f"const {register_type(step.dtype, width)} {self.names[v]} = {value};"

    # -- one block of lines ----------------------------------------------------------------------------------------

    def _lines(self, tail: int) -> list[str]:
        """All that is done with one line, or with neighbouring columns of which `tail` are there, unless it is 0."""
        out = [
            self._loaded(v, tail)
            for v, operand in self.work.operands.items()
            if operand.place in (LINE, ONE) and operand.known is None
        ]
        for number, walk in enumerate(self.work.passes):
            out += self._between(number, tail)
            if walk.folds or walk.stores or walk.keeps:
                out += self._walk(walk, tail)
        return [*out, *self._between(len(self.work.passes), tail)]

    def _between(self, number: int, tail: int) -> list[str]:
        """Numbers of lines that are known before a pass."""
        known = [v for v, step in self.work.steps.items() if step.phase == number and not step.along]
        out = [self._step(v) for v in known]
        results = [v for v, (_, p) in self.work.folds.items() if p + 1 == number]
        stores = []
        for v in self.work.outputs:
            if v not in self.work.full and (v in known or v in results):
                stores.append(self._stored(v, LINE, tail, 1 if self.rows else self.width))
        if stores and self.gpu:
            return [*out, *block("if (!lane && wanted == line)", stores)]
        return [*out, *stores]

    def _walk(self, walk: Pass, tail: int) -> list[str]:
        """One pass along the lines."""
        out = [self._cleared("a", f) for f in walk.folds]
        rest = self.split.length % self.width if self.rows else 0
        each = self.width if self.rows else 1
        stride, whole = self.lanes * each, self.split.length - rest
        lane, stop = ("lane", "last") if self.gpu else ("0", str(whole))
        if whole > RUN * stride and walk.folds:
            inner = [self._cleared("b", f) for f in walk.folds]
            inner.append(f"const {self.number} stop = min(start + {RUN * stride}, ({self.number}){stop});")
            head = f"for ({self.number} j = start + {lane}; j < stop; j += {stride})"
            inner += block(head, self._element(walk, "b", 0, tail))
            inner += [f"{self._own('a', f)} = {self._added(f, 'a', self._own('b', f))};" for f in walk.folds]
            out += block(f"for ({self.number} start = 0; start < {stop}; start += {RUN * stride})", inner)
        elif whole:
            head = f"for ({self.number} j = {lane}; j < {stop}; j += {stride})"
            out += block(head, self._element(walk, "a", 0, tail))
        if rest:
            out += block("", [f"const {self.number} j = {whole};", *self._element(walk, "a", rest, tail)])
        return [*out, *self._results(walk)]

    def _own(self, kind: str, f: Fold) -> str:
        """The name of a reduction's accumulator, or of what is added to it."""
        return f"{kind}_{self.names[f.argument]}"

    def _added(self, f: Fold, kind: str, value: str) -> str:
        return f.combined(self._own(kind, f), value, self.width)

    def _cleared(self, kind: str, f: Fold) -> str:
        register = register_type(f.wide, self.width)
        return f"{register} {self._own(kind, f)} = {broadcast_scalar(f.wide, self.width, f.neutral)};"

    def _element(self, walk: Pass, kind: str, rest: int, tail: int) -> list[str]:
        """What is done at one place of the lines; `rest` is how many elements of a row are left, if not a vector."""
        cut = rest if self.rows else tail
        out = [self._loaded(v, cut) for v in walk.reads]
        for v in walk.again:
            dtype, width = self.work.dtype(v), self.wide(v)
            pointer, place = self._kept(v) if v in self.scratch else (self.parameters.name(v, dtype), self._place(FULL))
            value = load_block(dtype, width, cut if v not in self.scratch else 0, pointer, place)
            out.append(f"const {register_type(dtype, width)} {self.names[v]} = {value};")
        out += [self._step(v) for v in walk.steps]
        out += [self._stored(v, FULL, cut, self.width) for v in walk.stores]
        out += [self._keep(v) for v in walk.keeps]
        for f in walk.folds:
            name = self._own("x", f)
            value = f.widened(self.text(f.value, self.width), self.work.dtype(f.value), self.width)
            out.append(f"{register_type(f.wide, self.width)} {name} = {value};")
            if rest:
                out.append(f"{name} = {only_first(f.wide, self.width, rest, name, f.neutral)};")
            out.append(f"{self._own(kind, f)} = {self._added(f, kind, name)};")
        return out

    # -- between the passes ----------------------------------------------------------------------------------------

    @property
    def _line_size(self) -> int:
        """Elements that an item of a CPU keeps of its lines."""
        return self.split.length + self.width if self.rows else self.split.length * self.width

    def _keep(self, v: int) -> str:
        dtype = self.work.dtype(v)
        count = self.split.lines * self.split.length if self.gpu else self._line_size * self.units
        self.scratch.setdefault(v, Scratch(len(self.scratch), count * int(dtype.size)))
        self.parameters.written.add(self.scratch[v])
        pointer, place = self._kept(v)
        return store_block(dtype, self.wide(v), 0, pointer, place, self.names[v])

    def _kept(self, v: int) -> tuple[str, str]:
        """Where a value is kept from one pass to the next: the pointer, and the place."""
        pointer = self.parameters.name(self.scratch[v], self.work.dtype(v))
        if self.gpu:
            return pointer, self._place(FULL)
        return pointer, f"unit * ({self.number}){self._line_size} + j{'' if self.rows else f' * {self.width}'}"

    def _results(self, walk: Pass) -> list[str]:
        """The accumulators of a pass as numbers of the lines."""
        out = self._tree(walk) if self.lanes > 1 and walk.folds else []
        for f in walk.folds:
            name, width, result = self._own("a", f), self.width, self.names[f.argument]
            if self.lanes > 1:
                name = f"t_{result}[item - lane * {self.apart}]"
            while self.rows and width > 1:
                width //= 2
                value = f.combined(f"{name}.lo", f"{name}.hi", width)
                name = f"{result}_{width}"
                out.append(f"const {register_type(f.wide, width)} {name} = {value};")
            out.append(f"const {register_type(f.dtype, width)} {result} = {f.finished(name, width)};")
        return out

    def _tree(self, walk: Pass) -> list[str]:
        """Statements that add up what the lanes of a line have."""
        barrier = "barrier(CLK_LOCAL_MEM_FENCE);"
        names = [(f, f"t_{self.names[f.argument]}") for f in walk.folds]
        joined = [f"{t}[item] = {f.combined(f'{t}[item]', f'{t}[item + reach * {self.apart}]', 1)};" for f, t in names]
        out = [f"{t}[item] = {self._own('a', f)};" for f, t in names]
        head = f"for (int reach = {self.lanes // 2}; reach; reach /= 2)"
        return [*out, *block(head, [barrier, *block("if (lane < reach)", joined)]), barrier]

    # -- the kernel ------------------------------------------------------------------------------------------------

    def launch(self) -> Launch:
        """The launch."""
        return self._gpu() if self.gpu else self._cpu()

    def _cpu(self) -> Launch:
        side = 1 if self.rows else self.width
        whole, tail = divmod(self.split.lines, side)
        first = f"const {self.number} line = number * ({self.number}){side};"
        out = []
        if whole:
            end = f"min((int)(unit * {self.each} + {self.each}), {whole})"
            out += block(f"for (int number = unit * {self.each}; number < {end}; number++)", [first, *self._lines(0)])
        if tail:
            alone = [f"const int number = {whole};", first, *self._lines(tail)]
            out += block(f"if (unit == {self.units - 1})", alone)
        work = Work((), {}, (), {}, title=self.title)
        return launch_of(work, self.parameters, out, self.units, self.traits)

    def _gpu(self) -> Launch:
        count, group = self.split.lines, self.traits.group
        beside = group // self.lanes
        lane = f"item % {self.lanes}" if self.rows else f"item / {beside}"
        line = f"item / {self.lanes}" if self.rows else f"item % {beside}"
        body = self._lines(0)
        local = [
            f"__local {register_type(f.wide, 1)} t_{self.names[f.argument]}[{group}];"
            for f, _ in self.work.folds.values()
            if self.lanes > 1
        ]
        head = [
            *local,
            f"const int item = get_local_id(0), lane = {lane};",
            f"const {self.number} wanted = get_group_id(0) * ({self.number}){beside} + {line};",
            f"const {self.number} line = min(wanted, ({self.number}){count - 1});",
            f"const {self.number} last = wanted == line ? {self.split.length} : 0;",
        ]
        source = "\n".join(block(f"__kernel void KERNEL({self.parameters.declarations})", [*head, *body])) + "\n"
        items = -(-count // beside) * group
        return Launch(source, (items,), (group,), self.parameters.arguments, self.parameters.writes, self.title)
