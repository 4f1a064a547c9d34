"""How many requests of a kind we send per second and at the same time: below the limits of a registry.

Being throttled costs more than waiting: a refused request is counted as well, and others share the limit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from soci.places.cancel import current_stop
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
    # ECR names no quota for these; as few as of the slowest that it names will do.
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
"""Requests that may be under way at the same time, whoever the registry is: from sending until the answer begins."""

_WINDOW_SECONDS = 1.1
"""A second, and what one request may take longer than another to arrive."""

_LOOK_EVERY_SECONDS = 0.2


class Pace:
    """Lets requests of each kind through: in any second no more than its rate. Shared by threads."""

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
    def turn(self, operation: Operation) -> Iterator[None]:
        """Wait until the next request of this kind may be sent, and count it as under way inside the block."""
        slot = self._slots.get(operation)
        while slot and not slot.acquire(timeout=_LOOK_EVERY_SECONDS):
            current_stop().check()
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


_shared: dict[tuple[str, Clock], Pace] = {}
_shared_lock = threading.Lock()


def shared_pace(name: str, rates_per_second: Mapping[Operation, int], clock: Clock) -> Pace:
    """Return the pace of all clients in this process that share a limit, which has a name of its own."""
    with _shared_lock:
        return _shared.setdefault((name, clock), Pace(rates_per_second, clock))
