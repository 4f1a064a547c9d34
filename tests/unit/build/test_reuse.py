"""The key of a zTOC, and what has to hold before one that was made elsewhere is used."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from soci.build.plan import PlannedLayer
from soci.build.reuse import check_again, check_as_made, reuse_key
from soci.errors import BlobMissing, DigestMismatch, InvalidZtoc
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.settings import IndexSettings, MultiMember, Optimization
from soci.ztoc.decode import decode_compression_info
from tests.builders import (
    BUILD_TOOL,
    Image,
    MemorySource,
    describe,
    file,
    gzip_of,
    index_layer,
    noise,
    opaque,
    tar_of,
    text,
)
from tests.recipes import settings_of

TAR = tar_of(*(file(f"usr/{number}", noise(100_000, str(number))) for number in range(10)))
LAYER = gzip_of(TAR)
GZIP = Descriptor(media_type=media_types.OCI_LAYER_GZIP, digest=describe(LAYER, "").digest, size=len(LAYER))
SETTINGS = settings_of()
OTHER_TOOL = b"x" * len(BUILD_TOOL)


class Counting(MemorySource):
    """Layers in memory; remembers the ranges that were read."""

    def __init__(self, *layers: bytes, blobs: Mapping[Digest, bytes] | None = None) -> None:
        blobs = blobs or {describe(layer, "").digest: layer for layer in layers}
        super().__init__(Image(root=describe(b"", ""), blobs=blobs))
        self.ranges: list[tuple[int, int]] = []

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> bytes:
        self.ranges.append((start, end))
        return super().fetch_range(descriptor, start, end)


def planned(decision: Compression = Compression.GZIP) -> PlannedLayer:
    return PlannedLayer(descriptor=GZIP, decision=decision)


def key_text(settings: IndexSettings, **options) -> str:
    return reuse_key(planned(**options), settings).settings


def test_a_key_can_be_read():
    settings = IndexSettings(optimizations=frozenset({Optimization.XATTR}))

    assert key_text(settings) == (
        "output=1 gzip multi-member=index span=4194304 optimizations=xattr tool=SOCI Index Builder v1"
    )
    assert str(reuse_key(planned(), settings)).startswith(f"layer {GZIP.digest} (output=1 gzip")


@pytest.mark.parametrize(
    ("decision", "word"),
    [
        (Compression.GZIP, "gzip multi-member=leave-out"),
        (Compression.UNCOMPRESSED, "plain"),
        (Compression.ZSTD, "zstd gzip-level=9"),
    ],
)
def test_how_a_layer_is_read_is_part_of_the_key(decision, word):
    settings = IndexSettings(multi_member=MultiMember.LEAVE_OUT, gzip_level=9)

    assert key_text(settings, decision=decision).startswith(f"output=1 {word} span=")


@pytest.mark.parametrize(
    "settings",
    [
        IndexSettings(min_layer_size_bytes=0),
        IndexSettings(prefetch_patterns=("/a",)),
        IndexSettings(gzip_level=1),
    ],
    ids=["minimum size", "prefetch", "level of other layers"],
)
def test_settings_that_do_not_change_a_ztoc_do_not_change_its_key(settings):
    assert key_text(settings) == key_text(IndexSettings())


def test_the_longest_key_fits_into_a_row_of_a_table():
    longest = IndexSettings(build_tool_identifier="\U0001f40b" * 200, optimizations=frozenset(Optimization))

    assert len(key_text(longest).encode()) <= 1024


def test_three_spans_are_read_and_no_more():
    indexed = index_layer(LAYER, span_size_bytes=65_536)
    source = Counting(LAYER)

    check_again(source, GZIP, bytes(indexed.ztoc), SETTINGS)

    spans = decode_compression_info(indexed.ztoc).spans
    middle = len(spans) // 2
    assert len(spans) > 6
    assert source.ranges[1:] == [spans[number][:2] for number in (0, middle, len(spans) - 1)]


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_span_that_is_not_that_of_the_layer_is_found(place):
    indexed = index_layer(LAYER, span_size_bytes=65_536)
    info = check_as_made(Counting(LAYER), GZIP, bytes(indexed.ztoc), SETTINGS)
    span = info.spans[{"first": 0, "middle": len(info.spans) // 2, "last": -1}[place]]
    wrong = bytearray(LAYER)
    wrong[span.start + 20] ^= 1
    source = Counting(blobs={GZIP.digest: bytes(wrong)})

    with pytest.raises(DigestMismatch, match="span"):
        check_again(source, GZIP, bytes(indexed.ztoc), SETTINGS)


@pytest.mark.parametrize(
    ("ztoc", "problem"),
    [
        (index_layer(LAYER, span_size_bytes=131_072).ztoc, "span size in bytes: it has 131072"),
        (
            index_layer(LAYER, span_size_bytes=65_536).ztoc.replace(BUILD_TOOL.encode(), OTHER_TOOL),
            "build tool: it has",
        ),
        (index_layer(gzip_of(tar_of(file("a", text(300_000))))).ztoc, "bytes of layer: it has"),
        (index_layer(TAR).ztoc, "compression: it has none, want gzip"),
        (b"", "flatbuffer"),
    ],
    ids=["span size", "build tool", "size", "compression", "no zTOC"],
)
def test_one_of_another_layer_or_settings_is_refused(ztoc, problem):
    with pytest.raises(InvalidZtoc, match=problem):
        check_as_made(Counting(LAYER), GZIP, bytes(ztoc), SETTINGS)


@pytest.mark.parametrize(
    "layer",
    [LAYER, gzip_of(tar_of(opaque("etc"), file("a", noise(70_000)))), gzip_of(tar_of())],
    ids=["files", "opaque", "none"],
)
def test_a_checked_ztoc_is_described_like_a_new_one(layer):
    descriptor = Descriptor(
        media_type=media_types.OCI_LAYER_GZIP, digest=describe(layer, "").digest, size=len(layer)
    )
    made = index_layer(layer, span_size_bytes=65_536)

    found = check_again(Counting(layer), descriptor, bytes(made.ztoc), SETTINGS)

    assert (found.ztoc, found.digest, found.files, found.spans) == (
        made.ztoc,
        made.digest,
        made.files,
        made.spans,
    )
    assert (found.layer_digest, found.compressed_bytes) == (made.layer_digest, made.compressed_bytes)
    assert found.needs_xattrs == made.needs_xattrs


def test_a_layer_that_is_not_there_is_an_error():
    ztoc = index_layer(LAYER, span_size_bytes=65_536).ztoc

    with pytest.raises(BlobMissing):
        check_again(Counting(), GZIP, bytes(ztoc), SETTINGS)
