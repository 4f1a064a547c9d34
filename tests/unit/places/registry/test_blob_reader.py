from __future__ import annotations

import threading
import time

import pytest

from local.registry import OBJECTS, Answer, Behaviour, Delay, Harm, Lie, Meanwhile, Registry, request_to
from soci.errors import (
    BlobMissing,
    InvalidResponse,
    RegistryError,
    RegistryUnavailable,
    SizeMismatch,
    Stopped,
    Unauthorized,
)
from soci.oci.descriptor import Descriptor
from soci.oci.digest import digest_of
from soci.places.cancellation import Cancellation
from soci.places.registry.blob_reader import PROGRESS_BYTES, BlobReader, StreamSettings
from soci.places.registry.client import RegistryClient
from soci.places.registry.retry import RetryPolicy
from soci.places.registry.transport import CHUNK_BYTES, Timeouts, Transport
from tests.builders import noise
from tests.fake_time import FakeTime
from tests.raw_server import http, raw_server

KIB = 1 << 10
CONTENT = noise(500 * KIB, "blob")
BLOB = Descriptor(media_type="x", digest=digest_of(CONTENT), size=len(CONTENT))
RANGES = StreamSettings(parallel_ranges=3, range_size_bytes=64 * KIB)
AT_ONCE = StreamSettings(parallel_ranges=1, range_size_bytes=len(CONTENT))
BLOB_GETS = request_to("GET", "/(blobs|layers)/")


def reader_of(host: str, blob: Descriptor = BLOB) -> BlobReader:
    client = RegistryClient(
        f"http://{host}",
        host,
        transport=Transport(Timeouts(connect_seconds=2, read_seconds=0.3)),
        retries=RetryPolicy(clock=FakeTime().clock()),
    )
    return BlobReader(client, blob, f"http://{host}/v2/app/blobs/{blob.digest}", (), "h/app")


def read(reader: BlobReader, settings: StreamSettings = RANGES) -> bytes:
    with reader.open(settings) as chunks:
        return b"".join(chunks)


@pytest.fixture(params=["ranges", "no ranges", "redirected ranges", "redirected, no ranges"])
def behaviour(request) -> Behaviour:
    return Behaviour(
        redirects_blobs="redirected" in request.param, ranges="no" not in request.param, rates={}
    )


@pytest.fixture
def registry(behaviour):
    with Registry(behaviour) as registry:
        registry.repository("app").put_blob(CONTENT)
        registry.repository("app").put_blob(b"")
        yield registry


@pytest.fixture
def ecr():
    with Registry(Behaviour(rates={})) as registry:
        registry.repository("app").put_blob(CONTENT)
        yield registry


@pytest.mark.parametrize("parallel", [1, 2, 3, 16])
@pytest.mark.parametrize("size", [7 * KIB, 64 * KIB, 499 * KIB, 500 * KIB, 501 * KIB])
def test_a_blob_is_read_whole_and_in_order(ecr, parallel, size):
    assert (
        read(reader_of(ecr.host), StreamSettings(parallel_ranges=parallel, range_size_bytes=size)) == CONTENT
    )


def test_a_blob_is_read_whole_from_every_registry(registry):
    assert read(reader_of(registry.host)) == CONTENT
    assert read(reader_of(registry.host), AT_ONCE) == CONTENT


def test_an_empty_blob_has_no_bytes(registry):
    empty = Descriptor(media_type="x", digest=digest_of(b""), size=0)

    assert read(reader_of(registry.host, empty)) == b""


@pytest.mark.parametrize(("start", "end"), [(0, 1), (1, 70_000), (70_000, 70_000), (499 * KIB, 500 * KIB)])
def test_a_range_is_the_same_bytes_from_every_registry(registry, start, end):
    assert b"".join(reader_of(registry.host).fetch(start, end)) == CONTENT[start:end]


def test_every_byte_is_requested_once_and_the_registry_once_for_the_url(ecr):
    read(reader_of(ecr.host))

    assert [seen.status for seen in ecr.requests if seen.origin != OBJECTS] == [307]
    assert sum(seen.sent_bytes for seen in ecr.requests if seen.origin == OBJECTS) == len(CONTENT)


def test_without_ranges_the_blob_is_requested_once():
    with Registry(Behaviour(ranges=False, redirects_blobs=False, rates={})) as registry:
        registry.repository("app").put_blob(CONTENT)
        read(reader_of(registry.host))

        assert len(registry.requests) == 1


@pytest.mark.parametrize("settings", [RANGES, AT_ONCE], ids=["ranges", "at once"])
@pytest.mark.parametrize(
    "fault",
    [Harm.RESET_IN_BODY, Harm.CUT_BODY, Harm.HANG_IN_BODY, Harm.RESET_BEFORE, Answer(503), Answer(429)],
    ids=str,
)
def test_reading_resumes_where_the_connection_broke(registry, settings, fault):
    registry.fail(fault, where=BLOB_GETS, times=2)

    assert read(reader_of(registry.host), settings) == CONTENT


