"""A ring of output buffers, each with the last 32 KiB of its forerunner in front.

    0 ......... WINDOW_BYTES ................ end ........ WINDOW_BYTES + CHUNK_BYTES
    | carried   | new bytes                   |  free      |

The carried bytes make a deflate window a plain slice, and let a tar header that straddles two chunks be read
in one piece. The ring is the back-pressure: whoever writes waits until a reader has given a buffer back.
"""

from __future__ import annotations

import queue
from dataclasses import dataclass

WINDOW_BYTES = 32_768
"""Deflate looks back this far at most (RFC 1951, 2)."""

CHUNK_BYTES = (4 << 20) + (256 << 10)
"""A span of the usual size and the rest of its last block: then a chunk ends where inflate stops anyway."""

RING_BUFFERS = 3


@dataclass(frozen=True, slots=True)
class Chunk:
    """Uncompressed bytes: `buffer[WINDOW_BYTES:end]` lie at `offset`, before them their forerunners."""

    buffer: bytearray
    end: int
    offset: int

    @property
    def data(self) -> memoryview:
        """The new bytes. They change once the buffer goes back to the ring."""
        return memoryview(self.buffer)[WINDOW_BYTES : self.end]


class Ring:
    """A fixed number of buffers that go round between one writer and one reader."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(RING_BUFFERS):
            self._free.put(bytearray())

    def take(self, carried: bytes | memoryview) -> bytearray:
        """Return a buffer that begins with the carried window; waits until one is free."""
        buffer = self._free.get()
        if not buffer:  # the memory is asked for only when it is needed: most layers fit in one chunk
            buffer.extend(bytes(WINDOW_BYTES + CHUNK_BYTES))
        buffer[:WINDOW_BYTES] = carried
        return buffer

    def release(self) -> None:
        """Free the buffers that are not in use, once no more are needed."""
        while not self._free.empty():
            self._free.get()

    def give_back(self, chunk: Chunk) -> None:
        """Hand a read chunk's buffer back to the writer."""
        self._free.put(chunk.buffer)
