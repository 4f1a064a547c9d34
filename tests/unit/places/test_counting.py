from __future__ import annotations

import pytest

from soci.errors import BlobMissing
from soci.oci import media_types
from soci.oci.manifest import ImageManifest
from soci.places.counting import CountingSource
from soci.places.layout.oci_layout import OciLayout
from soci.places.ports import DescriptorSource, ImageSource, ReferrerSource
from tests.builders import MemorySource, file, gzip_of, image_of, layout_of, tar_of, with_soci_v1_index

IMAGE = with_soci_v1_index(image_of(gzip_of(tar_of(file("a", b"x" * 5_000)))))
LAYER = (ImageManifest.parse(IMAGE.document).layers or ())[0]


def read_all(source: ImageSource) -> int:
    with source.open_blob(LAYER) as chunks:
        return sum(map(len, chunks))


@pytest.mark.parametrize(
    ("read", "size_bytes"),
    [
        (lambda source: source.fetch_root(), 0),
        (lambda source: source.fetch_manifest(IMAGE.root), IMAGE.root.size),
        (lambda source: source.fetch_range(LAYER, 3, 10), 7),
        (lambda source: source.fetch_range(LAYER, LAYER.size - 2, LAYER.size + 9), 2),
        (lambda source: source.has_blob(LAYER), 0),
        (read_all, LAYER.size),
    ],
    ids=["root", "manifest", "range", "range over the end", "has", "whole"],
)
def test_a_read_counts_one_request_and_its_bytes(read, size_bytes):
    source = CountingSource(MemorySource(IMAGE))

    read(source)

    assert (source.requests, source.bytes_read) == (1, size_bytes)


def test_an_unfinished_read_counts_the_bytes_read():
    source = CountingSource(MemorySource(IMAGE))

    with source.open_blob(LAYER):
        pass

    assert source.bytes_read == 0


def test_all_reads_reach_the_source(tmp_path):
    layout = OciLayout(layout_of(tmp_path, IMAGE), tag="latest")
    source = CountingSource(layout)
    [referrer] = layout.fetch_referrers(IMAGE.root.digest, media_types.SOCI_INDEX_V1)

    assert source.fetch_root() == layout.fetch_root()
    assert source.fetch_manifest(IMAGE.root) == IMAGE.document
    assert source.has_blob(LAYER)
    assert source.fetch_referrers(IMAGE.root.digest, media_types.SOCI_INDEX_V1) == (referrer,)
    assert source.fetch_descriptor(referrer.digest).size == referrer.size


def test_a_source_without_optional_ports_has_none_when_counted():
    source = CountingSource(MemorySource(IMAGE))

    assert isinstance(source, DescriptorSource)
    assert isinstance(source, ReferrerSource)
    assert source.fetch_referrers(IMAGE.root.digest, media_types.SOCI_INDEX_V1) == ()
    with pytest.raises(BlobMissing, match="cannot describe a manifest by its digest"):
        source.fetch_descriptor(IMAGE.root.digest)