def test_a_broken_connection_loses_no_more_than_a_chunk(ecr):
    ecr.fail(Harm.CUT_BODY, where=request_to("GET", origin=OBJECTS))

    assert read(reader_of(ecr.host), AT_ONCE) == CONTENT
    sent = sum(seen.sent_bytes for seen in ecr.requests if seen.origin == OBJECTS)
    assert sent <= len(CONTENT) + CHUNK_BYTES


def broken_off(size: int, step: int) -> list[bytes]:
    """Answers that each break off after a step, which lead to the end of a blob all the same."""
    total = len(CONTENT)
    return [
        http(
            206,
            CONTENT[at : at + step],
            Content_Range=f"bytes {at}-{size - 1}/{total}",
            Content_Length=str(size - at),
        )
        for at in range(0, size, step)
    ]


def test_broken_connections_do_not_add_up_while_there_is_progress():
    answers = broken_off(PROGRESS_BYTES * 7, PROGRESS_BYTES)
    with raw_server(*answers) as server:
        read_on = b"".join(reader_of(server.url.removeprefix("http://")).fetch(0, PROGRESS_BYTES * 7))

    assert read_on == CONTENT[: PROGRESS_BYTES * 7]


def test_a_few_bytes_between_broken_connections_are_no_progress():
    answers = broken_off(1000, 100)
    got: list[bytes] = []
    with (
        raw_server(*answers) as server,
        pytest.raises(RegistryUnavailable, match="after 5 attempts"),
    ):
        got.extend(reader_of(server.url.removeprefix("http://")).fetch(0, 1000))

    assert b"".join(got) == CONTENT[:500]


def test_connections_that_keep_breaking_without_a_byte_are_an_error(ecr):
    ecr.fail(Harm.RESET_BEFORE, where=request_to("GET", origin=OBJECTS), times=None)

    with pytest.raises(RegistryUnavailable, match="after 5 attempts"):
        read(reader_of(ecr.host), AT_ONCE)
    assert sum(seen.origin == OBJECTS for seen in ecr.requests) == 5


def test_an_expired_url_is_requested_again(ecr):
    reader = reader_of(ecr.host)
    first = b"".join(reader.fetch(0, 10))
    ecr.let_time_pass(3600)
    second = b"".join(reader.fetch(10, 20))

    assert first + second == CONTENT[:20]
    assert [seen.status for seen in ecr.requests] == [307, 206, 403, 307, 206]


def test_a_url_that_never_works_is_an_error(ecr):
    ecr.fail(Answer(403), where=request_to("GET", origin=OBJECTS), times=None)

    with pytest.raises(Unauthorized, match=r"status 403, .*after 5 attempts"):
        read(reader_of(ecr.host))


def test_a_registry_that_refuses_the_blob_itself_is_an_error_at_once(ecr):
    ecr.fail(Answer(403))

    with pytest.raises(Unauthorized, match="status 403"):
        read(reader_of(ecr.host))
    assert len(ecr.requests) == 1


def test_a_missing_blob_is_an_error_before_the_first_byte(registry):
    absent = Descriptor(media_type="x", digest=digest_of(b"absent"), size=6)
    reader = reader_of(registry.host, absent)

    with pytest.raises(BlobMissing, match=f"h/app: blob {absent.digest} does not exist"), reader.open(RANGES):
        pass
    with pytest.raises(BlobMissing):
        next(reader.fetch(0, 3))


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1, 10, 10 * len(CONTENT)])
def test_a_blob_of_another_size_is_refused_before_the_first_byte(registry, size):
    other = Descriptor(media_type="x", digest=BLOB.digest, size=size)

    with (
        pytest.raises(SizeMismatch, match=f"has {len(CONTENT)} bytes, want {size}"),
        reader_of(registry.host, other).open(RANGES),
    ):
        pass


def test_a_range_after_the_end_means_another_size(ecr):
    other = Descriptor(media_type="x", digest=BLOB.digest, size=2 * len(CONTENT))

    with pytest.raises(SizeMismatch, match=f"ends before byte {len(CONTENT) + 5}"):
        list(reader_of(ecr.host, other).fetch(len(CONTENT) + 5, len(CONTENT) + 9))


@pytest.mark.parametrize(
    "content_range",
    ["", "bytes 1-10/512000", "bytes 0-10/512000", "bytes */512000", "nonsense", "bytes 0-9/1\u0663"],
)
def test_another_range_than_requested_is_refused(content_range):
    with (
        raw_server(http(206, b"0123456789", Content_Range=content_range)) as server,
        pytest.raises((InvalidResponse, SizeMismatch)),
    ):
        list(reader_of(server.url.removeprefix("http://")).fetch(0, 10))


