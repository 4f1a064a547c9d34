from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from soci.errors import BlobMissing, DigestMismatch, SizeMismatch
from soci.image.copy import copy_blobs_of, copy_trees
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.layout.oci_layout import OciLayout
from soci.places.ports import ImageSource, Upload
from tests.builders import Image, MemorySource, describe, image_of, layout_of, multi_platform
from tests.recipes import blobs_of

AMD64, ARM64 = (
    image_of(b"base", platform.encode(), platform=platform) for platform in ("linux/amd64", "linux/arm64")
)


class Sink:
    """A sink in memory that refuses a document whose content is not there, and remembers the order."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.order: list[Digest] = []

    def has_blob(self, descriptor: Descriptor) -> bool:
        return descriptor.digest in self.blobs

    def push_blob(self, descriptor: Descriptor, chunks: Iterable[bytes | bytearray]) -> None:
        assert descriptor.digest not in self.blobs, "pushed twice"
        self.blobs[descriptor.digest] = b"".join(chunks)
        self.order.append(descriptor.digest)

    def push_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        self.push_blob(descriptor, (data,))

    def start_upload(self) -> Upload:
        raise AssertionError("a copy's digest is known from the start")

    def push_root(self, descriptor: Descriptor, tag: str | None) -> None:
        raise AssertionError(f"copying makes no entry point: {descriptor}, {tag}")


def copied(image: Image) -> Sink:
    sink = Sink()
    copy_trees(MemorySource(image), sink, (image.root,))
    return sink


def nested(*roots: Descriptor, blobs=()) -> Image:
    document = ImageIndex(manifests=roots).encode()
    root = describe(document, media_types.OCI_INDEX)
    return Image(root=root, blobs={**dict(blobs), root.digest: document})


def test_an_image_is_copied_with_all_that_it_refers_to():
    image = multi_platform(AMD64, ARM64)

    assert copied(image).blobs == image.blobs


def test_what_a_document_refers_to_is_there_before_the_document():
    image = multi_platform(AMD64, ARM64)

    order = copied(image).order

    assert order[-1] == image.root.digest
    for one in (AMD64, ARM64):
        manifest = ImageManifest.parse(one.document)
        content = [manifest.config, *(manifest.layers or ())]
        assert all(order.index(blob.digest) < order.index(one.root.digest) for blob in content)


def test_blobs_that_are_there_are_left_alone(tmp_path):
    sink = OciLayout(layout_of(tmp_path, AMD64))
    image = multi_platform(AMD64, ARM64)
    base = tmp_path / "blobs/sha256" / describe(b"base", "").digest.hex
    before = base.stat().st_mtime_ns, base.stat().st_ino

    copy_trees(MemorySource(image), sink, (image.root,))

    assert (base.stat().st_mtime_ns, base.stat().st_ino) == before
    assert blobs_of(tmp_path).keys() == {str(digest) for digest in image.blobs}


class MountingSink(Sink):
    """A sink that takes over each blob of a source without its bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.mounted: list[Digest] = []

    def mount_blob(self, descriptor: Descriptor, source: ImageSource) -> bool:
        assert source.has_blob(descriptor)
        self.mounted.append(descriptor.digest)
        return True


def test_blobs_that_can_be_mounted_are_not_read():
    sink = MountingSink()

    copy_trees(MemorySource(AMD64), sink, (AMD64.root,))

    assert sink.order == [AMD64.root.digest]
    assert {*sink.mounted, *sink.order} == AMD64.blobs.keys()


def test_a_nested_index_is_copied_with_its_images_and_each_once():
    inner = multi_platform(AMD64, ARM64)
    image = nested(inner.root, AMD64.root, inner.root, blobs=inner.blobs.items())

    assert copied(image).blobs == image.blobs


def test_indexes_may_be_nested_deeper_than_python_can_recurse():
    image = AMD64
    for _ in range(2_000):
        image = nested(image.root, blobs=image.blobs.items())

    assert copied(image).order[-1] == image.root.digest


def test_indexes_that_double_at_each_level_take_no_longer_than_they_are_large():
    image = AMD64
    for _ in range(100):
        image = nested(image.root, image.root, blobs=image.blobs.items())

    assert len(copied(image).order) == len(image.blobs)


def test_a_missing_document_is_skipped():
    image = multi_platform(AMD64, ARM64)
    partial = image.damaged(ARM64.root.digest, None)

    assert ARM64.root.digest not in copied(partial).blobs
    assert image.root.digest in copied(partial).blobs


def test_a_document_of_another_kind_is_copied_unchanged():
    other = describe(b"not even json", "application/example")
    image = nested(AMD64.root, other, blobs={**AMD64.blobs, other.digest: b"not even json"}.items())

    assert copied(image).blobs[other.digest] == b"not even json"


def layer_of(image: Image, number: int = 0) -> Descriptor:
    return (ImageManifest.parse(image.document).layers or ())[number]


@pytest.mark.parametrize(
    "layer",
    [
        replace(layer_of(AMD64), urls=("https://example.invalid/layer",)),
        replace(layer_of(AMD64), media_type=media_types.DOCKER_FOREIGN_LAYER),
    ],
    ids=["urls", "foreign"],
)
@pytest.mark.parametrize("is_at_hand", [True, False])
def test_a_foreign_layer_is_copied_if_the_source_has_it(layer, is_at_hand):
    manifest = replace(ImageManifest.parse(AMD64.document), layers=(layer,))
    source = MemorySource(AMD64 if is_at_hand else AMD64.damaged(layer.digest, None))
    sink = Sink()

    copy_blobs_of(source, sink, manifest)

    assert sink.has_blob(layer) is is_at_hand


def test_an_ordinary_layer_that_is_missing_is_an_error():
    with pytest.raises(BlobMissing, match=layer_of(AMD64).digest.hex):
        copied(AMD64.damaged(layer_of(AMD64).digest, None))


@pytest.mark.parametrize(("data", "error"), [(b"bass", DigestMismatch), (b"bas", SizeMismatch)])
def test_a_layer_is_checked_while_it_is_copied(tmp_path, data, error):
    image = AMD64.damaged(layer_of(AMD64).digest, data)

    with pytest.raises(error, match=layer_of(AMD64).digest.hex):
        copy_trees(MemorySource(image), OciLayout(tmp_path / "to"), (image.root,))

    assert str(layer_of(AMD64).digest) not in blobs_of(tmp_path / "to")


def test_an_entry_that_is_cut_short_is_not_taken_for_a_missing_one(tmp_path):
    image = multi_platform(AMD64, ARM64).damaged(ARM64.root.digest, ARM64.document[:-1])

    with pytest.raises(SizeMismatch, match=ARM64.root.digest.hex):
        copy_trees(OciLayout(layout_of(tmp_path, image)), OciLayout(tmp_path / "to"), (image.root,))
