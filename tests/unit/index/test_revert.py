from __future__ import annotations

from dataclasses import replace

import pytest

from soci.image.documents import fetch_image
from soci.index.revert import strip_index
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.manifest import ImageIndex, ImageManifest
from tests.builders import Image, MemorySource, describe, file, gzip_of, image_of, tar_of, with_soci_index

AMD = image_of(gzip_of(tar_of(file("app", b"amd"))))
KEPT = {"org.example.kept": "yes"}


@pytest.fixture
def converted():
    """A converted image whose manifest and entries have further annotations."""
    made = with_soci_index(AMD)
    index = ImageIndex.parse(made.document)
    entry, soci_index = index.manifests or ()
    manifest = ImageManifest.parse(made.blobs[entry.digest])
    annotated = replace(manifest, annotations={**manifest.annotations, **KEPT}).encode()
    described = describe(annotated, entry.media_type)
    marked = {**entry.annotations, **KEPT, SOCI_INDEX_DIGEST: str(soci_index.digest)}
    entry = replace(entry, digest=described.digest, size=described.size, annotations=marked)
    root = replace(index, manifests=(entry, soci_index)).encode()
    descriptor = describe(root, made.root.media_type)
    return Image(root=descriptor, blobs={**made.blobs, entry.digest: annotated, descriptor.digest: root})


def test_reverting_removes_only_the_annotations_of_the_conversion(converted):
    manifest, root = strip_index(fetch_image(MemorySource(converted)))

    assert ImageManifest.parse(manifest.data).annotations == KEPT
    (entry,) = ImageIndex.parse(root.data).manifests or ()
    assert (entry.digest, entry.size) == (manifest.descriptor.digest, len(manifest.data))
    assert entry.annotations == KEPT


def test_an_image_without_an_index_of_images_gives_its_manifest_alone():
    made = with_soci_index(AMD)
    (entry, _) = ImageIndex.parse(made.document).manifests or ()
    alone = replace(made, root=replace(entry, platform=None))

    (manifest,) = strip_index(fetch_image(MemorySource(alone)))

    assert SOCI_INDEX_DIGEST not in ImageManifest.parse(manifest.data).annotations
    assert ImageManifest.parse(manifest.data).layers == ImageManifest.parse(AMD.document).layers


def test_a_manifest_that_names_no_index_keeps_its_bytes_and_is_not_returned():
    assert strip_index(fetch_image(MemorySource(AMD))) == ()
