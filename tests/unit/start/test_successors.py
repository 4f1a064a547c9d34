from __future__ import annotations

import pytest

from soci.image.filesystem import FileSystem
from soci.start.profile import FileRead, StartProfile, make_profile
from soci.start.successors import find_successors, with_successors
from soci.ztoc.decode import decode_files
from tests.builders import Member, file, index_layer, symlink, tar_of


def tree(*members: Member) -> FileSystem:
    return FileSystem.of([tuple(decode_files(index_layer(tar_of(*members)).ztoc))])


def profile(*paths: str, size: int | None = 100) -> StartProfile:
    return make_profile(
        [
            FileRead(path=path.encode(), first_ms=ms, last_ms=ms, size_bytes=size)
            for ms, path in enumerate(paths)
        ]
    )


def successor(path: str, *members: Member, size: int | None = 100) -> str | None:
    found = find_successors(profile(path, size=size), [path.encode()], tree(*members))
    return found[path.encode()].path.decode() if found else None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/lib/libopenblas-6c00b77a.so", "/lib/libopenblas-9a1c22ee.so"),
        ("/lib/libstdc++.so.6.0.30", "/lib/libstdc++.so.6.0.31"),
        ("/lib/libicudata.so.72.1", "/lib/libicudata.so.74"),
        ("/opt/app-1.4.2/lib/main.js", "/opt/app-1.4.3/lib/main.js"),
        ("/jvm/jdk-17.0.8+7/lib/modules", "/jvm/jdk-17.0.9_11/lib/modules"),
        ("/v1/lib-1.so", "/v2/lib-2.so"),
        ("/app/main.0123abcd.js", "/app/main.4567cdef.js"),
    ],
)
def test_a_file_whose_name_has_another_version_or_hash_is_found(before: str, after: str) -> None:
    assert successor(before, file(after[1:], b"x" * 120)) == after


@pytest.mark.parametrize(
    ("before", "members"),
    [
        ("/lib/a-1.so", [file("lib/a-2.so", b"x" * 100), file("lib/a-3.so", b"x" * 100)]),
        ("/lib/a-1.so", [file("lib/b-1.so", b"x" * 100)]),
        ("/lib/a-1.so", [file("usr/lib/a-2.so", b"x" * 100)]),
        ("/lib/a.so", [file("lib/b.so", b"x" * 100)]),
        ("/lib/a-1.so", [file("lib/a-2.so", b"x" * 49)]),
        ("/lib/a-1.so", [file("lib/a-2.so", b"x" * 201)]),
        ("/lib/a-1.so", [file("lib/a-2.so/b", b"x" * 100)]),
        ("/lib-1/a", [file("lib-2", b"x" * 100)]),
    ],
    ids=["two", "another name", "elsewhere", "no number", "small", "large", "directory", "no directory"],
)
def test_where_there_is_a_choice_or_a_doubt_none_is_taken(before: str, members: list[Member]) -> None:
    assert successor(before, *members) is None


def test_without_a_known_size_any_size_will_do() -> None:
    assert successor("/lib/a-1.so", file("lib/a-2.so", b"x" * 9), size=None) == "/lib/a-2.so"


def test_a_file_that_the_start_reads_anyway_is_no_successor() -> None:
    found = find_successors(
        profile("/lib/a-1.so", "/lib/a-2.so"), [b"/lib/a-1.so"], tree(file("lib/a-2.so", b"x" * 100))
    )

    assert found == {}


def test_a_file_stands_for_one_only() -> None:
    found = find_successors(
        profile("/lib/a-1.so", "/lib/a-2.so"),
        [b"/lib/a-1.so", b"/lib/a-2.so"],
        tree(file("lib/a-3.so", b"x" * 100)),
    )

    assert list(found) == [b"/lib/a-1.so"]


def test_links_on_the_way_are_followed() -> None:
    members = [symlink("opt", "usr/opt"), file("usr/opt/app-2/x", b"x" * 100)]

    assert successor("/opt/app-1/x", *members) == "/usr/opt/app-2/x"


def test_a_successor_takes_the_place_and_time_of_the_file() -> None:
    before = profile("/a", "/lib/b-1.so", "/c")
    found = find_successors(before, [b"/lib/b-1.so"], tree(file("lib/b-2.so", b"x" * 100)))

    after = with_successors(before, found)

    assert [(one.path, one.first_ms) for one in after.files] == [(b"/a", 0), (b"/lib/b-2.so", 1), (b"/c", 2)]
    assert with_successors(before, {}) is before


def test_a_file_that_lies_very_deep_is_not_looked_for() -> None:
    assert successor("/a" * 32 + "/x-1", file("a/" * 32 + "x-2", b"x" * 100)) == "/a" * 32 + "/x-2"
    assert successor("/a" * 33 + "/x-1", file("a/" * 33 + "x-2", b"x" * 100)) is None
