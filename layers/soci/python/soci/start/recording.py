"""What a recording of a start holds, in any of its formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from soci.start.gathered import GatheredReads

MAX_LINE_BYTES = 1 << 20
"""Longer lines are cut there. Nothing that is read from a line stands so late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The reads of a start, and what the reader of the recording has to say."""

    reads: GatheredReads
    program: bytes | None
    """The first program that was executed, if the recording tells."""
    executed: Mapping[bytes, int | None] = field(default_factory=dict)
    """The programs that were executed, with the time."""
    lines: int
    other_lines: int
    """Lines about something else."""
    notes: tuple[str, ...] = ()
    """Sentences about what could not be used."""


class Clock:
    """Times of a recording. If its first event has no time, no event has; later ones without have that before them."""

    def __init__(self) -> None:
        self._is_timed: bool | None = None
        self._last_ns: int | None = None

    def at(self, ns: int | None) -> int | None:
        """Return the time to use for an event."""
        if self._is_timed is None:
            self._is_timed = ns is not None
        if not self._is_timed:
            return None
        self._last_ns = self._last_ns if ns is None else ns
        return self._last_ns


class RecordingReader(Protocol):
    """Reads a recording line by line."""

    def feed(self, line: bytes) -> None:
        """Read the next line."""

    def finish(self) -> Recording:
        """Return what the recording holds."""


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream, without their ends, cut at `MAX_LINE_BYTES`."""
    rest = b""
    is_cut = False
    for chunk in chunks:
        *lines, last = chunk.split(b"\n")
        for line in lines:
            if not is_cut:
                yield (rest + line)[:MAX_LINE_BYTES]
            rest, is_cut = b"", False
        if not is_cut:
            rest += last
            if len(rest) > MAX_LINE_BYTES:
                yield rest[:MAX_LINE_BYTES]
                rest, is_cut = b"", True
    if rest:
        yield rest
