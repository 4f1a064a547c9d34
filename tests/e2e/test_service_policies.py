"""The effects of settings: index versions, tag policies, zstd layers. Each choice has a system of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import zstandard

from local.system.system import LocalSystem
from soci.oci import media_types
from soci.places.layout.oci_layout import OciLayout
from tests.builders import Image, file, image_of, multi_platform, noise, tar_of
from tests.e2e.service import (
    FLAGS,
    NO_RATES,
    SMALL,
    Service,
    an_image,
    assert_sound,
    converted,
    layer,
    outcomes,
    put,
    settings,
    soci_index,
)

APP = "team/app"


@contextmanager
def service_with(directory, *, behaviour: Any = NO_RATES, **sections: Mapping[str, Any]) -> Iterator[Service]:
    with LocalSystem(settings=settings(**sections), behaviour=behaviour) as system:
        yield Service(system, directory)
        assert_sound(system, [APP])


def created(service: Service, image: Image) -> list[str]:
    """The digests of the indexes that `soci-index create` makes of the same image."""
    by_hand = soci_index("create", f"oci:{service.layout(image)}:latest", *FLAGS)
    return [one["index"] for one in by_hand["platforms"] if one["index"]]


def test_version_1_leaves_the_image_as_it_is_and_refers_to_it(tmp_path):
    image = multi_platform(*(an_image("v1", platform=f"linux/{arch}") for arch in ("amd64", "arm64")))
    with service_with(tmp_path, index={**SMALL["index"], "version": "v1"}) as service:
        executions = service.push(image, APP, "1.0")

        assert outcomes(executions) == [("indexed", None)], "an index has no tag, so nothing more is started"
        output = executions[0].output
        assert output["v2"] is None
        assert output["v1"]["indexes"] == created(service, image)
        assert service.tags(APP) == {"1.0": str(image.root.digest)}
        for platform in output["platforms"]:
            (referrer,) = service.repository(APP).referrers(platform["image"])
            assert referrer.artifact_type == media_types.SOCI_INDEX_V1

        assert outcomes(service.push(image, APP, "1.0")) == [("skipped", "already-indexed")]
        small = service.push(an_image("small", sizes=(30_000,)), APP, "small")
        assert outcomes(small) == [("skipped", "image-too-small")]
        assert "small-soci" not in service.tags(APP)


def test_both_versions_are_made_of_the_same_layers(tmp_path):
    image = an_image("both")
    with service_with(tmp_path, index={**SMALL["index"], "version": "both"}) as service:
        executions = service.push(image, APP, "1.0")

        assert outcomes(executions) == [("indexed", None), ("skipped", "own-artifact")]
        output = executions[0].output
        assert output["v1"]["indexes"] == created(service, image)
        assert output["v2"]["digest"] == converted(service.layout(image))
        assert executions[0].run.visits[2].items_by_index().keys() == {0, 1}, "each layer once"
        assert outcomes(service.push(image, APP, "1.0")) == [("skipped", "already-indexed")]


def test_policy_replace_moves_the_tag_and_recognises_the_result(tmp_path):
    image = an_image("replaced")
    with service_with(tmp_path, tagging={"policy": "replace"}) as service:
        executions = service.push(image, APP, "1.0")

        assert outcomes(executions) == [("indexed", None), ("skipped", "own-artifact")]
        digest = converted(service.layout(image))
        assert service.tags(APP) == {"1.0": digest}

        by_hand = service.run(repository=APP, tag="1.0")
        assert (by_hand.output["outcome"], by_hand.output["reason"]) == ("skipped", "already-indexed")
        forced = service.run(repository=APP, tag="1.0", force=True)
        assert forced.output["v2"]["digest"] == digest
        assert service.tags(APP) == {"1.0": digest}

        small = service.push(an_image("small", sizes=(30_000,)), APP, "small")
        assert outcomes(small) == [("skipped", "image-too-small")]


def test_policy_replace_converts_again_after_the_settings_have_changed(tmp_path):
    image = an_image("again")
    with service_with(tmp_path, tagging={"policy": "replace"}) as service:
        layout = service.layout(image)
        other = soci_index("convert", f"oci:{layout}:latest", "--min-layer-size", 0, "--span-size", 131_072)
        assert other["digest"]
        pushed = service.since(lambda: service.system.push(OciLayout(layout, tag="latest-soci"), APP, "1.0"))
        assert outcomes(pushed) == [("skipped", "own-artifact")]

        by_hand = service.run(repository=APP, tag="1.0")

        assert by_hand.output["outcome"] == "indexed"
        assert service.tags(APP)["1.0"] == converted(service.layout(image))


def test_policy_digest_only_sets_no_tag(tmp_path):
    image = an_image("digest-only")
    with service_with(tmp_path, tagging={"policy": "digest-only"}) as service:
        executions = service.push(image, APP, "1.0")

        assert outcomes(executions) == [("indexed", None)]
        output = executions[0].output
        assert output["v2"] == {
            "digest": converted(service.layout(image)),
            "tag": None,
            "tag_left_alone": None,
        }
        assert service.tags(APP) == {"1.0": str(image.root.digest)}
        assert output["v2"]["digest"] in service.repository(APP).manifests


def test_a_zstd_layer_is_recompressed_on_request_and_the_image_stays(tmp_path):
    tar = tar_of(file("big", noise(300_000, "zstd")))
    image = image_of(zstandard.compress(tar), layer("plain"))
    with service_with(tmp_path, index={**SMALL["index"], "zstd_layers": "recompress"}) as service:
        executions = service.push(image, APP, "1.0")

        assert outcomes(executions) == [("indexed", None), ("skipped", "own-artifact")]
        output = executions[0].output
        assert output["platforms"][0]["layers_indexed"] == 2
        assert output["v2"]["digest"] == converted(service.layout(image), "--zstd", "recompress")
        assert service.tags(APP)["1.0"] == str(image.root.digest)
        assert outcomes(service.push(image, APP, "1.0")) == [("skipped", "already-indexed")]


def test_untagged_images_are_indexed_on_request(tmp_path):
    image = an_image("untagged")
    rules = {**SMALL["rules"], "untagged_images": "index"}
    with service_with(tmp_path, rules=rules) as service:
        executions = service.push(image, APP, None)

        worked = [e for e in executions if e.output["outcome"] == "indexed"]
        assert [e.output["v2"]["digest"] for e in worked] == [converted(service.layout(image))]
        assert {e.output["reason"] for e in executions if e not in worked} <= {"own-artifact", "not-an-image"}
        assert service.tags(APP) == {}


def test_the_event_pattern_and_the_filter_both_follow_the_rules_on_names(tmp_path):
    rules = {
        **SMALL["rules"],
        "repositories": {"include": ["team/*"], "exclude": ["team/lambda-*"]},
        "tags": {"include": ["v*"], "exclude": ["*-dev"]},
    }
    with service_with(tmp_path, rules=rules) as service:
        image = an_image("named")

        assert service.push(image, "other/app", "v1") == []
        assert outcomes(service.push(image, "team/lambda-x", "v1")) in (
            [],
            [("skipped", "repository-excluded")],
        )
        assert service.push(image, APP, "main") == []
        assert outcomes(service.push(image, APP, "v1-dev")) in ([], [("skipped", "tag-excluded")])
        assert outcomes(service.push(image, APP, "v1"))[0] == ("indexed", None)
        by_hand = service.run(repository="other/app", tag="v1")
        assert by_hand.output["reason"] == "repository-excluded"


def test_an_existing_immutable_tag_is_left_alone(tmp_path):
    image = an_image("immutable")
    behaviour = replace(NO_RATES, immutable_tags=True)
    with service_with(tmp_path, behaviour=behaviour) as service:
        other = an_image("other")
        put(service.repository(APP), other, "1.0-soci")

        executions = service.push(image, APP, "1.0")

        assert outcomes(executions)[0] == ("indexed", None)
        published = executions[0].output["v2"]
        assert published["tag_left_alone"] == "immutable"
        assert published["digest"] in service.repository(APP).manifests
        assert service.tags(APP)["1.0-soci"] == str(other.root.digest)
