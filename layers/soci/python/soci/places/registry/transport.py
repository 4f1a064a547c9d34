"""Sending requests: the only module with sockets. Connections stay open per host; urllib3's errors become ours.

One call sends one request. It follows no redirect, retries nothing and adds no login: all of that is up to
`soci.places.registry.client`.
"""

from __future__ import annotations

import io
import logging
import ssl
import urllib.request
import weakref
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    ProxyError,
    ProxySchemeUnsupported,
    ReadTimeoutError,
)

from soci import __version__
from soci.errors import InvalidOption, InvalidResponse, RegistryError, RegistryUnavailable
from soci.places.cancellation import current_cancellation
from soci.places.registry.connections import POOLS, Exchange, TooSlow
from soci.places.registry.http_messages import BodyStream, Request, Response, read_body
from soci.places.registry.urls import is_loopback, redacted, redacted_or_nothing, split_url

CHUNK_BYTES = 256 << 10
"""The size of one read. A broken connection loses the bytes of the current read."""

SENT_AT_A_TIME_BYTES = 64 << 10

# A compressed transfer would not have the bytes of the digest.
_OWN_HEADERS = {"User-Agent": f"soci-index/{__version__}", "Accept-Encoding": "identity"}

MAX_IDLE_CONNECTIONS = 64
"""Per host: enough for 16 layers with four ranges each."""

_TIMEOUTS: Mapping[type[BaseException], str] = {
    ConnectTimeoutError: "no connection within the timeout",
    ReadTimeoutError: "no answer within the timeout",
}

_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)
"""OpenSSL's reasons for an answer without TLS. They depend on its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a request may make no progress, and how slow it may be."""

    connect_seconds: float = 10.0
    """For a connection, and for each `SENT_AT_A_TIME_BYTES` of a request body."""
    read_seconds: float = 30.0
    """Between two bytes of the response."""
    piece_seconds: float = 60.0
    """For the head of a response, and for each `CHUNK_BYTES` of its body: 4 KiB/s is too slow to go on."""


