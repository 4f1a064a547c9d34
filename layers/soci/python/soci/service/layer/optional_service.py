"""Clients of AWS services that the work can do without."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 1.0, 2.0, 2
"""These services answer in milliseconds. Longer waits are not worth it."""

PAUSE_SECONDS = 60.0
"""After a failure, the service is not asked for so long, so the next layers do not wait as well."""

_log = logging.getLogger(__name__)


class OptionalService:
    """A client of a service that may be unavailable: out of reach, throttled or refused. Shared by threads.

    `what` names the table or key that is used, for the line of the log.
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
        self._paused_until = 0.0

    @property
    def is_unavailable(self) -> bool:
        """Whether the service failed lately and is not asked."""
        return self._now() < self._paused_until

    def ask(self, call: Callable[[Any], Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """Return the answer to a call of the client; None while it is unavailable. A failure is logged."""
        import botocore.exceptions  # noqa: PLC0415 - slow to import, and there only with the extra `aws`

        if self.is_unavailable:
            return None
        try:
            return call(self._client)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            self._paused_until = self._now() + PAUSE_SECONDS
            _log.warning("%s does not answer, so zTOCs may be built again: %s", self._what, error)
            return None

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        return self._make_client()


def _boto3_client(service: str) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    import boto3  # noqa: PLC0415 - see `OptionalService.ask`
    import botocore.config  # noqa: PLC0415

    config = botocore.config.Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    return boto3.client(service, config=config)
