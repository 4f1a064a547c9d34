from __future__ import annotations

import json
from dataclasses import replace

import pytest

from soci.index.classify import is_soci_index
from soci.index.convert import PlatformIndex, convert_image, index_of_single
from soci.index.document import document_of
from soci.oci import media_types
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.platform import Platform
from tests.builders import describe, image_of, multi_platform

INDEX_DIGEST = "com.amazon.soci.index-digest"
MANIFEST_DIGEST = "com.amazon.soci.image-manifest-digest"
REFERENCE = "vnd.docker.reference.digest"

AMD64, ARM64 = (image_of(b"layer", platform=platform) for platform in ("linux/amd64", "linux/arm64/v8"))


def index_of(*images, extra=(), **fields) -> ImageIndex:
    return replace(ImageIndex.parse(multi_platform(*images, extra=extra).document), **fields)


def soci_index_for(image, content=b"soci index", platform=None) -> PlatformIndex:
    document = document_of(media_types.OCI_MANIFEST, content, artifact_type=media_types.SOCI_INDEX_V2)
    return PlatformIndex(
        image_manifest=image.root.digest, platform=platform or image.root.platform, index=document
    )


def converted(index: ImageIndex, images, made):
    """Convert; return the new entries and the rewritten manifests."""
    manifests = {image.root.digest: ImageManifest.parse(image.document) for image in images}
    result = convert_image(index, manifests, made)
    root = ImageIndex.parse(result.root.data)
    assert result.root.descriptor.media_type == media_types.OCI_INDEX
    return root, [ImageManifest.parse(document.data) for document in result.manifests]


def test_a_single_image_becomes_an_index_with_the_image_and_its_soci_index():
    made = soci_index_for(AMD64)
    single = index_of_single(replace(AMD64.root, annotations={"tag": "1"}), Platform.parse("linux/amd64"))

    root, [manifest] = converted(single, [AMD64], [made])

    image, soci_index = root.manifests
    assert manifest.annotations == {INDEX_DIGEST: str(made.index.descriptor.digest)}
    assert image == describe(
        manifest.encode(),
        media_types.OCI_MANIFEST,
        annotations=manifest.annotations,
        platform=Platform(os="linux", architecture="amd64"),
    )
    assert soci_index == replace(
        made.index.descriptor,
        annotations={MANIFEST_DIGEST: str(image.digest)},
        platform=Platform(os="linux", architecture="amd64"),
    )
    assert is_soci_index(soci_index)
    assert not is_soci_index(image)


def test_docker_documents_become_oci_documents_around_docker_layers():
    manifest = ImageManifest.parse(AMD64.document)
    docker = replace(
        manifest,
        media_type=media_types.DOCKER_MANIFEST,
        config=replace(manifest.config, media_type=media_types.DOCKER_CONFIG),
        layers=tuple(
            replace(layer, media_type=media_types.DOCKER_LAYER_GZIP) for layer in manifest.layers or ()
        ),
    )
    entry = describe(docker.encode(), media_types.DOCKER_MANIFEST, platform=AMD64.root.platform)
    index = ImageIndex(media_type=media_types.DOCKER_MANIFEST_LIST, manifests=(entry,))

    result = convert_image(index, {entry.digest: docker}, [])
    root = ImageIndex.parse(result.root.data)
    [rewritten] = [ImageManifest.parse(document.data) for document in result.manifests]

    assert root.media_type == media_types.OCI_INDEX
    assert [one.media_type for one in root.manifests or ()] == [media_types.OCI_MANIFEST]
    assert rewritten.media_type == media_types.OCI_MANIFEST
    assert rewritten.config.media_type == media_types.OCI_CONFIG
    assert [layer.media_type for layer in rewritten.layers or ()] == [media_types.DOCKER_LAYER_GZIP]


