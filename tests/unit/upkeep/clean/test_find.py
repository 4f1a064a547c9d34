"""The search for orphans over a repository of a few documents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from soci.oci import media_types
from soci.oci.digest import Digest, digest_of
from soci.upkeep.clean import KeptReason, OrphanKind, Orphans, Wanted, find_orphans
from tests.unit.upkeep.clean.repository import NOW, Repository


@pytest.fixture
def repository() -> Repository:
    return Repository()


def kinds(orphans: Orphans) -> dict[Digest, OrphanKind]:
    return {one.digest: one.kind for one in orphans.found}


def test_an_archived_soci_index_is_no_orphan(repository):
    archived = repository.put_soci_index("archived", is_archived=True)
    active = repository.put_soci_index("active")

    found = kinds(repository.find())

    assert archived not in found
    assert found == {active: OrphanKind.INDEX_WITHOUT_IMAGE}


def test_an_archived_version_1_index_is_no_orphan(repository):
    gone = digest_of(b"gone")
    repository.put_soci_index("archived", media_types.SOCI_INDEX_V1, subject=gone, is_archived=True)
    active = repository.put_soci_index("active", media_types.SOCI_INDEX_V1, subject=gone)

    assert kinds(repository.find()) == {active: OrphanKind.V1_WITHOUT_IMAGE}


def test_a_tagged_version_1_index_is_no_orphan(repository):
    data = {"config": {"mediaType": media_types.SOCI_INDEX_V1, "digest": str(digest_of(b"{}")), "size": 2}}
    repository.put(data, "kept", artifact_type=media_types.SOCI_INDEX_V1, subject=digest_of(b"gone"))

    assert repository.find().found == ()


def put_profile(repository: Repository, seed: str, *tags: str, **facts: Any) -> Digest:
    config = {"mediaType": media_types.OCI_EMPTY, "digest": str(digest_of(b"{}")), "size": 2}
    document = {"artifactType": media_types.START_PROFILE, "config": config, "layers": [], "seed": seed}
    return repository.put(document, *tags, artifact_type=media_types.START_PROFILE, **facts)


def test_a_start_profile_is_an_orphan_when_nobody_finds_it_any_more(repository):
    image = repository.put_image("app", "1.4")
    converted, manifest, _ = repository.put_converted("app", "1.4-soci")
    put_profile(repository, "of an image", subject=image)
    put_profile(repository, "of a manifest of a converted image", subject=manifest)
    put_profile(repository, "of a converted image", subject=converted)
    put_profile(repository, "of a line", "soci-profile-linux-amd64")
    put_profile(repository, "archived", subject=digest_of(b"gone"), is_archived=True)
    former = put_profile(repository, "of a line, before the tag moved")
    left = put_profile(repository, "of an image that is gone", subject=digest_of(b"gone"))

    assert kinds(repository.find()) == dict.fromkeys((former, left), OrphanKind.PROFILE_WITHOUT_IMAGE)


def test_a_start_profile_goes_with_a_converted_image_that_goes(repository):
    converted, manifest, soci_index = repository.put_converted("app")
    profile = put_profile(repository, "its own", subject=manifest)

    found = kinds(repository.find(untagged_converted=True))

    assert found.keys() == {converted, manifest, soci_index, profile}
    assert list(found)[-1] == profile


def test_a_profile_that_was_just_pushed_stays(repository):
    put_profile(repository, "young", pushed_at=NOW)

    assert repository.find(pushed_before=NOW).found == ()


def test_a_tag_that_consists_of_the_suffix_has_no_original_to_lose(repository):
    repository.put_converted("app", "_soci")

    assert repository.find("_soci").found == ()


def test_a_second_tag_with_the_suffix_keeps_both_even_if_its_name_is_in_use(repository):
    repository.put_converted("app", "1.4-soci", "prod-soci")
    repository.put_image("another", "prod")

    orphans = repository.find("-soci")

    assert orphans.found == ()
    assert [(one.tag, one.reason) for one in orphans.kept] == [("1.4-soci", KeptReason.SEVERAL_TAGS)]


def test_a_version_1_index_of_an_orphan_is_an_orphan(repository):
    root, manifest, soci_index = repository.put_converted("app", "1.4-soci")
    index_v1 = repository.put_soci_index("of the manifest", media_types.SOCI_INDEX_V1, subject=manifest)

    assert kinds(repository.find("-soci")) == {
        root: OrphanKind.TAG_WITHOUT_ORIGINAL,
        manifest: OrphanKind.PART_OF_CONVERTED,
        soci_index: OrphanKind.INDEX_WITHOUT_IMAGE,
        index_v1: OrphanKind.V1_WITHOUT_IMAGE,
    }


def test_a_tag_keeps_parts_of_an_orphan(repository):
    root, manifest, soci_index = repository.put_converted("app", "1.4-soci")
    for digest in (manifest, soci_index):
        document = json.loads(repository.documents[digest])
        del document["schemaVersion"]
        facts = {"artifact_type": repository.listed[digest].artifact_type}
        assert repository.put(document, f"tag-{digest.hex[:8]}", **facts) == digest

    assert set(kinds(repository.find("-soci"))) == {root}


def test_an_untagged_converted_image_is_an_orphan_only_on_request(repository):
    root, manifest, soci_index = repository.put_converted("app")

    assert repository.find().found == ()
    assert set(kinds(repository.find(untagged_converted=True))) == {root, manifest, soci_index}


def test_an_untagged_index_whose_manifests_name_no_soci_index_may_be_of_any_image(repository):
    soci_index = repository.put_soci_index("app")
    entry = {"mediaType": media_types.OCI_MANIFEST, "digest": str(soci_index), "size": 2}
    repository.put({"manifests": [{**entry, "artifactType": media_types.SOCI_INDEX_V2}]})

    assert repository.find(untagged_converted=True).found == ()


@pytest.mark.parametrize("tags", [("release",), ("release", "stable")])
def test_a_tagged_converted_image_is_no_untagged_one(repository, tags):
    repository.put_converted("app", *tags)

    assert repository.find(untagged_converted=True).found == ()


def test_a_manifest_that_names_an_index_and_that_no_orphan_lists_may_be_in_use(repository):
    soci_index = repository.put_soci_index("app")
    repository.put_image("app", soci_index=soci_index)
    repository.put_image("app", "1.4")  # the original: the manifest above is not the rest of a deletion

    assert repository.find(untagged_converted=True).found == ()


def test_what_was_pushed_at_the_limit_is_not_older_than_it(repository):
    repository.put_soci_index("app")

    assert repository.find(pushed_before=NOW).found == ()


def test_an_archived_image_is_not_read_and_keeps_what_it_may_list(repository):
    archived = repository.put_image("archived", "1.4", is_archived=True)
    repository.put_soci_index("perhaps of it")

    orphans = repository.find()

    assert (orphans.found, orphans.unreadable, repository.reads) == ((), (archived,), [])


def test_known_documents_are_not_read_again(repository):
    repository.put_converted("app", "1.4-soci")
    first = repository.find("-soci")
    repository.reads.clear()
    new = repository.put_image("new", "2.0")
    inventory: Any = repository

    second = find_orphans(inventory, "app", Wanted(suffix="-soci"), known=first.facts)

    assert repository.reads == [new]
    assert second.found == first.found
