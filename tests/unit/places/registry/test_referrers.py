"""Lists of referrers under a fallback tag, where several write at the same time and registries keep what is listed."""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest

from local.registry import Answer, Behaviour, Registry, request_to
from soci.errors import InvalidResponse, RegistryError
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageManifest
from soci.oci.reference import RegistryRef
from soci.places.registry import referrers as module
from soci.places.registry.credentials import NoLogins
from soci.places.registry.referrers import fallback_tag, is_fallback_tag
from soci.places.registry.repository import RegistryRepository
from soci.places.registry.retry import Clock, RetryPolicy
from tests.builders import describe, image_of
from tests.raw_server import http, raw_server
from tests.registries import open_repository

IMAGE = image_of(b"layer")
ROOT = replace(IMAGE.root, platform=None)
KIND = media_types.SOCI_INDEX_V1
FASTER = 20
"""How much faster than usual the tests' writers look again: nothing between them takes as long as a network."""


def repository_at(host: str, clock: Clock | None = None) -> RegistryRepository:
    clock = clock or Clock(sleep=lambda _: None)
    return open_repository(
        RegistryRef(host=host, repository="app"), retries=RetryPolicy(clock=clock), logins=NoLogins()
    )


def referrer(name: str) -> tuple[Descriptor, bytes]:
    manifest = ImageManifest(
        artifact_type=KIND,
        config=describe(b"{}", media_types.OCI_EMPTY),
        layers=(),
        subject=ROOT,
        annotations={"name": name},
    ).encode()
    return describe(manifest, media_types.OCI_MANIFEST), manifest


@pytest.fixture
def registry():
    """One without the API, that keeps what any list refers to."""
    with Registry(Behaviour(referrers_api=False, rates={})) as registry:
        app = registry.repository("app")
        for digest, blob in IMAGE.blobs.items():
            if digest != IMAGE.root.digest:
                app.put_blob(blob)
        app.put_blob(b"{}")
        app.put_manifest(IMAGE.document, tag="1.0")
        yield registry


def push_some(host: str, names: list[str]) -> None:
    """Be one of several writers; run in a process of its own."""
    clock = Clock(sleep=lambda seconds: time.sleep(seconds / FASTER), random=random.random)
    repository = repository_at(host, clock)
    for name in names:
        repository.push_manifest(*referrer(name))


def names_at(host: str) -> list[str]:
    return sorted(
        entry.annotations["name"] for entry in repository_at(host).fetch_referrers(ROOT.digest, KIND)
    )


def test_four_processes_that_write_at_the_same_time_lose_none_of_their_entries(registry):
    shares = [[f"{writer}-{number}" for number in range(5)] for writer in range(4)]

    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        list(pool.map(push_some, [registry.host] * 4, shares))

    assert names_at(registry.host) == sorted(name for share in shares for name in share)


def test_threads_of_one_process_change_a_list_in_turn(registry):
    names = [str(number) for number in range(12)]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: repository_at(registry.host).push_manifest(*referrer(name)), names))

    puts = [
        seen for seen in registry.requests if seen.method == "PUT" and fallback_tag(ROOT.digest) in seen.path
    ]
    assert names_at(registry.host) == sorted(names)
    assert len(puts) == len(names), "nobody had to write twice"


def test_old_lists_are_deleted_and_an_empty_one_with_its_tag(registry):
    repository, app = repository_at(registry.host), registry.repository("app")
    pushed = [referrer(name) for name in "abc"]
    for descriptor, data in pushed:
        repository.push_manifest(descriptor, data)
    assert len(app.manifests) == 1 + len(pushed) + 1

    for descriptor, _ in pushed:
        assert repository.delete_manifest(descriptor.digest)

    assert set(app.manifests) == {str(ROOT.digest)}
    assert set(app.tags) == {"1.0"}


