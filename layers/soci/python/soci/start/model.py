"""How long a start takes: seconds, bytes and requests until the program is ready, for each way to load an image.

Each way has two parts. The pull ends when the program starts. The run ends when it has read what a start reads.
docs/start.md has each formula in words, and how far it is from what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from soci.start.readers import Network, Reader

RANGE_BYTES = 8 << 20
"""What one request of a parallel pull asks for: the owner's advice for Amazon ECR."""


class Way(StrEnum):
    """The ways to load an image."""

    NO_INDEX = "no-index"
    """All layers are pulled, and unpacked one after the other."""
    PARALLEL_PULL = "parallel-pull"
    """All layers are pulled in ranges side by side, and unpacked side by side."""
    LAZY = "lazy"
    """Each span is fetched when the program waits for it."""
    PREFETCH = "prefetch"
    """The spans that the start needs are fetched side by side, before the program starts."""

    @property
    def is_lazy(self) -> bool:
        """Whether the way needs an index."""
        return self in (Way.LAZY, Way.PREFETCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededSpan:
    """A span that a start needs."""

    number: int
    compressed_bytes: int
    uncompressed_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLoad:
    """What the model knows of a layer."""

    compressed_bytes: int
    uncompressed_bytes: int
    files: int
    """Entries of its tar."""
    ztoc_bytes: int | None
    """None for a layer without a zTOC: it is loaded whole before the start."""
    needed: tuple[NeededSpan, ...] = ()
    """In the order of need."""

    @property
    def needed_bytes(self) -> int:
        """The compressed bytes of all needed spans."""
        return sum(span.compressed_bytes for span in self.needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What the program itself does."""

    seconds: float
    """Until it is ready, when all it reads is there."""
    files: int
    """The files that it reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a start takes."""

    pull_seconds: float
    run_seconds: float
    bytes: int
    """Fetched until the program is ready."""
    requests: int

    @property
    def seconds(self) -> float:
        """From the command until the program is ready."""
        return self.pull_seconds + self.run_seconds


def estimate(
    way: Way, layers: Sequence[LayerLoad], program: Program, network: Network, reader: Reader
) -> Estimate:
    """Estimate a start. Layers are listed from the bottom up."""
    setup = reader.setup_seconds + reader.setup_requests * network.round_trip_seconds
    if way is Way.NO_INDEX:
        return Estimate(
            pull_seconds=setup + _one_after_the_other(layers, network, reader),
            run_seconds=program.seconds,
            bytes=_compressed(layers),
            requests=reader.setup_requests + len(layers),
        )
    if way is Way.PARALLEL_PULL:
        return Estimate(
            pull_seconds=setup + _side_by_side(layers, network, reader),
            run_seconds=program.seconds,
            bytes=_compressed(layers),
            requests=reader.setup_requests + sum(-(-one.compressed_bytes // RANGE_BYTES) for one in layers),
        )
    return _estimate_lazy(way, layers, program, network, reader)


def _estimate_lazy(
    way: Way, layers: Sequence[LayerLoad], program: Program, network: Network, reader: Reader
) -> Estimate:
    whole = [one for one in layers if one.ztoc_bytes is None]
    lazy = [one for one in layers if one.ztoc_bytes is not None]
    ztoc_bytes = sum(one.ztoc_bytes or 0 for one in lazy)
    pull = reader.setup_seconds + reader.setup_requests * network.round_trip_seconds
    pull += network.round_trip_seconds * bool(lazy) + ztoc_bytes / network.bandwidth_bytes_per_second
    pull += _side_by_side(whole, network, reader)
    requests = reader.setup_requests + len(layers)
    spans = [span for one in lazy for span in one.needed]
    run = program.seconds + program.files * reader.file_seconds * bool(lazy)
    if way is Way.PREFETCH:
        fetched = _requests_of_prefetch(lazy, reader)
        seconds = prefetch_seconds(spans, fetched, network, reader)
        share = min(1.0, reader.prefetch_limit_seconds / seconds) if seconds else 1.0
        pull += seconds * share
        run += share * sum(one.uncompressed_bytes for one in spans) / reader.prefetched_bytes_per_second
        run += (1 - share) * _waits(spans, network, reader)
        requests += round(share * fetched + (1 - share) * len(spans))
    else:
        run += _waits(spans, network, reader)
        requests += len(spans)
    return Estimate(
        pull_seconds=pull,
        run_seconds=run,
        bytes=ztoc_bytes + _compressed(whole) + sum(one.compressed_bytes for one in spans),
        requests=requests,
    )


def prefetch_seconds(spans: Sequence[NeededSpan], requests: int, network: Network, reader: Reader) -> float:
    """Return how long it takes to fetch spans side by side: the round trips are shared by the workers."""
    if not spans:
        return 0.0
    rounds = -(-requests // reader.prefetch_workers)
    size_bytes = sum(one.compressed_bytes for one in spans)
    return rounds * network.round_trip_seconds + size_bytes / network.bandwidth_bytes_per_second


def _requests_of_prefetch(layers: Iterable[LayerLoad], reader: Reader) -> int:
    """Count the requests for all needed spans of some layers."""
    count = 0
    for layer in layers:
        spans = sorted(layer.needed, key=lambda span: span.number)
        count += len(spans)
        joined = spans[0].compressed_bytes if spans else 0
        for before, after in pairwise(spans):
            joined += after.compressed_bytes
            if after.number == before.number + 1 and joined <= reader.prefetch_request_bytes:
                count -= 1
            else:
                joined = after.compressed_bytes
    return count


def _waits(spans: Sequence[NeededSpan], network: Network, reader: Reader) -> float:
    """Return how long the program waits for spans that come one by one."""
    compressed = sum(span.compressed_bytes for span in spans)
    uncompressed = sum(span.uncompressed_bytes for span in spans)
    return (
        len(spans) * network.round_trip_seconds
        + compressed / network.bandwidth_bytes_per_second
        + uncompressed / reader.span_bytes_per_second
    )


def _one_after_the_other(layers: Sequence[LayerLoad], network: Network, reader: Reader) -> float:
    """Return how long it takes to load layers that are unpacked in order, each when it is there."""
    arrived = unpacked = network.round_trip_seconds * bool(layers)
    for layer in layers:
        arrived += layer.compressed_bytes / network.bandwidth_bytes_per_second
        seconds = _unpack_seconds(layer, reader)
        if reader.unpacks_while_downloading:
            unpacked = max(arrived, unpacked + seconds)
        else:
            unpacked = max(arrived, unpacked) + seconds
    return unpacked


def _side_by_side(layers: Sequence[LayerLoad], network: Network, reader: Reader) -> float:
    """Return how long it takes to load layers whose bytes come together, and which are unpacked side by side."""
    if not layers:
        return 0.0
    download = _compressed(layers) / network.bandwidth_bytes_per_second
    each = [_unpack_seconds(layer, reader) for layer in layers]
    unpack = max(*each, sum(each) / min(reader.unpacks_at_once, len(each)))
    together = max(download, unpack) if reader.unpacks_while_downloading else download + unpack
    return network.round_trip_seconds + together


def _unpack_seconds(layer: LayerLoad, reader: Reader) -> float:
    return (
        layer.uncompressed_bytes / reader.unpack_bytes_per_second + layer.files * reader.unpack_file_seconds
    )


def _compressed(layers: Iterable[LayerLoad]) -> int:
    return sum(layer.compressed_bytes for layer in layers)
