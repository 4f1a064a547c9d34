"""Encode a zTOC. Its parts stand in the order of the owner's builder (formats.md 1.3).

Front to back: root reference, Ztoc table, CompressionInfo table, span digests, checkpoint blob, TOC table
with the vector of files, file blocks (soci.ztoc.toc), build tool identifier, version.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from soci.oci.compression import Compression
from soci.ztoc.flatbuffer import BackwardWriter, Field, encode_string
from soci.ztoc.model import VERSION
from soci.ztoc.toc import TocWriter

COMPRESSION_CODES = {Compression.GZIP: 1, Compression.UNCOMPRESSED: 2}
"""The zTOC's codes of compressions (formats.md 1.1)."""


def encode_ztoc(
    *,
    toc: TocWriter,
    checkpoints: bytearray,
    span_digests: Sequence[bytes],
    compression: Compression,
    compressed_archive_size: int,
    uncompressed_archive_size: int,
    build_tool_identifier: str,
) -> bytearray:
    """Return the finished zTOC.

    `checkpoints` is the blob of soci.ztoc.checkpoints. `span_digests` are raw SHA-256 values. Checkpoints and file
    tables make up nearly all of a zTOC. To save memory, the smaller of the two is appended to the larger.
    """
    version = encode_string(VERSION.encode())
    tool = encode_string(build_tool_identifier.encode())
    behind = tool + version
    files, tables = toc.finish(len(behind))
    version_at, tool_at = len(version), len(behind)

    # The file tables have fields of 8 bytes, which the writer does not see. It aligns all else by itself.
    writer = BackwardWriter(len(behind) + len(files), min_align=8 if tables else 4)
    vector = writer.reference_vector(array("Q", map(writer.offset.__sub__, tables)))
    toc_at = writer.table([Field(0, "R", vector)], slot_count=1)
    writer.align(4, len(checkpoints))
    between = writer.take()

    writer.skip(len(checkpoints))
    writer.uint32(len(checkpoints))
    checkpoints_at = writer.offset
    digests = [writer.string(b"sha256:" + digest.hex().encode()) for digest in span_digests]
    digests_at = writer.reference_vector(digests)
    info = [
        Field(1, "i", len(span_digests) - 1),
        Field(2, "R", digests_at),
        Field(3, "R", checkpoints_at),
    ]
    if compression is not Compression.GZIP:  # the default is never written
        info.append(Field(0, "b", COMPRESSION_CODES[compression]))
    info_at = writer.table(_without_defaults(info), slot_count=4)
    root = [
        Field(0, "R", version_at),
        Field(1, "R", tool_at),
        Field(4, "R", toc_at),
        Field(2, "q", compressed_archive_size),
        Field(3, "q", uncompressed_archive_size),
        Field(5, "R", info_at),
    ]
    front = writer.finish(writer.table(_without_defaults(root), slot_count=6))

    files += behind
    if len(files) > len(checkpoints):
        for part in (between, checkpoints, front):
            files[:0] = part
        return files
    checkpoints += between
    checkpoints += files
    checkpoints[:0] = front
    return checkpoints


def _without_defaults(fields: list[Field]) -> list[Field]:
    return [field for field in fields if field.value]
