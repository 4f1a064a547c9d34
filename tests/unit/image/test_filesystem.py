from __future__ import annotations

import pytest

from soci.errors import NotInImage
from soci.image.filesystem import MAX_LINK_HOPS, FileSystem, Node
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.model import FileEntry
from tests.builders import (
    Member,
    directory,
    file,
    hardlink,
    index_layer,
    opaque,
    special,
    symlink,
    tar_of,
    whiteout,
)


def image(*layers: list[Member]) -> FileSystem:
    return FileSystem.of([decode_ztoc(index_layer(tar_of(*members)).ztoc).files for members in layers])


def entry_in(node: Node) -> FileEntry:
    assert node.entry is not None
    return node.entry


def data_of(node: Node) -> FileEntry:
    assert node.data is not None
    return node.data


def paths(files: FileSystem) -> list[str]:
    return [str(node) for node in files.walk()]


def layer_of(files: FileSystem, path: str, **options) -> int:
    return files.lookup(path.encode(), **options).layer


def test_files_of_all_layers_are_seen_in_order_of_their_names():
    files = image([file("b/y"), file("a")], [file("b/x"), file("c")])

    assert paths(files) == ["/a", "/b", "/b/x", "/b/y", "/c"]


@pytest.mark.parametrize("name", ["etc/app", "./etc/app", "/etc/app", "etc//app", "etc/./x/../app"])
def test_a_file_is_found_however_its_name_is_spelled(name):
    files = image([file(name, b"x")])

    assert data_of(files.lookup(b"etc/app")).uncompressed_size == 1
    assert files.lookup(b"/etc//app").path == b"/etc/app"


def test_a_directory_that_only_its_content_implies_has_no_entry():
    node = image([file("a/b/c")]).lookup(b"/a/b")

    assert (node.type, node.entry) == ("dir", None)


def test_an_implied_directory_keeps_the_attributes_of_a_lower_layer():
    node = image([directory("a", mode=0o700)], [file("a/b")]).lookup(b"/a")

    assert (entry_in(node).mode, node.layer) == (0o700, 0)


def test_the_upper_layer_wins():
    files = image([file("a", b"old"), file("b", b"old")], [file("a", b"newer")])

    assert layer_of(files, "a") == 1
    assert data_of(files.lookup(b"a")).uncompressed_size == 5
    assert layer_of(files, "b") == 0


def test_the_later_of_two_entries_in_one_layer_wins():
    files = image([file("a", b"1"), file("./a", b"two")])

    assert data_of(files.lookup(b"a")).uncompressed_size == 3


def test_a_whiteout_deletes_a_file_of_a_lower_layer():
    assert paths(image([file("a"), file("d/b"), file("d/c")], [whiteout("a"), whiteout("d/b")])) == [
        "/d",
        "/d/c",
    ]


def test_a_whiteout_deletes_a_whole_directory():
    assert paths(image([file("d/b"), file("d/e/c"), file("x")], [whiteout("d")])) == ["/x"]


def test_a_whiteout_does_not_touch_its_own_layer():
    assert paths(image([file("a/old")], [file("a/new"), whiteout("a")])) == ["/a", "/a/new"]


def test_a_deleted_file_can_come_back():
    files = image([file("a")], [whiteout("a")], [file("a")])

    assert layer_of(files, "a") == 2


def test_an_opaque_directory_hides_the_content_of_lower_layers():
    files = image([file("d/old"), file("d/e/old"), file("x")], [file("d/new"), opaque("d"), file("d/e/new")])

    assert paths(files) == ["/d", "/d/e", "/d/e/new", "/d/new", "/x"]


def test_a_directory_entry_after_the_opaque_mark_keeps_it():
    assert paths(image([file("d/old")], [opaque("d"), directory("d")])) == ["/d"]


def test_an_opaque_root_hides_all_lower_layers():
    assert paths(image([file("a"), file("b/c")], [file(".wh..wh..opq"), file("d")])) == ["/d"]


