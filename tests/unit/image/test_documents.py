from __future__ import annotations

from dataclasses import replace

import pytest

from soci.errors import DigestMismatch, InvalidDocument, NotInImage, SizeMismatch
from soci.image.documents import Platforms, choose_images, fetch_diff_ids_of, fetch_image, host_platform
from soci.oci import media_types
from soci.oci.digest import digest_of
from soci.oci.manifest import ImageManifest
from soci.oci.platform import Platform
from soci.places.layout.oci_layout import OciLayout
from tests.builders import (
    Image,
    MemorySource,
    describe,
    file,
    gzip_of,
    image_of,
    layout_of,
    multi_platform,
    tar_of,
    with_soci_index,
)

LAYER = gzip_of(tar_of(file("a", b"x")))
ABSENT = ("linux/s390x", "linux/ppc64le")
"""Platforms that no machine which runs these tests has."""


def platforms_in(image: Image) -> list[str]:
    return [str(one.platform) for one in fetch_image(MemorySource(image)).images]


def chosen(image: Image, wanted: list[str] | Platforms) -> list[str]:
    platforms = wanted if isinstance(wanted, Platforms) else [Platform.parse(text) for text in wanted]
    return [str(one.platform) for one in choose_images(fetch_image(MemorySource(image)), platforms)]


def test_the_tar_of_a_layer_is_named_once_for_each_occurrence_of_the_layer():
    tars = [tar_of(file(name, b"x")) for name in ("a", "b", "c")]
    first, second, absent = map(gzip_of, tars)
    source = MemorySource(image_of(first, second, first))

    assert list(fetch_diff_ids_of(source, digest_of(first))) == [digest_of(tars[0])] * 2
    assert list(fetch_diff_ids_of(source, digest_of(second))) == [digest_of(tars[1])]
    assert list(fetch_diff_ids_of(source, digest_of(absent))) == []


def with_entries(image: Image, **fields) -> Image:
    """The same single image under an index whose entry has other fields."""
    return multi_platform(replace(image, root=replace(image.root, **fields)))


@pytest.mark.parametrize(
    ("in_config", "normalized"),
    [("linux/amd64", "linux/amd64"), ("linux/arm64/v8", "linux/arm64"), ("linux/arm", "linux/arm/v7")],
)
def test_a_single_image_has_the_platform_of_its_config_normalized(in_config, normalized):
    image = image_of(LAYER, platform=in_config)

    assert platforms_in(replace(image, root=replace(image.root, platform=None))) == [normalized]


def test_an_image_in_an_index_has_the_platform_of_its_entry_as_written():
    image = with_entries(image_of(LAYER), platform=Platform(os="linux", architecture="x86_64"))

    assert platforms_in(image) == ["linux/x86_64"]


def test_an_entry_without_platform_has_that_of_the_config():
    assert platforms_in(with_entries(image_of(LAYER, platform="linux/arm64/v8"), platform=None)) == [
        "linux/arm64"
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"platform": Platform(os="unknown", architecture="unknown")},
        {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
        {"artifact_type": media_types.SOCI_INDEX_V2},
        {"media_type": media_types.OCI_INDEX},
        {"media_type": "application/example"},
    ],
    ids=["unknown platform", "attestation", "artifact", "nested index", "other type"],
)
def test_entries_of_artifacts_are_skipped(fields):
    assert platforms_in(with_entries(image_of(LAYER), **fields)) == []


CHART = "application/vnd.cncf.helm.config.v1+json"


@pytest.mark.parametrize(
    "disguised",
    [
        lambda manifest: replace(manifest, artifact_type=CHART),
        lambda manifest: replace(manifest, config=replace(manifest.config, media_type=CHART)),
    ],
    ids=["artifact type", "config"],
)
def test_manifests_of_artifacts_are_skipped(disguised):
    image = image_of(LAYER)
    other = disguised(ImageManifest.parse(image.document))
    root = describe(other.encode(), media_types.OCI_MANIFEST)
    artifact = Image(root=root, blobs={**image.blobs, root.digest: other.encode()})

    assert platforms_in(multi_platform(artifact, image)) == ["linux/amd64"]
    with pytest.raises(InvalidDocument, match=r"is no container image: its manifest is of the type .*helm"):
        fetch_image(MemorySource(artifact))


