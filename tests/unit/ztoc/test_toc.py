from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from soci.layer.tar import TarEntry
from soci.ztoc.toc import TocWriter, format_time
from tests.unit.ztoc.official import attributes, official_ztoc, our_ztoc, random_entries, tar_entry

OPTIONAL = {
    "size": 7,
    "mode": 0o644,
    "uid": 1000,
    "gid": 1001,
    "device_major": 8,
    "device_minor": 1,
}
EVERY_CHOICE: list[dict[str, Any]] = [
    dict(zip(OPTIONAL, values, strict=True))
    for values in itertools.product(*((0, value) for value in OPTIONAL.values()))
]


@pytest.mark.parametrize("records", [None, {b"k": b"v"}, {b"a": b"1", b"b": b""}], ids=["no", "one", "two"])
def test_files_with_any_numbers_present_are_the_official_librarys(records):
    different = [
        present
        for present in EVERY_CHOICE
        if our_ztoc([tar_entry(**present, records=records)])
        != official_ztoc([tar_entry(**present, records=records)])
    ]

    assert len(EVERY_CHOICE) == 64
    assert different == []


def test_each_kind_of_file_before_each_other_kind_is_the_official_librarys():
    different = []
    for first, second in itertools.product(EVERY_CHOICE, EVERY_CHOICE):
        entries = [tar_entry(b"first", **first), tar_entry(b"2nd", offset=1024, **second)]
        if our_ztoc(entries) != official_ztoc(entries):
            different.append((first, second))

    assert different == []


@pytest.mark.parametrize("name_bytes", range(9))
@pytest.mark.parametrize("tool", ["", "t", "tool", "tool 12"])
def test_strings_of_any_length_keep_the_alignment_of_the_official_library(name_bytes, tool):
    entries = [tar_entry(b"n" * name_bytes, size=1), tar_entry(b"n" * name_bytes, offset=1536, uid=1)]

    assert our_ztoc(entries, tool=tool) == official_ztoc(entries, tool=tool)


@pytest.mark.parametrize("seed", range(150))
def test_random_lists_of_files_are_the_official_librarys(seed):
    entries = random_entries(seed, seed % 15)

    assert our_ztoc(entries) == official_ztoc(entries)


@pytest.mark.parametrize("seed", range(20))
def test_random_files_that_share_attributes_are_the_official_librarys(seed):
    entries = random_entries(seed, 60, kinds=3)

    assert our_ztoc(entries) == official_ztoc(entries)


def test_more_kinds_of_files_than_are_remembered_are_still_the_official_librarys():
    kinds = [attributes(uid=n, mode=n % 3) for n in range(4_500)]
    entries = [TarEntry(b"f", 512 * (n + 1), n % 2, kinds[n % 4_500], None) for n in range(5_000)]

    assert our_ztoc(entries) == official_ztoc(entries)


def test_attributes_with_very_long_names_are_the_official_librarys():
    long = attributes(type=b"2", link_name=b"l" * 5_000)
    entries = [TarEntry(b"f", 512 * (n + 1), 0, long, {b"k": b"v" * n} if n % 2 else None) for n in range(6)]

    assert our_ztoc(entries) == official_ztoc(entries)


def test_entries_may_be_added_in_any_portions():
    entries = random_entries("portions", 30)
    toc, portioned = TocWriter(), TocWriter()
    toc.add(entries)
    for at in (0, 1, 2, 9, 25):
        portioned.add(entries[at : {0: 1, 1: 2, 2: 9, 9: 25, 25: 30}[at]])
    portioned.add([])

    assert portioned.finish(8) == toc.finish(8)


def test_the_collected_size_grows_with_the_entries():
    toc = TocWriter()
    before = toc.size_bytes
    toc.add(random_entries("size", 10))

    assert before == 0
    assert toc.size_bytes > 9 * 60


@pytest.mark.parametrize(
    ("entry", "needs"),
    [
        (tar_entry(b"plain"), False),
        (tar_entry(records={b"mtime": b"1.5", b"LIBARCHIVE.xattr.user.k": b"v"}), False),
        (tar_entry(records={b"SCHILY.xattr.user.k": b"v"}), True),
        (tar_entry(records={b"SCHILY.xattr.": b""}), True),
        (tar_entry(records={b"SCHILY.acl.access": b"v"}), False),
        (tar_entry(b"dir/.wh..wh..opq"), True),
        (tar_entry(b".wh..wh..opq"), True),
        (tar_entry(b"dir/.wh..wh..opq/"), False),
        (tar_entry(b".wh.file"), False),
    ],
    ids=lambda value: value.name.decode() if isinstance(value, TarEntry) else "",
)
def test_extended_attributes_and_opaque_markers_are_noticed(entry, needs):
    toc = TocWriter()
    toc.add([tar_entry(b"before"), entry, tar_entry(b"behind")])
    toc.finish(0)

    assert toc.needs_xattrs is needs


# --- times ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "nanoseconds", "text"),
    [
        (0, 0, b"1970-01-01T00:00:00Z"),
        (1, 500_000_000, b"1970-01-01T00:00:01.5Z"),
        (1, 1, b"1970-01-01T00:00:01.000000001Z"),
        (1, 120_000_000, b"1970-01-01T00:00:01.12Z"),
        (-2, 500_000_000, b"1969-12-31T23:59:58.5Z"),
        (951_782_399, 0, b"2000-02-28T23:59:59Z"),
        (951_782_400, 0, b"2000-02-29T00:00:00Z"),
        (2**31, 0, b"2038-01-19T03:14:08Z"),
        (253_402_300_799, 999_999_999, b"9999-12-31T23:59:59.999999999Z"),
        (253_402_300_800, 0, b""),
        (-62_135_596_800, 0, b"0001-01-01T00:00:00Z"),
        (-62_135_596_801, 0, b"0000-12-31T23:59:59Z"),
        (-62_162_035_201, 0, b"0000-02-29T23:59:59Z"),
        (-62_167_219_200, 0, b"0000-01-01T00:00:00Z"),
        (-62_167_219_201, 999_999_999, b""),
        (2**63 - 1, 0, b""),
        (-(2**63), 0, b""),
        (-(2**63) - 1, 5, b""),
    ],
)
def test_a_time_is_rfc_3339_in_utc_and_empty_outside_the_years_0_to_9999(seconds, nanoseconds, text):
    assert format_time(seconds, nanoseconds) == text


def test_every_day_of_the_calendar_reads_back():
    days = range(-719_162, 2_932_896, 997)
    expected = [
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%m-%dT00:00:00Z") for day in days
    ]

    assert [format_time(day * 86_400, 0).decode()[5:] for day in days] == expected
