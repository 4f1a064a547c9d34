"""Lambda's runtime API over HTTP: hands invocations to one process and takes its answers.

Paths and headers: "Using the Lambda runtime API" in the developer guide of AWS Lambda.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from threading import Thread
from typing import Any

from local.lambda_runtime.failures import LambdaError

_PREFIX = "/2018-06-01/runtime"
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One event on its way to the handler, with what the handler's context is made of."""

    request_id: str
    event: bytes
    deadline_ms: int
    function_arn: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The process asks for an event: its handler is imported, or has done with the event before."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The handler's answer to the event, as JSON."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, or could not be imported."""

    error: LambdaError


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone."""

    status: int


@dataclass(frozen=True, slots=True)
class TimeUp:
    """The time of the event is over, before it has run out by the clock."""


Report = Ready | Answered | Failed | Exited | TimeUp


class RuntimeApi:
    """The runtime API for one process, on a port of loopback, from its making until it is closed.

    What the process does arrives in `reports`, in order. An invocation is handed over after `Ready`.
    """

    def __init__(self) -> None:
        self.reports: SimpleQueue[Report] = SimpleQueue()
        self._invocations: SimpleQueue[Invocation | None] = SimpleQueue()
        self._server = _Server(self.reports, self._invocations)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": _POLL_SECONDS})
        self._thread.start()

    @property
    def address(self) -> str:
        """Address and port, as in AWS_LAMBDA_RUNTIME_API."""
        return "{}:{}".format(*self._server.server_address[:2])

    def hand_over(self, invocation: Invocation) -> None:
        """Answer the process, which waits for it, with an event."""
        self._invocations.put(invocation)

    def close(self) -> None:
        """Stop. The process must be gone already: a connection that still waits is answered with nothing."""
        self._invocations.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, reports: SimpleQueue[Report], invocations: SimpleQueue[Invocation | None]) -> None:
        self.reports = reports
        self.invocations = invocations
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base class
        """Say nothing: a connection breaks off when a process is ended in the middle of an event."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each event waits 40 ms for an acknowledgement
    server: _Server

    def do_GET(self) -> None:
        if self.path != f"{_PREFIX}/invocation/next":
            self._answer(HTTPStatus.NOT_FOUND)
            return
        self.server.reports.put(Ready())
        invocation = self.server.invocations.get()
        if invocation is None:
            self.close_connection = True
            return
        self._answer(
            HTTPStatus.OK,
            invocation.event,
            {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
                "Lambda-Runtime-Trace-Id": invocation.trace_id,
            },
        )

    def do_POST(self) -> None:
        body = self._body()
        match self.path.removeprefix(_PREFIX).split("/"):
            case ["", "invocation", _, "response"]:
                self.server.reports.put(Answered(body))
            case ["", "invocation", _, "error"] | ["", "init", "error"]:
                self.server.reports.put(Failed(LambdaError.from_report(_parse_report(body))))
            case _:
                self._answer(HTTPStatus.NOT_FOUND)
                return
        self._answer(HTTPStatus.ACCEPTED)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as in the base class
        """Keep quiet on the terminal."""


def _parse_report(body: bytes) -> dict[str, object]:
    """Read an error report; an init error comes as JSON within a string of JSON from some clients."""
    report = json.loads(body)
    if isinstance(report, str):
        report = json.loads(report)
    return report if isinstance(report, dict) else {"errorMessage": str(report)}
