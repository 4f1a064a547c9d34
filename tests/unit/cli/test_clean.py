"""`clean` with the in-memory registry: what is removed, what is kept, and what is reported."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from local.registry import Answer
from local.registry.store import OCI_INDEX, Repository
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.places.registry.connect import connect
from soci.places.registry.ecr_api import EcrApi
from soci.upkeep.clean import CleanResult, Orphans, Wanted, find_orphans, remove_orphans
from soci.upkeep.inventory import Inventory
from tests.aws_environment import as_aws
from tests.unit.service.places import InMemory, by_hand, configuration, in_memory, index
from tests.unit.upkeep.status.forty import app, both

SETTINGS = configuration()
V1 = configuration(index={"version": "v1"})
NOW = ("--older-than", "0min")


@pytest.fixture
def place():
    with in_memory() as place, as_aws(place.registry):
        yield place


@pytest.fixture
def there(place) -> Repository:
    found: Repository = place.registry.repository("app")
    return found


@pytest.fixture
def clean(soci_index, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def command(*flags: object, status: int = 0):
        host = place.registry.host
        return soci_index("clean", f"{host}/app", "--ecr-host", host, *flags, status=status)

    return command


def indexed(place: InMemory, tag: str, settings: Any = SETTINGS, image: Any = None) -> None:
    place.put("app", image or both(tag), tag)
    index(place, by_hand("app", tag), settings)


def delete(there: Repository, tag: str) -> None:
    """Delete an image as a lifecycle rule does: its index and its manifests."""
    digest = there.tags.pop(tag)
    gone = there.manifests.pop(digest)
    for child in gone.children:
        del there.manifests[child]


def types(there: Repository) -> Counter[str]:
    return Counter(one.artifact_type or one.media_type for one in there.manifests.values())


def snapshot(there: Repository) -> tuple[dict[str, str], set[str]]:
    return dict(there.tags), set(there.manifests)


def test_nothing_is_removed_while_every_image_is_there(clean, place, there):
    indexed(place, "1")
    indexed(place, "2", V1)
    before = snapshot(there)

    result = clean(*NOW, "--tags", "--untagged")

    assert result.stdout == "0 of 0 orphans removed\n"
    assert snapshot(there) == before


def test_version_1_indexes_of_a_deleted_image_are_removed(clean, place, there):
    indexed(place, "1", V1)
    indexed(place, "2", V1)
    delete(there, "1")
    assert types(there)[media_types.SOCI_INDEX_V1] == 4

    document = clean(*NOW, "--json").document

    assert [one["kind"] for one in document["repositories"][0]["found"]] == ["v1-without-image"] * 2
    assert types(there)[media_types.SOCI_INDEX_V1] == 2
    assert {one.subject for one in there.manifests.values()} <= {None, *there.manifests}


def test_a_dry_run_lists_orphans_and_changes_nothing(clean, place, there):
    indexed(place, "1", V1)
    delete(there, "1")
    before = snapshot(there)

    result = clean(*NOW, "--dry-run")

    assert [line.split()[1::4] for line in result.stdout.splitlines()[1:3]] == [
        ["v1-without-image", "would"],
    ] * 2
    assert result.stdout.endswith("2 orphans would go\n")
    assert snapshot(there) == before
    assert not any(seen.method == "DELETE" for seen in place.registry.requests)


def test_soci_indexes_that_no_image_lists_are_removed(clean, place, there):
    indexed(place, "1")
    copy = there.manifests.pop(there.tags.pop("1-soci"))
    for child in copy.children:
        manifest = there.manifests[child]
        if SOCI_INDEX_DIGEST in manifest.document.get("annotations", {}):
            del there.manifests[child]

    document = clean(*NOW, "--json").document

    assert [one["kind"] for one in document["repositories"][0]["found"]] == ["index-without-image"] * 2
    assert types(there)[media_types.SOCI_INDEX_V2] == 0
    assert "1" in there.tags


def test_a_soci_index_that_a_manifest_names_is_kept_even_if_no_index_lists_them(clean, place, there):
    indexed(place, "1")
    del there.manifests[there.tags.pop("1-soci")]
    before = snapshot(there)

    assert clean(*NOW, "--untagged").stdout == "0 of 0 orphans removed\n"
    assert snapshot(there) == before


def test_converted_images_without_their_original_tag_are_removed_only_on_request(clean, place, there):
    indexed(place, "1")
    indexed(place, "2")
    delete(there, "1")
    before = snapshot(there)
    assert clean(*NOW).stdout == "0 of 0 orphans removed\n"
    assert snapshot(there) == before

    document = clean(*NOW, "--tags", "--json").document

    kinds = Counter(one["kind"] for one in document["repositories"][0]["found"])
    assert kinds == {"tag-without-original": 1, "part-of-copy": 2, "index-without-image": 2}
    assert set(there.tags) == {"2", "2-soci"}
    assert types(there)[media_types.SOCI_INDEX_V2] == 2
    assert clean(*NOW, "--tags", "--untagged").stdout == "0 of 0 orphans removed\n"


def test_a_converted_image_with_another_tag_loses_only_the_orphaned_tag(clean, place, there):
    indexed(place, "1")
    there.tags["production"] = there.tags["1-soci"]
    delete(there, "1")
    manifests = set(there.manifests)

    result = clean(*NOW, "--tags")

    assert result.stdout.splitlines()[1].endswith("removed tag")
    assert set(there.tags) == {"production"}
    assert set(there.manifests) == manifests


def test_parts_that_another_converted_image_lists_are_kept(clean, place, there):
    indexed(place, "1")
    copy = there.find("1-soci")
    assert copy is not None
    document = copy.document | {"annotations": {"another": "index of the same parts"}}
    there.put_manifest(json.dumps(document).encode(), OCI_INDEX, tag="kept")
    delete(there, "1")

    document = clean(*NOW, "--tags", "--json").document

    assert [one["kind"] for one in document["repositories"][0]["found"]] == ["tag-without-original"]
    assert set(there.find("kept").children) <= set(there.manifests)


def test_untagged_converted_images_without_original_are_removed_on_request(clean, place, there):
    for seed in ("old", "new"):
        indexed(place, "latest", image=app(seed))
    old = there.manifests
    [untagged] = [
        one for one, manifest in old.items() if manifest.children and one not in there.tags.values()
    ]
    assert clean(*NOW, "--untagged").stdout == "0 of 0 orphans removed\n"
    original = next(
        digest
        for digest, one in there.manifests.items()
        if digest not in there.tags.values()
        and not one.children
        and digest not in there.manifests[untagged].children
        and one.artifact_type == media_types.OCI_CONFIG
    )
    del there.manifests[original]

    document = clean(*NOW, "--untagged", "--json").document

    kinds = [one["kind"] for one in document["repositories"][0]["found"]]
    assert kinds == ["copy-without-original", "part-of-copy", "index-without-image"]
    assert len(there.manifests) == 4
    assert set(there.tags) == {"latest", "latest-soci"}


def test_young_content_is_kept_since_its_image_may_be_in_progress(clean, place, there):
    indexed(place, "1", V1)
    delete(there, "1")

    assert clean().stdout == "0 of 0 orphans removed\n"
    assert clean("--older-than", "1h").stdout == "0 of 0 orphans removed\n"
    for digest, one in list(there.manifests.items()):
        there.put_manifest(one.data, one.media_type, pushed_at=time.time() - 7_200)
        assert digest in there.manifests
    assert clean("--older-than", "1h").stdout.endswith("2 of 2 orphans removed\n")


def test_images_that_indexing_did_not_make_are_kept_whatever_their_tags(clean, place, there):
    place.put("app", app("plain"), "1-soci")
    place.put("app", app("untagged"))
    before = snapshot(there)

    assert clean(*NOW, "--tags", "--untagged").stdout == "0 of 0 orphans removed\n"
    assert snapshot(there) == before


def test_a_refused_deletion_is_reported_and_its_parts_are_kept(clean, place, there):
    indexed(place, "1")
    delete(there, "1")
    before = snapshot(there)
    place.registry.fail(Answer(403), where=lambda seen: seen.method == "DELETE", times=1)

    result = clean(*NOW, "--tags", status=1)

    assert "stays: " in result.stderr
    assert [line.split()[-1] for line in result.stdout.splitlines()[1:6]] == ["refused"] + ["again"] * 4
    assert snapshot(there) == before
    assert clean(*NOW, "--tags").stdout.endswith("5 of 5 orphans removed\n")


def test_the_next_run_finds_the_rest_of_an_interrupted_one(clean, place, there):
    indexed(place, "1")
    delete(there, "1")
    wanted = ("--tags", "--untagged")
    numbers = iter(range(100))
    place.registry.fail(
        Answer(500), where=lambda seen: seen.method == "DELETE" and next(numbers) >= 1, times=None
    )
    clean(*NOW, *wanted, status=1)
    assert "1-soci" not in there.tags
    place.registry.heal()

    clean(*NOW, *wanted)

    assert types(there)[media_types.SOCI_INDEX_V2] == 0


@pytest.fixture
def search_then(place, there):
    """Search, call `meanwhile`, then remove the orphans that the search found."""

    def run(wanted: Wanted, meanwhile: Callable[[], object]) -> tuple[Orphans, CleanResult]:
        inventory = Inventory(connect(place.registry.host, is_ecr=True))
        orphans = find_orphans(inventory, "app", wanted)
        meanwhile()
        before = snapshot(there)
        result = remove_orphans(inventory, "app", orphans, wanted)
        assert (snapshot(there) == before) is not bool(result.removed)
        return orphans, result

    return run


def test_a_tag_is_kept_if_its_original_is_pushed_again_meanwhile(place, there, search_then):
    indexed(place, "1")
    delete(there, "1")

    orphans, result = search_then(Wanted(suffix="-soci"), lambda: place.put("app", both("1"), "1"))

    assert (len(orphans.found), len(result.revived), result.removed) == (5, 5, ())


def test_a_converted_image_is_kept_if_its_original_is_pushed_again_under_another_tag(
    place, there, search_then
):
    indexed(place, "1")
    delete(there, "1")

    orphans, result = search_then(Wanted(suffix="-soci"), lambda: place.put("app", both("1"), "stable"))

    assert (len(orphans.found), len(result.revived), result.removed) == (5, 5, ())


@pytest.mark.parametrize("is_tagged_before", [True, False], ids=["by-tag", "untagged"])
def test_a_converted_image_that_is_tagged_after_the_search_is_kept_whole(
    place, there, search_then, is_tagged_before
):
    indexed(place, "1")
    delete(there, "1")
    copy = there.tags["1-soci"]
    if not is_tagged_before:
        del there.tags["1-soci"]

    orphans, result = search_then(
        Wanted(suffix="-soci", untagged_converted=True), lambda: there.tags.update(release=copy)
    )

    assert (len(orphans.found), len(result.revived), result.removed) == (5, 5, ())
    assert there.tags["release"] == copy


def test_a_version_1_index_is_kept_if_its_image_is_pushed_again_after_the_search(place, there, search_then):
    indexed(place, "1", V1)
    delete(there, "1")

    orphans, result = search_then(Wanted(), lambda: place.put("app", both("1"), "1"))

    assert (len(orphans.found), len(result.revived), result.removed) == (2, 2, ())


def test_an_orphan_that_was_deleted_after_the_search_counts_as_removed(place, there, search_then):
    indexed(place, "1", V1)
    delete(there, "1")
    gone = next(one for one, manifest in there.manifests.items() if manifest.subject)

    orphans, result = search_then(Wanted(), lambda: there.manifests.pop(gone))

    assert (len(orphans.found), result.revived, len(result.removed)) == (2, (), 2)


def test_a_recheck_reads_no_document_again(place, there):
    indexed(place, "1")
    indexed(place, "2")
    delete(there, "1")
    inventory = Inventory(connect(place.registry.host, is_ecr=True))
    wanted = Wanted(suffix="-soci")
    orphans = find_orphans(inventory, "app", wanted)
    place.registry.forget_requests()

    remove_orphans(inventory, "app", orphans, wanted)

    gets = [seen.path for seen in place.registry.requests if seen.method == "GET" and "sha256:" in seen.path]
    assert sorted(path.rpartition("/")[2] for path in gets) == sorted(
        str(one.digest) for one in orphans.found
    )


def tell_kept(document: Any) -> dict[str, str]:
    return {one["tag"]: one["reason"] for one in document["repositories"][0]["kept"]}


def test_an_image_under_another_tag_or_untagged_keeps_its_converted_image(clean, place, there):
    indexed(place, "1.4")
    indexed(place, "1.5")
    there.tags["stable"] = there.tags.pop("1.4")
    del there.tags["1.5"]
    before = snapshot(there)

    document = clean(*NOW, "--tags", "--untagged", "--json").document

    assert document["repositories"][0]["found"] == []
    assert tell_kept(document) == {"1.4-soci": "image-is-there", "1.5-soci": "image-is-there"}
    assert snapshot(there) == before


def test_a_users_tag_on_a_converted_image_is_kept_while_the_original_is_there(clean, place, there):
    indexed(place, "1.4")
    there.tags["prod-soci"] = there.tags["1.4-soci"]
    before = snapshot(there)

    result = clean(*NOW, "--tags")

    assert result.stdout.splitlines() == [
        "app:prod-soci stays: its original image is still there, under another tag or untagged",
        "0 of 0 orphans removed",
    ]
    assert snapshot(there) == before


def test_several_tags_with_the_suffix_are_kept_since_a_user_may_have_set_them(clean, place, there):
    indexed(place, "1.4")
    there.tags["prod-soci"] = there.tags["1.4-soci"]
    delete(there, "1.4")
    before = snapshot(there)

    document = clean(*NOW, "--tags", "--json").document

    assert tell_kept(document) == {"1.4-soci": "several-tags", "prod-soci": "several-tags"}
    assert snapshot(there) == before


def test_a_registry_without_api_keeps_the_converted_image_of_an_image_under_another_tag(
    soci_index, place, there
):
    indexed(place, "1.4")
    there.tags["stable"] = there.tags.pop("1.4")
    before = snapshot(there)

    document = soci_index("clean", f"{place.registry.host}/app", *NOW, "--tags", "--json").document

    assert tell_kept(document) == {"1.4-soci": "image-is-there"}
    assert snapshot(there) == before


def test_without_push_times_tags_are_removed_only_with_age_zero(soci_index, place, there):
    indexed(place, "1")
    delete(there, "1")
    before = snapshot(there)
    asked = ("clean", f"{place.registry.host}/app", "--tags")

    for age in ((), ("--older-than", "3650d")):
        refused = soci_index(*asked, *age, status=2)
        assert "does not say when an image was pushed" in refused.stderr
        assert "--older-than 0min" in refused.stderr

    assert snapshot(there) == before
    assert soci_index(*asked, *NOW).stdout.endswith("1 of 1 orphan removed\n")


def test_content_of_unknown_age_counts_as_young(place, there):
    indexed(place, "1")
    delete(there, "1")
    wanted = Wanted(suffix="-soci", pushed_before=datetime.now(UTC))

    assert find_orphans(Inventory(connect(place.registry.host)), "app", wanted).found == ()


def test_an_archived_manifest_keeps_everything_that_it_may_list(clean, place, there, monkeypatch):
    indexed(place, "1")
    indexed(place, "2", V1)
    delete(there, "2")
    archived = there.tags.pop("1-soci")
    fetch_images = EcrApi.fetch_images

    def with_one_archived(api: EcrApi, *arguments: Any, **options: Any) -> Any:
        page = fetch_images(api, *arguments, **options)
        assert page is not None
        images = [replace(one, is_archived=str(one.digest) == archived) for one in page.images]
        return replace(page, images=tuple(images))

    monkeypatch.setattr(EcrApi, "fetch_images", with_one_archived)
    place.registry.fail(Answer(404), where=lambda seen: archived in seen.path, times=None)

    result = clean(*NOW, "--untagged", "--json")

    assert {one["kind"] for one in result.document["repositories"][0]["found"]} == {"v1-without-image"}
    assert result.document["repositories"][0]["unreadable"] == [archived]
    assert "1 manifest cannot be read (archived, broken)" in result.stderr


def test_in_a_registry_without_api_only_tags_are_removed(soci_index, place, there, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    indexed(place, "1")
    indexed(place, "2", V1)
    delete(there, "1")
    delete(there, "2")

    result = soci_index("clean", f"{place.registry.host}/app", *NOW, "--tags", "--json")

    assert [one["kind"] for one in result.document["repositories"][0]["found"]] == ["tag-without-original"]
    assert there.tags == {}
    assert result.stderr == ""


@pytest.mark.parametrize("age", ["", "1", "1w", "d", "-1d"])
def test_an_age_without_number_or_unit_is_a_usage_error(clean, age):
    assert "want a number and a unit" in clean("--older-than", age, status=2).stderr


def test_tags_are_refused_under_policies_without_suffix(clean, tmp_path):
    (tmp_path / "cdk.json").write_text(
        json.dumps({"context": {"settings": {"tagging": {"policy": "replace"}}}})
    )

    assert "converted images have no tag of their own" in clean("--tags", status=2).stderr


def test_the_table_shows_ages(clean, place, there):
    indexed(place, "1", V1)
    delete(there, "1")
    for one in list(there.manifests.values()):
        there.put_manifest(one.data, one.media_type, pushed_at=datetime.now(UTC).timestamp() - 3 * 86_400)

    assert clean("--dry-run").stdout.splitlines()[1].split()[4:6] == ["3", "d"]
