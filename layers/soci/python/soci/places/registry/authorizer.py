"""The authorizations of one registry, kept in memory by scope until they expire."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from soci.errors import Unauthorized
from soci.places.registry.authorization import Authorization, authorize
from soci.places.registry.credentials import LoginAdvisor, LoginSource
from soci.places.registry.http_messages import Request, Response
from soci.places.registry.retry import Clock
from soci.places.registry.urls import origin

_EARLY = 0.9
"""A token is renewed after this part of its life, because it must stay valid during a request."""


class Authorizer:
    """Keeps authorizations by scope. Shared by threads: when several are refused, one of them logs in."""

    def __init__(
        self, base_url: str, host: str, logins: LoginSource, send: Callable[[Request], Response], clock: Clock
    ) -> None:
        self._base_url = base_url
        self._origin = origin(base_url)
        self._host = host
        self._logins = logins
        self._send = send
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[frozenset[str], tuple[str, float]] = {}
        self._challenges: dict[frozenset[str], str] = {}
        self._has_login = False

    def is_own(self, url: str) -> bool:
        """Tell whether a URL is on the registry itself. Only the registry may see its authorization."""
        return origin(url) == self._origin

    def start(self, scopes: Collection[str]) -> LoginAttempt:
        """Start the login of one request, with the authorization in memory for these scopes if there is one.

        An expired authorization is renewed first. Raises as `log_in`.
        """
        return LoginAttempt(self, frozenset(scopes))

    def kept(self, scopes: frozenset[str]) -> str | None:
        """Return the header in memory that is still valid."""
        header, ends_at = self._kept.get(scopes, (None, 0.0))
        return header if self._clock.now() < ends_at else None

    def current(self, scopes: frozenset[str]) -> str | None:
        """Return the header for these scopes, renewed if it has expired; None when none was needed so far.

        Sending an expired header would waste the body of the request. Raises as `log_in`.
        """
        header = self.kept(scopes)
        challenge = self._challenges.get(scopes)
        if header is None and challenge is not None:
            return self.log_in(challenge, scopes, None, renew=False)
        return header

    def explain_refusal(self) -> str:
        """Return what may be wrong with the login, and what to do about it."""
        if self._has_login:
            return f"the login for {self._host} is wrong, has expired or does not allow this"
        advice = self._logins.advise(self._host) if isinstance(self._logins, LoginAdvisor) else ""
        return f"there is no login for {self._host}" + (f": {advice}" if advice else "")

    def log_in(
        self, challenge: str, scopes: frozenset[str], refused: str | None, *, renew: bool
    ) -> str | None:
        """Return a new header for a challenge; None when there is no login. Raises as `authorize` does."""
        with self._lock:
            kept = self.kept(scopes)
            if kept is not None and kept != refused:
                return kept
            self._kept.pop(scopes, None)
            login = self._logins.fetch_login(self._host, renew=renew)
            self._has_login = login is not None
            try:
                authorization = authorize(challenge, login, scopes, self._base_url, self._send)
            except Unauthorized as error:
                if error.status is None:  # the login was not sent
                    raise
                message = f"{error}; {self.explain_refusal()}"
                raise Unauthorized(message, status=error.status) from None
            if authorization is None:
                return None
            self._challenges[scopes] = challenge
            self._kept[scopes] = (authorization.header, self._end_of(authorization))
            return authorization.header

    def _end_of(self, authorization: Authorization) -> float:
        if authorization.valid_seconds is None:
            return float("inf")
        return self._clock.now() + authorization.valid_seconds * _EARLY


class LoginAttempt:
    """The login of one request: first the header in memory, then a new one, then one from a renewed login."""

    def __init__(self, authorizer: Authorizer, scopes: frozenset[str]) -> None:
        self._authorizer = authorizer
        self._scopes = scopes
        self.header = authorizer.current(scopes)
        self._tried_renewed = False

    def renew(self, refusal: Response) -> bool:
        """Log in after a refusal; False when that was tried before, or is not possible."""
        challenge = refusal.headers.get("www-authenticate")
        if challenge is None or self._tried_renewed:
            return False
        self._tried_renewed = self.header is not None
        header = self._authorizer.log_in(challenge, self._scopes, self.header, renew=self._tried_renewed)
        if header is None:
            return False
        self.header = header
        return True
