"""A server that sends exactly the bytes that a test gives it, invalid ones too."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_TLS_HANDSHAKE = b"\x16"
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drip:
    """An answer that is sent byte by byte after its start, until the client disconnects."""

    beginning: bytes
    every_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """Reads a request piece by piece with a pause after each, and then answers."""

    answer: bytes
    size_bytes: int
    piece_bytes: int
    pause_seconds: float


Said = bytes | Drip | Slow


class RawServer:
    """Serves one connection after the other: each request on it gets the next of its answers."""

    def __init__(self, connections: Sequence[Sequence[Said]]) -> None:
        self._connections = connections
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self._socket.getsockname())
        self.requests: list[bytes] = []
        self._connection = self._socket
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        for one in (self._socket, self._connection):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        for answers in self._connections:
            try:
                self._connection, _ = self._socket.accept()
                with self._connection as connection:
                    self._answer(connection, answers)
            except OSError:
                continue  # the client was faster, or the test is over

    def _answer(self, connection: socket.socket, answers: Sequence[Said]) -> None:
        for answer in answers:
            request = b""
            while b"\r\n\r\n" not in request and not request.startswith(_TLS_HANDSHAKE):
                if not (more := connection.recv(65536)):
                    return
                request += more
            self.requests.append(request)
            received = len(request.partition(b"\r\n\r\n")[2])
            length = _LENGTH.search(request)
            while not isinstance(answer, Slow) and length and received < int(length[1]):
                received += len(connection.recv(65536))
            _say(connection, answer, received)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def _say(connection: socket.socket, answer: Said, received: int) -> None:
    match answer:
        case Drip():
            connection.sendall(answer.beginning)
            while True:
                time.sleep(answer.every_seconds)
                connection.sendall(b"x")
        case Slow():
            while received < answer.size_bytes:
                time.sleep(answer.pause_seconds)
                received += len(connection.recv(answer.piece_bytes))
            connection.sendall(answer.answer)
        case _:
            connection.sendall(answer)


@contextmanager
def raw_server(*connections: Said | Sequence[Said]) -> Iterator[RawServer]:
    server = RawServer([(one,) if isinstance(one, Said) else one for one in connections])
    try:
        yield server
    finally:
        server.close()


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Write an answer; names of headers have _ for -."""
    given = {"Content_Length": str(len(body))} | headers
    lines = [f"HTTP/1.1 {status} x", *(f"{name.replace('_', '-')}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
