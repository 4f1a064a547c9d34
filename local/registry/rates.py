"""Rate limits in calls per second."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from local.registry.messages import Refused

_WINDOW_SECONDS = 1.0


class RateLimits:
    """Counts the calls of each operation over the last second."""

    def __init__(self, rates: Mapping[str, int], retry_after_seconds: int | None) -> None:
        self._rates = rates
        self._headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}
        self._calls: dict[str, deque[float]] = {operation: deque() for operation in rates}

    def count(self, operation: str, now: float) -> None:
        """Count one call. Raises `Refused` when the limit is reached; such calls do not count."""
        if operation not in self._rates:
            return
        calls = self._calls[operation]
        while calls and calls[0] <= now - _WINDOW_SECONDS:
            calls.popleft()
        if len(calls) >= self._rates[operation]:
            raise Refused(429, "TOOMANYREQUESTS", "Rate exceeded", headers=self._headers)
        calls.append(now)
