from __future__ import annotations

import hashlib
from typing import Any

import pytest

from soci.oci.compression import Compression
from soci.ztoc.checkpoints import encode_plain_checkpoints
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.encode import encode_ztoc
from soci.ztoc.toc import TocWriter
from tests.unit.ztoc.official import official_ztoc, our_ztoc, random_entries, tar_entry

DIGESTS = [hashlib.sha256(b"%d" % n).digest() for n in range(5)]
GZIP, PLAIN = Compression.GZIP, Compression.UNCOMPRESSED


@pytest.mark.parametrize("files", [0, 1, 2, 7])
@pytest.mark.parametrize("compression", [GZIP, PLAIN])
@pytest.mark.parametrize("spans", [0, 1, 2, 5])
@pytest.mark.parametrize("blob_bytes", [0, 1, 2, 3, 4, 5, 32_797])
def test_a_ztoc_equals_the_official_librarys(files, compression, spans, blob_bytes):
    parts: dict[str, Any] = {
        "entries": random_entries((files, spans), files),
        "checkpoints": b"c" * blob_bytes,
        "span_digests": DIGESTS[:spans],
        "compression": compression,
    }

    assert our_ztoc(**parts) == official_ztoc(**parts)


@pytest.mark.parametrize("files", [0, 1])
@pytest.mark.parametrize("compressed", [0, 1])
@pytest.mark.parametrize("uncompressed", [0, 1])
def test_sizes_of_zero_are_not_written_and_do_not_align_anything(files, compressed, uncompressed):
    parts: dict[str, Any] = {
        "entries": [tar_entry()] * files,
        "compressed": compressed,
        "uncompressed": uncompressed,
    }

    for blob_bytes in range(8):
        ours = our_ztoc(**parts, checkpoints=bytes(blob_bytes))
        assert ours == official_ztoc(**parts, checkpoints=bytes(blob_bytes))


@pytest.mark.parametrize("tool", ["", "t", "tool", "AWS SOCI CLI v0.2", "Wörkzeug"])
def test_a_build_tool_identifier_may_be_any_text(tool):
    ztoc = our_ztoc([tar_entry()], tool=tool, checkpoints=b"x")

    assert ztoc == official_ztoc([tar_entry()], tool=tool, checkpoints=b"x")
    assert tool.encode() in ztoc


def test_thousands_of_spans_equal_the_official_librarys():
    digests = [hashlib.sha256(b"%d" % n).digest() for n in range(3000)]

    assert our_ztoc([], span_digests=digests) == official_ztoc([], span_digests=digests)


def test_numbers_of_64_bits_fit():
    parts: dict[str, Any] = {"compressed": 2**63 - 1, "uncompressed": 2**62}
    entries = [tar_entry(offset=2**62, size=2**62)]

    assert our_ztoc(entries, **parts) == official_ztoc(entries, **parts)


def test_a_checkpoint_blob_larger_than_the_file_tables_becomes_the_ztoc_in_place():
    blob = bytearray(32_797)
    ztoc = encode_ztoc(
        toc=TocWriter(),
        checkpoints=blob,
        span_digests=[],
        compression=GZIP,
        compressed_archive_size=1,
        uncompressed_archive_size=1,
        build_tool_identifier="",
    )

    assert ztoc is blob


def test_an_encoded_ztoc_decodes_to_the_same_values():
    blob = encode_plain_checkpoints(span_size_bytes=1000, layer_bytes=4500)
    entries = random_entries("round trip", 40)

    ztoc = decode_ztoc(
        our_ztoc(
            entries,
            checkpoints=blob,
            span_digests=DIGESTS,
            compression=PLAIN,
            compressed=4500,
            uncompressed=4096,
        )
    )

    assert (ztoc.version, ztoc.build_tool_identifier) == ("0.9", "AWS SOCI CLI v0.2")
    assert (ztoc.compressed_archive_size, ztoc.uncompressed_archive_size) == (4500, 4096)
    assert [span.digest.hex for span in ztoc.compression.spans] == [digest.hex() for digest in DIGESTS]
    assert [file.name for file in ztoc.files] == [entry.name for entry in entries]
    assert [file.uid for file in ztoc.files] == [entry.attributes.uid & 0xFFFF_FFFF for entry in entries]
    assert [dict(file.xattrs) for file in ztoc.files] == [entry.pax_records or {} for entry in entries]
