from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.registry import (
    OBJECTS,
    Answer,
    BasicLogin,
    BearerLogin,
    Behaviour,
    Delay,
    EcrLogin,
    Harm,
    Registry,
    request_to,
)
from soci.errors import InvalidResponse, RegistryError, RegistryUnavailable, Throttled, Unauthorized
from soci.places.registry.client import MAX_REDIRECTS, RegistryClient
from soci.places.registry.connect import FirstLogin
from soci.places.registry.credentials import DockerConfig, Login, NoLogins
from soci.places.registry.ecr import EcrLogins
from soci.places.registry.http_messages import Operation, Request
from soci.places.registry.responses import ERROR_LIMIT_BYTES
from soci.places.registry.retry import RetryPolicy
from soci.places.registry.transport import Timeouts, Transport
from tests.fake_time import FakeTime
from tests.raw_server import Drip, http, raw_server

SECRET = "not-to-be-seen"
PULL = ("repository:app:pull",)
PUSH = ("repository:app:pull,push",)


class Logins:
    """A source of logins that notes what it is asked."""

    def __init__(self, *logins: Login | None) -> None:
        self._logins = list(logins)
        self.asked: list[bool] = []

    def fetch_login(self, _host, *, renew):
        self.asked.append(renew)
        return self._logins[0] if len(self._logins) == 1 else self._logins.pop(0)


def client_of(url: str, logins=None, time: FakeTime | None = None, **policy) -> RegistryClient:
    return RegistryClient(
        url,
        "registry.example",
        transport=Transport(Timeouts(connect_seconds=2, read_seconds=0.3)),
        logins=logins or NoLogins(),
        retries=RetryPolicy(clock=(time or FakeTime()).clock(), **policy),
    )


def get(url: str, path: str = "/v2/app/tags/list", operation: Operation = Operation.LIST) -> Request:
    return Request(method="GET", url=url + path, operation=operation)


def stocked(login=None, behaviour: Behaviour | None = None) -> Registry:
    registry = Registry(behaviour or Behaviour(), login=login)
    registry.repository("app").put_blob(b"content")
    return registry


BLOB_PATH = "/v2/app/blobs/sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"


def url_of(registry: Registry) -> str:
    return f"http://{registry.host}"


LOGIN = Login(username="me", password=SECRET)


@pytest.mark.parametrize(
    "login", [BasicLogin("me", SECRET), BearerLogin("me", SECRET)], ids=["basic", "bearer"]
)
def test_one_login_serves_all_requests_of_a_scope(login):
    with stocked(login) as registry:
        logins = Logins(LOGIN)
        client = client_of(url_of(registry), logins)
        for _ in range(3):
            client.send(get(url_of(registry)), PULL, expect=[200])
        statuses = [seen.status for seen in registry.requests if seen.path != "/token"]

    assert statuses == [401, 200, 200, 200]
    assert logins.asked == [False]


def test_each_scope_has_its_own_token():
    with stocked(BearerLogin("me", SECRET)) as registry:
        client = client_of(url_of(registry), Logins(LOGIN))
        for scopes in (PULL, PUSH, PULL, PUSH):
            client.send(get(url_of(registry)), scopes, expect=[200])

        assert [seen.path for seen in registry.requests].count("/token") == 2


def test_a_public_image_is_read_without_a_login():
    with stocked(BearerLogin("me", SECRET, anonymous_pull=True)) as registry:
        assert client_of(url_of(registry)).send(get(url_of(registry)), PULL, expect=[200]).status == 200


def test_an_expired_token_is_renewed_before_it_is_refused():
    time = FakeTime()
    with stocked(BearerLogin("me", SECRET, lifetime_seconds=300)) as registry:
        client = client_of(url_of(registry), Logins(LOGIN), time)
        client.send(get(url_of(registry)), PULL, expect=[200])
        registry.forget_requests()
        time.seconds += 280
        client.send(get(url_of(registry)), PULL, expect=[200])

        assert [(seen.path, seen.status) for seen in registry.requests] == [
            ("/token", 200),
            ("/v2/app/tags/list", 200),
        ]


def test_a_refused_token_is_renewed_once():
    with stocked(BearerLogin("me", SECRET)) as registry:
        client = client_of(url_of(registry), Logins(LOGIN))
        client.send(get(url_of(registry)), PULL, expect=[200])
        registry.let_time_pass(1000)
        client.send(get(url_of(registry)), PULL, expect=[200])

        assert [seen.status for seen in registry.requests if seen.path != "/token"] == [401, 200, 401, 200]


def test_an_expired_password_is_fetched_again():
    with stocked(BasicLogin("me", SECRET)) as registry:
        logins = Logins(Login(username="me", password="old"), LOGIN)
        client_of(url_of(registry), logins).send(get(url_of(registry)), PULL, expect=[200])

    assert logins.asked == [False, True]


