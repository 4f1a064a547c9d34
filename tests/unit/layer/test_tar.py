from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from soci.errors import TarError
from soci.layer.chunks import WINDOW_BYTES, Chunk
from soci.layer.tar import MAX_SPECIAL_BYTES, TarEntry, TarReader
from soci.reasons import Reason
from tests.unit.layer.tar_blocks import (
    END,
    GNU,
    USTAR,
    V7,
    entry,
    header,
    long_link,
    long_name,
    pax,
    read,
    read_one,
)

BIG_SIZE = b"\x80" + (8 << 60).to_bytes(11, "big")
SIZE_MINUS_1 = b"\xff" * 12


# --- the header's fields --------------------------------------------------------------------------------------


def test_an_entry_has_the_values_of_its_header():
    found = read_one(
        entry(
            b"abc",
            name=b"./dir/f",
            mode=0o4755,
            uid=1000,
            gid=1001,
            mtime=1_700_000_000,
            user_name=b"root",
            group_name=b"wheel",
        )
    )

    of = found.attributes
    assert (found.name, found.offset, found.size, found.pax_records) == (b"./dir/f", 512, 3, None)
    assert (of.type, of.link_name, of.mode, of.uid, of.gid) == (b"0", b"", 0o4755, 1000, 1001)
    assert (of.user_name, of.group_name, of.mtime) == (b"root", b"wheel", (1_700_000_000, 0))
    assert (of.device_major, of.device_minor) == (0, 0)


