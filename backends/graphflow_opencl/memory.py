"""Device memory: pieces of it that the host may see, and a store of pieces to be used again.

Policy: where the host shares the device's memory a piece is an array of the host with a buffer over it, so that feeds
and fetches need no transfer; elsewhere it is a buffer alone.  A piece goes back to the store when the last object that
holds it is gone; whoever takes one gets it with rubbish inside.  A plan's arena is one piece, so it is bounded by what
the device allows for one buffer, which on a GPU may be a quarter of its memory.  Whether that is so is the driver's to
say, for some give more.

State: each store has the pieces that nobody holds, of 64 MB at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyopencl as cl

from graphflow.spec import describe, numel
from graphflow_opencl import staging
from graphflow_opencl.devices import ALIGNMENT, Device, aligned, wrap

MOST_STORED = 64 << 20
Bytes = "np.ndarray[Any, Any]"


class BufferTooLarge(MemoryError):
    """A buffer that the driver refused, and that is larger than what the device says it allows."""

    def __init__(self, nbytes: int, most: int, cause: cl.Error) -> None:
        super().__init__(" ".join(str(cause).split()))
        self.nbytes = nbytes
        self.most = most


class Piece:
    """Memory of some bytes: a buffer, and the same bytes as the host sees them, if it does."""

    __slots__ = ("__weakref__", "buffer", "bytes", "nbytes", "store")

    def __init__(self, device: Device, nbytes: int, store: Store | None = None) -> None:
        self.nbytes = nbytes
        self.store = store
        self.bytes: Any = None
        if device.traits.shares_memory:
            self.bytes = aligned(max(nbytes, ALIGNMENT))
        try:
            if self.bytes is not None:
                self.buffer = wrap(device.context, self.bytes)
            else:
                self.buffer = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, max(nbytes, ALIGNMENT))
        except cl.Error as error:
            if nbytes <= device.most_bytes:
                raise
            raise BufferTooLarge(nbytes, device.most_bytes, error) from error

    def view(self, dims: tuple[int, ...], dtype: Any, offset: int = 0) -> Any:
        """The bytes from an offset on as an array of the host, if it shares the memory."""
        return None if self.bytes is None else np.ndarray(dims, dtype, self.bytes, offset)

    def __del__(self) -> None:
        store = getattr(self, "store", None)
        if store is not None and hasattr(self, "buffer"):  # else it could not be made
            store.give(self.buffer, self.bytes, self.nbytes)


class Store:
    """Pieces for values that live beyond one run of one program: variables, and what branches and bodies return."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._free: dict[int, list[tuple[Any, Any]]] = {}
        self._stored = 0

    def take(self, nbytes: int) -> Piece:
        """A piece of at least so many bytes."""
        size = max(ALIGNMENT, 1 << (nbytes - 1).bit_length()) if nbytes < 1 << 20 else -(-nbytes // 65536) * 65536
        free = self._free.get(size)
        if free:
            try:
                buffer, memory = free.pop()
            except IndexError:  # another thread was quicker
                return Piece(self.device, size, self)
            self._stored -= size
            piece = Piece.__new__(Piece)
            piece.buffer, piece.bytes, piece.nbytes, piece.store = buffer, memory, size, self
            return piece
        return Piece(self.device, size, self)

    def give(self, buffer: Any, memory: Any, nbytes: int) -> None:
        """Take memory back."""
        if self._stored + nbytes <= MOST_STORED:
            self._stored += nbytes
            self._free.setdefault(nbytes, []).append((buffer, memory))

    def clear(self) -> None:
        """Free what nobody holds."""
        self._free.clear()
        self._stored = 0


class DeviceArray:
    """A value that stays on the device: fetched with `device_arrays=True`, or fed as it is."""

    __slots__ = ("buffer", "device", "dtype", "host", "owner", "shape")

    def __init__(self, device: Device, buffer: Any, host: Any, shape: tuple[int, ...], dtype: Any, owner: Any) -> None:
        self.device = device
        self.buffer = buffer
        self.host = host  # the same memory as the host sees it, or None
        self.shape = shape
        self.dtype = dtype
        self.owner = owner  # keeps the memory from being used again

    @property
    def nbytes(self) -> int:
        """The size of the value."""
        return numel(self.shape) * int(self.dtype.itemsize)

    def numpy(self) -> Any:
        """A copy on the host; rank 0 as a NumPy scalar."""
        self.device.check_process()
        with self.device.lock:
            queue = self.device.queue(0)
            if self.host is not None:
                queue.finish()
                out = self.host.copy()
            else:
                out = np.empty(self.shape, self.dtype)
                if out.nbytes:
                    staging.read(self.device, self.buffer, out)
        return out if self.shape else out[()]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        found = np.asarray(self.numpy())
        return found if dtype is None else found.astype(dtype, copy=False)

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __repr__(self) -> str:
        return f"<DeviceArray {self.dtype}{describe(self.shape)} on {self.device.name}>"
