from __future__ import annotations

from typing import Any

import pytest

from soci.errors import InvalidZtoc
from soci.ztoc.reorder import Reordering, plan_reordering
from tests.builders import (
    Member,
    device,
    directory,
    file,
    hardlink,
    opaque,
    symlink,
    tar_of,
    whiteout,
)
from tests.unit.ztoc.reordered import entries_of, plan_for, rearranged


def plan(*members: Member, wanted: list[str], **options: Any) -> Reordering:
    return plan_for(tar_of(*members), wanted, **options)


def names(*members: Member, wanted: list[str], **options: Any) -> list[str]:
    """The names in their new order."""
    layer = tar_of(*members)
    made = plan_for(layer, wanted, **options)
    return [entry.name.decode() for entry in entries_of(rearranged(layer, made))]


TREE = (
    directory("usr/"),
    directory("usr/bin/"),
    file("usr/bin/a", b"a" * 700),
    directory("usr/lib/"),
    file("usr/lib/b", b"b"),
    file("usr/lib/c", b"c"),
)


def test_wanted_files_come_first_in_their_order_each_after_its_directories():
    assert names(*TREE, wanted=["usr/lib/c", "usr/bin/a"]) == [
        "usr/",
        "usr/lib/",
        "usr/lib/c",
        "usr/bin/",
        "usr/bin/a",
        "usr/lib/b",
    ]


def test_nothing_wanted_changes_nothing():
    made = plan(*TREE, wanted=[])
    assert made.order == tuple(range(len(TREE)))
    assert (made.moved, made.left, made.front_bytes) == (0, 0, 0)


def test_the_front_is_what_was_moved_with_its_headers_and_padding():
    made = plan(*TREE, wanted=["usr/bin/a"])
    assert (made.moved, made.front_bytes) == (3, 3 * 512 + 1024)


def test_long_names_and_pax_records_travel_with_their_entry():
    long = "d/" + "n" * 150
    layer = tar_of(
        file("first", b"1"),
        directory("d/"),
        file(long, b"x", pax={"SCHILY.xattr.user.k": "v"}),
        file("z", b"2"),
    )
    new = rearranged(layer, plan_for(layer, [long]))
    assert [entry.name.decode() for entry in entries_of(new)] == ["d/", long, "first", "z"]
    assert dict(entries_of(new)[1].xattrs)[b"SCHILY.xattr.user.k"] == b"v"


def test_the_end_of_the_archive_stays_last():
    layer = tar_of(file("a", b"1"), file("b", b"2")) + b"trailing"
    new = rearranged(layer, plan_for(layer, ["b"]))
    assert new.endswith(bytes(1024) + b"trailing")
    assert len(new) == len(layer)


def test_a_hard_link_moves_its_target_and_stays_itself():
    members = (directory("d/"), file("d/real", b"r"), hardlink("one", "d/real"), hardlink("two", "d/real"))
    assert names(file("x", b"x"), *members, wanted=["two"]) == ["d/", "d/real", "x", "one", "two"]


def test_markers_that_make_a_directory_opaque_go_with_it():
    order = names(file("x"), directory("d/"), opaque("d"), file("d/f", b"f"), wanted=["d/f"])
    assert order == ["d/", "d/.wh..wh..opq", "d/f", "x"]


def test_an_entry_of_the_root_comes_first():
    assert names(directory("./"), file("./a"), file("./b", b"1"), wanted=["./b"]) == ["./", "./b", "./a"]


def test_a_repeated_directory_moves_with_its_first_entry():
    order = names(directory("d/"), file("x"), directory("d/", mode=0o700), file("d/f", b"f"), wanted=["d/f"])
    assert order == ["d/", "d/f", "x", "d/"]


def test_a_layer_without_entries_for_its_directories_is_reordered():
    assert names(file("usr/lib/a"), file("usr/lib/b"), wanted=["usr/lib/b"]) == ["usr/lib/b", "usr/lib/a"]