@pytest.mark.parametrize("type_", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_every_type_keeps_its_link_name_and_device_numbers(type_):
    found = read_one(header(type=type_, link_name=b"to", device_major=8, device_minor=1))

    of = found.attributes
    assert (of.type, of.link_name, of.device_major, of.device_minor) == (type_, b"to", 8, 1)


def test_a_string_ends_at_its_first_nul_or_with_its_field():
    assert read_one(header(name=b"a\0b")).name == b"a"
    found = read_one(header(name=b"n" * 100, link_name=b"a\0b", user_name=b"u" * 32, group_name=b"\0g"))

    assert found.name == b"n" * 100
    assert found.attributes.link_name == b"a"
    assert found.attributes.user_name == b"u" * 32
    assert found.attributes.group_name == b""


def test_names_are_raw_bytes_that_need_not_be_utf8():
    assert read_one(header(name=b"\xff\xfe/\xc3")).name == b"\xff\xfe/\xc3"


def test_numbers_may_be_binary_to_hold_what_octal_cannot():
    found = read_one(header(uid=b"\x80" + (3_000_000_000).to_bytes(7, "big"), mtime=b"\xff" * 11 + b"\xfe"))

    assert found.attributes.uid == 3_000_000_000
    assert found.attributes.mtime == (-2, 0)


def test_a_user_id_of_minus_one_is_kept():
    assert read_one(header(uid=b"\xff" * 8)).attributes.uid == -1


def test_a_v7_header_has_neither_owners_nor_devices_nor_a_prefix():
    found = read_one(
        header(magic=V7, user_name=b"u", group_name=b"g", device_major=b"x", device_minor=b"y", prefix=b"p")
    )

    of = found.attributes
    assert (found.name, of.user_name, of.group_name, of.device_major, of.device_minor) == (
        b"f",
        b"",
        b"",
        0,
        0,
    )


@pytest.mark.parametrize("magic", [b"ustar\0  ", b"ustar\0zz"])
def test_the_ustar_version_does_not_matter(magic):
    assert read_one(header(magic=magic, user_name=b"u", prefix=b"p")).name == b"p/f"


@pytest.mark.parametrize("magic", [b"ustar  0", b"ustar \0\0", b"USTAR\x0000"])
def test_a_magic_that_is_nearly_right_makes_a_v7_header(magic):
    found = read_one(header(magic=magic, user_name=b"u", prefix=b"p"))

    assert (found.name, found.attributes.user_name) == (b"f", b"")


def test_a_ustar_prefix_stands_before_the_name():
    assert read_one(header(prefix=b"p" * 155)).name == b"p" * 155 + b"/f"


def test_a_prefix_that_begins_with_nul_is_none():
    assert read_one(header(prefix=b"\0p")).name == b"f"


def test_a_star_prefix_is_shorter_and_its_times_must_parse():
    star: dict[str, Any] = {"star_prefix": b"p" * 131, "star_atime": 7, "star_ctime": 7, "trailer": b"tar\0"}

    assert read_one(header(**star)).name == b"p" * 131 + b"/f"
    with pytest.raises(TarError, match="bad octal number"):
        read(header(**star | {"star_ctime": b"x"}), END)


def test_a_gnu_header_has_times_where_others_have_a_prefix():
    assert read_one(header(magic=GNU, gnu_atime=7, gnu_ctime=7)).name == b"f"


def test_a_prefix_that_old_go_wrote_under_a_gnu_magic_is_used():
    assert read_one(header(magic=GNU, prefix=b"some/long/folder")).name == b"some/long/folder/f"


@pytest.mark.parametrize(
    "prefix", [b"f\xc3\xb6lder", b"\x80" + b"\1" * 20], ids=["not ASCII", "overflowing time"]
)
def test_a_prefix_under_a_gnu_magic_must_be_ascii(prefix):
    assert read_one(header(magic=GNU, prefix=prefix)).name == b"f"


@pytest.mark.parametrize("field", ["mode", "uid", "gid", "size", "mtime", "device_major", "device_minor"])
def test_a_number_that_does_not_parse_fails_the_tar(field):
    with pytest.raises(TarError, match=r"tar header at byte 512 is invalid: bad octal number b'9"):
        read(header(), header(**{field: b"9"}), END)


@pytest.mark.parametrize("field", ["mode", "uid", "gid", "size", "mtime", "device_major", "device_minor"])
def test_a_number_padded_with_spaces_parses(field):
    padded = read_one(header(**{field: b" 17 "}))

    value = padded.size if field == "size" else getattr(padded.attributes, field)
    assert value == ((15, 0) if field == "mtime" else 15)


def test_headers_that_never_repeat_use_bounded_memory():
    blocks = [header(type=b"2", uid=n, mtime=n, size=n) for n in range(10_000)]
    buffer = bytearray(WINDOW_BYTES) + blocks[0]
    reader, count = TarReader(), 0
    tracemalloc.start()
    try:
        for n, block in enumerate(blocks):
            buffer[WINDOW_BYTES:] = block
            count += len(reader.feed(Chunk(buffer, len(buffer), n * len(block))))
        kept_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert count == 10_000
    assert kept_bytes < 4_000_000


# --- the checksum ---------------------------------------------------------------------------------------------


def test_a_checksum_of_signed_bytes_counts_too():
    assert read_one(header(name=b"\xff\xfe", signed_checksum=True)).name == b"\xff\xfe"


@pytest.mark.parametrize("name", [b"plain", b"\xc3\xa9"], ids=["ASCII", "other bytes"])
def test_a_wrong_checksum_fails_the_tar_and_the_error_names_the_right_one(name):
    right = int(header(name=name)[148:154], 8)

    with pytest.raises(TarError, match=rf"at byte 512 is invalid: checksum is {right + 1}, want {right}$"):
        read(header(), header(name=name, checksum=right + 1), END)


def test_a_checksum_is_octal_alone_even_where_numbers_may_be_binary():
    block = header()
    total = int(block[148:154], 8)

    with pytest.raises(TarError, match="bad octal number"):
        read(header(checksum=b"\x80" + total.to_bytes(7, "big")), END)


def test_a_wrong_checksum_is_found_although_it_is_right_modulo_65521():
    """Adler-32 counts modulo this prime. Most headers are checked by Adler-32."""
    fields = {"name": b"\xff" * 100, "link_name": b"\xff" * 100, "prefix": b"\xff" * 155}
    right = int(header(**fields)[148:154], 8)

    assert read_one(header(**fields)).name.endswith(b"\xff" * 100)
    with pytest.raises(TarError, match=f"checksum is {right - 65_521}, want {right}|checksum is {right}"):
        read_one(header(**fields, checksum=b"%06o\0 " % (right - 65_521)))


@pytest.mark.parametrize("form", [b"%06o\0 ", b"%07o\0", b"%8o", b"  %o"])
def test_a_checksum_may_be_padded_any_way(form):
    total = int(header()[148:154], 8)

    assert read_one(header(checksum=form % total)).name == b"f"


def test_swapped_bytes_pass_since_the_checksum_is_a_sum():
    assert read_one(header(name=b"ab", checksum=int(header(name=b"ba")[148:154], 8))).name == b"ab"


# --- data, padding and sizes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 100_000])
def test_the_next_header_follows_the_padded_data(size):
    first, second = read(entry(b"x" * size), entry(b"y", name=b"g"), END).entries

    assert (first.offset, first.size) == (512, size)
    assert second.offset == 512 + -(-size // 512) * 512 + 512


@pytest.mark.parametrize("type_", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_a_type_without_data_keeps_its_declared_size(type_):
    first, second = read(header(type=type_, size=700), header(name=b"g"), END).entries

    assert (first.size, second.offset) == (700, 1024)


def test_a_link_may_have_a_negative_size_since_it_has_no_data():
    assert read_one(header(type=b"1", size=SIZE_MINUS_1)).size == -1


@pytest.mark.parametrize("type_", [b"0", b"\0", b"x", b"L", b"7"])
def test_a_negative_size_of_data_fails_the_tar(type_):
    with pytest.raises(TarError, match="at byte 0 is invalid: negative size -1"):
        read(header(type=type_, size=SIZE_MINUS_1), END)


def test_a_negative_size_fails_the_tar_even_if_a_pax_record_corrects_it():
    with pytest.raises(TarError, match="negative size -1"):
        read(pax({b"size": b"0"}), header(size=SIZE_MINUS_1), END)


@pytest.mark.parametrize(("name", "type_"), [(b"d/", b"5"), (b"d", b"0"), (b"d/e", b"0")])
def test_the_old_type_nul_is_a_directory_if_the_name_ends_with_a_slash(name, type_):
    assert read_one(header(type=b"\0", name=name)).attributes.type == type_


def test_a_directory_of_the_old_type_has_no_data():
    first, second = read(header(type=b"\0", name=b"d/", size=512), header(name=b"g"), END).entries

    assert (first.attributes.type, first.size, second.offset) == (b"5", 512, 1024)


def test_the_name_that_decides_on_the_old_type_is_the_final_one():
    assert read_one(pax({b"path": b"long/"}), header(type=b"\0", name=b"short")).attributes.type == b"5"


def test_a_regular_file_may_have_a_trailing_slash():
    found = read_one(entry(b"x", name=b"odd/"))

    assert (found.name, found.attributes.type) == (b"odd/", b"0")


# --- headers that change the next entry -----------------------------------------------------------------------


def test_pax_records_override_the_header():
    records = {
        b"path": b"long/name",
        b"linkpath": b"long/link",
        b"uname": b"\xc3\xa9",
        b"gname": b"g2",
        b"uid": b"3000000000",
        b"gid": b"-1",
        b"mtime": b"-1.5",
        b"comment": b"x",
    }
    found = read_one(pax(records), header(uid=1, gid=1, mtime=9, user_name=b"u", group_name=b"g"))

    of = found.attributes
    assert (found.name, of.link_name, of.user_name, of.group_name) == (
        b"long/name",
        b"long/link",
        b"\xc3\xa9",
        b"g2",
    )
    assert (of.uid, of.gid, of.mtime) == (3_000_000_000, -1, (-2, 500_000_000))
    assert found.pax_records == records


def test_a_pax_size_gives_the_end_of_the_data():
    first, second = read(pax({b"size": b"600"}), header(size=1), bytes(1024), header(name=b"g"), END).entries

    assert (first.size, first.offset, second.name) == (600, 1536, b"g")


def test_empty_pax_values_change_nothing_but_are_kept():
    records = dict.fromkeys(
        (b"path", b"linkpath", b"uname", b"gname", b"uid", b"gid", b"size", b"mtime"), b""
    )
    found = read_one(
        pax(records), header(uid=5, gid=6, mtime=7, user_name=b"u", group_name=b"g", link_name=b"l")
    )

    of = found.attributes
    assert (found.name, of.link_name, of.user_name, of.group_name) == (b"f", b"l", b"u", b"g")
    assert (of.uid, of.gid, of.mtime, found.size) == (5, 6, (7, 0), 0)
    assert found.pax_records == records


def test_a_pax_header_without_records_leaves_an_empty_map():
    assert read_one(pax({}), header()).pax_records == {}


def test_pax_records_apply_to_one_entry():
    first, second = read(pax({b"uname": b"x"}), header(), header(name=b"g"), END).entries

    assert (first.attributes.user_name, second.attributes.user_name) == (b"x", b"")
    assert second.pax_records is None


def test_a_second_pax_header_replaces_the_first():
    found = read_one(pax({b"path": b"one", b"comment": b"c"}), pax({b"uname": b"u"}), header())

    assert (found.name, found.attributes.user_name, found.pax_records) == (b"f", b"u", {b"uname": b"u"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"uid", b"x"),
        (b"gid", b"1.5"),
        (b"size", b"0x10"),
        (b"mtime", b"now"),
        (b"atime", b"1."),
        (b"ctime", b"-"),
    ],
)
def test_an_unused_pax_number_must_parse(key, value):
    parses = value == b"1."

    if parses:
        assert read_one(pax({key: value}), header()).pax_records == {key: value}
    else:
        with pytest.raises(TarError, match=f"pax record {key.decode()} is no"):
            read(pax({key: value}), header(), END)


def test_a_negative_pax_size_fails_the_tar():
    with pytest.raises(TarError, match="negative size -5"):
        read(pax({b"size": b"-5"}), header(), END)


def test_a_bad_pax_record_is_reported_with_its_position():
    with pytest.raises(
        TarError, match=r"pax header that ends at byte 518 is invalid: bad pax record b'9 a=b"
    ):
        read(pax(b"9 a=b\n"), header(), END)


def test_a_gnu_long_name_wins_over_the_pax_path_in_either_order():
    path, name = pax({b"path": b"from-pax"}), long_name(b"from-gnu")

    assert [read_one(*order, header()).name for order in ((path, name), (name, path))] == [b"from-gnu"] * 2


def test_a_gnu_long_link_wins_over_the_pax_linkpath():
    found = read_one(
        pax({b"linkpath": b"from-pax"}), long_link(b"l" * 300), header(type=b"2", link_name=b"short")
    )

    assert found.attributes.link_name == b"l" * 300


def test_a_long_link_leaves_the_name_alone_and_a_long_name_the_link():
    linked = read_one(long_link(b"l" * 200), header(type=b"2", name=b"short", link_name=b"cut"))
    named = read_one(long_name(b"n" * 200), header(type=b"2", name=b"cut", link_name=b"short"))

    assert (linked.name, linked.attributes.link_name) == (b"short", b"l" * 200)
    assert (named.name, named.attributes.link_name) == (b"n" * 200, b"short")


def test_long_names_apply_to_one_entry():
    first, second = read(
        long_name(b"n" * 200), long_link(b"l" * 200), header(), header(name=b"g"), END
    ).entries

    assert (first.name, first.attributes.link_name) == (b"n" * 200, b"l" * 200)
    assert (second.name, second.attributes.link_name) == (b"g", b"")


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"a\0b", b"a"), (b"no-nul", b"no-nul"), (b"", b"f"), (b"\0a", b"f")],
    ids=["cut", "whole", "empty", "NUL first"],
)
def test_a_long_name_ends_at_its_first_nul_and_an_empty_one_is_none(content, name):
    assert read_one(entry(content, type=b"L"), header()).name == name