def test_a_shorter_range_than_requested_is_completed():
    answers = [
        http(206, b"01234", Content_Range="bytes 0-4/512000"),
        http(206, b"56789", Content_Range="bytes 5-9/*"),
    ]
    with raw_server(answers) as server:
        content = b"".join(reader_of(server.url.removeprefix("http://")).fetch(0, 10))

    assert content == b"0123456789"
    assert b"Range: bytes=5-9\r\n" in server.requests[1]


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_registry_that_stops_serving_ranges_is_read_as_one_stream(parallel):
    behaviour = Behaviour(redirects_blobs=False, rates={})
    settings = StreamSettings(parallel_ranges=parallel, range_size_bytes=16 * KIB)
    with Registry(behaviour) as registry:
        registry.repository("app").put_blob(CONTENT)
        replaced = Meanwhile(lambda: object.__setattr__(behaviour, "ranges", False))
        registry.fail(replaced, where=BLOB_GETS, number=3)

        content = read(reader_of(registry.host), settings)
        count = len(registry.requests)

    assert content == CONTENT
    assert count <= 2 * parallel + 4


def test_a_slow_range_does_not_delay_the_others(ecr):
    def first_range(exchange):
        return exchange.origin == OBJECTS and exchange.range == "bytes=65536-131071"

    ecr.fail(Delay(0.2), where=first_range)
    assert read(reader_of(ecr.host)) == CONTENT

    order = [seen.range for seen in ecr.requests if seen.origin == OBJECTS]
    assert set(order[:4]) == {f"bytes={n << 16}-{(n + 1 << 16) - 1}" for n in range(4)}


def test_a_paused_reader_fetches_no_more_than_the_window(ecr):
    def fetched() -> int:
        return sum(seen.sent_bytes for seen in ecr.requests if seen.origin == OBJECTS)

    window = (1 + RANGES.parallel_ranges) * RANGES.range_size_bytes
    with reader_of(ecr.host).open(RANGES) as chunks:
        next(chunks)
        patience = iter(range(250))
        while fetched() < window and next(patience, None) is not None:
            time.sleep(0.02)
        time.sleep(0.2)
        standing_still = fetched()
        rest = b"".join(chunks)

    assert standing_still == window
    assert CONTENT.endswith(rest)


def test_no_thread_is_left_when_the_reader_stops_early(ecr):
    with reader_of(ecr.host).open(RANGES) as chunks:
        next(chunks)

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("range")]


def patient_reader(host: str) -> BlobReader:
    """Someone who would wait for minutes."""
    client = RegistryClient(f"http://{host}", host)
    return BlobReader(client, BLOB, f"http://{host}/v2/app/blobs/{BLOB.digest}", (), "h/app")


@pytest.mark.parametrize(
    "fault", [Harm.HANG, Harm.HANG_IN_BODY, Answer(503, retry_after_seconds=60)], ids=str
)
def test_ranges_that_hang_or_wait_are_cancelled_when_the_reader_stops(ecr, fault):
    def later_range(exchange):
        return exchange.origin == OBJECTS and exchange.range != "bytes=0-65535"

    ecr.fail(fault, where=later_range, times=None)
    with patient_reader(ecr.host).open(RANGES) as chunks:
        next(chunks)
        time.sleep(0.2)
        stopped = time.monotonic()

    assert time.monotonic() - stopped < 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("range")]


@pytest.mark.parametrize("fault", [Harm.HANG, Answer(503, retry_after_seconds=60)], ids=str)
def test_a_reader_that_waits_for_a_range_can_be_cancelled(ecr, fault):
    def second_range(exchange):
        return exchange.origin == OBJECTS and exchange.range == "bytes=65536-131071"

    ecr.fail(fault, where=second_range, times=None)
    cancellation = Cancellation()
    threading.Timer(0.3, cancellation.cancel).start()
    started = time.monotonic()
    with cancellation.scope(), pytest.raises((Stopped, RegistryUnavailable)):
        read(patient_reader(ecr.host))

    assert 0.2 < time.monotonic() - started < 2


def test_an_error_in_a_range_ahead_is_raised_when_the_reader_gets_there(ecr):
    def third_range(exchange):
        return exchange.origin == OBJECTS and exchange.range == "bytes=131072-196607"

    ecr.fail(Harm.RESET_BEFORE, where=third_range, times=None)
    got: list[bytes] = []
    with reader_of(ecr.host).open(RANGES) as chunks, pytest.raises(RegistryError, match="after 5 attempts"):
        got.extend(chunks)

    assert b"".join(got) == CONTENT[: 128 * KIB]


@pytest.mark.parametrize("said", [str(digest_of(b"x")), "junk"])
@pytest.mark.parametrize("settings", [RANGES, AT_ONCE], ids=["ranges", "at once"])
def test_a_blob_with_another_digest_in_the_header_is_refused(said, settings):
    with Registry(Behaviour(redirects_blobs=False, rates={})) as registry:
        registry.repository("app").put_blob(CONTENT)
        registry.fail(Lie({"Docker-Content-Digest": said}))

        with pytest.raises(
            InvalidResponse, match=f"Docker-Content-Digest is '{said}', but the digest is {BLOB.digest}"
        ):
            read(reader_of(registry.host), settings)


def test_a_wrong_content_length_is_refused(ecr):
    ecr.fail(Lie({"Content-Length": "10"}), where=request_to("GET", origin=OBJECTS))

    with pytest.raises(SizeMismatch, match="has 10 bytes"):
        read(reader_of(ecr.host), AT_ONCE)
