from __future__ import annotations

from dataclasses import replace

import pytest

from soci.errors import InvalidOption
from soci.start.model import RANGE_BYTES, LayerLoad, NeededSpan, Program, Way, estimate
from soci.start.readers import DEFAULT_NETWORK, MOUNT, READERS, SNAPSHOTTER, Network, Reader

MB = 1_000_000
NETWORK = Network(round_trip_seconds=0.1, bandwidth_bytes_per_second=10 * MB)
READER = Reader(
    name="round numbers",
    setup_seconds=0.5,
    setup_requests=2,
    span_bytes_per_second=100 * MB,
    prefetched_bytes_per_second=200 * MB,
    file_seconds=0.01,
    prefetch_workers=2,
    prefetch_request_bytes=0,
    prefetch_limit_seconds=30,
    unpack_bytes_per_second=20 * MB,
    unpack_file_seconds=0.001,
    unpacks_while_downloading=False,
    unpacks_at_once=2,
)
PROGRAM = Program(seconds=1, files=10)


def span(number: int) -> NeededSpan:
    return NeededSpan(number=number, compressed_bytes=1 * MB, uncompressed_bytes=4 * MB)


LAYER = LayerLoad(
    compressed_bytes=10 * MB,
    uncompressed_bytes=40 * MB,
    files=100,
    ztoc_bytes=MB // 10,
    needed=(span(7), span(3), span(4)),
)
WHOLE = replace(LAYER, ztoc_bytes=None, needed=())


def test_without_an_index_each_layer_is_unpacked_when_it_has_come_and_those_below_are_done():
    made = estimate(Way.NO_INDEX, [LAYER, LAYER], PROGRAM, NETWORK, READER)

    # setup 0.5 + 2 x 0.1; a round trip; the first layer 1 s, unpacked in 2.1 s; the second is there by then.
    assert made.pull_seconds == pytest.approx(0.7 + 0.1 + 1 + 2.1 + 2.1)
    assert made.run_seconds == PROGRAM.seconds
    assert (made.bytes, made.requests) == (20 * MB, 4)


def test_a_slow_network_is_waited_for_before_the_next_layer_is_unpacked():
    slow = replace(NETWORK, bandwidth_bytes_per_second=MB)

    made = estimate(Way.NO_INDEX, [LAYER, LAYER], PROGRAM, slow, READER)

    assert made.pull_seconds == pytest.approx(0.7 + 0.1 + 20 + 2.1)


def test_a_parallel_pull_unpacks_layers_side_by_side():
    made = estimate(Way.PARALLEL_PULL, [LAYER, LAYER, LAYER], PROGRAM, NETWORK, READER)

    assert made.pull_seconds == pytest.approx(0.7 + 0.1 + 3 + 3 * 2.1 / 2)
    assert made.requests == 2 + 3 * -(-10 * MB // RANGE_BYTES)


def test_a_reader_that_unpacks_while_downloading_takes_the_longer_of_both():
    made = [
        estimate(way, [LAYER], PROGRAM, NETWORK, replace(READER, unpacks_while_downloading=True))
        for way in (Way.NO_INDEX, Way.PARALLEL_PULL)
    ]

    assert [one.pull_seconds for one in made] == pytest.approx([0.7 + 0.1 + 2.1] * 2)


def test_a_lazy_start_waits_for_each_span_by_itself():
    made = estimate(Way.LAZY, [LAYER], PROGRAM, NETWORK, READER)

    assert made.pull_seconds == pytest.approx(0.7 + 0.1 + 0.01)
    assert made.run_seconds == pytest.approx(1 + 10 * 0.01 + 3 * (0.1 + 0.1 + 0.04))
    assert (made.bytes, made.requests) == (3 * MB + MB // 10, 2 + 1 + 3)


def test_a_layer_without_a_ztoc_is_loaded_before_a_lazy_start():
    made = estimate(Way.LAZY, [WHOLE, LAYER], PROGRAM, NETWORK, READER)

    assert made.pull_seconds == pytest.approx(0.7 + 0.1 + 0.01 + 0.1 + 1 + 2.1)
    assert made.bytes == 13 * MB + MB // 10


def test_prefetched_spans_share_round_trips_and_are_inflated_in_the_run():
    made = estimate(Way.PREFETCH, [LAYER], PROGRAM, NETWORK, READER)

    # Three requests by two workers are two rounds.
    assert made.pull_seconds == pytest.approx(0.7 + 0.1 + 0.01 + 2 * 0.1 + 0.3)
    assert made.run_seconds == pytest.approx(1 + 10 * 0.01 + 12 / 200)
    assert made.requests == 2 + 1 + 3


def test_neighbouring_spans_are_one_request_for_a_reader_that_joins_them():
    def requests(size_bytes: int) -> int:
        return estimate(
            Way.PREFETCH, [LAYER, LAYER], PROGRAM, NETWORK, replace(READER, prefetch_request_bytes=size_bytes)
        ).requests

    assert [requests(size) for size in (0, 2 * MB - 1, 2 * MB)] == [10, 10, 8]


def test_what_does_not_come_within_the_limit_is_read_lazily():
    limited = replace(READER, prefetch_limit_seconds=0.25)

    made = estimate(Way.PREFETCH, [LAYER], PROGRAM, NETWORK, limited)

    # Half of it comes in time.
    assert made.pull_seconds == pytest.approx(0.7 + 0.1 + 0.01 + 0.25)
    assert made.run_seconds == pytest.approx(1.1 + (12 / 200) / 2 + 3 * 0.24 / 2)


def test_an_image_without_layers_takes_the_setup_and_the_program():
    for way in Way:
        made = estimate(way, [], PROGRAM, NETWORK, READER)

        assert made.seconds == pytest.approx(0.7 + 1)
        assert made.bytes == 0


@pytest.mark.parametrize("way", list(Way))
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_a_better_network_is_never_slower(way, reader):
    layers = [LAYER, WHOLE]

    times = [
        estimate(
            way, layers, PROGRAM, Network(round_trip_seconds=trip, bandwidth_bytes_per_second=rate), reader
        )
        for trip, rate in ((0.2, 1e6), (0.02, 1e6), (0.02, 75e6), (0.0, 1e9))
    ]

    assert [one.seconds for one in times] == sorted((one.seconds for one in times), reverse=True)
    assert len({(one.bytes, one.requests) for one in times}) == 1


def test_a_network_that_cannot_be_is_refused():
    with pytest.raises(InvalidOption, match="no network"):
        Network(round_trip_seconds=-1, bandwidth_bytes_per_second=1)
    with pytest.raises(InvalidOption, match="no network"):
        Network(round_trip_seconds=0, bandwidth_bytes_per_second=0)
    assert str(DEFAULT_NETWORK) == "20 ms and 75 MB/s"


def test_the_readers_are_known_by_name():
    assert {"snapshotter": SNAPSHOTTER, "mount": MOUNT} == READERS