def test_the_last_of_several_long_names_counts():
    assert read_one(long_name(b"one"), long_name(b"two"), header()).name == b"two"


@pytest.mark.parametrize("type_", [b"x", b"L", b"K"])
def test_an_extended_header_may_be_a_mebibyte_long_but_not_longer(type_):
    content = b"%d a=" % MAX_SPECIAL_BYTES
    content += b"b" * (MAX_SPECIAL_BYTES - len(content) - 1) + b"\n"

    assert read_one(entry(content, type=type_), header()).offset == 512 + MAX_SPECIAL_BYTES + 512
    with pytest.raises(TarError, match=f"extended header of {MAX_SPECIAL_BYTES + 1} bytes, at most"):
        read(header(type=type_, size=MAX_SPECIAL_BYTES + 1), END)


# --- entries that a zTOC cannot express -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "reason", "detail"),
    [
        (b"g", Reason.GLOBAL_PAX_HEADER, "entry f"),
        (b"S", Reason.SPARSE_FILE, "entry f"),
        (b"7", Reason.UNSUPPORTED_ENTRY_TYPE, "type b'7', entry f"),
        *(
            (bytes((t,)), Reason.UNSUPPORTED_ENTRY_TYPE, f"type {bytes((t,))!r}, entry f")
            for t in b"VMDNAXI8\xff"
        ),
    ],
)
def test_other_types_leave_the_layer_out(type_, reason, detail):
    entries, left_out, _ = read(header(name=b"first"), header(type=type_), header(name=b"behind"), END)

    assert [found.name for found in entries] == [b"first"]
    assert left_out is not None
    assert (left_out.reason, left_out.detail) == (reason, detail)


