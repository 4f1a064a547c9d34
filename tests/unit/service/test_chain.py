"""Decide, index, publish, and decide again: the whole chain knows its own work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import zstandard

from local.registry import Behaviour, Registry
from soci.errors import SociError
from soci.image.copy import copy_trees
from soci.oci import media_types
from soci.places.ports import ImageOpener
from soci.places.registry.connect import connect
from soci.places.registry.credentials import NoLogins
from soci.service.filter.decide import decide
from soci.service.messages import Action, Decision, ImageRequest, Origin, Published
from soci.service.outcomes import ImageReason, Outcome
from soci.service.publish.publish_image import publish_image
from soci.service.settings.configuration import Configuration
from soci.verify import verify_image
from tests.builders import (
    Image,
    MemorySource,
    file,
    gzip_of,
    image_of,
    multi_platform,
    noise,
    special,
    tar_of,
    text,
)
from tests.service_steps import configured, index_all

BASE = gzip_of(tar_of(file("base", text(300_000, "base"))))
AMD = gzip_of(tar_of(file("bin/app", text(200_000, "amd"))))
ZSTD = zstandard.compress(tar_of(file("opt/data", noise(200_000))))
IMAGE = multi_platform(
    image_of(BASE, AMD, BASE, ZSTD, layer_types={3: media_types.OCI_LAYER_ZSTD}),
    image_of(BASE, platform="linux/arm64/v8"),
    image_of(AMD, platform="linux/s390x"),
)
ODD = image_of(gzip_of(tar_of(special("g", b"g"), file("a", noise(1_000)))))


@pytest.fixture
def place():
    with Registry(Behaviour(rates={})) as registry:
        yield connect(registry.host, logins=NoLogins()).open_image


def of_any_size(configuration: Configuration) -> Configuration:
    return replace(configuration, rules=replace(configuration.rules, min_image_size_bytes=0))


def push(place: ImageOpener, image: Image, tag: str = "1.0") -> None:
    store = place("app", tag)
    root = replace(image.root, platform=None)
    copy_trees(MemorySource(image), store, (root,))
    store.push_root(root, tag)


def event(place: ImageOpener, tag: str) -> ImageRequest:
    return ImageRequest(
        repository="app", tag=tag, digest=place("app", tag).fetch_root().digest, origin=Origin.PUSH
    )


def chain(place: ImageOpener, configuration: Configuration, request: ImageRequest) -> Decision | Published:
    decision = decide(request, configuration, place)
    if decision.action is Action.SKIP:
        return decision
    return publish_image(index_all(place, configuration, decision), configuration, place)


@pytest.mark.parametrize("zstd", ["leave-out", "recompress"])
@pytest.mark.parametrize("version", ["v1", "v2", "both"])
@pytest.mark.parametrize("policy", ["suffix", "replace"])
def test_an_image_is_indexed_once_and_then_up_to_date(place, version, policy, zstd):
    if (version, zstd) == ("v1", "recompress"):
        with pytest.raises(SociError, match="zstd_layers"):
            configured(version=version, zstd_layers=zstd)
        return
    settings: dict[str, Any] = {"version": version, "zstd_layers": zstd, "optimizations": ["xattr"]}
    configuration = of_any_size(configured(tagging={"policy": policy}, **settings))
    push(place, IMAGE)
    request = event(place, "1.0")

    first = chain(place, configuration, request)

    assert isinstance(first, Published)
    assert first.outcome is Outcome.INDEXED
    assert [one.index is None for one in first.platforms] == [False, False, True]
    by_hand = ImageRequest(repository="app", tag="1.0")
    again = chain(place, configuration, by_hand)
    assert isinstance(again, Decision)
    assert again.reason is ImageReason.ALREADY_INDEXED
    forced = chain(place, configuration, replace(by_hand, force=True))
    assert isinstance(forced, Published)
    assert forced.v2 == first.v2
    assert verify_image(place("app", "1.0")).is_sound


@pytest.mark.parametrize("policy", ["suffix", "replace"])
def test_the_push_of_a_converted_image_is_skipped(place, policy):
    configuration = of_any_size(configured(version="both", tagging={"policy": policy}))
    push(place, IMAGE)
    published = chain(place, configuration, event(place, "1.0"))
    assert isinstance(published, Published)
    assert published.v2 is not None
    assert published.v2.tag is not None
    assert published.v1 is not None

    made = chain(place, configuration, event(place, published.v2.tag))
    index = chain(
        place, configuration, ImageRequest(repository="app", digest=published.v1[0], origin=Origin.CONSOLE)
    )

    assert isinstance(made, Decision)
    assert made.reason is ImageReason.OWN_ARTIFACT
    assert isinstance(index, Decision)
    assert index.reason is ImageReason.OWN_ARTIFACT


def test_the_push_of_a_promised_tag_is_skipped(place):
    configuration = of_any_size(configured())
    push(place, ODD)

    tagged = chain(place, configuration, event(place, "1.0"))
    copy = chain(place, configuration, event(place, "1.0-soci"))

    assert isinstance(tagged, Published)
    assert (tagged.outcome, tagged.reason) == (Outcome.TAGGED, ImageReason.NO_LAYER_TO_INDEX)
    assert isinstance(copy, Decision)
    assert copy.reason is ImageReason.OWN_ARTIFACT


def test_an_image_that_is_too_small_gets_the_promised_tag(place):
    push(place, IMAGE)

    tagged = chain(place, configured(), event(place, "1.0"))

    assert isinstance(tagged, Published)
    assert (tagged.outcome, tagged.reason) == (Outcome.TAGGED, ImageReason.IMAGE_TOO_SMALL)
    assert place("app", "1.0-soci").fetch_root().digest == IMAGE.root.digest


def test_a_converted_image_is_made_again_by_hand_when_the_settings_differ(place):
    replacing = {"policy": "replace"}
    push(place, IMAGE)
    old = chain(place, of_any_size(configured(tagging=replacing)), event(place, "1.0"))
    other = of_any_size(configured(tagging=replacing, span_size_bytes=131_072))

    by_event = chain(place, other, event(place, "1.0"))
    by_hand = chain(place, other, ImageRequest(repository="app", tag="1.0"))

    assert isinstance(old, Published)
    assert isinstance(by_event, Decision)
    assert by_event.reason is ImageReason.OWN_ARTIFACT
    assert isinstance(by_hand, Published)
    assert old.v2 is not None
    assert by_hand.v2 is not None
    assert place("app", "1.0").fetch_root().digest == by_hand.v2.digest != old.v2.digest
    assert verify_image(place("app", "1.0")).is_sound
