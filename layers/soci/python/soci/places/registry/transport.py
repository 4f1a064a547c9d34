"""The only sockets: connections kept open per host, time-outs, and urllib3's errors as ours.

One call is one request on the wire. Redirects are answers here, nothing is repeated and no header is added:
`soci.places.registry.client` decides on all of that.
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
from soci.places.registry.connections import POOLS, Exchange, Overdue
from soci.places.registry.http_messages import BodyStream, Request, Response, read_body
from soci.places.registry.urls import is_loopback, redacted, redacted_or_nothing, split_url

CHUNK_BYTES = 256 << 10
"""What is read at a time. When a connection breaks, what has come of the current chunk is lost with it."""

SENT_AT_A_TIME_BYTES = 64 << 10

# Compressed on the way, bytes would not be those that the digest is of.
_OWN_HEADERS = {"User-Agent": f"soci-index/{__version__}", "Accept-Encoding": "identity"}

MAX_IDLE_CONNECTIONS = 64
"""Per host: as many layers at a time as the command line allows, four ranges of each, is rarely more."""

_TIMEOUTS: Mapping[type[BaseException], str] = {
    ConnectTimeoutError: "no connection within the time-out",
    ReadTimeoutError: "no answer within the time-out",
}

_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)
"""OpenSSL's names for an answer that is no TLS; they depend on its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long an attempt may stand still, and how slow it may be."""

    connect_seconds: float = 10.0
    """Without a connection; also for `SENT_AT_A_TIME_BYTES` of a request to go out."""
    read_seconds: float = 30.0
    """Without a byte of the answer."""
    piece_seconds: float = 60.0
    """For the head of an answer, and for each `CHUNK_BYTES` of a body: 4 KiB/s is no progress worth having."""


class Transport:
    """Sends requests. Shared by threads; `close` lets go of all connections, as the end of its life does."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        timeouts = timeouts or Timeouts()
        self._timeouts = timeouts
        self._timeout = urllib3.Timeout(connect=timeouts.connect_seconds, read=timeouts.read_seconds)
        self._pools: dict[str | None, urllib3.PoolManager] = {None: self._make_pools(urllib3.PoolManager)}
        weakref.finalize(self, _close, self._pools)

    def close(self) -> None:
        """Close all connections that are not in use."""
        _close(self._pools)

    def send(self, request: Request, *, limit_bytes: int) -> Response:
        """Send a request and return the answer with its body.

        Raises:
            RegistryUnavailable: no connection, a time-out, or the answer broke off.
            InvalidResponse: the answer is no HTTP, or its body larger than the limit.
        """
        with self.open(request) as stream:
            return read_body(stream, limit_bytes)

    @contextmanager
    def open(self, request: Request) -> Iterator[BodyStream]:
        """Send a request; the body of the answer is read inside the block. Raises as `send` does."""
        cancellation = current_cancellation()
        cancellation.check()
        exchange = Exchange(
            silence_seconds=self._timeouts.read_seconds, head_seconds=self._timeouts.piece_seconds
        )
        proxy = proxy_for(request.url)
        with closing(exchange), cancellation.on_cancel(exchange.cut):
            with transport_errors(request, proxy), exchange.is_current():
                answer = self._ask(request, proxy)
            with closing(_Answer(request, answer, exchange, self._timeouts.piece_seconds)) as stream:
                yield stream

    def _ask(self, request: Request, proxy: str | None) -> urllib3.BaseHTTPResponse:
        # From a file the body goes out piece by piece, each with the time-out that would else be for all of it.
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


class _Answer:
    """An answer of urllib3 as a `BodyStream`."""

    def __init__(
        self, request: Request, answer: urllib3.BaseHTTPResponse, exchange: Exchange, piece_seconds: float
    ) -> None:
        self._request = request
        self._answer = answer
        self._exchange = exchange
        self._piece_seconds = piece_seconds
        self.status = answer.status
        self.url = request.url
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in answer.headers.items()}

    def chunks(self, *, within_seconds: float | None = None) -> Iterator[bytes]:
        if within_seconds is not None:
            self._exchange.allow(within_seconds)
        while True:
            if within_seconds is None:
                self._exchange.allow(self._piece_seconds)
            with transport_errors(self._request):
                chunk = self._answer.read(CHUNK_BYTES)
            if not chunk:
                return
            yield chunk

    def close(self) -> None:
        # A body that was not read to its end cannot be skipped for less than a new connection costs.
        if self._answer.closed:
            self._answer.release_conn()
        else:
            self._answer.close()


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for a URL, with its login; None for this machine.

    Raises `InvalidOption` for one that is no HTTP proxy.
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
            " https://HOST:PORT, others (SOCKS) are not spoken"
        ) from None
    return proxy


def _proxy_login(proxy: str) -> dict[str, str]:
    # For the proxy alone: urllib3 sends these with CONNECT, or with a request that the proxy itself reads.
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
    """Translate every error of urllib3 into ours, with the request and without the secrets of its URL."""
    try:
        yield
    except LocationValueError:
        raise InvalidResponse(f"{request}: not a URL that can be asked") from None
    except (HTTPError, ProxySchemeUnsupported) as error:
        cause = _innermost(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise RegistryError(
                f"{request}: its certificate is not valid: {cause.verify_message} (SSL_CERT_FILE names a file of"
                " the authorities to trust)"
            ) from None
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            raise RegistryError(
                f"{request}: the server does not speak TLS, and plain HTTP is for this machine (localhost) alone"
            ) from None
        through = f"proxy {redacted(proxy)}: " if proxy and isinstance(error, ProxyError) else ""
        raise RegistryUnavailable(f"{request}: {through}{_reason(error, cause)}") from None


def _innermost(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _reason(error: BaseException, cause: BaseException) -> str:
    """Describe the innermost cause: urllib3 wraps it, and its own messages quote the URL with the query."""
    if isinstance(cause, Overdue):
        return str(cause)
    if known := _TIMEOUTS.get(type(error)):
        return known
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return f"{type(cause).__name__}: {' '.join(text.split())[:200]}" if text else type(cause).__name__


class _WithoutQueries(logging.Filter):
    """Cuts the query from what urllib3 logs about a request: that of a signed URL is a credential."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] if isinstance(arg, str) and "?" in arg else arg for arg in record.args
            )
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutQueries())
