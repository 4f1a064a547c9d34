from __future__ import annotations

import hashlib

import pytest
import zstandard

from tests.builders import (
    device,
    directory,
    file,
    gzip_of,
    hardlink,
    image_of,
    layout_of,
    noise,
    opaque,
    special,
    symlink,
    tar_of,
    text,
    whiteout,
)
from tests.recipes import convert_layout, files_of
from tests.unit.cli.samples import PLATFORMS

BIG = text(3_000_000)
LAYERS = (
    gzip_of(
        tar_of(
            directory("usr"),
            directory("usr/bin"),
            file("usr/bin/sh", b"#!shell\n", mode=0o755, uid=1, gid=2, uname="u", gname="g", mtime=1),
            hardlink("usr/bin/bash", "usr/bin/sh"),
            file("usr/big", BIG),
            directory("old"),
            file("old/kept", b"gone too\n"),
            directory("var"),
            file("var/deleted", b"x"),
            file("var/replaced", b"lower\n"),
        )
    ),
    gzip_of(
        tar_of(
            symlink("bin", "usr/bin"),
            whiteout("var/deleted"),
            file("var/replaced", b"upper\n"),
            directory("old"),
            opaque("old"),
            file("old/new", b"new\n"),
            symlink("broken", "nowhere"),
            symlink("circle", "circle"),
            device("null"),
        )
    ),
    gzip_of(tar_of(file("top", b"not indexed\n"))),
)
"""The last layer is smaller than the minimum, so it has no zTOC."""


@pytest.fixture(params=["indexed", "not indexed"])
def image(tmp_path, request):
    layout = layout_of(tmp_path / "image", image_of(*LAYERS))
    if request.param == "indexed":
        convert_layout(layout, min_layer_size_bytes=len(LAYERS[2]) + 1)
        return f"oci:{layout}:latest-soci"
    return f"oci:{layout}:latest"


def names(result):
    return result.stdout.splitlines()


def test_layers_are_listed_as_one_tree(soci_index, image):
    assert names(soci_index("ls", image)) == [
        *("bin", "broken", "circle", "null", "old/", "top", "usr/", "var/"),
    ]


@pytest.mark.parametrize(
    ("path", "listed"),
    [
        ("/var", ["replaced"]),
        ("var/", ["replaced"]),
        ("/old", ["new"]),
        ("/bin", ["bash", "sh"]),
        ("/usr/bin/../../old", ["new"]),
        ("/bin/sh", ["sh"]),
        ("/top", ["top"]),
    ],
)
def test_a_path_is_listed_with_deletions_replacements_and_links(soci_index, image, path, listed):
    assert names(soci_index("ls", image, path)) == listed


def test_everything_below_is_listed_by_full_paths(soci_index, image):
    assert names(soci_index("ls", image, "/usr", "-R")) == [
        *("/usr/", "/usr/big", "/usr/bin/", "/usr/bin/bash", "/usr/bin/sh"),
    ]
    assert names(soci_index("ls", image, "/usr/big", "--recursive")) == ["/usr/big"]
    assert names(soci_index("ls", image, "/", "-R"))[0] == "/"


def test_brackets_in_the_name_of_a_directory_are_not_a_pattern(soci_index, tmp_path):
    layer = tar_of(directory("[id]"), file("[id]/page.js"), directory("i"), file("i/other.js"))
    layout = layout_of(tmp_path, image_of(layer))

    assert names(soci_index("ls", f"oci:{layout}", "/[id]", "-R")) == ["/[id]/", "/[id]/page.js"]


def test_a_long_list_shows_attributes_and_the_layer(soci_index, image):
    header, *rows = soci_index("ls", image, "/bin", "-l").stdout.splitlines()
    _, *top = soci_index("ls", image, "--long").stdout.splitlines()

    assert header.split() == ["TYPE", "MODE", "OWNER", "SIZE", "LAYER", "PATH"]
    assert rows[1].split() == ["reg", "755", "u:g", "8", "B", "0", "/usr/bin/sh"]
    assert top[0].endswith("1  /bin -> usr/bin")
    assert top[3].split()[:2] == ["char", "644"]


def test_as_json_each_file_has_its_attributes(soci_index, image):
    document = soci_index("ls", image, "/bin/sh", "--json").document

    assert document == {
        "path": "/bin/sh",
        "entries": [
            {
                "path": "/usr/bin/sh",
                "type": "reg",
                "layer": 0,
                "size_bytes": 8,
                "mode": 0o755,
                "uid": 1,
                "gid": 2,
                "modified": "1970-01-01T00:00:01Z",
                "link": None,
            }
        ],
    }


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/usr/bin/sh", b"#!shell\n"),
        ("bin/sh", b"#!shell\n"),
        ("/bin/bash", b"#!shell\n"),
        ("/var/replaced", b"upper\n"),
        ("/old/new", b"new\n"),
        ("/top", b"not indexed\n"),
        ("/usr/big", BIG),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_is_written_out_through_links_and_layers(soci_index, image, path, content):
    assert soci_index("cat", image, path).raw == content


