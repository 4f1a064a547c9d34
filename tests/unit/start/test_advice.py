from __future__ import annotations

from dataclasses import replace

import pytest

from soci.start.advice import Topic, advise, factor_text
from soci.start.image_start import estimate_ways
from soci.start.model import LayerLoad, NeededSpan, Program, Way
from soci.start.profile import make_profile
from soci.start.readers import MOUNT, SNAPSHOTTER, Network
from tests.builders import file, noise, text
from tests.unit.start.starts import SPAN, read, start_of

SPAN_BYTES = 4 << 20
SPARSE = [file(f"{n}", noise(2 * SPAN, str(n))) for n in range(20)]


def start(*reads, layers=(SPARSE,), **options):
    return start_of(make_profile(list(reads)), *layers, **options)


def answers(made):
    return {one.topic: one for one in advise(made)}


def loaded(*, spans: int, needed: int, **changes):
    """The start of an image of one layer with so many spans of 4 MiB, a third of it when compressed."""
    made = start(read("/0"))
    each = NeededSpan(number=0, compressed_bytes=SPAN_BYTES // 3, uncompressed_bytes=SPAN_BYTES)
    load = LayerLoad(
        compressed_bytes=spans * SPAN_BYTES // 3,
        uncompressed_bytes=spans * SPAN_BYTES,
        files=500,
        ztoc_bytes=spans * 33_000,
        needed=tuple(replace(each, number=number) for number in range(needed)),
    )
    program = Program(seconds=1, files=200)
    return replace(made, loads=(load,), program=program, span_size_bytes=SPAN_BYTES, **changes)


@pytest.mark.parametrize("reader", [SNAPSHOTTER, MOUNT], ids=lambda reader: reader.name)
@pytest.mark.parametrize("round_trip", [0.001, 0.02, 0.2])
@pytest.mark.parametrize("needed", [0, 5, 50, 100])
def test_the_index_advice_is_the_fastest_way(reader, round_trip, needed):
    network = Network(round_trip_seconds=round_trip, bandwidth_bytes_per_second=75e6)
    made = loaded(spans=100, needed=needed, reader=reader, network=network)

    choice = answers(made)[Topic.INDEX].choice

    times = {way: made.estimate(way).seconds for way in (Way.NO_INDEX, Way.LAZY, Way.PREFETCH)}
    assert times[Way(choice)] == min(times.values())


def test_a_start_that_reads_little_is_worth_an_index():
    found = answers(loaded(spans=100, needed=5))

    assert found[Topic.INDEX].choice == "prefetch"
    assert found[Topic.INDEX].sentence.startswith("index: ready in ")
    assert found[Topic.INDEX].sentence.endswith(" times as fast")
    assert found[Topic.WHOLE_LAYERS].choice == "no"


def test_a_start_that_reads_everything_over_a_slow_way_is_not():
    far = Network(round_trip_seconds=0.3, bandwidth_bytes_per_second=1e9)

    found = answers(loaded(spans=100, needed=100, network=far))

    assert found[Topic.INDEX].choice == "no-index"
    assert found[Topic.INDEX].sentence.startswith("do not index: ")
    assert found[Topic.INDEX].sentence.endswith(" times as slow lazily")
    assert found[Topic.WHOLE_LAYERS].choice == "0"
    assert found[Topic.WHOLE_LAYERS].numbers["saved_seconds"] > 10
    assert found[Topic.WHOLE_LAYERS].sentence.startswith(
        "no zTOC for layer 0, of which the start reads at least 100%"
    )


def test_an_index_may_pay_only_with_prefetch():
    found = answers(loaded(spans=100, needed=90))

    assert found[Topic.INDEX].sentence.startswith("index only for readers with prefetch: ")


def test_the_prefetch_list_has_its_cost_and_whether_it_fits_the_owners_limit():
    few = answers(loaded(spans=1000, needed=60))[Topic.PREFETCH]
    slow = Network(round_trip_seconds=0.02, bandwidth_bytes_per_second=2e6)
    many = answers(loaded(spans=1000, needed=60, network=slow))[Topic.PREFETCH]

    assert (few.choice, few.numbers["spans"]) == ("yes", 60)
    assert few.numbers["bytes"] == 60 * (SPAN_BYTES // 3)
    assert few.sentence.startswith("prefetch: 60 spans of layer 0, 83.9 MB, ")
    assert few.sentence.endswith(", within its 30 s")
    assert many.sentence.endswith(", NOT within its 30 s")
    assert many.numbers["owner_seconds"] > 30


def test_nothing_to_prefetch_is_no_prefetch():
    made = start(read("/0"), layers=(SPARSE,), without_ztoc=())
    made = replace(made, loads=(replace(made.loads[0], needed=()),))

    assert answers(made)[Topic.PREFETCH].choice == "no"


def test_spans_that_hold_little_of_what_is_needed_should_be_smaller():
    near = Network(round_trip_seconds=0, bandwidth_bytes_per_second=1e5)
    layer = [file(f"{n}", text(4 << 20, "same") if n % 2 else b"small") for n in range(6)]
    made = start(*(read(f"/{n}") for n in range(0, 6, 2)), layers=(layer,), network=near, gzip=True)
    made = replace(made, span_size_bytes=16 << 20)

    found = answers(made)[Topic.SPAN_SIZE]

    assert int(found.choice) < 16 << 20
    assert found.sentence.startswith("take spans of ")


def test_the_span_size_is_kept_when_another_saves_little():
    found = answers(start(read("/0", (0, 9, 0))))[Topic.SPAN_SIZE]

    assert found.choice == str(SPAN)
    assert found.sentence.startswith("keep spans of 64 KiB: a lazy start takes ")


def test_start_first_pays_when_what_is_needed_lies_apart():
    far = Network(round_trip_seconds=0.2, bandwidth_bytes_per_second=75e6)
    layer = [file(f"{n}", noise(SPAN if n % 2 else 100, str(n))) for n in range(60)]
    apart = start(*(read(f"/{n}") for n in range(0, 60, 2)), layers=(layer,), network=far)
    together = start(read("/0"), read("/2"), layers=(layer,), network=far)

    pays, does_not = (answers(made)[Topic.START_FIRST] for made in (apart, together))

    assert (pays.choice, does_not.choice) == ("yes", "no")
    assert pays.numbers["stored_bytes"] == apart.compressed_bytes
    assert pays.numbers["requests"] < apart.estimate(Way.PREFETCH).requests


def test_a_profile_that_no_longer_fits_is_to_be_recorded_again():
    some = answers(start(read("/0"), read("/1"), read("/gone")))[Topic.PROFILE]
    most = answers(start(read("/0"), read("/gone"), read("/lost")))[Topic.PROFILE]

    assert (some.choice, some.numbers) == ("keep", {"missing": 1, "found": 2})
    assert (most.choice, most.numbers) == ("record", {"missing": 2, "found": 1})
    assert most.sentence == "2 of the profile's 3 files are not in this image: record a new one"


@pytest.mark.parametrize("reads", [[], [read("/gone")]], ids=["empty", "other image"])
def test_a_profile_without_a_file_of_the_image_advises_nothing_else(reads):
    (only,) = advise(start(*reads))

    assert (only.topic, only.choice) == (Topic.PROFILE, "record")


def test_an_image_without_a_ztoc_has_no_lazy_way():
    made = start(read("/0"), without_ztoc=(0,))

    assert [way.name for way in estimate_ways(made)] == ["no-index", "parallel-pull"]
    assert [(one.topic, one.choice) for one in advise(made)] == [(Topic.INDEX, "no-index")]


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (2.04, "2.0 times as fast"),
        (0.5, "2.0 times as slow"),
        (1.049, "about as fast"),
        (0.96, "about as fast"),
    ],
)
def test_a_factor_near_one_is_no_difference(factor, expected):
    assert factor_text(factor) == expected


def test_each_answer_is_one_line():
    for one in advise(loaded(spans=100, needed=90)):
        assert "\n" not in one.sentence
        assert one.sentence
