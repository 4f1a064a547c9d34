from __future__ import annotations

import random
import struct

import pytest

from soci.errors import InvalidZtoc
from soci.oci.compression import Compression
from soci.ztoc.decode import decode_compression_info, decode_files, decode_ztoc, read_text, scan_files
from soci.ztoc.flatbuffer import BackwardWriter, Field
from soci.ztoc.model import FileEntry
from tests.builders import directory, file, gzip_of, index_layer, symlink, tar_of, text
from tests.unit.ztoc.official import gzip_ztoc, official_ztoc, plain_ztoc, random_entries, tar_entry

LAYER = gzip_of(
    tar_of(
        directory("d/", uid=5),
        file("d/a", text(70_000), mtime=1.5, pax={"SCHILY.xattr.user.k": "v"}),
        symlink("d/b", "a", gid=7),
        file("d/" + "long" * 60),
    )
)
ZTOC = bytes(index_layer(LAYER).ztoc)


def test_a_decoded_ztoc_has_all_fields_of_its_files():
    ztoc = decode_ztoc(ZTOC)

    assert [entry.name for entry in ztoc.files] == [b"d/", b"d/a", b"d/b", b"d/" + b"long" * 60]
    assert [entry.type for entry in ztoc.files] == ["dir", "reg", "symlink", "reg"]
    assert ztoc.files[1] == FileEntry(
        name=b"d/a",
        type="reg",
        uncompressed_offset=2048,
        uncompressed_size=70_000,
        link_name=b"",
        mode=0o644,
        uid=0,
        gid=0,
        user_name=b"",
        group_name=b"",
        mod_time="1970-01-01T00:00:01.5Z",
        device_major=0,
        device_minor=0,
        xattrs=((b"SCHILY.xattr.user.k", b"v"), (b"mtime", b"1.5")),
    )


@pytest.mark.parametrize("seed", range(20))
def test_any_table_of_contents_reads_back(seed):
    entries = random_entries(("decode", seed), 12)
    files = list(decode_files(official_ztoc(entries, checkpoints=b"")))

    for entry, found in zip(entries, files, strict=True):
        of = entry.attributes
        assert (found.name, found.uncompressed_offset, found.uncompressed_size) == entry[:3]
        assert (found.link_name, found.user_name, found.group_name) == (
            of.link_name,
            of.user_name,
            of.group_name,
        )
        assert (found.mode, found.device_major, found.device_minor) == (
            of.mode,
            of.device_major,
            of.device_minor,
        )
        assert (found.uid, found.gid) == (of.uid & 0xFFFF_FFFF, of.gid & 0xFFFF_FFFF)
        assert found.xattrs == tuple(sorted((entry.pax_records or {}).items()))


def test_the_spans_of_a_gzip_layer_share_a_byte_where_a_checkpoint_is_within_it():
    info = decode_compression_info(gzip_ztoc([(10, 0, 0), (5000, 10_000, 3), (7000, 15_000, 0)]))

    assert [(span.start, span.end) for span in info.spans] == [(10, 5000), (4999, 7000), (7000, 9000)]
    assert [(span.uncompressed_start, span.uncompressed_end) for span in info.spans] == [
        (0, 10_000),
        (10_000, 15_000),
        (15_000, 20_000),
    ]
    assert (info.algorithm, info.span_size_bytes) == (Compression.GZIP, 4096)


def test_a_ztoc_of_version_1_has_the_same_spans():
    points = [(10, 0, 0), (5000, 10_000, 3)]

    version_1 = decode_compression_info(gzip_ztoc(points, cut_first=True))

    assert version_1 == decode_compression_info(gzip_ztoc(points))


def test_the_spans_of_a_plain_layer_are_equal_except_the_last():
    info = decode_compression_info(plain_ztoc())

    assert [(span.start, span.end) for span in info.spans] == [(0, 4096), (4096, 8192), (8192, 9000)]
    assert all((span.uncompressed_start, span.uncompressed_end) == span[:2] for span in info.spans)
    assert info.checkpoints == ()


