"""Write the file tables of a zTOC in one pass, while the tar is read (formats.md 1.1 to 1.4).

This is the block of one file, front first. The owner's builder fixes the order: it creates strings first and grows
the buffer to its front, from the last file to the first.

    table      int32 vtable link, xattrs, [devminor], [devmajor], mod_time, gname, uname, [gid], [uid],
               [mode], linkname, [size], offset, (4 zeros), type, name           numbers in [] only if not 0
    xattrs     vector of references to Xattr tables, one per pax record
    Xattr      table, value, key for each record, the last key first
    strings    mod_time, gname, uname, linkname, type, name

We write front to back, but two things depend on later files. First, a table has the zeros if the offset of its end
is not a multiple of 8. The shape of the next file decides that, so each file is held until the next one is known.
Second, a vtable stands in front of the *last* table of its shape, and the other tables link to it. So vtables are
inserted, and links written, at the end.
"""

from __future__ import annotations

import functools
import itertools
import operator
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from soci.layer.tar import Attributes, TarEntry
from soci.ztoc.entries import OPAQUE_MARKER, TYPE_NAMES, UINT32_MASK, XATTR_PREFIX, format_time
from soci.ztoc.flatbuffer import encode_string, encode_vtable

FILE_SLOTS = "IIqqIqIIIIIqqI"
"""The `struct` code of each slot of FileMetadata. `I` is a reference, except for uid and gid."""

FILE_VTABLE_BYTES = 4 + 2 * len(FILE_SLOTS)
"""The size of a file table's vtable. Its last slot, xattrs, is always present."""

_TYPES = {flag: encode_string(name) for flag, name in TYPE_NAMES.items()}
_NO_XATTRS = bytes(4)
_UINT32_BYTES = 4
_XATTR = struct.Struct("<iII")
_XATTR_VTABLE = encode_vtable(_XATTR.size, (8, 4))
_SINGLE_XATTR = struct.Struct("<IIiII")
"""A vector of one reference with its table, which begins after the vector's 8 bytes."""
_SINGLE_XATTR_TABLE = (8,)
_LINK = struct.Struct("<i")
_OFFSET = struct.Struct("<q")
_SIZE_AND_OFFSET = struct.Struct("<qq")

_OFFSET_SLOT, _SIZE_SLOT = 2, 3
_SIZE, _MODE, _UID, _GID, _MAJOR, _MINOR = 1, 2, 4, 8, 16, 32
"""Bits for the numbers that are written only if they are not 0."""

_CACHE_ENTRIES = 4096
_MAX_CACHED_TEXT_BYTES = 1024
"""The longest text that is cached. With the number of entries, this bounds the caches for hostile names."""


class _Shape(NamedTuple):
    """The layout of a file table. There is one for each set of fields and each of the two alignments of its end."""

    front: struct.Struct
    """Vtable link to linkname. Size and offset follow."""
    back: struct.Struct
    """Zeros, type, name."""
    vtable: bytes
    references: tuple[int, ...]
    """The bytes from each field to the end of the table: xattrs, mod_time, gname, uname, linkname, type, name."""
    misaligned: int
    """The offset of the table's front modulo 8, which the file before it needs."""


@functools.cache
def _shape(present: int, misaligned: int) -> _Shape:
    """Return the layout of a table. The bits of `present` are size, mode, uid, gid, devmajor, devminor."""
    optional = {3: _SIZE, 5: _MODE, 6: _UID, 7: _GID, 11: _MAJOR, 12: _MINOR}
    at = misaligned
    zeros_behind_offset = 0
    formats: list[str] = []
    ends = [0] * len(FILE_SLOTS)
    for slot, code in enumerate(FILE_SLOTS):
        if slot in optional and not present & optional[slot]:
            continue
        size = struct.calcsize("<" + code)
        padding = -at % size
        at += padding + size
        ends[slot] = at - misaligned
        if slot == _OFFSET_SLOT:
            zeros_behind_offset = padding
        elif slot > _SIZE_SLOT:
            formats.append(f"{code}{padding}x" if padding else code)
    table_bytes = at - misaligned + 4
    return _Shape(
        front=struct.Struct("<i" + "".join(reversed(formats))),
        back=struct.Struct(f"<{zeros_behind_offset}xII"),
        vtable=encode_vtable(table_bytes, [table_bytes - end if end else 0 for end in ends]),
        references=tuple(ends[slot] for slot in (13, 10, 9, 8, 4, 1, 0)),
        misaligned=(at + 4) % 8,
    )


class _Shared(NamedTuple):
    """The parts that files with the same attributes share."""

    attributes: Attributes
    present: int
    """The bits of the numbers that are not 0, without size."""
    strings: tuple[bytes, ...]
    """mod_time, gname, uname, linkname, type, as in the buffer."""
    text: bytes
    """The strings in one piece."""
    misaligned: tuple[int, int]
    """`_Shape.misaligned` of a file without and with a size."""


@dataclass(slots=True)
class _Vtable:
    number: int
    data: bytes
    last_table: int = 0


