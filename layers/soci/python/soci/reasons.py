"""All reasons why a layer gets no zTOC, with one sentence for each.

A reason is not an error. The layer's bytes are sound, but a reader cannot load them lazily (formats.md 2, 5.1, 8.3)
or our settings leave the layer out. The values are stable, since they stand in `--json` output.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a layer is left out. `reason.sentence` explains it to a person."""

    BELOW_MIN_SIZE = "below-min-size"
    NOT_A_LAYER = "not-a-layer"
    FOREIGN = "foreign"
    ENCRYPTED = "encrypted"
    ZSTD = "zstd"
    UNKNOWN_COMPRESSION = "unknown-compression"
    MULTI_MEMBER_GZIP = "multi-member-gzip"
    EMPTY_FIRST_BLOCK = "empty-first-block"
    GLOBAL_PAX_HEADER = "global-pax-header"
    SPARSE_FILE = "sparse-file"
    UNSUPPORTED_ENTRY_TYPE = "unsupported-entry-type"
    SIZE_ON_LINK = "size-on-link"
    HARD_LINK_TO_NOTHING = "hard-link-to-nothing"
    ZTOC_TOO_LARGE = "ztoc-too-large"
    UNREADABLE_SPANS = "unreadable-spans"
    UNREADABLE_TOC = "unreadable-toc"
    READ_WHOLE = "read-whole"

    @property
    def sentence(self) -> str:
        """One sentence for a terminal, a log line or a table cell."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.BELOW_MIN_SIZE: "The layer is smaller than the minimum layer size, so loading it whole is faster.",
    Reason.NOT_A_LAYER: "The media type is not that of a file system layer.",
    Reason.FOREIGN: "The layer's bytes lie outside the image's repository, where no lazy reader looks for them.",
    Reason.ENCRYPTED: "The layer is encrypted, so its bytes cannot be read in part.",
    Reason.ZSTD: "The layer is compressed with zstd, which no SOCI reader loads lazily.",
    Reason.UNKNOWN_COMPRESSION: "The media type names a compression that no SOCI reader supports.",
    Reason.MULTI_MEMBER_GZIP: "The layer has several gzip members, which readers before v0.14 read wrongly.",
    Reason.EMPTY_FIRST_BLOCK: "The gzip stream begins with an empty block, which a lazy reader refuses.",
    Reason.GLOBAL_PAX_HEADER: "The tar has a global pax header (as `git archive` writes), which a zTOC cannot express.",
    Reason.SPARSE_FILE: "The tar holds a sparse file: a lazy reader would take its packed bytes for its content.",
    Reason.UNSUPPORTED_ENTRY_TYPE: "The tar holds an entry of a type that a zTOC cannot express.",
    Reason.SIZE_ON_LINK: "A link, directory or device in the tar has a size, which shifts every later file.",
    Reason.HARD_LINK_TO_NOTHING: "A hard link points to a name that does not come before it in the same layer.",
    Reason.ZTOC_TOO_LARGE: "The layer has so many files or spans that no reader would take its zTOC.",
    Reason.UNREADABLE_SPANS: "The spans of the finished zTOC break a rule of the lazy reader.",
    Reason.UNREADABLE_TOC: "The table of contents of the finished zTOC breaks a rule of the lazy reader.",
    Reason.READ_WHOLE: "A start reads nearly all of the layer, so loading it whole is faster than reading it lazily.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Why a layer has no zTOC: the reason, and a detail of this layer (an entry's name, a size)."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason.sentence} ({self.detail})" if self.detail else self.reason.sentence
