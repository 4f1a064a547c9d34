"""The record of an image's outcome, parsed from the three documents that report one.

    {"result": ..., "execution": ...}                   from the last state of the chain: the result of the image
    {"request": ..., "error": ..., "execution": ...}    from a re-index: an image failed
    "Step Functions Execution Status Change"            from EventBridge: an execution failed

A document about an image is never refused for what it says of the image, because its outcome would be lost. A member
that is absent is None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from soci.errors import InvalidRequest
from soci.oci.fields import Fields
from soci.service.filter.requests import parse_request
from soci.service.messages import ImageRequest, Work
from soci.service.outcomes import Outcome, bounded
from soci.service.profile_messages import PublishedProfile

STATUS_CHANGE = "Step Functions Execution Status Change"
FAILED = "FAILED"
"""Also the reason when an error has no name."""
ENDED_IN_FAILURE = (FAILED, "TIMED_OUT", "ABORTED")
"""The statuses of an execution that ended without its last state."""

_REASON_CHARACTERS = 80
CAUSE_CHARACTERS = 500
"""Of an error message. It is longer than other details: the cause stands at its end, and no state holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The execution that worked on an image."""

    arn: str
    started_at: datetime
    ended_at: datetime

    @property
    def name(self) -> str:
        """The last part of its ARN."""
        return self.arn.rpartition(":")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedIndex:
    """The SOCI index of one platform's image."""

    platform: str
    image: str
    index: str
    layers: int
    """How many layers can be loaded lazily."""
    profile: PublishedProfile | None = None
    """The start profile that decided its prefetch."""
    profile_problem: str = ""
    """Why a start profile was not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The outcome of one image."""

    outcome: Outcome
    reason: str | None
    """Why the image was not indexed, or the name of the error."""
    detail: str
    image: ImageRequest | None
    """None when the request does not name an image."""
    execution: Execution
    new_tag: str | None = None
    """Of the SOCI-enabled image, or the promised tag on the image itself."""
    new_digest: str | None = None
    tag_left_alone: str | None = None
    indexes: tuple[RecordedIndex, ...] = ()
    v1_indexes: tuple[str, ...] = ()
    layer_bytes: int = 0
    ztoc_bytes: int = 0
    streamed_bytes: int = 0
    reused_bytes: int = 0
    work: Work = field(default_factory=Work)

    @property
    def correlation_id(self) -> str:
        """In every log line about this image."""
        return (self.image and self.image.correlation_id) or self.execution.name

    @property
    def seconds(self) -> float:
        """How long the execution took."""
        return (self.execution.ended_at - self.execution.started_at).total_seconds()

    @property
    def seconds_since_push(self) -> float | None:
        """From the registry's event to the end of the execution; None if no event asked for the image."""
        if self.image is None or self.image.pushed_at is None:
            return None
        try:
            return (self.execution.ended_at - _time(self.image.pushed_at)).total_seconds()
        except ValueError:
            return None


def parse_record(document: object) -> Record:
    """Parse a document that reports an outcome.

    Raises:
        InvalidDocument: it is none of the three, or the execution has not ended; the message names the path.
    """
    if isinstance(document, Mapping) and "detail-type" in document:
        return _from_status_change(document)
    fields = Fields(document, "outcome")
    execution = fields.child("execution")
    ended = Execution(
        arn=execution.string("id"),
        started_at=_time_in(execution, "started_at"),
        ended_at=_time_in(execution, "ended_at"),
    )
    if not fields.has("error"):
        return _from_result(fields.child("result"), ended)
    error = fields.child("error")
    request = document.get("request") if isinstance(document, Mapping) else None
    return Record(
        outcome=Outcome.FAILED,
        reason=error.string("Error")[:_REASON_CHARACTERS] or FAILED,
        detail=_error_message(error.string("Cause")),
        image=_parse_requested(request, ended),
        execution=ended,
    )


def _from_result(result: Fields, execution: Execution) -> Record:
    v2, v1, work = (result.optional_child(name) for name in ("v2", "v1", "work"))
    platforms = result.children("platforms") or ()
    return Record(
        outcome=result.choice("outcome", Outcome),
        reason=result.string("reason") or None,
        detail=bounded(result.string("detail")),
        image=ImageRequest.from_fields(result),
        execution=execution,
        new_tag=(v2 and v2.string("tag")) or None,
        new_digest=(v2 and v2.string("digest")) or None,
        tag_left_alone=(v2 and v2.string("tag_left_alone")) or None,
        indexes=tuple(_index(one) for one in platforms if one.has("index")),
        v1_indexes=v1.strings("indexes") if v1 else (),
        layer_bytes=result.integer("layer_bytes") or 0,
        ztoc_bytes=result.integer("ztoc_bytes") or 0,
        streamed_bytes=result.integer("streamed_bytes") or 0,
        reused_bytes=result.integer("reused_bytes") or 0,
        work=Work.from_fields(work) if work else Work(),
    )


def _index(platform: Fields) -> RecordedIndex:
    profile = platform.optional_child("profile")
    return RecordedIndex(
        platform=platform.string("platform"),
        image=platform.string("image"),
        index=platform.string("index"),
        layers=platform.integer("layers_indexed") or 0,
        profile=PublishedProfile.from_fields(profile) if profile else None,
        profile_problem=bounded(platform.string("profile_problem")),
    )


def _from_status_change(event: Mapping[object, object]) -> Record:
    """Parse an event of Step Functions. Its detail is the answer of DescribeExecution, with times in milliseconds."""
    fields = Fields(event, "status change")
    if fields.string("detail-type") != STATUS_CHANGE:
        raise fields.invalid("detail-type", f"expected {STATUS_CHANGE!r}")
    detail = fields.child("detail")
    status = detail.string("status")
    if status not in ENDED_IN_FAILURE:
        raise detail.invalid("status", f"expected one of {', '.join(ENDED_IN_FAILURE)}, got {status!r}")
    execution = Execution(
        arn=detail.string("executionArn"),
        started_at=datetime.fromtimestamp(detail.size("startDate") / 1000, UTC),
        ended_at=datetime.fromtimestamp(detail.size("stopDate") / 1000, UTC),
    )
    return Record(
        outcome=Outcome.FAILED,
        reason=detail.string("error")[:_REASON_CHARACTERS] or status,
        detail=_error_message(detail.string("cause")),
        image=_parse_requested(_decode_json(detail.string("input")), execution),
        execution=execution,
    )


def _parse_requested(request: object, execution: Execution) -> ImageRequest | None:
    """Parse the request that started an execution; None if it is invalid, which may be why the execution failed."""
    try:
        return parse_request(request, execution.name)
    except InvalidRequest:
        return None


def _error_message(text: str) -> str:
    """Return the message of a cause. The cause of a function's error is JSON."""
    cause = _decode_json(text)
    message = cause.get("errorMessage") if isinstance(cause, dict) else None
    return bounded(message if isinstance(message, str) else text, CAUSE_CHARACTERS)


def _decode_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _time_in(fields: Fields, name: str) -> datetime:
    try:
        return _time(fields.string(name))
    except ValueError:
        raise fields.invalid(name, "expected a time as of RFC 3339") from None


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
