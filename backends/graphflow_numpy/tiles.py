"""Fusion groups in tiles: a stretch of the index space that fits the cache goes through all members before the next.

Policy: exact.  A tile is a slice along the first axis (of the flattened arrays, where every input has the group's
shape or is one number), so each element is computed by the same kernels as without tiles.  Values that nobody reads
outside live in scratch of a tile's size, used again within the tile.  Reductions of the whole (O2 alone) are taken tile
by tile and then over the tiles, so they depend on the shape, never on the number of threads.  A group too small to
leave the cache is not worth a tile; its members stay ordinary steps.

State: each group keeps scratch for as many threads as have run it at once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.program import Group, Instruction, Program
from graphflow.spec import nbytes
from graphflow_numpy.binding import MemberFailed, Replacement
from graphflow_numpy.sharing import share
from graphflow_numpy.table import TABLE, Row

# Measured: below some 30,000 elements a call's own cost shows; and two threads that call short kernels spend their
# time handing each other the interpreter's lock, so that shared tiles of 8,000 elements are slower than one thread.
CACHE = 1 << 23  # bytes that a tile's arrays may take together
SMALLEST, LARGEST = 1 << 15, 1 << 17  # elements of a tile
SHARED = 1 << 16  # elements of a tile from which a second thread pays
WORTH = 1 << 20  # bytes that the members of a group move without tiles

PARTIAL: dict[str, tuple[Any, bool]] = {  # reduction -> its ufunc, and whether the count divides it
    "Sum": (np.add, False),
    "Mean": (np.add, True),
    "Max": (np.maximum, False),
    "Min": (np.minimum, False),
}


def tiled(program: Program, group: Group) -> Replacement | None:
    """The group as one call, if tiles are worth it."""
    members = program.instructions[group.begin : group.end]
    pointwise = members[: len(members) - group.reductions]
    whole = [ins for ins in members[len(pointwise) :] if _is_whole(program, ins, group)]
    if len(whole) < len(members) - len(pointwise):
        whole = []
    rows = [TABLE.get(ins.type) for ins in pointwise]
    moved = sum((nbytes(program.values[ins.outputs[0]]) or 0) * 2 for ins in pointwise)
    if len(pointwise) < 2 or moved < WORTH or any(row is None or row.bound or row.needs_run for row in rows):
        return None
    kept = set(group.outputs)
    if not whole:
        kept.update(v for ins in members[len(pointwise) :] for v in ins.inputs)
    made = [ins.outputs[0] for ins in pointwise]
    layout = _Layout(program, group, pointwise, [v for v in made if v in kept], whole)
    if layout.tiles < 2:
        return None
    end = group.begin + len(pointwise) + len(whole)
    outputs = tuple(ins.outputs[0] for ins in whole)
    return Replacement(group.begin, end, layout.run, tuple(layout.inputs), outputs, tuple(layout.results))


def _is_whole(program: Program, ins: Instruction, group: Group) -> bool:
    """Whether a reduction leaves one number."""
    axis, rank = ins.attrs["axis"], len(group.dims)
    return ins.type in PARTIAL and not ins.attrs["keepdims"] and (axis is None or len(axis) == rank)


class _Layout:
    """Where the values of a group are while a tile is computed, and the kernels over them."""

    def __init__(
        self,
        program: Program,
        group: Group,
        pointwise: Sequence[Instruction],
        results: Sequence[int],
        whole: Sequence[Instruction],
    ) -> None:
        values = program.values
        self.results = list(results)
        made = {ins.outputs[0] for ins in pointwise}
        self.inputs = list(dict.fromkeys(v for ins in pointwise for v in ins.inputs if v not in made))
        numbers = {v for v in self.inputs if math.prod(d or 0 for d in values[v].dims or ()) == 1}
        full = {v for v in self.inputs if values[v].dims == group.dims}
        self.flat = full | numbers == set(self.inputs)
        self.dims = group.dims
        self.rows = math.prod(group.dims) if self.flat else group.dims[0]
        self.row_size = 1 if self.flat else math.prod(group.dims[1:])
        rank = len(group.dims)
        self._numbers = [i for i, v in enumerate(self.inputs) if v in numbers]
        self._sliced = [
            i
            for i, v in enumerate(self.inputs)
            if v in full or not self.flat and len(own := values[v].dims or ()) == rank and own[0] == group.dims[0]
        ]
        self._whole_of = [(ins, *PARTIAL[ins.type]) for ins in whole]
        self._steps: list[tuple[Callable[..., Any], tuple[int, ...], int, Instruction]] = []
        self._scratch_dtypes: list[Any] = []
        self._free: list[list[Any]] = []
        self._allocate(program, pointwise)
        widest = max(values[v].dtype.size for v in [*self.inputs, *made])
        arrays = len(self._sliced) + len(self.results) + len(self._scratch_dtypes)
        tile = min(max(CACHE // (widest * max(arrays, 1)), SMALLEST), LARGEST)
        self.tile = max(1, tile // self.row_size)
        self.tiles = -(-self.rows // self.tile)
        self._shared = self.tile * self.row_size >= SHARED and self.tiles > 2

    def _allocate(self, program: Program, pointwise: Sequence[Instruction]) -> None:
        """A slot for each value: inputs, results, then scratch, used again after its last reader."""
        slot = {v: i for i, v in enumerate([*self.inputs, *self.results])}
        first = len(slot)
        last = {v: i for i, ins in enumerate(pointwise) for v in ins.inputs}
        last.update({ins.inputs[0]: len(pointwise) for ins, *_ in self._whole_of})
        idle: list[tuple[Any, int]] = []
        for i, ins in enumerate(pointwise):
            row, v = TABLE[ins.type], ins.outputs[0]
            dtype = program.values[v].dtype.np
            inputs = tuple(slot[x] for x in ins.inputs)
            dying = [(p, x) for p, x in enumerate(ins.inputs) if last[x] == i and slot[x] >= first]
            if v not in slot:
                over = [slot[x] for _, x in dying if program.values[x].dtype.np == dtype and _may_take(row, ins, x)]
                found = over[:1] or [s for kind, s in idle if kind == dtype][:1]
                if found:
                    slot[v] = found[0]
                    idle = [entry for entry in idle if entry[1] != found[0]]
                else:
                    slot[v] = first + len(self._scratch_dtypes)
                    self._scratch_dtypes.append(dtype)
            idle += {(program.values[x].dtype.np, slot[x]) for _, x in dying if slot[x] != slot[v]}
            kernel = row.into if row.into is not None else _copying(row.function)
            self._steps.append((functools.partial(kernel, **ins.attrs) if ins.attrs else kernel, inputs, slot[v], ins))
        self._reduced = [slot[ins.inputs[0]] for ins, *_ in self._whole_of]

    def run(self, *arrays: Any) -> tuple[Any, ...]:
        """The whole group: inputs, then results; returns the reductions."""
        bases = list(arrays)
        for i in self._numbers:
            bases[i] = bases[i].reshape(())[()] if isinstance(bases[i], np.ndarray) else bases[i]
        count = len(self.inputs)
        if self.flat:
            for i in [*self._sliced, *range(count, len(bases))]:
                bases[i] = bases[i].reshape(-1)
        partials = [np.empty(self.tiles, bases[s].dtype if s < len(bases) else self._dtype(s)) for s in self._reduced]
        tile = functools.partial(self._tile, bases, partials)
        if self._shared:
            share(self.tiles, tile)
        else:
            for number in range(self.tiles):
                tile(number)
        out = []
        for (_, ufunc, divides), partial in zip(self._whole_of, partials, strict=True):
            total = ufunc.reduce(partial)
            out.append(partial.dtype.type(total / math.prod(self.dims)) if divides else total)
        return tuple(out)

    def _dtype(self, slot: int) -> Any:
        return self._scratch_dtypes[slot - len(self.inputs) - len(self.results)]

    def _tile(self, bases: list[Any], partials: list[Any], number: int) -> None:
        begin = number * self.tile
        end = min(begin + self.tile, self.rows)
        try:
            scratch = self._free.pop()
        except IndexError:
            shape = (self.tile,) if self.flat else (self.tile, *self.dims[1:])
            scratch = [np.empty(shape, dtype) for dtype in self._scratch_dtypes]
        slots = bases + (scratch if end - begin == self.tile else [s[: end - begin] for s in scratch])
        for i in self._sliced:
            slots[i] = bases[i][begin:end]
        for i in range(len(self.inputs), len(bases)):
            slots[i] = bases[i][begin:end]
        for kernel, inputs, out, ins in self._steps:
            try:
                if len(inputs) == 2:
                    kernel(slots[inputs[0]], slots[inputs[1]], slots[out])
                elif len(inputs) == 1:
                    kernel(slots[inputs[0]], slots[out])
                else:
                    kernel(*[slots[i] for i in inputs], slots[out])
            except Exception as error:
                raise MemberFailed(ins, [slots[i] for i in inputs], error) from error
        for (_, ufunc, _), slot, partial in zip(self._whole_of, self._reduced, partials, strict=True):
            partial[number] = ufunc.reduce(slots[slot], axis=None)
        self._free.append(scratch)


def _may_take(row: Row, ins: Instruction, value: int) -> bool:
    """Whether the result may be written over an input, wherever that stands among the inputs."""
    return all(place in row.inplace for place, v in enumerate(ins.inputs) if v == value)


def _copying(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that cannot write into given memory, made to."""

    def write(*arguments: Any, **attrs: Any) -> None:
        np.copyto(arguments[-1], function(*arguments[:-1], **attrs))

    return write
