from __future__ import annotations

import pytest

from soci.oci.platform import Platform
from soci.start.profile import FileRead, encode_profile, make_profile, parse_profile

AMD64 = Platform(os="linux", architecture="amd64")
ARM64 = Platform(os="linux", architecture="arm64")


@pytest.fixture
def write(tmp_path):
    def write_profile(name, *paths, platform=AMD64):
        files = [FileRead(path=path, first_ms=number, last_ms=9) for number, path in enumerate(paths)]
        path = tmp_path / name
        path.write_bytes(encode_profile(make_profile(files, platform=platform)))
        return path

    return write_profile


def test_profiles_are_merged_to_standard_output_in_any_order(soci_index, write):
    one, two = write("one", b"/a", b"/b"), write("two", b"/b", b"/c")

    merged = soci_index("profile", "merge", one, two)

    profile = parse_profile(merged.raw)
    assert [(file.path, file.first_ms, file.starts) for file in profile.files] == [
        (b"/a", 0, 1),
        (b"/b", 0, 2),
        (b"/c", 1, 1),
    ]
    assert profile.starts == 2
    assert merged.stderr == ""
    assert soci_index("profile", "merge", two, one).raw == merged.raw


def test_a_file_gets_the_profile_and_standard_output_a_summary(soci_index, write, tmp_path):
    one, two, out = write("one", b"/a", b"/b"), write("two", b"/b"), tmp_path / "merged.json"

    lines = soci_index("profile", "merge", one, two, "-o", out).stdout
    document = soci_index("profile", "merge", one, two, "-o", out, "--json").document

    assert lines == f"2 starts: 2 files, 1 in each start\nwritten to {out}\n"
    assert parse_profile(out.read_bytes()).starts == 2
    assert document == {
        "profiles": 2,
        "starts": 2,
        "files": 2,
        "in_every_start": 1,
        "image": None,
        "platform": "linux/amd64",
        "output": str(out),
    }


def test_a_profile_can_come_from_standard_input(process, write):
    one = write("one", b"/a")

    merged = process("profile", "merge", "-", one, input=one.read_bytes())

    assert parse_profile(merged.raw).starts == 2


@pytest.fixture
def places(write, tmp_path):
    (tmp_path / "text").write_text("hello")
    other = write("other", b"/a", platform=ARM64)
    return {"one": write("one", b"/a"), "other": other, "text": tmp_path / "text", "none": tmp_path / "none"}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["{one}", "{other}"],
            1,
            "profiles of linux/amd64 and linux/arm64: merge only profiles of one platform",
        ),
        (["{one}", "{text}"], 1, "{text}: start profile: not valid JSON"),
        (["{one}", "{none}"], 1, "{none}: No such file or directory"),
        (["{one}", "-o", "{none}/out"], 1, "the directory {none} does not exist"),
        (["{one}", "--json"], 2, "-o FILE says where to write the profile"),
    ],
    ids=["platforms", "not a profile", "missing", "directory", "json"],
)
def test_what_cannot_be_merged_is_said_in_one_line(soci_index, places, arguments, status, message):

    result = soci_index("profile", "merge", *(one.format(**places) for one in arguments), status=status)

    assert message.format(**places) in result.stderr
    assert result.stderr.count("\n") == 1
    assert not places["none"].exists()
