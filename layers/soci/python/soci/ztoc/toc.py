"""The file tables of a zTOC, written in one pass while the tar is read (formats.md 1.1 to 1.4).

One file, from the front of its block to the back; the order is fixed by the reference, which creates strings
first and grows the buffer forwards-to-front, from the last file to the first:

    table      int32 vtable link, xattrs, [devminor], [devmajor], mod_time, gname, uname, [gid], [uid], [mode],
               linkname, [size], offset, (4 zeros), type, name           numbers in [] only when not 0
    xattrs     vector of references to Xattr tables, one per pax record
    Xattr      table, value, key: for each record, the last key first
    strings    mod_time, gname, uname, linkname, type, name

Two things depend on what follows, though we write front to back. The zeros stand in a table when the offset of its end is
not a multiple of 8; that is decided by the shape of the next file alone, so a file is held back until its follower
is known. A vtable stands in front of the *last* table of its shape, and all others link to it; so vtables
are inserted and links filled in at the end.
"""

from __future__ import annotations

import functools
import itertools
import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from soci.layer.tar import TarEntry
from soci.ztoc.flatbuffer import encode_string, encode_vtable

TYPE_NAMES = {
    b"0": b"reg",
    b"1": b"hardlink",
    b"2": b"symlink",
    b"3": b"char",
    b"4": b"block",
    b"5": b"dir",
    b"6": b"fifo",
}
SLOT_COUNT = 14

XATTR_PREFIX = b"SCHILY.xattr."
OPAQUE_MARKER = b".wh..wh..opq"

Key = TypeVar("Key")

_TYPES = {flag: encode_string(name) for flag, name in TYPE_NAMES.items()}
_NO_XATTRS = bytes(4)
_UINT32_MASK = 0xFFFF_FFFF
_XATTR = struct.Struct("<iII")
_XATTR_VTABLE = encode_vtable(_XATTR.size, (8, 4))
_LINK = struct.Struct("<i")
_CACHE_ENTRIES = 4096

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - all arithmetic is in UTC, a zone would only slow it down
_YEAR_0, _YEAR_1, _YEAR_10000 = -62_167_219_200, -62_135_596_800, 253_402_300_800
_SECONDS_IN_400_YEARS = 146_097 * 86_400


class _Shape(NamedTuple):
    """How a file table with given fields is laid out, for one of the two alignments of its end."""

    numbers: int
    """Bits for the optional numbers it holds: size, mode, uid, gid, devmajor, devminor."""
    pack: struct.Struct
    vtable: bytes
    references: tuple[int, ...]
    """For xattrs, mod_time, gname, uname, linkname, type, name: bytes from the field to the table's end."""
    misaligned: int
    """Offset of the table's front modulo 8: what the file before it has to cope with."""


@functools.cache
def _shape(numbers: int, misaligned: int) -> _Shape:
    codes = [("I", 0), ("I", 1), ("q", 2), ("q", 3), ("I", 4), ("q", 5), ("I", 6), ("I", 7)]
    codes += [("I", 8), ("I", 9), ("I", 10), ("q", 11), ("q", 12), ("I", 13)]
    bits = {3: 1, 5: 2, 6: 4, 7: 8, 11: 16, 12: 32}
    at = misaligned
    formats: list[str] = []
    ends = dict.fromkeys(range(SLOT_COUNT), 0)
    for code, slot in codes:
        if slot in bits and not numbers & bits[slot]:
            continue
        size = struct.calcsize("<" + code)
        padding = -at % size
        at += padding + size
        formats.append(f"{code}{padding}x" if padding else code)
        ends[slot] = at - misaligned
    table_bytes = at - misaligned + 4
    return _Shape(
        numbers=numbers,
        pack=struct.Struct("<i" + "".join(reversed(formats))),
        vtable=encode_vtable(table_bytes, [table_bytes - end if end else 0 for end in ends.values()]),
        references=tuple(ends[slot] for slot in (13, 10, 9, 8, 4, 1, 0)),
        misaligned=(at + 4) % 8,
    )


@dataclass(slots=True)
class _Vtable:
    number: int
    data: bytes
    last_table: int = 0


class FinishedToc(NamedTuple):
    """All file blocks, front first, and where in them each file's table begins."""

    blocks: bytearray
    tables: array[int]


