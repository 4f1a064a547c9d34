"""Images that skopeo put into registries, read by us: the same as they are in the layout they came from."""

from __future__ import annotations

import pytest

from soci.errors import BlobMissing, NotInImage, SizeMismatch
from soci.image.documents import fetch_image
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import digest_of
from soci.oci.integrity import checked
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.reference import RegistryRef, parse_reference
from soci.places.layout.oci_layout import OciLayout
from soci.places.open import open_source
from soci.places.ports import ImageSource
from soci.places.registry.blob_reader import StreamSettings
from tests.builders import noise
from tests.golden_images import GOLDEN_IMAGES
from tests.image_files import Image, skopeo_copy, write_layout
from tests.registries import REGISTRIES, open_repository, running_registry

IMAGES = {
    "single": "oci-single-arm64",
    "two platforms": "oci-index-two-platforms",
    "attestation": "oci-index-with-attestation",
    "docker list": "docker-manifest-list",
    "zstd and foreign": "oci-zstd-and-foreign-layers",
}
BIG = Image(layers=(noise(5 << 20, "big"),))
SMALL_RANGES = StreamSettings(parallel_ranges=3, range_size_bytes=512 << 10)


@pytest.fixture(scope="module", params=REGISTRIES)
def host(request, tmp_path_factory):
    with running_registry(request.param, tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="module", params=IMAGES)
def pushed(request, host) -> tuple[OciLayout, str]:
    """An image in a layout, and its reference in the registry."""
    name = IMAGES[request.param]
    reference = f"{host}/golden/{name}:1.0"
    skopeo_copy(f"oci:{GOLDEN_IMAGES / name}", reference)
    return OciLayout(GOLDEN_IMAGES / name), reference


@pytest.fixture
def source(pushed) -> ImageSource:
    return open_source(parse_reference(pushed[1]))


@pytest.fixture(scope="module")
def big(host, tmp_path_factory) -> RegistryRef:
    skopeo_copy(f"oci:{write_layout(tmp_path_factory.mktemp('image'), BIG)}", f"{host}/big:1.0")
    return RegistryRef(host=host, repository="big", tag="1.0")


def blobs_of(source: ImageSource, root: Descriptor) -> list[Descriptor]:
    """All that an image refers to and has at hand, the blobs of its manifests."""
    data = source.fetch_manifest(root)
    if media_types.is_index(root.media_type):
        entries = [entry for entry in ImageIndex.parse(data).manifests or () if source.has_blob(entry)]
        return [blob for entry in entries for blob in blobs_of(source, entry)]
    manifest = ImageManifest.parse(data)
    return [blob for blob in (manifest.config, *(manifest.layers or ())) if source.has_blob(blob)]


def read_whole(source: ImageSource, blob: Descriptor) -> bytes:
    with source.open_blob(blob) as chunks:
        return b"".join(checked(blob, chunks))


def layer_of(source: ImageSource) -> Descriptor:
    return (ImageManifest.parse(source.fetch_manifest(source.fetch_root())).layers or ())[0]


def test_the_root_is_that_of_the_layout(pushed, source):
    root = pushed[0].fetch_root()

    assert source.fetch_root().digest == root.digest
    assert source.fetch_root().media_type == root.media_type
    assert source.fetch_manifest(source.fetch_root()) == pushed[0].fetch_manifest(root)


def test_the_image_has_the_same_platforms_and_manifests(pushed, source):
    ours, theirs = fetch_image(source), fetch_image(pushed[0])

    assert ours.index == theirs.index
    assert [(one.platform, one.manifest) for one in ours.images] == [
        (one.platform, one.manifest) for one in theirs.images
    ]


def test_every_blob_streams_whole_and_in_ranges(pushed, source):
    layout = pushed[0]
    blobs = blobs_of(source, source.fetch_root())

    assert [blob.digest for blob in blobs] == [blob.digest for blob in blobs_of(layout, layout.fetch_root())]
    for blob in blobs:
        content = read_whole(layout, blob)
        assert read_whole(source, blob) == content
        for start, end in [
            (0, 1),
            (blob.size // 2, blob.size),
            (blob.size - 1, blob.size + 5),
            (blob.size, blob.size + 1),
            (7, 7),
        ]:
            assert source.fetch_range(blob, start, end) == content[start:end]


def test_an_image_is_found_by_its_digest_as_well(pushed):
    root = pushed[0].fetch_root()
    name = pushed[1].rpartition(":")[0]

    assert open_source(parse_reference(f"{name}@{root.digest}")).fetch_root().digest == root.digest


def test_missing_content_is_an_error(pushed, source):
    absent = Descriptor(media_type=media_types.OCI_LAYER, digest=digest_of(b"absent"), size=6)
    name = pushed[1].rpartition(":")[0]

    assert not source.has_blob(absent)
    with pytest.raises(BlobMissing, match=str(absent.digest)), source.open_blob(absent):
        pass
    with pytest.raises(BlobMissing):
        source.fetch_range(absent, 0, 1)
    for reference in (f"{name}:2", f"{name}@{absent.digest}", f"{name}/absent:1"):
        with pytest.raises(NotInImage):
            open_source(parse_reference(reference)).fetch_root()


def test_a_large_layer_is_read_in_order_by_parallel_ranges(big):
    repository = open_repository(big, streaming=SMALL_RANGES)
    layer = layer_of(repository)

    assert read_whole(repository, layer) == BIG.layers[0]


def test_a_blob_of_another_size_than_described_is_refused_before_it_is_read(big):
    repository = open_repository(big, streaming=SMALL_RANGES)
    layer = layer_of(repository)
    wrong = Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size + 1)

    assert not repository.has_blob(wrong)
    with (
        pytest.raises(SizeMismatch, match=f"has {layer.size} bytes, want {wrong.size}"),
        repository.open_blob(wrong),
    ):
        pass


def test_all_tags_are_listed(big):
    for tag in ("a", "b", "c"):
        repository = open_repository(big)
        repository.push_root(repository.fetch_root(), tag)

    assert sorted(open_repository(big).fetch_tags()) == ["1.0", "a", "b", "c"]
