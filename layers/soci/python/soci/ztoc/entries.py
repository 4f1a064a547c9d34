"""Convert an entry of a tar to one of a zTOC: types, times, owners (formats.md 1.4)."""

from __future__ import annotations

from datetime import datetime, timedelta

from soci.layer.tar import TarEntry
from soci.ztoc.model import FileEntry

TYPE_NAMES = {
    b"0": b"reg",
    b"1": b"hardlink",
    b"2": b"symlink",
    b"3": b"char",
    b"4": b"block",
    b"5": b"dir",
    b"6": b"fifo",
}

XATTR_PREFIX = b"SCHILY.xattr."
OPAQUE_MARKER = b".wh..wh..opq"

UINT32_MASK = 0xFFFF_FFFF
"""A zTOC keeps 32 bits of a user or group id."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - all arithmetic is in UTC, and a zone would slow it down
_YEAR_0, _YEAR_1, _YEAR_10000 = -62_167_219_200, -62_135_596_800, 253_402_300_800
_SECONDS_IN_400_YEARS = 146_097 * 86_400


def file_entry_of(entry: TarEntry) -> FileEntry:
    """Return the zTOC's entry for an entry of the tar."""
    shared = entry.attributes
    return FileEntry(
        name=entry.name,
        type=TYPE_NAMES[shared.type].decode(),
        uncompressed_offset=entry.offset,
        uncompressed_size=entry.size,
        link_name=shared.link_name,
        mode=shared.mode,
        uid=shared.uid & UINT32_MASK,
        gid=shared.gid & UINT32_MASK,
        user_name=shared.user_name,
        group_name=shared.group_name,
        mod_time=format_time(*shared.mtime).decode(),
        device_major=shared.device_major,
        device_minor=shared.device_minor,
        xattrs=tuple(sorted((entry.pax_records or {}).items())),
    )


def format_time(seconds: int, nanoseconds: int) -> bytes:
    """Return a time as RFC 3339 in UTC, as Go does; empty outside the years 0 to 9999."""
    shift = 0
    if _YEAR_0 <= seconds < _YEAR_1:  # Python's calendar begins with the year 1, and repeats every 400 years
        shift = 400
        seconds += _SECONDS_IN_400_YEARS
    if not _YEAR_1 <= seconds < _YEAR_10000:
        return b""
    moment = _EPOCH + timedelta(seconds=seconds)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{moment.year - shift:04d}{moment:-%m-%dT%H:%M:%S}{fraction}Z".encode()
