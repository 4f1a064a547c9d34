"""The registry's clock, by which tokens and URLs expire. Tests can advance it."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """Seconds since 1970, ahead of the machine's clock by `ahead_seconds`."""

    ahead_seconds: float = 0

    def now(self) -> float:
        """Return the time."""
        return time.time() + self.ahead_seconds
