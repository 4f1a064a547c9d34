from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soci.errors import InvalidDocument
from soci.oci.digest import Digest, digest_of
from soci.oci.platform import Platform
from soci.start.profile import (
    MAX_FILES,
    PROFILE_LIMIT_BYTES,
    FileRead,
    ReadRange,
    StartProfile,
    encode_profile,
    make_profile,
    parse_profile,
)

IMAGE = digest_of(b"manifest")


def read(path: bytes = b"/bin/sh", *, first_ms: int = 0, **fields: Any) -> FileRead:
    return FileRead(path=path, first_ms=first_ms, last_ms=10, **fields)


def part(start: int, end: int, first_ms: int = 0) -> ReadRange:
    return ReadRange(start=start, end=end, first_ms=first_ms)


def document(**fields: Any) -> bytes:
    file = {"path": "/a", "first_ms": 0, "last_ms": 5}
    return json.dumps({"version": "1.0", "files": [file | fields.pop("file", {})]} | fields).encode()


parts = st.text(min_size=1, max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(
    min_size=1, max_size=8
)
paths = st.lists(
    parts.filter(
        lambda name: not {b"/", b"\0"} & {bytes([one]) for one in name} and name not in (b".", b"..")
    ),
    min_size=1,
    max_size=4,
).map(lambda names: b"/" + b"/".join(names))


@st.composite
def reads(draw: st.DrawFn) -> FileRead:
    times = sorted(draw(st.lists(st.integers(0, 10_000), min_size=2, max_size=5)))
    ranges = [
        part(start, start + draw(st.integers(1, 1 << 40)), ms)
        for ms in times[:-1]
        if (start := draw(st.integers(0, 1 << 40))) % 3
    ]
    return FileRead(
        path=draw(paths),
        first_ms=times[0],
        last_ms=times[-1],
        size_bytes=draw(st.none() | st.integers(0, 1 << 50)),
        ranges=tuple(ranges),
        layer=draw(st.none() | st.binary().map(digest_of)),
        spans=tuple(draw(st.lists(st.integers(0, 1 << 20), max_size=3))),
    )


@given(
    st.lists(reads(), max_size=6, unique_by=lambda one: one.path),
    st.none() | paths,
    st.sampled_from([None, Platform(os="linux", architecture="arm64", variant="v8")]),
)
def test_a_profile_survives_its_json(
    files: list[FileRead], program: bytes | None, platform: Platform | None
) -> None:
    profile = make_profile(files, image=IMAGE, platform=platform, program=program)

    assert parse_profile(encode_profile(profile)) == profile


def test_equal_profiles_have_equal_bytes_in_any_order_of_their_files() -> None:
    files = [read(b"/b"), read(b"/a"), read(b"/c", first_ms=3)]

    assert encode_profile(make_profile(files)) == encode_profile(make_profile(files[::-1]))
    assert [one.path for one in make_profile(files).files] == [b"/a", b"/b", b"/c"]


def test_a_profile_is_json_with_a_line_for_each_file() -> None:
    profile = make_profile(
        [read(b"/bin/sh", size_bytes=9, ranges=(part(0, 4, 2),), layer=IMAGE, spans=(1,)), read(b"/\xff")],
        image=IMAGE,
        platform=Platform(os="linux", architecture="amd64"),
        program=b"/bin/sh",
    )

    data = encode_profile(profile)

    assert data.count(b"\n") == 4
    assert json.loads(data) == {
        "version": "1.0",
        "image": {"digest": str(IMAGE), "platform": {"architecture": "amd64", "os": "linux"}},
        "program": "/bin/sh",
        "starts": 1,
        "files": [
            {
                "path": "/bin/sh",
                "size": 9,
                "layer": str(IMAGE),
                "spans": [1],
                "starts": 1,
                "first_ms": 0,
                "last_ms": 10,
                "ranges": [{"start": 0, "end": 4, "first_ms": 2}],
            },
            {"path_base64": "L/8=", "starts": 1, "first_ms": 0, "last_ms": 10},
        ],
    }


def test_a_file_without_ranges_is_read_whole() -> None:
    assert parse_profile(document()).files[0].is_whole


@pytest.mark.parametrize(
    ("size_bytes", "ranges", "is_whole"),
    [
        (10, [(0, 10)], True),
        (10, [(4, 10), (0, 4)], True),
        (10, [(0, 9)], False),
        (10, [(0, 4), (5, 10)], False),
        (10, [(0, 8), (2, 5), (8, 10)], True),
        (None, [(0, 10)], False),
    ],
)
def test_a_file_is_whole_if_its_ranges_cover_it(
    size_bytes: int | None, ranges: list[tuple[int, int]], *, is_whole: bool
) -> None:
    file = read(size_bytes=size_bytes, ranges=tuple(part(*one) for one in ranges))

    assert file.is_whole is is_whole


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "start profile"),
        (b"[]", "start profile: expected object"),
        (document(version="2.0"), "version: got '2.0', want '1.0'"),
        (b"{}", "version: got ''"),
        (document(files={}), "files: expected list"),
        (document(starts=0), "starts: got 0"),
        (document(file={"path": "a"}), r"files\[0\]: path: b'a'"),
        (document(file={"path": "/a/../b"}), r"files\[0\]: path"),
        (document(file={"path": "/a//b"}), r"files\[0\]: path"),
        (document(file={"path": "/"}), r"files\[0\]: path"),
        (document(file={"path": "/a\0"}), r"files\[0\]: path"),
        (document(file={"path": "/" + "a" * 4096}), r"files\[0\]: path"),
        (document(file={"path_base64": "!"}), r"files\[0\].path_base64"),
        (document(file={"first_ms": 6}), r"files\[0\]: times 6 ms to 5 ms"),
        (document(file={"first_ms": None}), r"files\[0\].first_ms"),
        (document(file={"last_ms": 1e300}), r"files\[0\].last_ms"),
        (document(file={"size": -1}), r"files\[0\].size"),
        (document(file={"layer": "x"}), r"files\[0\].layer"),
        (document(file={"spans": [-1]}), r"files\[0\].spans"),
        (document(file={"starts": 2}), "read by no start, or by more than 1"),
        (document(file={"ranges": [{"start": 4, "end": 4, "first_ms": 0}]}), "bytes 4 to 4 are no range"),
        (document(file={"ranges": [{"start": 0, "end": 4, "first_ms": 9}]}), "before 0 ms or after 5 ms"),
        (
            document(file={"ranges": [{"start": 0, "end": 1, "first_ms": ms} for ms in (2, 1)]}),
            "not in the order of their times",
        ),
        (document(program="sh"), "path: b'sh'"),
        (document(image={"digest": "sha256:1"}), "image.digest"),
        (b" " * (PROFILE_LIMIT_BYTES + 1), "the limit"),
        (
            json.dumps({"version": "1.0", "files": [{}] * (MAX_FILES + 1)}).encode(),
            f"the limit is {MAX_FILES}",
        ),
    ],
)
def test_what_is_no_profile_is_refused_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(InvalidDocument, match=message):
        parse_profile(data)


def test_files_out_of_order_or_twice_are_refused() -> None:
    late, early = read(b"/a", first_ms=2), read(b"/b")

    with pytest.raises(InvalidDocument, match="order"):
        StartProfile(files=(late, early))
    with pytest.raises(InvalidDocument, match="twice"):
        make_profile([early, read(b"/b", first_ms=4)])


def test_the_digest_of_the_image_is_kept() -> None:
    digest = Digest.parse(str(IMAGE))

    assert parse_profile(document(image={"digest": str(IMAGE)})).image == digest
