"""The part of FlatBuffers that a zTOC needs, laid out as by Go's builder (formats.md 1.2).

A buffer grows from its end to its front. An *offset* counts the bytes from an object to the end of the buffer, so it
stays valid while the buffer grows. All numbers are little endian.

    string         uint32 length, bytes, NUL, zeros up to a multiple of 4
    vector         uint32 count, elements
    table          int32 (vtable offset - table offset), fields
    vtable         uint16 its size, uint16 table size, uint16 per slot: field position in table, 0 if absent
    reference      uint32 distance from the reference itself forward to its target
    buffer         uint32 distance to the root table, everything else
"""

from __future__ import annotations

import itertools
import operator
import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from soci.errors import InvalidZtoc

SIZE_BYTES = 4
"""The size of a length, of a reference, and of the link from a table to its vtable."""

_UINT32 = struct.Struct("<I")
_STRING_ENDS = (b"\0\0\0\0", b"\0\0\0", b"\0\0", b"\0")


class Field(NamedTuple):
    """A field of a table: its slot, its `struct` code (`R` is a reference) and its value."""

    slot: int
    code: str
    value: int


_FIELD_BYTES = {"R": 4, "b": 1, "i": 4, "I": 4, "q": 8}


def encode_string(data: bytes) -> bytes:
    """Return a string as in the buffer, padded for a following part that is aligned to 4 bytes."""
    return _UINT32.pack(len(data)) + data + _STRING_ENDS[len(data) & 3]


def encode_vtable(table_bytes: int, slots: Sequence[int]) -> bytes:
    """Return a vtable. `slots` holds the position of each field in its table, 0 if absent."""
    count = len(slots)
    while count and not slots[count - 1]:
        count -= 1
    return struct.pack(f"<{count + 2}H", 4 + 2 * count, table_bytes, *slots[:count])


class BackwardWriter:
    """Writes parts of a buffer from back to front. `offset` bytes exist already."""

    def __init__(self, offset: int = 0, *, min_align: int = 1) -> None:
        self.offset = offset
        self._min_align = min_align
        self._parts: list[bytes] = []
        self._vtables: dict[bytes, int] = {}

    def take(self) -> bytes:
        """Return the bytes written since the last call, front first."""
        data = b"".join(reversed(self._parts))
        self._parts.clear()
        return data

    def skip(self, size_bytes: int) -> None:
        """Count bytes that stand in front of all bytes so far, but are kept elsewhere."""
        self.offset += size_bytes

    def align(self, size: int, following: int = 0) -> None:
        """Add zeros, so that after `following` more bytes the offset is a multiple of `size`."""
        self._min_align = max(self._min_align, size)
        self._put(bytes(-(self.offset + following) % size))

    def string(self, data: bytes) -> int:
        """Write a string and return its offset."""
        self.align(4, len(data) + 1)
        self._put(_UINT32.pack(len(data)) + data + b"\0")
        return self.offset

    def reference_vector(self, targets: Sequence[int]) -> int:
        """Write a vector of references to `targets`, which are offsets."""
        self.align(4, 4 * len(targets))
        last = self.offset + 4 * len(targets)
        references = array("I", map(operator.sub, range(last, self.offset, -4), targets))
        self._put(references.tobytes())  # native order: all our platforms are little endian
        self.uint32(len(targets))
        return self.offset

    def uint32(self, value: int) -> None:
        """Write a number without aligning it."""
        self._put(_UINT32.pack(value))

    def table(self, fields: Iterable[Field], *, slot_count: int) -> int:
        """Write a table with its fields in the given order. Equal vtables are written once."""
        start = self.offset
        positions = [0] * slot_count
        for field in fields:
            size = _FIELD_BYTES[field.code]
            self.align(size)
            if field.code == "R":
                self.uint32(self.offset + 4 - field.value)
            else:
                self._put(struct.pack("<" + field.code, field.value))
            positions[field.slot] = self.offset
        self.align(4)
        table = self.offset + SIZE_BYTES
        vtable = encode_vtable(table - start, [table - at if at else 0 for at in positions])
        known = self._vtables.get(vtable)
        if known is None:
            known = self._vtables[vtable] = table + len(vtable)
            self._put(struct.pack("<i", known - table))
            self._put(vtable)
        else:
            self._put(struct.pack("<i", known - table))
        return table

    def finish(self, root: int) -> bytes:
        """Write the reference to the root table. Return the bytes written since the last `take`."""
        self.align(self._min_align, 4)
        self.uint32(self.offset + 4 - root)
        return self.take()

    def _put(self, data: bytes) -> None:
        self._parts.append(data)
        self.offset += len(data)


