from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random

import pytest
import zstandard

from soci.errors import (
    DamagedLayer,
    DigestMismatch,
    InvalidZtoc,
    RegistryUnavailable,
    SociError,
    SpanUnreadable,
)
from soci.image.filesystem import FileSystem
from soci.mount import span_fetch
from soci.places.cancellation import cancellable_sleep
from tests.builders import (
    file,
    gzip_of,
    image_of,
    index_layer,
    noise,
    symlink,
    tar_of,
    text,
    with_soci_index,
)
from tests.recipes import Watcher
from tests.unit.mount.stores import (
    CONTENT,
    KIB,
    LAYER,
    TAR,
    cache_in,
    fail_with,
    source_of,
    spans_in,
    store_of,
    store_over,
)

PLAIN = tar_of(file("plain", noise(200 * KIB)), file("end", b"x" * 1_000))
LAYERS = {
    "gzip": LAYER,
    "gzip of several members": gzip_of(TAR, members=3),
    "gzip of small blocks": gzip_of(TAR, memory_level=1, level=1),
    "plain": PLAIN,
    "zstd": zstandard.compress(TAR),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("step", [7_001, 200_000, 1 << 20])
def test_each_byte_of_a_layer_is_that_of_its_tar(tmp_path, layer, step):
    tar = PLAIN if layer is PLAIN else TAR
    image = image_of(layer)
    image = image if layer is LAYERS["zstd"] else with_soci_index(image)

    with store_of(source_of(image), tmp_path) as store:
        end = max(one.uncompressed_offset + one.uncompressed_size for one in store.layers[0].entries)
        parts = [store.read(0, at, min(at + step, end)) for at in range(0, end, step)]

    assert b"".join(parts) == tar[:end]


def test_each_byte_of_a_span_is_fetched_once(tmp_path):
    source = source_of()
    with store_of(source, tmp_path) as store:
        for _ in range(3):
            for at in range(0, len(CONTENT), 10_000):
                store.read(0, at, at + 10_000)

        spans = spans_in(store)
        assert sorted(source.fetched) == [(span.start, span.end) for span in spans[: len(source.fetched)]]
        assert store.counts.requests == store.counts.spans_fetched == len(source.fetched)


def test_a_read_across_spans_fetches_them_with_one_request(tmp_path):
    source = source_of()
    with store_of(source, tmp_path) as store:
        spans = spans_in(store)
        assert len(spans) > 5
        end = spans[4].uncompressed_end

        assert store.read(0, 0, end) == TAR[:end]
        assert source.fetched == [(spans[0].start, spans[4].end)]


def test_a_read_fetches_only_the_spans_that_it_lacks(tmp_path):
    source = source_of()
    with store_of(source, tmp_path) as store:
        spans = spans_in(store)
        store.read(0, spans[2].uncompressed_start, spans[2].uncompressed_end)
        store.read(0, 0, spans[4].uncompressed_end)

    wanted = [(2, 2), (0, 1), (3, 4)]
    assert source.fetched == [(spans[first].start, spans[last].end) for first, last in wanted]


def test_neighbours_are_joined_up_to_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr("soci.mount.span_fetch.MAX_JOINED_BYTES", 70_000)
    source = source_of()
    with store_of(source, tmp_path) as store:
        end = spans_in(store)[-1].uncompressed_end
        assert store.read(0, 0, end) == TAR[:end]

    assert len(source.fetched) > 2
    assert all(end - start <= 70_000 for start, end in source.fetched)


def test_readers_of_one_span_share_one_fetch(tmp_path):
    source = source_of()
    source.before = lambda _start, _end: time.sleep(0.05)
    with store_of(source, tmp_path) as store, ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda n: store.read(0, n * 100, n * 100 + 50), range(8)))

    assert read == [TAR[n * 100 : n * 100 + 50] for n in range(8)]
    assert len(source.fetched) == 1


def test_reads_of_different_spans_run_side_by_side(tmp_path):
    source = source_of()
    both = threading.Barrier(2, timeout=5)

    def meet(_start: int, _end: int) -> None:
        both.wait()

    source.before = meet
    with store_of(source, tmp_path) as store, ThreadPoolExecutor(2) as pool:
        spans = spans_in(store)
        starts = [spans[1].uncompressed_start, spans[3].uncompressed_start]

        assert list(pool.map(lambda at: store.read(0, at, at + 10), starts)) == [
            TAR[at : at + 10] for at in starts
        ]


