from __future__ import annotations

from dataclasses import replace
from time import time as wall_clock

import pytest

from local.registry import Answer, Behaviour, EcrLogin, Registry, action
from soci.errors import InvalidReference, NotInImage, RegistryUnavailable, Throttled, Unauthorized
from soci.places.registry.credentials import NoLogins
from soci.places.registry.ecr import EcrLogins
from soci.places.registry.retry import RetryPolicy
from soci.service.registry import SHORT, RegistryPlace
from tests.aws_environment import as_aws
from tests.fake_time import FakeTime

OPEN = Behaviour(checks_references=False, rates={})
MANIFEST = (
    b'{"schemaVersion": 2, "config": {"mediaType": "c", "digest": "sha256:%s", "size": 1}, "layers": []}'
)


def manifest(number: int) -> bytes:
    return MANIFEST % (b"%064x" % number)


@pytest.fixture
def registry():
    with Registry(OPEN, login=EcrLogin()) as running, as_aws(running):
        for name in ("app", "team/base"):
            running.repository(name).put_manifest(manifest(1), tag="1")
        yield running


def test_one_login_by_the_api_opens_every_repository_of_the_account(registry):
    place = RegistryPlace(registry.host)

    roots = [place.open_image(name, "1").fetch_root() for name in ("app", "team/base", "app")]

    assert len({root.digest for root in roots}) == 1
    assert [seen.aws_action for seen in registry.requests if seen.aws_action] == ["GetAuthorizationToken"]


def test_an_image_is_opened_by_tag_or_digest_and_a_tag_is_read_anew_each_time(registry):
    place = RegistryPlace(registry.host)
    old = place.open_image("app", "1").fetch_root()
    registry.repository("app").put_manifest(manifest(2), tag="1")

    new = place.open_image("app", "1").fetch_root()

    assert new.digest != old.digest
    assert place.open_image("app", str(old.digest)).fetch_root() == old
    with pytest.raises(NotInImage, match="app: no image 2"):
        place.open_image("app", "2").fetch_root()


def test_a_login_that_has_expired_is_had_again():
    with Registry(login=EcrLogin(lifetime_seconds=3600)) as registry, as_aws(registry):
        registry.repository("app").put_manifest(manifest(1), tag="1")
        time = FakeTime()
        began = wall_clock()
        logins = EcrLogins(now=lambda: began + time.seconds, any_host=True)
        place = RegistryPlace(registry.host, logins=logins, retries=RetryPolicy(clock=time.clock()))
        place.open_image("app", "1").fetch_root()

        time.seconds += 3600
        registry.let_time_pass(3600)
        place.open_image("app", "1").fetch_root()

    asked = [seen for seen in registry.requests if seen.aws_action == "GetAuthorizationToken"]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("repository", "reference"), [("App", "1"), ("app", "a b"), ("app", "sha256:1"), ("", "1"), ("app", "")]
)
def test_names_that_no_registry_takes_are_refused_before_anything_is_asked(registry, repository, reference):
    with pytest.raises(InvalidReference):
        RegistryPlace(registry.host).open_image(repository, reference)

    assert not registry.requests


def test_a_login_that_is_throttled_for_long_may_succeed_later(registry, monkeypatch):
    monkeypatch.setattr("soci.places.registry.ecr.ATTEMPTS", 1)
    registry.fail(Answer(429), where=action("GetAuthorizationToken"), times=None)
    place = RegistryPlace(registry.host, retries=RetryPolicy(attempts=1))

    with pytest.raises(Throttled, match="GetAuthorizationToken"):
        place.open_image("app", "1").fetch_root()


def test_without_credentials_of_aws_the_registry_stays_closed(registry, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(Unauthorized):
        RegistryPlace(registry.host).open_image("app", "1").fetch_root()


def test_functions_of_two_minutes_wait_for_one_at_most(registry):
    time = FakeTime()
    registry.fail(Answer(503, retry_after_seconds=61), times=None)
    place = RegistryPlace(registry.host, logins=NoLogins(), retries=replace(SHORT, clock=time.clock()))

    with pytest.raises(RegistryUnavailable, match="asks for a pause of 61 s"):
        place.open_image("app", "1").fetch_root()

    assert time.slept == []


def test_manifests_are_put_no_faster_than_ecr_takes_them(registry):
    time = FakeTime()
    place = RegistryPlace(registry.host, retries=RetryPolicy(clock=time.clock()))
    image = place.open_image("app", "1")
    root = image.fetch_root()

    for number in range(30):
        image.push_root(root, f"copy-{number}")

    assert 2 <= time.seconds <= 5
