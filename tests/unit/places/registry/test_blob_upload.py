from __future__ import annotations

import re
import time

import pytest

from local.registry import Answer, Behaviour, Harm, Registry, request_to
from soci.errors import InvalidResponse, RegistryError, RegistryUnavailable
from soci.oci.digest import digest_of
from soci.places.registry.blob_upload import MAX_PART_BYTES, StreamedUpload, Uploads, parts_of
from soci.places.registry.client import RegistryClient
from soci.places.registry.retry import RetryPolicy
from soci.places.registry.transport import Timeouts, Transport
from tests.builders import noise
from tests.fake_time import FakeTime
from tests.raw_server import http, raw_server

PART = 16 << 10
SMALL = noise(1000, "small")
LARGE = noise(3 * PART + 5, "large")
LOST = [Harm.RESET_BEFORE, Harm.RESET_IN_REQUEST, Harm.RESET_AFTER, Harm.HANG, Answer(500), Answer(503)]


def uploads_to(host: str, repository: str = "app", clock: FakeTime | None = None) -> Uploads:
    client = RegistryClient(
        f"http://{host}",
        host,
        transport=Transport(Timeouts(connect_seconds=2, read_seconds=0.3)),
        retries=RetryPolicy(clock=(clock or FakeTime()).clock()),
    )
    return Uploads(client, f"http://{host}/v2/{repository}/blobs", ())


@pytest.fixture(params=[True, False], ids=["as ecr", "by the spec"])
def registry(request):
    behaviour = Behaviour(min_part_bytes=PART, max_part_bytes=PART, loose_answers=request.param, rates={})
    with Registry(behaviour) as registry:
        yield registry


def blobs_of(registry: Registry) -> list[bytes]:
    return list(registry.repository("app").blobs.values())


def statuses(registry: Registry) -> list[tuple[str, int]]:
    return [(seen.method, seen.status) for seen in registry.requests]


@pytest.mark.parametrize(
    ("chunks", "parts"),
    [
        ([], []),
        ([b""], []),
        ([b"ab", b"c"], [b"abc"]),
        ([b"abcd"], [b"abcd"]),
        ([b"abcde", b"", b"fghij"], [b"abcd", b"efgh", b"ij"]),
        ([bytearray(b"abcdefghi")], [b"abcd", b"efgh", b"i"]),
    ],
)
def test_chunks_of_any_size_become_parts_of_one_size(chunks, parts):
    assert list(parts_of(chunks, 4)) == parts


@pytest.mark.parametrize("content", [b"", SMALL], ids=["empty", "small"])
def test_a_small_blob_is_sent_in_one_request(registry, content):
    uploads_to(registry.host).push(digest_of(content), [content], part_bytes=PART)

    assert blobs_of(registry) == [content]
    assert statuses(registry) == [("POST", 202), ("PUT", 201)]


def test_a_large_blob_is_sent_in_parts_that_registries_accept(registry):
    chunks = [LARGE[at : at + 999] for at in range(0, len(LARGE), 999)]

    uploads_to(registry.host).push(digest_of(LARGE), chunks, part_bytes=PART)

    assert blobs_of(registry) == [LARGE]
    assert [method for method, _ in statuses(registry)] == ["POST", *["PATCH"] * 4, "PUT"]


def test_a_blob_of_unknown_digest_is_sent_in_parts(registry):
    upload = uploads_to(registry.host).start()
    for part in parts_of([LARGE], PART):
        upload.write(part)

    assert blobs_of(registry) == []
    upload.commit(digest_of(LARGE))
    assert blobs_of(registry) == [LARGE]


def test_content_with_another_digest_is_refused(registry):
    for content in (SMALL, LARGE):
        with pytest.raises(RegistryError, match="DIGEST_INVALID"):
            uploads_to(registry.host).push(digest_of(b"another"), [content], part_bytes=PART)

    assert blobs_of(registry) == []


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["in one request", "in parts"])
@pytest.mark.parametrize("fault", LOST, ids=str)
def test_the_blob_is_whole_after_any_lost_request(registry, content, fault):
    uploads_to(registry.host).push(digest_of(content), [content], part_bytes=PART)
    count = len(registry.requests)

    for number in range(1, count + 1):
        registry.repository("app").blobs.clear()
        registry.forget_requests()
        registry.fail(fault, number=number)
        uploads_to(registry.host).push(digest_of(content), [content], part_bytes=PART)
        assert blobs_of(registry) == [content], f"request {number}"


@pytest.mark.parametrize(
    ("content", "method"), [(SMALL, "PUT"), (LARGE, "PATCH"), (LARGE, "PUT")], ids=["whole", "part", "end"]
)
def test_a_retry_waits_as_long_as_the_registry_asks(registry, content, method):
    clock = FakeTime()
    registry.fail(Answer(503, retry_after_seconds=7), where=request_to(method))

    uploads_to(registry.host, clock=clock).push(digest_of(content), [content], part_bytes=PART)

    assert clock.slept == [7]
    assert blobs_of(registry) == [content]


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["in one request", "in parts"])
def test_a_lasting_failure_is_an_error_and_leaves_no_blob(registry, content):
    registry.fail(Answer(503), where=request_to("P"), times=None)
    registry.fail(Answer(503), where=request_to("PUT"), times=None)

    with pytest.raises(RegistryUnavailable, match="after 5 attempts"):
        uploads_to(registry.host).push(digest_of(content), [content], part_bytes=PART)

    assert blobs_of(registry) == []


