"""The only sockets: connections kept open per host, time-outs, and urllib3's errors as ours.

One call is one request on the wire. Redirects are answers here, nothing is repeated and no header is added:
`soci.registry.client` decides on all of that.
"""

from __future__ import annotations

import io
import logging
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    ProxySchemeUnsupported,
    ReadTimeoutError,
)

from soci import __version__
from soci.errors import InvalidResponse, RegistryUnavailable
from soci.registry.connections import POOLS, Exchange, Overdue
from soci.registry.messages import BodyStream, Request, Response, is_loopback, split_url, whole
from soci.stopping import current_stop

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
    """Sends requests. Shared by threads; `close` lets go of all connections."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        timeouts = timeouts or Timeouts()
        self._timeouts = timeouts
        self._timeout = urllib3.Timeout(connect=timeouts.connect_seconds, read=timeouts.read_seconds)
        self._direct = self._pools(urllib3.PoolManager)
        self._proxies: dict[str, urllib3.PoolManager] = {}

    def close(self) -> None:
        """Close all connections that are not in use."""
        for pools in (self._direct, *self._proxies.values()):
            pools.clear()

    def send(self, request: Request, *, limit_bytes: int) -> Response:
        """Send a request and return the answer with its body.

        Raises:
            RegistryUnavailable: no connection, a time-out, or the answer broke off.
            InvalidResponse: the answer is no HTTP, or its body larger than the limit.
        """
        with self.open(request) as stream:
            return whole(stream, limit_bytes)

    @contextmanager
    def open(self, request: Request) -> Iterator[BodyStream]:
        """Send a request; the body of the answer is read inside the block. Raises as `send` does."""
        stop = current_stop()
        stop.check()
        exchange = Exchange(
            silence_seconds=self._timeouts.read_seconds, head_seconds=self._timeouts.piece_seconds
        )
        with closing(exchange), stop.on_set(exchange.cut):
            with transport_errors(request), exchange.is_current():
                answer = self._ask(request)
            with closing(_Answer(request, answer, exchange, self._timeouts.piece_seconds)) as stream:
                yield stream

    def _ask(self, request: Request) -> urllib3.BaseHTTPResponse:
        # From a file the body goes out piece by piece, each with the time-out that would else be for all of it.
        body = None if request.body is None else io.BytesIO(request.body)
        length = {} if request.body is None else {"Content-Length": str(len(request.body))}
        return self._pools_for(request.url).urlopen(
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

    def _pools_for(self, url: str) -> urllib3.PoolManager:
        parts = split_url(url)
        host = parts.hostname or ""
        proxy = None if is_loopback(host) else urllib.request.getproxies().get(parts.scheme)
        if not proxy or urllib.request.proxy_bypass(host):
            return self._direct
        if proxy not in self._proxies:
            self._proxies[proxy] = self._pools(urllib3.ProxyManager, proxy_url=proxy)
        return self._proxies[proxy]

    def _pools(self, kind: type[urllib3.PoolManager], **where: str) -> urllib3.PoolManager:
        made = kind(
            maxsize=MAX_IDLE_CONNECTIONS,
            timeout=self._timeout,
            blocksize=SENT_AT_A_TIME_BYTES,
            **where,  # type: ignore[arg-type]
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


@contextmanager
def transport_errors(request: Request) -> Iterator[None]:
    """Translate every error of urllib3 into ours, with the request and without the secrets of its URL."""
    try:
        yield
    except LocationValueError:
        raise InvalidResponse(f"{request}: not a URL that can be asked") from None
    except (HTTPError, ProxySchemeUnsupported) as error:
        raise RegistryUnavailable(f"{request}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """Return the innermost cause: urllib3 wraps it, and its own messages quote the URL with the query."""
    known = _TIMEOUTS.get(type(error))
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, Overdue):
        return str(error)
    if known:
        return known
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())[:200]}" if text else type(error).__name__


class _WithoutQueries(logging.Filter):
    """Cuts the query from what urllib3 logs about a request: that of a signed URL is a credential."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg.partition("?")[0] if isinstance(arg, str) and "?" in arg else arg for arg in record.args
            )
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutQueries())
