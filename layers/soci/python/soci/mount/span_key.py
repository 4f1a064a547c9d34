"""The names of spans in the cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from soci.oci.digest import Digest

MAX_SPANS = 1 << 18
"""More spans than any layer has: 1 TiB of the usual size. It bounds the memory that a zTOC can take."""


@dataclass(frozen=True, slots=True)
class SpanKey:
    """The name of a span in the cache."""

    group: str
    number: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.group}-{self.number}"

    @property
    def lock_offset(self) -> int:
        """The byte of the lock file that stands for the span. Spans of a layer have bytes side by side."""
        return (int(self.group[:10], 16) << MAX_SPANS.bit_length() - 1) + self.number


def group_of(layer: Digest, ztoc: Digest | None) -> str:
    """Return what all spans of a layer share in their names; without a zTOC, the layer is one span."""
    return hashlib.sha256(f"{layer} {ztoc}".encode()).hexdigest()[:40]
