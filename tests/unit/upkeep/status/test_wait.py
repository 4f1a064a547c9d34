"""Waits with the in-memory registry and a clock that advances only by sleeping."""

from __future__ import annotations

import json

import pytest

from local.registry import Answer
from soci.build.recipe import convert, create_index
from soci.errors import InvalidOption, NotInImage, Unauthorized
from soci.oci import media_types
from soci.service.messages import Action, Decision, ImageRequest
from soci.service.outcomes import ImageReason
from soci.settings import IndexVersion
from soci.upkeep.status import wait
from soci.upkeep.status.wait import LONGEST_PAUSE_SECONDS, End, Wait
from tests.builders import file, gzip_of, image_of, tar_of, text, with_soci_index
from tests.fake_time import FakeTime
from tests.recipes import run
from tests.unit.service.places import by_hand, configuration, in_memory, index
from tests.unit.upkeep.status.forty import app, both

SUFFIX = configuration()
REPLACE = configuration(tagging={"policy": "replace"})
V1 = configuration(index={"version": "v1"})
BOTH = configuration(index={"version": "both"})
TOOL = SUFFIX.index.settings.build_tool_identifier
TAR = tar_of(file("app/rebuilt", text(90_000, "rebuilt")))


@pytest.fixture
def place():
    with in_memory() as place:
        place.put("app", both("one"), "1.4")
        yield place


class Meanwhile(FakeTime):
    """A clock that calls `act` once so many seconds have passed."""

    def __init__(self, seconds, act):
        super().__init__()
        self.at, self.act = seconds, act

    def sleep(self, seconds):
        super().sleep(seconds)
        if self.act and self.seconds >= self.at:
            act, self.act = self.act, None
            act()


def begin(place, settings=SUFFIX, *, tag="1.4", asks_rules=False):
    return Wait.begin("app", tag, settings, place, asks_rules=asks_rules)


@pytest.mark.parametrize(
    ("settings", "tag", "versions"),
    [
        (SUFFIX, "1.4-soci", (IndexVersion.V2,)),
        (REPLACE, "1.4", (IndexVersion.V2,)),
        (V1, "1.4", (IndexVersion.V1,)),
        (BOTH, "1.4-soci", (IndexVersion.V1, IndexVersion.V2)),
    ],
    ids=["suffix", "replace", "v1", "both"],
)
def test_a_wait_ends_soon_after_the_index_is_ready_and_names_the_image_to_deploy(
    place, settings, tag, versions
):
    waiting = begin(place, settings)
    time = Meanwhile(60, lambda: index(place, by_hand("app", "1.4"), settings))

    found = waiting.until(600, time.clock())

    assert (found.end, found.tag, found.versions) == (End.INDEXED, tag, versions)
    assert str(found.digest) == place.registry.repository("app").tags[tag]
    assert 60 <= time.seconds <= 60 + LONGEST_PAUSE_SECONDS * 1.2


def test_a_ready_index_needs_no_wait(place):
    index(place, by_hand("app", "1.4"), REPLACE)
    time = FakeTime()

    assert begin(place, REPLACE).until(600, time.clock()).end is End.INDEXED
    assert time.slept == []


def test_one_of_two_versions_is_not_enough(place):
    index(place, by_hand("app", "1.4"), SUFFIX)

    assert begin(place, BOTH).until(5, FakeTime().clock()).end is End.TIMED_OUT


def test_the_converted_image_of_the_tags_previous_image_is_not_ready(place):
    index(place, by_hand("app", "1.4"), SUFFIX)
    place.put("app", both("two"), "1.4")

    assert begin(place).until(5, FakeTime().clock()).end is End.TIMED_OUT


RULES = pytest.mark.parametrize("asks_rules", [True, False], ids=["rules-known", "rules-unknown"])


def lose_soci_index(place, tag):
    there = place.registry.repository("app")
    for entry in there.find(tag).document["manifests"]:
        if entry.get("artifactType") == media_types.SOCI_INDEX_V2:
            del there.manifests[entry["digest"]]


@RULES
def test_a_converted_image_without_its_soci_index_is_not_ready(place, asks_rules):
    index(place, by_hand("app", "1.4"), SUFFIX)
    assert begin(place, asks_rules=asks_rules).look() is not None
    lose_soci_index(place, "1.4-soci")

    assert begin(place, asks_rules=asks_rules).look() is None


