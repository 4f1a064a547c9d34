"""Any bytes of a document or an archive raise only the documented errors."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soci.errors import InvalidDocument, SourceError
from soci.oci import gojson
from soci.oci.image_config import ImageConfig
from soci.oci.manifest import ImageIndex, ImageManifest, sniff_media_type
from soci.places.layout.tar_members import TarMembers
from soci.start.artifact import parse_profile_artifact
from soci.start.profile import FileRead, ReadRange, encode_profile, make_profile, parse_profile
from tests.image_files import Image, tar_of

PARSERS: dict[str, Callable[[bytes], object]] = {
    "manifest": ImageManifest.parse,
    "index": ImageIndex.parse,
    "config": ImageConfig.parse,
    "sniff": lambda data: sniff_media_type(data, "doc"),
    "start profile": parse_profile,
    "profile artifact": lambda data: parse_profile_artifact(data, "doc"),
}
FIELDS = ["schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "data"]
FIELDS += ["version", "files", "path", "path_base64", "ranges", "first_ms", "starts", "spans"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.just(2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner),
    max_leaves=20,
)
PROFILE = encode_profile(
    make_profile(
        [
            FileRead(
                path=b"/a", first_ms=0, last_ms=9, ranges=(ReadRange(start=0, end=9, first_ms=3),), spans=(1,)
            ),
            FileRead(path=b"/\xff", first_ms=4, last_ms=4, size_bytes=7),
        ],
        program=b"/a",
        starts=2,
    )
)
TAR = tar_of({"a": b"1" * 600, "b": "a", "d" * 90: b""})


@pytest.mark.parametrize("parser", PARSERS)
@given(document=VALUES)
def test_any_json_is_parsed_or_refused(parser, document):
    try:
        PARSERS[parser](json.dumps(document).encode())
    except InvalidDocument as error:
        assert str(error)  # noqa: PT017 # most examples are refused, some are not


@given(position=st.integers(0, len(PROFILE) - 1), replacement=st.binary(max_size=4))
def test_a_profile_with_other_bytes_in_it_is_parsed_as_one_that_can_be_written_or_refused(
    position, replacement
):
    try:
        profile = parse_profile(PROFILE[:position] + replacement + PROFILE[position + 1 :])
    except InvalidDocument as error:
        assert str(error)  # noqa: PT017 # as above
    else:
        assert parse_profile(encode_profile(profile)) == profile


@pytest.mark.parametrize("parser", PARSERS)
@given(position=st.integers(min_value=0), replacement=st.binary(max_size=4))
def test_a_manifest_with_other_bytes_in_it_is_parsed_or_refused(parser, position, replacement):
    document = Image(layers=(b"",)).manifest
    start = position % len(document)
    try:
        PARSERS[parser](document[:start] + replacement + document[start + 1 :])
    except InvalidDocument as error:
        assert str(error)  # noqa: PT017 # as above


@given(value=VALUES)
def test_a_document_that_was_read_is_written_and_read_again_unchanged(value):
    try:
        once = gojson.decode(gojson.encode(value), "doc", limit_bytes=1_000_000)
    except InvalidDocument:
        return
    assert gojson.decode(gojson.encode(once), "doc", limit_bytes=1_000_000) == once


@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(TAR) // 512 - 1), st.integers(0, 500), st.binary(max_size=12)),
        max_size=4,
    ),
    length=st.integers(0, len(TAR)),
)
def test_any_archive_is_opened_or_refused(changes, length):
    data = bytearray(TAR)
    for block, position, replacement in changes:
        header = data[block * 512 : block * 512 + 512]
        header[position : position + len(replacement)] = replacement
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        data[block * 512 : block * 512 + 512] = header[:512]
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data[:length])
        try:
            extent = TarMembers(Path(file.name)).find("a")
        except SourceError as error:
            assert file.name in str(error)  # noqa: PT017 # as above
        else:
            assert extent is None or extent.offset + extent.size <= length