class TableReader:
    """Reads one table of a buffer. The buffer may be hostile, so every position is checked before use.

    Raises (all methods):
        InvalidZtoc: a reference leads out of the buffer.
    """

    __slots__ = ("_buffer", "_position", "_slot_count", "_vtable")

    def __init__(self, buffer: bytes | bytearray | memoryview, position: int) -> None:
        self._buffer = buffer
        self._position = position
        self._vtable = position - self._unpack("<i", position)
        size = self._unpack("<H", self._vtable)
        if size < 4 or size % 2:
            raise InvalidZtoc(f"flatbuffer vtable at byte {self._vtable} has the impossible size {size}")
        self._slot_count = (size - 4) // 2

    @classmethod
    def root(cls, buffer: bytes | bytearray | memoryview) -> TableReader:
        """Return the buffer's root table."""
        return cls(buffer, read_reference(buffer, 0))

    def number(self, slot: int, code: str, default: int = 0) -> int:
        """Return the number in a field, by its `struct` code; the default if absent."""
        at = self._field(slot)
        return self._unpack("<" + code, at) if at else default

    def string(self, slot: int) -> bytes:
        """Return a string or byte vector; empty if absent."""
        at = self._field(slot)
        return bytes(read_bytes(self._buffer, read_reference(self._buffer, at))) if at else b""

    def view(self, slot: int) -> memoryview:
        """Return a byte vector as a view; empty if absent."""
        at = self._field(slot)
        return read_bytes(self._buffer, read_reference(self._buffer, at)) if at else memoryview(b"")

    def references(self, slot: int) -> list[int]:
        """Return the targets of a vector of references, as positions; empty if absent."""
        at = self._field(slot)
        if not at:
            return []
        vector = read_reference(self._buffer, at)
        data = read_bytes(self._buffer, vector, element_bytes=SIZE_BYTES)
        values = struct.unpack(f"<{len(data) // SIZE_BYTES}I", data)
        return [
            position + value for position, value in zip(itertools.count(vector + 4, 4), values, strict=False)
        ]

    def table(self, slot: int) -> TableReader:
        """Return the target table of a reference field."""
        at = self._field(slot)
        if not at:
            raise InvalidZtoc(f"flatbuffer table at byte {self._position} has no table in slot {slot}")
        return TableReader(self._buffer, read_reference(self._buffer, at))

    def _field(self, slot: int) -> int:
        # Slots are read one by one: a hostile vtable has 32,765 of them, and any number of tables share it.
        inside = self._unpack("<H", self._vtable + 4 + 2 * slot) if slot < self._slot_count else 0
        return self._position + inside if inside else 0

    def _unpack(self, code: str, at: int) -> int:
        if not 0 <= at <= len(self._buffer) - struct.calcsize(code):
            raise InvalidZtoc(f"flatbuffer leads to byte {at}, but has {len(self._buffer)}")
        value: int = struct.unpack_from(code, self._buffer, at)[0]
        return value


def read_reference(buffer: bytes | bytearray | memoryview, at: int) -> int:
    """Return the target of the reference at `at`, as a position not before `at`. Raises InvalidZtoc."""
    if not 0 <= at <= len(buffer) - SIZE_BYTES:
        raise InvalidZtoc(f"flatbuffer leads to byte {at}, but has {len(buffer)}")
    return at + int(_UINT32.unpack_from(buffer, at)[0])


def read_bytes(buffer: bytes | bytearray | memoryview, at: int, *, element_bytes: int = 1) -> memoryview:
    """Return the content of the string or vector at `at`. Raises InvalidZtoc."""
    count = read_reference(buffer, at) - at
    start, end = at + SIZE_BYTES, at + SIZE_BYTES + count * element_bytes
    if end > len(buffer):
        raise InvalidZtoc(f"flatbuffer string or vector at byte {at} reaches byte {end} of {len(buffer)}")
    return memoryview(buffer)[start:end]
