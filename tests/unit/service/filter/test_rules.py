from __future__ import annotations

import pytest

from soci.image.documents import PlatformImage
from soci.oci import media_types
from soci.oci.manifest import ImageManifest
from soci.oci.platform import Platform
from soci.service.filter.rules import (
    evaluate_names,
    evaluate_platform,
    image_size_bytes,
    matches,
)
from soci.service.messages import ImageRequest, Origin
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration, NamePatterns, Rules
from tests.builders import describe


def request(repository: str = "app", tag: str | None = "1.4", **fields) -> ImageRequest:
    return ImageRequest(repository=repository, tag=tag, **{"origin": Origin.PUSH, **fields})


def settings(**sections) -> Configuration:
    return Configuration.from_document(sections)


@pytest.mark.parametrize(
    ("include", "exclude", "taken", "left_out"),
    [
        (["*"], [], ["app", "team/app", "a"], []),
        (["app"], [], ["app"], ["apps", "team/app", "App"]),
        (["team/*"], [], ["team/app", "team/a/b"], ["team", "other/app"]),
        (["v?.?"], [], ["v1.2"], ["v1.22", "v12", "V1.2"]),
        (["Release-*"], [], ["Release-1"], ["release-1"]),
        (["*"], ["*-lambda", "tmp/*"], ["app"], ["app-lambda", "tmp/x"]),
        (["a", "b*"], ["bb"], ["a", "b", "bc"], ["bb", "c"]),
    ],
)
def test_a_name_matches_a_pattern_to_include_and_none_to_exclude(include, exclude, taken, left_out):
    patterns = NamePatterns(include=tuple(include), exclude=tuple(exclude))

    assert [name for name in taken + left_out if matches(name, patterns)] == taken


@pytest.mark.parametrize(
    ("asked", "rules", "reason"),
    [
        (request(), {}, None),
        (request("team/fn"), {"repositories": {"exclude": ["*/fn"]}}, ImageReason.REPOSITORY_EXCLUDED),
        (request(tag="dev"), {"tags": {"include": ["v*"]}}, ImageReason.TAG_EXCLUDED),
        (request(tag=None), {"tags": {"include": ["v*"]}, "untagged_images": "index"}, None),
        (request(tag=None), {}, ImageReason.UNTAGGED),
        (request(tag=None, origin=Origin.REPLICATION), {}, ImageReason.UNTAGGED),
        (request(tag=None, origin=Origin.CONSOLE), {}, None),
        (
            request("fn", origin=Origin.CONSOLE),
            {"repositories": {"exclude": ["fn"]}},
            ImageReason.REPOSITORY_EXCLUDED,
        ),
        (request(tag=None, artifact_type=media_types.SOCI_INDEX_V1), {}, ImageReason.OWN_ARTIFACT),
        (request(artifact_type=media_types.SOCI_INDEX_V2), {}, ImageReason.OWN_ARTIFACT),
        (request(artifact_type=media_types.OCI_CONFIG, media_type=media_types.OCI_MANIFEST), {}, None),
        (request(tag="x" * 123), {}, None),
        (request(tag="x" * 124), {}, ImageReason.TAG_TOO_LONG),
    ],
    ids=lambda value: str(value) if isinstance(value, ImageReason) else "",
)
def test_some_images_are_rejected_by_their_names(asked, rules, reason):
    verdict = evaluate_names(asked, settings(rules=rules))

    assert (verdict.reason if verdict else None) is reason


def test_a_long_tag_is_accepted_if_it_gets_no_suffix():
    assert evaluate_names(request(tag="x" * 128), settings(tagging={"policy": "replace"})) is None
    assert evaluate_names(request(tag="x" * 128), settings(index={"version": "v1"})) is None


def image(platform: str, *sizes: int) -> PlatformImage:
    layers = [describe(bytes(size), media_types.OCI_LAYER_GZIP) for size in sizes]
    config = describe(b"{}", media_types.OCI_CONFIG)
    return PlatformImage(
        platform=Platform.parse(platform),
        descriptor=describe(b"manifest", media_types.OCI_MANIFEST),
        manifest=ImageManifest(config=config, layers=tuple(layers)),
    )


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (image("linux/amd64", 60, 40), None),
        (image("linux/x86_64", 100), None),
        (image("linux/arm64/v8", 100), None),
        (image("linux/amd64", 60, 39), ImageReason.IMAGE_TOO_SMALL),
        (image("linux/amd64", 60, 60), ImageReason.IMAGE_TOO_SMALL),
        (image("linux/amd64", 150, 50), None),
        (image("linux/amd64", 150, 51), ImageReason.IMAGE_TOO_LARGE),
        (image("linux/arm/v7", 100), ImageReason.ARCHITECTURE_EXCLUDED),
        (image("windows/amd64", 100), ImageReason.NOT_LINUX),
        (image("windows/s390x", 1), ImageReason.NOT_LINUX),
        (image("linux/amd64"), ImageReason.IMAGE_TOO_SMALL),
    ],
    ids=lambda value: "" if isinstance(value, PlatformImage) else str(value),
)
def test_a_platform_is_rejected_by_its_system_architecture_or_size(one, reason):
    rules = Rules(min_image_size_bytes=100, max_image_size_bytes=200)

    verdict = evaluate_platform(one, rules)

    assert (verdict.reason if verdict else None) is reason


def test_a_layer_that_occurs_twice_counts_once_for_the_size():
    assert image_size_bytes(image("linux/amd64", 60, 60, 1).manifest) == 61