def test_eight_readers_get_right_bytes_and_fetch_each_span_once(tmp_path):
    source = source_of()
    with store_of(source, tmp_path) as store, ThreadPoolExecutor(8) as pool:
        end = spans_in(store)[-1].uncompressed_end

        def read_all(step: int) -> bytes:
            return b"".join(store.read(0, at, min(at + step, end)) for at in range(0, end, step))

        assert set(pool.map(read_all, range(20_000, 100_000, 10_000))) == {TAR[:end]}
        assert store.counts.spans_fetched == len(spans_in(store))


def test_two_stores_with_one_cache_fetch_each_span_once(tmp_path):
    source = source_of()
    source.before = lambda _start, _end: time.sleep(0.01)
    with (
        store_of(source, tmp_path) as one,
        store_of(source, tmp_path) as other,
        ThreadPoolExecutor(4) as pool,
    ):
        end = spans_in(one)[-1].uncompressed_end

        def read_all(store) -> bytes:
            return b"".join(store.read(0, at, min(at + 30_000, end)) for at in range(0, end, 30_000))

        assert set(pool.map(read_all, [one, other, other, one])) == {TAR[:end]}
        assert len(set(source.fetched)) == len(source.fetched)
        assert one.counts.spans_fetched + other.counts.spans_fetched == len(spans_in(one))


def test_a_later_store_finds_what_an_earlier_one_kept(tmp_path):
    with store_of(source_of(), tmp_path) as store:
        store.read(0, 0, len(CONTENT))
    source = source_of()
    with store_of(source, tmp_path) as store:
        assert store.read(0, 0, len(CONTENT)) == TAR[: len(CONTENT)]

    assert source.fetched == []


def test_a_failed_fetch_names_layer_span_and_reason_and_is_not_remembered(tmp_path):
    source = source_of()
    source.before = fail_with(RegistryUnavailable("GET /v2/app/blobs/x: connection reset"))
    with store_of(source, tmp_path) as store:
        with pytest.raises(SpanUnreadable) as failure:
            store.read(0, 100_000, 100_010)
        source.before = lambda _start, _end: None

        assert str(store.layers[0].digest) in str(failure.value)
        assert ": span 1 (bytes " in str(failure.value)
        assert "cannot be read: GET /v2/app/blobs/x: connection reset" in str(failure.value)
        assert store.read(0, 100_000, 100_010) == TAR[100_000:100_010]


def test_all_readers_of_a_span_get_the_error_of_their_fetch(tmp_path):
    source = source_of()

    def fail_late(_start: int, _end: int) -> None:
        time.sleep(0.1)
        raise RegistryUnavailable("cut")

    source.before = fail_late
    with store_of(source, tmp_path) as store, ThreadPoolExecutor(4) as pool:
        reads = [pool.submit(store.read, 0, 0, 10) for _ in range(4)]

        assert all(isinstance(read.exception(), SpanUnreadable) for read in reads)
        assert len(source.fetched) < 4


def test_wrong_bytes_are_never_given(tmp_path):
    source = source_of()
    source.change = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    with store_of(source, tmp_path) as store:
        with pytest.raises(SpanUnreadable, match="hashes to"):
            store.read(0, 0, 10)
        assert list(tmp_path.glob("[!l]*")) == []


def test_a_span_with_wrong_bytes_is_fetched_once_more(tmp_path):
    source = source_of()
    wrong = iter([b"wrong"])
    source.change = lambda data: data[:-5] + next(wrong, data[-5:])
    with store_of(source, tmp_path) as store:
        spans = spans_in(store)
        assert store.read(0, 0, spans[2].uncompressed_end) == TAR[: spans[2].uncompressed_end]

    assert source.fetched == [(spans[0].start, spans[2].end), (spans[2].start, spans[2].end)]


def test_a_wrong_span_fails_alone(tmp_path):
    source = source_of()
    source.change = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    with store_of(source, tmp_path) as store:
        spans = spans_in(store)
        with pytest.raises(SpanUnreadable, match=r"span 2 .*hashes to"):
            store.read(0, 0, spans[2].uncompressed_end)
        source.before = fail_with(RegistryUnavailable("not needed"))

        assert store.read(0, 0, spans[1].uncompressed_end) == TAR[: spans[1].uncompressed_end]


def test_a_short_answer_is_an_error(tmp_path):
    source = source_of()
    source.change = lambda data: data[:-1]
    with store_of(source, tmp_path) as store, pytest.raises(SpanUnreadable, match="bytes, want"):
        store.read(0, 0, 10)