@pytest.mark.parametrize("command", ["ls", "cat"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nothing", "/nothing: the image has no /nothing"),
        ("/var/deleted", "the image has no /var/deleted"),
        ("/old/kept", "the image has no /old/kept"),
        ("/usr/bin/sh/x", "/usr/bin/sh is no directory"),
        ("/broken", "the image has no /nowhere"),
        ("/circle", "more than 40 symbolic links on the way"),
    ],
)
def test_a_path_that_is_not_there_is_an_error_that_says_where_it_ends(
    soci_index, image, command, path, message
):
    result = soci_index(command, image, path, "--json", status=1)

    assert message in result.document["error"]["message"]
    assert result.document["error"]["type"] == "NotInImage"


@pytest.mark.parametrize(("path", "kind"), [("/usr", "dir"), ("/", "dir"), ("/null", "char")])
def test_only_files_have_content(soci_index, image, path, kind):
    result = soci_index("cat", image, path, status=1)

    assert f"{path} is no file, its type is {kind}" in result.stderr
    assert result.raw == b""


def test_the_document_says_what_was_read(soci_index, tmp_path):
    layer = gzip_of(tar_of(file("pad", noise(2_000_000)), file("wanted", b"x" * 100)))
    layout = layout_of(tmp_path, image_of(layer))
    convert_layout(layout)

    indexed = soci_index("cat", f"oci:{layout}:latest-soci", "/wanted", "--json").document
    whole = soci_index("cat", f"oci:{layout}:latest", "/wanted", "--json").document

    assert indexed["path"] == "/wanted"
    assert indexed["size_bytes"] == 100
    assert indexed["sha256"] == hashlib.sha256(b"x" * 100).hexdigest()
    assert (indexed["indexed"], whole["indexed"]) == (True, False)
    assert indexed["image_bytes"] == len(layer)
    assert indexed["bytes_read"] < whole["bytes_read"]
    assert whole["bytes_read"] > len(layer)


@pytest.mark.parametrize("command", ["ls", "cat"])
def test_of_several_platforms_one_has_to_be_chosen(soci_index, two_platforms, command):
    path = "/bin/app"

    result = soci_index(command, f"oci:{two_platforms}", path, status=1)
    chosen = soci_index(command, f"oci:{two_platforms}", path, "--platform", PLATFORMS[1])

    assert f"choose one of them: {', '.join(PLATFORMS)}" in result.stderr
    assert chosen.raw


def test_a_layer_that_is_read_only_in_part_is_named(soci_index, tmp_path):
    layer = tar_of(file("before"), special("odd", b"7"), file("after"))
    layout = layout_of(tmp_path, image_of(layer))

    result = soci_index("ls", f"oci:{layout}")

    assert names(result) == ["before"]
    assert "layer 0 was read only in part: The tar holds an entry of a type" in result.stderr


def test_a_zstd_layer_is_read_whole(soci_index, tmp_path):
    layout = layout_of(tmp_path, image_of(zstandard.compress(tar_of(file("a")))))

    assert names(soci_index("ls", f"oci:{layout}")) == ["a"]


def test_names_with_control_characters_are_escaped(soci_index, tmp_path):
    names_ = ("a\x1b[31m\n", "ü", b"\xff".decode("utf-8", "surrogateescape"))
    layout = layout_of(tmp_path, image_of(tar_of(*(file(name, b"found") for name in names_))))

    assert names(soci_index("ls", f"oci:{layout}")) == [r"a\x1b[31m\n", "ü", r"\xff"]
    assert r"/a\x1b[31m\n" in soci_index("ls", f"oci:{layout}", "-l").stdout
    entries = soci_index("ls", f"oci:{layout}", "--json").document["entries"]
    assert [entry["path"] for entry in entries] == ["/a\x1b[31m\n", "/ü", r"/\xff"]
    for name in names_:
        assert soci_index("cat", f"oci:{layout}", f"/{name}").raw == b"found"


def test_reading_writes_nothing(soci_index, image, tmp_path):
    before = files_of(tmp_path)

    soci_index("ls", image, "-R")
    soci_index("cat", image, "/usr/big")

    assert files_of(tmp_path) == before
