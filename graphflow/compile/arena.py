"""Where blocks of memory go whose times of need are known beforehand.

Policy: exact about time, good about space, deterministic.  Blocks whose times overlap never overlap in space.  In a
sequential program a block takes the smallest gap that holds it, in the order of birth; if that is far above what is
needed at the fullest moment, the largest blocks choose first instead, and the better of both is kept.  Where tasks
overlap, a gap also has to be over with: all that used it belongs to the block's own task or to those before that.

State: none.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import NamedTuple

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
WASTE = 1.02  # how far above the fullest moment a placement may be without another try
MOST_PAIRS = 50_000  # of blocks that are compared in that other try
MOST_SCANNED = 4096  # blocks, beyond which tasks that overlap share no memory


_Gap = tuple[int, int, int]  # offset, end, and the tasks that have used it


class Block(NamedTuple):
    """A stretch of memory, and when it is needed."""

    size: int
    birth: int  # positions, both included
    death: int
    task: int = 0  # in which it begins
    users: int = 0  # the set of tasks that use it, as bits


def aligned(size: int) -> int:
    """The size with what is lost to alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def fullest(blocks: Sequence[Block]) -> int:
    """How much is needed at the fullest moment: no placement takes less."""
    events = [(block.birth, block.size) for block in blocks]
    events += [(block.death + 1, -block.size) for block in blocks]
    events.sort()  # what ends before a moment goes before what begins at it
    now = most = 0
    for _, change in events:
        now += change
        if now > most:
            most = now
    return most


def place(blocks: Sequence[Block]) -> tuple[list[int], int]:
    """Offsets, and the size of the whole, where everything runs in its order."""
    offsets, size = _by_birth(blocks)
    if len(blocks) ** 2 <= 2 * MOST_PAIRS and size > WASTE * fullest(blocks):
        others, other_size = _by_size(blocks)
        if other_size < size:
            return others, other_size
    return offsets, size


def place_in_tasks(blocks: Sequence[Block], before: Sequence[int]) -> tuple[list[int], int]:
    """The same where tasks overlap; `before` has the set of tasks that are over when a task begins."""
    if len(blocks) > MOST_SCANNED:
        return place_apart(blocks, [0] * len(blocks))
    gaps: list[_Gap] = []  # in the order of their offsets
    by_death = sorted(range(len(blocks)), key=[block.death for block in blocks].__getitem__)
    offsets = [0] * len(blocks)
    over = size = 0
    for number in _in_order_of_birth(blocks):
        block = blocks[number]
        while blocks[by_death[over]].death < block.birth:
            gone = blocks[by_death[over]]
            _add_gap(gaps, offsets[by_death[over]], gone.size, gone.users)
            over += 1
        usable = ~(before[block.task] | 1 << block.task)
        found = _fitting(gaps, block.size, usable, size)
        if found is None:
            offset, first, last = size, len(gaps), len(gaps)
        else:
            offset, first, last = found
        offsets[number] = offset
        end = offset + block.size
        left = gaps[last - 1] if last > first else None
        gaps[first:last] = [] if left is None or left[1] <= end else [(end, left[1], left[2])]
        size = max(size, end)
    return offsets, size


def _add_gap(gaps: list[_Gap], offset: int, size: int, users: int) -> None:
    """A new gap, joined to neighbours that the same tasks have used."""
    end = offset + size
    at = bisect_left(gaps, (offset,))
    if at < len(gaps) and gaps[at][0] == end and gaps[at][2] == users:
        end = gaps.pop(at)[1]
    if at and gaps[at - 1][1] == offset and gaps[at - 1][2] == users:
        offset = gaps[at - 1][0]
        at -= 1
        gaps.pop(at)
    gaps.insert(at, (offset, end, users))


