"""The AWS services that functions call, except the registry: one loopback endpoint for all of them.

PutEvents goes to a callback; moto's backends in this process answer every other call. Functions get the endpoint in
boto3's variable AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto.core.models import botocore_stubber

Json = Any
PutEvents = Callable[[Sequence[Mapping[str, Json]]], None]

_CREDENTIAL = re.compile(r"Credential=[^/]+/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/")


@dataclass(slots=True, kw_only=True)
class Failing:
    """A fault for calls of a service, and the number of calls left for it."""

    times: int | None
    code: str | None = None
    """The error to answer with; "" for no answer; None for the right answer."""
    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None
    happened: int = 0


class AwsApi:
    """The endpoint. It runs until closed."""

    def __init__(self, put_events: PutEvents) -> None:
        self._server = _Server(put_events)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The value of AWS_ENDPOINT_URL."""
        return "http://{}:{}".format(*self._server.server_address[:2])

    def fail(self, service: str, code: str = "", *, times: int | None = None) -> Failing:
        """Let calls of a service (`dynamodb`, `events`) fail with an error code, or without an answer.

        `times` is the number of calls; None means all.
        """
        failing = self._server.failing[service] = Failing(code=code, times=times)
        return failing

    def meanwhile(
        self, service: str, act: Callable[[], object], *, is_done: bool, times: int | None = None
    ) -> Failing:
        """Call `act` when a call of a service arrives. The call is not executed and gets no answer.

        With `is_done` the call is executed first, then `act` runs, then the call is answered.
        """
        failing = Failing(times=times, after=act) if is_done else Failing(times=times, code="", before=act)
        self._server.failing[service] = failing
        return failing

    def heal(self) -> None:
        """Remove all faults."""
        self._server.failing.clear()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, put_events: PutEvents) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.put_events = put_events
        self.turn = threading.Lock()
        """For one call at a time: moto's backends are not thread-safe."""
        self.failing: dict[str, Failing] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base class
        """Ignore errors: callers may be killed."""

    def next_failure(self, service: str) -> Failing | None:
        """Return the fault for the next call of a service; None if there is none."""
        with self.turn:
            failing = self.failing.get(service)
            if failing is None or failing.times == 0:
                return None
            if failing.times is not None:
                failing.times -= 1
            failing.happened += 1
            return failing


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = _CREDENTIAL.search(self.headers.get("Authorization", ""))
        failure = self.server.next_failure(found["service"]) if found else None
        if failure and failure.before:
            failure.before()
        if failure and failure.code == "":
            self.close_connection = True
            return
        if failure and failure.code:
            status, answer = 400, json.dumps({"__type": failure.code, "message": "on request"}).encode()
        else:
            with self.server.turn:
                status, answer = self._answer(body)
        if failure and failure.after:
            failure.after()
        self.send_response(status)
        self.send_header("Content-Type", self.headers.get("Content-Type", "application/x-amz-json-1.1"))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self, body: bytes) -> tuple[int, bytes]:
        if self.headers.get("X-Amz-Target") == "AWSEvents.PutEvents":
            entries = json.loads(body)["Entries"]
            self.server.put_events(entries)
            answered = [{"EventId": "local"} for _ in entries]
            return 200, json.dumps({"FailedEntryCount": 0, "Entries": answered}).encode()
        found = _CREDENTIAL.search(self.headers.get("Authorization", ""))
        if found is None:
            return 400, b'{"__type": "MissingAuthenticationTokenException"}'
        headers = HTTPHeaders()
        for name, value in self.headers.items():
            headers[name] = value
        url = f"https://{found['service']}.{found['region']}.amazonaws.com{self.path}"
        request = AWSPreparedRequest("POST", url, headers, body, stream_output=False)
        response = botocore_stubber.process_request(request)
        if response is None:
            return 400, b'{"__type": "UnknownOperationException"}'
        status, _, text = response
        return status, text.encode() if isinstance(text, str) else text
