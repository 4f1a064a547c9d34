"""A ring of output buffers. Each begins with the last 32 KiB of the one before.

    0 ......... WINDOW_BYTES ................ end ........ WINDOW_BYTES + CHUNK_BYTES
    | carried   | new bytes                   |  free      |

The carried bytes make every deflate window a plain slice. They also keep a tar header that crosses a chunk's end
in one piece. The ring limits memory: the writer waits until the reader gives a buffer back.
"""

from __future__ import annotations

import queue
from dataclasses import dataclass

WINDOW_BYTES = 32_768
"""The window of deflate: how far it looks back at most (RFC 1951, 2)."""

CHUNK_BYTES = (4 << 20) + (256 << 10)
"""A span of the default size and the rest of its last block. So a chunk ends where inflate stops anyway."""

RING_BUFFERS = 3


@dataclass(frozen=True, slots=True)
class Chunk:
    """Uncompressed bytes: `buffer[WINDOW_BYTES:end]` begin at `offset` of the layer. The carried bytes stand before."""

    buffer: bytearray
    end: int
    offset: int

    @property
    def data(self) -> memoryview:
        """The new bytes. They change after the buffer goes back to the ring."""
        return memoryview(self.buffer)[WINDOW_BYTES : self.end]


class Ring:
    """A fixed number of buffers for one writer and one reader."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(RING_BUFFERS):
            self._free.put(bytearray())

    def take(self, carried: bytes | memoryview) -> bytearray:
        """Return a buffer that begins with the carried window. Waits until one is free."""
        buffer = self._free.get()
        if not buffer:  # allocated late: most layers fit in one chunk
            buffer.extend(bytes(WINDOW_BYTES + CHUNK_BYTES))
        buffer[:WINDOW_BYTES] = carried
        return buffer

    def release(self) -> None:
        """Free the memory of unused buffers, when no more are needed."""
        while not self._free.empty():
            self._free.get()

    def give_back(self, chunk: Chunk) -> None:
        """Give a chunk's buffer back to the writer."""
        self._free.put(chunk.buffer)