def _fitting(gaps: Sequence[_Gap], wanted: int, taken: int, size: int) -> tuple[int, int, int] | None:
    """The smallest stretch of usable gaps that holds so much: its offset, its first gap, and its last one + 1.

    If there is none, a stretch at the end of all memory, which can be made longer.
    """
    best = least = -1
    begin = end = first = -1  # of the stretch that is looked at
    for number, (low, high, tasks) in enumerate(gaps):
        if tasks & taken:
            continue
        if low != end:
            begin, first = low, number
        end = high
        room = end - begin
        if room >= wanted and (best < 0 or room < least):
            best, least = first, room
            if room == wanted:
                break
    if best < 0:
        return (begin, first, len(gaps)) if end == size else None
    last = best
    while gaps[last][1] < gaps[best][0] + wanted:
        last += 1
    return gaps[best][0], best, last + 1


def place_apart(blocks: Sequence[Block], pools: Sequence[int]) -> tuple[list[int], int]:
    """Each pool of blocks in memory of its own; those of pool -1 share with nobody."""
    members: dict[int, list[int]] = {}
    for number, pool in enumerate(pools):
        members.setdefault(pool, []).append(number)
    offsets = [0] * len(blocks)
    size = 0
    for pool, numbers in members.items():
        if pool < 0:
            for number in numbers:
                offsets[number] = size
                size += blocks[number].size
            continue
        found, more = place([blocks[number] for number in numbers])
        for number, offset in zip(numbers, found, strict=True):
            offsets[number] = size + offset
        size += more
    return offsets, size


def _in_order_of_birth(blocks: Sequence[Block]) -> list[int]:
    keys = [(block.birth, -block.size) for block in blocks]
    return sorted(range(len(blocks)), key=keys.__getitem__)


def _by_birth(blocks: Sequence[Block]) -> tuple[list[int], int]:
    """Best fit in the order of time; neighbouring gaps are one."""
    deaths = [block.death for block in blocks]
    by_death = sorted(range(len(blocks)), key=deaths.__getitem__)
    offsets = [0] * len(blocks)
    gaps: list[tuple[int, int]] = []  # (size, offset), sorted
    begins: dict[int, int] = {}  # offset of a gap -> its size
    ends: dict[int, int] = {}  # end of a gap -> its offset
    over = top = 0
    for number in _in_order_of_birth(blocks):
        wanted, birth = blocks[number][:2]
        while deaths[by_death[over]] < birth:
            gone = by_death[over]
            over += 1
            offset, size = offsets[gone], blocks[gone].size
            after = begins.pop(offset + size, 0)
            if after:
                del gaps[bisect_left(gaps, (after, offset + size))]
                size += after
            before = ends.pop(offset, None)
            if before is not None:
                del gaps[bisect_left(gaps, (offset - before, before))]
                del begins[before]
                size += offset - before
                offset = before
            insort(gaps, (size, offset))
            begins[offset] = size
            ends[offset + size] = offset
        at = bisect_left(gaps, (wanted,))
        if at < len(gaps):
            size, offset = gaps.pop(at)
            del begins[offset], ends[offset + size]
            if size > wanted:
                insort(gaps, (size - wanted, offset + wanted))
                begins[offset + wanted] = size - wanted
                ends[offset + size] = offset + wanted
        else:
            offset = ends.pop(top, top)
            if offset < top:
                del gaps[bisect_left(gaps, (top - offset, offset))]
                del begins[offset]
            top = offset + wanted
        offsets[number] = offset
    return offsets, top


def _by_size(blocks: Sequence[Block]) -> tuple[list[int], int]:
    """The largest first, each at the smallest gap between those that it meets in time."""
    offsets = [0] * len(blocks)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, birth, death; sorted
    top = 0
    for number in sorted(range(len(blocks)), key=lambda n: (-blocks[n].size, blocks[n].birth)):
        wanted, birth, death = blocks[number][:3]
        at = end = 0
        least = -1
        for low, high, first, last in placed:
            if first > death or last < birth:
                continue
            if low - end >= wanted and (least < 0 or low - end < least):
                at, least = end, low - end
            if high > end:
                end = high
        offset = at if least >= 0 else end
        insort(placed, (offset, offset + wanted, birth, death))
        offsets[number] = offset
        top = max(top, offset + wanted)
    return offsets, top
