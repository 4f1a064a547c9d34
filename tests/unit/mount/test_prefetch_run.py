from __future__ import annotations

import logging
import time

import pytest

from soci.errors import RegistryUnavailable
from soci.index.prefetch import SpanRange, encode_prefetch
from soci.mount import prefetch_run
from soci.mount.prefetch_run import PrefetchResult
from soci.places.cancellation import cancellable_sleep
from tests.builders import file, gzip_of, image_of, noise, tar_of, with_soci_index
from tests.unit.mount.stores import KIB, fail_with, source_of, spans_in, store_of

LAYERS = [gzip_of(tar_of(file(name, noise(1 << 20, name)))) for name in ("one", "two")]


def image_with(*artifacts: bytes):
    """Both layers with spans of 64 KiB and these artifacts."""
    return with_soci_index(image_of(*LAYERS), prefetch=dict(enumerate(artifacts)))


def artifact(*ranges: tuple[int, int]) -> bytes:
    return encode_prefetch(SpanRange(start=start, end=end) for start, end in ranges).data


def test_the_named_spans_are_there_before_anything_is_read(tmp_path):
    source = source_of(image_with(artifact((4, 6), (0, 1)), artifact((2, 2))))
    with store_of(source, tmp_path) as store:
        result = store.prefetch()
        one, two = (layer.spans or () for layer in store.layers)

        assert result == PrefetchResult(layers=2, spans=6, late=0, failed=0)
        wanted = {(one[4].start, one[6].end), (one[0].start, one[1].end), (two[2].start, two[2].end)}
        assert set(source.fetched) == wanted
        store.read(0, one[4].uncompressed_start, one[6].uncompressed_end)
        assert len(source.fetched) == 3


def test_spans_that_are_named_twice_are_fetched_once(tmp_path):
    source = source_of(image_with(artifact((0, 3), (2, 5))))
    with store_of(source, tmp_path) as store:
        assert store.prefetch().spans == 6
        spans = spans_in(store)
    assert source.fetched == [(spans[0].start, spans[5].end)]


def test_neighbours_are_joined_up_to_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(prefetch_run, "MAX_JOINED_BYTES", 200 * KIB)
    source = source_of(image_with(artifact((0, 11))))
    with store_of(source, tmp_path) as store:
        store.prefetch()
    assert 3 < len(source.fetched) < 12


def test_what_is_late_goes_on_while_the_image_is_read(tmp_path):
    source = source_of(image_with(artifact((0, 3))))
    source.before = lambda _start, _end: time.sleep(0.3)
    with store_of(source, tmp_path) as store:
        began = time.monotonic()
        assert store.prefetch(seconds=0.05).late == 4
        assert time.monotonic() - began < 0.25
        store.read(0, 0, 10)
        assert len(source.fetched) == 1


def test_an_image_without_artifacts_has_nothing_to_prefetch(tmp_path):
    with store_of(source_of(image_with()), tmp_path) as store:
        assert store.prefetch() == PrefetchResult(layers=0, spans=0, late=0, failed=0)


BROKEN = {
    "no JSON": b"nonsense",
    "another version": artifact((0, 0)).replace(b"1.0", b"2.0"),
    "a span that the layer does not have": artifact((0, 100_000)),
    "deeply nested": b"[" * 100_000,
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_artifact_is_one_log_line(tmp_path, caplog, broken):
    source = source_of(image_with(broken, artifact((1, 1))))
    with caplog.at_level(logging.WARNING), store_of(source, tmp_path) as store:
        assert store.prefetch() == PrefetchResult(layers=1, spans=1, late=0, failed=0)

    assert [record.getMessage()[:17] for record in caplog.records] == ["prefetch of layer"]
    assert "\n" not in caplog.records[0].getMessage()


def test_spans_that_fail_are_one_log_line_and_are_fetched_when_they_are_read(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(prefetch_run, "MAX_JOINED_BYTES", 1)
    source = source_of(image_with(artifact((0, 3))))
    source.before = fail_with(RegistryUnavailable("cut"))
    with caplog.at_level(logging.WARNING), store_of(source, tmp_path) as store:
        assert store.prefetch() == PrefetchResult(layers=1, spans=4, late=0, failed=4)
        source.before = lambda _start, _end: None
        assert len(store.read(0, 0, 100)) == 100

    assert [record.getMessage()[:35] for record in caplog.records] == ["prefetch: 4 spans failed, the first"]


def test_the_end_of_the_mount_ends_a_prefetch(tmp_path):
    source = source_of(image_with(artifact((0, 0), (2, 2), (4, 4))))
    source.before = lambda _start, _end: cancellable_sleep(60)
    began = time.monotonic()
    with store_of(source, tmp_path) as store:
        assert store.prefetch(seconds=0.05).late == 3
    assert time.monotonic() - began < 5
