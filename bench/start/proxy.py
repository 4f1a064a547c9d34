"""A registry seen over a longer and narrower line: a forwarder of HTTP/1.1 that adds round trips and shares bandwidth.

What it models: a new connection costs one round trip, each request another one until the answer's first byte, and all
answers together arrive at the line's bandwidth, in turns of a piece each. What it does not: TCP's slow start, loss,
TLS, and the way of requests, which are small. Loopback sockets below it buffer some 100 KiB per connection.

Threads, one per connection: they sleep, or move bytes without Python's global lock.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock, Thread

PIECE_BYTES = 128 << 10
"""What one connection sends before the next has its turn."""

_HEAD_LIMIT_BYTES = 64 << 10
_CATCH_UP_SECONDS = 0.005
"""A sender that slept too long may catch up this much: otherwise every sleep's excess would narrow the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Between client and registry."""

    round_trip_seconds: float
    bandwidth_bytes_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What has passed since the proxy began, or in between."""

    requests: int
    bytes: int
    """Of the answers' bodies."""
    connections: int

    def __sub__(self, earlier: Traffic) -> Traffic:
        """Return what has passed since an earlier moment."""
        return Traffic(
            requests=self.requests - earlier.requests,
            bytes=self.bytes - earlier.bytes,
            connections=self.connections - earlier.connections,
        )


class Bucket:
    """The bandwidth that all connections share."""

    def __init__(self, bytes_per_second: float) -> None:
        self.bytes_per_second = bytes_per_second
        self._lock = Lock()
        self._free_at = 0.0

    def reserve(self, size_bytes: int, now: float) -> float:
        """Take the next place on the line. Returns when the last byte has passed, on the clock of `now`."""
        with self._lock:
            start = max(self._free_at, now - _CATCH_UP_SECONDS)
            self._free_at = start + size_bytes / self.bytes_per_second
            return self._free_at


class Proxy:
    """Forwards connections on a loopback port to an upstream `host:port`, over a line that can be changed."""

    def __init__(self, upstream: str, line: Line) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._lock = Lock()
        self._requests = self._bytes = self._connections = 0
        self._open: set[socket.socket] = set()
        self.set_line(line)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        Thread(target=self._accept, daemon=True).start()

    @property
    def host(self) -> str:
        """Address and port, as in a reference."""
        return "{}:{}".format(*self._listener.getsockname())

    @property
    def traffic(self) -> Traffic:
        """What has passed so far."""
        with self._lock:
            return Traffic(requests=self._requests, bytes=self._bytes, connections=self._connections)

    def set_line(self, line: Line) -> None:
        """Change the line; requests that have begun keep the round trip they had."""
        self._line = line
        self._bucket = Bucket(line.bandwidth_bytes_per_second)

    def close(self) -> None:
        """Stop, and cut all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections += 1
            Thread(target=self._serve, args=(client, time.monotonic()), daemon=True).start()

    def _serve(self, client: socket.socket, connected: float) -> None:
        with client, suppress(OSError), socket.create_connection(self._upstream) as server:
            with self._lock:
                self._open |= {client, server}
            try:
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._forward(_Peer(client), _Peer(server), connected)
            finally:
                with self._lock:
                    self._open -= {client, server}

    def _forward(self, client: _Peer, server: _Peer, connected: float) -> None:
        ready = connected + self._line.round_trip_seconds  # until then the client would still connect
        while head := client.read_head():
            ready = max(ready, time.monotonic()) + self._line.round_trip_seconds
            with self._lock:
                self._requests += 1
            server.send(head)
            for piece in client.read_body(_length(head, default=0)):
                server.send(piece)
            answer = server.read_head()
            _sleep_until(ready)
            client.send(answer)
            if not answer:
                return
            is_empty = head.startswith(b"HEAD ") or answer.split(b" ", 2)[1] in (b"204", b"304")
            for piece in server.read_body(0 if is_empty else _length(answer, default=None)):
                _sleep_until(self._bucket.reserve(len(piece), time.monotonic()))
                with self._lock:
                    self._bytes += len(piece)
                client.send(piece)
            if b"\r\nconnection: close" in answer.lower():
                return


class _Peer:
    """One end: what has arrived and is not yet taken, and the socket behind it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""
        self._buffer = memoryview(bytearray(PIECE_BYTES))

    def send(self, data: bytes | memoryview) -> None:
        self._connection.sendall(data)

    def read_head(self) -> bytes:
        """Return the next message up to the empty line; nothing when the peer has closed."""
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            piece = self._connection.recv(PIECE_BYTES)
            if not piece or len(data) > _HEAD_LIMIT_BYTES:
                return b""
            data += piece
        self._rest = data[end + 4 :]
        return data[: end + 4]

    def read_body(self, length: int | None) -> Iterator[bytes | memoryview]:
        """Yield a body in pieces; to the end of the connection when its length is not known."""
        left = length
        if self._rest:
            piece = self._rest if left is None else self._rest[:left]
            self._rest = self._rest[len(piece) :]
            left = None if left is None else left - len(piece)
            if piece:
                yield piece
        while left is None or left > 0:
            size = self._connection.recv_into(
                self._buffer, PIECE_BYTES if left is None else min(left, PIECE_BYTES)
            )
            if not size:
                return
            left = None if left is None else left - size
            yield self._buffer[:size]


def _length(head: bytes, *, default: int | None) -> int | None:
    for line in head.split(b"\r\n")[1:]:
        name, _, text = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(text)
    return default


def _sleep_until(moment: float) -> None:
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)


@contextmanager
def open_proxy(upstream: str, line: Line) -> Iterator[Proxy]:
    """Open a proxy; close it at the end of the block."""
    proxy = Proxy(upstream, line)
    try:
        yield proxy
    finally:
        proxy.close()