def test_a_fetch_that_hangs_ends_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(span_fetch, "FETCH_SECONDS", 0.2)
    source = source_of()
    source.before = lambda _start, _end: cancellable_sleep(60)
    with store_of(source, tmp_path) as store, pytest.raises(SpanUnreadable, match="not there after 0 s"):
        store.read(0, 0, 10)


def test_the_end_of_the_store_ends_its_fetches(tmp_path):
    source = source_of()
    started = threading.Event()

    def hang(_start: int, _end: int) -> None:
        started.set()
        cancellable_sleep(60)

    source.before = hang
    with ThreadPoolExecutor(1) as pool:
        with store_of(source, tmp_path) as store:
            read = pool.submit(store.read, 0, 0, 10)
            assert started.wait(5)
        assert "the mount ends" in str(read.exception(5))


def test_after_a_cancel_only_what_is_there_can_be_read(tmp_path):
    source = source_of()
    with store_of(source, tmp_path) as store:
        assert store.read(0, 0, 10) == TAR[:10]
        store.cancel()
        assert store.read(0, 0, 10) == TAR[:10]
        with pytest.raises(SpanUnreadable, match="the mount ends"):
            store.read(0, 300_000, 300_010)
        assert len(source.fetched) == 1


def test_bytes_outside_the_layer_are_an_error(tmp_path):
    with store_of(source_of(), tmp_path) as store, pytest.raises(SpanUnreadable, match="outside"):
        store.read(0, len(TAR), len(TAR) + 10)


# --- layers without a zTOC


def test_layers_without_a_ztoc_are_loaded_whole_with_progress(tmp_path):
    layers = [
        gzip_of(TAR),
        zstandard.compress(TAR),
        PLAIN,
        gzip_of(tar_of(symlink("l", "a"), file("b", b"b"))),
    ]
    source = source_of(image_of(*layers))
    progress = Watcher()
    with cache_in(tmp_path) as cache, store_over(source, cache, progress) as store:
        assert store.read(0, 0, 700_000) == store.read(1, 0, 700_000) == TAR[:700_000]
        assert store.read(2, 1_000, 9_000) == PLAIN[1_000:9_000]
        assert [layer.spans for layer in store.layers] == [None] * 4
        tree = FileSystem.of([layer.entries for layer in store.layers])
        assert [node.path for node in tree.walk()][:3] == [b"/b", b"/end", b"/etc"]
        assert store.spans_of(0, 0, 100) == range(0)

    assert source.streams == 4
    assert len(progress.finished) == 4
    assert sum(progress.advanced.values()) == sum(map(len, layers))


def test_a_whole_layer_is_loaded_once_for_two_mounts(tmp_path):
    source = source_of(image_of(LAYER))
    with store_of(source, tmp_path) as one, store_of(source, tmp_path) as other:
        assert one.read(0, 5, 500) == other.read(0, 5, 500) == TAR[5:500]
        assert one.layers[0].entries == other.layers[0].entries

    assert source.streams == 1


def test_a_damaged_whole_layer_is_an_error_at_once(tmp_path):
    source = source_of(image_of(LAYER))
    source.change = lambda data: data[:-1] + b"x"
    with pytest.raises((DigestMismatch, DamagedLayer)), store_of(source, tmp_path):
        pass
    assert list(tmp_path.glob("[!l]*")) == []


def test_a_whole_layer_that_the_cache_lost_is_loaded_again(tmp_path):
    source = source_of(image_of(LAYER))
    with store_of(source, tmp_path) as store:
        (kept,) = tmp_path.glob("*-0")
        data = bytearray(kept.read_bytes())
        data[1_000] ^= 1
        kept.write_bytes(data)

        assert store.read(0, 0, 2_000) == TAR[:2_000]
        assert source.streams == 2


# --- hostile zTOCs


def test_spans_that_expand_more_than_deflate_can_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("soci.mount.span_layer.MAX_RATIO", 1)
    with pytest.raises(InvalidZtoc, match="span 0 cannot be bytes"), store_of(source_of(), tmp_path):
        pass


def test_more_spans_than_any_layer_has_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("soci.mount.span_store.MAX_SPANS", 3)
    with pytest.raises(InvalidZtoc, match="spans, the limit is 3"), store_of(source_of(), tmp_path):
        pass


