from __future__ import annotations

from dataclasses import replace

import pytest

from soci.errors import BlobMissing, DigestMismatch, InvalidDocument, InvalidZtoc, NotInImage
from soci.image.indexed import fetch_ztoc, open_image
from soci.oci.digest import digest_of
from soci.oci.manifest import ImageIndex
from soci.oci.platform import Platform
from soci.places.layout.oci_layout import OciLayout
from soci.ztoc.model import MAX_ZTOC_BYTES
from tests.builders import (
    Image,
    MemorySource,
    file,
    gzip_of,
    image_of,
    layout_of,
    multi_platform,
    tar_of,
    with_soci_index,
    with_soci_v1_index,
)

LAYER = gzip_of(tar_of(file("a", b"x")))
OTHER = gzip_of(tar_of(file("b", b"y")))


@pytest.fixture
def opened(tmp_path):
    def open_(image: Image, platform: str | None = None):
        source = OciLayout(layout_of(tmp_path, image), tag="latest")
        return open_image(source, None if platform is None else Platform.parse(platform))

    return open_


def test_an_image_without_index_has_layers_without_ztocs(opened):
    image = opened(image_of(LAYER, OTHER))

    assert image.soci_index is None
    assert [layer.descriptor.digest for layer in image.layers] == [digest_of(LAYER), digest_of(OTHER)]
    assert [layer.ztoc for layer in image.layers] == [None, None]


def test_the_index_that_the_manifest_names_gives_each_layer_its_ztoc(opened):
    image = opened(with_soci_index(image_of(LAYER, OTHER), span_size_bytes=70_000))

    assert image.soci_index is not None
    assert all(layer.ztoc is not None for layer in image.layers)
    assert [layer.span_size_bytes for layer in image.layers] == [70_000, 70_000]


def test_an_index_of_version_1_is_found_by_its_subject(opened):
    image = opened(with_soci_v1_index(image_of(LAYER)))

    assert image.soci_index is not None
    assert image.layers[0].ztoc is not None


def test_where_referrers_cannot_be_listed_there_is_no_version_1():
    assert open_image(MemorySource(with_soci_v1_index(image_of(LAYER)))).soci_index is None


def test_of_several_platforms_the_one_asked_for_is_opened(opened):
    image = with_soci_index(
        image_of(LAYER, platform="linux/s390x"), extra=image_of(OTHER, platform="linux/ppc64le")
    )

    assert opened(image, "linux/s390x").soci_index is not None
    assert opened(image, "linux/ppc64le").soci_index is None


def test_a_choice_among_foreign_platforms_is_left_to_the_caller(opened):
    image = multi_platform(image_of(LAYER, platform="linux/s390x"), image_of(OTHER, platform="linux/ppc64le"))

    with pytest.raises(NotInImage, match="choose one of them: linux/s390x, linux/ppc64le"):
        opened(image)
    with pytest.raises(NotInImage, match="riscv64"):
        opened(image, "linux/riscv64")


def manifest_alone(image: Image) -> Image:
    """What remains when the platform's manifest is opened without the image index."""
    entries = ImageIndex.parse(image.document).manifests or ()
    return replace(image, root=replace(entries[0], annotations={}))


def test_an_index_that_only_a_digest_names_is_looked_up(opened):
    image = manifest_alone(with_soci_index(image_of(LAYER)))

    assert opened(image).layers[0].ztoc is not None


def test_an_index_that_cannot_be_looked_up_is_missing():
    image = manifest_alone(with_soci_index(image_of(LAYER)))

    with pytest.raises(BlobMissing, match="is not listed in image"):
        open_image(MemorySource(image))


def test_a_document_of_another_kind_is_no_index(opened):
    stranger = image_of(OTHER).document

    with pytest.raises(InvalidDocument, match="config media type is"):
        opened(with_soci_index(image_of(LAYER), document=stranger))


def test_a_ztoc_is_checked_against_its_descriptor(tmp_path):
    image = with_soci_index(image_of(LAYER))
    source = OciLayout(layout_of(tmp_path, image), tag="latest")
    ztoc = open_image(source).layers[0].ztoc
    assert ztoc is not None
    path = tmp_path / "blobs" / "sha256" / ztoc.digest.hex
    path.write_bytes(bytes(ztoc.size))

    with pytest.raises(DigestMismatch):
        fetch_ztoc(source, ztoc)
    with pytest.raises(InvalidZtoc, match="the limit is"):
        fetch_ztoc(source, replace(ztoc, size=MAX_ZTOC_BYTES + 1))


def test_a_span_size_that_is_missing_or_no_number_is_unknown(opened):
    layer = opened(with_soci_index(image_of(LAYER))).layers[0]

    for text in ("", "4 MiB", "-1", "²"):
        ztoc = replace(layer.ztoc, annotations={"com.amazon.soci.span-size": text})
        assert replace(layer, ztoc=ztoc).span_size_bytes is None
    assert replace(layer, ztoc=None).span_size_bytes is None
