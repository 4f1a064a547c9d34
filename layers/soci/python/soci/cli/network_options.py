"""Options of commands that estimate a start: the network and the reader."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from soci.start.readers import DEFAULT_NETWORK, READERS, SNAPSHOTTER, Network, Reader

_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)\s*"
_TIME = re.compile(_NUMBER + r"(|ms|s)")
_RATE = re.compile(_NUMBER + r"(|[kMG]B/s|[kMG]bit/s)")
_SECONDS = {"": 1e-3, "ms": 1e-3, "s": 1.0}
_PREFIXES = {"k": 1e3, "M": 1e6, "G": 1e9}

_MAX_SECONDS = 60
_MIN_RATE = 1e3
_MAX_RATE = 1e12


def parse_round_trip(text: str | float) -> float:
    """Read a time in milliseconds or with a unit: 20, 20ms, 0.02s. Returns seconds. Raises typer.BadParameter."""
    if isinstance(text, float):
        return text
    match = _TIME.fullmatch(str(text).strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else -1
    if not 0 <= seconds <= _MAX_SECONDS:
        raise typer.BadParameter(
            f"{text[:40]!r} is not a round trip of 0 ms to {_MAX_SECONDS} s; write it as 20, 20ms or 0.02s"
        )
    return seconds


def parse_bandwidth(text: str | float) -> float:
    """Read a rate in MB/s or with a unit: 75, 75MB/s, 600Mbit/s. Returns bytes a second. Raises typer.BadParameter."""
    if isinstance(text, float):
        return text
    match = _RATE.fullmatch(str(text).strip())
    rate = 0.0
    if match:
        unit = match[2] or "MB/s"
        rate = float(match[1]) * _PREFIXES[unit[0]] / (8 if "bit" in unit else 1)
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise typer.BadParameter(
            f"{text[:40]!r} is not a bandwidth of 1 kB/s to 1000 GB/s; write it as 75, 75MB/s or 600Mbit/s"
        )
    return rate


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """Where a start is estimated."""

    rtt: Annotated[
        float,
        typer.Option(
            "--rtt",
            parser=parse_round_trip,
            metavar="TIME",
            help="Round trip to the registry, such as 20ms.",
            show_default="20 ms",
        ),
    ] = DEFAULT_NETWORK.round_trip_seconds
    bandwidth: Annotated[
        float,
        typer.Option(
            "--bandwidth",
            parser=parse_bandwidth,
            metavar="RATE",
            help="Bandwidth from the registry, such as 75MB/s or 600Mbit/s.",
            show_default="75 MB/s",
        ),
    ] = DEFAULT_NETWORK.bandwidth_bytes_per_second

    def network(self) -> Network:
        """Return the network."""
        return Network(round_trip_seconds=self.rtt, bandwidth_bytes_per_second=self.bandwidth)


ReaderName = Literal["snapshotter", "mount"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateOptions(NetworkOptions):
    """What a start is estimated for."""

    reader: Annotated[
        ReaderName,
        typer.Option("--reader", help="The owner's snapshotter with containerd, or `soci-index mount`."),
    ] = "snapshotter"
    run_seconds: Annotated[
        float | None,
        typer.Option(
            "--run-seconds",
            min=0,
            max=86_400,
            metavar="NUMBER",
            help="How long the program takes when all it reads is there. By default until its last new read.",
            show_default=False,
        ),
    ] = None

    def chosen_reader(self) -> Reader:
        """Return the constants of the reader."""
        return READERS.get(self.reader, SNAPSHOTTER)
