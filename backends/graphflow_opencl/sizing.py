"""How wide registers are, and how work is cut into units.

Policy: on a CPU a unit is large enough to be worth its share of a launch, and there are several of them for each core,
so that a core that is held up does not hold up all.  On a GPU there are as many items as keep it busy.  Sizes depend on
the work and on the device alone: equal work gives equal bits.

State: none.
"""

from __future__ import annotations

from typing import NamedTuple

from graphflow_opencl.bodies import Work
from graphflow_opencl.registers import REGISTERS
from graphflow_opencl.table import Traits

GRAIN = 8192  # elements of a unit on a CPU, of light work
UNITS_PER_CORE = 16
ITEMS_PER_UNIT = 2048  # items that keep a multiprocessor busy
GPU_WIDTH = 4
LONG = 1024  # elements from which a line is read in vectors on a GPU
LEAST_STEPS = 16  # vectors of each lane of a part on a GPU
EVEN = 4  # vectors, of which a long run is a multiple: they are done several at once, and none is left over
LONG_RUN = 64  # vectors
LIGHT = 4.0  # steps of which a light work consists


class Sizing(NamedTuple):
    """How the segments of a pass become units."""

    units: int
    segments: int  # of a unit; 1 if there are parts
    parts: int  # of a segment
    lines: int  # of a part
    run: int  # elements of each line that belong to a part
    lanes: int  # items of a unit


def width_for(work: Work, traits: Traits, length: int) -> int:
    """Elements of a vector, for runs of that length."""
    sizes = [REGISTERS[work.dtypes[v].name].size for v in (*work.reads, *(s.outputs[0] for s in work.steps))]
    if traits.schedule == "cpu":
        width = min(16, traits.width * 4 // max(4, *sizes, *(f.wide.size for f in work.folds)))
    else:
        width = GPU_WIDTH if not work.folds or length >= LONG else 1
    while width > max(1, length):
        width //= 2
    return max(1, width)


def target_units(elements: int, work: Work, traits: Traits) -> int:
    """How many units there should be, if the shape lets one choose."""
    if traits.schedule != "cpu":
        return traits.units * ITEMS_PER_UNIT
    cost = elements * max(1.0, len(work.steps) / LIGHT)
    return int(max(1, min(cost // GRAIN, traits.units * UNITS_PER_CORE)))


def along_lines(work: Work, traits: Traits, shape: tuple[int, int, int], width: int, whole: bool = False) -> Sizing:
    """For `shape` segments of so many lines of such a length; `whole` forbids parts of segments."""
    segments, lines, length = shape
    if traits.schedule != "cpu" and not work.folds:
        parts = -(-length // width)
        return Sizing(segments * parts, 1, parts, lines, width, 1)
    lanes = 1
    if traits.schedule != "cpu":
        while lanes < traits.group and lanes * width < length:
            lanes *= 2
    wanted = max(1, target_units(segments * lines * length, work, traits) // lanes)
    if segments >= wanted or whole:
        each = 1 if traits.schedule != "cpu" else -(-segments // wanted)
        return Sizing(-(-segments // each), each, 1, lines, length, lanes)
    parts = -(-wanted // segments)
    if lines >= parts:
        each = -(-lines // parts)
        parts = -(-lines // each)
        return Sizing(segments * parts, 1, parts, each, length, lanes)
    least = width * lanes * (1 if traits.schedule == "cpu" else LEAST_STEPS)
    run = -(-length // parts)
    step = width * lanes
    if traits.schedule == "cpu" and run >= LONG_RUN * step:
        step *= EVEN
    run = -(-max(run, least) // step) * step
    parts = -(-length // run)
    return Sizing(segments * parts, 1, parts, lines, run, lanes)


class Blocks(NamedTuple):
    """How the columns of a pass become units."""

    units: int
    columns: int  # of a unit
    parts: int  # of the rows
    rows: int  # of a part


WIDEST = 64  # vectors of columns of a unit
FEWEST_ROWS = 64


def across_columns(work: Work, traits: Traits, shape: tuple[int, int, int], width: int, whole: bool = False) -> Blocks:
    """For `shape` outer places of so many rows of so many columns."""
    outer, rows, columns = shape
    wanted = target_units(outer * rows * columns, work, traits)
    each = 1
    if traits.schedule == "cpu":
        each = min(-(-columns // width), WIDEST) * width
    units = outer * -(-columns // each)
    parts = 1
    if units < wanted and not whole:
        parts = max(1, min(-(-wanted // units), rows // FEWEST_ROWS))
    per_part = -(-rows // parts)
    parts = -(-rows // per_part)
    return Blocks(units * parts, each, parts, per_part)
