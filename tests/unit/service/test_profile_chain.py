"""Start profiles through the states, with JSON between them: planned by the filter, used and told by Publish."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from local.registry import Answer
from soci.errors import RegistryUnavailable
from soci.oci import media_types
from soci.oci.annotations import PREFETCH_SOURCE
from soci.oci.digest import Digest, digest_of
from soci.oci.manifest import ImageManifest
from soci.oci.platform import Platform
from soci.reasons import Reason
from soci.service.filter.decide import decide
from soci.service.messages import Action, Decision, Published
from soci.service.outcomes import ImageReason, Outcome
from soci.service.profile_messages import ProfileOrigin
from soci.service.publish.publish_image import publish_image
from soci.service.settings.configuration import Configuration
from soci.start.prefetch_source import UsedProfile
from soci.start.profile import FileRead, ReadRange, encode_profile, make_profile, parse_profile
from soci.start.push_profile import push_line_profile, push_profile
from soci.upkeep.status.wait import End, Wait
from tests.builders import file, gzip_of, image_of, multi_platform, noise, tar_of
from tests.service_steps import index_all
from tests.unit.service.places import InMemory, by_hand, configuration, index, pushed

SPAN = 65_536
AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
LIBRARY = gzip_of(tar_of(file("lib/a", noise(4 * SPAN, "a")), file("lib/b", noise(SPAN, "b"))))
SMALL = gzip_of(tar_of(file("bin/app", noise(SPAN, "app"))))
IMAGE = image_of(LIBRARY, SMALL, platform="linux/amd64")
TWO = multi_platform(IMAGE, image_of(LIBRARY, platform="linux/arm64/v8"))


def profile(*paths: str, platform: Platform | None = AMD64) -> bytes:
    parts = (ReadRange(start=0, end=1_000, first_ms=1),)
    reads = [FileRead(path=path.encode(), first_ms=1, last_ms=1, ranges=parts) for path in paths]
    return encode_profile(make_profile(reads, platform=platform))


START = profile("/bin/app", "/lib/b", "/gone")


def plan(place: InMemory, settings: Configuration, tag: str = "1.4", **options: Any) -> Decision:
    decision = decide(by_hand("app", tag, **options), settings, place)
    return Decision.from_document(json.loads(json.dumps(decision.to_document())))


def publish(place: InMemory, settings: Configuration, decision: Decision) -> Published:
    return publish_image(index_all(place, settings, decision), settings, place)


def push_line(place: InMemory, data: bytes, platform: Platform = AMD64) -> None:
    push_line_profile(partial(place, "app"), "*", platform, data)


def documents(place: InMemory, published: Published) -> list[ImageManifest]:
    """The index manifests, of version 1 and of version 2."""
    digests = [*(published.v1 or ()), *(one.index for one in published.platforms if one.index)]
    manifests = place.registry.repository("app").manifests
    return [ImageManifest.parse(manifests[str(digest)].data) for digest in dict.fromkeys(digests)]


@pytest.mark.parametrize("policy", ["suffix", "replace", "digest-only"])
@pytest.mark.parametrize("version", ["v1", "v2", "both"])
def test_each_index_of_an_image_is_made_with_its_profile_and_is_up_to_date(memory, version, policy):
    settings = configuration(index={"version": version}, tagging={"policy": policy})
    root = memory.put("app", IMAGE, "1.4")
    push_profile(memory("app", "1.4"), root, START)

    decision = plan(memory, settings)
    published = publish(memory, settings, decision)

    [platform] = published.platforms
    assert platform.profile is not None
    assert (platform.profile.origin, platform.profile.digest) == (ProfileOrigin.IMAGE, digest_of(START))
    assert (platform.profile.files, platform.profile.files_missing) == (3, 1)
    assert 0 < platform.profile.prefetched_bytes == platform.profile.needed_bytes
    made = documents(memory, published)
    assert len(made) == (2 if version == "both" else 1)
    for one in made:
        types = [layer.media_type for layer in one.layers or ()]
        assert types.count(media_types.PREFETCH) == 2
        assert PREFETCH_SOURCE in one.annotations
    if policy != "digest-only" or version == "v1":
        assert plan(memory, settings).reason is ImageReason.ALREADY_INDEXED


def test_it_is_the_image_that_the_command_line_makes_with_the_same_profile(memory, layouts):
    for place in (memory, layouts):
        place.put("app", IMAGE, "1.4")
    push_line(memory, START)
    used = UsedProfile(profile=parse_profile(START), digest=digest_of(START))

    published = publish(memory, configuration(), plan(memory, configuration()))

    by_command = index(layouts, by_hand("app", "1.4"), configuration(), profile=used, marks_patterns=False)
    assert by_command.root is not None
    assert published.v2 is not None
    assert published.v2.digest == by_command.root.digest


def test_platforms_have_profiles_of_their_own(memory):
    memory.put("app", TWO, "1.4")
    push_line(memory, START)
    push_line(memory, profile("/lib/a", platform=ARM64), ARM64)

    published = publish(memory, configuration(), plan(memory, configuration()))

    assert [one.profile and one.profile.digest for one in published.platforms] == [
        digest_of(START),
        digest_of(profile("/lib/a", platform=ARM64)),
    ]
    assert plan(memory, configuration()).reason is ImageReason.ALREADY_INDEXED


def test_a_profile_that_vanishes_after_the_filter_leaves_an_index_without_it(memory):
    memory.put("app", IMAGE, "1.4")
    push_line(memory, START)
    decision = plan(memory, configuration())
    del memory.registry.repository("app").blobs[str(digest_of(START))]

    published = publish(memory, configuration(), decision)

    assert published.outcome is Outcome.INDEXED
    [platform] = published.platforms
    assert platform.profile is None
    assert str(digest_of(START)) in platform.profile_problem
    assert published.detail.startswith("linux/amd64: a start profile is not used: ")
    assert plan(memory, configuration()).reason is ImageReason.ALREADY_INDEXED, "the filter does not find it"


def test_a_profile_is_checked_again_by_publish(memory):
    memory.put("app", IMAGE, "1.4")
    push_line(memory, START)
    decision = plan(memory, configuration())
    memory.registry.repository("app").blobs[str(digest_of(START))] = START.replace(b"/lib/b", b"/etc/b")

    published = publish(memory, configuration(), decision)

    assert published.outcome is Outcome.INDEXED
    assert published.platforms[0].profile is None
    assert published.platforms[0].profile_problem


def test_publish_asks_a_busy_registry_again_later(memory):
    memory.put("app", IMAGE, "1.4")
    push_line(memory, START)
    job = index_all(memory, configuration(), plan(memory, configuration()))
    blob = str(digest_of(START))
    memory.registry.fail(Answer(503), where=lambda seen: blob in seen.path, times=None)

    with pytest.raises(RegistryUnavailable):
        publish_image(job, configuration(), memory)


def test_a_layer_that_the_start_reads_whole_gets_no_ztoc_if_the_settings_say_so(memory):
    settings = configuration(index={"whole_layers": "auto"})
    memory.put("app", IMAGE, "1.4")
    whole = encode_profile(make_profile([FileRead(path=b"/bin/app", first_ms=0, last_ms=1)]))
    push_line(memory, whole)

    published = publish(memory, settings, plan(memory, settings))

    [platform] = published.platforms
    assert (platform.layers_indexed, platform.left_out) == (1, {Reason.READ_WHOLE: 1})
    assert plan(memory, settings).reason is ImageReason.ALREADY_INDEXED


def test_a_profile_of_the_original_still_counts_after_its_tag_has_moved(memory):
    settings = configuration(tagging={"policy": "replace"})
    root = memory.put("app", IMAGE, "1.4")
    push_profile(memory("app", "1.4"), root, START)
    publish(memory, settings, plan(memory, settings))
    assert memory("app", "1.4").fetch_root().digest != root.digest

    again = plan(memory, settings, force=True)

    assert again.platforms[0].profile is not None
    assert again.platforms[0].profile.digest == digest_of(START)
    assert plan(memory, settings).reason is ImageReason.ALREADY_INDEXED


def test_the_profile_of_a_line_under_an_event_is_no_image(memory):
    memory.put("app", IMAGE, "1.4")
    push_line(memory, START)
    tag = "soci-profile-linux-amd64"
    root = memory("app", tag).fetch_root()

    decision = decide(pushed("app", root, tag), configuration(), memory)

    assert (decision.action, decision.reason) == (Action.SKIP, ImageReason.NOT_AN_IMAGE)
    assert f"{tag}-soci" not in memory.registry.repository("app").tags


def test_a_deployment_that_waits_takes_the_index_of_an_older_profile(memory):
    memory.put("app", IMAGE, "1.4")
    push_line(memory, START)
    publish(memory, configuration(), plan(memory, configuration()))
    push_line(memory, profile("/lib/a"))
    assert plan(memory, configuration()).action is Action.INDEX

    found = Wait.begin("app", "1.4", configuration(), memory, asks_rules=True).look()

    assert found is not None
    assert found.end is End.INDEXED


def test_a_decision_stays_small_however_large_the_profile_is(memory):
    memory.put("app", TWO, "1.4")
    many = [f"/lib/{number:06d}" for number in range(5_000)]
    push_line(memory, profile(*many))

    document = plan(memory, configuration()).to_document()

    assert len(json.dumps(document)) < 4_000
    assert Digest.parse(document["platforms"][0]["profile"]["digest"]) == digest_of(profile(*many))  # type: ignore[index]
