from __future__ import annotations

import base64
import json
from urllib.parse import parse_qsl, urlsplit

import pytest

from soci.errors import InvalidResponse, RegistryError, RegistryUnavailable, Throttled, Unauthorized
from soci.places.registry.authorization import Authorization, authorize
from soci.places.registry.credentials import Login
from soci.places.registry.http_messages import Request, Response

REGISTRY = "https://registry.example"
REALM = "https://auth.example/token"
BEARER = f'Bearer realm="{REALM}",service="registry.example",scope="repository:app:pull"'
LOGIN = Login(username="me", password="secret")
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()
PULL = ("repository:app:pull",)


class TokenServer:
    """Answers with a token and keeps the requests."""

    def __init__(self, answer: object = None, status: int = 200) -> None:
        self.requests: list[Request] = []
        self._body = json.dumps({"token": "t"} if answer is None else answer).encode()
        self._status = status

    def send(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(status=self._status, url=request.url, body=self._body)


def asked(
    header: str, login: Login | None, server: TokenServer, *, url: str = REGISTRY
) -> Authorization | None:
    return authorize(header, login, PULL, url, server.send)


def test_basic_needs_user_and_password_only():
    server = TokenServer()

    assert asked('Basic realm="r"', LOGIN, server) == Authorization(header=BASIC, valid_seconds=None)
    assert server.requests == []


@pytest.mark.parametrize(
    "login", [None, Login(identity_token="secret")], ids=["none", "a token that is no password"]
)
def test_basic_without_a_password_cannot_be_answered(login):
    assert asked("Basic", login, TokenServer()) is None


def test_an_authorization_expires_with_its_login():
    login = Login(username="me", password="secret", valid_seconds=42)

    assert asked("Basic", login, TokenServer()) == Authorization(header=BASIC, valid_seconds=42)


def test_a_token_is_requested_for_service_and_scopes_with_the_password():
    server = TokenServer({"token": "t", "expires_in": 300})

    authorization = authorize(BEARER, LOGIN, (*PULL, "repository:other:pull"), REGISTRY, server.send)

    assert authorization == Authorization(header="Bearer t", valid_seconds=300)
    [request] = server.requests
    assert request.method == "GET"
    assert request.url.startswith(f"{REALM}?")
    assert parse_qsl(urlsplit(request.url).query) == [
        ("service", "registry.example"),
        ("scope", "repository:app:pull"),
        ("scope", "repository:other:pull"),
    ]
    assert request.headers == {"Authorization": BASIC}


def test_a_token_for_a_public_image_needs_no_login():
    server = TokenServer()

    assert asked(BEARER, None, server) == Authorization(header="Bearer t", valid_seconds=60)
    assert server.requests[0].headers == {}


def test_an_identity_token_is_exchanged_in_a_form():
    server = TokenServer({"access_token": "t"})

    authorization = asked(BEARER, Login(identity_token="secret"), server)

    assert authorization == Authorization(header="Bearer t", valid_seconds=60)
    [request] = server.requests
    assert (request.method, request.url) == ("POST", REALM)
    assert request.headers == {"Content-Type": "application/x-www-form-urlencoded"}
    assert dict(parse_qsl((request.body or b"").decode())) == {
        "service": "registry.example",
        "scope": "repository:app:pull",
        "client_id": "soci-index",
        "grant_type": "refresh_token",
        "refresh_token": "secret",
    }


def test_bearer_is_preferred_and_a_realm_may_have_a_query():
    server = TokenServer()

    asked(f'Basic realm="x", Bearer realm="{REALM}?a=b"', LOGIN, server)

    assert server.requests[0].url == f"{REALM}?a=b&scope=repository%3Aapp%3Apull"


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ("Basic", "http://registry.example"),
        ('Bearer realm="http://auth.example/token"', REGISTRY),
        (BEARER, "http://registry.example"),
    ],
    ids=["basic", "token server", "registry that names one"],
)
def test_a_login_is_not_sent_over_plain_http(header, url):
    server = TokenServer()

    with pytest.raises(Unauthorized, match="a login is not sent over plain HTTP"):
        asked(header, LOGIN, server, url=url)

    assert server.requests == []


def test_plain_http_is_allowed_on_this_machine():
    header = 'Bearer realm="http://127.0.0.1:5001/token"'

    assert asked(header, LOGIN, TokenServer(), url="http://localhost:5000") is not None


@pytest.mark.parametrize(
    "login", [LOGIN, Login(identity_token="secret"), None], ids=["user", "token", "none"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1:5001", "localhost", "[::1]"])
def test_a_remote_registry_may_not_name_a_token_server_on_this_machine(host, scheme, login):
    server = TokenServer()

    with pytest.raises(
        Unauthorized,
        match="its token server, which is on this machine; only a registry on this machine may do that",
    ):
        asked(f'Bearer realm="{scheme}://{host}/token"', login, server)

    assert server.requests == []


@pytest.mark.parametrize(
    ("status", "error", "problem"),
    [
        (401, Unauthorized, "no token with this login, status 401"),
        (404, Unauthorized, "status 404"),
        (429, Throttled, "too many requests for tokens"),
        (503, RegistryUnavailable, "no token, status 503"),
    ],
)
def test_a_token_server_that_refuses_is_named(status, error, problem):
    with pytest.raises(error, match=f"{REALM}.*{problem}") as caught:
        asked(BEARER, LOGIN, TokenServer(status=status))

    assert isinstance(caught.value, RegistryError)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "answer",
    [["secret"], {}, {"token": "sec\r\nret"}, {"token": ["secret"]}, {"token": "", "access_token": ""}],
)
def test_a_response_without_a_token_is_refused_and_not_quoted(answer):
    with pytest.raises(InvalidResponse, match=REALM) as caught:
        asked(BEARER, LOGIN, TokenServer(answer))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("Negotiate", "asks for negotiate; supported are Basic and Bearer"),
        ('Bearer service="s"', "asks for bearer"),
        ("", "asks for nothing"),
        ('Bearer realm="/token"', "expected an absolute"),
    ],
)
def test_a_challenge_that_cannot_be_met_is_refused(header, problem):
    with pytest.raises(InvalidResponse, match=problem):
        asked(header, LOGIN, TokenServer())


def test_an_authorization_does_not_show_its_header():
    assert "secret" not in repr(Authorization(header="Bearer secret", valid_seconds=1))