class _Table(NamedTuple):
    """A file table in two halves. Size and offset come between them. The vtable link is still missing."""

    front: bytes
    back: bytes
    vtable: _Vtable


_Insertion = tuple[int, bytes]
"""The position of a table, and the vtable to insert in front of it."""


class FinishedToc(NamedTuple):
    """All file blocks, front first, and the position of each file's table in them."""

    blocks: bytearray
    tables: array[int]


class TocWriter:
    """Collects the file tables: `add` the entries of the tar in order, then `finish` once.

    Files share most fields of a table, so each combination is packed once. A further file with the same
    combination costs a look-up and the joining of its parts.
    """

    def __init__(self) -> None:
        self.needs_xattrs = False
        """Whether a file has extended attributes, or marks a directory as opaque (formats.md 5.2)."""
        self._blocks = bytearray()
        self._held: tuple[TarEntry, _Shared] | None = None
        self._positions = array("Q")
        self._vtable_numbers = bytearray()
        self._vtables: dict[bytes, _Vtable] = {}
        self._xattr_positions = array("Q")
        self._last_with_xattrs: tuple[TarEntry, _Shared, int, int] | None = None
        self._shared: dict[Attributes, _Shared] = {}
        self._tables: dict[tuple[Attributes, bool, int, int], _Table] = {}

    @property
    def size_bytes(self) -> int:
        """The size of all blocks so far."""
        return len(self._blocks)

    def add(self, entries: Iterable[TarEntry]) -> None:
        """Take the next entries of the tar."""
        for entry in entries:
            shared = self._shared.get(entry.attributes) or self._share(entry.attributes)
            if self._held is not None:
                self._write(*self._held, shared.misaligned[entry.size != 0])
            self._held = (entry, shared)

    def finish(self, behind_bytes: int) -> FinishedToc:
        """Complete the blocks. `behind_bytes` is the size of the parts after them in the buffer."""
        if self._held is not None:
            self._write(*self._held, behind_bytes % 8)
            self._held = None
        insertions = [(vtable.last_table, vtable.data) for vtable in self._vtables.values()]
        if self._xattr_positions:
            insertions.append((self._xattr_positions[-1], _XATTR_VTABLE))
        insertions.sort()
        for position, data in reversed(insertions):
            self._blocks[position:position] = data
        if self._last_with_xattrs is not None:
            self._link_xattrs(*self._last_with_xattrs, insertions)
        last_tables = [vtable.last_table for vtable in self._vtables.values()]
        vtables = [_moved([table], insertions)[0] - FILE_VTABLE_BYTES for table in last_tables]
        tables = _moved(self._positions, insertions)
        blocks, link = self._blocks, _LINK.pack_into
        for table, number in zip(tables, self._vtable_numbers, strict=True):
            link(blocks, table, table - vtables[number])
        return FinishedToc(blocks, tables)

    def _write(self, entry: TarEntry, shared: _Shared, behind_misaligned: int) -> None:
        start = len(self._blocks)
        name_bytes, offset, size, attributes, records = entry
        name = encode_string(name_bytes)
        xattrs = _NO_XATTRS
        if records:
            xattrs, xattr_tables = _encode_xattrs(records)
        xattrs_bytes = len(xattrs)
        misaligned = (behind_misaligned + xattrs_bytes + len(shared.text) + len(name)) % 8
        table = self._tables.get((attributes, size != 0, misaligned, xattrs_bytes))
        if table is None:
            table = self._table(shared, size != 0, misaligned, xattrs_bytes)
        front, back, vtable = table
        numbers = _SIZE_AND_OFFSET.pack(size, offset) if size else _OFFSET.pack(offset)
        self._blocks += b"".join((front, numbers, back, xattrs, shared.text, name))
        vtable.last_table = start
        self._positions.append(start)
        self._vtable_numbers.append(vtable.number)
        if records:
            xattrs_at = start + len(front) + len(numbers) + len(back)
            self._xattr_positions.extend([xattrs_at + at for at in xattr_tables])
            self._last_with_xattrs = (entry, shared, misaligned, start)
            if len(records) > 1 or b"path" not in records:
                self.needs_xattrs |= any(key.startswith(XATTR_PREFIX) for key in records)
        if name_bytes.endswith(OPAQUE_MARKER):
            self.needs_xattrs = True

    def _share(self, attributes: Attributes) -> _Shared:
        present = (
            _MODE * (attributes.mode != 0)
            | _UID * (attributes.uid & UINT32_MASK != 0)
            | _GID * (attributes.gid & UINT32_MASK != 0)
            | _MAJOR * (attributes.device_major != 0)
            | _MINOR * (attributes.device_minor != 0)
        )
        strings = (
            encode_string(format_time(*attributes.mtime)),
            encode_string(attributes.group_name),
            encode_string(attributes.user_name),
            encode_string(attributes.link_name),
            _TYPES[attributes.type],
        )
        misaligned = (_shape(present, 0).misaligned, _shape(present | _SIZE, 0).misaligned)
        shared = _Shared(attributes, present, strings, b"".join(strings), misaligned)
        if len(shared.text) <= _MAX_CACHED_TEXT_BYTES:
            if len(self._shared) >= _CACHE_ENTRIES:
                self._shared.clear()
            self._shared[attributes] = shared
        return shared

    def _table(self, shared: _Shared, sized: bool, misaligned: int, xattrs_bytes: int) -> _Table:  # noqa: FBT001
        key = (shared.attributes, sized, misaligned, xattrs_bytes)
        table = self._tables.get(key)
        if table is None:
            shape = _shape(shared.present | _SIZE * sized, misaligned)
            vtable = self._vtables.get(shape.vtable)
            if vtable is None:
                vtable = self._vtables[shape.vtable] = _Vtable(len(self._vtables), shape.vtable)
            table = _Table(*_pack_halves(shared, shape, xattrs_bytes), vtable)
            if len(shared.text) <= _MAX_CACHED_TEXT_BYTES:
                if len(self._tables) >= _CACHE_ENTRIES:
                    self._tables.clear()
                self._tables[key] = table
        return table

    def _link_xattrs(
        self, entry: TarEntry, shared: _Shared, misaligned: int, start: int, insertions: Sequence[_Insertion]
    ) -> None:
        """Insert the vtable of the Xattr tables in the last file that has any, and link all of them to it."""
        xattrs, _ = _encode_xattrs(entry.pax_records or {}, vtable=_XATTR_VTABLE)
        table = self._table(shared, bool(entry.size), misaligned, len(xattrs))
        block = b"".join((table.front, _encode_numbers(entry), table.back, xattrs))
        (start,) = _moved([start], insertions)
        self._blocks[start : start + len(block)] = block
        tables = _moved(self._xattr_positions, insertions)
        vtable = tables[-1] - len(_XATTR_VTABLE)
        for position in tables:
            _LINK.pack_into(self._blocks, position, position - vtable)


