"""The lazy reader's rules, checked on each finished zTOC (formats.md 8.3).

The owner's builder makes zTOCs that the owner's snapshotter refuses or, worse, accepts and then reads wrong bytes
from. We leave a layer out of the index if its zTOC breaks a rule.
"""

from __future__ import annotations

from soci.layer.gzip_header import gzip_header_bytes
from soci.layer.tar import BLOCK_BYTES, describe_entry
from soci.oci.compression import Compression
from soci.reasons import LeftOut, Reason
from soci.ztoc.decode import FileRow, decode_compression_info, read_text, scan_files
from soci.ztoc.flatbuffer import encode_string
from soci.ztoc.model import CompressionInfo
from soci.ztoc.paths import clean_path

_NAME, _TYPE, _LINK_NAME = 0, 1, 4
_SLOTS = 5
_REG, _HARD_LINK = encode_string(b"reg"), encode_string(b"hardlink")


def check_ztoc(ztoc: bytes | bytearray, *, head: bytes) -> LeftOut | None:
    """Return why a lazy reader could not load the layer through this zTOC; None if it can.

    `head` is the start of the layer: `gzip_header.MAX_BYTES` of it, or all of a shorter layer.

    Raises:
        InvalidZtoc: the bytes do not decode, or their counts contradict each other.
    """
    return check_spans(decode_compression_info(ztoc), head=head) or _check_files(ztoc)


def check_spans(info: CompressionInfo, *, head: bytes) -> LeftOut | None:
    """Check that the first span follows the gzip header, and that only the last span may be empty."""
    if info.algorithm is Compression.GZIP:
        first = info.spans[0]
        if len(info.spans) > 1 and info.spans[1].uncompressed_start == 0:
            return LeftOut(reason=Reason.EMPTY_FIRST_BLOCK)
        header_bytes = gzip_header_bytes(head[: first.start])
        if header_bytes != first.start or first.uncompressed_start:
            return _unreadable_spans(f"the first span begins at byte {first.start}, not after a gzip header")
    for number, span in enumerate(info.spans[:-1]):
        if not (span.start < span.end and span.uncompressed_start < span.uncompressed_end):
            return _unreadable_spans(f"span {number} is empty")
    return None


def _unreadable_spans(detail: str) -> LeftOut:
    return LeftOut(reason=Reason.UNREADABLE_SPANS, detail=detail)


def _check_files(ztoc: bytes | bytearray) -> LeftOut | None:
    """Check the tables: the order and sizes of entries, and the targets of hard links.

    A reader sorts the entries first. We refuse entries out of order, since no builder writes them.
    """
    header_start = 0
    link_targets: set[bytes] = set()
    for row in scan_files(ztoc, slot_count=_SLOTS):
        _, _, (_, _, offset, size, _) = row
        if size and not _is_type(ztoc, row, _REG):
            return _left_out(Reason.SIZE_ON_LINK, ztoc, row)
        if offset < header_start + BLOCK_BYTES or size < 0:
            return _left_out(Reason.UNREADABLE_TOC, ztoc, row)
        header_start = -(-(offset + size) // BLOCK_BYTES) * BLOCK_BYTES
        if not size and _is_type(ztoc, row, _HARD_LINK):
            link_targets.add(clean_path(read_text(ztoc, row, _LINK_NAME)))
    return _check_hard_links(ztoc, link_targets) if link_targets else None


def _check_hard_links(ztoc: bytes | bytearray, targets: set[bytes]) -> LeftOut | None:
    """Check that each link comes after its target. Only the names of targets are kept."""
    seen: set[bytes] = set()
    for row in scan_files(ztoc, slot_count=_SLOTS):
        if _is_type(ztoc, row, _HARD_LINK) and clean_path(read_text(ztoc, row, _LINK_NAME)) not in seen:
            return _left_out(Reason.HARD_LINK_TO_NOTHING, ztoc, row)
        name = clean_path(read_text(ztoc, row, _NAME))
        if name in targets:
            seen.add(name)
    return None


def _is_type(ztoc: bytes | bytearray, row: FileRow, type_string: bytes) -> bool:
    """Compare the type in the buffer, without a copy, since this runs for every file."""
    table, positions, values = row
    return ztoc.startswith(type_string, table + positions[_TYPE] + values[_TYPE])


def _left_out(reason: Reason, ztoc: bytes | bytearray, row: FileRow) -> LeftOut:
    return LeftOut(reason=reason, detail=describe_entry(read_text(ztoc, row, _NAME)))
