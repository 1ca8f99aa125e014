"""Transfers between the host and a device with memory of its own, through memory that the device can reach by itself.

Policy: a driver copies an array of the caller's twice, and nobody goes on meanwhile; from page-locked memory the device
fetches it alone, at the full rate of the bus.  So large feeds and fetches go in blocks through a ring of such memory:
while the device moves one block, the host copies the next.  A feed's last blocks are under way when the kernels are
queued, behind them in the same queue.  Small arrays go directly, for there a second copy costs more than it saves.
Where the driver has no such memory to give, all go directly.  The caller holds the device's lock.

State: each device's ring, made when first needed and kept; the transfer that is under way from each block.
"""

from __future__ import annotations

import logging
import weakref
from typing import Any

import numpy as np
import pyopencl as cl

from graphflow_opencl.devices import Device

LEAST = 64 << 10  # bytes of an array from which on it pays
BLOCK = 4 << 20  # bytes
BLOCKS = 4  # of a ring
_LOG = logging.getLogger("graphflow")
_rings: weakref.WeakKeyDictionary[Device, Ring | None] = weakref.WeakKeyDictionary()


def write(device: Device, buffer: Any, array: Any) -> None:
    """Copy an array to the device, before whatever is queued there next; the array may change when this returns."""
    ring = _ring(device) if array.nbytes >= LEAST else None
    array = np.ascontiguousarray(array)
    if ring is None:
        cl.enqueue_copy(device.queue(0), buffer, array)
    else:
        ring.write(buffer, array)


def read(device: Device, buffer: Any, array: Any) -> None:
    """Copy from the device into an array that lies in one piece, after whatever is queued there."""
    ring = _ring(device) if array.nbytes >= LEAST else None
    if ring is None:
        cl.enqueue_copy(device.queue(0), array, buffer)
    else:
        ring.read(buffer, array)


def _ring(device: Device) -> Ring | None:
    if device not in _rings:
        try:
            _rings[device] = Ring(device)
        except cl.Error as error:
            _LOG.debug("%s has no page-locked memory, arrays are copied directly: %s", device.name, error)
            _rings[device] = None
    return _rings[device]


class Ring:
    """Blocks of page-locked memory, used in turn."""

    def __init__(self, device: Device) -> None:
        self._queue = device.queue(0)
        self._blocks = [_Block(device) for _ in range(BLOCKS)]
        self._busy: list[Any] = [None] * BLOCKS  # the event of what is under way
        self._next = 0

    def write(self, buffer: Any, array: Any) -> None:
        """Begin to copy an array to the device; the array may change when this returns."""
        flat = _bytes_of(array)
        for start in range(0, flat.nbytes, BLOCK):
            number, block = self._free_block()
            part = block[: min(BLOCK, flat.nbytes - start)]
            np.copyto(part, flat[start : start + part.nbytes])
            self._busy[number] = cl.enqueue_copy(self._queue, buffer, part, dst_offset=start, is_blocking=False)
        self._queue.flush()

    def read(self, buffer: Any, array: Any) -> None:
        """Copy from the device into an array that lies in one piece, and wait for it."""
        flat = _bytes_of(array)
        asked: list[tuple[int, int, Any]] = []  # block, where it belongs, its bytes
        for start in range(0, flat.nbytes, BLOCK):
            if len(asked) == BLOCKS:
                self._take(flat, *asked.pop(0))
            number, block = self._free_block()
            part = block[: min(BLOCK, flat.nbytes - start)]
            self._busy[number] = cl.enqueue_copy(self._queue, part, buffer, src_offset=start, is_blocking=False)
            self._queue.flush()
            asked.append((number, start, part))
        for number, start, part in asked:
            self._take(flat, number, start, part)

    def _free_block(self) -> tuple[int, Any]:
        """The block that was used longest ago, when nothing is under way from it."""
        number = self._next
        self._next = (number + 1) % BLOCKS
        self._finish(number)
        return number, self._blocks[number].bytes

    def _take(self, flat: Any, number: int, start: int, part: Any) -> None:
        self._finish(number)
        np.copyto(flat[start : start + part.nbytes], part)

    def _finish(self, number: int) -> None:
        event, self._busy[number] = self._busy[number], None
        if event is not None:
            event.wait()


class _Block:
    """Page-locked memory, mapped for as long as it lives: the host writes and reads it as any other."""

    def __init__(self, device: Device) -> None:
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.ALLOC_HOST_PTR
        self._buffer = cl.Buffer(device.context, flags, BLOCK)
        both = cl.map_flags.READ | cl.map_flags.WRITE
        self.bytes, _ = cl.enqueue_map_buffer(device.queue(0), self._buffer, both, 0, (BLOCK,), np.uint8)


def _bytes_of(array: Any) -> Any:
    return array.reshape(-1).view(np.uint8)
