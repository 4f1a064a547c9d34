"""Connections of urllib3 whose exchanges can be cut off: when time is up, or when somebody wants it.

The time-out of a socket limits one wait for bytes: a server that sends a byte now and then never meets it. Here
every wait of an exchange, for the head and for the body of an answer, ends at the exchange's deadline too.
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


class Overdue(TimeoutError):
    """Bytes came, but too slowly."""


class Exchange:
    """One request and its answer on the wire: how long bytes are waited for, and what it takes to end it."""

    def __init__(self, *, silence_seconds: float, head_seconds: float) -> None:
        self._silence_seconds = silence_seconds
        self._head_seconds = head_seconds
        self._deadline = float("inf")
        self._lock = threading.Lock()
        self._twins: list[socket.socket] = []
        self._is_cut = False

    @contextmanager
    def is_current(self) -> Iterator[None]:
        """Make connections that the calling thread uses inside the block ones of this exchange."""
        _thread.exchange = self
        try:
            yield
        finally:
            del _thread.exchange

    def allow(self, seconds: float) -> None:
        """Set the deadline for what is read from now on."""
        self._deadline = time.monotonic() + seconds

    def await_head(self) -> None:
        """Set the deadline for the head of the answer."""
        self.allow(self._head_seconds)

    def patience_seconds(self) -> float:
        """Return how long to wait for the next bytes. Raises `Overdue` when the deadline is over."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Overdue("the answer comes too slowly")
        return min(left, self._silence_seconds)

    def uses(self, connection: socket.socket) -> None:
        """Note a connection, so that it can be cut."""
        # A twin can be shut down whatever becomes of the socket, which TLS wraps and urllib3 closes.
        twin = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._twins.append(twin)
            is_cut = self._is_cut
        if is_cut:
            self.cut()

    def cut(self) -> None:
        """End it now: whoever waits for its bytes gets an error. Called by any thread."""
        with self._lock:
            self._is_cut = True
            for twin in self._twins:
                with suppress(OSError):  # the other side was faster
                    twin.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            for twin in self._twins:
                twin.close()
            self._twins.clear()


_thread = threading.local()


class _Cuttable(HTTPConnection):
    """A connection that knows the exchange it is used for."""

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
        self._exchange.await_head()
        return super().getresponse()

    def response_class(  # type: ignore[override] # called, as the class is that stands here in the base class
        self, connection: socket.socket, debuglevel: int = 0, method: str | None = None
    ) -> http.client.HTTPResponse:
        readable: Any = _Readable(connection, self._exchange)
        return http.client.HTTPResponse(readable, debuglevel, method)

    def _join(self, connection: socket.socket) -> None:
        self._exchange = _thread.exchange
        self._exchange.uses(connection)


class _CuttableTls(_Cuttable, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Cuttable


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _CuttableTls


POOLS = {"http": _Pool, "https": _TlsPool}
"""What a pool manager of urllib3 makes its pools from."""


class _Readable:
    """What http.client wants of a socket: a file to read from."""

    def __init__(self, connection: socket.socket, exchange: Exchange) -> None:
        self._connection = connection
        self._exchange = exchange

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_PatientReader(self._connection, self._exchange))


class _PatientReader(io.RawIOBase):
    """Reads from a connection, each time as long as its exchange is patient."""

    def __init__(self, connection: socket.socket, exchange: Exchange) -> None:
        self._connection = connection
        self._exchange = exchange
        self._raw = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - a buffer; Python 3.12 has a name for it
        self._connection.settimeout(self._exchange.patience_seconds())
        try:
            return self._raw.readinto(buffer)
        except TimeoutError as error:
            silence = error
        self._exchange.patience_seconds()  # whose end may be what cut the wait short
        raise silence

    def close(self) -> None:
        self._raw.close()
        super().close()
