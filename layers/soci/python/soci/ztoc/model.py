"""What a zTOC says, as values (formats.md 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from soci.layer.checkpoint import Checkpoint
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest

VERSION = "0.9"
"""The only zTOC version there is."""

MAX_ZTOC_BYTES = 1 << 30
"""FlatBuffers' signed 32-bit links end at 2 GiB. Millions of files or spans are no layer, they are an attack:
a megabyte of names or a gigabyte of zeros takes a thousandth of that when it is compressed."""


class FileEntry(NamedTuple):
    """One entry of the table of contents. Names are raw bytes as in the tar: `./` and a trailing `/` stay."""

    name: bytes
    type: str
    """reg, dir, hardlink, symlink, char, block or fifo."""
    uncompressed_offset: int
    """Of the first data byte in the uncompressed layer."""
    uncompressed_size: int
    link_name: bytes
    mode: int
    uid: int
    gid: int
    user_name: bytes
    group_name: bytes
    mod_time: str
    """RFC 3339, or empty."""
    device_major: int
    device_minor: int
    xattrs: tuple[tuple[bytes, bytes], ...]
    """All pax records, sorted by key."""


class Span(NamedTuple):
    """What one ranged read fetches, and what comes out of it; both ranges are half open, in bytes."""

    start: int
    end: int
    uncompressed_start: int
    uncompressed_end: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionInfo:
    """How to get at any byte of the layer."""

    algorithm: Compression
    """Gzip or uncompressed; the format has no other."""
    span_size_bytes: int
    spans: tuple[Span, ...]
    checkpoints: tuple[Checkpoint, ...]
    """One per span of a gzip layer, none for an uncompressed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ztoc:
    """A decoded zTOC."""

    version: str
    build_tool_identifier: str
    compressed_archive_size: int
    uncompressed_archive_size: int
    compression: CompressionInfo
    files: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedLayer:
    """A finished zTOC and what there is to say about it."""

    ztoc: bytes | bytearray
    digest: Digest
    layer_digest: Digest
    compressed_bytes: int
    uncompressed_bytes: int
    files: int
    spans: int
    needs_xattrs: bool
    """Whether a file has extended attributes or marks a directory as opaque (formats.md 5.2)."""

    @property
    def descriptor(self) -> Descriptor:
        """The zTOC as a blob."""
        return Descriptor(media_type=media_types.ZTOC, digest=self.digest, size=len(self.ztoc))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTask:
    """What to index, and how; every field but the first two matters for the result's bytes."""

    expected_digest: Digest | None = None
    """What the layer's descriptor promises, if there is one."""
    expected_bytes: int | None = None
    compression: Compression
    """Gzip or uncompressed: lazy readers read nothing else."""
    span_size_bytes: int
    build_tool_identifier: str
    multi_member: bool = True
    """Whether a gzip layer of several members may be indexed."""

    def __post_init__(self) -> None:
        if self.compression is Compression.ZSTD:
            raise ValueError("a zTOC describes gzip and uncompressed layers only")