def test_parts_that_never_arrive_are_an_error(registry):
    registry.fail(Harm.RESET_BEFORE, where=request_to("PATCH"), times=None)

    with pytest.raises(RegistryUnavailable):
        uploads_to(registry.host).push(digest_of(LARGE), [LARGE], part_bytes=PART)

    assert blobs_of(registry) == []


def test_a_blob_is_not_sent_again_when_only_the_response_was_lost(registry):
    registry.fail(Harm.RESET_AFTER, where=request_to("PUT"))

    uploads_to(registry.host).push(digest_of(SMALL), [SMALL])

    assert [method for method, _ in statuses(registry)] == ["POST", "PUT", "HEAD"]


def test_an_upload_restarts_when_the_registry_lost_its_session(registry):
    uploads = uploads_to(registry.host)
    registry.fail(Answer(404), where=request_to("PUT"))

    uploads.push(digest_of(SMALL), [SMALL])

    assert [method for method, _ in statuses(registry)] == ["POST", "PUT", "HEAD", "POST", "PUT"]


@pytest.mark.parametrize(
    ("arrived", "resent"),
    [
        ("0-12", "13-14"),
        ("0-14", None),
        ("0-15", "10-14"),
        ("0-9", "10-14"),
        ("0-4", "10-14"),
        ("", "10-14"),
    ],
    ids=["some of it", "all of it", "more than was sent", "none of it", "less than before", "unknown"],
)
def test_after_a_lost_response_only_the_missing_bytes_of_a_part_are_sent_again(arrived, resent):
    part, rest = b"0123456789", b"abcde"
    answers = [
        http(202, Location="/u/1"),
        http(202, Location="/u/2"),
        http(500),
        http(204, Location="/u/3", Range=arrived),
        *([http(202, Location="/u/4")] if resent else []),
        http(201),
    ]
    with raw_server(answers) as server:
        uploads_to(server.url.removeprefix("http://")).push(
            digest_of(part + rest), [part, rest], part_bytes=10
        )

    ending = f"?digest=sha256%3A{digest_of(part + rest).hex}"
    sent = [head.split()[1] for head in map(bytes.decode, server.requests)]
    assert sent[2:] == ["/u/2", "/u/2", *(["/u/3", f"/u/4{ending}"] if resent else [f"/u/3{ending}"])]
    ranges = [re.search(rb"Content-Range: ([0-9-]+)", request) for request in server.requests]
    assert [found[1].decode() for found in ranges if found][2:] == ([resent] if resent else [])


def test_a_part_refused_as_out_of_order_counts_as_sent_only_after_a_lost_response(registry):
    registry.fail(Answer(416), where=request_to("PATCH"))

    with pytest.raises(RegistryError, match="status 416"):
        uploads_to(registry.host).push(digest_of(LARGE), [LARGE], part_bytes=PART)

    assert [method for method, _ in statuses(registry)] == ["POST", "PATCH", "DELETE"]
    assert blobs_of(registry) == []


def test_a_location_with_a_query_keeps_it():
    with raw_server([http(202, Location="/u?_state=x"), http(201)]) as server:
        uploads_to(server.url.removeprefix("http://")).push(digest_of(SMALL), [SMALL])

    assert server.requests[1].startswith(b"PUT /u?_state=x&digest=sha256%3A")


def test_a_session_without_a_location_is_refused():
    with raw_server(http(202)) as server, pytest.raises(InvalidResponse, match="no Location for the upload"):
        uploads_to(server.url.removeprefix("http://")).start()


def begun_uploads(registry: Registry) -> int:
    return len(registry.repository("app").uploads)


def test_an_aborted_upload_is_cancelled(registry):
    upload = StreamedUpload(uploads_to(registry.host).start(), part_bytes=PART)
    upload.write(LARGE)
    assert begun_uploads(registry) == 1

    upload.abort()

    assert begun_uploads(registry) == 0
    assert statuses(registry)[-1] == ("DELETE", 204)


def test_an_upload_whose_source_fails_is_cancelled(registry):
    def breaking():
        yield LARGE
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        uploads_to(registry.host).push(digest_of(LARGE), breaking(), part_bytes=PART)

    assert begun_uploads(registry) == 0


@pytest.mark.parametrize("fault", [Answer(405), Answer(503), Harm.RESET_BEFORE], ids=str)
def test_a_failed_cancellation_of_an_upload_is_not_retried(registry, fault):
    registry.fail(fault, where=request_to("DELETE"))
    upload = uploads_to(registry.host).start()

    upload.cancel()

    assert [method for method, _ in statuses(registry)] == ["POST", "DELETE"]


