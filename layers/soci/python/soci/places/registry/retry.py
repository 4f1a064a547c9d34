"""Retries of one HTTP request: which failures are repeated, how often, and after what delay.

    failure                             repeated
    no connection, reset, timeout       if the request may be sent twice
    408, 425, 429, 500, 502, 503, 504   if the request may be sent twice; 429 always, as nothing was done
    any other status                    never

The delay is random between zero and a limit that doubles each time (full jitter), and at least Retry-After.
A delay that would pass the deadline is not begun: the last error is raised instead.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from soci.errors import RegistryError
from soci.places.cancellation import cancellable_sleep

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time and randomness. Tests have clocks of their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = cancellable_sleep
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long to retry. Five attempts outlast a restart, or a burst of other clients' requests."""

    attempts: int = 5
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 20.0
    deadline_seconds: float = 120.0
    clock: Clock = field(default_factory=Clock)

    def start(self, *, deadline_seconds: float | None = None) -> Attempts:
        """Start counting the attempts of one operation, which may have its own deadline."""
        return Attempts(
            self if deadline_seconds is None else replace(self, deadline_seconds=deadline_seconds)
        )


SHORT_RETRIES = RetryPolicy(deadline_seconds=60)
"""For callers that have a minute or two. A longer failure is left to the workflow, which waits at no cost."""


class Attempts:
    """The attempts of one operation: their number so far, and the deadline for more."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._clock = policy.clock
        self._deadline = self._clock.now() + policy.deadline_seconds
        self._failures = 0

    def wait(self, error: RegistryError) -> None:
        """Wait before the next attempt; raise the error if there is none."""
        self._failures += 1
        if self._failures >= self._policy.attempts:
            raise self._last(error)
        limit = self._policy.first_wait_seconds * 2 ** (self._failures - 1)
        wait = self._clock.random() * min(limit, self._policy.longest_wait_seconds)
        wait = max(wait, error.retry_after_seconds or 0.0)
        if self._clock.now() + wait > self._deadline:
            raise self._last(error)
        self._clock.sleep(wait)

    def seconds_left(self) -> float:
        """Return the seconds until the deadline, at least one: what the current attempt may take."""
        return max(1.0, self._deadline - self._clock.now())

    def _last(self, error: RegistryError) -> RegistryError:
        count = f", after {self._failures} attempts" if self._failures > 1 else ""
        asked = error.retry_after_seconds
        pause = f"; the registry asks for a pause of {asked:.0f} s" if asked else ""
        if not count + pause:
            return error
        return type(error)(f"{error}{count}{pause}", status=error.status, retry_after_seconds=asked)

    def progress(self) -> None:
        """Reset attempts and deadline, after the operation got further."""
        self._failures = 0
        self._deadline = self._clock.now() + self._policy.deadline_seconds


def parse_retry_after(text: str | None, *, now: datetime | None = None) -> float | None:
    """Return the seconds of a Retry-After header, which is a number or a date; None for anything else."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the offset from UTC may be any number
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
