from __future__ import annotations

import base64
import gc
import inspect
import io
import logging
import socket
import time
from contextlib import suppress
from threading import Thread, Timer

import pytest
import urllib3.exceptions

from soci.errors import InvalidOption, InvalidResponse, RegistryError, RegistryUnavailable, Stopped
from soci.places.cancellation import Cancellation
from soci.places.registry.http_messages import Operation, Request, read_body, read_start
from soci.places.registry.transport import Timeouts, Transport, proxy_for, transport_errors
from tests.raw_server import Drip, Slow, http, raw_server

TRANSPORT = Transport(Timeouts(connect_seconds=2, read_seconds=0.2))
LIMIT = 1000


def get(url: str) -> Request:
    return Request(method="GET", url=url, operation=Operation.LIST)


def unused_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return "http://{}:{}/secret?secret".format(*server.getsockname())


def test_a_response_has_status_headers_and_body():
    with raw_server(http(404, b"body", X_Test="Value")) as server:
        response = TRANSPORT.send(get(f"{server.url}/a?b=c"), limit_bytes=LIMIT)

    assert (response.status, response.body, response.headers["x-test"]) == (404, b"body", "Value")
    head = server.requests[0].decode()
    assert head.startswith("GET /a?b=c HTTP/1.1\r\n")
    assert "Accept-Encoding: identity\r\n" in head
    assert "User-Agent: soci-index/" in head


def test_a_redirect_is_an_ordinary_response():
    with raw_server(http(307, Location="http://127.0.0.1:1/")) as server:
        assert TRANSPORT.send(get(server.url), limit_bytes=LIMIT).status == 307


def test_a_body_is_not_decoded():
    with raw_server(http(200, b"no gzip", Content_Encoding="gzip")) as server:
        assert TRANSPORT.send(get(server.url), limit_bytes=LIMIT).body == b"no gzip"


def test_a_larger_body_than_allowed_is_refused():
    with (
        raw_server(http(200, b"x" * (LIMIT + 1))) as server,
        pytest.raises(InvalidResponse, match="more than 1000"),
    ):
        TRANSPORT.send(get(server.url), limit_bytes=LIMIT)


def test_a_connection_is_reused():
    with raw_server([http(200, b"one"), http(200, b"two")]) as server:
        bodies = [TRANSPORT.send(get(server.url), limit_bytes=LIMIT).body for _ in range(2)]

    assert bodies == [b"one", b"two"]


def test_a_connection_with_an_unread_body_is_not_reused():
    with raw_server([http(200, b"one"), b"never asked for"], http(200, b"two")) as server:
        with TRANSPORT.open(get(server.url)) as stream:
            assert stream.status == 200
        body = TRANSPORT.send(get(server.url), limit_bytes=LIMIT).body

    assert body == b"two"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(b"", "RemoteDisconnected", id="nothing"),
        pytest.param(b"SSH-2.0-x\r\n", "BadStatusLine: SSH-2.0-x", id="no http"),
        pytest.param(http(200, b"half", Content_Length="8"), "IncompleteRead", id="cut off"),
        pytest.param(
            b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
            "ValueError",
            id="bad chunk",
        ),
    ],
)
def test_a_response_that_breaks_off_is_unavailable(answer, problem):
    with raw_server(answer) as server, pytest.raises(RegistryUnavailable, match=problem) as caught:
        TRANSPORT.send(get(f"{server.url}/a?secret"), limit_bytes=LIMIT)

    assert str(caught.value).startswith(f"GET {server.url}/a?...: ")
    assert "secret" not in str(caught.value)


def test_no_connection_is_unavailable():
    with pytest.raises(
        RegistryUnavailable, match=r"/secret\?\.\.\.: ConnectionRefusedError: Connection refused"
    ):
        TRANSPORT.send(get(unused_url()), limit_bytes=LIMIT)


def test_silence_is_unavailable_after_the_time_out():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = "http://{}:{}/".format(*server.getsockname())
        with pytest.raises(RegistryUnavailable, match="no answer within the timeout"):
            TRANSPORT.send(get(url), limit_bytes=LIMIT)