@RULES
def test_a_converted_image_with_differently_compressed_layers_is_not_ready(place, asks_rules):
    """A rebuild keeps the config, but may compress the layers differently."""
    old, new = (image_of(gzip_of(TAR, level=level), platform="linux/amd64") for level in (1, 9))
    configs = [json.loads(one.document)["config"]["digest"] for one in (old, new)]
    assert (configs[0] == configs[1], old.root == new.root) == (True, False)
    place.put("app", old, "2")
    index(place, by_hand("app", "2"), SUFFIX)
    place.put("app", new, "2")

    waiting = begin(place, tag="2", asks_rules=asks_rules)
    assert waiting.look() is None
    index(place, by_hand("app", "2"), SUFFIX)

    found = waiting.look()
    assert found is not None
    assert str(found.digest) == place.registry.repository("app").tags["2-soci"]


@RULES
def test_one_of_two_platforms_is_not_enough(place, asks_rules):
    store = place("app", "1.4")
    run(convert, store, store, platforms=["linux/amd64"], tag="1.4-soci")

    assert begin(place, asks_rules=asks_rules).look() is None


def timed_out(place, *, asks_rules=False, settings=SUFFIX):
    found = begin(place, settings, asks_rules=asks_rules).until(1, FakeTime().clock())
    assert found.end is End.TIMED_OUT
    return found.detail


def test_a_timeout_says_what_is_wrong_with_the_converted_image(place):
    store = place("app", "1.4")
    run(convert, store, store, platforms=["linux/amd64"], tag="1.4-soci")
    assert timed_out(place) == (
        "1.4-soci has no index for linux/arm64; with --settings, platforms that the rules leave out do not count"
    )
    assert timed_out(place, asks_rules=True) == "1.4-soci is not the image that the settings would produce"

    index(place, by_hand("app", "1.4"), SUFFIX)
    lose_soci_index(place, "1.4-soci")
    assert "no manifest sha256:" in timed_out(place)

    place.put("app", both("two"), "1.4")
    assert timed_out(place) == "1.4-soci was made from another image"
    assert timed_out(place, settings=V1) == ""


@RULES
def test_a_platform_that_the_settings_leave_out_needs_no_index(place, asks_rules):
    settings = configuration(rules={"architectures": ["amd64"]})
    store = place("app", "1.4")
    run(convert, store, store, platforms=["linux/amd64"], tag="1.4-soci", build_tool_identifier=TOOL)

    found = begin(place, settings, asks_rules=asks_rules).look()

    assert found is not None
    assert found.end is End.INDEXED


def test_an_index_of_other_settings_is_ready_only_without_settings(place):
    index(place, by_hand("app", "1.4"), configuration(index={"span_size_bytes": 131_072}))

    assert begin(place, asks_rules=True).look() is None
    assert begin(place).look() is not None


@RULES
def test_a_version_1_index_of_one_of_two_platforms_is_not_enough(place, asks_rules):
    store = place("app", "1.4")
    run(create_index, store, store, platforms=["linux/amd64"], tag=None, build_tool_identifier=TOOL)
    assert begin(place, V1, asks_rules=asks_rules).look() is None

    index(place, by_hand("app", "1.4"), V1)
    assert begin(place, V1, asks_rules=asks_rules).look() is not None


@RULES
def test_version_1_is_not_ready_if_no_platform_is_to_be_indexed(place, asks_rules):
    settings = configuration(index={"version": "v1"}, rules={"architectures": ["arm64"]})
    place.put("app", app("single"), "2.0")

    found = begin(place, settings, tag="2.0", asks_rules=asks_rules).look()

    assert found is None or found.end is End.SKIPPED


def test_an_index_that_is_finished_during_a_look_does_not_end_the_wait_as_skipped(place, monkeypatch):
    request = ImageRequest(repository="app", tag="1.4")
    finished = Decision(action=Action.SKIP, request=request, reason=ImageReason.ALREADY_INDEXED)
    monkeypatch.setattr(wait, "decide", lambda *_: finished)

    assert begin(place, asks_rules=True).look() is None


def test_a_version_1_index_of_the_tags_next_image_does_not_count(place):
    waiting = begin(place, V1)
    place.put("app", both("two"), "1.4")
    index(place, by_hand("app", "1.4"), V1)

    found = waiting.look()

    assert found is not None
    assert found.end is End.SUPERSEDED


def test_the_promised_tag_on_the_image_itself_ends_the_wait(place):
    waiting = begin(place)
    time = Meanwhile(1, lambda: place.put("app", both("one"), "1.4-soci"))

    found = waiting.until(60, time.clock())

    assert (found.end, found.tag, found.end.is_ready) == (End.NOTHING_TO_INDEX, "1.4-soci", True)
    assert found.digest == waiting.image.root.digest