def test_a_registry_that_does_not_delete_keeps_manifest_and_list_as_they_were():
    with Registry(Behaviour(referrers_api=False, deletes=False, rates={})) as registry:
        app = registry.repository("app")
        app.put_blob(b"{}")
        repository = repository_at(registry.host)
        descriptor, data = referrer("a")
        repository.push_manifest(descriptor, data)
        before = dict(app.tags)

        for _ in range(2):
            with pytest.raises(RegistryError, match=r"status 405.*this registry does not delete"):
                repository_at(registry.host).delete_manifest(descriptor.digest)

        assert (app.tags, names_at(registry.host)) == (before, ["a"])


def test_a_manifest_that_the_registry_keeps_is_listed_again(registry):
    repository = repository_at(registry.host)
    descriptor, data = referrer("a")
    repository.push_manifest(descriptor, data)
    digest = str(descriptor.digest)
    registry.fail(Answer(403), where=request_to("DELETE", digest), times=None)

    with pytest.raises(RegistryError, match="a permission of its own"):
        repository.delete_manifest(descriptor.digest)

    assert names_at(registry.host) == ["a"]


def test_an_entry_of_a_missing_manifest_is_removed():
    with Registry(Behaviour(referrers_api=False, checks_references=False, rates={})) as registry:
        app = registry.repository("app")
        repository = repository_at(registry.host)
        descriptor, data = referrer("a")
        repository.push_manifest(descriptor, data)
        del app.manifests[str(descriptor.digest)]

        assert not repository_at(registry.host).delete_manifest(descriptor.digest, subject=ROOT.digest)

        assert names_at(registry.host) == []


def test_an_index_that_is_pushed_again_becomes_the_first(registry):
    repository = repository_at(registry.host)
    for name in "aba":
        repository.push_manifest(*referrer(name))

    found = repository.fetch_referrers(ROOT.digest, KIND)

    assert [entry.annotations["name"] for entry in found] == ["a", "b"]


def test_lists_of_referrers_are_no_entry_points(registry):
    repository = repository_at(registry.host)
    repository.push_manifest(*referrer("a"))

    [entry_point] = repository.fetch_entry_points()

    assert (entry_point.tag, entry_point.root, entry_point.data) == (
        "1.0",
        replace(ROOT, artifact_type=media_types.OCI_CONFIG),
        IMAGE.document,
    )
    assert is_fallback_tag(fallback_tag(ROOT.digest))
    assert not is_fallback_tag(f"{fallback_tag(ROOT.digest)}.sig")


@pytest.mark.parametrize(
    "further", [http(404), http(200, b"<html>", Content_Type="text/html")], ids=["404", "page"]
)
def test_a_list_that_breaks_off_after_a_page_is_an_error_and_not_another_list(further):
    page = json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": []}).encode()
    first = http(
        200,
        page,
        Link=f'</v2/app/referrers/{ROOT.digest}?n=2>; rel="next"',
        Content_Type=media_types.OCI_INDEX,
    )
    with (
        raw_server([first, further, http(404)]) as server,
        pytest.raises(InvalidResponse, match="expected a further page of referrers"),
    ):
        repository_at(server.url.removeprefix("http://")).fetch_referrers(ROOT.digest, KIND)


def test_too_many_referrers_are_refused(monkeypatch):
    page = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [],
            "annotations": {"x": "y" * 900},
        }
    ).encode()
    answers = [
        http(
            200,
            page,
            Link=f'</v2/app/referrers/{ROOT.digest}?n={number}>; rel="next"',
            **{"Content-Type": media_types.OCI_INDEX},
        )
        for number in range(5)
    ]
    monkeypatch.setattr(module, "REFERRERS_LIMIT_BYTES", 3 * len(page))

    with raw_server(*answers) as server, pytest.raises(InvalidResponse, match="bytes of referrers"):
        repository_at(server.url.removeprefix("http://")).fetch_referrers(ROOT.digest, KIND)