@pytest.mark.parametrize(
    "beginning", [b"HTTP/1.1 200 OK\r\nX-", http(200, Content_Length="999")], ids=["head", "body"]
)
def test_a_response_that_is_too_slow_is_given_up(beginning):
    transport = Transport(Timeouts(read_seconds=5, piece_seconds=0.3))
    started = time.monotonic()

    with (
        raw_server(Drip(beginning=beginning, every_seconds=0.02)) as server,
        pytest.raises(RegistryUnavailable, match="the answer comes too slowly"),
        transport.open(get(server.url)) as stream,
    ):
        list(stream.chunks())

    assert time.monotonic() - started < 2


def test_a_body_that_is_read_whole_has_its_own_deadline():
    drip = Drip(beginning=http(200, Content_Length="999"), every_seconds=0.02)

    with (
        raw_server(drip) as server,
        TRANSPORT.open(get(server.url)) as stream,
        pytest.raises(RegistryUnavailable, match="the answer comes too slowly"),
    ):
        read_body(stream, LIMIT, within_seconds=0.2)


def test_a_slow_error_body_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("soci.places.registry.http_messages.DOCUMENT_SECONDS", 0.2)

    with (
        raw_server(Drip(beginning=http(503, Content_Length="999"), every_seconds=0.02)) as server,
        TRANSPORT.open(get(server.url)) as stream,
    ):
        assert read_start(stream, LIMIT).status == 503


def test_a_slow_upload_is_allowed_while_it_progresses():
    body = bytes(24 << 20)
    slow = Slow(answer=http(201), size_bytes=len(body), piece_bytes=256 << 10, pause_seconds=0.01)
    transport = Transport(Timeouts(connect_seconds=0.3, read_seconds=2))

    with raw_server(slow) as server:
        request = Request(method="PATCH", url=server.url, operation=Operation.UPLOAD_PART, body=body)
        status = transport.send(request, limit_bytes=LIMIT).status

    assert status == 201
    assert b"content-length: 25165824\r\n" in server.requests[0].lower()
    assert b"chunked" not in server.requests[0].lower()


@pytest.mark.parametrize(
    "answer", [b"", http(200, b"x", Content_Length="999")], ids=["before an answer", "in the body"]
)
def test_cancellation_ends_an_exchange_at_once(answer):
    cancellation = Cancellation()
    transport = Transport(Timeouts(read_seconds=30))
    Timer(0.2, cancellation.cancel).start()
    started = time.monotonic()

    with cancellation.scope(), socket.create_server(("127.0.0.1", 0)) as server:
        url = "http://{}:{}/".format(*server.getsockname())
        accepted: list[socket.socket] = []

        def say() -> None:
            accepted.append(server.accept()[0])
            accepted[0].sendall(answer)

        answering = Thread(target=say)
        answering.start()
        with pytest.raises(RegistryUnavailable):
            transport.send(get(url), limit_bytes=LIMIT)
        with pytest.raises(Stopped):
            transport.send(get(url), limit_bytes=LIMIT)
        answering.join()
        accepted.pop().close()

    assert time.monotonic() - started < 2


def test_a_server_without_tls_is_not_retried():
    with (
        raw_server(http(400)) as server,
        pytest.raises(
            RegistryError, match="does not speak TLS, and plain HTTP is allowed only to this machine"
        ) as caught,
    ):
        TRANSPORT.send(get(server.url.replace("http:", "https:")), limit_bytes=LIMIT)

    assert not caught.value.retryable


@pytest.mark.parametrize("url", ["http://127.0.0.1:0/", "nonsense", "http://[::1/"])
def test_a_malformed_url_is_refused(url):
    with pytest.raises(InvalidResponse):
        TRANSPORT.send(get(url), limit_bytes=LIMIT)


def errors_of_urllib3() -> list[type[Exception]]:
    classes = inspect.getmembers(urllib3.exceptions, inspect.isclass)
    return [kind for _, kind in classes if issubclass(kind, Exception) and not issubclass(kind, Warning)
            and kind.__module__ == urllib3.exceptions.__name__]  # fmt: skip


def made(kind: type[Exception]) -> Exception:
    """Make an error; most tell what they are without being told anything."""
    if kind is urllib3.exceptions.IncompleteRead:
        return kind(1, 2)
    if kind is urllib3.exceptions.InvalidChunkLength:
        return kind(urllib3.HTTPResponse(io.BytesIO()), b"x")
    return kind.__new__(kind)


