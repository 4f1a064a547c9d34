"""The page on lifecycle policies: each policy runs every night, on what the builder really pushes."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import pytest

from tests.builders import file, gzip_of, image_of, multi_platform, tar_of
from tests.docs.lifecycle import InvalidPolicy, Stored, check, expired, night
from tests.docs.manual import blocks
from tests.docs.terminal import terminal
from tests.unit.service.places import by_hand, configuration, in_memory, index

PAGE = "lifecycle.md"
POLICIES = {block.heading: json.loads(block.text) for block in blocks(PAGE, "json")}
MINUTES_TO_INDEX = 10
VERSIONS = 24
"""One is pushed each day."""
WAYS = {
    "suffix": {},
    "replace": {"tagging": {"policy": "replace"}},
    "digest-only": {"tagging": {"policy": "digest-only"}},
    "v1": {"index": {"version": "v1"}},
    "both": {"index": {"version": "both"}},
}
SAFE = {
    "By age": ["suffix", "replace"],
    "By number": ["suffix", "replace"],
    "Keep start profiles": ["suffix", "replace"],
    "Keep some tags for ever": ["suffix"],
    "All images by age": list(WAYS),
}
NOT_SAFE = {
    ("Untagged images, where indexes have no tag", "v1"): "index of release-1 is gone",
    ("Untagged images, where indexes have no tag", "both"): "index of release-1 is gone",
    ("Untagged images, where indexes have no tag", "digest-only"): "index of release-1 is gone",
    ("The suffix alone", "suffix"): "index of release-1 is gone",
    ("A tag that is kept by its name alone", "suffix"): "index of release-7 is gone",
}

either_way_of_counting = pytest.mark.parametrize(
    "counts_parts", [False, True], ids=["lists", "lists and parts"]
)


def small(text, platform="linux/amd64"):
    return image_of(gzip_of(tar_of(file("f", text.encode()))), platform=platform)


def image(number):
    """Make an image. Every third one has two platforms."""
    one = small(f"{number}")
    return multi_platform(one, small(f"{number} arm", "linux/arm64")) if number % 3 == 0 else one


def tag(number):
    return f"release-{number}"


@functools.cache
def history(way):
    """Push and index a version each day; return the states of the repository without a policy.

    Each is a pair: what is stored, and for each version the digests that a lazy start needs.
    """
    settings = configuration(**WAYS[way])
    days = []
    pushed: dict[str, float] = {}
    needed: dict[str, set[str]] = {}
    with in_memory() as place:
        repository = place.registry.repository("app")
        for number in range(1, VERSIONS + 1):
            if way == "suffix" and number % 4 == 0:
                root = place.put("app", image(number), tag(number), f"{tag(number)}-soci")
                needed[tag(number)] = {str(root.digest)}
                pushed |= dict.fromkeys(repository.manifests.keys() - pushed.keys(), float(number))
            else:
                place.put("app", image(number), tag(number))
                pushed |= dict.fromkeys(repository.manifests.keys() - pushed.keys(), float(number))
                index(place, by_hand("app", tag(number)), settings)
                made = repository.manifests.keys() - pushed.keys()
                needed[tag(number)] = set(made)
                pushed |= dict.fromkeys(made, number + MINUTES_TO_INDEX / 1440)
            days.append(
                (_stored(repository, pushed), {name: set(digests) for name, digests in needed.items()})
            )
    return days


def _stored(repository, pushed):
    return [
        Stored(
            digest=digest,
            pushed_day=pushed[digest],
            tags=frozenset(name for name, named in repository.tags.items() if named == digest),
            parts=frozenset(manifest.children),
            subject=manifest.subject,
        )
        for digest, manifest in repository.manifests.items()
    ]


def nights(policy, way, *, counts_parts):
    """Yield after each night the manifests that are left, and those that lazy starts need."""
    gone = set()
    for day, (stored, needed) in enumerate(history(way), 1):
        there = [one for one in stored if one.digest not in gone]
        left = night(policy, there, day=day + 0.9, counts_parts=counts_parts)
        gone |= {one.digest for one in there} - {one.digest for one in left}
        yield left, needed


def problems(left, needed):
    """Yield the images that exist and no longer start lazily."""
    digests = {one.digest for one in left}
    tags = {name for one in left for name in one.tags}
    for one in left:
        if one.parts - digests:
            yield f"a list has lost {len(one.parts - digests)} of its parts"
    for name, wanted in needed.items():
        if name in tags and wanted - digests:
            yield f"index of {name} is gone"


def left_over(left):
    """Return the manifests without a tag, a list or a subject."""
    parts = {part for one in left for part in one.parts}
    return [one for one in left if not one.tags and one.digest not in parts and one.subject is None]


CASES = [(heading, way) for heading, ways in SAFE.items() for way in ways]


@either_way_of_counting
@pytest.mark.parametrize(("heading", "way"), CASES, ids=[f"{heading}, {way}" for heading, way in CASES])
def test_a_safe_policy_expires_no_index_of_an_image_that_stays(heading, way, counts_parts):
    for left, needed in nights(POLICIES[heading], way, counts_parts=counts_parts):
        assert list(problems(left, needed)) == []


@either_way_of_counting
@pytest.mark.parametrize(("heading", "way"), NOT_SAFE, ids=[f"{heading}, {way}" for heading, way in NOT_SAFE])
def test_an_unsafe_policy_breaks_the_image_that_the_page_names(heading, way, counts_parts):
    found = [
        problem
        for left, needed in nights(POLICIES[heading], way, counts_parts=counts_parts)
        for problem in problems(left, needed)
    ]

    assert NOT_SAFE[heading, way] in found


@either_way_of_counting
@pytest.mark.parametrize("heading", ["By age", "By number", "Keep some tags for ever", "All images by age"])
def test_nothing_is_left_over_for_longer_than_a_day(heading, counts_parts):
    *_, (left, _) = nights(POLICIES[heading], "suffix", counts_parts=counts_parts)

    assert [one for one in left_over(left) if VERSIONS + 0.9 - one.pushed_day > 15] == []


@either_way_of_counting
@pytest.mark.parametrize(
    ("heading", "expected"), [("By age", 14), ("By number", 10), ("Keep some tags for ever", VERSIONS)]
)
def test_as_many_versions_stay_as_the_page_says(heading, expected, counts_parts):
    *_, (left, _) = nights(POLICIES[heading], "suffix", counts_parts=counts_parts)
    tags = {name for one in left for name in one.tags}
    whole = [number for number in range(1, VERSIONS + 1) if {tag(number), f"{tag(number)}-soci"} <= tags]

    assert whole[-expected:] == list(range(VERSIONS + 1 - expected, VERSIONS + 1))
    assert len(whole) <= expected + 2  # some more where there was nothing to index


@either_way_of_counting
def test_a_number_for_all_images_keeps_fewer_versions_than_it_says(counts_parts):
    *_, (left, _) = nights(POLICIES["A number for all images"], "suffix", counts_parts=counts_parts)
    kept = {name for one in left for name in one.tags if not name.endswith("-soci")}

    assert len(kept) == (2 if counts_parts else 6)


def test_the_suffix_alone_takes_images_that_had_nothing_to_index():
    *_, (left, _) = nights(POLICIES["The suffix alone"], "suffix", counts_parts=False)
    tags = {name for one in left for name in one.tags}

    assert tag(3) in tags
    assert tag(4) not in tags


def test_under_replace_the_original_goes_a_day_after_its_tag_has_moved():
    *_, (left, _) = nights(POLICIES["By age"], "replace", counts_parts=False)
    days = [one.pushed_day for one in left_over(left)]

    assert [
        day for day in days if VERSIONS - 13 < day < VERSIONS - 1
    ] == []  # before, lists have just been expired
    assert VERSIONS in days


@pytest.mark.parametrize(("heading", "stays"), [("By age", False), ("Keep start profiles", True)])
def test_the_profile_of_a_line_stays_where_a_rule_keeps_it(heading, stays):
    profile = Stored(digest="profile", pushed_day=1, tags=frozenset({"soci-profile-linux-amd64"}))

    left = night(POLICIES[heading], [profile, NEW], day=17, counts_parts=False)

    assert (profile in left) is stays
    assert NEW in left


def test_version_1_indexes_of_a_deleted_image_are_removed():
    policy = POLICIES["All images by age"]
    for left, _ in nights(policy, "v1", counts_parts=False):
        digests = {one.digest for one in left}
        assert all(one.subject is None or one.subject in digests for one in left)


# --- the model ------------------------------------------------------------------------------------------------


def rule(priority=1, *, count=1, **selection):
    kind = {"countType": "imageCountMoreThan", "countNumber": count} | selection
    return {"rulePriority": priority, "selection": kind, "action": {"type": "expire"}}


OLD = Stored(digest="old", pushed_day=1, tags=frozenset({"v1", "prod"}))
MIDDLE = Stored(digest="middle", pushed_day=2, tags=frozenset({"v2"}))
NEW = Stored(digest="new", pushed_day=3, tags=frozenset({"v3"}))


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        ([rule(tagStatus="any")], {"old", "middle"}),
        ([rule(tagStatus="tagged", tagPatternList=["v*"], count=2)], {"old"}),
        ([rule(tagStatus="tagged", tagPrefixList=["v"], count=2)], {"old"}),
        ([rule(tagStatus="tagged", tagPatternList=["v*", "prod"])], set()),
        ([rule(tagStatus="untagged")], set()),
        ([rule(tagStatus="any", countType="sinceImagePushed", countUnit="days", count=2)], set()),
        ([rule(tagStatus="tagged", tagPatternList=["prod"]), rule(2, tagStatus="any")], {"middle"}),
    ],
    ids=["newest", "pattern", "prefix", "all patterns", "untagged", "age", "first rule owns"],
)
def test_rules_expire_what_the_guide_says(rules, gone):
    assert expired({"rules": rules}, [OLD, MIDDLE, NEW], day=3, counts_parts=True) == gone


def test_an_age_is_counted_from_the_push():
    policy = {"rules": [rule(tagStatus="any", countType="sinceImagePushed", countUnit="days", countNumber=2)]}

    assert expired(policy, [OLD, MIDDLE, NEW], day=3.5, counts_parts=True) == {"old"}


def test_parts_stay_as_long_as_their_list_and_referrers_as_long_as_their_subject():
    part = Stored(digest="part", pushed_day=0)
    listing = replace(NEW, parts=frozenset({"part"}))
    signature = Stored(digest="signature", pushed_day=4, subject="old")
    policy = {"rules": [rule(tagStatus="any", countType="sinceImagePushed", countUnit="days", countNumber=1)]}

    first = night(policy, [part, listing, OLD, signature], day=3.5, counts_parts=False)
    second = night(policy, first, day=4.5, counts_parts=False)
    third = night(policy, second, day=5.5, counts_parts=False)

    assert [[one.digest for one in left] for left in (first, second, third)] == [
        ["part", "new"],
        ["part"],
        [],
    ]


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ([rule(tagStatus="any"), rule(tagStatus="untagged")], "same priority"),
        ([rule(tagStatus="any"), rule(2, tagStatus="untagged")], "has to be the last"),
        ([rule(tagStatus="untagged"), rule(2, tagStatus="untagged")], "two rules are for untagged"),
        ([rule(tagStatus="tagged")], "need one of both"),
        ([rule(tagStatus="untagged", tagPrefixList=["v"])], "are for tagged images"),
        ([rule(tagStatus="tagged", tagPatternList=["*a*b*c*d*"])], "more than 4 wildcards"),
        ([rule(tagStatus="any", countNumber=0)], "numbers begin with 1"),
        ([rule(tagStatus="any", countUnit="days")], "days are the unit of an age"),
        ([rule(tagStatus="any", countType="sinceImagePulled")], "not modelled"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_model_refuses_what_ecr_refuses(rules, problem):
    with pytest.raises(InvalidPolicy, match=problem):
        check({"rules": rules})


def test_every_policy_of_the_page_is_tried():
    tried = {*SAFE, "A number for all images", *(heading for heading, _ in NOT_SAFE)}

    assert tried == POLICIES.keys()


def test_the_commands_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    result = {"imageTags": ["1.4"], "imageDigest": "sha256:0"}
    answers = {
        ("ecr", "StartLifecyclePolicyPreview"): lambda _: {"status": "IN_PROGRESS"},
        ("ecr", "GetLifecyclePolicyPreview"): lambda _: {"previewResults": [result]},
    }
    (tmp_path / "policy.json").write_text(json.dumps(POLICIES["By age"]))
    (commands,) = blocks(PAGE, "bash")
    with terminal(tmp_path, region="eu-central-1", answers=answers) as shell:
        done = shell.run(commands.text)

    assert (done.stderr, done.returncode) == ("", 0)
    assert '"sha256:0"' in done.stdout