def test_soci_indexes_are_appended_in_the_order_in_which_platforms_were_asked_for():
    made = [soci_index_for(ARM64, b"arm"), soci_index_for(AMD64, b"amd")]

    root, _ = converted(index_of(AMD64, ARM64), [AMD64, ARM64], made)

    assert [str(entry.platform) for entry in root.manifests] == [
        *("linux/amd64", "linux/arm64/v8"),
        *("linux/arm64/v8", "linux/amd64"),
    ]
    assert [is_soci_index(entry) for entry in root.manifests] == [False, False, True, True]


def test_the_platform_of_a_soci_index_is_spelled_as_it_was_asked_for():
    made = soci_index_for(ARM64, platform=Platform(os="linux", architecture="arm64"))

    root, _ = converted(index_of(ARM64), [ARM64], [made])

    assert [str(entry.platform) for entry in root.manifests] == ["linux/arm64/v8", "linux/arm64"]


def test_the_index_keeps_its_own_annotations_subject_and_artifact_type():
    fields = {
        "annotations": {"org.example": "kept"},
        "subject": describe(b"subject", media_types.OCI_MANIFEST),
        "artifact_type": "application/example",
    }

    root, _ = converted(index_of(AMD64, **fields), [AMD64], [soci_index_for(AMD64)])

    assert {name: getattr(root, name) for name in fields} == fields


def test_the_annotations_of_an_images_entry_are_replaced_by_those_of_its_manifest():
    entry = replace(AMD64.root, annotations={"of": "the entry"}, urls=("https://example.invalid",))
    index = ImageIndex(manifests=(entry,))

    root, _ = converted(index, [AMD64], [soci_index_for(AMD64)])

    assert list(root.manifests[0].annotations) == [INDEX_DIGEST]
    assert root.manifests[0].urls == entry.urls


def test_an_image_that_was_not_indexed_keeps_its_manifest():
    root, manifests = converted(index_of(AMD64, ARM64), [AMD64, ARM64], [soci_index_for(AMD64)])

    assert root.manifests[1].digest == ARM64.root.digest
    assert [INDEX_DIGEST in manifest.annotations for manifest in manifests] == [True, False]


OTHERS = {
    "nested index": describe(b"nested", media_types.OCI_INDEX, annotations={"a": "1"}),
    "signature": describe(
        b"sig", media_types.OCI_MANIFEST, artifact_type="application/vnd.dev.cosign.simplesigning.v1+json"
    ),
    "chart": describe(
        b"chart", media_types.OCI_MANIFEST, annotations={"org.opencontainers.image.title": "x"}
    ),
    "absent image": describe(
        b"gone", media_types.DOCKER_MANIFEST, platform=Platform(os="windows", architecture="amd64")
    ),
    "stranger": describe(b"what", "application/example", urls=("https://example.invalid",)),
}


@pytest.mark.parametrize("other", OTHERS)
def test_entries_of_artifacts_keep_their_bytes_and_their_order(other):
    root, _ = converted(index_of(AMD64, extra=[OTHERS[other]]), [AMD64], [soci_index_for(AMD64)])

    assert root.manifests[1] == OTHERS[other]


def test_an_attestation_follows_its_image_to_the_new_manifest():
    annotations = {"vnd.docker.reference.type": "attestation-manifest", REFERENCE: str(AMD64.root.digest)}
    unknown = Platform(os="unknown", architecture="unknown")
    attestation = describe(b"att", media_types.OCI_MANIFEST, annotations=annotations, platform=unknown)

    root, _ = converted(index_of(AMD64, extra=[attestation]), [AMD64], [soci_index_for(AMD64)])

    image, written, _ = root.manifests
    assert image.digest != AMD64.root.digest
    assert written == replace(attestation, annotations={**annotations, REFERENCE: str(image.digest)})


def test_an_attestation_that_comes_before_its_image_follows_as_well():
    attestation = describe(
        b"att", media_types.OCI_MANIFEST, annotations={REFERENCE: str(AMD64.root.digest)}, platform=None
    )
    index = ImageIndex(manifests=(attestation, AMD64.root))

    root, _ = converted(index, [AMD64], [soci_index_for(AMD64)])

    assert root.manifests[0].annotations[REFERENCE] == str(root.manifests[1].digest)