def test_a_login_of_ecr_is_renewed_when_it_expires():
    time = FakeTime()
    with stocked(EcrLogin()) as registry:
        valid = Login(username="AWS", password=registry.issue_password(), valid_seconds=100)
        logins = Logins(valid)
        client = client_of(url_of(registry), logins, time)
        client.send(get(url_of(registry)), PULL, expect=[200])
        time.seconds += 101
        client.send(get(url_of(registry)), PULL, expect=[200])

    assert logins.asked == [False, False]


@pytest.mark.parametrize(
    ("login", "logins", "problem"),
    [
        (
            BasicLogin("me", SECRET),
            Logins(None),
            "status 401, UNAUTHORIZED: authentication required; there is no login for registry.example$",
        ),
        (
            BasicLogin("me", SECRET),
            Logins(Login(username="me", password=f"{SECRET}x")),
            "status 401, UNAUTHORIZED.*; the login for registry.example is wrong, has expired or does not allow",
        ),
        (
            BearerLogin("me", SECRET),
            Logins(None),
            "no token without a login, status 401; there is no login for registry.example",
        ),
        (
            BearerLogin("me", SECRET),
            Logins(Login(username="x", password=SECRET)),
            "no token with this login, status 401; the login for registry.example is wrong",
        ),
        (BearerLogin("me", SECRET, anonymous_pull=True), Logins(None), "status 401, UNAUTHORIZED"),
    ],
    ids=["basic, none", "basic, wrong", "bearer, none", "bearer, wrong", "bearer, not enough"],
)
def test_a_refused_login_is_an_error_that_does_not_show_it(caplog, login, logins, problem):
    caplog.set_level(logging.DEBUG)
    with stocked(login) as registry:
        url = f"{url_of(registry)}/v2/app/blobs/uploads/"
        upload = Request(method="POST", url=url, operation=Operation.START_UPLOAD)
        with pytest.raises(Unauthorized, match=problem) as caught:
            client_of(url_of(registry), logins).send(upload, PUSH, expect=[202])

    assert SECRET not in f"{caught.value}{caplog.text}"


def test_a_missing_login_is_an_error_with_advice(tmp_path):
    logins = FirstLogin([EcrLogins(), DockerConfig(tmp_path)])
    with (
        stocked(BasicLogin("me", SECRET)) as registry,
        pytest.raises(Unauthorized, match=r"no login for registry.example: `docker login registry.example`"),
    ):
        client_of(url_of(registry), logins).send(get(url_of(registry)), PULL, expect=[200])


def test_a_redirect_is_followed_without_the_login(caplog):
    caplog.set_level(logging.DEBUG)
    with stocked(BasicLogin("me", SECRET)) as registry:
        request = get(url_of(registry), BLOB_PATH, Operation.GET_BLOB)
        answer = client_of(url_of(registry), Logins(LOGIN)).send(request, PULL, expect=[200])
        seen = [exchange.has_authorization for exchange in registry.requests if exchange.origin == OBJECTS]

    assert answer.body == b"content"
    assert answer.url.startswith(f"http://{registry.objects_host}/")
    assert seen == [False]
    assert "X-Amz-Signature" not in caplog.text


def test_a_redirect_within_the_registry_keeps_the_login():
    answers = [
        http(401, WWW_Authenticate="Basic"),
        http(307, Location="/elsewhere"),
        http(200, b"content"),
    ]
    with raw_server(answers) as server:
        body = client_of(server.url, Logins(LOGIN)).send(get(server.url), PULL, expect=[200]).body

    assert body == b"content"
    assert b"GET /elsewhere" in server.requests[2]
    assert b"Authorization: Basic" in server.requests[2]


def test_another_port_of_the_same_machine_gets_no_login():
    with raw_server(http(401, WWW_Authenticate="Basic")) as other:
        first = [http(401, WWW_Authenticate="Basic"), http(307, Location=f"{other.url}/x")]
        with raw_server(first) as server, pytest.raises(Unauthorized):
            client_of(server.url, Logins(LOGIN)).send(get(server.url), PULL, expect=[200])

    assert len(other.requests) == 1
    assert b"authorization" not in other.requests[0].lower()


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "HEAD"])
def test_only_a_get_is_redirected(method):
    with raw_server(http(307, Location="http://127.0.0.1:1/")) as server:
        request = Request(method=method, url=f"{server.url}/v2/", operation=Operation.LIST, body=b"")
        answer = client_of(server.url).send(request, PULL, expect=[307])

    assert answer.url == f"{server.url}/v2/"


def test_the_number_of_redirects_is_limited():
    with (
        raw_server([http(302, Location="/again")] * (MAX_REDIRECTS + 1)) as server,
        pytest.raises(InvalidResponse, match="more than 5 redirects"),
    ):
        client_of(server.url).send(get(server.url), PULL, expect=[200])


