from __future__ import annotations

import json
from dataclasses import replace

import pytest

from local.registry import Answer, request_to
from soci.errors import DigestMismatch, NotInImage, RegistryUnavailable
from soci.image.documents import fetch_image
from soci.index.classify import LIMITS
from soci.oci import media_types
from soci.oci.annotations import DOCKER_REFERENCE_DIGEST, DOCKER_REFERENCE_TYPE, SOCI_INDEX_DIGEST
from soci.oci.compression import Compression
from soci.oci.digest import digest_of
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.platform import Platform
from soci.places.layout.oci_layout import OciLayout
from soci.reasons import Reason
from soci.service.filter.decide import decide
from soci.service.filter.requests import parse_request
from soci.service.messages import Action
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration
from tests.builders import (
    Image,
    describe,
    file,
    gzip_of,
    image_of,
    multi_platform,
    soci_index_of,
    tar_of,
    text,
    with_soci_index,
    with_soci_v1_index,
)
from tests.unit.service.places import by_hand, configuration, imitation, index, pushed

BASE = gzip_of(tar_of(file("base", text(200_000, "base"))))
APP = gzip_of(tar_of(file("app", text(100_000, "app"))))
ARM_APP = gzip_of(tar_of(file("app", text(90_000, "arm"))))
TINY = gzip_of(tar_of(file("motd", b"hello")))
PLAIN_TAR = tar_of(file("plain", text(2_000, "plain")))

AMD = image_of(BASE, APP, platform="linux/amd64")
ARM = image_of(BASE, ARM_APP, platform="linux/arm64/v8")
OTHER = image_of(APP, platform="linux/amd64")
SETTINGS = configuration()
TOO_LARGE_A_MINIMUM = {"min_image_size_bytes": 1 << 30}


def artifact(
    config_type: str = media_types.OCI_CONFIG, layer_type: str = "", artifact_type: str = ""
) -> Image:
    """A manifest with the types of an image that is not an image."""
    config, layer = b"{}", b"content"
    layers = (describe(layer, layer_type),) if layer_type else ()
    manifest = ImageManifest(
        config=describe(config, config_type), layers=layers, artifact_type=artifact_type
    ).encode()
    root = describe(manifest, media_types.OCI_MANIFEST)
    return Image(root=root, blobs={digest_of(data): data for data in (config, layer, manifest)})


ATTESTATION = artifact(layer_type="application/vnd.in-toto+json")


def attested(*images: Image) -> Image:
    """An index of images and an attestation of the first, as BuildKit writes it."""
    subject = str(images[0].root.digest)
    marks = {DOCKER_REFERENCE_TYPE: "attestation-manifest", DOCKER_REFERENCE_DIGEST: subject}
    unknown = Platform(os="unknown", architecture="unknown")
    entry = replace(ATTESTATION.root, annotations=marks, platform=unknown)
    joined = multi_platform(*images, extra=(entry,))
    return replace(joined, blobs={**joined.blobs, **ATTESTATION.blobs})


# What is indexed


def test_a_pushed_image_is_indexed_with_its_layers_the_largest_first(place):
    root = place.put("app", image_of(TINY, APP, BASE), "1.4")

    decision = decide(pushed("app", root, "1.4"), SETTINGS, place)

    assert decision.action is Action.INDEX
    assert decision.reason is None
    assert [layer.digest for layer in decision.layers] == [digest_of(layer) for layer in (BASE, APP, TINY)]
    assert {layer.compression for layer in decision.layers} == {Compression.GZIP}
    [platform] = decision.platforms
    assert (platform.platform, platform.digest, platform.layers) == ("linux/amd64", root.digest, (2, 1, 0))


def test_platforms_share_layers_and_an_attestation_is_not_a_platform(place):
    image = attested(AMD, ARM)
    root = place.put("app", image, "1.4")

    decision = decide(pushed("app", root, "1.4"), SETTINGS, place)

    assert [layer.digest for layer in decision.layers] == [digest_of(one) for one in (BASE, APP, ARM_APP)]
    assert [(one.platform, one.layers) for one in decision.platforms] == [
        ("linux/amd64", (0, 1)),
        ("linux/arm64/v8", (0, 2)),
    ]


