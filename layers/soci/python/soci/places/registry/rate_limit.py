"""Rate limits: how many requests of a kind are sent per second and at the same time.

Waiting is cheaper than being throttled: a refused request counts against the quota too, and others share it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from soci.places.cancellation import current_cancellation
from soci.places.registry.http_messages import Operation
from soci.places.registry.retry import Clock

ECR_RATES_PER_SECOND: Mapping[Operation, int] = {
    Operation.PUT_MANIFEST: 10,  # PutImage
    Operation.START_UPLOAD: 100,  # InitiateLayerUpload
    Operation.FINISH_UPLOAD: 100,  # CompleteLayerUpload
    Operation.UPLOAD_PART: 500,  # UploadLayerPart
    Operation.HEAD_BLOB: 1_000,  # BatchCheckLayerAvailability
    Operation.GET_MANIFEST: 2_000,  # BatchGetImage
    Operation.GET_BLOB: 3_000,  # GetDownloadUrlForLayer
    # ECR names no quota for these two; the lowest of the others is enough.
    Operation.DELETE_MANIFEST: 10,  # BatchDeleteImage
    Operation.LIST: 10,  # ListImages, ListImageReferrers
}
"""Quotas of Amazon ECR per account and region, in requests per second."""

REQUESTS_AT_ONCE: Mapping[Operation, int] = {
    Operation.PUT_MANIFEST: 4,
    Operation.DELETE_MANIFEST: 4,
    Operation.LIST: 4,
    Operation.START_UPLOAD: 16,
    Operation.UPLOAD_PART: 16,
    Operation.FINISH_UPLOAD: 16,
    Operation.HEAD_BLOB: 32,
    Operation.GET_MANIFEST: 32,
    Operation.GET_BLOB: 64,
}
"""Requests under way at the same time, at any registry: from sending until the response begins."""

_WINDOW_SECONDS = 1.1
"""A second, and a tenth for requests that arrive late."""

_CHECK_EVERY_SECONDS = 0.2


class RateLimiter:
    """Delays requests so that no second has more of a kind than its rate allows. Shared by threads."""

    def __init__(
        self,
        rates_per_second: Mapping[Operation, int],
        clock: Clock,
        *,
        at_once: Mapping[Operation, int] = REQUESTS_AT_ONCE,
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sent_at: Mapping[Operation, deque[float]] = {
            operation: deque(maxlen=rate) for operation, rate in rates_per_second.items()
        }
        self._slots = {operation: threading.Semaphore(count) for operation, count in at_once.items()}

    @contextmanager
    def slot(self, operation: Operation) -> Iterator[None]:
        """Wait until a request of this kind may be sent; it is under way until the block ends."""
        slot = self._slots.get(operation)
        while slot and not slot.acquire(timeout=_CHECK_EVERY_SECONDS):
            current_cancellation().check()
        try:
            self._wait(operation)
            yield
        finally:
            if slot:
                slot.release()

    def _wait(self, operation: Operation) -> None:
        sent_at = self._sent_at.get(operation)
        if sent_at is None:
            return
        with self._lock:
            now = self._clock.now()
            due = max(now, sent_at[0] + _WINDOW_SECONDS) if len(sent_at) == sent_at.maxlen else now
            sent_at.append(due)
        if due > now:
            self._clock.sleep(due - now)


_limiters: dict[tuple[str, Clock], RateLimiter] = {}
_limiters_lock = threading.Lock()


def shared_rate_limiter(name: str, rates_per_second: Mapping[Operation, int], clock: Clock) -> RateLimiter:
    """Return the rate limiter that this process has under a name; the first call creates it with its rates."""
    with _limiters_lock:
        return _limiters.setdefault((name, clock), RateLimiter(rates_per_second, clock))