def test_an_empty_plain_layer_has_no_span():
    assert decode_compression_info(plain_ztoc(layer=0, digests=0, compressed=0)).spans == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip_ztoc([(10, 0, 0)], digests=2), "has 2 span digests, but 1 checkpoints"),
        (gzip_ztoc([(10, 0, 0), (50, 99, 0)], digests=1), "has 1 span digests, but 2 checkpoints"),
        (gzip_ztoc([]), "cannot hold 0 checkpoints"),
        (plain_ztoc(compressed=9001), "says 9000 bytes of layer, the zTOC says 9001"),
        (plain_ztoc(digests=2), "2 spans of 4096 bytes do not make 9000 bytes"),
        (plain_ztoc(digests=4), "4 spans of 4096 bytes do not make 9000 bytes"),
        (ZTOC.replace(b"0.9", b"0.8"), "version is '0.8', want '0.9'"),
        (ZTOC.replace(b"symlink", b"sym\nink"), r"entry b'd/b' has the unknown type b'sym\\nink'"),
        (ZTOC.replace(b"sha256:", b"sha257:", 1), "span digest: digest .*expected algorithm"),
        (ZTOC.replace(b"sha256:", b"sha256 ", 1), "span digest: digest .*no ':'"),
    ],
    ids=[
        "digests too many",
        "digests too few",
        "no checkpoints",
        "other size",
        "too few spans",
        "too many spans",
        "version",
        "type",
        "digest algorithm",
        "digest form",
    ],
)
def test_a_ztoc_that_contradicts_itself_is_invalid(data, message):
    with pytest.raises(InvalidZtoc, match=message):
        decode_ztoc(data)


def test_an_unknown_compression_algorithm_is_invalid():
    data = plain_ztoc()
    at = data.index(b"\x02", 0, 200)
    changed = [data[:n] + b"\x03" + data[n + 1 :] for n in range(at, 120) if data[n] == 2]
    messages = []
    for candidate in changed:
        try:
            decode_ztoc(candidate)
        except InvalidZtoc as error:
            messages.append(str(error))

    assert any("names compression algorithm 3, want 1 (gzip) or 2 (none)" in message for message in messages)


def test_the_span_count_must_be_that_of_the_digests():
    writer = BackwardWriter()
    version, digests = writer.string(b"0.9"), writer.reference_vector([])
    info = writer.table([Field(1, "i", 5), Field(2, "R", digests)], slot_count=4)
    data = writer.finish(writer.table([Field(0, "R", version), Field(5, "R", info)], slot_count=6))

    with pytest.raises(InvalidZtoc, match="has 0 span digests, but its last span is number 5"):
        decode_ztoc(data)


def test_fields_that_are_absent_are_empty_or_zero():
    writer = BackwardWriter()
    version, type_ = writer.string(b"0.9"), writer.string(b"reg")
    bare = writer.table([Field(1, "R", type_)], slot_count=14)
    toc = writer.table([Field(0, "R", writer.reference_vector([bare]))], slot_count=1)
    data = writer.finish(writer.table([Field(0, "R", version), Field(4, "R", toc)], slot_count=6))

    (row,) = scan_files(data)
    (entry,) = decode_files(data)

    assert read_text(data, row, 0) == b""
    assert entry == FileEntry(b"", "reg", 0, 0, b"", 0, 0, 0, b"", b"", "", 0, 0, ())


def test_slots_of_a_later_version_are_ignored():
    writer = BackwardWriter()
    type_, more = writer.string(b"dir"), writer.string(b"more")
    later = writer.table([Field(1, "R", type_), Field(14, "R", more), Field(15, "q", 5)], slot_count=16)
    toc = writer.table([Field(0, "R", writer.reference_vector([later]))], slot_count=1)
    data = writer.finish(writer.table([Field(4, "R", toc)], slot_count=6))

    assert [entry.type for entry in decode_files(data)] == ["dir"]


# --- hostile bytes --------------------------------------------------------------------------------------------

SMALL = bytes(index_layer(tar_of(file("a", b"x", pax={"k": "v"}), directory("d/"), file("b"))).ztoc)


def outcome(data: bytes) -> str:
    try:
        decode_ztoc(data)
    except InvalidZtoc:
        return "invalid"
    return "decoded"


def test_a_ztoc_with_any_byte_changed_is_decoded_or_invalid():
    rng = random.Random("bytes")  # noqa: S311 - repeatable on purpose
    outcomes = []
    for at in range(len(SMALL)):
        values = {0, 1, 0x7F, 0x80, 0xFF, SMALL[at] ^ 4, rng.randrange(256)}
        outcomes += [outcome(SMALL[:at] + bytes((value,)) + SMALL[at + 1 :]) for value in values]

    assert outcomes.count("invalid") > 500
    assert outcomes.count("decoded") > 500


def test_a_ztoc_cut_short_anywhere_is_decoded_or_invalid():
    outcomes = [outcome(SMALL[:length]) for length in range(len(SMALL))]

    assert set(outcomes[:-1]) == {"invalid"}
    assert outcomes[-1] == "decoded", "nobody reads the NUL behind the version"


def test_a_ztoc_with_a_field_of_four_bytes_changed_is_decoded_or_invalid():
    outcomes = set()
    for at in range(0, len(SMALL) - 3, 4):
        for value in (0, 1, 3, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, len(SMALL), len(SMALL) - at):
            outcomes.add(outcome(SMALL[:at] + struct.pack("<I", value) + SMALL[at + 4 :]))

    assert outcomes == {"invalid", "decoded"}


