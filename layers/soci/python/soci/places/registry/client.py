"""The HTTP client of one registry: login, redirects, retries and rate limits.

Where the Authorization header goes:
    - to the registry's own origin (scheme, host, port) only. An upload or a blob on another host gets no header;
    - never along with a redirect. No redirect leads from HTTPS to plain HTTP;
    - over plain HTTP to this machine only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import TypeVar

from soci.errors import InvalidResponse, RegistryError, RegistryUnavailable, Throttled
from soci.oci.manifest import MANIFEST_LIMIT_BYTES
from soci.places.registry.authorization import TOKEN_LIMIT_BYTES
from soci.places.registry.authorizer import Authorizer
from soci.places.registry.credentials import LoginSource, NoLogins
from soci.places.registry.http_messages import (
    DOCUMENT_SECONDS,
    BodyStream,
    Request,
    Response,
    read_body,
    read_start,
)
from soci.places.registry.rate_limit import RateLimiter
from soci.places.registry.responses import ERROR_LIMIT_BYTES, UNAUTHORIZED, error_from, read_error
from soci.places.registry.retry import Attempts, RetryPolicy
from soci.places.registry.transport import Transport
from soci.places.registry.urls import redirected

ANSWER_LIMIT_BYTES = MANIFEST_LIMIT_BYTES
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})

_T = TypeVar("_T")


class RegistryClient:
    """Sends requests to one registry. Shared by threads.

    `base_url` is its origin, `host` the name that its login has.
    """

    def __init__(
        self,
        base_url: str,
        host: str,
        *,
        transport: Transport | None = None,
        logins: LoginSource | None = None,
        retries: RetryPolicy | None = None,
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        self.base_url = base_url
        self.host = host
        self.retries = retries or RetryPolicy()
        self._transport = transport or Transport()
        self._rate_limiter = rate_limiter or RateLimiter({}, self.retries.clock)
        self._authorizer = Authorizer(
            base_url, host, logins or NoLogins(), self._send_login, self.retries.clock
        )

    def send(
        self,
        request: Request,
        scopes: Collection[str],
        *,
        expect: Collection[int],
        limit_bytes: int = ANSWER_LIMIT_BYTES,
        attempts: Attempts | None = None,
    ) -> Response:
        """Send a request, with retries, and return the response. Its status is one of `expect`.

        `attempts` are those of a larger operation: failures here count there.

        Raises:
            Unauthorized, Throttled, RegistryUnavailable: the request failed, and so did its retries.
            RegistryError: the response has another status.
            InvalidResponse: the response breaks the protocol, or is larger than the limit.
        """
        with ExitStack() as stack:
            attempts = attempts or self.retries.start()
            return self._attempt(
                stack,
                request,
                scopes,
                expect=expect,
                attempts=attempts,
                read=lambda stream: read_body(
                    stream, limit_bytes, within_seconds=min(DOCUMENT_SECONDS, attempts.seconds_left())
                ),
            )

    @contextmanager
    def open(
        self, request: Request, scopes: Collection[str], *, expect: Collection[int], attempts: Attempts
    ) -> Iterator[BodyStream]:
        """Send a request, with retries until a response begins. The block reads its body.

        `attempts` are those of a larger operation: failures here count there.

        Raises as `send` does. Reading raises `RegistryUnavailable` when the body breaks off.
        """
        with ExitStack() as stack:
            yield self._attempt(
                stack, request, scopes, expect=expect, attempts=attempts, read=lambda stream: stream
            )

    def _attempt(
        self,
        stack: ExitStack,
        request: Request,
        scopes: Collection[str],
        *,
        expect: Collection[int],
        attempts: Attempts,
        read: Callable[[BodyStream], _T],
    ) -> _T:
        while True:
            try:
                stream = stack.enter_context(self._logged_in(request, scopes))
                if stream.status in expect:
                    return read(stream)
                error = read_error(request, stream)
            except (RegistryUnavailable, Throttled) as failure:
                error = failure
            stack.close()
            _wait(attempts, request, error)

    @contextmanager
    def _logged_in(self, request: Request, scopes: Collection[str]) -> Iterator[BodyStream]:
        """Send a request with the authorization in memory; if it is refused, again with a new one."""
        attempt = self._authorizer.start(scopes)
        while True:
            with self._followed(request, attempt.header) as stream:
                refused = stream.status == UNAUTHORIZED and self._authorizer.is_own(stream.url)
                if not refused:
                    yield stream
                    return
                response = read_start(stream, ERROR_LIMIT_BYTES)
            if not attempt.renew(response):
                error = error_from(request, response)
                raise type(error)(f"{error}; {self._authorizer.explain_refusal()}", status=error.status)

    @contextmanager
    def _followed(self, request: Request, authorization: str | None) -> Iterator[BodyStream]:
        """Send a request and follow the redirects of a GET. Other methods are not redirected."""
        for _ in range(MAX_REDIRECTS + 1):
            is_own = self._authorizer.is_own(request.url)
            sent = request
            if authorization is not None and is_own:
                sent = replace(request, headers={**request.headers, "Authorization": authorization})
            with ExitStack() as stack:
                with self._rate_limiter.slot(request.operation) if is_own else nullcontext():
                    stream = stack.enter_context(self._transport.open(sent))
                if request.method != "GET" or stream.status not in REDIRECTS:
                    yield stream
                    return
                read_start(stream, ERROR_LIMIT_BYTES)
                target = stream.headers.get("location", "")
            request = replace(request, url=redirected(request.url, target))
        raise InvalidResponse(f"{request}: more than {MAX_REDIRECTS} redirects")

    def _send_login(self, request: Request) -> Response:
        return self._transport.send(request, limit_bytes=TOKEN_LIMIT_BYTES)


def _wait(attempts: Attempts, request: Request, error: RegistryError) -> None:
    # A throttled request had no effect, so any request may be sent again.
    may_repeat = isinstance(error, Throttled) or (
        request.repeatable and isinstance(error, RegistryUnavailable)
    )
    if not may_repeat:
        raise error
    attempts.wait(error)