def test_an_image_whose_manifest_is_missing_is_skipped():
    here, gone = (image_of(LAYER, platform=platform) for platform in ABSENT)

    assert platforms_in(multi_platform(gone, here).damaged(gone.root.digest, None)) == [ABSENT[0]]


def test_a_manifest_that_is_cut_short_is_not_taken_for_a_missing_one(tmp_path):
    images = [image_of(LAYER, platform=platform) for platform in ABSENT]
    cut = multi_platform(*images).damaged(images[1].root.digest, images[1].document[:-1])

    with pytest.raises(SizeMismatch, match=images[1].root.digest.hex):
        fetch_image(OciLayout(layout_of(tmp_path, cut), tag="latest"))


def test_a_manifest_with_other_bytes_is_refused():
    image = image_of(LAYER)
    other = image.document.replace(b"tar+gzip", b"tar+gzap")

    for root in (image, multi_platform(image)):
        with pytest.raises(DigestMismatch):
            fetch_image(MemorySource(root.damaged(image.root.digest, other)))


def test_the_soci_index_of_a_converted_image_is_no_image():
    assert platforms_in(with_soci_index(image_of(LAYER))) == ["linux/amd64"]


def test_platforms_come_in_the_order_asked_for_and_each_once():
    image = multi_platform(
        image_of(LAYER, platform="linux/amd64"), image_of(LAYER, platform="linux/arm64/v8")
    )

    assert chosen(image, ["linux/arm64", "linux/amd64", "linux/aarch64"]) == ["linux/arm64", "linux/amd64"]


def test_all_platforms_come_in_the_order_of_the_index_spelled_as_there():
    images = [
        image_of(LAYER, platform=platform) for platform in ("linux/arm64/v8", "linux/amd64", "linux/arm64")
    ]

    assert chosen(multi_platform(*images), Platforms.ALL) == ["linux/arm64/v8", "linux/amd64"]


def test_of_two_images_for_a_platform_the_first_is_taken():
    first, second = (image_of(layer, platform="linux/arm64") for layer in (LAYER, gzip_of(tar_of())))
    found = fetch_image(MemorySource(multi_platform(first, second)))

    [one] = choose_images(found, [Platform.parse("linux/arm64")])

    assert one.descriptor.digest == first.root.digest


@pytest.mark.parametrize(
    ("there", "asked"),
    [("linux/arm/v6", "linux/arm/v7"), ("linux/arm/v7", "linux/arm/v6"), ("linux/amd64", "windows/amd64")],
)
def test_a_platform_matches_strictly(there, asked):
    image = multi_platform(image_of(LAYER, platform=there))

    with pytest.raises(NotInImage, match=f"has no platform {asked}; it has {there}$"):
        chosen(image, [asked])


def test_a_missing_platform_is_an_error_that_lists_the_others():
    image = multi_platform(*(image_of(LAYER, platform=platform) for platform in ABSENT))

    with pytest.raises(NotInImage, match="no platform linux/riscv64; it has linux/s390x, linux/ppc64le"):
        chosen(image, [ABSENT[0], "linux/riscv64"])


def test_without_a_wish_the_platform_of_this_machine_is_taken():
    host = str(host_platform())
    image = multi_platform(*(image_of(LAYER, platform=platform) for platform in (ABSENT[0], host, ABSENT[1])))

    assert chosen(image, Platforms.HOST) == [host]


def test_without_a_wish_and_nothing_for_this_machine_all_are_taken():
    image = multi_platform(*(image_of(LAYER, platform=platform) for platform in ABSENT))

    assert chosen(image, Platforms.HOST) == list(ABSENT)


@pytest.mark.parametrize("wanted", list(Platforms))
def test_an_index_without_images_is_refused(wanted):
    with pytest.raises(NotInImage, match="holds no image manifest that can be fetched"):
        chosen(multi_platform(), wanted)


def test_this_machine_runs_linux_containers():
    assert host_platform().os == "linux"
    assert host_platform() == host_platform().normalized()
