"""Time as a registry sees it: tokens and URLs expire by it, and a test can move it on."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """Seconds since 1970, ahead of the machine's clock by as much as was let pass."""

    ahead_seconds: float = 0

    def now(self) -> float:
        """Tell the time."""
        return time.time() + self.ahead_seconds
