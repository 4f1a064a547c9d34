"""ECR's own API by boto3, against the in-memory registry."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from local.registry import Answer, Behaviour, Registry, action
from local.registry.store import OCI_INDEX, OCI_MANIFEST, digest_of
from soci.errors import InvalidResponse, RegistryUnavailable, Throttled, Unauthorized
from soci.oci.digest import Digest
from soci.places.registry.ecr_api import MAX_PER_PAGE, EcrApi, EcrImage, EcrRepository, ImagePage
from tests.aws_environment import as_aws

CONFIG = "application/vnd.oci.image.config.v1+json"


@pytest.fixture
def registry():
    with Registry() as running, as_aws(running):
        yield running


def manifest(number: int) -> bytes:
    config = {"mediaType": CONFIG, "digest": digest_of(b"%d" % number), "size": 1}
    return json.dumps({"schemaVersion": 2, "config": config, "layers": []}).encode()


def test_all_repositories_are_listed_with_the_fewest_calls(registry):
    for number in range(1_001):
        registry.repository(f"app-{number:04}")

    names = [one.name for one in EcrApi(registry.host).fetch_repositories()]

    assert (len(names), names[0], names[-1]) == (1_001, "app-0000", "app-1000")
    assert len(registry.requests) == 2


@pytest.mark.parametrize(
    ("behaviour", "movable"),
    [
        (Behaviour(), ["1", "1-soci"]),
        (Behaviour(immutable_tags=True), []),
        (Behaviour(immutable_tags=True, mutable_tag_patterns=("*-soci", "dev*")), ["1-soci"]),
    ],
    ids=["mutable", "immutable", "immutable but for some"],
)
def test_a_repository_knows_which_tags_may_move(behaviour, movable):
    with Registry(behaviour) as registry, as_aws(registry):
        registry.repository("app")
        [app] = EcrApi(registry.host).fetch_repositories()

    assert [tag for tag in ("1", "1-soci") if app.may_move(tag)] == movable


@pytest.mark.parametrize(("tag", "may_move"), [("prod-1", False), ("dev", True)])
def test_tags_may_move_but_for_some(tag, may_move):
    app = EcrRepository(name="app", excepted_tags=("prod-*",))

    assert app.may_move(tag) is may_move


def test_images_have_the_facts_of_the_api(registry):
    app = registry.repository("app")
    digest = app.put_manifest(manifest(1), tag="2", pushed_at=1_700_000_000)
    app.tags["1"] = digest
    index = app.put_manifest(b'{"schemaVersion": 2, "manifests": []}', OCI_INDEX, pushed_at=1_700_000_000)

    page = EcrApi(registry.host).fetch_images("app", only_tagged=False, page_token=None)

    assert page is not None
    assert {image.digest: image for image in page.images} == {
        Digest.parse(digest): EcrImage(
            digest=Digest.parse(digest),
            tags=("1", "2"),
            pushed_at=datetime.fromtimestamp(1_700_000_000, UTC),
            media_type=OCI_MANIFEST,
            artifact_type=CONFIG,
        ),
        Digest.parse(index): EcrImage(
            digest=Digest.parse(index),
            tags=(),
            pushed_at=datetime.fromtimestamp(1_700_000_000, UTC),
            media_type=OCI_INDEX,
            artifact_type="",
        ),
    }


def test_images_come_in_pages_linked_by_tokens(registry):
    app = registry.repository("app")
    for number in range(MAX_PER_PAGE + 1):
        app.put_manifest(manifest(number), tag=f"t{number}")
    app.put_manifest(manifest(-1))
    api = EcrApi(registry.host)

    first = api.fetch_images("app", only_tagged=True, page_token=None)
    assert first is not None
    second = api.fetch_images("app", only_tagged=True, page_token=first.next_token)
    assert second is not None

    assert (len(first.images), len(second.images), second.next_token) == (MAX_PER_PAGE, 1, None)


def test_a_missing_repository_has_no_images(registry):
    page = EcrApi(registry.host).fetch_images("none", only_tagged=True, page_token=None)

    assert page == ImagePage(images=(), next_token=None)


def test_an_expired_token_gives_no_page(registry):
    registry.repository("app")

    assert EcrApi(registry.host).fetch_images("app", only_tagged=True, page_token="of yesterday") is None


class Archived:
    """A client whose answer holds one image of each status."""

    def describe_images(self, **_):
        common = {"imagePushedAt": datetime.now(UTC)}
        statuses = ["ACTIVE", "ARCHIVED", "ACTIVATING"]
        return {
            "imageDetails": [
                {"imageDigest": digest_of(status.encode()), "imageStatus": status, **common}
                for status in statuses
            ]
        }


def test_archived_images_are_left_out():
    page = EcrApi("registry", lambda _: Archived()).fetch_images("app", only_tagged=True, page_token=None)

    assert page is not None
    assert [str(image.digest) for image in page.images] == [digest_of(b"ACTIVE")]


def test_archived_images_are_listed_if_asked_for():
    asked = []

    def describe_images(**arguments):
        asked.append(arguments)
        return Archived().describe_images()

    client = SimpleNamespace(describe_images=describe_images)
    page = EcrApi("registry", lambda _: client).fetch_images(
        "app", only_tagged=True, page_token=None, with_archived=True
    )

    assert page is not None
    assert [one.is_archived for one in page.images] == [False, True, True]
    assert asked[0]["filter"] == {"tagStatus": "TAGGED", "imageStatus": "ANY"}


def test_a_referrer_names_its_subject(registry):
    app = registry.repository("app")
    subject = app.put_manifest(manifest(1))
    described = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
    app.put_manifest(json.dumps(json.loads(manifest(2)) | {"subject": described}).encode())

    page = EcrApi(registry.host).fetch_images("app", only_tagged=False, page_token=None)

    assert page is not None
    assert {one.subject for one in page.images} == {None, Digest.parse(subject)}


@pytest.mark.parametrize(
    ("fault", "error"),
    [(429, Throttled), (503, RegistryUnavailable), (403, Unauthorized)],
)
def test_an_error_of_the_api_names_the_call(registry, monkeypatch, fault, error):
    monkeypatch.setattr("soci.places.registry.ecr.ATTEMPTS", 1)
    registry.fail(Answer(fault), where=action("DescribeImages"), times=None)

    with pytest.raises(error, match="DescribeImages of app: "):
        EcrApi(registry.host).fetch_images("app", only_tagged=True, page_token=None)


def test_a_response_without_a_digest_is_refused():
    odd = SimpleNamespace(describe_images=lambda **_: {"imageDetails": [{}]})

    with pytest.raises(InvalidResponse, match="imageDigest"):
        EcrApi("registry", lambda _: odd).fetch_images("app", only_tagged=True, page_token=None)