def test_a_layer_that_occurs_twice_is_indexed_once(layouts):
    root = layouts.put("app", image_of(APP, BASE, APP), "1.4")

    decision = decide(pushed("app", root, "1.4"), SETTINGS, layouts)

    assert [layer.digest for layer in decision.layers] == [digest_of(BASE), digest_of(APP)]
    assert decision.platforms[0].layers == (1, 0, 1)


def test_layers_are_left_out_by_their_descriptions_and_counted(layouts):
    types = {2: media_types.OCI_LAYER_ZSTD, 3: "application/vnd.example"}
    root = layouts.put("app", image_of(BASE, PLAIN_TAR, APP, ARM_APP, TINY, layer_types=types), "1.4")
    settings = configuration(index={"min_layer_size_bytes": 1_000})

    decision = decide(pushed("app", root, "1.4"), settings, layouts)

    assert [layer.compression for layer in decision.layers] == [Compression.GZIP, Compression.UNCOMPRESSED]
    assert decision.platforms[0].left_out == {Reason.ZSTD: 1, Reason.NOT_A_LAYER: 1, Reason.BELOW_MIN_SIZE: 1}


def test_a_zstd_layer_is_planned_when_it_is_to_be_recompressed(layouts):
    root = layouts.put("app", image_of(BASE, APP, layer_types={1: media_types.OCI_LAYER_ZSTD}), "1.4")

    decision = decide(pushed("app", root, "1.4"), configuration(index={"zstd_layers": "recompress"}), layouts)

    assert [layer.compression for layer in decision.layers] == [Compression.GZIP, Compression.ZSTD]


def test_a_platform_that_the_rules_leave_out_leaves_the_others_in(layouts):
    windows = image_of(BASE, platform="windows/amd64")
    root = layouts.put("app", multi_platform(AMD, ARM, windows), "1.4")

    decision = decide(pushed("app", root, "1.4"), configuration(rules={"architectures": ["arm64"]}), layouts)

    assert decision.action is Action.INDEX
    assert [one.reason for one in decision.platforms] == [
        ImageReason.ARCHITECTURE_EXCLUDED,
        None,
        ImageReason.NOT_LINUX,
    ]
    assert [layer.digest for layer in decision.layers] == [digest_of(BASE), digest_of(ARM_APP)]


def test_the_size_that_counts_is_that_of_one_platform(layouts):
    small = image_of(TINY, platform="linux/arm64")
    root = layouts.put("app", multi_platform(AMD, small), "1.4")
    limits = {"min_image_size_bytes": len(BASE) + len(APP)}

    exactly = decide(pushed("app", root, "1.4"), configuration(rules=limits), layouts)
    one_more = decide(
        pushed("app", root, "1.4"),
        configuration(rules={"min_image_size_bytes": len(BASE) + len(APP) + 1}),
        layouts,
    )

    assert [one.reason for one in exactly.platforms] == [None, ImageReason.IMAGE_TOO_SMALL]
    assert one_more.reason is ImageReason.IMAGE_TOO_SMALL


def test_an_image_by_digest_is_indexed_on_request_even_if_untagged_pushes_are_left_out(place):
    root = place.put("app", AMD)

    by_event = decide(pushed("app", root), SETTINGS, place)
    asked_for = decide(by_hand("app", str(root.digest)), SETTINGS, place)

    assert by_event.reason is ImageReason.UNTAGGED
    assert asked_for.action is Action.INDEX


def test_untagged_pushes_are_indexed_if_the_rules_say_so(layouts):
    root = layouts.put("app", AMD)

    decision = decide(pushed("app", root), configuration(rules={"untagged_images": "index"}), layouts)

    assert decision.action is Action.INDEX


# What is not there, or not any more


def test_a_push_whose_tag_has_moved_on_is_superseded(place):
    old = place.put("app", AMD, "1.4")
    new = place.put("app", OTHER, "1.4")

    decision = decide(pushed("app", old, "1.4"), SETTINGS, place)

    assert decision.reason is ImageReason.SUPERSEDED
    assert decision.request.digest == old.digest
    assert str(new.digest) in decision.detail


