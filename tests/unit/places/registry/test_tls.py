from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from soci.errors import RegistryError, RegistryUnavailable
from soci.places.cancellation import Cancellation
from soci.places.registry.http_messages import Operation, Request
from soci.places.registry.transport import Timeouts, Transport

HERE = ipaddress.IPv4Address("127.0.0.1")
ELSEWHERE = ipaddress.IPv4Address("192.0.2.1")
LIMIT = 2 << 20
BODY = bytes(range(256)) * 4096


def write_certificate(
    directory: Path, *, address: ipaddress.IPv4Address = HERE, expired: bool = False
) -> Path:
    """Write a certificate that vouches for itself, and its key; give the path of both."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry of a test")])
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=-1 if expired else 1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(end - dt.timedelta(days=3))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "certificate.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem


class Registry(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        if self.path == "/silent":
            self.server.released.wait()  # type: ignore[attr-defined]
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self, handler: type[Registry], context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.released = threading.Event()
        self._context = context

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        with (
            suppress(OSError),  # of a client that does not trust us
            self._context.wrap_socket(request, server_side=True) as secured,
        ):
            super().finish_request(secured, client_address)


@contextmanager
def served(pem: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve over TLS; give the URL, and the paths that were asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    class Handler(Registry):
        seen: list[str] = []  # noqa: RUF012 - of this server alone

    with Server(Handler, context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}", Handler.seen
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


def get(url: str) -> Request:
    return Request(
        method="GET", url=url, operation=Operation.LIST, headers={"Authorization": "Basic c2VjcmV0"}
    )


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport(Timeouts(connect_seconds=2, read_seconds=0.5))
    yield transport
    transport.close()


def test_a_certificate_trusted_by_the_environment_is_trusted(tmp_path, monkeypatch, transport):
    pem = write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))

    with served(pem) as (url, seen):
        bodies = [transport.send(get(f"{url}/{number}"), limit_bytes=LIMIT).body for number in range(2)]

    assert bodies == [BODY, BODY]
    assert seen == ["/0", "/1"]


@pytest.mark.parametrize(
    ("certificate", "says"),
    [
        pytest.param({}, "self-signed certificate", id="unknown authority"),
        pytest.param({"address": ELSEWHERE}, "IP address mismatch", id="another host's"),
        pytest.param({"expired": True}, "certificate has expired", id="expired"),
    ],
)
def test_nothing_is_sent_to_a_server_whose_certificate_is_not_valid(
    tmp_path, monkeypatch, transport, certificate, says
):
    pem = write_certificate(tmp_path, **certificate)
    if certificate:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))

    with (
        served(pem) as (url, seen),
        pytest.raises(RegistryError, match=f"its certificate is not valid: .*{says}") as caught,
    ):
        transport.send(get(f"{url}/v2/"), limit_bytes=LIMIT)

    assert seen == []
    assert not isinstance(caught.value, RegistryUnavailable)
    assert not caught.value.retryable


def test_a_silent_tls_server_is_left_in_time(tmp_path, monkeypatch, transport):
    pem = write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))

    with served(pem) as (url, seen), pytest.raises(RegistryUnavailable, match="timeout"):
        transport.send(get(f"{url}/silent"), limit_bytes=LIMIT)

    assert seen == ["/silent"]


def test_cancellation_aborts_a_tls_connection(tmp_path, monkeypatch):
    pem = write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    patient = Transport(Timeouts(connect_seconds=2, read_seconds=60))
    cancellation = Cancellation()

    with served(pem) as (url, seen), cancellation.scope():
        threading.Timer(0.2, cancellation.cancel).start()
        begin = time.monotonic()
        with pytest.raises(RegistryUnavailable):
            patient.send(get(f"{url}/silent"), limit_bytes=LIMIT)

    assert seen == ["/silent"]
    assert time.monotonic() - begin < 30
