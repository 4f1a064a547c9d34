"""Tar headers field by field, including those that no library writes, and a reader fed in pieces of any size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from soci.layer.chunks import WINDOW_BYTES, Chunk
from soci.layer.tar import TarEntry, TarReader
from soci.reasons import LeftOut

USTAR, GNU, V7 = b"ustar\x0000", b"ustar  \0", bytes(8)
END = bytes(1024)

_POSITIONS = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "gid": (116, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "checksum": (148, 8),
    "type": (156, 1),
    "link_name": (157, 100),
    "magic": (257, 8),
    "user_name": (265, 32),
    "group_name": (297, 32),
    "device_major": (329, 8),
    "device_minor": (337, 8),
    "prefix": (345, 155),
    "gnu_atime": (345, 12),
    "gnu_ctime": (357, 12),
    "star_prefix": (345, 131),
    "star_atime": (476, 12),
    "star_ctime": (488, 12),
    "trailer": (508, 4),
}


def header(**fields: Any) -> bytes:
    """One header block with the fields of `_POSITIONS`. Numbers are written in octal, bytes unchanged.

    The checksum is right unless it is given; with `signed_checksum=True` it is that of signed bytes.
    """
    signed = fields.pop("signed_checksum", False)
    block = bytearray(512)
    given: dict[str, Any] = {
        "name": b"f",
        "type": b"0",
        "magic": USTAR,
        "mode": 0o644,
        "size": 0,
        "mtime": 0,
    } | fields
    for field, value in given.items():
        at, size = _POSITIONS[field]
        raw = value if isinstance(value, bytes) else b"%0*o" % (size - 1, value)
        assert len(raw) <= size, field
        block[at : at + size] = raw.ljust(size, b"\0")
    if "checksum" not in fields:
        block[148:156] = b" " * 8
        total = sum(block) - 256 * signed * sum(byte > 127 for byte in block)
        block[148:156] = b"%06o\0 " % total
    return bytes(block)


def entry(data: bytes = b"", **fields: Any) -> bytes:
    """A header and its data, padded."""
    return header(**{"size": len(data), **fields}) + data + bytes(-len(data) % 512)


def record(key: bytes, value: bytes) -> bytes:
    """One pax record."""
    length = len(key) + len(value) + 3
    while len(str(length)) + len(key) + len(value) + 3 != length:
        length = len(str(length)) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def pax(records: Mapping[bytes, bytes] | bytes, **fields: Any) -> bytes:
    """A pax header of records or raw bytes."""
    content = records if isinstance(records, bytes) else b"".join(map(record, records, records.values()))
    return entry(content, type=b"x", name=b"PaxHeader", **fields)


def long_name(name: bytes) -> bytes:
    return entry(name + b"\0", type=b"L", name=b"././@LongLink", magic=GNU)


def long_link(name: bytes) -> bytes:
    return entry(name + b"\0", type=b"K", name=b"././@LongLink", magic=GNU)


class Read(NamedTuple):
    entries: list[TarEntry]
    left_out: LeftOut | None
    tar_bytes: int


def read(*parts: bytes, piece_bytes: int = 1 << 22) -> Read:
    """Read a tar in pieces."""
    data = b"".join(parts)
    reader, entries, carried = TarReader(), [], bytes(WINDOW_BYTES)
    for at in range(0, len(data), piece_bytes):
        buffer = bytearray(carried + data[at : at + piece_bytes])
        entries += reader.feed(Chunk(buffer, len(buffer), at))
        carried = bytes(buffer[-WINDOW_BYTES:])
    tar_bytes = reader.finish(len(data))
    return Read(entries, reader.left_out, tar_bytes)


def read_one(*parts: bytes) -> TarEntry:
    """Read a tar of one file."""
    entries, left_out, _ = read(*parts, END)
    assert left_out is None
    assert len(entries) == 1
    return entries[0]