def _encode_numbers(entry: TarEntry) -> bytes:
    return _SIZE_AND_OFFSET.pack(entry.size, entry.offset) if entry.size else _OFFSET.pack(entry.offset)


def _pack_halves(shared: _Shared, shape: _Shape, xattrs_bytes: int) -> tuple[bytes, bytes]:
    """Pack the halves of a table, before and after size and offset. The strings stand after the xattrs."""
    attributes, present = shared.attributes, shared.present
    to_xattrs, *to_strings, to_name = shape.references
    starts = list(itertools.accumulate(map(len, shared.strings), initial=xattrs_bytes))
    to_time, to_group, to_user, to_link, to_type = map(operator.add, to_strings, starts)
    front = [0, to_xattrs]
    if present & _MINOR:
        front.append(attributes.device_minor)
    if present & _MAJOR:
        front.append(attributes.device_major)
    front += (to_time, to_group, to_user)
    if present & _GID:
        front.append(attributes.gid & UINT32_MASK)
    if present & _UID:
        front.append(attributes.uid & UINT32_MASK)
    if present & _MODE:
        front.append(attributes.mode)
    front.append(to_link)
    return shape.front.pack(*front), shape.back.pack(to_type, to_name + starts[-1])


def _encode_xattrs(records: dict[bytes, bytes], *, vtable: bytes = b"") -> tuple[bytes, Sequence[int]]:
    """Return the xattrs vector with its tables and strings, and the position of each Xattr table in it."""
    if len(records) == 1 and not vtable:  # a long name, as half the files of a deep tree have
        ((key, value),) = records.items()
        value_string = encode_string(value)
        front = _SINGLE_XATTR.pack(1, 4, 0, 8, 4 + len(value_string))
        return b"".join((front, value_string, encode_string(key))), _SINGLE_XATTR_TABLE
    count = len(records)
    vector = [count]
    parts = [b""]
    tables: list[int] = []
    at = _UINT32_BYTES * (1 + count)
    for key, value in sorted(records.items(), reverse=True):
        value_string, key_string = encode_string(value), encode_string(key)
        if vtable and len(tables) == count - 1:
            parts.append(vtable)
            at += len(vtable)
        parts += (_XATTR.pack(0, 8, 4 + len(value_string)), value_string, key_string)
        tables.append(at)
        at += _XATTR.size + len(value_string) + len(key_string)
    # Element i of the vector is at 4 + 4 i, and its table is the i-th from the end.
    vector += [table - _UINT32_BYTES * number for number, table in enumerate(reversed(tables), 1)]
    parts[0] = struct.pack(f"<{count + 1}I", *vector)
    return b"".join(parts), tables


def _moved(positions: Sequence[int], insertions: Sequence[_Insertion]) -> array[int]:
    """Return ascending positions after sorted insertions. An insertion at a position moves that position."""
    moved = array("Q")
    begin = shift = 0
    for position, data in insertions:
        end = bisect_left(positions, position, begin)
        moved.extend([before + shift for before in positions[begin:end]])
        begin, shift = end, shift + len(data)
    moved.extend([before + shift for before in positions[begin:]])
    return moved