def test_marks_are_no_files_of_the_image():
    files = image([whiteout("a"), opaque("d"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs")])

    assert paths(files) == ["/d"]


def test_a_file_replaces_a_directory_tree():
    files = image([file("a/b/c")], [file("a")])

    assert paths(files) == ["/a"]


def test_a_directory_replaces_a_file():
    assert paths(image([file("a")], [file("a/b")])) == ["/a", "/a/b"]


def test_a_directory_replaces_a_file_of_its_own_layer():
    assert paths(image([file("a"), file("a/b")])) == ["/a", "/a/b"]


def test_a_directory_listed_twice_keeps_its_content():
    assert paths(image([directory("a"), file("a/b"), directory("a", mode=0o711)])) == ["/a", "/a/b"]


def test_a_hard_link_has_the_content_of_its_target():
    node = image([file("a", b"abc"), hardlink("d/b", "a"), hardlink("c", "./d/b")]).lookup(b"c")

    assert (entry_in(node).name, node.type) == (b"c", "reg")
    assert (data_of(node).name, data_of(node).uncompressed_size) == (b"a", 3)


def test_a_hard_link_keeps_the_content_that_its_target_had():
    files = image([file("a", b"abc"), hardlink("b", "a"), file("a", b"other")], [whiteout("a")])

    assert data_of(files.lookup(b"b")).uncompressed_size == 3


def entry_of(member: Member):
    """An entry that no zTOC could hold, as a streamed layer gives it."""
    kind = decode_ztoc(index_layer(tar_of(file("x"))).ztoc).files[0]
    types = {b"0": "reg", b"1": "hardlink"}
    return kind._replace(
        name=member.info.name.encode(), type=types[member.info.type], link_name=member.info.linkname.encode()
    )


def test_a_hard_link_can_lead_to_a_lower_layer():
    node = FileSystem.of([[entry_of(file("a"))], [entry_of(hardlink("b", "a"))]]).lookup(b"b")

    assert (node.layer, node.data_layer, data_of(node).name) == (1, 0, b"a")


@pytest.mark.parametrize("target", ["b", "nowhere", "/", ""])
def test_a_hard_link_to_nothing_has_no_content(target):
    node = FileSystem.of([[entry_of(hardlink("b", target))]]).lookup(b"b")

    assert (node.type, node.data) == ("hardlink", None)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("app", "/opt/app"),
        ("/opt/app", "/opt/app"),
        ("../opt/./app", "/opt/app"),
        ("../../../opt/app", "/opt/app"),
    ],
)
def test_a_symbolic_link_is_followed_when_asked_for(target, found):
    files = image([file("opt/app"), symlink("opt/link", target)])

    assert str(files.lookup(b"opt/link")) == found
    assert files.lookup(b"opt/link", follow=False).type == "symlink"


def test_links_on_the_way_are_always_followed():
    files = image([symlink("lib", "usr/lib"), symlink("usr/lib/x", "y")], [file("usr/lib/y")])

    assert str(files.lookup(b"/lib/x", follow=False)) == "/usr/lib/x"
    assert layer_of(files, "/lib/x") == 1


def test_a_parent_of_a_link_is_that_of_its_target():
    files = image([file("a/b/c"), file("a/d"), symlink("link", "a/b")])

    assert str(files.lookup(b"link/../d")) == "/a/d"


def test_nothing_lies_above_the_root():
    files = image([file("etc/passwd"), symlink("out", "../../../etc/passwd")])

    assert str(files.lookup(b"/../../etc/passwd")) == "/etc/passwd"
    assert str(files.lookup(b"out")) == "/etc/passwd"


def test_links_in_a_circle_are_an_error_and_not_a_loop():
    files = image([symlink("a", "b"), symlink("b", "a"), symlink("c", "c/x")])

    for name in (b"a", b"a/x", b"c"):
        with pytest.raises(NotInImage, match="symbolic links"):
            files.lookup(name)


def test_as_many_links_as_linux_follows_are_followed():
    links = [symlink(f"l{n}", f"l{n + 1}") for n in range(MAX_LINK_HOPS + 1)]
    files = image([*links, file(f"l{MAX_LINK_HOPS + 1}")])

    assert files.lookup(b"l1").type == "reg"
    with pytest.raises(NotInImage, match="more than 40"):
        files.lookup(b"l0")


def test_what_is_missing_is_named():
    files = image([file("a/b"), symlink("s", "nowhere/x")])

    with pytest.raises(NotInImage, match=r"a/c/d: the image has no /a/c"):
        files.lookup(b"a/c/d")
    with pytest.raises(NotInImage, match=r"/a/b is no directory"):
        files.lookup(b"a/b/c")
    with pytest.raises(NotInImage, match=r"s: the image has no /nowhere"):
        files.lookup(b"s")


def test_a_name_that_is_no_text_is_shown_with_escapes():
    with pytest.raises(NotInImage, match=r"a\\xff: the image has no /a\\xff"):
        image([]).lookup(b"a\xff")


def test_a_directory_is_listed_by_name_and_a_file_as_itself():
    files = image([file("d/b"), directory("d/a"), symlink("link", "d")])

    assert [str(node) for node in files.list(b"d")] == ["/d/a", "/d/b"]
    assert [str(node) for node in files.list(b"link")] == ["/d/a", "/d/b"]
    assert [str(node) for node in files.list(b"d/b")] == ["/d/b"]
    assert [str(node) for node in files.list(b"/")] == ["/d", "/link"]
    assert image([]).list(b"/") == ()


def test_the_root_has_the_attributes_that_its_entry_gives():
    assert entry_in(image([directory("./", mode=0o711), file("./a")]).lookup(b"/")).mode == 0o711


def test_the_root_stays_a_directory():
    assert paths(image([special("/", b"0"), file("a")])) == ["/a"]


def test_a_path_that_linux_could_not_open_is_not_shown():
    assert paths(image([file("a/" * 3000 + "b"), file("c")])) == ["/c"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/usr/lib/*.so", ["/usr/lib/a.so", "/usr/lib/b.so"]),
        ("usr/*/a.so", ["/usr/lib/a.so"]),
        ("*.so", []),
        ("**/*.so", ["/usr/lib/a.so", "/usr/lib/b.so", "/usr/lib/x/c.so"]),
        ("/usr/**/c.so", ["/usr/lib/x/c.so"]),
        ("/usr/lib/**/c.so", ["/usr/lib/x/c.so"]),
        ("/usr/lib/x/**", ["/usr/lib/x", "/usr/lib/x/c.so"]),
        ("**/**/**/c.so", ["/usr/lib/x/c.so"]),
        ("/usr/lib/[!b].so", ["/usr/lib/a.so"]),
        ("/usr/lib/?.so", ["/usr/lib/a.so", "/usr/lib/b.so"]),
        ("/lib/*.so", ["/usr/lib/a.so", "/usr/lib/b.so"]),
        ("/l*/a.so", ["/usr/lib/a.so"]),
        ("/lib", ["/lib"]),
        ("/lib/x/../a.so", ["/usr/lib/a.so"]),
        ("/loop/*", []),
        ("/", ["/"]),
        ("/usr/lib/a.so/*", []),
        ("/nowhere", []),
    ],
)
def test_a_pattern_finds_files(pattern, found):
    files = image(
        [file("usr/lib/b.so"), file("usr/lib/a.so"), file("usr/lib/gone.so"), symlink("lib", "usr/lib")],
        [file("usr/lib/x/c.so"), whiteout("usr/lib/gone.so"), symlink("loop", "loop")],
    )

    assert [str(node) for node in files.glob(pattern.encode())] == found


def test_a_star_across_directories_does_not_follow_links():
    files = image([file("a/x"), symlink("a/self", "."), symlink("b", "a")])

    assert [str(node) for node in files.glob(b"**/x")] == ["/a/x"]
    assert [str(node) for node in files.glob(b"/b/**")] == ["/a", "/a/self", "/a/x"]
