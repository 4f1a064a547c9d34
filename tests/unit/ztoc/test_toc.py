from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import pytest

from soci.layer.tar import TarEntry
from soci.ztoc.toc import TocWriter
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
def test_files_with_any_numbers_present_equal_the_official_librarys(records):
    different = [
        present
        for present in EVERY_CHOICE
        if our_ztoc([tar_entry(**present, records=records)])
        != official_ztoc([tar_entry(**present, records=records)])
    ]

    assert len(EVERY_CHOICE) == 64
    assert different == []


def test_each_kind_of_file_before_each_other_kind_equals_the_official_librarys():
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
def test_random_lists_of_files_equal_the_official_librarys(seed):
    entries = random_entries(seed, seed % 15)

    assert our_ztoc(entries) == official_ztoc(entries)


@pytest.mark.parametrize("seed", range(20))
def test_random_files_that_share_attributes_equal_the_official_librarys(seed):
    entries = random_entries(seed, 60, kinds=3)

    assert our_ztoc(entries) == official_ztoc(entries)


def test_more_kinds_of_files_than_the_caches_hold_equal_the_official_librarys():
    kinds = [attributes(uid=n, mode=n % 3) for n in range(4_500)]
    entries = [TarEntry(b"f", 512 * (n + 1), n % 2, kinds[n % 4_500], None) for n in range(5_000)]

    assert our_ztoc(entries) == official_ztoc(entries)


def test_files_that_share_nothing_use_bounded_caches():
    entries = [TarEntry(b"f", 512 * (n + 1), 1, attributes(uid=n), None) for n in range(10_000)]
    toc = TocWriter()
    tracemalloc.start()
    try:
        toc.add(entries)
        kept_bytes = tracemalloc.get_traced_memory()[0] - toc.size_bytes
    finally:
        tracemalloc.stop()

    assert kept_bytes < 2_500_000


def test_attributes_with_very_long_names_equal_the_official_librarys():
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
def test_extended_attributes_and_opaque_markers_are_detected(entry, needs):
    toc = TocWriter()
    toc.add([tar_entry(b"before"), entry, tar_entry(b"behind")])
    toc.finish(0)

    assert toc.needs_xattrs is needs
