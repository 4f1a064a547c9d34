"""Reading blobs: several ranges at a time, in order, resumed at the byte where a connection broke.

    reader <─ range 0, while it arrives │ range 1 │ range 2 │ range 3 │ range 4    one thread per range

One connection to a blob store often reaches a fraction of the network's speed; several reach more.
A registry may answer a range request with the whole blob. From then on the blob is read as one stream.

The registry redirects to the blob's URL, often a signed one that expires soon. Further ranges use that URL without
asking the registry, until it is refused.

A blob has no time limit of its own, but its reading must progress: each 256 KiB within a minute
(`Timeouts.piece_seconds`), and 64 KiB between two broken connections (`PROGRESS_BYTES`). Five breaks with less, or
two minutes of them, are an error. When the reader stops early, all connections of ranges are cancelled at once.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain

from soci.errors import BlobMissing, InvalidOption, InvalidResponse, RegistryUnavailable, SizeMismatch
from soci.oci.descriptor import Descriptor
from soci.places.cancellation import Cancellation, current_cancellation
from soci.places.registry.client import RegistryClient
from soci.places.registry.http_messages import BodyStream, Operation, Request
from soci.places.registry.responses import NOT_FOUND, check_content_digest, read_error
from soci.places.registry.retry import Attempts
from soci.places.registry.urls import origin

PROGRESS_BYTES = 64 << 10
"""Progress of this size resets the attempts and their deadline."""

MAX_PARALLEL_RANGES = 64

_OK = 200
_PARTIAL = 206
_RANGE_NOT_SATISFIABLE = 416
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_REFUSALS = frozenset({400, 401, 403, 404, 410})
"""Statuses of blob stores for an expired signed URL. They do not agree on one."""

_EXPECTED = frozenset({_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE}) | _REFUSALS


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """How a layer is read. About `parallel_ranges * range_size_bytes` of it is in memory."""

    parallel_ranges: int = 4
    range_size_bytes: int = 8 << 20

    def __post_init__(self) -> None:
        if not 1 <= self.parallel_ranges <= MAX_PARALLEL_RANGES:
            raise InvalidOption(
                f"parallel ranges: expected 1 to {MAX_PARALLEL_RANGES}, got {self.parallel_ranges}"
            )
        if self.range_size_bytes < 1:
            raise InvalidOption(f"size of a range: expected 1 byte or more, got {self.range_size_bytes}")


class _WholeBlobError(Exception):
    """A response to a range request is the whole blob. Parallel ranges would each read it from the start."""


class BlobReader:
    """Reads one blob of a repository. Messages name the repository by `where`. Shared by threads."""

    def __init__(
        self, client: RegistryClient, blob: Descriptor, url: str, scopes: Collection[str], where: str
    ) -> None:
        self._client = client
        self._blob = blob
        self._url = url
        self._scopes = scopes
        self._what = f"{where}: blob {blob.digest}"
        self._redirect_url: str | None = None

    @property
    def size_bytes(self) -> int:
        """The size in the blob's descriptor."""
        return self._blob.size

    @contextmanager
    def open(self, settings: StreamSettings) -> Iterator[Iterator[bytes]]:
        """Stream the whole blob. Raises as `fetch` does; `BlobMissing` before the first byte."""
        size = self._blob.size
        end = min(size, settings.range_size_bytes)
        with ExitStack() as stack:
            first = stack.enter_context(self._open(0, end, self._client.retries.start()))
            if end == size or first.status == _OK:
                yield self.fetch(0, size, response=first)
            else:
                rest = stack.enter_context(self._ahead(end, settings))
                yield chain(self.fetch(0, end, response=first), rest)

    def fetch(
        self, start: int, end: int, *, response: BodyStream | None = None, is_ahead: bool = False
    ) -> Iterator[bytes]:
        """Yield bytes [start, end), each once, with retries after broken connections.

        `response` is one that has begun already. With `is_ahead`, the range is read
        ahead, and a response with the whole blob is not used.

        Raises:
            BlobMissing: the registry does not have the blob.
            SizeMismatch: the blob has another size than its descriptor says.
            InvalidResponse: the response has another digest or range than requested.
            RegistryError: the request failed, and so did its retries.
        """
        attempts = self._client.retries.start()
        counted_from = start
        while start < end:
            with self._open(start, end, attempts) if response is None else nullcontext(response) as stream:
                response = None
                if is_ahead and stream.status == _OK:
                    raise _WholeBlobError
                try:
                    for piece in _pieces(stream, start, end):
                        start += len(piece)
                        if start - counted_from >= PROGRESS_BYTES:
                            counted_from = start
                            attempts.progress()
                        yield piece
                    broken = RegistryUnavailable(f"{self._what} ends at byte {start}, want {end}")
                except RegistryUnavailable as error:
                    broken = error
            if start < end:
                attempts.wait(broken)

    @contextmanager
    def _open(self, start: int, end: int, attempts: Attempts) -> Iterator[BodyStream]:
        """Request bytes [start, end); the whole blob without a Range header."""
        is_part = (start, end) != (0, self._blob.size)
        headers = {"Range": f"bytes={start}-{end - 1}"} if is_part else {}
        with ExitStack() as stack:
            stream = self._send(stack, headers, attempts)
            self._check(stream, start, end)
            yield stream

    def _send(self, stack: ExitStack, headers: Mapping[str, str], attempts: Attempts) -> BodyStream:
        """Send the request to the URL of the last redirect, else to the registry; again if that URL is refused."""
        while True:
            remembered = self._redirect_url
            request = Request(
                method="GET", url=remembered or self._url, operation=Operation.GET_BLOB, headers=headers
            )
            is_own = remembered is None or origin(remembered) == origin(self._url)
            scopes = self._scopes if is_own else ()
            stream = stack.enter_context(
                self._client.open(request, scopes, expect=_EXPECTED, attempts=attempts)
            )
            is_elsewhere = stream.url != self._url
            if stream.status not in _REFUSALS or (stream.status == NOT_FOUND and not is_elsewhere):
                self._redirect_url = stream.url if is_elsewhere else None
                return stream
            error = read_error(request, stream)
            stack.close()
            if not is_elsewhere:
                raise error
            self._redirect_url = None
            if remembered is None:  # a new URL that is refused has not expired
                attempts.wait(error)

    def _check(self, stream: BodyStream, start: int, end: int) -> None:
        if stream.status == NOT_FOUND:
            raise BlobMissing(f"{self._what} does not exist")
        if stream.status == _RANGE_NOT_SATISFIABLE:
            raise SizeMismatch(f"{self._what} ends before byte {start}, want {self._blob.size} bytes")
        check_content_digest(stream, self._blob.digest)
        if stream.status == _OK:
            length = stream.headers.get("content-length")
        else:
            match = _CONTENT_RANGE.fullmatch(stream.headers.get("content-range", ""))
            if match is None or int(match[1]) != start or int(match[2]) >= end:
                got = stream.headers.get("content-range", "nothing")[:100]
                raise InvalidResponse(f"{self._what}: requested bytes {start}-{end - 1}, got {got!r}")
            length = None if match[3] == "*" else match[3]
        if length is not None and length != str(self._blob.size):
            raise SizeMismatch(f"{self._what} has {length[:20]} bytes, want {self._blob.size}")

    @contextmanager
    def _ahead(self, start: int, settings: StreamSettings) -> Iterator[Iterator[bytes]]:
        """Fetch ranges in threads. The next range starts when the reader has finished the first of the window."""
        cancellation = Cancellation()
        pool = ThreadPoolExecutor(settings.parallel_ranges, thread_name_prefix="range")
        starts = iter(range(start, self._blob.size, settings.range_size_bytes))
        pending: deque[Future[deque[bytes]]] = deque()

        def load(begin: int) -> deque[bytes]:
            with cancellation.scope():
                end = min(begin + settings.range_size_bytes, self._blob.size)
                return deque(self.fetch(begin, end, is_ahead=True))

        def submit_next() -> None:
            for begin in starts:
                pending.append(pool.submit(load, begin))
                return

        def read() -> Iterator[bytes]:
            position = start
            while pending:
                try:
                    chunks = pending.popleft().result()
                except _WholeBlobError:
                    cancellation.cancel()
                    yield from self.fetch(position, self._blob.size)
                    return
                while chunks:
                    position += len(chunks[0])
                    yield chunks.popleft()
                submit_next()

        with current_cancellation().on_cancel(cancellation.cancel):
            try:
                for _ in range(settings.parallel_ranges):
                    submit_next()
                yield read()
            finally:
                cancellation.cancel()
                pool.shutdown(wait=True, cancel_futures=True)


def _pieces(stream: BodyStream, start: int, end: int) -> Iterator[bytes]:
    """Yield bytes [start, end) from a response that begins at `start` (206) or at the blob's start (200)."""
    position = start if stream.status == _PARTIAL else 0
    for chunk in stream.chunks():
        piece = chunk[max(0, start - position) : end - position]
        position += len(chunk)
        if piece:
            yield piece
        if position >= end:
            return