@pytest.mark.parametrize(
    "records",
    [
        {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0"},
        {b"GNU.sparse.major": b"0", b"GNU.sparse.minor": b"1"},
        {b"GNU.sparse.major": b"0", b"GNU.sparse.minor": b"0"},
        {b"GNU.sparse.map": b"0,1"},
    ],
    ids=["1.0", "0.1", "0.0", "map alone"],
)
def test_a_sparse_file_leaves_the_layer_out(records):
    _, left_out, _ = read(pax({b"GNU.sparse.name": b"holes", **records}), header(), END)

    assert left_out is not None
    assert (left_out.reason, left_out.detail) == (Reason.SPARSE_FILE, "entry holes")


@pytest.mark.parametrize(
    "records",
    [
        {b"GNU.sparse.major": b"2", b"GNU.sparse.minor": b"0", b"GNU.sparse.map": b"0,1"},
        {b"GNU.sparse.map": b""},
        {b"GNU.sparse.name": b"n", b"GNU.sparse.size": b"1"},
    ],
    ids=["unknown version", "empty map", "no map"],
)
def test_records_that_only_look_like_those_of_a_sparse_file_are_just_kept(records):
    assert read_one(pax(records), header()).pax_records == records


@pytest.mark.parametrize("piece_bytes", [512, 1 << 20])
def test_reading_ends_at_the_entry_that_leaves_the_layer_out(piece_bytes):
    _, left_out, tar_bytes = read(header(type=b"7"), b"no header at all" * 100, piece_bytes=piece_bytes)

    assert left_out is not None
    assert tar_bytes == 512 + 1600


def test_a_very_long_name_is_shortened_in_the_detail():
    records = {b"path": b"n" * 5000, b"GNU.sparse.map": b"0,1"}

    _, left_out, _ = read(pax(records), header(), END)

    assert left_out is not None
    assert len(left_out.detail) < 300
    assert left_out.detail.endswith("nnn...")


# --- the end --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "tar_bytes"),
    [
        (b"", 512),
        (bytes(512), 1024),
        (bytes(1024), 1536),
        (bytes(10_240), 1536),
        (bytes(1024) + b"junk", 1536),
        (bytes(1024) + b"j" * 600, 1536),
    ],
    ids=["none", "one zero block", "two", "padding to a record", "a bit of junk", "a block of junk"],
)
def test_a_tar_may_end_in_several_ways_and_counts_up_to_the_second_zero_block(end, tar_bytes):
    entries, _, counted = read(header(), end)

    assert len(entries) == 1
    assert counted == tar_bytes


