"""Layouts that we write, read by skopeo: an independent client finds nothing wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.reference import parse_reference
from soci.places.layout.oci_layout import OciLayout
from soci.places.open import open_sink, open_source
from soci.places.ports import ArtifactSink, ImageSource
from tests.golden_images import GOLDEN_IMAGES
from tests.image_files import Image, describe, skopeo, tar_of

SOCI_INDEX = b'{"schemaVersion":2,"config":{}}'


def copy_manifest(source: ImageSource, sink: ArtifactSink, descriptor: Descriptor) -> None:
    data = source.fetch_manifest(descriptor)
    if media_types.is_index(descriptor.media_type):
        for entry in ImageIndex.parse(data).manifests or ():
            copy_manifest(source, sink, entry)
    else:
        manifest = ImageManifest.parse(data)
        for blob in (manifest.config, *(manifest.layers or ())):
            if not sink.has_blob(blob):
                with source.open_blob(blob) as chunks:
                    sink.push_blob(blob, chunks)
    sink.push_manifest(descriptor, data)


def copy_image(source_text: str, sink_text: str, tag: str) -> Descriptor:
    source, sink = open_source(parse_reference(source_text)), open_sink(parse_reference(sink_text))
    root = source.fetch_root()
    copy_manifest(source, sink, root)
    sink.push_root(root, tag)
    return root


def tags_of(layout: Path) -> list[str | None]:
    entries = json.loads((layout / "index.json").read_text())["manifests"]
    return [entry.get("annotations", {}).get("org.opencontainers.image.ref.name") for entry in entries]


@pytest.mark.parametrize(
    "image",
    ["oci-index-two-platforms", "oci-index-with-attestation", "oci-single-arm64", "only-small-layers"],
)
def test_skopeo_copies_our_layout_and_checks_every_digest(tmp_path, image):
    root = copy_image(f"oci:{GOLDEN_IMAGES / image}", f"oci:{tmp_path / 'ours'}", "v1")

    skopeo("copy", "--all", "--preserve-digests", f"oci:{tmp_path / 'ours'}:v1", f"dir:{tmp_path / 'theirs'}")

    assert (tmp_path / "theirs/manifest.json").read_bytes() == OciLayout(tmp_path / "ours").fetch_manifest(
        root
    )


@pytest.mark.parametrize("image", ["docker-manifest-list", "docker-plain-tar-layer"])
def test_an_image_of_docker_types_is_copied_whole(tmp_path, image):
    """Skopeo is no help here: it does not look for Docker's types in index.json."""
    root = copy_image(f"oci:{GOLDEN_IMAGES / image}", f"oci:{tmp_path}", "v1")

    blobs = {path.name: path.read_bytes() for path in (tmp_path / "blobs/sha256").iterdir()}
    assert OciLayout(tmp_path, tag="v1").fetch_root().media_type == root.media_type
    assert blobs == {
        path.name: path.read_bytes() for path in (GOLDEN_IMAGES / image / "blobs/sha256").iterdir()
    }


def test_we_and_skopeo_write_to_one_layout_in_turn(tmp_path):
    layout = tmp_path / "shared"
    first, second = (GOLDEN_IMAGES / name for name in ("oci-single-arm64", "only-small-layers"))

    copy_image(f"oci:{first}", f"oci:{layout}", "a")
    skopeo("copy", f"oci:{second}", f"oci:{layout}:b")
    copy_image(f"oci:{second}", f"oci:{layout}", "c")
    skopeo("copy", f"oci:{first}", f"oci:{layout}:d")

    assert tags_of(layout) == ["a", "b", "c", "d"]
    for tag in "abcd":
        assert json.loads(skopeo("inspect", "--raw", f"oci:{layout}:{tag}"))["schemaVersion"] == 2


def test_skopeo_sees_the_new_image_under_a_moved_tag(tmp_path):
    layout = tmp_path / "ours"
    copy_image(f"oci:{GOLDEN_IMAGES / 'oci-single-arm64'}", f"oci:{layout}", "v1")
    root = copy_image(f"oci:{GOLDEN_IMAGES / 'only-small-layers'}", f"oci:{layout}", "v1")

    assert tags_of(layout) == ["v1"]
    assert skopeo("inspect", "--raw", f"oci:{layout}:v1").encode() == OciLayout(layout).fetch_manifest(root)


def test_skopeo_still_finds_an_image_beside_an_untagged_artifact(tmp_path):
    image = Image(layers=(tar_of({"a": b"1"}),))
    layout = OciLayout(tmp_path / "ours")
    for blob in image.blobs:
        layout.push_blob(describe(blob), [blob])
    layout.push_root(image.root, "v1")
    artifact = describe(SOCI_INDEX, media_types.OCI_MANIFEST, artifact_type=media_types.SOCI_INDEX_V1)

    layout.push_manifest(artifact, SOCI_INDEX)
    layout.push_root(artifact, None)
    layout.push_root(artifact, None)

    assert tags_of(layout.path) == ["v1", None]
    assert layout.fetch_root().digest == image.root.digest
    assert skopeo("inspect", "--raw", f"oci:{layout.path}:v1").encode() == image.manifest
