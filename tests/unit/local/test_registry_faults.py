"""The in-memory registry failing on purpose, and the program that runs it."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time

import pytest

from local.registry import (
    OBJECTS,
    Answer,
    BasicLogin,
    Behaviour,
    Delay,
    EcrLogin,
    Harm,
    Lie,
    Meanwhile,
    Registry,
    TimePasses,
    request_to,
)
from local.registry.store import digest_of
from tests.architecture.source import ROOT
from tests.http_calls import basic, call

BLOB = bytes(range(256)) * 1000
PATH = f"/v2/app/blobs/{digest_of(BLOB)}"
UPLOAD = f"/v2/app/blobs/uploads/?digest={digest_of(b'new')}"


@pytest.fixture
def registry():
    with Registry(Behaviour.plain()) as running:
        running.repository("app").put_blob(BLOB)
        yield running


def connected_to(registry: Registry) -> socket.socket:
    address, port = registry.host.split(":")
    return socket.create_connection((address, int(port)), timeout=5)


def has_new_blob(registry: Registry) -> bool:
    return digest_of(b"new") in registry.repository("app").blobs


@pytest.mark.parametrize(
    ("harm", "is_done"),
    [
        (Harm.RESET_BEFORE, False),
        (Harm.RESET_IN_REQUEST, False),
        (Harm.RESET_AFTER, True),
        (Harm.RESET_IN_BODY, True),
    ],
)
def test_a_reset_ends_the_connection_and_the_next_request_is_answered(registry, harm, is_done):
    registry.fail(harm)

    with pytest.raises(ConnectionResetError):
        call(registry.host, "POST", UPLOAD, b"new")

    assert has_new_blob(registry) == is_done
    assert call(registry.host, "POST", UPLOAD, b"new").status == 201


@pytest.mark.parametrize("harm", [Harm.RESET_IN_BODY, Harm.CUT_BODY])
def test_half_of_the_body_arrives_before_the_end(registry, harm):
    registry.fail(harm)
    connection = http.client.HTTPConnection(registry.host)
    connection.request("GET", PATH)
    response = connection.getresponse()

    got, error = b"", None
    try:
        while piece := response.read1(1000):
            got += piece
    except ConnectionResetError as reset:
        error = reset
    connection.close()

    assert got == BLOB[: len(BLOB) // 2]
    assert (error is not None) == (harm is Harm.RESET_IN_BODY)
    assert registry.requests[0].sent_bytes == len(got)


def test_a_cut_response_without_body_ends_in_its_head(registry):
    registry.fail(Harm.CUT_BODY)
    with connected_to(registry) as client:
        client.sendall(f"HEAD {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

        assert b"\r\n\r\n" not in client.makefile("rb").read()


def test_a_byte_can_be_wrong_in_the_response_or_the_request(registry):
    for harm in (Harm.WRONG_BYTE, Harm.WRONG_BYTE_SENT):
        registry.fail(harm)

    answer = call(registry.host, "GET", PATH)
    upload = call(registry.host, "POST", UPLOAD, b"new")

    assert (len(answer.body), answer.headers["Content-Length"]) == (len(BLOB), str(len(BLOB)))
    assert sum(a != b for a, b in zip(answer.body, BLOB, strict=True)) == 1
    assert (upload.status, upload.code) == (400, "DIGEST_INVALID")
    assert registry.repository("app").blobs == {digest_of(BLOB): BLOB}


@pytest.mark.parametrize("harm", [Harm.HANG, Harm.HANG_IN_BODY])
def test_a_hanging_registry_sends_nothing_until_the_client_closes(registry, harm):
    registry.fail(harm)

    with pytest.raises(TimeoutError):
        call(registry.host, "GET", PATH, timeout=0.2)

    assert registry.requests[0].sent_bytes == (len(BLOB) // 2 if harm is Harm.HANG_IN_BODY else 0)
    assert call(registry.host, "GET", PATH).body == BLOB


def test_closing_the_registry_ends_hanging_connections():
    registry = Registry()
    registry.fail(Harm.HANG)
    with connected_to(registry) as client:
        client.sendall(b"GET /v2/ HTTP/1.1\r\n\r\n")
        while not registry.requests:
            time.sleep(0.01)

        registry.close()

        assert client.recv(1) == b""


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_fault_with_a_status_executes_nothing(registry, status):
    registry.fail(Answer(status, retry_after_seconds=7))

    answer = call(registry.host, "POST", UPLOAD, b"new")

    assert (answer.status, answer.headers["Retry-After"]) == (status, "7")
    assert not has_new_blob(registry)
    assert registry.requests[0].status == status


def test_a_401_has_the_challenge_of_the_login():
    with Registry(login=BasicLogin("a", "b")) as registry:
        registry.fail(Answer(401))

        answer = call(registry.host, "GET", PATH)

        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize(
    "lies", [{"Docker-Content-Digest": digest_of(b"?")}, {"Content-Type": "text/html"}], ids=str
)
def test_a_lie_replaces_a_header(registry, lies):
    registry.fail(Lie(lies))

    answer = call(registry.host, "GET", PATH)

    assert answer.body == BLOB
    assert lies.items() <= dict(answer.headers).items()
    assert not lies.items() <= dict(call(registry.host, "GET", PATH).headers).items()


def test_a_content_length_may_be_too_large_or_too_small(registry):
    for wrong in (-1, 1):
        registry.fail(Lie({"Content-Length": str(len(BLOB) + wrong)}))

    assert call(registry.host, "GET", PATH).body == BLOB[:-1]
    with pytest.raises(http.client.IncompleteRead):
        call(registry.host, "GET", PATH)


def test_a_delay_changes_nothing_else(registry):
    registry.fail(Delay(0.1))
    began = time.monotonic()

    assert call(registry.host, "GET", PATH).body == BLOB
    assert time.monotonic() - began >= 0.1


def test_time_passes_before_a_request_is_answered():
    with Registry(login=EcrLogin(60)) as registry:
        password = basic("AWS", registry.issue_password())
        registry.fail(TimePasses(60), number=2)

        statuses = [call(registry.host, "GET", "/v2/", headers=password).status for _ in range(2)]

        assert statuses == [200, 403]


def test_a_fault_is_for_one_number_counted_over_both_origins():
    with Registry() as registry:
        registry.repository("app").put_blob(BLOB)
        registry.fail(Answer(500), number=2)

        url = call(registry.host, "GET", PATH).headers["Location"]
        statuses = [call(registry.host, "GET", url).status for _ in range(2)]

        assert statuses == [500, 200]
        assert [(seen.number, seen.origin) for seen in registry.requests[1:]] == [(2, OBJECTS), (3, OBJECTS)]


def test_a_fault_hits_the_chosen_requests_the_given_number_of_times(registry):
    registry.fail(Answer(503), where=request_to("GET", "/blobs/"), times=2)

    statuses = [call(registry.host, method, PATH).status for method in ("HEAD", "GET", "GET", "GET")]

    assert statuses == [200, 503, 503, 200]


def test_permanent_faults_end_when_healed(registry):
    registry.fail(Answer(503), where=request_to("GET", origin=OBJECTS), times=None)
    registry.fail(Answer(500), times=None)

    statuses = [call(registry.host, "GET", PATH).status for _ in range(3)]
    registry.heal()

    assert statuses == [500] * 3
    assert call(registry.host, "GET", PATH).status == 200


@pytest.mark.parametrize("login", [["--login", "a:b"], ["--ecr-login"]], ids=["basic", "ecr"])
def test_the_program_runs_a_registry_until_it_is_interrupted(login):
    command = [sys.executable, "-u", "-m", "local.registry", "--port", "0", *login]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        host = program.stdout.readline().split("http://")[1].split(",")[0]
        answer = call(host, "GET", "/v2/")
        logged = next(line for line in program.stdout if line[0].isdigit())
        program.send_signal(signal.SIGINT)

        assert program.wait(10) == 0
    assert (answer.status, logged.split()) == (401, ["401", "GET", "registry", "/v2/"])


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "done"])
def test_something_else_happens_while_a_request_is_answered(registry, is_done):
    seen = []
    registry.fail(Meanwhile(lambda: seen.append(has_new_blob(registry)), is_done=is_done))

    assert call(registry.host, "POST", UPLOAD, body=b"new").status == 201
    assert call(registry.host, "GET", PATH).body == BLOB
    assert seen == [is_done]
