from __future__ import annotations

import itertools
import random
import struct

import flatbuffers  # type: ignore[import-untyped]
import pytest

from soci.errors import InvalidZtoc
from soci.ztoc.flatbuffer import (
    BackwardWriter,
    Field,
    TableReader,
    encode_string,
    encode_vtable,
    read_bytes,
    read_reference,
)

SLOTS = ("b", "i", "I", "q", "q", "i")
DEFAULTS = {"b": 0, "i": 0, "I": 0, "q": 0}


def write(tables: list[dict[int, int]], strings: list[bytes]) -> bytes:
    """Strings, then tables of numbers, then a root table with vectors of both."""
    writer = BackwardWriter()
    texts = [writer.string(text) for text in strings]
    numbers = [
        writer.table(
            [Field(slot, SLOTS[slot], value) for slot, value in table.items()], slot_count=len(SLOTS)
        )
        for table in tables
    ]
    first, second = writer.reference_vector(texts), writer.reference_vector(numbers)
    root = writer.table([Field(0, "R", first), Field(1, "R", second)], slot_count=2)
    return writer.finish(root)


def official(tables: list[dict[int, int]], strings: list[bytes]) -> bytes:
    builder = flatbuffers.Builder(0)
    texts = [builder.CreateString(text) for text in strings]
    prepend = {
        "b": builder.PrependInt8Slot,
        "i": builder.PrependInt32Slot,
        "I": builder.PrependUint32Slot,
        "q": builder.PrependInt64Slot,
    }
    numbers = []
    for table in tables:
        builder.StartObject(len(SLOTS))
        for slot, value in table.items():
            prepend[SLOTS[slot]](slot, value, None)
        numbers.append(builder.EndObject())
    vectors = []
    for targets in (texts, numbers):
        builder.StartVector(4, len(targets), 4)
        for target in reversed(targets):
            builder.PrependUOffsetTRelative(target)
        vectors.append(builder.EndVector())
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, vectors[0], 0)
    builder.PrependUOffsetTRelativeSlot(1, vectors[1], 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


EVERY_CHOICE_OF_FIELDS = [
    list(chosen)
    for count in range(len(SLOTS) + 1)
    for chosen in itertools.permutations(range(len(SLOTS)), count)
][::7]


def test_tables_with_any_fields_in_any_order_equal_the_official_librarys():
    different = [
        fields
        for fields in EVERY_CHOICE_OF_FIELDS
        if write([dict.fromkeys(fields, 5)], [b"x"]) != official([dict.fromkeys(fields, 5)], [b"x"])
    ]

    assert len(EVERY_CHOICE_OF_FIELDS) > 250
    assert different == []


@pytest.mark.parametrize("seed", range(40))
def test_buffers_with_shared_vtables_and_strings_of_any_length_equal_the_official_librarys(seed):
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    strings = [rng.randbytes(rng.randrange(20)) for _ in range(rng.randrange(6))]
    tables = [
        {slot: rng.randrange(1, 100) for slot in rng.sample(range(len(SLOTS)), rng.randrange(4))}
        for _ in range(rng.randrange(8))
    ]

    assert write(tables, strings) == official(tables, strings)


def test_a_reader_returns_the_written_values():
    buffer = write([{0: -1, 2: 0xFFFF_FFFF, 3: -(2**63)}, {1: 7}], [b"", b"\xff\0x"])
    root = TableReader.root(buffer)

    assert [bytes(read_bytes(buffer, at)) for at in root.references(0)] == [b"", b"\xff\0x"]
    first, second = (TableReader(buffer, at) for at in root.references(1))
    assert [first.number(slot, code) for slot, code in enumerate(SLOTS)] == [
        -1,
        0,
        0xFFFF_FFFF,
        -(2**63),
        0,
        0,
    ]
    assert [second.number(slot, code) for slot, code in enumerate(SLOTS)] == [0, 7, 0, 0, 0, 0]
    assert second.number(9, "q", default=5) == 5


def test_absent_fields_are_empty_but_an_absent_table_is_an_error():
    table = TableReader.root(write([], []))

    assert (table.string(7), bytes(table.view(7)), table.references(7)) == (b"", b"", [])
    with pytest.raises(InvalidZtoc, match="has no table in slot 7"):
        table.table(7)


@pytest.mark.parametrize(
    ("text", "encoded"), [(b"", bytes(8)), (b"abc", b"\3\0\0\0abc\0"), (b"abcd", b"\4\0\0\0abcd\0\0\0\0")]
)
def test_a_string_follows_its_length_and_ends_with_a_nul(text, encoded):
    assert encode_string(text) == encoded


def test_a_vtable_ends_with_its_last_present_slot():
    assert encode_vtable(12, [4, 0, 8, 0, 0]) == struct.pack("<5H", 10, 12, 4, 0, 8)
    assert encode_vtable(4, [0, 0]) == struct.pack("<2H", 4, 4)


@pytest.mark.parametrize(
    "buffer",
    [
        b"",
        b"\0\0\0",
        b"\4\0\0\0",
        b"\xff\xff\xff\xff" + bytes(8),
        b"\4\0\0\0\xff\xff\xff\x7f",
        b"\4\0\0\0\0\0\0\x80",
        b"\x08\0\0\0" + struct.pack("<HH", 0, 4) + struct.pack("<i", 4),
        b"\x08\0\0\0" + struct.pack("<HH", 5, 4) + struct.pack("<i", 4),
        b"\x08\0\0\0" + struct.pack("<HH", 2, 4) + struct.pack("<i", 4),
    ],
    ids=[
        "empty",
        "short",
        "root outside",
        "root far outside",
        "vtable before",
        "vtable behind",
        "no size",
        "odd size",
        "small size",
    ],
)
def test_a_root_that_is_not_a_table_is_invalid(buffer):
    with pytest.raises(InvalidZtoc, match="flatbuffer"):
        TableReader.root(buffer)


def test_a_vtable_that_reaches_out_of_the_buffer_is_invalid_where_it_is_used():
    buffer = b"\x08\0\0\0" + struct.pack("<HH", 0xFFFE, 4) + struct.pack("<i", 4)
    table = TableReader.root(buffer)

    with pytest.raises(InvalidZtoc, match="flatbuffer leads to byte"):
        table.number(30_000, "q")


@pytest.mark.parametrize("method", ["string", "view", "references", "table"])
def test_a_field_that_leads_out_of_the_buffer_is_invalid(method):
    buffer = struct.pack("<IHHHHiI", 12, 6, 8, 4, 0, 8, 0xFFFF_FFF0)

    with pytest.raises(InvalidZtoc):
        getattr(TableReader.root(buffer), method)(0)


@pytest.mark.parametrize("code", ["b", "i", "I", "q"])
def test_a_number_outside_the_buffer_is_invalid(code):
    buffer = struct.pack("<IHHHHi", 12, 6, 8, 5000, 0, 8)

    with pytest.raises(InvalidZtoc, match="leads to byte 5012, but has 16"):
        TableReader.root(buffer).number(0, code)


@pytest.mark.parametrize("at", [-1, 13, 1000])
def test_a_reference_is_read_only_inside_the_buffer(at):
    with pytest.raises(InvalidZtoc, match=f"leads to byte {at}, but has 16"):
        read_reference(bytes(16), at)


@pytest.mark.parametrize(("count", "element_bytes"), [(13, 1), (4, 4), (2**32 - 1, 4)])
def test_a_vector_must_lie_within_the_buffer(count, element_bytes):
    buffer = struct.pack("<I", count) + bytes(12)

    with pytest.raises(InvalidZtoc, match=f"reaches byte {4 + count * element_bytes} of 16"):
        read_bytes(buffer, 0, element_bytes=element_bytes)
