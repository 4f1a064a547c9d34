"""Connections of urllib3 with deadlines, which another thread can abort.

A socket's timeout limits one wait for bytes, so a server that sends a byte now and then never exceeds it. Here a
deadline limits all waits of an exchange together, first for the head of the response and then for its body.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class TooSlow(TimeoutError):
    """Bytes arrived, but too slowly."""


class Exchange:
    """One request and its response: the deadline, and the sockets to close when it is aborted."""

    def __init__(self, *, silence_seconds: float, head_seconds: float) -> None:
        self._silence_seconds = silence_seconds
        self._head_seconds = head_seconds
        self._deadline = float("inf")
        self._lock = threading.Lock()
        self._duplicates: list[socket.socket] = []
        self._is_aborted = False

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Make this the exchange of all connections that the calling thread uses inside the block."""
        _thread.exchange = self
        try:
            yield
        finally:
            del _thread.exchange

    def set_deadline(self, seconds: float) -> None:
        """Set the deadline for the next reads, counted from now."""
        self._deadline = time.monotonic() + seconds

    def start_head(self) -> None:
        """Set the deadline for the head of the response."""
        self.set_deadline(self._head_seconds)

    def next_timeout_seconds(self) -> float:
        """Return the timeout for the next read. Raises `TooSlow` after the deadline."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TooSlow("the answer comes too slowly")
        return min(left, self._silence_seconds)

    def track(self, connection: socket.socket) -> None:
        """Remember a connection for `abort`."""
        # A duplicate stays usable when TLS wraps the socket or urllib3 closes it.
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._duplicates.append(duplicate)
            is_aborted = self._is_aborted
        if is_aborted:
            self.abort()

    def abort(self) -> None:
        """End the exchange now: a waiting read fails. Any thread may call this."""
        with self._lock:
            self._is_aborted = True
            for duplicate in self._duplicates:
                with suppress(OSError):  # closed by the server before
                    duplicate.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Forget the connections. They stay open for further requests."""
        with self._lock:
            for duplicate in self._duplicates:
                duplicate.close()
            self._duplicates.clear()


_thread = threading.local()


class _Connection(HTTPConnection):
    """A connection that belongs to the current exchange of its thread."""

    _exchange: Exchange

    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        self._join(connection)
        return connection

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - those of the base class
        if self.sock is not None and getattr(self, "_exchange", None) is not _thread.exchange:
            self._join(self.sock)
        super().request(*args, **kwargs)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override] # as in the base class
        self._exchange.start_head()
        return super().getresponse()

    def response_class(  # type: ignore[override] # in the base class this is a class, which is called
        self, connection: socket.socket, debuglevel: int = 0, method: str | None = None
    ) -> http.client.HTTPResponse:
        readable: Any = _Readable(connection, self._exchange)
        return http.client.HTTPResponse(readable, debuglevel, method)

    def _join(self, connection: socket.socket) -> None:
        self._exchange = _thread.exchange
        self._exchange.track(connection)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


POOLS = {"http": _Pool, "https": _TlsPool}
"""The classes of pools for a pool manager of urllib3, by scheme."""


class _Readable:
    """The part of a socket that http.client uses: a file to read from."""

    def __init__(self, connection: socket.socket, exchange: Exchange) -> None:
        self._connection = connection
        self._exchange = exchange

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._connection, self._exchange))


class _DeadlineReader(io.RawIOBase):
    """Reads from a connection, with the timeout of its exchange for each read."""

    def __init__(self, connection: socket.socket, exchange: Exchange) -> None:
        self._connection = connection
        self._exchange = exchange
        self._raw = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - a buffer; Python 3.12 has a name for it
        self._connection.settimeout(self._exchange.next_timeout_seconds())
        try:
            return self._raw.readinto(buffer)
        except TimeoutError as error:
            silence = error
        self._exchange.next_timeout_seconds()  # raises TooSlow if the deadline ended the wait
        raise silence

    def close(self) -> None:
        self._raw.close()
        super().close()