class Transport:
    """Sends requests. Shared by threads. Connections close with `close`, or with the object."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        timeouts = timeouts or Timeouts()
        self._timeouts = timeouts
        self._timeout = urllib3.Timeout(connect=timeouts.connect_seconds, read=timeouts.read_seconds)
        self._pools: dict[str | None, urllib3.PoolManager] = {None: self._make_pools(urllib3.PoolManager)}
        weakref.finalize(self, _close, self._pools)

    def close(self) -> None:
        """Close all idle connections."""
        _close(self._pools)

    def send(self, request: Request, *, limit_bytes: int) -> Response:
        """Send a request and return the response with its body.

        Raises:
            RegistryUnavailable: no connection, a timeout, or the response broke off.
            InvalidResponse: the response is not HTTP, or its body is larger than the limit.
        """
        with self.open(request) as stream:
            return read_body(stream, limit_bytes)

    @contextmanager
    def open(self, request: Request) -> Iterator[BodyStream]:
        """Send a request; the block reads the body of the response. Raises as `send` does."""
        cancellation = current_cancellation()
        cancellation.check()
        exchange = Exchange(
            silence_seconds=self._timeouts.read_seconds, head_seconds=self._timeouts.piece_seconds
        )
        proxy = proxy_for(request.url)
        with closing(exchange), cancellation.on_cancel(exchange.abort):
            with transport_errors(request, proxy), exchange.scope():
                response = self._send(request, proxy)
            with closing(
                _ResponseStream(request, response, exchange, self._timeouts.piece_seconds)
            ) as stream:
                yield stream

    def _send(self, request: Request, proxy: str | None) -> urllib3.BaseHTTPResponse:
        # From a file, the body is sent in pieces with a timeout each. From bytes, one timeout covers all of it.
        body = None if request.body is None else io.BytesIO(request.body)
        length = {} if request.body is None else {"Content-Length": str(len(request.body))}
        return self._pools_for(proxy).urlopen(
            request.method,
            request.url,
            headers={**_OWN_HEADERS, **request.headers, **length},
            body=body,
            retries=False,
            redirect=False,
            timeout=self._timeout,
            preload_content=False,
            decode_content=False,
        )

    def _pools_for(self, proxy: str | None) -> urllib3.PoolManager:
        if proxy not in self._pools:
            self._pools[proxy] = self._make_pools(
                urllib3.ProxyManager, proxy_url=proxy, proxy_headers=_proxy_login(proxy or "")
            )
        return self._pools[proxy]

    def _make_pools(self, kind: type[urllib3.PoolManager], **where: Any) -> urllib3.PoolManager:  # noqa: ANN401
        made = kind(
            maxsize=MAX_IDLE_CONNECTIONS,
            timeout=self._timeout,
            blocksize=SENT_AT_A_TIME_BYTES,
            **where,
        )
        made.pool_classes_by_scheme = POOLS
        return made


class _ResponseStream:
    """A response of urllib3 as a `BodyStream`."""

    def __init__(
        self, request: Request, response: urllib3.BaseHTTPResponse, exchange: Exchange, piece_seconds: float
    ) -> None:
        self._request = request
        self._response = response
        self._exchange = exchange
        self._piece_seconds = piece_seconds
        self.status = response.status
        self.url = request.url
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    def chunks(self, *, within_seconds: float | None = None) -> Iterator[bytes]:
        if within_seconds is not None:
            self._exchange.set_deadline(within_seconds)
        while True:
            if within_seconds is None:
                self._exchange.set_deadline(self._piece_seconds)
            with transport_errors(self._request):
                chunk = self._response.read(CHUNK_BYTES)
            if not chunk:
                return
            yield chunk

    def close(self) -> None:
        # Skipping the rest of a body costs more than a new connection.
        if self._response.closed:
            self._response.release_conn()
        else:
            self._response.close()


def proxy_for(url: str) -> str | None:
    """Return the proxy of the environment for a URL, with its login; None for this machine.

    Raises `InvalidOption` for a proxy without HTTP, such as SOCKS.
    """
    parts = split_url(url)
    host = parts.hostname or ""
    proxy = None if is_loopback(host) else urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(host):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        split_url(proxy)
    except InvalidResponse:
        raise InvalidOption(
            f"{parts.scheme.upper()}_PROXY is {redacted_or_nothing(proxy)}: expected http://HOST:PORT or"
            " https://HOST:PORT; other kinds (SOCKS) are not supported"
        ) from None
    return proxy


def _proxy_login(proxy: str) -> dict[str, str]:
    # Only the proxy sees these headers: urllib3 sends them with CONNECT, or with a plain request to the proxy.
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return urllib3.make_headers(proxy_basic_auth=login)


def _close(pools: Mapping[str | None, urllib3.PoolManager]) -> None:
    for one in pools.values():
        one.clear()


@contextmanager
def transport_errors(request: Request, proxy: str | None = None) -> Iterator[None]:
    """Translate the errors of urllib3. Messages name the request without the secrets of its URL."""
    try:
        yield
    except LocationValueError:
        raise InvalidResponse(f"{request}: not a valid URL") from None
    except (HTTPError, ProxySchemeUnsupported) as error:
        cause = _innermost(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise RegistryError(
                f"{request}: its certificate is not valid: {cause.verify_message} (SSL_CERT_FILE names a file with"
                " the authorities to trust)"
            ) from None
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            raise RegistryError(
                f"{request}: the server does not speak TLS, and plain HTTP is allowed only to this machine (localhost)"
            ) from None
        through = f"proxy {redacted(proxy)}: " if proxy and isinstance(error, ProxyError) else ""
        raise RegistryUnavailable(f"{request}: {through}{_reason(error, cause)}") from None


def _innermost(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _reason(error: BaseException, cause: BaseException) -> str:
    """Describe the innermost cause. The messages of urllib3 around it contain the URL with its query."""
    if isinstance(cause, TooSlow):
        return str(cause)
    if known := _TIMEOUTS.get(type(error)):
        return known
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return f"{type(cause).__name__}: {' '.join(text.split())[:200]}" if text else type(cause).__name__


class _WithoutQueries(logging.Filter):
    """Removes queries of URLs from the log of urllib3: the query of a signed URL is a credential."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] if isinstance(arg, str) and "?" in arg else arg for arg in record.args
            )
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutQueries())