def test_an_empty_stream_is_an_empty_tar():
    assert read() == ([], None, 0)


def test_the_padding_of_the_last_entry_may_be_cut_short():
    assert read(header(size=3), b"abc").tar_bytes == 515


def test_the_data_of_the_last_entry_may_not_be_cut_short():
    with pytest.raises(TarError, match="data should reach byte 515, the stream ends at 514"):
        read(header(size=3), b"ab")


@pytest.mark.parametrize("size", [BIG_SIZE[:4] + b"\xff" * 8, b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7])
def test_an_absurd_size_means_missing_data(size):
    with pytest.raises(TarError, match=r"cut short|needs more than 63 bits"):
        read(header(size=size), END)


def test_an_extended_header_may_not_be_cut_short():
    with pytest.raises(TarError, match="data should reach byte 612"):
        read(header(type=b"L", size=100), b"name")


def test_an_extended_header_may_end_the_tar():
    assert read(long_name(b"n")) == ([], None, 1024)


@pytest.mark.parametrize("zeros", [0, 512], ids=["a header", "a header after a zero block"])
def test_a_header_may_not_be_cut_short(zeros):
    with pytest.raises(TarError, match=f"cut short in the header at byte {512 + zeros}"):
        read(header(), bytes(zeros), header()[:100])