def test_an_attestation_of_something_else_is_left_alone():
    attestation = describe(
        b"att", media_types.OCI_MANIFEST, annotations={REFERENCE: f"sha256:{'0' * 64}"}, platform=None
    )

    root, _ = converted(index_of(AMD64, extra=[attestation]), [AMD64], [soci_index_for(AMD64)])

    assert root.manifests[1] == attestation


def without_artifact_types(index: ImageIndex) -> ImageIndex:
    """What skopeo 1.9 makes of an index when it copies it."""
    return replace(index, manifests=tuple(replace(one, artifact_type="") for one in index.manifests or ()))


def convert_again(first, second, copied=lambda index: index):
    """Convert for some SOCI indexes, then the outcome for others; return both roots."""
    manifests = {image.root.digest: ImageManifest.parse(image.document) for image in (AMD64, ARM64)}
    before = convert_image(index_of(AMD64, ARM64), manifests, first)
    images = {document.descriptor.digest: ImageManifest.parse(document.data) for document in before.manifests}
    by_platform = dict(zip(("linux/amd64", "linux/arm64/v8"), images, strict=True))
    made = [replace(one, image_manifest=by_platform[str(one.platform)]) for one in second]
    after = convert_image(copied(ImageIndex.parse(before.root.data)), images, made)
    return before.root, after.root


def test_converting_again_changes_nothing():
    made = [soci_index_for(AMD64, b"amd"), soci_index_for(ARM64, b"arm")]

    before, after = convert_again(made, made)

    assert after == before


def test_converting_another_platform_keeps_the_first_ones_index_and_manifest():
    before, after = convert_again([soci_index_for(AMD64, b"amd")], [soci_index_for(ARM64, b"arm")])

    old, new = (ImageIndex.parse(root.data).manifests for root in (before, after))
    assert old is not None
    assert new is not None
    assert [new[0], new[2]] == [old[0], old[2]]
    assert [str(entry.platform) for entry in new if is_soci_index(entry)] == ["linux/amd64", "linux/arm64/v8"]


def test_an_earlier_index_follows_a_manifest_that_gets_other_bytes():
    """Another tool may have written the manifest with other spaces, which rewriting takes away."""
    spaced = json.dumps(json.loads(AMD64.document), indent=2).encode()
    amd64 = describe(spaced, media_types.OCI_MANIFEST, platform=AMD64.root.platform)
    earlier = replace(
        soci_index_for(AMD64, b"amd").index.descriptor,
        platform=amd64.platform,
        annotations={MANIFEST_DIGEST: str(amd64.digest)},
    )
    index = ImageIndex(manifests=(amd64, ARM64.root, earlier))
    manifests = {
        amd64.digest: ImageManifest.parse(spaced),
        ARM64.root.digest: ImageManifest.parse(ARM64.document),
    }

    result = convert_image(index, manifests, [soci_index_for(ARM64, b"arm")])

    image, _, followed, _ = ImageIndex.parse(result.root.data).manifests or ()
    assert image.digest != amd64.digest
    assert followed == replace(earlier, annotations={MANIFEST_DIGEST: str(image.digest)})


def test_another_index_for_the_same_platform_takes_the_place_of_the_first():
    first = [soci_index_for(AMD64, b"amd"), soci_index_for(ARM64, b"arm")]
    other = soci_index_for(AMD64, b"other settings")

    before, after = convert_again(first, [other])

    old, new = (ImageIndex.parse(root.data).manifests for root in (before, after))
    assert old is not None
    assert new is not None
    assert len(new) == len(old) == 4
    assert new[2].digest == other.index.descriptor.digest
    assert new[2].annotations == {MANIFEST_DIGEST: str(new[0].digest)}
    assert new[0].digest != old[0].digest
    assert [new[1], new[3]] == [old[1], old[3]]


def test_a_soci_index_that_lost_its_artifact_type_is_replaced_and_gets_it_back():
    made = [soci_index_for(AMD64, b"amd"), soci_index_for(ARM64, b"arm")]

    before, after = convert_again(made, made, copied=without_artifact_types)

    assert after == before