def test_a_ztoc_of_another_layer_is_refused_or_gives_no_bytes(tmp_path):
    other = gzip_of(tar_of(file("other", text(700 * KIB, "other"))))
    image = image_of(LAYER)
    mixed = with_soci_index(image, ztocs={0: bytes(index_layer(other).ztoc)})
    with store_of(source_of(mixed), tmp_path) as store, pytest.raises(SpanUnreadable, match="hashes to"):
        store.read(0, 0, 10)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_large_spans_come_through_a_file_piece_by_piece(tmp_path, layer, monkeypatch):
    monkeypatch.setattr(span_fetch, "LARGE_SPAN_BYTES", 9_000)
    monkeypatch.setattr(span_fetch, "MAX_JOINED_BYTES", 7_000)
    tar = PLAIN if layer is PLAIN else TAR
    source = source_of(with_soci_index(image_of(layer)) if layer is not LAYERS["zstd"] else image_of(layer))
    with store_of(source, tmp_path) as store:
        end = max(one.uncompressed_offset + one.uncompressed_size for one in store.layers[0].entries)

        assert store.read(0, 0, end) == tar[:end]
        assert all(to - from_ <= 9_000 for from_, to in source.fetched)
        assert store.counts.spans_fetched == len(spans_in(store))
        assert list(tmp_path.glob(".*")) == []


def test_a_large_span_with_wrong_bytes_is_never_given(tmp_path, monkeypatch):
    monkeypatch.setattr(span_fetch, "LARGE_SPAN_BYTES", 9_000)
    source = source_of()
    source.change = lambda data: data[:-1] + b"x"
    with store_of(source, tmp_path) as store, pytest.raises(SpanUnreadable, match="hashes to"):
        store.read(0, 0, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize("seed", range(25))
def test_any_ztoc_gives_bytes_or_an_error_of_ours(tmp_path, seed):
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    ztoc = bytearray(index_layer(LAYER).ztoc)
    windows_end = (
        len(ztoc) - 3_000
    )  # the tables stand at the end: the windows of checkpoints are most of a zTOC
    for _ in range(random.choice([1, 3, 20])):
        at = random.randrange(random.choice([0, windows_end]), len(ztoc))
        ztoc[at] = random.choice([0, 1, 127, 128, 255, ztoc[at] ^ 1])
    image = with_soci_index(image_of(LAYER), ztocs={0: bytes(ztoc)})
    with suppress(SociError), store_of(source_of(image), tmp_path) as store:
        end = spans_in(store)[-1].uncompressed_end
        for at in range(0, end, 100_000):
            with suppress(SpanUnreadable):
                assert len(store.read(0, at, min(at + 100_000, end))) == min(100_000, end - at)


def test_more_entries_than_any_image_has_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("soci.mount.span_store.MAX_ENTRIES", 5)
    image = with_soci_index(image_of(LAYER, LAYER[:-8] + LAYER[-8:], zstandard.compress(TAR)), skip=[2])
    with pytest.raises(InvalidZtoc, match="more than 5 entries"), store_of(source_of(image), tmp_path):
        pass


def test_larger_ztocs_than_any_image_has_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("soci.mount.span_store.MAX_ZTOCS_BYTES", 1_000)
    with pytest.raises(InvalidZtoc, match="the limit is 1000"), store_of(source_of(), tmp_path):
        pass


# --- reading ahead


def test_a_file_that_is_read_in_order_is_fetched_ahead(tmp_path):
    content = noise(6 << 20)
    image = with_soci_index(image_of(gzip_of(tar_of(file("big", content)))), span_size_bytes=256 * KIB)
    source = source_of(image)
    source.before = lambda _start, _end: time.sleep(0.02)
    with store_of(source, tmp_path) as store:
        big = store.open_file(0, store.layers[0].entries[0])
        parts = []
        for at in range(0, len(content), 128 * KIB):
            parts.append(big.read(at, 128 * KIB))
            time.sleep(0.002)

        assert b"".join(parts) == content
        assert store.counts.spans_fetched == len(spans_in(store))
        assert store.counts.requests < len(spans_in(store))


def test_a_file_that_is_read_here_and_there_is_not_fetched_ahead(tmp_path):
    content = noise(6 << 20)
    image = with_soci_index(image_of(gzip_of(tar_of(file("big", content)))), span_size_bytes=256 * KIB)
    source = source_of(image)
    with store_of(source, tmp_path) as store:
        big = store.open_file(0, store.layers[0].entries[0])
        for at in (0, 5_100_000, 2_100_000, 4_100_000):
            assert big.read(at, 4096) == content[at : at + 4096]

        assert store.counts.spans_fetched == 4
        assert big.read(len(content) - 5, 100) == content[-5:]
        assert big.read(len(content), 100) == b""