def test_cancelling_an_upload_does_not_wait_for_a_registry_that_hangs(registry, monkeypatch):
    monkeypatch.setattr("soci.places.registry.blob_upload.CANCEL_SECONDS", 0.2)
    registry.fail(Harm.HANG, where=request_to("DELETE"))
    client = RegistryClient(f"http://{registry.host}", registry.host)
    started = time.monotonic()

    Uploads(client, f"http://{registry.host}/v2/app/blobs", ()).start().cancel()

    assert time.monotonic() - started < 3


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["in one request", "in parts"])
def test_an_upload_session_opened_instead_of_a_mount_is_used(content):
    with Registry(Behaviour(mounts=False, min_part_bytes=PART, rates={})) as registry:
        uploads = uploads_to(registry.host)
        assert not uploads.mount(digest_of(content), "base", ())
        uploads.push(digest_of(content), [content], part_bytes=PART)

        assert blobs_of(registry) == [content]
        assert [method for method, _ in statuses(registry)].count("POST") == 1
        assert begun_uploads(registry) == 0


def test_parts_have_the_size_that_the_registry_demands():
    session = http(202, Location="/u", OCI_Chunk_Min_Length="25")
    answers = [session, http(202, Location="/u"), http(202, Location="/u"), http(201)]
    content = noise(40, "content")
    with raw_server(answers) as server:
        uploads_to(server.url.removeprefix("http://")).push(digest_of(content), [content], part_bytes=10)

    ranges = [re.search(rb"Content-Range: (\S+)", request) for request in server.requests]
    assert [found[1] for found in ranges if found] == [b"0-24", b"25-39"]


def test_a_registry_that_demands_huge_parts_is_refused():
    session = http(202, Location="/u", OCI_Chunk_Min_Length=str(MAX_PART_BYTES + 1))
    with (
        raw_server(session) as server,
        pytest.raises(InvalidResponse, match="wants parts of 104857601 bytes"),
    ):
        uploads_to(server.url.removeprefix("http://")).start()


def test_a_blob_in_another_store_of_the_registry_is_not_sent_again():
    answers = [
        http(202, Location="/u"),
        http(503),
        http(307, Location="/x"),
        http(307, Location="/x"),
        http(206, SMALL[:1], Content_Range="bytes 0-0/1000"),
    ]
    with raw_server(answers) as server:
        uploads_to(server.url.removeprefix("http://")).push(digest_of(SMALL), [SMALL])

    assert [request.split()[0] for request in server.requests] == [
        b"POST",
        b"PUT",
        b"HEAD",
        b"GET",
        b"GET",
    ]


def test_a_proxy_that_redirects_everything_does_not_confirm_a_blob():
    away, page = http(302, Location="/login"), http(200, b"<html>", Content_Type="text/html")
    answers = [http(202, Location="/u"), http(503), away, away, page, *[http(503)] * 9]
    with raw_server(answers) as server, pytest.raises(RegistryUnavailable):
        uploads_to(server.url.removeprefix("http://")).push(digest_of(SMALL), [SMALL])


def test_a_lost_end_whose_session_is_gone_had_arrived():
    answers = [
        http(202, Location="/u"),
        http(202, Location="/u"),  # the part
        http(503),  # the end, which arrived,
        http(404),  # but is not seen at once
        http(404),  # the end again: the upload is no more
        http(200, Content_Length="1000"),
    ]
    with raw_server(answers) as server:
        upload = uploads_to(server.url.removeprefix("http://")).start()
        upload.write(SMALL)
        upload.commit(digest_of(SMALL))

    methods = [request.split()[0] for request in server.requests]
    assert methods == [b"POST", b"PATCH", b"PUT", b"HEAD", b"PUT", b"HEAD"]


def test_a_lost_first_part_leaves_no_session_behind(registry):
    registry.fail(Harm.RESET_AFTER, where=request_to("PATCH"))

    uploads_to(registry.host).push(digest_of(LARGE), [LARGE], part_bytes=PART)

    assert blobs_of(registry) == [LARGE]
    assert begun_uploads(registry) == 0


def test_a_lost_single_request_leaves_no_session_behind(registry):
    registry.fail(Answer(503), where=request_to("PUT"))

    uploads_to(registry.host).push(digest_of(SMALL), [SMALL])

    assert blobs_of(registry) == [SMALL]
    assert begun_uploads(registry) == 0


def test_requests_after_a_lost_response_count_as_attempts(registry):
    clock = FakeTime()
    registry.fail(Harm.RESET_BEFORE, where=request_to("PUT"), times=None)
    registry.fail(Answer(503, retry_after_seconds=50), where=request_to("HEAD"), times=None)

    with pytest.raises(RegistryUnavailable):
        uploads_to(registry.host, clock=clock).push(digest_of(SMALL), [SMALL])

    assert sum(clock.slept) <= RetryPolicy().deadline_seconds


def test_a_blob_is_mounted_where_the_registry_supports_it():
    for mounts in (True, False):
        with Registry(Behaviour(mounts=mounts, rates={})) as registry:
            registry.repository("base").put_blob(SMALL)
            mounted = uploads_to(registry.host).mount(digest_of(SMALL), "base", ())

            assert mounted is mounts
            assert uploads_to(registry.host).has(digest_of(SMALL), len(SMALL)) is mounts