@pytest.mark.parametrize(
    "fault",
    [
        Harm.RESET_BEFORE,
        Harm.RESET_AFTER,
        Harm.RESET_IN_BODY,
        Harm.CUT_BODY,
        Harm.HANG,
        Answer(503),
        Answer(429),
    ],
    ids=str,
)
def test_a_transient_failure_is_retried(fault):
    time = FakeTime()
    with stocked() as registry:
        registry.fail(fault, times=2)
        client_of(url_of(registry), time=time).send(get(url_of(registry)), PULL, expect=[200])

        assert len(registry.requests) == 3
    assert time.slept == [0.5, 1.0]


def test_a_lasting_failure_is_an_error_after_all_attempts():
    with stocked() as registry:
        registry.fail(Answer(503), times=None)
        with pytest.raises(RegistryUnavailable, match=r"status 503.*, after 3 attempts") as caught:
            client_of(url_of(registry), attempts=3).send(get(url_of(registry)), PULL, expect=[200])

        assert len(registry.requests) == 3
    assert (caught.value.status, caught.value.retryable) == (503, True)


def test_retry_after_is_obeyed():
    time = FakeTime()
    with stocked() as registry:
        registry.fail(Answer(429, retry_after_seconds=9))
        client_of(url_of(registry), time=time).send(get(url_of(registry)), PULL, expect=[200])

    assert time.slept == [9]


def test_a_retry_after_past_the_deadline_is_an_error():
    with stocked() as registry:
        registry.fail(Answer(429, retry_after_seconds=3600))
        with pytest.raises(Throttled, match=r"status 429.*asks for a pause of 3600 s") as caught:
            client_of(url_of(registry)).send(get(url_of(registry)), PULL, expect=[200])

    assert caught.value.retryable


def test_a_request_that_may_not_be_repeated_is_retried_only_if_throttled():
    with stocked() as registry:
        request = Request(
            method="POST",
            url=f"{url_of(registry)}/v2/app/blobs/uploads/",
            operation=Operation.START_UPLOAD,
            repeatable=False,
        )
        registry.fail(Answer(429))
        assert client_of(url_of(registry)).send(request, PUSH, expect=[202]).status == 202
        registry.forget_requests()
        registry.fail(Harm.RESET_AFTER)
        with pytest.raises(RegistryUnavailable):
            client_of(url_of(registry)).send(request, PUSH, expect=[202])

        assert len(registry.requests) == 1


def test_an_unexpected_status_is_an_error_at_once():
    with stocked() as registry, pytest.raises(RegistryError, match="status 404, NAME_UNKNOWN") as caught:
        client_of(url_of(registry)).send(get(url_of(registry), "/v2/other/tags/list"), PULL, expect=[200])

    assert caught.value.status == 404
    assert not caught.value.retryable


def test_an_endless_response_is_cut_off():
    with (
        raw_server(http(200, b"x" * 2000)) as server,
        pytest.raises(InvalidResponse, match="more than 1000 bytes"),
    ):
        client_of(server.url).send(get(server.url), PULL, expect=[200], limit_bytes=1000)


def test_all_attempts_for_a_document_end_at_the_deadline():
    started = time.monotonic()
    drip = Drip(beginning=http(200, Content_Length="999"), every_seconds=0.02)
    policy = RetryPolicy(deadline_seconds=1)

    with raw_server(*[drip] * 5) as server, pytest.raises(RegistryUnavailable, match="comes too slowly"):
        RegistryClient(server.url, "registry.example", retries=policy).send(
            get(server.url), PULL, expect=[200]
        )

    assert time.monotonic() - started < 4


def test_an_error_with_a_long_body_is_known_by_its_status():
    time = FakeTime()
    with raw_server(http(503, b"x" * (2 * ERROR_LIMIT_BYTES)), http(200)) as server:
        client_of(server.url, time=time).send(get(server.url), PULL, expect=[200])

    assert time.slept == [0.5]


def test_a_token_server_may_ask_for_a_pause():
    time = FakeTime()
    with raw_server(http(503, Retry_After="7"), http(200, b'{"token": "t"}')) as tokens:
        challenge = http(401, WWW_Authenticate=f'Bearer realm="{tokens.url}/token"')
        with raw_server([challenge, challenge, http(200)]) as server:
            client_of(server.url, time=time).send(get(server.url), PULL, expect=[200])

    assert time.slept == [7]


def test_one_of_several_refused_threads_logs_in():
    with stocked(BearerLogin("me", SECRET)) as registry:
        client = client_of(url_of(registry), Logins(LOGIN))
        registry.fail(Delay(0.2), where=request_to("GET", "/v2/"), times=4)
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(client.send, get(url_of(registry)), PULL, expect=[200]) for _ in range(4)]
            assert {answer.result().status for answer in answers} == {200}

        assert [seen.path for seen in registry.requests].count("/token") == 1