class TocWriter:
    """Collects the file tables: `add` the tar's entries in order, then `finish` once."""

    def __init__(self) -> None:
        self.needs_xattrs = False
        """Whether a file has extended attributes or marks a directory as opaque (formats.md 5.2)."""
        self._blocks = bytearray()
        self._held: tuple[TarEntry, int] | None = None
        self._tables = array("Q")
        self._vtable_numbers = bytearray()
        self._vtables: dict[bytes, _Vtable] = {}
        self._xattr_tables = array("Q")
        self._last_with_xattrs: tuple[TarEntry, _Shape, int] | None = None
        self._times: dict[tuple[int, int], bytes] = {}
        self._texts: dict[bytes, bytes] = {}

    def add(self, entries: Iterable[TarEntry]) -> None:
        """Take in the next entries of the tar."""
        for entry in entries:
            numbers = (
                (entry.size != 0)
                | (entry.mode != 0) << 1
                | (entry.uid & _UINT32_MASK != 0) << 2
                | (entry.gid & _UINT32_MASK != 0) << 3
                | (entry.device_major != 0) << 4
                | (entry.device_minor != 0) << 5
            )
            if self._held is not None:
                self._write(*self._held, _shape(numbers, 0).misaligned)
            self._held = (entry, numbers)

    def finish(self, behind_bytes: int) -> FinishedToc:
        """Complete the blocks; `behind_bytes` is the size of what will stand behind them in the buffer."""
        if self._held is not None:
            self._write(*self._held, behind_bytes % 8)
            self._held = None
        insertions = [(vtable.last_table, vtable.data) for vtable in self._vtables.values()]
        if self._xattr_tables:
            insertions.append((self._xattr_tables[-1], _XATTR_VTABLE))
        insertions.sort()
        for position, data in reversed(insertions):
            self._blocks[position:position] = data
        moved = _moved_by(insertions)
        self._link(self._tables, moved)
        if self._last_with_xattrs is not None:
            self._link_xattrs(*self._last_with_xattrs, moved)
        return FinishedToc(self._blocks, array("Q", map(moved, self._tables)))

    def _write(self, entry: TarEntry, numbers: int, behind_misaligned: int) -> None:
        start = len(self._blocks)
        strings = self._strings(entry)
        xattrs, xattr_tables = _encode_xattrs(entry.pax_records) if entry.pax_records else (_NO_XATTRS, ())
        tail_bytes = len(xattrs) + sum(map(len, strings))
        shape = _shape(numbers, (behind_misaligned + tail_bytes) % 8)
        self._blocks += b"".join((_encode_table(entry, shape, strings, len(xattrs)), xattrs, *strings))

        vtable = self._vtables.get(shape.vtable)
        if vtable is None:
            vtable = self._vtables[shape.vtable] = _Vtable(len(self._vtables), shape.vtable)
        vtable.last_table = start
        self._tables.append(start)
        self._vtable_numbers.append(vtable.number)
        if xattr_tables:
            table_bytes = shape.pack.size
            self._xattr_tables.extend(start + table_bytes + position for position in xattr_tables)
            self._last_with_xattrs = (entry, shape, start)
        self.needs_xattrs = self.needs_xattrs or _needs_xattrs(entry)

    def _strings(self, entry: TarEntry) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes]:
        """Encode mod_time, gname, uname, linkname, type and name, in the order in which they lie."""
        texts, times = self._texts, self._times
        mtime, group, user, link = entry.mtime, entry.group_name, entry.user_name, entry.link_name
        return (
            times.get(mtime) or _remember(times, mtime, format_time(*mtime)),
            texts.get(group) or _remember(texts, group, group),
            texts.get(user) or _remember(texts, user, user),
            texts.get(link) or _remember(texts, link, link),
            _TYPES[entry.type],
            encode_string(entry.name),
        )

    def _link(self, tables: array[int], moved: Callable[[int], int]) -> None:
        """Fill in the distance from each table back to its vtable."""
        vtables = [moved(vtable.last_table) - len(vtable.data) for vtable in self._vtables.values()]
        for table, number in zip(map(moved, tables), self._vtable_numbers, strict=True):
            _LINK.pack_into(self._blocks, table, table - vtables[number])

    def _link_xattrs(self, entry: TarEntry, shape: _Shape, start: int, moved: Callable[[int], int]) -> None:
        """Do the same for Xattr tables; the vtable in the midst of the last file's block moves its strings."""
        strings = self._strings(entry)
        xattrs, _ = _encode_xattrs(entry.pax_records or {}, vtable=_XATTR_VTABLE)
        block = b"".join((_encode_table(entry, shape, strings, len(xattrs)), xattrs, *strings))
        start = moved(start)
        self._blocks[start + 4 : start + len(block)] = block[4:]
        vtable = moved(self._xattr_tables[-1]) - len(_XATTR_VTABLE)
        for table in map(moved, self._xattr_tables):
            _LINK.pack_into(self._blocks, table, table - vtable)


