"""What every source of images on disk has to do, run over files that other tools wrote."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from soci.errors import BlobMissing, InvalidDocument, NotInImage, SizeMismatch
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.image_config import ImageConfig
from soci.oci.integrity import check_content, checked
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.reference import parse_reference
from soci.places.layout.extents import CHUNK_BYTES
from soci.places.open import open_source
from soci.places.ports import ImageSource
from tests.golden_images import GOLDEN_IMAGES
from tests.image_files import Image, entry_of, layout_files, skopeo, tar_of

GOLDEN = GOLDEN_IMAGES / "oci-single-arm64"
BIG_LAYER = tar_of({"big": bytes(range(256)) * 10_000})


def copied_by_skopeo(transport: str) -> Callable[[Path], str]:
    def make(directory: Path) -> str:
        reference = f"{transport}:{directory / 'image'}:app:1.0"
        skopeo("copy", f"oci:{GOLDEN}:latest", reference)
        return reference

    return make


def written_by_umoci(directory: Path) -> str:
    layout = directory / "image"
    (directory / "file").write_bytes(b"content" * 1000)
    for command in (
        ["init", "--layout", str(layout)],
        ["new", "--image", f"{layout}:app"],
        ["config", "--image", f"{layout}:app", "--architecture", "arm64", "--os", "linux"],
        ["insert", "--rootless", "--image", f"{layout}:app", str(directory / "file"), "/file"],
    ):
        subprocess.run(["umoci", *command], check=True, capture_output=True)
    return f"oci:{layout}:app"


def written_by_docker_25(directory: Path) -> str:
    """Write what `docker save` has written since version 25: a layout with a manifest.json beside it."""
    image = Image(layers=(BIG_LAYER, tar_of({"b": b"2"})), architecture="arm64")
    item = {
        "Config": f"blobs/sha256/{digest_of(image.config).hex}",
        "RepoTags": ["app:1.0"],
        "Layers": [f"blobs/sha256/{digest_of(layer).hex}" for layer in image.layers],
    }
    files = layout_files(image.blobs, [entry_of(image, name="docker.io/library/app:1.0", tag="1.0")])
    (directory / "image").write_bytes(tar_of(files | {"manifest.json": json.dumps([item]).encode()}))
    return f"docker-archive:{directory / 'image'}:app:1.0"


WRITERS = {
    "golden layout": lambda _: f"oci:{GOLDEN}:latest",
    "skopeo oci": copied_by_skopeo("oci"),
    "skopeo oci-archive": copied_by_skopeo("oci-archive"),
    "skopeo docker-archive": copied_by_skopeo("docker-archive"),
    "docker 25 archive": written_by_docker_25,
    "umoci layout": written_by_umoci,
}


@pytest.fixture(scope="module", params=WRITERS)
def reference(request, tmp_path_factory) -> str:
    return WRITERS[request.param](tmp_path_factory.mktemp("image"))


@pytest.fixture
def source(reference) -> ImageSource:
    return open_source(parse_reference(reference))


@pytest.fixture
def manifest(source) -> ImageManifest:
    return ImageManifest.parse(source.fetch_manifest(source.fetch_root()))


def read_whole(source: ImageSource, descriptor: Descriptor) -> bytes:
    with source.open_blob(descriptor) as chunks:
        return b"".join(checked(descriptor, chunks))


ABSENT = Descriptor(media_type=media_types.OCI_LAYER, digest=digest_of(b"absent"), size=6)


def test_the_root_describes_an_existing_manifest(source):
    root = source.fetch_root()

    assert root.media_type == media_types.OCI_MANIFEST
    check_content(root, source.fetch_manifest(root))


def test_the_config_has_platform_and_layers(source, manifest):
    config = ImageConfig.parse(source.fetch_manifest(manifest.config))

    assert str(config.platform.normalized()) == "linux/arm64"
    assert len(config.diff_ids) == len(manifest.layers) > 0


def test_every_layer_streams_whole_and_matches_the_config(source, manifest):
    config = ImageConfig.parse(source.fetch_manifest(manifest.config))

    for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        content = read_whole(source, layer)
        if media_types.compression_of(layer.media_type) is Compression.GZIP:
            content = zlib.decompress(content, wbits=31)
        assert Digest(algorithm="sha256", hex=hashlib.sha256(content).hexdigest()) == diff_id


def test_a_blob_comes_in_chunks_of_at_most_a_mebibyte(source, manifest):
    for layer in manifest.layers:
        with source.open_blob(layer) as chunks:
            sizes = [len(chunk) for chunk in chunks]
        assert sum(sizes) == layer.size
        assert 0 < max(sizes) <= CHUNK_BYTES


def test_a_range_is_the_same_part_of_the_blob(source, manifest):
    layer = manifest.layers[0]
    content = read_whole(source, layer)
    size = layer.size

    for start, end in [
        (0, 1),
        (0, size),
        (100, 300),
        (size - 1, size),
        (size - 5, size + 5),
        (size, size + 1),
        (7, 7),
    ]:
        assert source.fetch_range(layer, start, end) == content[start:end]


def test_two_readers_of_one_blob_are_independent(source, manifest):
    layer = manifest.layers[0]
    with source.open_blob(layer) as first, source.open_blob(layer) as second:
        assert next(first) == next(second) == source.fetch_range(layer, 0, CHUNK_BYTES)


def test_all_content_of_the_manifest_exists(source, manifest):
    assert all(source.has_blob(blob) for blob in (manifest.config, *manifest.layers))


def test_missing_content_is_an_error(source):
    assert not source.has_blob(ABSENT)
    with pytest.raises(BlobMissing, match=str(ABSENT.digest)), source.open_blob(ABSENT):
        pass
    with pytest.raises(BlobMissing):
        source.fetch_range(ABSENT, 0, 1)
    with pytest.raises(BlobMissing):
        source.fetch_manifest(ABSENT)


def test_a_blob_of_another_size_than_described_is_refused_before_it_is_read(source, manifest):
    layer = manifest.layers[0]
    wrong = Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size + 1)

    assert not source.has_blob(wrong)
    with (
        pytest.raises(SizeMismatch, match=f"has {layer.size} bytes, want {wrong.size}"),
        source.open_blob(wrong),
    ):
        pass


@pytest.mark.parametrize(
    ("media_type", "size"),
    [(media_types.OCI_MANIFEST, 4 * 2**20 + 1), (media_types.OCI_CONFIG, 8 * 2**20 + 1)],
)
def test_a_document_over_the_limit_is_refused_before_it_is_read(source, media_type, size):
    with pytest.raises(InvalidDocument, match=f"{size} bytes, the limit for such a document is {size - 1}"):
        source.fetch_manifest(Descriptor(media_type=media_type, digest=ABSENT.digest, size=size))


def test_without_a_tag_the_only_image_is_meant(reference, source):
    transport, path, *_ = reference.split(":")

    assert open_source(parse_reference(f"{transport}:{path}")).fetch_root() == source.fetch_root()


def test_an_unknown_tag_is_refused_with_a_list_of_tags(reference):
    transport, path, *tag = reference.split(":")

    with pytest.raises(NotInImage, match=f"found none; .*: .*{':'.join(tag)}"):
        open_source(parse_reference(f"{transport}:{path}:other:9")).fetch_root()


# What skopeo makes of the same files


@pytest.mark.parametrize("writer", ["skopeo oci", "skopeo oci-archive", "umoci layout"])
def test_skopeo_sees_the_same_manifest(tmp_path, writer):
    reference = WRITERS[writer](tmp_path)
    source = open_source(parse_reference(reference))

    assert skopeo("inspect", "--raw", reference).encode() == source.fetch_manifest(source.fetch_root())


@pytest.mark.parametrize("image", ["oci-index-two-platforms", "oci-index-with-attestation"])
@pytest.mark.parametrize("transport", ["oci", "oci-archive"])
def test_an_index_that_skopeo_copied_whole_is_read_with_all_its_manifests(tmp_path, image, transport):
    reference = f"{transport}:{tmp_path / 'image'}:app"
    skopeo("copy", "--all", f"oci:{GOLDEN_IMAGES / image}:latest", reference)
    source = open_source(parse_reference(reference))

    entries = ImageIndex.parse(source.fetch_manifest(source.fetch_root())).manifests or ()

    assert len(entries) == 2
    for entry in entries:
        manifest = ImageManifest.parse(source.fetch_manifest(entry))
        assert all(source.has_blob(blob) for blob in (manifest.config, *(manifest.layers or ())))


def test_the_layers_of_a_docker_archive_are_those_that_skopeo_reads(tmp_path):
    reference = WRITERS["skopeo docker-archive"](tmp_path)
    source = open_source(parse_reference(reference))
    ours = ImageManifest.parse(source.fetch_manifest(source.fetch_root()))
    theirs = ImageManifest.parse(skopeo("inspect", "--raw", reference).encode())

    assert ours.config.digest == theirs.config.digest
    assert [layer.digest for layer in ours.layers or ()] == [layer.digest for layer in theirs.layers or ()]


def test_an_image_among_several_in_a_docker_archive_is_chosen_by_name(tmp_path):
    archive = tmp_path / "image"
    skopeo("copy", "--additional-tag", "web:2", f"oci:{GOLDEN}:latest", f"docker-archive:{archive}:app:1.0")

    roots = {
        open_source(parse_reference(f"docker-archive:{archive}:{n}")).fetch_root()
        for n in ("app:1.0", "web:2")
    }

    assert len(roots) == 1
