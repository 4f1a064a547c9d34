"""Where inflating can start in the midst of a gzip layer."""

from __future__ import annotations

from typing import NamedTuple


class Checkpoint(NamedTuple):
    """A deflate block boundary, and what is needed to inflate from there."""

    compressed: int
    """Bytes consumed, the last one perhaps in part."""
    uncompressed: int
    """Bytes produced."""
    bits: int
    """Unread bits of the last byte consumed, 0 to 7."""
    window: bytes | memoryview
    """The 32 KiB produced before."""