@pytest.mark.parametrize("tag", ["1.4", ""], ids=["by tag", "by digest"])
@pytest.mark.parametrize("repository", ["app", "other"], ids=["image", "repository"])
def test_a_deleted_image_is_skipped(place, tag, repository):
    place.put("app", OTHER, "latest")

    decision = decide(
        pushed(repository, AMD.root, tag), configuration(rules={"untagged_images": "index"}), place
    )

    assert (decision.action, decision.reason) == (Action.SKIP, ImageReason.IMAGE_GONE)


@pytest.mark.parametrize("reference", ["1.5", str(AMD.root.digest)], ids=["tag", "digest"])
@pytest.mark.parametrize("repository", ["app", "other"], ids=["image", "repository"])
def test_an_image_by_hand_that_does_not_exist_is_an_error(place, repository, reference):
    place.put("app", OTHER, "latest")

    with pytest.raises(NotInImage, match=reference):
        decide(by_hand(repository, reference), SETTINGS, place)

    listed = replace(by_hand(repository, reference), is_listed=True)
    assert decide(listed, SETTINGS, place).reason is ImageReason.IMAGE_GONE


def test_an_image_without_its_config_counts_as_deleted(layouts):
    config = ImageManifest.parse(AMD.document).config.digest
    root = layouts.put("app", AMD.damaged(config, None), "1.4")

    decision = decide(pushed("app", root, "1.4"), SETTINGS, layouts)

    assert (decision.action, decision.reason) == (Action.SKIP, ImageReason.IMAGE_GONE)
    assert str(config) in decision.detail


def test_an_index_without_any_of_its_images_is_skipped(layouts):
    root = layouts.put("app", multi_platform(AMD).damaged(AMD.root.digest, None), "1.4")

    decision = decide(pushed("app", root, "1.4"), SETTINGS, layouts)

    assert (decision.action, decision.reason) == (Action.SKIP, ImageReason.NOT_AN_IMAGE)
    assert decision.detail == "an index without an image that is at hand"


def test_a_registry_that_does_not_answer_is_a_retryable_error(memory):
    root = memory.put("app", AMD, "1.4")
    memory.registry.fail(Answer(503), times=None)

    with pytest.raises(RegistryUnavailable) as failure:
        decide(pushed("app", root, "1.4"), SETTINGS, memory)

    assert failure.value.retryable


def test_a_corrupt_document_is_an_error(layouts):
    damaged = multi_platform(AMD, ARM).damaged(ARM.root.digest, ARM.document[:-1] + b" ")
    root = layouts.put("app", multi_platform(AMD), "1.4")
    damaged_root = multi_platform(AMD, ARM)
    layout = OciLayout(layouts.directory / "app")
    for digest, data in damaged.blobs.items():
        path = layouts.directory / "app" / "blobs" / digest.algorithm / digest.hex
        path.write_bytes(data)
    layout.push_root(replace(damaged_root.root, platform=None), "1.5")

    assert decide(by_hand("app", "1.4"), SETTINGS, layouts).request.digest == root.digest
    with pytest.raises(DigestMismatch):
        decide(by_hand("app", "1.5"), SETTINGS, layouts)


# What is no image