@pytest.mark.parametrize("kind", errors_of_urllib3(), ids=lambda kind: kind.__name__)
def test_no_error_of_urllib3_is_left_out(kind):
    request = get("https://h/secret?secret")

    with (
        pytest.raises(RegistryError, match=r"GET https://h/secret\?\.\.\.: ") as caught,
        transport_errors(request),
    ):
        raise made(kind)

    assert caught.value.__cause__ is None


def test_errors_of_others_pass_through():
    with pytest.raises(ZeroDivisionError), transport_errors(get("https://h/")):
        raise ZeroDivisionError


def test_the_log_of_urllib3_has_no_queries(caplog):
    caplog.set_level(logging.DEBUG)
    with raw_server(http(200)) as server:
        TRANSPORT.send(get(f"{server.url}/a?X-Amz-Signature=secret"), limit_bytes=LIMIT)

    assert '"GET /a HTTP/1.1"' in caplog.text
    assert "secret" not in caplog.text


def test_a_proxy_of_the_environment_is_used_but_not_to_this_machine(monkeypatch):
    with raw_server(http(200, b"by proxy", Connection="close"), http(200, b"directly")) as server:
        monkeypatch.setenv("http_proxy", server.url)
        bodies = [
            TRANSPORT.send(get(url), limit_bytes=LIMIT).body
            for url in ("http://registry.invalid/a?b", server.url)
        ]

    assert bodies == [b"by proxy", b"directly"]
    assert server.requests[0].startswith(b"GET http://registry.invalid/a?b HTTP/1.1\r\n")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_gets_its_login_and_nobody_else_does(monkeypatch, caplog, scheme):
    caplog.set_level(logging.DEBUG)
    refused = http(407, Connection="close")
    with raw_server(refused) as server:
        monkeypatch.setenv(f"{scheme}_proxy", server.url.replace("http://", "http://me:pass%40word@"))
        with suppress(RegistryUnavailable):
            TRANSPORT.send(get(f"{scheme}://registry.invalid/a"), limit_bytes=LIMIT)

    [request] = server.requests
    login = base64.b64encode(b"me:pass@word")
    assert b"proxy-authorization: basic " + login.lower() in request.lower()
    assert b"\r\nauthorization:" not in request.lower()
    assert "word" not in caplog.text


def test_an_unreachable_proxy_is_named_without_its_login(monkeypatch):
    address = unused_url().removeprefix("http://").partition("/")[0]
    monkeypatch.setenv("https_proxy", f"http://me:secret@{address}")

    with pytest.raises(RegistryUnavailable, match=f"proxy http://{address}: ConnectionRefused") as caught:
        TRANSPORT.send(get("https://registry.invalid/"), limit_bytes=LIMIT)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["socks5://me:secret@127.0.0.1:1080", "http://me:secret@", "http://[::1"])
def test_an_unsupported_proxy_is_an_invalid_option(monkeypatch, proxy):
    monkeypatch.setenv("https_proxy", proxy)

    with pytest.raises(InvalidOption, match=r"HTTPS_PROXY is .*expected http://HOST:PORT") as caught:
        TRANSPORT.send(get("https://registry.invalid/"), limit_bytes=LIMIT)

    assert "secret" not in str(caught.value)


def test_a_proxy_may_be_named_without_its_scheme(monkeypatch):
    monkeypatch.setenv("https_proxy", "proxy.example:3128")

    assert proxy_for("https://registry.invalid/") == "http://proxy.example:3128"
    assert proxy_for("https://localhost/") is None


def test_connections_close_with_the_transport():
    transport = Transport()
    with raw_server([http(200), b"never asked for"], http(200)) as server:
        transport.send(get(server.url), limit_bytes=LIMIT)
        del transport
        gc.collect()
        TRANSPORT.send(get(server.url), limit_bytes=LIMIT)  # the server has seen the end of the first

    assert len(server.requests) == 2


def test_closing_closes_idle_connections():
    transport = Transport()
    with raw_server([http(200), b"never asked for"], http(200)) as server:
        transport.send(get(server.url), limit_bytes=LIMIT)
        transport.close()
        transport.send(get(server.url), limit_bytes=LIMIT)

    assert len(server.requests) == 2
