"""The constants of the time estimate: what a network and a reader of images take (docs/start.md, "The constants").

This is the one place for them. `bench/start/fit.py` finds them from measured starts.
"""

from __future__ import annotations

from dataclasses import dataclass

from soci.errors import InvalidOption


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The way from the registry to the reader."""

    round_trip_seconds: float
    """From a request to the first byte of its answer."""
    bandwidth_bytes_per_second: float
    """Shared by all requests that run at a time."""

    def __post_init__(self) -> None:
        if self.round_trip_seconds < 0 or self.bandwidth_bytes_per_second <= 0:
            raise InvalidOption(f"{self} is no network: want a round trip of 0 or more, bandwidth above 0")

    def __str__(self) -> str:
        return f"{self.round_trip_seconds * 1e3:g} ms and {self.bandwidth_bytes_per_second / 1e6:g} MB/s"


DEFAULT_NETWORK = Network(round_trip_seconds=0.020, bandwidth_bytes_per_second=75e6)
"""A registry in the same region: the network of the measured table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What starts a container, and how fast it is. Rates are of uncompressed bytes."""

    name: str
    setup_seconds: float
    """From the command to the start of the program, besides what is fetched."""
    setup_requests: int
    """One after the other, before a layer or a zTOC can be asked for: tag, manifest, config, SOCI index."""
    span_bytes_per_second: float
    """A span that the program waits for: checked, inflated, kept, and read by the program."""
    prefetched_bytes_per_second: float
    """What is left to do when the program first reads a span that was prefetched."""
    file_seconds: float
    """What reading through the file system adds to the program, for each file it reads."""
    prefetch_workers: int
    """Requests at a time while prefetching."""
    prefetch_request_bytes: int
    """Neighbouring spans are asked for together up to so many compressed bytes. 0: one request a span."""
    prefetch_limit_seconds: float
    """Prefetching ends then. What has not come is read when it is needed."""
    unpack_bytes_per_second: float
    """A whole layer: inflated and written as files, by one core."""
    unpack_file_seconds: float
    """What unpacking takes for each file, besides its bytes."""
    unpacks_while_downloading: bool
    unpacks_at_once: int
    """Layers that are unpacked side by side where this is done at all."""


SNAPSHOTTER = Reader(
    name="snapshotter",
    setup_seconds=0.73,
    setup_requests=5,
    span_bytes_per_second=92e6,
    prefetched_bytes_per_second=1e9,
    file_seconds=0.0,
    prefetch_workers=2,
    prefetch_request_bytes=0,
    prefetch_limit_seconds=30.0,
    unpack_bytes_per_second=180e6,
    unpack_file_seconds=80e-6,
    unpacks_while_downloading=False,
    unpacks_at_once=2,
)
"""The owner's snapshotter on 2 cores, and containerd for whole layers. Fitted to `bench/start/snapshotter.json`."""

MOUNT = Reader(
    name="mount",
    setup_seconds=0.57,
    setup_requests=4,
    span_bytes_per_second=234e6,
    prefetched_bytes_per_second=374e6,
    file_seconds=0.17e-3,
    prefetch_workers=8,
    prefetch_request_bytes=8 << 20,
    prefetch_limit_seconds=30.0,
    unpack_bytes_per_second=143e6,
    unpack_file_seconds=80e-6,
    unpacks_while_downloading=False,
    unpacks_at_once=2,
)
"""`soci-index mount` on 2 cores."""

READERS = {reader.name: reader for reader in (SNAPSHOTTER, MOUNT)}
