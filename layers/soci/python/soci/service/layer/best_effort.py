"""A service of AWS that the work goes on without, when it cannot be had."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 1.0, 2.0, 2
"""What is asked here answers in milliseconds, or else it is not worth waiting for."""

REST_SECONDS = 60.0
"""What did not answer is left alone for so long: the next layers are not kept waiting as well."""

_log = logging.getLogger(__name__)


class MayBeAway:
    """A client of a service; `what` of it is used stands in the one line of the log that says that it is away.

    Away is what cannot be reached, is throttled or refuses. Shared by threads.
    """

    def __init__(
        self,
        service: str,
        what: str,
        *,
        make_client: Callable[[], Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._what = what
        self._make_client = make_client or (lambda: _boto3_client(service))
        self._now = now
        self._rests_until = 0.0

    @property
    def is_away(self) -> bool:
        """Whether it did not answer lately, and is left alone."""
        return self._now() < self._rests_until

    def ask(self, call: Callable[[Any], Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """Return what a call of the client answers; None while it is away."""
        import botocore.exceptions  # noqa: PLC0415 - slow to import, and there only with the extra `aws`

        if self.is_away:
            return None
        try:
            return call(self._client)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            self._rests_until = self._now() + REST_SECONDS
            _log.warning("%s does not answer, so zTOCs are made that may be there: %s", self._what, error)
            return None

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        return self._make_client()


def _boto3_client(service: str) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    import boto3  # noqa: PLC0415 - see `MayBeAway.ask`
    import botocore.config  # noqa: PLC0415

    config = botocore.config.Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    return boto3.client(service, config=config)
