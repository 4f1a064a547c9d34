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
def test_a_read_is_one_request_of_as_many_bytes_as_came(read, size_bytes):
    source = CountingSource(MemorySource(IMAGE))

    read(source)

    assert (source.requests, source.bytes_read) == (1, size_bytes)


def test_what_is_not_read_to_its_end_counts_as_far_as_it_came():
    source = CountingSource(MemorySource(IMAGE))

    with source.open_blob(LAYER):
        pass

    assert source.bytes_read == 0


def test_everything_is_passed_on(tmp_path):
    layout = OciLayout(layout_of(tmp_path, IMAGE), tag="latest")
    source = CountingSource(layout)
    [referrer] = layout.fetch_referrers(IMAGE.root.digest, media_types.SOCI_INDEX_V1)

    assert source.fetch_root() == layout.fetch_root()
    assert source.fetch_manifest(IMAGE.root) == IMAGE.document
    assert source.has_blob(LAYER)
    assert source.fetch_referrers(IMAGE.root.digest, media_types.SOCI_INDEX_V1) == (referrer,)
    assert source.fetch_descriptor(referrer.digest).size == referrer.size


def test_a_source_that_can_do_less_can_do_less_when_it_is_counted():
    source = CountingSource(MemorySource(IMAGE))

    assert isinstance(source, DescriptorSource)
    assert isinstance(source, ReferrerSource)
    assert source.fetch_referrers(IMAGE.root.digest, media_types.SOCI_INDEX_V1) == ()
    with pytest.raises(BlobMissing, match="cannot describe a manifest by its digest"):
        source.fetch_descriptor(IMAGE.root.digest)
