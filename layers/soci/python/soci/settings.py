"""How to index: one frozen value, checked as a whole, so that every bad field is named at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from soci.errors import InvalidOption

DEFAULT_SPAN_SIZE_BYTES = 4 << 20
DEFAULT_MIN_LAYER_SIZE_BYTES = 10 << 20
DEFAULT_GZIP_LEVEL = 6
MAX_GZIP_LEVEL = 9
DEFAULT_BUILD_TOOL_IDENTIFIER = "SOCI Index Builder v1"
"""Part of every digest: it names the family of outputs and must not change with a release."""

MIN_SPAN_SIZE_BYTES = 64 << 10
"""A checkpoint takes 32 KiB: with smaller spans the zTOC outgrows what it saves."""

MAX_SPAN_SIZE_BYTES = 1 << 30


class Optimization(StrEnum):
    """What the format's owner calls optimizations; each is an annotation that lets the reader skip work."""

    XATTR = "xattr"
    """Say of layers without extended attributes that they have none (formats.md 5.2)."""


class IndexVersion(StrEnum):
    """The two versions of a SOCI index."""

    V1 = "v1"
    """The index refers to the image by its subject."""
    V2 = "v2"
    """The index is part of a converted image."""


class MultiMember(StrEnum):
    """What becomes of gzip layers with several members (docs/adr/0006)."""

    INDEX = "index"
    LEAVE_OUT = "leave-out"


class ZstdLayers(StrEnum):
    """What becomes of zstd layers, which no lazy reader supports (docs/adr/0012)."""

    LEAVE_OUT = "leave-out"
    RECOMPRESS = "recompress"
    """The converted image gets a gzip copy of the layer, and the copy is indexed."""


def is_printable(text: str) -> bool:
    """Tell whether a text shows on one line: something beside spaces, and nothing that is invisible or breaks it."""
    return text.isprintable() and bool(text.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """Everything besides the image that decides the bytes of an index.

    Raises:
        InvalidOption: naming every field that is out of its range.
    """

    span_size_bytes: int = DEFAULT_SPAN_SIZE_BYTES
    min_layer_size_bytes: int = DEFAULT_MIN_LAYER_SIZE_BYTES
    """A layer of exactly this size is indexed; 0 indexes all."""
    build_tool_identifier: str = DEFAULT_BUILD_TOOL_IDENTIFIER
    optimizations: frozenset[Optimization] = frozenset()
    prefetch_patterns: tuple[str, ...] = ()
    """Paths or globs of files whose spans a reader fetches before the container starts."""
    multi_member: MultiMember = MultiMember.INDEX
    zstd_layers: ZstdLayers = ZstdLayers.LEAVE_OUT
    gzip_level: int = DEFAULT_GZIP_LEVEL
    """Of gzip copies, 1 (fast) to 9 (small)."""

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise InvalidOption("; ".join(problems))

    def _problems(self) -> Iterator[str]:
        if not MIN_SPAN_SIZE_BYTES <= self.span_size_bytes <= MAX_SPAN_SIZE_BYTES:
            yield (
                f"span size: {self.span_size_bytes} bytes, want {MIN_SPAN_SIZE_BYTES} to {MAX_SPAN_SIZE_BYTES}"
            )
        if self.min_layer_size_bytes < 0:
            yield f"minimum layer size: {self.min_layer_size_bytes} bytes, want 0 or more"
        if not is_printable(self.build_tool_identifier):
            yield f"build tool identifier: {self.build_tool_identifier!r}, want printable text"
        if not 1 <= self.gzip_level <= MAX_GZIP_LEVEL:
            yield f"gzip level: {self.gzip_level}, want 1 to {MAX_GZIP_LEVEL}"
        if "" in self.prefetch_patterns:
            yield "prefetch: an empty path"
