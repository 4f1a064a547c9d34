"""The deletion of orphans: a document that is kept keeps its parts."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from soci.oci import media_types
from soci.upkeep.clean import CleanResult, Wanted, apply, remove_orphans
from tests.unit.upkeep.clean.repository import Repository


@pytest.fixture
def repository() -> Repository:
    return Repository()


def clean(repository: Repository) -> CleanResult:
    inventory: Any = repository
    return remove_orphans(inventory, "app", repository.find("-soci"), Wanted(suffix="-soci"))


def test_an_index_keeps_the_version_1_indexes_of_its_manifests_if_it_is_refused(repository):
    root, manifest, _ = repository.put_converted("app", "1.4-soci")
    repository.put_soci_index("of the manifest", media_types.SOCI_INDEX_V1, subject=manifest)
    repository.refuses.add(root)
    before = set(repository.listed)

    result = clean(repository)

    assert [one.digest for one in result.refused] == [root]
    assert (len(result.revived), result.removed) == (3, ())
    assert set(repository.listed) == before


def test_an_index_in_use_again_keeps_its_parts_though_the_last_search_still_finds_them(repository):
    repository.put_converted("app", "1.4-soci")
    orphans = repository.find("-soci")
    repository.after_listing = lambda: repository.put_image("app", "1.4")
    inventory: Any = repository

    result = remove_orphans(inventory, "app", orphans, Wanted(suffix="-soci"))

    assert (len(result.revived), result.removed) == (3, ())


def test_parts_of_a_deleted_index_are_still_orphans_in_the_next_search(repository, monkeypatch):
    repository.put_converted("app", "1.4-soci")
    ticks = count(step=60)
    monkeypatch.setattr(apply, "time", SimpleNamespace(monotonic=lambda: next(ticks)))

    result = clean(repository)

    assert (len(result.removed), result.revived, repository.listed) == (3, (), {})


def test_a_refused_deletion_does_not_end_the_others(repository):
    refused, deleted = (repository.put_soci_index(seed) for seed in ("refused", "deleted"))
    repository.refuses.add(refused)

    result = clean(repository)

    assert [one.digest for one in result.refused] == [refused]
    assert [one.digest for one in result.removed] == [deleted]