def test_a_single_zero_block_may_only_stand_at_the_end():
    with pytest.raises(TarError, match="tar header at byte 1024 follows a single zero block"):
        read(header(), bytes(512), header(), END)


def test_a_zero_block_may_come_first():
    assert read(bytes(1024), header()) == ([], None, 1024)


# --- pieces ---------------------------------------------------------------------------------------------------

MIXED = (
    pax({b"path": b"p" * 300, b"mtime": b"1.25"}),
    entry(b"a" * 1300),
    long_name(b"l" * 700),
    long_link(b"k" * 600),
    header(type=b"2"),
    entry(b"b" * 40_000, name=b"\xff", magic=USTAR),
    header(type=b"5", name=b"d/"),
    END,
)


def plain(found: TarEntry) -> tuple[object, ...]:
    of = found.attributes
    return (*found[:3], of.type, of.link_name, of.mode, of.uid, of.user_name, of.mtime, found.pax_records)


@pytest.mark.parametrize("piece_bytes", [1, 7, 511, 512, 513, 1000, 40_000])
def test_pieces_of_any_size_give_the_same_entries(piece_bytes):
    whole = read(*MIXED)

    pieces = read(*MIXED, piece_bytes=piece_bytes)

    assert [plain(found) for found in pieces.entries] == [plain(found) for found in whole.entries]
    assert pieces.tar_bytes == whole.tar_bytes


def test_more_headers_than_the_caches_hold_are_read_right():
    blocks = [header(name=b"f", mtime=n, uid=n % 7) for n in range(5000)]

    entries = read(*blocks, *blocks, END).entries

    assert [found.attributes.mtime[0] for found in entries] == [*range(5000), *range(5000)]
