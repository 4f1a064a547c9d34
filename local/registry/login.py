"""The three kinds of login of registries.

Basic (RFC 7617); ECR's variant with passwords that expire; and Bearer tokens from a token server (distribution
specification "Token Authentication", RFC 6750), here a path of the registry itself.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

from local.registry.messages import Refused, Request, Response, json_response

TOKEN_PATH = "/token"  # noqa: S105 - a path, no password
SERVICE = "registry.local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The access a request needs: an action (pull, push or delete) on a repository; empty means any valid login."""

    repository: str = ""
    action: str = ""

    @property
    def scope(self) -> str:
        """The scope for the challenge."""
        if not self.repository:
            return ""
        actions = "pull,push" if self.action == "push" else self.action
        return f"repository:{self.repository}:{actions}"


class Login(Protocol):
    """A kind of login."""

    def challenge(self, request: Request, access: Access) -> str:
        """Return the WWW-Authenticate header of a 401."""

    def check(self, request: Request, needed: list[Access], now: float) -> None:
        """Check the login of a request. Raises `Refused`."""

    def answer_token(self, request: Request, now: float) -> Response | None:
        """Answer a request to the token path; None if there is no token server."""


@dataclass(frozen=True, slots=True)
class BasicLogin:
    """A user and password in each request."""

    user: str
    password: str = field(repr=False)

    def challenge(self, request: Request, access: Access) -> str:  # noqa: ARG002 - one realm for all
        """Name the registry as the realm."""
        return f'Basic realm="{request.base_url}/",service="{SERVICE}"'

    def check(self, request: Request, needed: list[Access], now: float) -> None:  # noqa: ARG002 - never expires
        """Compare user and password."""
        if _basic_pair(request) != (self.user, self.password):
            raise _unauthorized(self.challenge(request, needed[0]))

    def answer_token(self, request: Request, now: float) -> Response | None:  # noqa: ARG002
        """Return None: there is no token server."""
        return None


@dataclass(frozen=True, slots=True)
class EcrLogin:
    """ECR's login: user AWS, passwords from `issue`; an expired password gives 403 instead of 401."""

    lifetime_seconds: float = 12 * 3600
    _valid_until: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def issue(self, now: float) -> str:
        """Create a password, as GetAuthorizationToken does."""
        password = secrets.token_urlsafe(96)
        self._valid_until[password] = now + self.lifetime_seconds
        return password

    def challenge(self, request: Request, access: Access) -> str:  # noqa: ARG002 - one realm for all
        """Name the registry as the realm."""
        return f'Basic realm="{request.base_url}/",service="ecr.amazonaws.com"'

    def check(self, request: Request, needed: list[Access], now: float) -> None:
        """Check the password."""
        user, password = _basic_pair(request) or ("", "")
        valid_until = self._valid_until.get(password)
        if user != "AWS" or valid_until is None:
            raise _unauthorized(self.challenge(request, needed[0]))
        if now >= valid_until:
            message = "Your authorization token has expired. Reauthenticate and try again."
            raise Refused(403, "DENIED", message)

    def answer_token(self, request: Request, now: float) -> Response | None:  # noqa: ARG002
        """Return None: there is no token server."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    scopes: frozenset[tuple[str, str]]
    valid_until: float


@dataclass(frozen=True, slots=True)
class BearerLogin:
    """Expiring tokens for scopes, from the path /token (GET with Basic, or POST as OAuth 2)."""

    user: str
    password: str = field(repr=False)
    lifetime_seconds: float = 300
    anonymous_pull: bool = False
    _grants: dict[str, _Grant] = field(default_factory=dict, init=False, repr=False)

    def tokens(self) -> list[str]:
        """Return all issued tokens, so that tests can search for leaks."""
        return list(self._grants)

    def challenge(self, request: Request, access: Access) -> str:
        """Name the token path and the required scope."""
        scope = f',scope="{access.scope}"' if access.scope else ""
        return f'Bearer realm="{request.base_url}{TOKEN_PATH}",service="{SERVICE}"{scope}'

    def check(self, request: Request, needed: list[Access], now: float) -> None:
        """Check the token and its scopes."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        grant = self._grants.get(token) if kind.lower() == "bearer" else None
        challenge = self.challenge(request, needed[0])
        if grant is None:
            raise _unauthorized(challenge)
        if now >= grant.valid_until:
            raise _unauthorized(f'{challenge},error="invalid_token"')
        for access in needed:
            if access.repository and (access.repository, access.action) not in grant.scopes:
                raise _unauthorized(f'{challenge},error="insufficient_scope"')

    def answer_token(self, request: Request, now: float) -> Response | None:
        """Issue a token for the requested scopes. Anonymous clients can get only pull."""
        fields = parse_qsl(request.body.decode("utf-8", "replace")) if request.method == "POST" else []
        form = dict(fields)
        pair = _basic_pair(request)
        if form.get("grant_type") == "password":
            pair = (form.get("username", ""), form.get("password", ""))
        is_known = pair == (self.user, self.password)
        if not is_known and (pair is not None or not self.anonymous_pull):
            raise _unauthorized(f'Basic realm="{request.base_url}{TOKEN_PATH}"')
        asked = form.get("scope", request.query.get("scope", ""))
        scopes = {scope for scope in _parse_scopes(asked) if is_known or scope[1] == "pull"}
        token = secrets.token_urlsafe(48)
        self._grants[token] = _Grant(scopes=frozenset(scopes), valid_until=now + self.lifetime_seconds)
        both = {"token": token, "access_token": token, "expires_in": self.lifetime_seconds}
        return json_response({key: both[key] for key in both if request.method == "GET" or key != "token"})


def _parse_scopes(text: str) -> list[tuple[str, str]]:
    """Parse `repository:NAME:ACTION,ACTION ...` to pairs of name and action."""
    scopes = (scope.split(":") for scope in text.split())
    return [
        (":".join(names), action)
        for kind, *names, actions in scopes
        if kind == "repository"
        for action in actions.split(",")
    ]


def _basic_pair(request: Request) -> tuple[str, str] | None:
    kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password


def _unauthorized(challenge: str) -> Refused:
    return Refused(401, "UNAUTHORIZED", "authentication required", headers={"WWW-Authenticate": challenge})