def _encode_table(entry: TarEntry, shape: _Shape, strings: tuple[bytes, ...], xattrs_bytes: int) -> bytes:
    """Pack a file table without its vtable link; each string lies behind the xattrs and those before it."""
    mod_time, group, user, link, type_, _ = strings
    to_xattrs, to_time, to_group, to_user, to_link, to_type, to_name = shape.references
    numbers = shape.numbers
    values = [0, to_xattrs]
    if numbers & 32:
        values.append(entry.device_minor)
    if numbers & 16:
        values.append(entry.device_major)
    at = xattrs_bytes
    values.append(to_time + at)
    at += len(mod_time)
    values.append(to_group + at)
    at += len(group)
    values.append(to_user + at)
    at += len(user)
    if numbers & 8:
        values.append(entry.gid & _UINT32_MASK)
    if numbers & 4:
        values.append(entry.uid & _UINT32_MASK)
    if numbers & 2:
        values.append(entry.mode)
    values.append(to_link + at)
    if numbers & 1:
        values.append(entry.size)
    at += len(link)
    values += (entry.offset, to_type + at, to_name + at + len(type_))
    return shape.pack.pack(*values)


def _encode_xattrs(records: dict[bytes, bytes], *, vtable: bytes = b"") -> tuple[bytes, list[int]]:
    """Return the xattrs vector with all behind it, and where in it each Xattr table begins."""
    keys = sorted(records, reverse=True)
    at = 4 + 4 * len(keys)
    parts: list[bytes] = []
    tables: list[int] = []
    for key in keys:
        value_string, key_string = encode_string(records[key]), encode_string(key)
        before = vtable if key is keys[-1] else b""
        table = _XATTR.pack(0, 8, 4 + len(value_string))
        parts += (before, table, value_string, key_string)
        tables.append(at + len(before))
        at += len(before) + len(table) + len(value_string) + len(key_string)
    references = (table - (4 + 4 * index) for index, table in enumerate(reversed(tables)))
    vector = struct.pack(f"<{len(keys) + 1}I", len(keys), *references)
    return b"".join((vector, *parts)), tables


def _needs_xattrs(entry: TarEntry) -> bool:
    if entry.name.endswith(OPAQUE_MARKER):
        return True
    return bool(entry.pax_records) and any(key.startswith(XATTR_PREFIX) for key in entry.pax_records)


def _moved_by(insertions: Sequence[tuple[int, bytes]]) -> Callable[[int], int]:
    """Return the function from a position before the insertions to the same place after them."""
    positions = [position for position, _ in insertions]
    shifts = [0, *itertools.accumulate(len(data) for _, data in insertions)]
    return lambda position: position + shifts[bisect_right(positions, position)]


def _remember(cache: dict[Key, bytes], key: Key, text: bytes) -> bytes:
    if len(cache) >= _CACHE_ENTRIES:
        cache.clear()
    cache[key] = encoded = encode_string(text)
    return encoded


def format_time(seconds: int, nanoseconds: int) -> bytes:
    """Return RFC 3339 text in UTC, as Go marshals a time; empty outside the years 0 to 9999."""
    shift = 0
    if _YEAR_0 <= seconds < _YEAR_1:  # Python's calendar begins with the year 1; 400 years repeat
        shift = 400
        seconds += _SECONDS_IN_400_YEARS
    if not _YEAR_1 <= seconds < _YEAR_10000:
        return b""
    moment = _EPOCH + timedelta(seconds=seconds)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{moment.year - shift:04d}{moment:-%m-%dT%H:%M:%S}{fraction}Z".encode()
