"""Lambda's runtime API over HTTP: it gives invocations to one process and takes its answers.

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
    """One event for the handler, with the facts of its context."""

    request_id: str
    event: bytes
    deadline_ms: int
    function_arn: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The process asks for an event, after the import or after the previous event."""


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
    """The process has ended."""

    status: int


@dataclass(frozen=True, slots=True)
class TimeUp:
    """The event timed out on request, before the real timeout."""


Report = Ready | Answered | Failed | Exited | TimeUp


class RuntimeApi:
    """The runtime API for one process, on a loopback port. It runs until closed.

    `reports` receives what the process does, in order. Hand an invocation over after `Ready`.
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
        """Send an event to the waiting process."""
        self._invocations.put(invocation)

    def close(self) -> None:
        """Stop. The process must have ended: a waiting connection gets no answer."""
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
        """Ignore errors: connections break when a process is killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # avoids a delay of 40 ms per event
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
        """Log nothing."""


def _parse_report(body: bytes) -> dict[str, object]:
    """Parse an error report. Some clients send init errors as JSON inside a JSON string."""
    report = json.loads(body)
    if isinstance(report, str):
        report = json.loads(report)
    return report if isinstance(report, dict) else {"errorMessage": str(report)}
