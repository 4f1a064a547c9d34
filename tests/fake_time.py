"""Time that passes only by sleeping."""

from __future__ import annotations

from soci.places.registry.retry import Clock


class FakeTime:
    """A clock that advances only by sleeping, and a random generator that always returns the highest number."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds

    def clock(self, luck: float = 1.0) -> Clock:
        return Clock(now=lambda: self.seconds, sleep=self.sleep, random=lambda: luck)
