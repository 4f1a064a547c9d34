"""The login exchange: from a challenge and a login to an Authorization header.

    401, Basic    the user and the password themselves, with every request
    401, Bearer   a token for a scope, from the token server of the challenge
                  login by password: GET realm?service&scope, with Basic
                  login by identity token: POST realm, grant_type=refresh_token
                  no login: GET realm?service&scope, enough to read public images

Distribution's token specification; a scope is `repository:NAME:ACTION[,ACTION]`. Nothing here opens a socket: the
caller passes a function that sends requests.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
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
from soci.places.registry.retry import TRANSIENT_STATUSES, parse_retry_after
from soci.places.registry.urls import is_loopback, is_private, origin, redacted

CLIENT_ID = "soci-index"
DEFAULT_TOKEN_SECONDS = 60
"""The lifetime of a token without expires_in (token specification)."""

TOKEN_LIMIT_BYTES = 1 << 20
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """The value of the header, and its lifetime."""

    header: str = field(repr=False)
    valid_seconds: float | None
    """None: valid until it is refused."""


def authorize(
    header: str,
    login: Login | None,
    scopes: Collection[str],
    registry_url: str,
    send: Callable[[Request], Response],
) -> Authorization | None:
    """Return the authorization for a challenge; None when it needs a login and there is none.

    `registry_url` sent the challenge. The secret goes there, or to the token server that the challenge names.

    Raises:
        InvalidResponse: the challenge or the response of the token server is malformed.
        Unauthorized: the token server refused, or the connection would not keep the secret.
        RegistryError: the token server failed.
    """
    challenges = parse_challenges(header)
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
            return _fetch_token(challenge, login, scopes, registry_url, send)
    if not any(challenge.scheme == "basic" for challenge in challenges):
        names = ", ".join(challenge.scheme for challenge in challenges) or "nothing"
        raise InvalidResponse(
            f"{redacted(registry_url)}: asks for {names[:100]}; supported are Basic and Bearer"
        )
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
        document = Fields(gojson.decode(response.body, where, limit_bytes=TOKEN_LIMIT_BYTES), where)
        token = document.string("token") or document.string("access_token")
        seconds = document.integer("expires_in") or DEFAULT_TOKEN_SECONDS
    except InvalidDocument:  # the response is secret: no part of it goes into the message
        raise InvalidResponse(f"{where}: the response is not a token") from None
    if not token or not token.isascii() or not token.isprintable():
        raise InvalidResponse(f"{where}: the response has no token")
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
    """Refuse a token server on this machine unless the registry is here too: it cannot belong to a remote one."""
    if is_loopback(origin(realm)[1]) and not is_loopback(origin(registry_url)[1]):
        raise Unauthorized(
            f"{redacted(registry_url)}: names {redacted(realm)} as its token server, which is on this machine;"
            " only a registry on this machine may do that"
        )


def _refusal(where: str, response: Response, login: Login | None) -> RegistryError:
    status, pause = response.status, parse_retry_after(response.headers.get("retry-after"))
    who = "without a login" if login is None else "with this login"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled(f"{where}: too many requests for tokens", status=status, retry_after_seconds=pause)
    if status in TRANSIENT_STATUSES:
        return RegistryUnavailable(
            f"{where}: no token, status {status}", status=status, retry_after_seconds=pause
        )
    return Unauthorized(f"{where}: no token {who}, status {status}", status=status)
