"""The login exchange: from a challenge and a login to the header Authorization.

    401, Basic    the user and the password themselves, with every request
    401, Bearer   a token for a scope, from the server that the challenge names
                  login by password: GET realm?service&scope, with Basic
                  login by identity token: POST realm, grant_type=refresh_token
                  no login: GET realm?service&scope, which is enough to read what is public

Distribution's token specification; what it calls `scope` is `repository:NAME:ACTION[,ACTION]`. Nothing here
opens a socket: whoever calls hands in a function that sends requests.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from soci.errors import (
    InvalidDocument,
    InvalidResponse,
    RegistryError,
    RegistryUnavailable,
    Throttled,
    Unauthorized,
)
from soci.oci import gojson
from soci.oci.fields import Fields
from soci.places.registry.challenge import Challenge, parse_challenges
from soci.places.registry.credentials import Login
from soci.places.registry.http_messages import Operation, Request, Response
from soci.places.registry.retry import TOO_MANY_REQUESTS, TRANSIENT_STATUSES, parse_retry_after
from soci.places.registry.urls import is_loopback, is_private, origin, redacted

CLIENT_ID = "soci-index"
DEFAULT_TOKEN_SECONDS = 60
"""How long a token holds whose server does not say (token specification)."""

TOKEN_LIMIT_BYTES = 1 << 20
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """The value of the header, and how long it is good for."""

    header: str = field(repr=False)
    valid_seconds: float | None
    """None: until it is refused."""


def authorize(
    header: str,
    login: Login | None,
    scopes: Collection[str],
    registry_url: str,
    send: Callable[[Request], Response],
) -> Authorization | None:
    """Answer a challenge; None when it can only be answered with a login, and there is none.

    `registry_url` is where the challenge came from: its secrets go there, or to the token server it names.

    Raises:
        InvalidResponse: the challenge or the token server's answer makes no sense.
        Unauthorized: the token server refused, or the secret would travel in the clear.
        RegistryError: the token server did not answer.
    """
    challenges = parse_challenges(header)
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
            return _fetch_token(challenge, login, scopes, registry_url, send)
    if not any(challenge.scheme == "basic" for challenge in challenges):
        names = ", ".join(challenge.scheme for challenge in challenges) or "nothing"
        raise InvalidResponse(f"{redacted(registry_url)}: asks for {names[:100]}, we know Basic and Bearer")
    if login is None or not login.username:
        return None
    _require_private(registry_url)
    return Authorization(header=_basic(login), valid_seconds=login.valid_seconds)


def _fetch_token(
    challenge: Challenge,
    login: Login | None,
    scopes: Collection[str],
    registry_url: str,
    send: Callable[[Request], Response],
) -> Authorization:
    realm = challenge.parameters["realm"]
    _require_reach(realm, registry_url)
    if login is not None:
        _require_private(registry_url)
        _require_private(realm)
    wanted = sorted({*scopes, *challenge.parameters.get("scope", "").split()})
    fields = [("service", challenge.parameters.get("service", "")), *(("scope", scope) for scope in wanted)]
    response = send(_token_request(realm, login, [(name, value) for name, value in fields if value]))
    where = redacted(realm)
    if response.status != _OK:
        raise _refusal(where, response, login)
    try:
        answer = Fields(gojson.decode(response.body, where, limit_bytes=TOKEN_LIMIT_BYTES), where)
        token = answer.string("token") or answer.string("access_token")
        seconds = answer.integer("expires_in") or DEFAULT_TOKEN_SECONDS
    except InvalidDocument:  # the answer holds a secret and stays out of the message
        raise InvalidResponse(f"{where}: the answer is no token") from None
    if not token or not token.isascii() or not token.isprintable():
        raise InvalidResponse(f"{where}: the answer has no token")
    return Authorization(header=f"Bearer {token}", valid_seconds=max(seconds, DEFAULT_TOKEN_SECONDS))


def _token_request(realm: str, login: Login | None, fields: Sequence[tuple[str, str]]) -> Request:
    if login is not None and login.identity_token:
        form = [*fields, ("client_id", CLIENT_ID), ("grant_type", "refresh_token")]
        # One scope field with all scopes: OAuth2 separates them by a space.
        scopes = " ".join(value for name, value in form if name == "scope")
        merged = [(name, value) for name, value in form if name != "scope"]
        body = urlencode([*merged, ("scope", scopes), ("refresh_token", login.identity_token)])
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Request(
            method="POST", url=realm, operation=Operation.LOGIN, headers=headers, body=body.encode()
        )
    url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(fields)}"
    headers = {} if login is None else {"Authorization": _basic(login)}
    return Request(method="GET", url=url, operation=Operation.LOGIN, headers=headers)


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()


def _require_private(url: str) -> None:
    if not is_private(url):
        raise Unauthorized(f"{redacted(url)}: a login is not sent over plain HTTP")


def _require_reach(realm: str, registry_url: str) -> None:
    """Refuse a token server on this machine that a registry elsewhere names: what listens here is not its own."""
    if is_loopback(origin(realm)[1]) and not is_loopback(origin(registry_url)[1]):
        raise Unauthorized(
            f"{redacted(registry_url)}: names {redacted(realm)} as its token server on this machine,"
            " which only one on this machine may"
        )


def _refusal(where: str, response: Response, login: Login | None) -> RegistryError:
    status, pause = response.status, parse_retry_after(response.headers.get("retry-after"))
    who = "without a login" if login is None else "with the login there is"
    if status == TOO_MANY_REQUESTS:
        return Throttled(f"{where}: too many requests for tokens", status=status, retry_after_seconds=pause)
    if status in TRANSIENT_STATUSES:
        return RegistryUnavailable(
            f"{where}: no token, status {status}", status=status, retry_after_seconds=pause
        )
    return Unauthorized(f"{where}: no token {who}, status {status}", status=status)
