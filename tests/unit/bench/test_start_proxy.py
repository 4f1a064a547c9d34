"""The line in front of the registry: counts and lower bounds, since upper bounds depend on the machine."""

from __future__ import annotations

import http.client
import socketserver
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.start.proxy import PIECE_BYTES, Bucket, Line, Traffic, open_proxy

BODY = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"rest"
UNLIMITED = 1e12


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        status, body = {"/none": (204, b""), "/missing": (404, b"no")}.get(self.path, (200, BODY))
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the base class looks for it

    def do_PUT(self):
        received = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(received)))
        self.end_headers()
        self.wfile.write(received)


class Silent(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1 << 16)


@pytest.fixture
def upstream():
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Upstream)) as host:
        yield host


class serving:  # noqa: N801 - used as a function
    def __init__(self, server):
        self.server = server

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        return "{}:{}".format(*self.server.server_address)

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def line(round_trip_seconds=0.0, bandwidth=UNLIMITED):
    return Line(round_trip_seconds=round_trip_seconds, bandwidth_bytes_per_second=bandwidth)


def ask(connection, path="/", method="GET", body=None):
    connection.request(method, path, body=body)
    response = connection.getresponse()
    return response.status, response.read()


def ask_once(proxy, path="/"):
    with closing(http.client.HTTPConnection(proxy.host)) as connection:
        return ask(connection, path)


def test_answers_come_through_and_are_counted(upstream):
    with open_proxy(upstream, line()) as proxy:
        connection = http.client.HTTPConnection(proxy.host)
        answers = [ask(connection), ask(connection, "/missing"), ask(connection, method="HEAD")]
        answers += [ask(connection, "/none"), ask(connection, method="PUT", body=BODY)]
        connection.close()

        assert answers == [(200, BODY), (404, b"no"), (200, b""), (204, b""), (200, BODY)]
        assert proxy.traffic == Traffic(requests=5, bytes=2 * len(BODY) + 2, connections=1)


def test_traffic_of_a_start_is_what_passed_in_between(upstream):
    with open_proxy(upstream, line()) as proxy:
        ask_once(proxy)
        before = proxy.traffic
        ask_once(proxy, "/missing")

        assert proxy.traffic - before == Traffic(requests=1, bytes=2, connections=1)


def test_a_connection_costs_one_round_trip_and_each_request_another(upstream):
    with open_proxy(upstream, line(round_trip_seconds=0.05)) as proxy:
        connection = http.client.HTTPConnection(proxy.host)
        began = time.monotonic()
        ask(connection)
        first = time.monotonic()
        ask(connection)
        second = time.monotonic()
        connection.close()

    assert first - began >= 2 * 0.05
    assert second - first >= 0.05


def test_all_connections_share_the_bandwidth(upstream):
    seconds = 0.2
    with open_proxy(upstream, line(bandwidth=2 * len(BODY) / seconds)) as proxy:
        began = time.monotonic()
        clients = [threading.Thread(target=ask_once, args=(proxy,)) for _ in range(2)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

        assert time.monotonic() - began >= seconds - 0.01  # what may be caught up
        assert proxy.traffic.bytes == 2 * len(BODY)


def test_an_upstream_that_closes_without_an_answer_closes_the_connection():
    with (
        serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent)) as host,
        open_proxy(host, line()) as proxy,
        pytest.raises(http.client.RemoteDisconnected),
    ):
        ask_once(proxy)


def test_the_line_may_change_between_requests(upstream):
    with open_proxy(upstream, line(round_trip_seconds=30.0)) as proxy:
        proxy.set_line(line())

        assert ask_once(proxy) == (200, BODY)


class TestBucket:
    def test_places_follow_each_other(self):
        bucket = Bucket(1000)

        assert [bucket.reserve(500, now=10.0) for _ in range(3)] == pytest.approx([10.495, 10.995, 11.495])

    def test_an_idle_line_saves_up_next_to_nothing(self):
        bucket = Bucket(1000)
        bucket.reserve(500, now=10.0)

        assert bucket.reserve(500, now=100.0) == pytest.approx(100.495)

    def test_a_sender_that_slept_too_long_catches_up(self):
        bucket = Bucket(1000)
        due = bucket.reserve(500, now=10.0)

        assert bucket.reserve(500, now=due + 0.004) == pytest.approx(due + 0.5)
