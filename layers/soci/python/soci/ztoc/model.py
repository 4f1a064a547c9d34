"""A zTOC and its layer as values (formats.md 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from soci.layer.checkpoint import Checkpoint
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest

VERSION = "0.9"
"""The only version of a zTOC."""

MAX_ZTOC_BYTES = 1 << 30
"""FlatBuffers' signed 32-bit links end at 2 GiB. A layer with millions of files or spans is an attack: names or zeros
compress to a thousandth of their size."""


class FileEntry(NamedTuple):
    """One entry of the table of contents. Names are raw bytes as in the tar, with `./` and a trailing `/`."""

    name: bytes
    type: str
    """reg, dir, hardlink, symlink, char, block or fifo."""
    uncompressed_offset: int
    """The position of the first data byte in the uncompressed layer."""
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
    """A range of the compressed layer, and the same in the uncompressed layer. Both are half open, in bytes."""

    start: int
    end: int
    uncompressed_start: int
    uncompressed_end: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionInfo:
    """How to read any byte of the layer."""

    algorithm: Compression
    """Gzip or uncompressed; the format has no other."""
    span_size_bytes: int
    spans: tuple[Span, ...]
    checkpoints: tuple[Checkpoint, ...]
    """One for each span of a gzip layer, none for an uncompressed layer."""


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
    """A finished zTOC and the facts about its layer."""

    ztoc: bytes | bytearray
    digest: Digest
    layer_digest: Digest
    compressed_bytes: int
    uncompressed_bytes: int
    files: int
    spans: int
    needs_xattrs: bool
    """Whether a file has extended attributes, or marks a directory as opaque (formats.md 5.2)."""

    @property
    def descriptor(self) -> Descriptor:
        """The zTOC as a blob."""
        return Descriptor(media_type=media_types.ZTOC, digest=self.digest, size=len(self.ztoc))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTask:
    """How to index a layer. All fields but the first two decide the bytes of the zTOC."""

    expected_digest: Digest | None = None
    """The digest in the layer's descriptor, if there is one."""
    expected_bytes: int | None = None
    """The size in the layer's descriptor, if there is one."""
    compression: Compression
    """Gzip or uncompressed. A zTOC knows no other."""
    span_size_bytes: int
    build_tool_identifier: str
    multi_member: bool = True
    """Whether a gzip layer of several members may be indexed."""

    def __post_init__(self) -> None:
        if self.compression is Compression.ZSTD:
            raise ValueError("a zTOC describes gzip and uncompressed layers only")
