from __future__ import annotations

from dataclasses import replace
from time import time as wall_clock

import pytest

from local.registry import Answer, Behaviour, EcrLogin, Registry, action
from soci.errors import (
    InvalidOption,
    InvalidReference,
    NotInImage,
    RegistryUnavailable,
    Throttled,
    Unauthorized,
)
from soci.oci.reference import RegistryRef, parse_reference
from soci.places.registry.blob_reader import StreamSettings
from soci.places.registry.connect import FirstLogin, connect, rate_limiter_of, stream_settings
from soci.places.registry.credentials import Login, NoLogins
from soci.places.registry.ecr import EcrLogins
from soci.places.registry.retry import SHORT_RETRIES, RetryPolicy
from tests.aws_environment import as_aws
from tests.fake_time import FakeTime
from tests.registries import open_repository

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
    opened = connect(registry.host, is_ecr=True)

    roots = [opened.open_image(name, "1").fetch_root() for name in ("app", "team/base", "app")]

    assert len({root.digest for root in roots}) == 1
    assert [seen.aws_action for seen in registry.requests if seen.aws_action] == ["GetAuthorizationToken"]


def test_an_image_is_opened_by_tag_or_digest_and_a_tag_is_read_anew_each_time(registry):
    opened = connect(registry.host, is_ecr=True)
    old = opened.open_image("app", "1").fetch_root()
    registry.repository("app").put_manifest(manifest(2), tag="1")

    new = opened.open_image("app", "1").fetch_root()

    assert new.digest != old.digest
    assert opened.open_image("app", str(old.digest)).fetch_root() == old
    with pytest.raises(NotInImage, match="app: no image 2"):
        opened.open_image("app", "2").fetch_root()


def test_an_expired_login_is_fetched_again():
    with Registry(login=EcrLogin(lifetime_seconds=3600)) as registry, as_aws(registry):
        registry.repository("app").put_manifest(manifest(1), tag="1")
        time = FakeTime()
        began = wall_clock()
        logins = EcrLogins(now=lambda: began + time.seconds, any_host=True)
        opened = connect(registry.host, is_ecr=True, logins=logins, retries=RetryPolicy(clock=time.clock()))
        opened.open_image("app", "1").fetch_root()

        time.seconds += 3600
        registry.let_time_pass(3600)
        opened.open_image("app", "1").fetch_root()

    asked = [seen for seen in registry.requests if seen.aws_action == "GetAuthorizationToken"]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("repository", "reference"), [("App", "1"), ("app", "a b"), ("app", "sha256:1"), ("", "1"), ("app", "")]
)
def test_invalid_names_are_refused_before_any_request(registry, repository, reference):
    with pytest.raises(InvalidReference):
        connect(registry.host, is_ecr=True).open_image(repository, reference)

    assert not registry.requests


def test_a_login_that_is_throttled_for_long_may_succeed_later(registry, monkeypatch):
    monkeypatch.setattr("soci.places.registry.ecr.ATTEMPTS", 1)
    registry.fail(Answer(429), where=action("GetAuthorizationToken"), times=None)
    opened = connect(registry.host, is_ecr=True, retries=RetryPolicy(attempts=1))

    with pytest.raises(Throttled, match="GetAuthorizationToken"):
        opened.open_image("app", "1").fetch_root()


def test_without_aws_credentials_the_registry_stays_closed(registry, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(Unauthorized):
        connect(registry.host, is_ecr=True).open_image("app", "1").fetch_root()


def test_short_retries_wait_for_a_minute_at_most(registry):
    time = FakeTime()
    registry.fail(Answer(503, retry_after_seconds=61), times=None)
    opened = connect(
        registry.host, is_ecr=True, logins=NoLogins(), retries=replace(SHORT_RETRIES, clock=time.clock())
    )

    with pytest.raises(RegistryUnavailable, match="asks for a pause of 61 s"):
        opened.open_image("app", "1").fetch_root()

    assert time.slept == []


def test_manifests_are_put_no_faster_than_ecr_allows(registry):
    time = FakeTime()
    opened = connect(registry.host, is_ecr=True, retries=RetryPolicy(clock=time.clock()))
    image = opened.open_image("app", "1")
    root = image.fetch_root()

    for number in range(30):
        image.push_root(root, f"copy-{number}")

    assert 2 <= time.seconds <= 5


@pytest.mark.parametrize(
    ("host", "shares"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", True),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", True),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com", False),
        ("registry.example", False),
    ],
)
def test_registries_of_one_account_and_region_share_the_quotas_of_ecr(host, shares):
    clock = FakeTime().clock()
    ours = rate_limiter_of("123456789012.dkr.ecr.eu-west-1.amazonaws.com", clock)

    assert (rate_limiter_of(host, clock) is ours) is shares


