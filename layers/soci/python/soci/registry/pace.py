"""How many requests of a kind we send per second: below the limits of a registry that counts them.

Being throttled costs more than waiting: a refused request is counted as well, and others share the limit.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from soci.registry.messages import Operation
from soci.registry.retry import Clock

ECR_RATES_PER_SECOND: Mapping[Operation, float] = {
    Operation.PUT_MANIFEST: 10,  # PutImage
    Operation.START_UPLOAD: 100,  # InitiateLayerUpload
    Operation.FINISH_UPLOAD: 100,  # CompleteLayerUpload
    Operation.UPLOAD_PART: 500,  # UploadLayerPart
    Operation.HEAD_BLOB: 1_000,  # BatchCheckLayerAvailability
    Operation.GET_MANIFEST: 2_000,  # BatchGetImage
    Operation.GET_BLOB: 3_000,  # GetDownloadUrlForLayer
}
"""Quotas of Amazon ECR per account and region, in requests per second."""


class Pace:
    """Lets requests of each kind through at its rate, a second's worth at once. Shared by threads."""

    def __init__(self, rates_per_second: Mapping[Operation, float], clock: Clock) -> None:
        self._rates = rates_per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at: dict[Operation, float] = {}

    def wait(self, operation: Operation) -> None:
        """Return when the next request of this kind may be sent."""
        rate = self._rates.get(operation)
        if rate is None:
            return
        with self._lock:
            now = self._clock.now()
            # The schedule may lag a second behind the clock: that is the burst.
            due = max(self._free_at.get(operation, 0.0), now - 1 + 1 / rate)
            self._free_at[operation] = due + 1 / rate
        if due > now:
            self._clock.sleep(due - now)
