from __future__ import annotations

from dataclasses import replace

import pytest

from soci.errors import InvalidDocument
from soci.image.documents import fetch_image
from soci.index.classify import LIMITS, Content, classify, classify_manifest, has_own_index, is_converted
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from tests.builders import (
    Image,
    MemorySource,
    describe,
    image_of,
    multi_platform,
    soci_index_of,
    with_soci_index,
)
from tests.unit.cli.samples import LAYER

AMD = image_of(LAYER)


def manifest(config: str = media_types.OCI_CONFIG, layer: str | None = None, **fields) -> ImageManifest:
    layers = () if layer is None else (describe(b"layer", layer),)
    return ImageManifest(config=describe(b"{}", config), layers=layers, **fields)


@pytest.mark.parametrize(
    ("document", "content"),
    [
        (manifest(layer=media_types.OCI_LAYER_GZIP), Content.IMAGE),
        (manifest(media_types.DOCKER_CONFIG, media_types.DOCKER_LAYER_GZIP), Content.IMAGE),
        (manifest(layer=media_types.OCI_LAYER_ZSTD), Content.IMAGE),
        (manifest(), Content.IMAGE),
        (replace(manifest(), layers=None), Content.IMAGE),
        (manifest(layer="application/vnd.in-toto+json"), Content.ATTESTATION),
        (
            manifest(media_types.OCI_EMPTY, "application/vnd.in-toto+json", artifact_type="a/b"),
            Content.ATTESTATION,
        ),
        (manifest(layer="application/vnd.dev.cosign.simplesigning.v1+json"), Content.ARTIFACT),
        (manifest("application/vnd.cncf.helm.config.v1+json", "text/plain"), Content.ARTIFACT),
        (manifest(layer=media_types.OCI_LAYER_GZIP, artifact_type="application/vnd.x"), Content.ARTIFACT),
        (manifest(media_types.SOCI_INDEX_V1, media_types.ZTOC), Content.SOCI_INDEX),
        (manifest(media_types.SOCI_INDEX_V2, media_types.ZTOC), Content.SOCI_INDEX),
        (manifest(media_types.OCI_EMPTY, artifact_type=media_types.SOCI_INDEX_V1), Content.SOCI_INDEX),
    ],
    ids=lambda value: value.name if isinstance(value, Content) else "",
)
def test_a_manifest_is_what_its_types_say(document, content):
    assert classify_manifest(document) is content


@pytest.mark.parametrize("version", [1, 2])
def test_the_index_manifest_that_indexing_pushes_is_ours(version):
    index, _ = soci_index_of(AMD, version=version)
    data = index.encode()

    assert classify(describe(data, media_types.OCI_MANIFEST), data) is Content.SOCI_INDEX


def test_an_index_is_one_of_images_unless_it_has_an_artifact_type():
    two = multi_platform(AMD)
    typed = ImageIndex(artifact_type="application/vnd.example", manifests=()).encode()

    assert classify(two.root, two.document) is Content.IMAGE
    assert classify(describe(typed, media_types.OCI_INDEX), typed) is Content.ARTIFACT


def test_a_document_that_does_not_parse_is_an_error():
    with pytest.raises(InvalidDocument):
        classify(describe(b"{}", media_types.OCI_MANIFEST), b"{}")


class Describing(MemorySource):
    """Describes any manifest with one size, and notes which manifests are fetched."""

    def __init__(self, image: Image, size: int) -> None:
        super().__init__(image)
        self._size = size
        self.fetched: list[Digest] = []

    def fetch_descriptor(self, digest: Digest) -> Descriptor:
        return Descriptor(media_type=media_types.OCI_MANIFEST, digest=digest, size=self._size)

    def fetch_manifest(self, descriptor: Descriptor) -> bytes:
        self.fetched.append(descriptor.digest)
        return super().fetch_manifest(descriptor)


@pytest.mark.parametrize(("size", "is_own"), [(LIMITS.size_bytes, False), (LIMITS.size_bytes + 1, True)])
def test_an_image_whose_indexes_are_too_large_to_look_at_counts_as_having_its_own(size, is_own):
    missing = describe(b"missing", media_types.OCI_MANIFEST, artifact_type=media_types.SOCI_INDEX_V2)
    image = multi_platform(AMD, extra=(missing,))
    source = Describing(image, size)
    found = fetch_image(source)
    source.fetched.clear()

    assert has_own_index(found, source) is is_own
    assert source.fetched == ([] if is_own else [missing.digest])


def test_an_image_is_converted_by_an_entry_or_by_an_annotation():
    converted = with_soci_index(AMD)
    entries = ImageIndex.parse(converted.document).manifests or ()
    manifest_alone = replace(converted, root=replace(entries[0], annotations={}))
    copied_without_its_index = multi_platform(AMD, extra=())
    marked = replace(AMD.root, annotations={SOCI_INDEX_DIGEST: str(AMD.root.digest)})
    entry_alone = multi_platform(extra=(marked,))

    assert is_converted(fetch_image(MemorySource(converted)))
    assert is_converted(fetch_image(MemorySource(manifest_alone)))
    assert is_converted(fetch_image(MemorySource(entry_alone)))
    assert not is_converted(fetch_image(MemorySource(AMD)))
    assert not is_converted(fetch_image(MemorySource(copied_without_its_index)))