def test_a_soci_enabled_image_under_both_tags_is_not_taken_for_one_with_nothing_to_index(place):
    place.put("app", with_soci_index(app("enabled")), "3.0", "3.0-soci")

    found = begin(place, tag="3.0").look()

    assert found is None or found.end is not End.NOTHING_TO_INDEX


@pytest.mark.parametrize("settings", [SUFFIX, REPLACE], ids=["suffix", "replace"])
def test_a_moved_tag_ends_the_wait(place, settings):
    time = Meanwhile(3, lambda: place.put("app", both("two"), "1.4"))

    found = begin(place, settings).until(600, time.clock())

    assert (found.end, found.end.is_ready) == (End.SUPERSEDED, False)
    assert time.seconds < 30


def test_under_replace_the_version_1_index_belongs_to_the_converted_image(place):
    settings = configuration(index={"version": "both"}, tagging={"policy": "replace"})
    index(place, by_hand("app", "1.4"), REPLACE)

    waiting = begin(place, settings)
    assert waiting.look() is None
    index(place, by_hand("app", "1.4"), V1)
    found = waiting.look()
    assert found is not None
    assert found.versions == (IndexVersion.V1, IndexVersion.V2)


def test_known_rules_end_the_wait_for_an_excluded_image(place):
    settings = configuration(rules={"tags": {"exclude": ["1.*"]}})

    known = begin(place, settings, asks_rules=True).until(600, FakeTime().clock())
    unknown = begin(place, settings).until(600, FakeTime().clock())

    assert (known.end, known.reason) == (End.SKIPPED, "tag-excluded")
    assert unknown.end is End.TIMED_OUT


def test_a_too_small_image_is_waited_for_if_its_tag_is_promised(place):
    promised = configuration(rules={"min_image_size_bytes": 1 << 30})
    not_promised = configuration(
        rules={"min_image_size_bytes": 1 << 30}, tagging={"when_nothing_to_index": False}
    )

    assert begin(place, promised, asks_rules=True).look() is None
    skipped = begin(place, not_promised, asks_rules=True).look()
    assert skipped is not None
    assert (skipped.end, skipped.reason) == (End.SKIPPED, "image-too-small")


def test_the_pauses_between_requests_grow_and_vary(place):
    time = FakeTime()

    found = begin(place).until(300, time.clock(0.5))

    assert found.end is End.TIMED_OUT
    assert time.seconds == pytest.approx(300)
    assert time.slept[:3] == [2.0, 3.0, 4.5]
    assert max(time.slept) == LONGEST_PAUSE_SECONDS
    assert len(time.slept) < 25


def test_a_busy_registry_is_asked_again(place):
    waiting = begin(place)
    place.registry.fail(Answer(503), times=2)
    time = Meanwhile(10, lambda: index(place, by_hand("app", "1.4"), SUFFIX))

    assert waiting.until(100, time.clock()).end is End.INDEXED


def test_a_timeout_names_an_unavailable_registry(place):
    waiting = begin(place)
    place.registry.fail(Answer(503), times=None)

    found = waiting.until(10, FakeTime().clock())

    assert found.end is End.TIMED_OUT
    assert "503" in found.detail


def test_a_timeout_does_not_name_a_failure_that_has_passed(place):
    waiting = begin(place)
    place.registry.fail(Answer(503), times=2)

    found = waiting.until(60, FakeTime().clock())

    assert (found.end, found.detail) == (End.TIMED_OUT, "")


def test_a_registry_that_refuses_ends_the_wait(place):
    waiting = begin(place)
    place.registry.fail(Answer(403), times=None)

    with pytest.raises(Unauthorized):
        waiting.until(100, FakeTime().clock())


def test_a_missing_image_is_an_error_at_once(place):
    with pytest.raises(NotInImage):
        begin(place, tag="1.5")


def test_an_untagged_index_cannot_be_waited_for(place):
    with pytest.raises(InvalidOption, match="SOCI Index Created"):
        begin(place, configuration(tagging={"policy": "digest-only"}))


def test_a_single_platform_image_can_be_waited_for(place):
    place.put("app", app("single"), "2.0")
    index(place, by_hand("app", "2.0"), SUFFIX)

    found = begin(place, tag="2.0").look()

    assert found is not None
    assert found.tag == "2.0-soci"


def test_every_end_has_its_sentence():
    assert len({end.sentence for end in End}) == len(End)