def test_a_custom_domain_of_ecr_has_limits_of_its_own_and_clients_share_them():
    clock = FakeTime().clock()
    ours = rate_limiter_of("images.example", clock, is_ecr=True)

    assert rate_limiter_of("images.example", clock, is_ecr=True) is ours
    assert rate_limiter_of("images.example", clock) is not ours


@pytest.mark.parametrize(
    ("host", "said", "is_ecr"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", False, True),
        ("images.example", True, True),
        ("images.example", False, False),
    ],
)
def test_a_registry_is_one_of_ecr_by_its_name_or_because_the_caller_says_so(host, said, is_ecr):
    assert connect(host, is_ecr=said).is_ecr is is_ecr


def test_dockers_logins_are_not_used_if_the_caller_says_ecr(registry, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    (tmp_path / "config.json").write_text("no JSON")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    with pytest.raises(Unauthorized, match="no AWS credentials"):
        connect(registry.host, is_ecr=True).open_image("app", "1").fetch_root()
    with pytest.raises(Unauthorized, match="not valid JSON"):
        connect(registry.host).open_image("app", "1").fetch_root()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("app", "https://registry-1.docker.io/v2/library/app"),
        ("ghcr.io/a/b:1", "https://ghcr.io/v2/a/b"),
        ("localhost:5000/app", "http://localhost:5000/v2/app"),
        ("[::1]:5000/app", "http://[::1]:5000/v2/app"),
        ("10.0.0.1:5000/app", "https://10.0.0.1:5000/v2/app"),
    ],
)
def test_a_registry_gets_https_except_on_this_machine(text, url):
    reference = parse_reference(text)
    assert isinstance(reference, RegistryRef)

    assert open_repository(reference).url == url


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ({}, StreamSettings()),
        ({"SOCI_PARALLEL_RANGES": "2"}, StreamSettings(parallel_ranges=2)),
        ({"SOCI_RANGE_SIZE_MIB": "16"}, StreamSettings(range_size_bytes=16 << 20)),
    ],
    ids=str,
)
def test_the_environment_sets_how_layers_are_read(environment, settings):
    assert stream_settings(environment) == settings


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("SOCI_PARALLEL_RANGES", "0", "parallel ranges: expected 1 to 64, got 0"),
        ("SOCI_PARALLEL_RANGES", "65", "expected 1 to 64, got 65"),
        ("SOCI_PARALLEL_RANGES", "four", "SOCI_PARALLEL_RANGES: expected a number, got 'four'"),
        ("SOCI_RANGE_SIZE_MIB", "0", "expected 1 byte or more"),
        ("SOCI_RANGE_SIZE_MIB", "-8", "SOCI_RANGE_SIZE_MIB: expected a number"),
    ],
)
def test_a_wrong_environment_variable_is_named(name, text, problem):
    with pytest.raises(InvalidOption, match=problem):
        stream_settings({name: text})


def test_the_first_login_counts():
    me = Login(username="me", password="secret")

    assert FirstLogin([NoLogins(), OneLogin(me), NoLogins()]).fetch_login("h", renew=True) == me
    assert FirstLogin([NoLogins()]).fetch_login("h", renew=False) is None


class OneLogin:
    """A source with one login."""

    def __init__(self, login: Login) -> None:
        self._login = login

    def fetch_login(self, _host, *, renew):
        assert renew
        return self._login