NOT_IMAGES = {
    "chart": artifact(
        "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    ),
    "signature": artifact(layer_type="application/vnd.dev.cosign.simplesigning.v1+json"),
    "attestation": ATTESTATION,
    "wasm": artifact("application/vnd.wasm.config.v0+json", "application/wasm"),
    "wasm under an image's config": artifact(layer_type="application/vnd.wasm.content.layer.v1+wasm"),
    "artifact": artifact(media_types.OCI_EMPTY, "text/plain", "application/vnd.example"),
}


@pytest.mark.parametrize("what", NOT_IMAGES.values(), ids=NOT_IMAGES)
def test_other_artifacts_are_skipped_and_get_no_tag(place, what):
    root = place.put("app", what, "1.4")

    for request in (pushed("app", root, "1.4"), by_hand("app", "1.4", force=True)):
        decision = decide(request, SETTINGS, place)

        assert (decision.action, decision.reason) == (Action.SKIP, ImageReason.NOT_AN_IMAGE)


def test_an_index_of_artifacts_is_not_an_image(layouts):
    chart = NOT_IMAGES["chart"]
    root = layouts.put("app", multi_platform(chart), "1.4")

    assert decide(by_hand("app", "1.4"), SETTINGS, layouts).reason is ImageReason.NOT_AN_IMAGE
    assert root.digest != chart.root.digest


def test_a_module_beside_an_image_is_left_out_and_the_image_is_indexed(layouts):
    module = NOT_IMAGES["wasm under an image's config"]
    wasi = replace(module.root, platform=Platform(os="wasip1", architecture="wasm"))
    root = layouts.put("app", multi_platform(AMD, replace(module, root=wasi)), "1.4")

    decision = decide(pushed("app", root, "1.4"), SETTINGS, layouts)

    assert decision.action is Action.INDEX
    assert [one.reason for one in decision.platforms] == [None, ImageReason.NOT_AN_IMAGE]


def test_a_manifest_of_an_unknown_type_is_skipped(memory):
    document = b'{"schemaVersion": 1, "name": "app", "fsLayers": []}'
    memory.registry.repository("app").put_manifest(document, tag="old")

    decision = decide(by_hand("app", "old"), SETTINGS, memory)

    assert (decision.action, decision.reason) == (Action.SKIP, ImageReason.NOT_AN_IMAGE)


# What indexing made


def soci_index_image(version: int) -> Image:
    """The index manifest of a SOCI index as an image that a reference names."""
    manifest, blobs = soci_index_of(AMD, version=version)
    data = manifest.encode()
    return Image(
        root=describe(data, media_types.OCI_MANIFEST),
        blobs={**AMD.blobs, **blobs, digest_of(data): data},
    )


def annotated_manifest() -> Image:
    converted = with_soci_index(AMD)
    entry = (ImageIndex.parse(converted.document).manifests or ())[0]
    return replace(converted, root=replace(entry, annotations={}, platform=None))


OURS = {
    "v1 index": soci_index_image(1),
    "v2 index": soci_index_image(2),
    "SOCI-enabled image": with_soci_index(AMD),
    "its image manifest": annotated_manifest(),
}


@pytest.mark.parametrize("policy", ["suffix", "replace", "digest-only"])
@pytest.mark.parametrize("tag", ["", "1.4", "1.4-soci"], ids=["untagged", "tag", "tag with suffix"])
@pytest.mark.parametrize("ours", OURS.values(), ids=OURS)
def test_the_push_of_what_indexing_made_is_always_skipped(layouts, ours, tag, policy):
    root = layouts.put("app", ours, *filter(None, [tag]))
    settings = configuration(tagging={"policy": policy}, rules={"untagged_images": "index"})

    decision = decide(pushed("app", root, tag), settings, layouts)

    assert (decision.action, decision.reason) == (Action.SKIP, ImageReason.OWN_ARTIFACT)


@pytest.mark.parametrize("policy", ["suffix", "replace", "digest-only"])
@pytest.mark.parametrize("kind", ["annotation", "annotated entry"])
def test_an_image_that_falsely_claims_a_soci_index_is_indexed_once(memory, kind, policy):
    settings = configuration(tagging={"policy": policy}, rules={"untagged_images": "index"})
    root = memory.put("app", imitation(kind, AMD, ARM), "1.4")
    request = pushed("app", root, "1.4")
    assert decide(request, settings, memory).action is Action.INDEX
    memory.events.clear()

    index(memory, request, settings)

    reasons = [decide(parse_request(event), settings, memory).reason for event in memory.events]
    assert set(reasons) == {ImageReason.OWN_ARTIFACT}


def test_an_image_without_the_soci_index_that_it_names_is_indexed(memory):
    root = memory.put("app", imitation("typed entry", AMD, ARM), "1.4")

    assert decide(pushed("app", root, "1.4"), SETTINGS, memory).action is Action.INDEX


def test_more_claims_of_an_index_than_are_looked_at_are_believed(layouts):
    missing = [
        describe(b"%d" % number, media_types.OCI_MANIFEST, artifact_type=media_types.SOCI_INDEX_V2)
        for number in range(LIMITS.manifests + 1)
    ]
    root = layouts.put("app", multi_platform(AMD, extra=tuple(missing)), "1.4")
    fewer = layouts.put("app", multi_platform(AMD, extra=tuple(missing[1:])), "1.5")

    assert decide(pushed("app", root, "1.4"), SETTINGS, layouts).reason is ImageReason.OWN_ARTIFACT
    assert decide(pushed("app", fewer, "1.5"), SETTINGS, layouts).action is Action.INDEX


def test_no_decision_is_made_when_the_registry_does_not_tell_if_an_index_exists(memory):
    image = with_soci_index(AMD)
    root = memory.put("app", image, "1.4")
    soci_index = str((ImageIndex.parse(image.document).manifests or ())[-1].digest)
    memory.registry.fail(Answer(503), where=request_to("GET", soci_index), times=None)

    with pytest.raises(RegistryUnavailable):
        decide(pushed("app", root, "1.4"), SETTINGS, memory)


def promoted(place, tag: str) -> Image:
    """Put what is left of a SOCI-enabled image when its manifest alone is copied to another registry."""
    place.put("here", AMD, "1")
    index(place, by_hand("here", "1"), configuration())
    source = place("here", "1-soci")
    [one] = fetch_image(source).images
    assert SOCI_INDEX_DIGEST in one.manifest.annotations
    blobs = {**AMD.blobs, one.descriptor.digest: source.fetch_manifest(one.descriptor)}
    image = Image(root=replace(one.descriptor, annotations={}, platform=None), blobs=blobs)
    place.put("there", image, tag)
    return image


@pytest.mark.parametrize("policy", ["suffix", "replace", "digest-only"])
@pytest.mark.parametrize("span_size", [65_536, 131_072], ids=["same settings", "others"])
def test_an_image_that_was_copied_without_its_index_is_indexed_once(memory, policy, span_size):
    settings = configuration(tagging={"policy": policy}, index={"span_size_bytes": span_size})
    image = promoted(memory, "1.4")
    request = pushed("there", image.root, "1.4")
    memory.events.clear()
    assert decide(request, settings, memory).action is Action.INDEX

    made = index(memory, request, settings)

    reasons = [decide(parse_request(event), settings, memory).reason for event in memory.events]
    assert reasons
    assert made.root is not None
    assert set(reasons) <= {ImageReason.OWN_ARTIFACT, ImageReason.UNTAGGED}
    [converted] = fetch_image(memory("there", str(made.root.digest))).images
    entries = ImageIndex.parse(memory("there", str(made.root.digest)).fetch_manifest(made.root)).manifests
    assert converted.manifest.annotations[SOCI_INDEX_DIGEST] in {str(entry.digest) for entry in entries or ()}
    if policy == "suffix":
        assert decide(by_hand("there", "1.4"), settings, memory).reason is ImageReason.ALREADY_INDEXED


@pytest.mark.parametrize("version", ["v1", "v2", "both"])
@pytest.mark.parametrize("policy", ["suffix", "replace", "digest-only"])
@pytest.mark.parametrize("tag", ["1.4", ""], ids=["tagged", "untagged"])
def test_no_push_of_an_indexing_run_starts_another(memory, tag, policy, version):
    settings = configuration(
        tagging={"policy": policy}, index={"version": version}, rules={"untagged_images": "index"}
    )
    root = memory.put("app", attested(AMD, ARM), *filter(None, [tag]))
    request = pushed("app", root, tag)
    assert decide(request, settings, memory).action is Action.INDEX

    index(memory, request, settings)

    assert memory.events
    reasons = [decide(parse_request(event), settings, memory).reason for event in memory.events]
    assert set(reasons) <= {ImageReason.OWN_ARTIFACT}


def test_a_person_may_index_a_soci_enabled_image_again_under_its_own_tag(place):
    settings = configuration(tagging={"policy": "replace"})
    place.put("app", AMD, "1.4")
    index(place, by_hand("app", "1.4"), settings)
    other = configuration(tagging={"policy": "replace"}, index={"span_size_bytes": 131_072})

    assert decide(by_hand("app", "1.4"), settings, place).reason is ImageReason.ALREADY_INDEXED
    assert decide(by_hand("app", "1.4", force=True), settings, place).action is Action.INDEX
    assert decide(by_hand("app", "1.4"), other, place).action is Action.INDEX


def test_our_own_tag_with_the_suffix_is_skipped_even_by_force(place):
    place.put("app", AMD, "1.4")
    index(place, by_hand("app", "1.4"), SETTINGS)

    decision = decide(by_hand("app", "1.4-soci", force=True), SETTINGS, place)

    assert decision.reason is ImageReason.OWN_ARTIFACT


def test_an_image_that_is_not_ours_under_a_tag_with_the_suffix_is_indexed(layouts):
    root = layouts.put("app", AMD, "1.4-soci")

    assert decide(pushed("app", root, "1.4-soci"), SETTINGS, layouts).action is Action.INDEX


# The promised tag


def too_small(**sections) -> Configuration:
    return configuration(rules=TOO_LARGE_A_MINIMUM, **sections)


def test_an_image_of_which_nothing_is_indexed_gets_the_promised_tag(place):
    root = place.put("app", AMD, "1.4")

    decision = decide(pushed("app", root, "1.4"), too_small(), place)

    assert (decision.action, decision.reason) == (Action.TAG, ImageReason.IMAGE_TOO_SMALL)
    assert decision.layers == ()
    assert decision.request.digest == root.digest
    assert decision.platforms[0].reason is ImageReason.IMAGE_TOO_SMALL


@pytest.mark.parametrize(
    "sections",
    [
        {"tagging": {"policy": "replace"}},
        {"tagging": {"policy": "digest-only"}},
        {"tagging": {"when_nothing_to_index": False}},
        {"index": {"version": "v1"}},
    ],
    ids=["replace", "digest-only", "not wanted", "version 1"],
)
def test_no_tag_is_promised_by_other_settings(layouts, sections):
    root = layouts.put("app", AMD, "1.4")

    decision = decide(pushed("app", root, "1.4"), too_small(**sections), layouts)

    assert (decision.action, decision.reason) == (Action.SKIP, ImageReason.IMAGE_TOO_SMALL)


def test_an_image_without_a_tag_is_promised_no_tag(layouts):
    root = layouts.put("app", AMD)

    assert decide(by_hand("app", str(root.digest)), too_small(), layouts).action is Action.SKIP


@pytest.mark.parametrize("tag", ["1.4-soci", "1-soci-2", "1.4-soci-soci"])
def test_a_tag_with_the_suffix_is_promised_no_tag_and_the_detail_says_why(layouts, tag):
    root = layouts.put("app", AMD, tag)

    decision = decide(pushed("app", root, tag), too_small(), layouts)

    assert decision.action is Action.SKIP
    assert decision.detail.endswith(f"; no further tag, since {tag} has -soci")


def test_letters_of_the_suffix_within_a_word_are_not_the_suffix(layouts):
    root = layouts.put("app", AMD, "feature-social-login")

    decision = decide(pushed("app", root, "feature-social-login"), too_small(), layouts)

    assert (decision.action, decision.reason) == (Action.TAG, ImageReason.IMAGE_TOO_SMALL)


def test_a_promised_tag_that_is_set_is_not_set_again(layouts):
    root = layouts.put("app", AMD, "1.4", "1.4-soci")

    decision = decide(pushed("app", root, "1.4"), too_small(), layouts)

    assert (decision.action, decision.reason) == (Action.SKIP, ImageReason.IMAGE_TOO_SMALL)
    assert "1.4-soci names the image already" in decision.detail


def test_a_promised_tag_follows_from_an_older_image(layouts):
    layouts.put("app", with_soci_index(OTHER), "1.4-soci")
    root = layouts.put("app", AMD, "1.4")

    assert decide(pushed("app", root, "1.4"), too_small(), layouts).action is Action.TAG


@pytest.mark.parametrize("settings", [SETTINGS, too_small()], ids=["large enough", "too small"])
def test_an_image_under_its_promised_tag_is_ours(place, settings):
    root = place.put("app", AMD, "1.4", "1.4-soci")

    for request in (pushed("app", root, "1.4-soci"), by_hand("app", "1.4-soci", force=True)):
        assert decide(request, settings, place).reason is ImageReason.OWN_ARTIFACT


def test_an_image_whose_original_tag_has_moved_is_promised_no_further_tag(layouts):
    root = layouts.put("app", AMD, "1.4", "1.4-soci")
    layouts.put("app", OTHER, "1.4")

    decision = decide(pushed("app", root, "1.4-soci"), too_small(), layouts)

    assert (decision.action, decision.reason) == (Action.SKIP, ImageReason.IMAGE_TOO_SMALL)


@pytest.mark.parametrize(
    ("rules", "image", "reason"),
    [
        ({"max_image_size_bytes": 10}, AMD, ImageReason.IMAGE_TOO_LARGE),
        ({"architectures": ["s390x"]}, AMD, ImageReason.ARCHITECTURE_EXCLUDED),
        ({}, image_of(BASE, platform="windows/amd64"), ImageReason.NOT_LINUX),
        ({}, image_of(), ImageReason.NO_LAYER_TO_INDEX),
        (
            {"architectures": ["arm64"], "min_image_size_bytes": 1 << 30},
            multi_platform(AMD, ARM),
            ImageReason.IMAGE_TOO_SMALL,
        ),
    ],
    ids=["too large", "architecture", "system", "no layers", "the most telling of two"],
)
def test_the_reason_for_leaving_an_image_out_is_given_with_the_promised_tag(layouts, rules, image, reason):
    root = layouts.put("app", image, "1.4")

    decision = decide(pushed("app", root, "1.4"), configuration(rules=rules), layouts)

    assert (decision.action, decision.reason) == (Action.TAG, reason)


# What is done already


@pytest.mark.parametrize("version", ["v1", "v2", "both"])
def test_an_image_with_an_index_of_the_same_settings_is_skipped(place, version):
    settings = configuration(index={"version": version})
    root = place.put("app", attested(AMD, ARM), "1.4")
    index(place, by_hand("app", "1.4"), settings)

    again = decide(pushed("app", root, "1.4"), settings, place)
    forced = decide(by_hand("app", "1.4", force=True), settings, place)

    assert (again.action, again.reason) == (Action.SKIP, ImageReason.ALREADY_INDEXED)
    assert forced.action is Action.INDEX


def test_both_versions_must_exist_if_the_settings_ask_for_both(layouts):
    layouts.put("app", AMD, "1.4")
    both = configuration(index={"version": "both"})

    index(layouts, by_hand("app", "1.4"), configuration(index={"version": "v1"}))
    assert decide(by_hand("app", "1.4"), both, layouts).action is Action.INDEX

    index(layouts, by_hand("app", "1.4"), SETTINGS)
    assert decide(by_hand("app", "1.4"), both, layouts).reason is ImageReason.ALREADY_INDEXED


def test_an_index_without_a_tag_is_not_found_and_made_again(layouts):
    settings = configuration(tagging={"policy": "digest-only"})
    layouts.put("app", AMD, "1.4")
    index(layouts, by_hand("app", "1.4"), settings)

    assert decide(by_hand("app", "1.4"), settings, layouts).action is Action.INDEX


def test_a_newer_image_under_the_same_tag_is_indexed_although_the_older_one_has_an_index(place):
    place.put("app", AMD, "1.4")
    index(place, by_hand("app", "1.4"), SETTINGS)
    newer = place.put("app", OTHER, "1.4")

    assert decide(pushed("app", newer, "1.4"), SETTINGS, place).action is Action.INDEX


def test_version_1_made_elsewhere_with_other_settings_does_not_count(layouts):
    settings = configuration(index={"version": "v1"})
    layouts.put("app", with_soci_v1_index(AMD), "1.4")

    assert decide(by_hand("app", "1.4"), settings, layouts).action is Action.INDEX


# The answer


def image_with(layers: int, platform: str) -> Image:
    """An image of so many layers that exist in its manifest alone, and of a size with many digits."""
    config = json.dumps(Platform.parse(platform).to_json()).encode()
    described = tuple(
        replace(describe(f"{platform} {number}".encode(), media_types.OCI_LAYER_ZSTD), size=52_000_000_000)
        for number in range(layers)
    )
    manifest = ImageManifest(config=describe(config, media_types.OCI_CONFIG), layers=described).encode()
    root = describe(manifest, media_types.OCI_MANIFEST, platform=Platform.parse(platform))
    return Image(root=root, blobs={digest_of(config): config, root.digest: manifest})


def test_the_answer_for_five_platforms_of_127_layers_each_stays_far_below_256_kib(layouts):
    platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x", "linux/ppc64le"]
    root = layouts.put("app", multi_platform(*(image_with(127, one) for one in platforms)), "1.4")
    settings = configuration(
        rules={"architectures": ["amd64", "arm64", "arm", "s390x", "ppc64le"]},
        index={"zstd_layers": "recompress"},
    )

    decision = decide(pushed("app", root, "1.4"), settings, layouts)

    assert len(decision.layers) == 5 * 127
    assert len(json.dumps(decision.to_document())) < 100_000


def on_platforms(image: Image, count: int) -> Image:
    """An index that lists the same image under as many made-up platforms."""
    platforms = (Platform(os="linux", architecture="amd64", variant=f"x{number}") for number in range(count))
    return multi_platform(*(replace(image, root=replace(image.root, platform=one)) for one in platforms))


@pytest.mark.parametrize(
    "image", [on_platforms(AMD, 2_000), image_with(1_000, "linux/amd64")], ids=["platforms", "layers"]
)
def test_a_plan_too_large_for_a_state_is_rejected(layouts, image):
    root = layouts.put("app", image, "1.4")

    decision = decide(pushed("app", root, "1.4"), configuration(index={"zstd_layers": "recompress"}), layouts)

    assert (decision.action, decision.reason) == (Action.TAG, ImageReason.PLAN_TOO_LARGE)
    assert len(json.dumps(decision.to_document())) < 1_000


def test_an_image_of_too_many_manifests_is_rejected_before_they_are_fetched(memory):
    images = [image_with(1, f"linux/amd64/x{number}") for number in range(LIMITS.manifests + 1)]
    root = memory.put("app", multi_platform(*images), "1.4")

    decision = decide(pushed("app", root, "1.4"), SETTINGS, memory)

    assert (decision.action, decision.reason) == (Action.TAG, ImageReason.PLAN_TOO_LARGE)
    assert str(root.digest) in decision.detail
    assert len([seen for seen in memory.registry.requests if "/manifests/" in seen.path]) <= 3


def test_an_image_of_too_large_manifests_is_rejected_before_they_are_fetched(memory):
    one, count = 3 << 20, 1 + LIMITS.size_bytes // (3 << 20)
    padded = [replace(image_with(1, f"linux/amd64/x{n}").root, size=one) for n in range(count)]
    root = memory.put("app", multi_platform(extra=tuple(padded)), "1.4")

    decision = decide(pushed("app", root, "1.4"), SETTINGS, memory)

    assert (decision.action, decision.reason) == (Action.TAG, ImageReason.PLAN_TOO_LARGE)


def test_reasons_of_too_many_platforms_are_left_out(layouts):
    root = layouts.put("app", on_platforms(AMD, 2_000), "1.4")

    decision = decide(pushed("app", root, "1.4"), too_small(), layouts)

    assert (decision.action, decision.reason) == (Action.TAG, ImageReason.PLAN_TOO_LARGE)
    assert decision.platforms == ()


def test_where_no_tag_is_set_the_converted_image_itself_is_up_to_date(place):
    settings = configuration(tagging={"policy": "digest-only"})
    place.put("app", AMD, "1.4")
    made = index(place, by_hand("app", "1.4"), settings)
    assert made.root is not None

    decision = decide(by_hand("app", str(made.root.digest)), settings, place)

    assert (decision.action, decision.reason) == (Action.SKIP, ImageReason.ALREADY_INDEXED)
