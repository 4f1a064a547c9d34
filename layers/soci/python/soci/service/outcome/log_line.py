"""The log line of an outcome: the details of the image, and its metrics."""

from __future__ import annotations

from collections.abc import Iterator

from soci import errors
from soci.service import metrics
from soci.service.cost import FunctionSizes, estimate_usd
from soci.service.metrics import Dimension, Metric, Value
from soci.service.outcome.event_bus import event_detail
from soci.service.outcome.record import ENDED_IN_FAILURE, Record
from soci.service.outcomes import ImageReason, Outcome

OTHER = "other"
"""The dimension of a reason that is on no list. The log line has the reason itself."""

_AWS_ERRORS = (
    *("Sandbox.Timedout", "Runtime.ExitError", "Runtime.OutOfMemory", "Runtime.ImportModuleError"),
    *("Lambda.TooManyRequestsException", "Lambda.ServiceException", "Lambda.SdkClientException"),
    *("States.Timeout", "States.DataLimitExceeded", "States.TaskFailed", "States.Runtime"),
)

Document = dict[str, object]


def outcome_line(record: Record, *, stack: str, sizes: FunctionSizes) -> Document:
    """Return the members of the log line. CloudWatch extracts the metrics from it."""
    cost = None if record.outcome is Outcome.FAILED else round(estimate_usd(record.work, sizes), 7)
    dimensions = {Dimension.STACK: stack, Dimension.OUTCOME: str(record.outcome)}
    line: Document = {
        **event_detail(record),
        **({} if cost is None else _work(record, cost)),
    }
    if record.reason:
        dimensions[Dimension.REASON] = record.reason if record.reason in known_reasons() else OTHER
        line["reason_text"] = record.reason
    ended_ms = int(record.execution.ended_at.timestamp() * 1000)
    return line | metrics.embedded(dict(_values(record, cost)), dimensions, timestamp_ms=ended_ms)


def known_reasons() -> frozenset[str]:
    """Return the values of the reason dimension, except OTHER."""
    return frozenset(
        {*map(str, ImageReason), *_error_names(errors.SociError), *_AWS_ERRORS, *ENDED_IN_FAILURE}
    )


def _work(record: Record, cost: float) -> Document:
    """Return the work for an image. It is unknown for a failed image."""
    return {
        "layer_bytes": record.layer_bytes,
        "ztoc_bytes": record.ztoc_bytes,
        "streamed_bytes": record.streamed_bytes,
        "reused_bytes": record.reused_bytes,
        "work": record.work.to_document(),
        "cost_usd": cost,
    }


def _values(record: Record, cost: float | None) -> Iterator[tuple[Metric, Value]]:
    yield metrics.IMAGES, 1
    if record.image is not None and record.image.is_event:
        yield metrics.IMAGES_PUSHED, 1
    if record.outcome is Outcome.INDEXED and record.seconds_since_push is not None:
        yield metrics.PUSH_TO_INDEX, round(record.seconds_since_push, 1)
    if cost is not None:
        yield metrics.BYTES_STREAMED, record.streamed_bytes
        yield metrics.BYTES_REUSED, record.reused_bytes
        yield metrics.ESTIMATED_COST, cost


def _error_names(kind: type[errors.SociError]) -> Iterator[str]:
    yield kind.__name__
    for below in kind.__subclasses__():
        yield from _error_names(below)
