"""A point in a gzip layer from which inflating can start."""

from __future__ import annotations

from typing import NamedTuple


class Checkpoint(NamedTuple):
    """The boundary of a deflate block, and all that inflating from there needs."""

    compressed: int
    """Bytes consumed so far. A partly consumed byte counts."""
    uncompressed: int
    """Bytes produced so far."""
    bits: int
    """Unread bits of the last consumed byte, 0 to 7."""
    window: bytes | memoryview
    """The last 32 KiB produced."""