STAYS = {
    "a path with two entries": ([file("f", b"1"), file("x"), file("f", b"2")], "f"),
    "a file that was a directory": ([directory("f/"), file("f", b"2")], "f"),
    "a whiteout beside the file": ([whiteout("f"), file("f", b"1")], "f"),
    "a whiteout of a directory above": ([whiteout("d"), directory("d/"), file("d/f", b"1")], "d/f"),
    "a hard link that comes before its target": ([hardlink("l", "f"), file("f", b"1")], "f"),
    "a hard link to a lower layer": ([file("x"), hardlink("f", "lower")], "f"),
    "a hard link to itself": ([file("x"), hardlink("f", "f")], "f"),
    "a hard link to a repeated file": ([file("t", b"1"), hardlink("f", "t"), file("t", b"2")], "f"),
    "a directory with its entry behind its content": (
        [file("d/g"), directory("d/"), file("d/f", b"1")],
        "d/f",
    ),
    "a directory made opaque behind its content": ([file("d/g"), opaque("d"), file("d/f", b"1")], "d/f"),
    "a whiteout": ([file("x"), whiteout("f")], ".wh.f"),
    "a device": ([file("x"), device("f")], "f"),
    "a file below a metadata folder": ([file("x"), file(".wh..wh.plnk/f", b"1")], ".wh..wh.plnk/f"),
    "a file named as a directory": ([file("x"), file("f/", b"1")], "f/"),
}


@pytest.mark.parametrize(("members", "wanted"), STAYS.values(), ids=STAYS.keys())
def test_a_file_stays_where_order_carries_meaning(members, wanted):
    made = plan(*members, file("other", b"o"), wanted=[wanted, "other"])
    assert made.left == 1
    assert made.moved == 1
    assert made.order[0] == len(members)


NOT_PLAIN = {
    "an entry below a link": [symlink("s", "d"), directory("d/"), file("s/f", b"1")],
    "an entry below a file": [file("s", b"1"), file("s/f", b"1")],
    "a name with ..": [directory("d/"), file("d/../f", b"1")],
    "a hard link below a link": [symlink("s", "d"), directory("d/"), file("d/f"), hardlink("l", "s/f")],
    "a name that no system can open": [file("n/" * 2500 + "f", b"1")],
}


@pytest.mark.parametrize("members", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_a_layer_stays_if_its_paths_may_name_other_files(members):
    made = plan(*members, file("other", b"o"), wanted=["other"])
    assert (made.moved, made.left) == (0, 1)
    assert made.order == tuple(range(len(members) + 1))


def test_a_layer_stays_if_a_directory_is_a_link_of_a_lower_layer():
    members = (file("lib/f", b"1"), file("other", b"o"))
    assert plan(*members, wanted=["other"], lower_links={b"/lib"}).moved == 0
    assert plan(*members, wanted=["other"], lower_links={b"/elsewhere"}).moved == 1


def test_a_directory_that_replaces_a_link_of_a_lower_layer_is_a_directory():
    members = (file("x"), directory("lib/"), file("lib/f", b"1"))
    assert names(*members, wanted=["lib/f"], lower_links={b"/lib"}) == ["lib/", "lib/f", "x"]


def test_the_last_file_stays_if_its_padding_is_missing():
    layer = tar_of(file("a", b"1"), file("b", b"22"), end_blocks=0)[:-510]
    made = plan_for(layer, ["b", "a"])
    assert (made.moved, made.left) == (1, 1)


def test_a_path_that_is_wanted_twice_is_moved_once():
    assert names(file("a"), file("b", b"1"), wanted=["b", "b"]) == ["b", "a"]


@pytest.mark.parametrize("offset", [0, 100, 1024])
def test_positions_that_no_tar_has_are_refused(offset):
    entries = [
        entry._replace(uncompressed_offset=offset) for entry in entries_of(tar_of(file("a"), file("b")))
    ]
    with pytest.raises(InvalidZtoc, match="cannot begin at byte"):
        plan_reordering(entries, [0], archive_bytes=4096)
