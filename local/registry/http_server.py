"""One origin over HTTP/1.1, with faults of the transfer."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from local.registry.clock import Clock
from local.registry.faults import Answer, Delay, Fault, Faults, Harm, Lie, Meanwhile, TimePasses
from local.registry.journal import Exchange, Journal
from local.registry.messages import Refused, Request, Response, aws_action_of

_SEND_BYTES = 64 << 10
_LOOK_EVERY_SECONDS = 0.02


class _Gone(Exception):
    """The connection has ended; there is no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The content of an origin, its faults and its journal."""

    name: str
    answer: Callable[[Request], Response]
    challenge: Callable[[Request], Mapping[str, str]]
    refusal: Callable[[Request, Refused], Response]
    journal: Journal
    faults: Faults
    clock: Clock


class OriginServer(ThreadingHTTPServer):
    """An origin on a loopback port. It runs until closed."""

    request_queue_size = 128
    daemon_threads = False  # so that closing waits for the connections, after ending them

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self.closing = Event()
        self._lock = Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": _LOOK_EVERY_SECONDS})
        self._thread.start()

    @property
    def host(self) -> str:
        """Address and port, as in a URL."""
        return "{}:{}".format(*self.server_address[:2])

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base class
        """Remember the connection, so that it can be ended."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:  # noqa: ANN401 - as in the base class
        """Forget the connection."""
        with self._lock:
            self._connections.discard(request)
        super().close_request(request)

    def close(self) -> None:
        """End all connections and stop."""
        self.closing.set()
        self.shutdown()
        with self._lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client has closed it
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: OriginServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            super().handle()
        except (_Gone, ConnectionError, ValueError):
            self.close_connection = True  # ValueError: the socket is closed

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing: the journal has the request."""

    def do_GET(self) -> None:
        """Serve one request of any method."""
        site = self.server.site
        exchange = site.journal.begin(
            origin=site.name,
            method=self.command,
            path=urlsplit(self.path).path,
            header_names=frozenset(name.lower() for name in self.headers),
            range_=self.headers.get("Range"),
            aws_action=aws_action_of(self.headers),
        )
        fault = site.faults.take(exchange)
        match fault:
            case Harm.RESET_BEFORE:
                self._reset()
            case Harm.HANG:
                self._hang()
            case Delay(seconds=seconds):
                time.sleep(seconds)
            case TimePasses(seconds=seconds):
                site.clock.ahead_seconds += seconds
            case Meanwhile(act=act, is_done=False):
                act()
        request = self._read_request(exchange, fault)
        response = self._answer(request, fault)
        if isinstance(fault, Meanwhile) and fault.is_done:
            fault.act()
        if fault is Harm.RESET_AFTER:
            self._reset()
        self._send(exchange, response, fault)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the base class looks for these

    def _answer(self, request: Request, fault: Fault | None) -> Response:
        site = self.server.site
        match fault:
            case Answer(status=401):
                challenge = dict(site.challenge(request))
                refused = Refused(401, "UNAUTHORIZED", "authentication required", headers=challenge)
                return site.refusal(request, refused)
            case Answer(status=status, retry_after_seconds=seconds):
                code = "TOOMANYREQUESTS" if status == HTTPStatus.TOO_MANY_REQUESTS else "UNKNOWN"
                headers = {} if seconds is None else {"Retry-After": str(seconds)}
                refused = Refused(status, code, HTTPStatus(status).phrase, headers=headers)
                return site.refusal(request, refused)
            case Harm.WRONG_BYTE_SENT:
                request = replace(request, body=_with_wrong_byte(request.body))
        response = site.answer(request)
        if fault is Harm.WRONG_BYTE:
            response = replace(response, body=_with_wrong_byte(response.body))
        return response

    def _read_request(self, exchange: Exchange, fault: Fault | None) -> Request:
        url = urlsplit(self.path)
        return Request(
            method=self.command,
            path=unquote(url.path),
            query=_parse_query(url.query),
            headers=self.headers,
            body=self._read_body(exchange, fault),
            base_url=f"http://{self.headers.get('Host', self.server.host)}",
        )

    def _read_body(self, exchange: Exchange, fault: Fault | None) -> bytes:
        breaks = fault is Harm.RESET_IN_REQUEST
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length", 0))
            exchange.received_bytes = len(body := self.rfile.read(length // 2 if breaks else length))
            if len(body) < length:
                self._reset()
            return body
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            exchange.received_bytes += len(chunks[-1])
            self.rfile.readline()
            if breaks:
                self._reset()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(chunks)

    def _send(self, exchange: Exchange, response: Response, fault: Fault | None) -> None:
        exchange.status = response.status
        headers = {"Docker-Distribution-Api-Version": "registry/2.0", **response.headers}
        if response.status != HTTPStatus.NO_CONTENT:
            headers["Content-Length"] = str(len(response.body))
        lies = fault.headers if isinstance(fault, Lie) else {}
        lines = [f"{name}: {text}" for name, text in {**headers, **lies}.items()]
        status = f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"
        head = "\r\n".join((status, *lines, "", "")).encode("latin-1")
        body = memoryview(b"" if self.command == "HEAD" else response.body)
        if fault in (Harm.CUT_BODY, Harm.RESET_IN_BODY, Harm.HANG_IN_BODY):
            head, body = (head, body[: len(body) // 2]) if body else (head[: len(head) // 2], body)
        self.wfile.write(head)
        for at in range(0, len(body), _SEND_BYTES):
            piece = body[at : at + _SEND_BYTES]
            exchange.sent_bytes += len(piece)
            self.wfile.write(piece)
        if fault is Harm.RESET_IN_BODY:
            self._reset()
        if fault is Harm.HANG_IN_BODY:
            self._hang()
        if fault is Harm.CUT_BODY or "Content-Length" in lies:
            self.close_connection = True

    def _hang(self) -> None:
        """Send nothing until the client or the server closes."""
        while not self.server.closing.wait(_LOOK_EVERY_SECONDS):
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1 << 16):
                break
        raise _Gone

    def _reset(self) -> None:
        """End the connection with a reset, not with a regular close."""
        # A reset discards data that the client has not read, so let it arrive first.
        time.sleep(_LOOK_EVERY_SECONDS)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        raise _Gone


def _with_wrong_byte(data: bytes | memoryview) -> bytes:
    wrong = bytearray(data)
    if wrong:
        wrong[len(wrong) // 2] ^= 1
    return bytes(wrong)


def _parse_query(text: str) -> dict[str, str]:
    """Return the fields of a query; values of a repeated field are joined by spaces, as scopes are."""
    query: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        query[name] = f"{query[name]} {value}" if name in query else value
    return query
