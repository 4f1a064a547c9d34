"""Reading blobs: by ranges ahead of the reader, in order, and on from the byte where a connection broke.

    reader <─ range 0, as it comes │ range 1 │ range 2 │ range 3 │ range 4    each by a thread of its own

One connection to a blob store often gives a fraction of what the network could; several make up for one that
is slow.
A registry that answers a range with the whole blob is read in one stream, from there on if it begins to later.

A blob lies where the registry redirects to, often a signed address with a short life. It is remembered for
further ranges, which saves a request each, and asked for again when it is refused.

A blob may take as long as it needs while it gets on: each 256 KiB within a minute (`Timeouts.piece_seconds`), and
64 KiB between two breaks (`PROGRESS_BYTES`). Five breaks with less, or two minutes of them, are an error. Who stops
reading early waits for nothing: the ranges' connections are cut and their waits end.
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
"""Attempts and their deadline are counted anew when as much has come: fewer bytes between two breaks, again and
again, are not worth going on for."""

MAX_PARALLEL_RANGES = 64

_OK = 200
_PARTIAL = 206
_RANGE_NOT_SATISFIABLE = 416
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_REFUSALS = frozenset({400, 401, 403, 404, 410})
"""What blob stores answer when a signed address has expired; they do not agree on it."""

_EXPECTED = frozenset({_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE}) | _REFUSALS


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """How a layer is read. About `parallel_ranges * range_size_bytes` of it are in memory."""

    parallel_ranges: int = 4
    range_size_bytes: int = 8 << 20

    def __post_init__(self) -> None:
        if not 1 <= self.parallel_ranges <= MAX_PARALLEL_RANGES:
            raise InvalidOption(
                f"parallel ranges: expected 1 to {MAX_PARALLEL_RANGES}, got {self.parallel_ranges}"
            )
        if self.range_size_bytes < 1:
            raise InvalidOption(f"size of a range: expected 1 byte or more, got {self.range_size_bytes}")


class _WholeGivenError(Exception):
    """A range ahead of the reader was answered with the whole blob: for each it would be read from its beginning."""


class BlobReader:
    """Reads one blob of a repository, which `where` names in messages. Shared by the threads that do."""

    def __init__(
        self, client: RegistryClient, blob: Descriptor, url: str, scopes: Collection[str], where: str
    ) -> None:
        self._client = client
        self._blob = blob
        self._url = url
        self._scopes = scopes
        self._what = f"{where}: blob {blob.digest}"
        self._found_at: str | None = None

    @property
    def size_bytes(self) -> int:
        """The size that the blob is said to have."""
        return self._blob.size

    @contextmanager
    def open(self, settings: StreamSettings) -> Iterator[Iterator[bytes]]:
        """Stream the blob whole; raises as `fetch` does, and for a missing blob before the first byte."""
        size = self._blob.size
        end = min(size, settings.range_size_bytes)
        with ExitStack() as stack:
            first = stack.enter_context(self._open(0, end, self._client.retries.start()))
            if end == size or first.status == _OK:
                yield self._fetch(0, size, first)
            else:
                rest = stack.enter_context(self._ahead(end, settings))
                yield chain(self._fetch(0, end, first), rest)

    def fetch(self, start: int, end: int) -> Iterator[bytes]:
        """Yield bytes [start, end) in pieces, each once, whatever happens to connections.

        Raises:
            BlobMissing: the registry does not have the blob.
            SizeMismatch: it has another size than its descriptor says.
            InvalidResponse: the registry calls it by another digest, or gives another range.
            RegistryError: it cannot be read, after all attempts.
        """
        return self._fetch(start, end, None)

    def _fetch(
        self, start: int, end: int, answer: BodyStream | None, *, is_ahead: bool = False
    ) -> Iterator[bytes]:
        attempts = self._client.retries.start()
        counted_from = start
        while start < end:
            with self._open(start, end, attempts) if answer is None else nullcontext(answer) as stream:
                answer = None
                if is_ahead and stream.status == _OK:
                    raise _WholeGivenError
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
        """Ask for bytes [start, end), of the whole blob without a range."""
        is_part = (start, end) != (0, self._blob.size)
        headers = {"Range": f"bytes={start}-{end - 1}"} if is_part else {}
        with ExitStack() as stack:
            stream = self._ask(stack, headers, attempts)
            self._check(stream, start, end)
            yield stream

    def _ask(self, stack: ExitStack, headers: Mapping[str, str], attempts: Attempts) -> BodyStream:
        """Ask at the remembered address, or else the registry, and again if it sends us to a wrong one."""
        while True:
            remembered = self._found_at
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
                self._found_at = stream.url if is_elsewhere else None
                return stream
            error = read_error(request, stream)
            stack.close()
            if not is_elsewhere:
                raise error
            self._found_at = None
            if remembered is None:  # an address that is refused at once has not expired
                attempts.wait(error)

    def _check(self, stream: BodyStream, start: int, end: int) -> None:
        if stream.status == NOT_FOUND:
            raise BlobMissing(f"{self._what} is not there")
        if stream.status == _RANGE_NOT_SATISFIABLE:
            raise SizeMismatch(f"{self._what} ends before byte {start}, want {self._blob.size} bytes")
        check_content_digest(stream, self._blob.digest)
        if stream.status == _OK:
            length = stream.headers.get("content-length")
        else:
            match = _CONTENT_RANGE.fullmatch(stream.headers.get("content-range", ""))
            if match is None or int(match[1]) != start or int(match[2]) >= end:
                got = stream.headers.get("content-range", "nothing")[:100]
                raise InvalidResponse(f"{self._what}: asked for bytes {start}-{end - 1}, got {got!r}")
            length = None if match[3] == "*" else match[3]
        if length is not None and length != str(self._blob.size):
            raise SizeMismatch(f"{self._what} has {length[:20]} bytes, want {self._blob.size}")

    @contextmanager
    def _ahead(self, start: int, settings: StreamSettings) -> Iterator[Iterator[bytes]]:
        """Fetch ranges on threads, in a window that moves on when the reader is done with its first range."""
        cancellation = Cancellation()
        pool = ThreadPoolExecutor(settings.parallel_ranges, thread_name_prefix="range")
        starts = iter(range(start, self._blob.size, settings.range_size_bytes))
        pending: deque[Future[deque[bytes]]] = deque()

        def load(begin: int) -> deque[bytes]:
            with cancellation.scope():
                end = min(begin + settings.range_size_bytes, self._blob.size)
                return deque(self._fetch(begin, end, None, is_ahead=True))

        def submit_next() -> None:
            for begin in starts:
                pending.append(pool.submit(load, begin))
                return

        def read() -> Iterator[bytes]:
            position = start
            while pending:
                try:
                    chunks = pending.popleft().result()
                except _WholeGivenError:
                    cancellation.cancel()
                    yield from self._fetch(position, self._blob.size, None)
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
    """Yield bytes [start, end) of a blob from an answer that begins there, or at the blob's beginning."""
    position = start if stream.status == _PARTIAL else 0
    for chunk in stream.chunks():
        piece = chunk[max(0, start - position) : end - position]
        position += len(chunk)
        if piece:
            yield piece
        if position >= end:
            return
