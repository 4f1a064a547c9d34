"""The header of a gzip member, as Go's reader accepts it.

The layout is that of RFC 1952, 2.3:

    offset  bytes  meaning
    0       3      1f 8b, method 8 (deflate)
    3       1      flags: 2 header checksum, 4 extra field, 8 name, 16 comment
    4       6      time, compression hints, operating system
    10             extra field: uint16 length, content; name, NUL; comment, NUL; uint16 CRC-32 of all before
"""

from __future__ import annotations

import struct
import zlib

from soci.oci.compression import GZIP_MAGIC

FIXED_BYTES = 10
MAX_TEXT_BYTES = 512
"""The longest name or comment, NUL included. Go refuses longer ones, zlib does not."""

MAX_BYTES = FIXED_BYTES + 2 + 65_535 + 2 * MAX_TEXT_BYTES + 2
"""10 + 2 + 65,535 + 1,024 + 2: the longest header that a lazy reader accepts."""

_HEADER_CHECKSUM, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16
_UINT16 = struct.Struct("<H")


def gzip_header_bytes(data: bytes) -> int | None:
    """Return the length of the header at the start of `data`; None if a lazy reader refuses it."""
    if len(data) < FIXED_BYTES or data[:3] != GZIP_MAGIC + b"\x08":
        return None
    flags, at = data[3], FIXED_BYTES
    try:
        if flags & _EXTRA:
            at += 2 + int(_UINT16.unpack_from(data, at)[0])
        for flag in (_NAME, _COMMENT):
            if flags & flag:
                at = data.index(b"\0", at, at + MAX_TEXT_BYTES) + 1
        if flags & _HEADER_CHECKSUM:
            at += 2
            if _UINT16.unpack_from(data, at - 2)[0] != zlib.crc32(data[: at - 2]) & 0xFFFF:
                return None
    except (struct.error, ValueError):
        return None
    return at if at <= len(data) else None
