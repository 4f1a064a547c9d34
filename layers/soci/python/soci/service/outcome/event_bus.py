"""One event on the account's default event bus for each image, so that a deployment can wait for it.

docs/events.md describes the events, docs/events.schema.json defines them for programs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from http import HTTPStatus
from typing import Any

from soci.errors import EventBusUnavailable, EventRefused
from soci.service.outcome.record import Record, RecordedIndex
from soci.service.outcomes import Outcome

SOURCE = "soci.index-builder"
CREATED, SKIPPED, FAILED = "SOCI Index Created", "SOCI Index Skipped", "SOCI Index Failed"

ATTEMPTS = 3
CONNECT_SECONDS, READ_SECONDS = 5, 10

_DETAIL_TYPES = {Outcome.INDEXED: CREATED, Outcome.FAILED: FAILED}
_BUSY = frozenset(
    {"ThrottlingException", "Throttling", "InternalException", "InternalFailure", "LimitExceeded"}
)

Document = dict[str, object]


def detail_type(outcome: Outcome) -> str:
    """Return the detail type of the event: an outcome that is neither an index nor a failure is skipped."""
    return _DETAIL_TYPES.get(outcome, SKIPPED)


def event_detail(record: Record) -> Document:
    """Return the detail of an event. It always has every field."""
    image = record.image
    digest = image.digest if image else None
    return {
        "outcome": str(record.outcome),
        "reason": record.reason,
        "detail": record.detail,
        "repository": image.repository if image else None,
        "tag": image.tag if image else None,
        "image_digest": None if digest is None else str(digest),
        "new_tag": record.new_tag,
        "new_digest": record.new_digest,
        "tag_left_alone": record.tag_left_alone,
        "indexes": [_index_detail(one) for one in record.indexes],
        "v1_index_digests": list(record.v1_indexes),
        "origin": str(image.origin) if image else None,
        "pushed_at": image.pushed_at if image else None,
        "seconds": round(record.seconds, 1),
        "seconds_since_push": _rounded(record.seconds_since_push),
        "execution": record.execution.arn,
        "correlation_id": record.correlation_id,
    }


def _index_detail(one: RecordedIndex) -> Document:
    return {
        "platform": one.platform,
        "image_digest": one.image,
        "index_digest": one.index,
        "layers": one.layers,
        "profile": one.profile.to_document() if one.profile else None,
        "profile_problem": one.profile_problem,
    }


class EventBus:
    """The default event bus of the account and region of this process."""

    def __init__(self, make_client: Callable[[], Any] | None = None) -> None:
        self._make_client = make_client or _boto3_client

    def put(self, record: Record) -> None:
        """Send the event about an outcome. Sent twice, the events differ only in their ids.

        Raises:
            EventBusUnavailable: the event bus did not answer, or throttled the request.
            EventRefused: the event bus does not accept the event.
        """
        import botocore.exceptions  # noqa: PLC0415 - slow to import

        entry = {
            "Source": SOURCE,
            "DetailType": detail_type(record.outcome),
            "Detail": json.dumps(event_detail(record)),
            "Resources": [record.execution.arn],
            "Time": record.execution.ended_at,
        }
        try:
            response = self._client.put_events(Entries=[entry])
        except botocore.exceptions.ClientError as error:
            details = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            raise _refusal(str(details.get("Code")), str(details.get("Message", "")), status) from None
        except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError) as error:
            raise EventBusUnavailable(f"PutEvents: {type(error).__name__}") from None
        except botocore.exceptions.BotoCoreError as error:  # no credentials, no region
            raise EventRefused(f"PutEvents: {type(error).__name__}") from None
        for result in response.get("Entries", ()):
            if code := result.get("ErrorCode"):  # a response of 200 may still refuse an entry
                raise _refusal(str(code), str(result.get("ErrorMessage", "")), None)

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        return self._make_client()


def _boto3_client() -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    import boto3  # noqa: PLC0415 - slow to import
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
    )
    return boto3.client("events", config=config)


def _refusal(code: str, message: str, status: int | None) -> EventRefused:
    is_busy = (
        code in _BUSY
        or status == HTTPStatus.TOO_MANY_REQUESTS
        or (status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR
    )
    return (EventBusUnavailable if is_busy else EventRefused)(f"PutEvents: {code}: {message}")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
