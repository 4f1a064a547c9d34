from __future__ import annotations

from dataclasses import replace

import pytest

from soci.start.model import LayerLoad, NeededSpan
from soci.start.readers import DEFAULT_NETWORK, Network
from soci.start.whole_layers import plan_whole_layers, share_needed, without_ztoc

SPAN = 4 << 20


def layer(spans: int, needed: int, *, files: int = 100) -> LayerLoad:
    """A layer of so many spans, each a third of its size when compressed."""
    return LayerLoad(
        compressed_bytes=spans * SPAN // 3,
        uncompressed_bytes=spans * SPAN,
        files=files,
        ztoc_bytes=spans * 33_000,
        needed=tuple(
            NeededSpan(number=n, compressed_bytes=SPAN // 3, uncompressed_bytes=SPAN) for n in range(needed)
        ),
    )


def test_a_layer_that_is_read_whole_is_loaded_whole():
    assert plan_whole_layers([layer(40, 5), layer(40, 40), layer(40, 0)]) == {1}


@pytest.mark.parametrize(("needed", "expected"), [(79, set()), (85, {0})])
def test_less_than_nearly_whole_stays_lazy_however_slow_the_network(needed, expected):
    far = Network(round_trip_seconds=1, bandwidth_bytes_per_second=1e9)

    assert plan_whole_layers([layer(100, needed)], network=far) == expected


def test_a_layer_read_nearly_whole_stays_lazy_when_unpacking_takes_longer():
    near = Network(round_trip_seconds=0, bandwidth_bytes_per_second=1e9)

    assert plan_whole_layers([layer(100, 81, files=200_000)], network=near) == set()


def test_a_layer_without_a_ztoc_is_not_named():
    assert plan_whole_layers([without_ztoc(layer(10, 10)), layer(10, 10)]) == {1}


def test_an_image_without_layers_or_bytes_has_none():
    empty = LayerLoad(compressed_bytes=0, uncompressed_bytes=0, files=0, ztoc_bytes=10)

    assert plan_whole_layers([]) == set()
    assert plan_whole_layers([empty]) == set()
    assert share_needed(empty) == 0


def test_each_layer_is_judged_with_those_that_are_whole_already():
    # Alone, each is a little faster whole. Unpacking a third one would have to wait for one of two cores.
    tight = replace(DEFAULT_NETWORK, round_trip_seconds=0.016)
    layers = [layer(100, 82) for _ in range(3)]

    alone = plan_whole_layers(layers[:1], network=tight)
    together = plan_whole_layers(layers, network=tight)

    assert alone == {0}
    assert together >= {0, 1}
