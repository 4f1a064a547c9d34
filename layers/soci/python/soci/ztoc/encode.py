"""A zTOC as bytes, in the order in which the reference creates its parts (formats.md 1.3).

Front to back: root reference, Ztoc table, CompressionInfo table, span digests, checkpoint blob, TOC table
with the vector of files, file blocks (soci.ztoc.toc), build tool identifier, version.
"""

from __future__ import annotations

from collections.abc import Sequence

from soci.ztoc.flatbuffer import BackwardWriter, Field, encode_string
from soci.ztoc.model import VERSION, CompressionAlgorithm
from soci.ztoc.toc import TocWriter


def encode_ztoc(
    *,
    toc: TocWriter,
    checkpoints: bytearray,
    span_digests: Sequence[bytes],
    algorithm: CompressionAlgorithm,
    compressed_archive_size: int,
    uncompressed_archive_size: int,
    build_tool_identifier: str,
) -> bytearray:
    """Return the finished zTOC.

    `checkpoints` is the blob of soci.ztoc.checkpoints; it becomes the result in place, so that the windows,
    most of a zTOC's bytes, exist once. `span_digests` are raw SHA-256 values.
    """
    version = encode_string(VERSION.encode())
    tool = encode_string(build_tool_identifier.encode())
    behind = tool + version
    files, tables = toc.finish(len(behind))
    version_at, tool_at = len(version), len(behind)

    # The tables of files have 8-byte fields; whatever else is aligned, the writer sees for itself.
    writer = BackwardWriter(len(behind) + len(files), min_align=8 if tables else 4)
    vector = writer.reference_vector([writer.offset - table for table in tables])
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
    if algorithm is not CompressionAlgorithm.GZIP:  # the default, which is never written
        info.append(Field(0, "b", algorithm.value))
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

    ztoc = checkpoints
    ztoc += between
    ztoc += files
    ztoc += behind
    ztoc[:0] = front
    return ztoc


def _without_defaults(fields: list[Field]) -> list[Field]:
    return [field for field in fields if field.value]
