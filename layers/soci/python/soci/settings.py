"""How to index, as one value. Its check names all bad fields at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from soci.errors import InvalidOption

DEFAULT_SPAN_SIZE_BYTES = 4 << 20
DEFAULT_MIN_LAYER_SIZE_BYTES = 10 << 20
DEFAULT_GZIP_LEVEL = 6
MAX_GZIP_LEVEL = 9
DEFAULT_PREFETCH_BUDGET_BYTES = 750_000_000
"""What arrives in 10 seconds at 75 MB/s. The owner's reader gives a prefetch 30 seconds."""

DEFAULT_BUILD_TOOL_IDENTIFIER = "SOCI Index Builder v1"
"""A part of every digest. It names the family of outputs and must not change with a release."""

MIN_SPAN_SIZE_BYTES = 64 << 10
"""A checkpoint takes 32 KiB. With smaller spans the zTOC costs more than it saves."""

MAX_SPAN_SIZE_BYTES = 1 << 30


class Optimization(StrEnum):
    """The optimizations of the format's owner. Each is an annotation that spares the reader some work."""

    XATTR = "xattr"
    """Mark layers that have no extended attributes (formats.md 5.2)."""


class IndexVersion(StrEnum):
    """The two versions of a SOCI index."""

    V1 = "v1"
    """The index refers to the image by its subject."""
    V2 = "v2"
    """The index is part of a converted image."""


class MultiMember(StrEnum):
    """What to do with gzip layers of several members (docs/adr/0006)."""

    INDEX = "index"
    LEAVE_OUT = "leave-out"


class ZstdLayers(StrEnum):
    """What to do with zstd layers, which no SOCI reader loads lazily (docs/adr/0012)."""

    LEAVE_OUT = "leave-out"
    RECOMPRESS = "recompress"
    """The converted image gets the layer recompressed to gzip, and that is indexed."""


class WholeLayers(StrEnum):
    """What to do with layers of which a start reads nearly all (docs/adr/0051)."""

    NEVER = "never"
    """Each layer keeps its zTOC."""
    AUTO = "auto"
    """Such a layer gets no zTOC if it is then loaded faster by a reader that does not prefetch."""


def is_printable(text: str) -> bool:
    """Tell whether a text is printable in one line and is not blank."""
    return text.isprintable() and bool(text.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """Everything besides the image that decides the bytes of an index.

    Raises:
        InvalidOption: fields are out of their range; the message names all of them.
    """

    span_size_bytes: int = DEFAULT_SPAN_SIZE_BYTES
    min_layer_size_bytes: int = DEFAULT_MIN_LAYER_SIZE_BYTES
    """A layer of exactly this size is indexed. 0 indexes every layer."""
    build_tool_identifier: str = DEFAULT_BUILD_TOOL_IDENTIFIER
    optimizations: frozenset[Optimization] = frozenset()
    prefetch_patterns: tuple[str, ...] = ()
    """Paths or globs of files. A reader fetches their spans before the container starts."""
    prefetch_budget_bytes: int = DEFAULT_PREFETCH_BUDGET_BYTES
    """How many compressed bytes a start profile may have prefetched. Without a profile it decides nothing."""
    whole_layers: WholeLayers = WholeLayers.NEVER
    """Without a profile it decides nothing."""
    multi_member: MultiMember = MultiMember.INDEX
    zstd_layers: ZstdLayers = ZstdLayers.LEAVE_OUT
    gzip_level: int = DEFAULT_GZIP_LEVEL
    """For recompressed layers: 1 (fast) to 9 (small)."""
    start_first: bool = False
    """Whether layers are written anew with the files of the start profile in front (docs/adr/0054)."""

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
        if self.prefetch_budget_bytes < 0:
            yield f"prefetch budget: {self.prefetch_budget_bytes} bytes, want 0 or more"
        if not is_printable(self.build_tool_identifier):
            yield f"build tool identifier: {self.build_tool_identifier!r}, want printable text"
        if not 1 <= self.gzip_level <= MAX_GZIP_LEVEL:
            yield f"gzip level: {self.gzip_level}, want 1 to {MAX_GZIP_LEVEL}"
        if "" in self.prefetch_patterns:
            yield "prefetch: an empty path"