def file_bomb(tables: int, xattrs: int, *, name: bytes = b"") -> bytes:
    """A zTOC of many files that all share one table, one name and the same xattrs."""
    writer = BackwardWriter()
    version, type_, name_at = writer.string(b"0.9"), writer.string(b"reg"), writer.string(name)
    xattr = writer.table([], slot_count=0)
    vector = writer.reference_vector([xattr] * xattrs)
    one = writer.table([Field(0, "R", name_at), Field(1, "R", type_), Field(13, "R", vector)], slot_count=14)
    toc = writer.table([Field(0, "R", writer.reference_vector([one] * tables))], slot_count=1)
    return writer.finish(writer.table([Field(0, "R", version), Field(4, "R", toc)], slot_count=6))


@pytest.mark.parametrize(
    "bomb",
    [file_bomb(10_000, 0, name=b"n" * 40_000), file_bomb(10_000, 10_000), file_bomb(2, 200_000)],
    ids=["a long name", "many xattrs", "xattrs of few files"],
)
def test_files_that_share_too_many_strings_are_invalid(bomb):
    with pytest.raises(InvalidZtoc, match=r"strings of the zTOC overlap|xattr vector .* is larger"):
        list(decode_files(bomb))


def test_files_may_share_some_strings():
    assert len(list(decode_files(file_bomb(5, 1, name=b"n")))) == 5


def test_one_table_cannot_stand_for_thousands_of_files():
    with pytest.raises(InvalidZtoc, match="overlap"):
        list(decode_files(file_bomb(10_000, 1, name=b"")))


def test_xattrs_with_a_huge_vtable_are_cheap():
    writer = BackwardWriter()
    type_ = writer.string(b"reg")
    slots = [Field(slot, "b", 1) for slot in range(30_000)]
    xattr = writer.table(slots, slot_count=30_000)
    vector = writer.reference_vector([xattr] * 1000)
    one = writer.table([Field(1, "R", type_), Field(13, "R", vector)], slot_count=14)
    toc = writer.table([Field(0, "R", writer.reference_vector([one]))], slot_count=1)
    data = writer.finish(writer.table([Field(4, "R", toc)], slot_count=6))

    with pytest.raises(InvalidZtoc):
        list(decode_files(data))


def test_many_different_vtables_are_read_one_by_one():
    count = 3000
    writer = BackwardWriter()
    type_ = writer.string(b"reg")
    tables = []
    for number in range(count):
        slots = [Field(1, "R", type_), *(Field(14 + bit, "b", 1) for bit in range(12) if number >> bit & 1)]
        tables.append(writer.table(slots, slot_count=26))
    toc = writer.table([Field(0, "R", writer.reference_vector(tables))], slot_count=1)
    data = writer.finish(writer.table([Field(4, "R", toc)], slot_count=6))

    assert [entry.type for entry in decode_files(data)] == ["reg"] * count


@pytest.mark.parametrize(
    "vtable",
    [struct.pack("<HH", 3, 4), struct.pack("<4H", 8, 12, 4, 6), struct.pack("<3H", 6, 4, 0xFFFF)],
    ids=["too short", "overlapping fields", "field outside"],
)
def test_a_file_table_with_an_impossible_vtable_is_invalid(vtable):
    table = struct.pack("<i", len(vtable)) + bytes(8)
    toc_table = struct.pack("<HHH", 6, 8, 4) + b"\0\0"
    # root reference, root vtable and table, toc vtable and table, vector, file vtable, file table
    root = struct.pack("<H", 14) + struct.pack("<6H", 8, 0, 0, 0, 0, 4) + b"\0\0"
    parts = [struct.pack("<I", 4 + len(root)), root]
    parts += [struct.pack("<iI", len(root), 4 + len(toc_table)), toc_table]
    parts += [struct.pack("<iI", len(toc_table), 4), struct.pack("<II", 1, 4 + len(vtable)), vtable, table]

    with pytest.raises(InvalidZtoc, match=r"file (table|vtable)|fields of a file table overlap"):
        list(decode_files(b"".join(parts)))


def test_a_name_outside_the_buffer_is_invalid():
    data = official_ztoc([tar_entry(b"name")])
    (row,) = scan_files(data)
    name_at = row[0] + row[1][0]

    for distance, message in ((len(data), "has a string at byte"), (len(data) - name_at - 4, "reaches byte")):
        hostile = data[:name_at] + struct.pack("<I", distance) + data[name_at + 4 :]
        hostile = hostile[:-4] + b"\xff" * 4
        with pytest.raises(InvalidZtoc, match=message):
            list(decode_files(hostile))
