"""Pages of images for a re-index, from the in-memory registry over both of its protocols."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from local.registry import Behaviour, Registry
from local.registry.store import Manifest, digest_of
from soci.errors import InvalidRequest, InvalidResponse, RegistryUnavailable
from soci.oci import media_types
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.oci.platform import Platform
from soci.places.registry.connect import connect
from soci.places.registry.ecr_api import EcrApi
from soci.places.registry.repository import RegistryRepository
from soci.places.registry.retry import RetryPolicy
from soci.service.reindex import image_indexes, listing
from soci.service.reindex.cursor import Cursor
from soci.service.reindex.image_indexes import converted_configs
from soci.service.reindex.listing import Lister, Page
from soci.service.reindex.request import ReindexRequest
from soci.service.settings.configuration import Configuration
from soci.start.push_profile import push_line_profile
from tests.aws_environment import as_aws
from tests.builders import (
    Image,
    file,
    gzip_of,
    image_of,
    multi_platform,
    tar_of,
    with_soci_index,
    with_soci_v1_index,
)
from tests.fake_time import FakeTime
from tests.unit.service.places import InMemory, by_hand, configuration, imitation, in_memory, index

CONFIG = {"mediaType": media_types.OCI_CONFIG, "digest": digest_of(b"config"), "size": 6}
IN_TOTO = "application/vnd.in-toto+json"


@pytest.fixture(autouse=True)
def aws(memory):
    with as_aws(memory.registry):
        yield


def bare(text: object, **fields: Any) -> bytes:
    """A manifest without layers; the text tells it from others."""
    document = {"schemaVersion": 2, "config": CONFIG, "layers": [], "annotations": {"text": str(text)}}
    return json.dumps(document | fields).encode()


def small(text: str, **how: Any) -> Image:
    return image_of(gzip_of(tar_of(file("f", text.encode()))), **how)


def lister(memory: InMemory, settings: Configuration | None = None) -> Lister:
    retries = RetryPolicy(attempts=1, clock=FakeTime().clock())
    place = connect(memory.registry.host, is_ecr=True, retries=retries)
    return Lister(EcrApi(place.host), place.open_image, settings or configuration())


def pages(lister: Lister, cursor: Cursor | None = None, **request: Any) -> Iterator[Page]:
    """All pages; the cursor goes through JSON as in a workflow."""
    asked = ReindexRequest.parse({"repositories": ["*"], **request})
    while True:
        page = lister.fetch_page(asked, cursor)
        yield page
        if page.next_cursor is None:
            return
        cursor = sent(page.next_cursor)


def sent(cursor: Cursor) -> Cursor:
    return Cursor.from_fields(Fields(json.loads(json.dumps(cursor.to_document())), "cursor"))


def listed(memory: InMemory, settings: Configuration | None = None, **request: Any) -> list[str]:
    """The names of what is listed, in order, `repository:tag` or `repository@digest`."""
    found = [image for page in pages(lister(memory, settings), **request) for image in page.images]
    return [name_of(image) for image in found]


def name_of(image: Any) -> str:
    return (
        f"{image['repository']}:{image['tag']}"
        if "tag" in image
        else f"{image['repository']}@{image['digest']}"
    )


def actions(memory: InMemory) -> Counter[str]:
    return Counter(seen.aws_action or seen.path for seen in memory.registry.requests)


# --- pages ---------------------------------------------------------------------------------------------------


def test_a_thousand_repositories_are_paged_with_one_call_for_each(memory):
    for number in range(1_000):
        memory.registry.repository(f"team/app-{number:04}").put_manifest(bare(number), tag="1")

    found = list(pages(lister(memory)))

    assert [len(page.images) for page in found] == [100] * 10
    assert [name_of(image) for page in found for image in page.images] == [
        f"team/app-{number:04}:1" for number in range(1_000)
    ]
    assert actions(memory) == {"DescribeRepositories": 10, "DescribeImages": 1_000}


def test_ten_thousand_images_of_one_repository_are_paged_with_one_call_for_each_page(memory):
    app = memory.registry.repository("app")
    for number in range(10_000):
        app.put_manifest(bare(number), tag=f"t{number}")

    found = [image for page in pages(lister(memory)) for image in page.images]

    assert Counter(image["tag"] for image in found) == Counter(app.tags.keys())
    assert actions(memory) == {"DescribeRepositories": 100, "DescribeImages": 100}


def test_an_image_with_a_thousand_tags_is_split_between_pages(memory):
    app = memory.registry.repository("app")
    digest = app.put_manifest(bare(1))
    app.tags.update({f"t{number:04}": digest for number in range(1_000)})

    found = list(pages(lister(memory)))

    assert [len(page.images) for page in found] == [100] * 10
    assert [image["tag"] for page in found for image in page.images] == sorted(app.tags)


def test_a_page_of_the_longest_names_has_fewer_images(memory):
    name, app = "a" * 230, memory.registry.repository("a" * 230)
    digest = app.put_manifest(bare(1))
    app.tags.update({f"{number:0128}": digest for number in range(200)})

    found = list(pages(lister(memory)))

    assert sum(len(page.images) for page in found) == 200
    assert all(len(json.dumps(page.images)) < 28 << 10 for page in found)
    assert len(found) == 4
    assert found[0].images[0]["repository"] == name


def test_a_cursor_holds_when_images_come_and_go(memory):
    app = memory.registry.repository("app")
    for number in range(500):
        app.put_manifest(bare(number), tag=f"t{number}")
    there = dict(app.tags)
    walk = pages(lister(memory))
    seen: list[Any] = []
    gone: set[str] = set()

    for number, page in enumerate(walk):
        seen += page.images
        for tag in list(there)[number * 20 : number * 20 + 10]:
            gone.add(tag)
            app.manifests.pop(app.tags.pop(tag))
        for extra in range(10):
            app.put_manifest(bare(f"new {number} {extra}"), tag=f"new-{number}-{extra}")

    names = [image["tag"] for image in seen]
    assert len(names) == len(set(names))
    assert set(there) - gone <= set(names)


def test_a_cursor_within_a_page_of_the_api_holds_when_images_move_up(memory):
    app = memory.registry.repository("app")
    digests = sorted(app.put_manifest(bare(number)) for number in range(300))
    app.tags.update(
        {f"t{number:03}-{copy}": digest for number, digest in enumerate(digests) for copy in (1, 2)}
    )
    walk = pages(lister(memory))
    first = next(walk)

    # Of the API's first page, half was given out. The rest of it goes, but for one image.
    for digest in digests[50:99]:
        del app.manifests[digest]
    app.tags = {tag: digest for tag, digest in app.tags.items() if digest in app.manifests}
    rest = [image["tag"] for page in walk for image in page.images]

    assert [image["tag"] for image in first.images] == [f"t{n:03}-{c}" for n in range(50) for c in (1, 2)]
    assert set(rest) == {f"t{n:03}-{c}" for n in range(99, 300) for c in (1, 2)}


def test_a_cursor_holds_when_repositories_come_and_go(memory):
    for name in ("ab", "bb", "db"):
        app = memory.registry.repository(name)
        for number in range(150):
            app.put_manifest(bare(number), tag=f"t{number}")
    walk = pages(lister(memory))
    found = [*next(walk).images, *next(walk).images]

    del memory.registry._service.store.repositories["bb"]  # noqa: SLF001 - repositories are not deleted over HTTP
    memory.registry.repository("ac").put_manifest(bare(1), tag="early")
    memory.registry.repository("cb").put_manifest(bare(1), tag="late")
    found += [image for page in walk for image in page.images]

    counts = Counter(image["repository"] for image in found)
    assert counts == {"ab": 150, "bb": 50, "cb": 1, "db": 150}


def test_a_page_token_that_the_api_has_forgotten_begins_the_repository_again(memory):
    app = memory.registry.repository("app")
    for number in range(250):
        app.put_manifest(bare(number), tag=f"t{number}")
    old = Cursor(repository="app", page_token="of yesterday", after=(digest_of(b"x"), "t"))

    found = [image["tag"] for page in pages(lister(memory), old) for image in page.images]

    assert Counter(found) == Counter(app.tags.keys())


def test_a_page_token_that_is_refused_twice_is_an_error(memory):
    memory.registry.repository("app")
    old = Cursor(repository="app", page_token="of yesterday", is_second_try=True)

    with pytest.raises(InvalidResponse, match="DescribeImages of app"):
        next(pages(lister(memory), old))


def test_a_call_reads_a_limited_number_of_lists_and_the_next_goes_on(memory, monkeypatch):
    monkeypatch.setattr(listing, "MAX_LISTS", 10)
    for number in range(25):
        memory.registry.repository(f"app-{number:02}").put_manifest(bare(number), tag="1")
    memory.registry.repository("app-24").tags["wanted"] = digest_of(bare(24))

    found = [[name_of(image) for image in page.images] for page in pages(lister(memory), tags=["wanted"])]

    assert found == [[], [], ["app-24:wanted"]]


def test_a_call_reads_the_content_of_a_limited_number_of_images(memory, monkeypatch):
    monkeypatch.setattr(listing, "MAX_LOOKS", 64)
    for number in range(150):
        memory.put("app", small(f"{number}"), f"t{number}")

    found = [len(page.images) for page in pages(lister(memory), only_missing=True)]

    assert found == [64, 86]  # what is left of a page of the list, and then at most a handful more


def test_nothing_to_list_is_one_empty_page(memory):
    assert [page.images for page in pages(lister(memory))] == [()]


def test_a_registry_that_does_not_answer_is_an_error(memory, monkeypatch):
    monkeypatch.setattr("soci.places.registry.ecr.ATTEMPTS", 1)
    memory.registry.close()

    with pytest.raises(RegistryUnavailable):
        next(pages(lister(memory)))


# --- names and times -----------------------------------------------------------------------------------------


def stock(memory: InMemory, *names: str) -> None:
    """Put an image there under each `repository:tag`; an image without layers will do."""
    for name in names:
        repository, _, tag = name.partition(":")
        memory.registry.repository(repository).put_manifest(bare(name), tag=tag)


ALL = ("a/x:1", "a/x:2", "a/y:v1", "bb:1", "lambda/z:1")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"repositories": ["a/x"]}, ["a/x:1", "a/x:2"]),
        ({"repositories": ["a/*"]}, ["a/x:1", "a/x:2", "a/y:v1"]),
        ({"repositories": ["??", "a/y"]}, ["a/y:v1", "bb:1"]),
        ({"repositories": ["A/*"]}, []),
        ({"tags": ["v*"]}, ["a/y:v1"]),
        ({"tags": ["2", "v1"]}, ["a/x:2", "a/y:v1"]),
    ],
    ids=str,
)
def test_a_request_selects_by_globs_of_names(memory, request_, expected):
    stock(memory, *ALL)

    assert sorted(listed(memory, **request_)) == expected


def test_the_rules_of_the_deployment_apply_too(memory):
    stock(memory, *ALL)
    rules = configuration(
        rules={
            "repositories": {"include": ["a/*", "lambda/*"], "exclude": ["lambda/*"]},
            "tags": {"exclude": ["2"]},
        }
    )

    assert listed(memory, rules) == ["a/x:1", "a/y:v1"]


def test_named_repositories_must_exist_and_be_within_the_rules(memory):
    stock(memory, *ALL)
    rules = configuration(rules={"repositories": {"exclude": ["bb"]}})

    with pytest.raises(InvalidRequest) as caught:
        listed(memory, rules, repositories=["a/*", "none", "bb", "none/*"])

    assert str(caught.value) == (
        "request: repositories[1]: there is no repository none; repositories[2]: rules.repositories leave bb out"
    )


def test_a_repository_that_is_deleted_while_it_is_listed_is_no_error(memory):
    stock(memory, *ALL)

    found = [page.images for page in pages(lister(memory), Cursor(repository="gone"), repositories=["gone"])]

    assert found == [()]


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("2026-01-31", ["app:day", "app:later"]),
        ("2026-01-31T00:00:01Z", ["app:later"]),
        ("2026-01-31T02:00:00+02:00", ["app:day", "app:later"]),
        ("2026-02-03 - 3 days", ["app:day", "app:later"]),
        ("2026-02-01T03:17:00Z - 27 hours", ["app:later"]),
        (None, ["app:before", "app:day", "app:later"]),
    ],
)
def test_images_that_were_pushed_before_are_left_out(memory, since, expected):
    app = memory.registry.repository("app")
    for tag, time in [
        ("before", "2026-01-30T23:59:59+00:00"),
        ("day", "2026-01-31T00:00:00+00:00"),
        ("later", "2026-02-01T00:00:00+00:00"),
    ]:
        app.put_manifest(bare(tag), tag=tag, pushed_at=datetime.fromisoformat(time).timestamp())

    assert sorted(listed(memory, pushed_since=since)) == expected


def test_images_pushed_lately_can_be_left_out(memory):
    app = memory.registry.repository("app")
    for tag, time in [("old", "2026-01-27"), ("done", "2026-01-30"), ("new", "2026-01-31T03:00")]:
        at = datetime.fromisoformat(f"{time}+00:00" if "T" in time else f"{time}T00:00+00:00")
        app.put_manifest(bare(tag), tag=tag, pushed_at=at.timestamp())

    now = "2026-01-31T06:00:00Z"
    assert listed(memory, pushed_since=f"{now} - 3 days", pushed_before=f"{now} - 3 hours") == ["app:done"]


def test_each_request_says_whether_it_is_forced(memory):
    stock(memory, "aa:1")

    assert next(pages(lister(memory), force=True)).images == (
        {"repository": "aa", "tag": "1", "force": True, "listed": True},
    )


# --- content -------------------------------------------------------------------------------------------------


def test_artifacts_are_left_out_by_their_types_in_the_list(memory):
    memory.put("app", with_soci_v1_index(small("1")), "1")
    app = memory.registry.repository("app")
    for config_type in ("application/vnd.cncf.helm.config.v1+json", "application/vnd.wasm.config.v0+json"):
        config = {**CONFIG, "mediaType": config_type}
        app.put_manifest(bare("artifact", config=config), tag=f"artifact-{len(app.tags)}")
    app.put_manifest(bare("typed", artifactType="application/spdx+json"), tag="typed")
    memory.registry.forget_requests()

    assert listed(memory) == ["app:1"]
    assert actions(memory) == {"DescribeRepositories": 1, "DescribeImages": 1}


def test_signatures_with_the_types_of_images_are_found_by_their_content(memory):
    memory.put("app", small("1"), "1")
    signature = {
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
        "digest": digest_of(b"s"),
        "size": 1,
    }
    tag = f"sha256-{'0' * 64}"
    app = memory.registry.repository("app")
    app.put_manifest(bare("signature", layers=[signature]), tag=f"{tag}.sig")
    memory.put("app", small("an image called so"), tag)

    assert sorted(listed(memory)) == ["app:1", f"app:{tag}"]


def test_types_that_the_list_does_not_have_are_read(memory, monkeypatch):
    memory.put("app", small("1"), "1")
    artifact = {**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}
    memory.registry.repository("app").put_manifest(bare("chart", config=artifact), tag="chart")
    push_line_profile(partial(memory, "app"), "*", Platform.parse("linux/amd64"), b"{}")
    monkeypatch.setattr(Manifest, "artifact_type", "")

    assert listed(memory) == ["app:1"]


def test_what_indexing_made_is_left_out_with_the_policy_suffix(memory):
    settings = configuration()
    memory.put("app", small("1"), "1")
    index(memory, by_hand("app", "1"), settings)
    memory.put("app", small("2"), "2", "2-soci")  # nothing to index: the tag that was promised
    memory.put("app", small("mine"), "mine-soci")  # somebody's own name

    assert sorted(listed(memory, settings)) == ["app:1", "app:2", "app:mine-soci"]


def test_a_soci_enabled_image_under_its_own_tag_is_listed_unless_only_what_is_missing_is_wanted(memory):
    settings = configuration(tagging={"policy": "replace"})
    memory.put("app", with_soci_index(small("1")), "1")
    memory.put("app", small("2"), "2")

    assert sorted(listed(memory, settings)) == ["app:1", "app:2"]
    assert listed(memory, settings, only_missing=True) == ["app:2"]


@pytest.mark.parametrize("kind", ["annotation", "annotated entry", "typed entry"])
def test_an_image_that_falsely_claims_a_soci_index_misses_one(memory, kind):
    memory.put("app", imitation(kind, small("1"), small("2", platform="linux/arm64")), "1")

    assert listed(memory, only_missing=True) == ["app:1"]


def test_an_image_that_is_deleted_before_it_is_read_is_left_out(memory):
    root = memory.put("app", small("1"), "1")
    there = memory.registry.repository("app")
    place = connect(memory.registry.host, is_ecr=True)

    def open_when_it_is_gone(repository: str, reference: str) -> RegistryRepository:
        there.manifests.pop(str(root.digest), None)
        return place.open_image(repository, reference)

    late = Lister(EcrApi(place.host), open_when_it_is_gone, configuration())

    assert [page.images for page in pages(late, only_missing=True)] == [()]


def test_a_corrupt_image_is_listed_so_that_its_failure_is_seen(memory):
    app = memory.registry.repository("app")
    app.put_manifest(bare("broken", config={**CONFIG, "size": -1}), tag="1")

    assert listed(memory, only_missing=True) == ["app:1"]


# --- only what is missing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "made", "expected"),
    [
        ("v2", ["v2"], []),
        ("v2", ["v1"], ["app:1"]),
        ("v1", ["v1"], []),
        ("v1", ["v2"], ["app:1"]),
        ("both", ["v1"], ["app:1"]),
        ("both", ["v2"], ["app:1"]),
        ("both", ["v1", "v2"], []),
    ],
    ids=str,
)
def test_only_missing_lists_images_without_an_index_that_the_settings_ask_for(memory, wanted, made, expected):
    memory.put("app", multi_platform(small("a"), small("b", platform="linux/arm64")), "1")
    for version in made:
        index(memory, by_hand("app", "1"), configuration(index={"version": version}))
    other = configuration(index={"version": wanted, "span_size_bytes": 1 << 20})

    assert listed(memory, other, only_missing=True) == expected


@pytest.mark.parametrize("policy", ["digest-only", "suffix", "replace"])
@pytest.mark.parametrize("tags", [["1"], []], ids=["tagged", "untagged"])
def test_a_soci_enabled_image_without_a_tag_is_found_by_its_configs(memory, tags, policy):
    settings = configuration(tagging={"policy": policy}, rules={"untagged_images": "index"})
    image = multi_platform(small("a"), small("b", platform="linux/arm64"))
    root = memory.put("app", image, *tags)
    request = by_hand("app", tags[0] if tags else str(root.digest))
    assert len(listed(memory, settings, only_missing=True)) == 1

    index(memory, request, settings)
    memory.put("app", small("c"), "2")

    assert listed(memory, settings, only_missing=True) == ["app:2"]


def test_indexes_are_read_once_to_find_untagged_converted_images(memory, monkeypatch):
    settings = configuration(tagging={"policy": "digest-only"})
    for number in range(5):
        memory.put("app", multi_platform(small(f"{number}")), f"{number}")
        index(memory, by_hand("app", f"{number}"), settings)
    looked_through = []

    def counted(source: RegistryRepository) -> frozenset[Digest]:
        looked_through.append(source)
        return converted_configs(source)

    monkeypatch.setattr(image_indexes, "converted_configs", counted)
    searching = lister(memory, settings)

    for _ in range(2):
        assert [page.images for page in pages(searching, only_missing=True)] == [()]

    assert len(looked_through) == 10


def test_an_image_that_was_copied_without_its_index_misses_it(memory):
    annotations = {"com.amazon.soci.index-digest": digest_of(b"left behind")}
    image = small("a")
    document = json.loads(image.document) | {"annotations": annotations}
    memory.put("app", image)
    memory.registry.repository("app").put_manifest(json.dumps(document).encode(), tag="1")

    assert listed(memory, only_missing=True) == ["app:1"]


def test_an_untagged_converted_image_whose_index_is_gone_does_not_count(memory):
    settings = configuration(tagging={"policy": "digest-only"})
    memory.put("app", small("a"), "1")
    [converted] = index(memory, by_hand("app", "1"), settings).platforms
    assert listed(memory, settings, only_missing=True) == []
    assert converted.index is not None

    del memory.registry.repository("app").manifests[str(converted.index.descriptor.digest)]

    assert listed(memory, settings, only_missing=True) == ["app:1"]


def test_the_soci_enabled_image_of_an_older_image_of_the_tag_does_not_count(memory):
    settings = configuration()
    memory.put("app", small("old"), "1")
    index(memory, by_hand("app", "1"), settings)
    memory.put("app", small("new"), "1")

    assert listed(memory, settings, only_missing=True) == ["app:1"]


@pytest.mark.parametrize(
    ("tags", "promise", "expected"),
    [
        (["1"], True, ["app:1"]),
        (["1", "1-soci"], True, []),
        (["1"], False, []),
    ],
    ids=["its tag is promised", "its tag is there", "no tag is promised"],
)
def test_an_image_that_the_rules_leave_out_may_miss_only_its_promised_tag(memory, tags, promise, expected):
    memory.put("app", small("small"), *tags)
    settings = configuration(
        rules={"min_image_size_bytes": 1 << 20}, tagging={"when_nothing_to_index": promise}
    )

    assert listed(memory, settings, only_missing=True) == expected
    assert listed(memory, settings) == ["app:1"]


@pytest.mark.parametrize("length", [123, 124, 128])
def test_an_image_whose_tag_is_too_long_for_a_suffix_misses_no_index(memory, length):
    memory.put("app", small("long"), "a" * length)
    memory.put("zzz", small("other"), "1")

    found = listed(memory, configuration(), only_missing=True)

    assert found == [f"app:{'a' * length}"] * (length + len("-soci") <= 128) + ["zzz:1"]


@pytest.mark.parametrize(("tags", "expected"), [(["1"], ["app:1"]), (["1", "1-soci"], [])])
def test_an_image_of_too_many_manifests_may_miss_only_its_promised_tag(memory, tags, expected):
    app = memory.registry.repository("app")
    part = bare("part")
    entry = {"mediaType": media_types.OCI_MANIFEST, "digest": app.put_manifest(part), "size": len(part)}
    document = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [entry] * 201}
    digest = app.put_manifest(json.dumps(document).encode(), media_types.OCI_INDEX)
    app.tags.update(dict.fromkeys(tags, digest))

    assert listed(memory, configuration(), only_missing=True) == expected
    assert "app:1" in listed(memory, configuration())


@pytest.mark.parametrize("policy", ["suffix", "replace"])
def test_an_image_whose_tag_cannot_move_does_not_miss_the_index_that_only_its_digest_names(policy):
    settings = configuration(tagging={"policy": policy})
    with in_memory(Behaviour(immutable_tags=True, rates={})) as place, as_aws(place.registry):
        place.put("app", small("theirs"), "1-soci")
        place.put("app", small("ours"), "1")
        before = sorted(listed(place, settings, only_missing=True))

        index(place, by_hand("app", "1"), settings)
        after = listed(place, settings, only_missing=True)

    theirs = ["app:1-soci"]  # an image of somebody, under a name that looks like one of ours
    assert (before, after) == (["app:1", *theirs], theirs)


def test_an_image_whose_tag_could_move_misses_its_index_although_its_digest_names_one(memory):
    settings = configuration()
    memory.put("app", small("first"), "1")
    index(memory, by_hand("app", "1"), settings)
    memory.registry.repository("app").tags["1-soci"] = memory.registry.repository("app").tags["1"]

    assert listed(memory, settings, only_missing=True) == ["app:1"]


def test_an_image_whose_tag_could_move_misses_its_index_even_if_an_untagged_image_is_found_by_its_digest(
    memory,
):
    settings = configuration(rules={"untagged_images": "index"})
    memory.put("app", small("first"), "1")
    index(memory, by_hand("app", "1"), settings)
    memory.registry.repository("app").tags["1-soci"] = memory.registry.repository("app").tags["1"]
    memory.put("app", small("untagged"))

    assert "app:1" in listed(memory, settings, only_missing=True)


@pytest.mark.parametrize("is_converted", [False, True])
def test_behind_a_corrupt_image_whose_tag_cannot_move_only_a_converted_image_has_its_index(is_converted):
    settings = configuration()
    with in_memory(Behaviour(immutable_tags=True, rates={})) as place, as_aws(place.registry):
        place.put("app", small("ours"), "1")
        if is_converted:
            index(place, by_hand("app", "1"), configuration(tagging={"policy": "digest-only"}))
        corrupt = bare("corrupt", config={**CONFIG, "size": -1})
        place.registry.repository("app").put_manifest(corrupt, tag="1-soci")

        found = listed(place, settings, only_missing=True)

    assert ("app:1" in found) is not is_converted


def test_an_image_misses_a_tag_that_could_be_set_although_its_digest_names_a_converted_image():
    settings = configuration()
    with in_memory(Behaviour(immutable_tags=True, rates={})) as place, as_aws(place.registry):
        place.put("app", small("ours"), "1")
        index(place, by_hand("app", "1"), settings)
        before = listed(place, settings, only_missing=True)
        del place.registry.repository("app").tags["1-soci"]
        after = listed(place, settings, only_missing=True)

    assert (before, after) == ([], ["app:1"])


def test_an_image_with_its_promised_tag_misses_an_index_once_the_rules_include_it(memory):
    memory.put("app", small("small"), "1", "1-soci")

    assert listed(memory, configuration(), only_missing=True) == ["app:1"]


def test_platforms_that_the_rules_leave_out_miss_no_index_of_version_1(memory):
    meant = small("a")
    memory.put("app", with_soci_v1_index(meant))
    memory.put("app", multi_platform(meant, small("b", platform="linux/riscv64")), "1")
    memory.put("app", small("c", platform="linux/riscv64"), "2")

    assert listed(memory, configuration(index={"version": "v1"}), only_missing=True) == []


# --- untagged images -----------------------------------------------------------------------------------------

UNTAGGED = configuration(rules={"untagged_images": "index"})


def attestation(text: str) -> Image:
    return image_of(json.dumps({"text": text}).encode(), layer_types={0: IN_TOTO}, platform="unknown/unknown")


def test_untagged_images_are_left_out_unless_the_rules_say_otherwise(memory):
    root = memory.put("app", small("1"))

    assert listed(memory) == []
    assert listed(memory, UNTAGGED) == [f"app@{root.digest}"]
    assert listed(memory, UNTAGGED, tags=["v*"]) == []


def test_parts_of_images_and_artifacts_are_not_untagged_images(memory):
    parts = multi_platform(small("a"), small("b", platform="linux/arm64"), attestation("of whole"))
    whole = memory.put("app", parts)
    alone = memory.put("app", small("alone"))
    memory.put("app", attestation("of one that is deleted"))
    memory.put("app", multi_platform(small("t")), "tagged")
    memory.put("app", with_soci_v1_index(small("with v1")), "v1")
    memory.put("app", with_soci_index(small("digest only")))
    index(memory, by_hand("app", "tagged"), UNTAGGED)
    memory.registry.forget_requests()

    found = listed(memory, UNTAGGED)

    assert sorted(found) == sorted([f"app@{whole.digest}", f"app@{alone.digest}", "app:tagged", "app:v1"])


def test_image_indexes_are_read_once_for_as_long_as_the_process_lives(memory):
    for number in range(30):
        memory.put("app", multi_platform(small(f"{number}")), f"t{number}")
    for number in range(250):
        memory.put("app", small(f"alone {number}"))
    warm = lister(memory, UNTAGGED)
    memory.registry.forget_requests()

    found = list(pages(warm))
    again = list(pages(warm))

    assert [len(page.images) for page in found] == [len(page.images) for page in again] == [100, 100, 80]
    reads = Counter(seen.path for seen in memory.registry.requests if "/manifests/" in seen.path)
    roots = {f"/v2/app/manifests/{digest}" for digest in memory.registry.repository("app").tags.values()}
    assert {reads[path] for path in roots} == {1}


def test_short_pages_of_the_api_change_nothing(monkeypatch):
    monkeypatch.setattr(image_indexes, "MAX_KNOWN_INDEXES", 3)
    with Registry(Behaviour(rates={}, max_page_entries=7)) as registry, as_aws(registry):
        memory = InMemory(registry=registry)
        for number in range(12):
            memory.put("app", multi_platform(small(f"{number}")), f"t{number}")
        alone = [memory.put("app", small(f"alone {number}")).digest for number in range(12)]
        patient = lister(memory, UNTAGGED)

        for _ in range(2):
            found = [name_of(image) for page in pages(patient) for image in page.images]
            assert sorted(found) == sorted(
                [*(f"app:t{number}" for number in range(12)), *(f"app@{digest}" for digest in alone)]
            )


def test_a_corrupt_image_index_has_no_parts_and_is_listed(memory):
    app = memory.registry.repository("app")
    broken = app.put_manifest(
        b'{"schemaVersion": 2, "manifests": [{"digest": "none"}]}', media_types.OCI_INDEX
    )
    part = memory.put("app", small("1"))

    assert sorted(listed(memory, UNTAGGED)) == sorted([f"app@{broken}", f"app@{part.digest}"])
