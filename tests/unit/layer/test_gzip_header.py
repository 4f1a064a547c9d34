from __future__ import annotations

import gzip
import io
from typing import Any

import pytest

from soci.layer.gzip_header import MAX_BYTES, gzip_header_bytes
from tests.builders import gzip_header

FIELDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "extra": {"extra": b"abcd"},
    "empty extra": {"extra": b""},
    "largest extra": {"extra": b"x" * 65_535},
    "name": {"name": b"layer.tar"},
    "empty name": {"name": b""},
    "comment": {"comment": b"made by hand"},
    "checksum": {"checksum": "right"},
    "all": {"extra": b"x", "name": b"n", "comment": b"c", "checksum": "right"},
    "longest": {"extra": b"x" * 65_535, "name": b"n" * 511, "comment": b"c" * 511, "checksum": "right"},
}


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_the_length_of_a_header_is_that_of_all_its_fields(fields):
    header = gzip_header(**fields)

    assert gzip_header_bytes(header) == len(header)
    assert gzip_header_bytes(header + b"deflate data") == len(header)


def test_no_header_is_longer_than_the_limit():
    assert len(gzip_header(**FIELDS["longest"])) == MAX_BYTES


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_a_header_that_is_cut_short_has_no_length(fields):
    header = gzip_header(**fields)

    assert all(gzip_header_bytes(header[:length]) is None for length in (0, 1, 9, len(header) - 1))


@pytest.mark.parametrize(
    "header",
    [
        b"\x1f\x8c" + gzip_header()[2:],
        b"\x1f\x8b\x07" + gzip_header()[3:],
        b"\x78\x9c" + bytes(20),
        gzip_header(checksum="wrong"),
        gzip_header(name=b"n" * 512),
        gzip_header(comment=b"c" * 512),
    ],
    ids=["magic", "method", "zlib", "checksum", "long name", "long comment"],
)
def test_a_header_that_a_lazy_reader_refuses_has_no_length(header):
    assert gzip_header_bytes(header) is None


def test_pythons_gzip_header_is_accepted():
    written = io.BytesIO()
    with gzip.GzipFile(filename="layer.tar", fileobj=written, mode="wb", mtime=0) as file:
        file.write(b"x")

    assert gzip_header_bytes(written.getvalue()) == 10 + len("layer.tar") + 1
