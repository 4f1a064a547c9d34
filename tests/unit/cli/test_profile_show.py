"""`profile show` as users see it: a picture and tables of 80 columns, a document, a page."""

from __future__ import annotations

import os

import pytest

from soci.start.profile import FileRead, ReadRange, encode_profile, make_profile
from tests.builders import file, gzip_of, image_of, layout_of, noise, tar_of, with_soci_index

LONG = "lib/" + "n" * 90 + "/module.py"
LAYER = gzip_of(
    tar_of(
        *(file(f"lib/{n}", noise(40_000, str(n))) for n in range(40)),
        file("bin/app", noise(200_000)),
        file(LONG, noise(1_000)),
    )
)
SMALL = gzip_of(tar_of(file("etc/motd", b"hello\n")))


@pytest.fixture
def image(tmp_path):
    """An indexed image whose second layer has no zTOC."""
    return f"oci:{layout_of(tmp_path / 'app', with_soci_index(image_of(LAYER, SMALL), skip=(1,)))}"


@pytest.fixture
def profile(tmp_path):
    parts = (ReadRange(start=0, end=9_000, first_ms=0), ReadRange(start=150_000, end=150_009, first_ms=1_500))
    files = [
        FileRead(path=b"/bin/app", first_ms=0, last_ms=1_600, ranges=parts, size_bytes=200_000),
        FileRead(path=b"/lib/5", first_ms=20, last_ms=20),
        FileRead(path=f"/{LONG}".encode(), first_ms=900, last_ms=900),
        FileRead(path=b"/etc/motd", first_ms=30, last_ms=30),
        FileRead(path=b"/gone\x1b[31m", first_ms=31, last_ms=31),
    ]
    path = tmp_path / "start.json"
    path.write_bytes(encode_profile(make_profile(files, program=b"/bin/app", starts=1)))
    return path


def test_the_report_has_a_picture_the_ways_the_files_and_the_advice(soci_index, image, profile):
    text = soci_index("profile", "show", image, profile).stdout
    lines = text.splitlines()

    assert lines[0] == f"{image} linux/amd64"
    assert lines[1:4] == [
        "4 files read, recorded in 1 start",
        "program /bin/app",
        "1 file of the profile not found in this image",
    ]
    assert lines[4].startswith("needed: ")
    picture = next(line for line in lines if line.startswith("  0 "))
    assert "█" in picture
    assert "·" in picture
    assert next(line for line in lines if line.startswith("  1 ")).split()[-2:] == ["=", "whole"]
    assert [
        line.split("  ")[0] for line in lines if line.startswith(("no index: ", "lazy", "start first,"))
    ] == [
        *("no index: pull and unpack", "no index: parallel pull", "lazy", "lazy with prefetch"),
        *("start first, lazy",),
    ]
    files = text[text.index("FILE ") :].splitlines()
    assert files[1].split() == ["/lib/5", "40.0", "kB", "0", "20", "ms"]
    assert files[2].split() == ["/bin/app", "9.0", "kB", "0", "0", "ms"]
    assert "start first " in lines[-1] or "start first " in lines[-2]


def test_the_report_fits_eighty_columns(soci_index, image, profile):
    lines = soci_index("profile", "show", image, profile).stdout.splitlines()

    assert [line for line in lines[1:] if len(line) > 80] == []
    assert any(line.startswith("/lib/nnn") and "..." in line and "nn/module.py" in line for line in lines)


def test_as_many_files_are_listed_as_asked_for(soci_index, image, profile):
    few = soci_index("profile", "show", image, profile, "--files", 1).stdout
    none = soci_index("profile", "show", image, profile, "--files", 0).stdout

    assert "/lib/5" in few
    assert "and 3 other files" in few
    assert "/lib/5" not in none


def test_the_document_has_all_spans_files_and_ways(soci_index, image, profile):
    document = soci_index("profile", "show", image, profile, "--json").document

    lazy, whole = document["layers"]
    assert lazy["spans"] == document["spans"]
    assert len(lazy["needed"]) == document["needed_spans"]
    assert lazy["needed"][0]["first_ms"] == 0
    assert (whole["spans"], whole["ztoc_bytes"], whole["needed"]) == (None, None, [])
    assert [one["path"] for one in document["files"]] == ["/bin/app", "/lib/5", "/etc/motd", f"/{LONG}"]
    assert document["files"][0] == {
        "path": "/bin/app",
        "read_bytes": 9_009,
        "size_bytes": 200_000,
        "layer": 0,
        "first_ms": 0,
    }
    assert document["missing_files"] == ["/gone\x1b[31m"]
    assert document["profile"] == {"image": None, "program": "/bin/app", "starts": 1}
    assert len(document["estimates"]) == 6
    assert document["program_seconds"] == 1.5


def test_the_snapshotter_reads_the_headers_of_files_too(soci_index, image, profile):
    def needed(reader):
        made = soci_index("profile", "show", image, profile, "--reader", reader, "--json").document
        return made["needed_spans"]

    assert needed("snapshotter") >= needed("mount")


def test_the_page_is_written_beside_the_table(soci_index, image, profile, tmp_path):
    page = tmp_path / "start.html"

    result = soci_index("profile", "show", image, profile, "--html", page)

    assert result.stdout.startswith(image)
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "<code>/bin/app</code>" in text


def test_a_page_that_cannot_be_written_is_named(soci_index, image, profile, tmp_path):
    result = soci_index("profile", "show", image, profile, "--html", tmp_path / "no" / "page.html", status=1)

    assert f"{tmp_path / 'no' / 'page.html'}: No such file or directory" in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_without_bars_in_the_locale_the_picture_has_digits(process, image, profile, encoding):
    result = process(
        *("profile", "show", image, profile),
        env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "80"},
    )

    text = result.raw.decode(encoding)
    picture = next(line for line in text.splitlines() if line.startswith("  0 "))
    assert "1" in picture
    assert "." in picture
    assert "\\u" not in text


def test_colours_come_only_on_a_terminal_that_wants_them(process, image, profile):
    plain = process("profile", "show", image, profile).raw
    forced = process("profile", "show", image, profile, env={**os.environ, "FORCE_COLOR": "1"}).raw
    refused = process(
        *("profile", "show", image, profile), env={**os.environ, "FORCE_COLOR": "1", "NO_COLOR": "1"}
    ).raw

    assert b"\x1b[" not in plain
    assert b"\x1b[1;35m" in forced
    assert b"\x1b[1;35m" not in refused


def test_a_name_with_control_characters_does_not_reach_the_terminal(soci_index, tmp_path):
    layer = gzip_of(tar_of(file("a\x1b[31m", noise(100))))
    image = layout_of(tmp_path / "app", with_soci_index(image_of(layer)))
    path = tmp_path / "start.json"
    path.write_bytes(encode_profile(make_profile([FileRead(path=b"/a\x1b[31m", first_ms=0, last_ms=0)])))

    text = soci_index("profile", "show", f"oci:{image}", path).stdout

    assert "/a\\x1b[31m" in text
    assert "\x1b" not in text
