"""Every metric of the service, declared once. The functions, the dashboard and the alarms read the declarations.

A metric is published in NAMESPACE, under one or several sets of dimensions. For CloudWatch each value of a dimension is
another metric, with its own price. So the values come from closed lists; the names of images are in the log.

A log line carries its metrics: `embedded` returns the members that CloudWatch reads
(CloudWatch user guide, "Specification: Embedded metric format").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

NAMESPACE = "SociIndexBuilder"


class Dimension(StrEnum):
    """The dimensions of metrics."""

    STACK = "stack"
    """The name of the stack: an account may have several."""
    OUTCOME = "outcome"
    """See `soci.service.outcomes.Outcome`."""
    REASON = "reason"
    """Why an image was not indexed, or the name of the error; absent when there is neither."""


class Unit(StrEnum):
    """As CloudWatch names them."""

    COUNT = "Count"
    SECONDS = "Seconds"
    BYTES = "Bytes"
    NONE = "None"


_STACK = (Dimension.STACK,)
_OUTCOME = (Dimension.STACK, Dimension.OUTCOME)
_REASON = (Dimension.STACK, Dimension.OUTCOME, Dimension.REASON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric. Its values are published under each of its sets of dimensions."""

    name: str
    unit: Unit
    meaning: str
    dimensions: tuple[tuple[Dimension, ...], ...] = (_STACK,)


IMAGES = Metric(
    name="Images",
    unit=Unit.COUNT,
    meaning="images with an outcome",
    dimensions=(_STACK, _OUTCOME, _REASON),
)
IMAGES_PUSHED = Metric(
    name="ImagesPushed",
    unit=Unit.COUNT,
    meaning="images with an outcome that an event asked for: pushed, replicated or pulled through",
)
PUSH_TO_INDEX = Metric(
    name="PushToIndexSeconds",
    unit=Unit.SECONDS,
    meaning="from the push of an image that was indexed to its index",
)
BYTES_STREAMED = Metric(
    name="BytesStreamed",
    unit=Unit.BYTES,
    meaning="layers that were read to index them, compressed",
)
BYTES_REUSED = Metric(
    name="BytesReused",
    unit=Unit.BYTES,
    meaning="layers that were not read because their zTOC was cached, compressed",
)
ESTIMATED_COST = Metric(
    name="EstimatedCostUsd",
    unit=Unit.NONE,
    meaning="what an image cost in US dollars, by list prices",
)
IMAGES_MISSED = Metric(
    name="ImagesMissed",
    unit=Unit.COUNT,
    meaning="images that a scheduled re-index found without an index, and indexed",
)

METRICS = (
    IMAGES,
    IMAGES_PUSHED,
    PUSH_TO_INDEX,
    BYTES_STREAMED,
    BYTES_REUSED,
    ESTIMATED_COST,
    IMAGES_MISSED,
)

Value = int | float


def embedded(
    values: Mapping[Metric, Value], dimensions: Mapping[Dimension, str], *, timestamp_ms: int
) -> dict[str, object]:
    """Return the members that make a log line carry metrics.

    Args:
        values: the metrics to publish.
        dimensions: the values of dimensions. A set with an absent dimension is not published.
        timestamp_ms: the time of the metrics, in milliseconds of the Unix epoch.
    """
    directives = [
        {
            "Namespace": NAMESPACE,
            "Dimensions": [
                [*map(str, chosen)] for chosen in metric.dimensions if dimensions.keys() >= {*chosen}
            ],
            "Metrics": [{"Name": metric.name, "Unit": str(metric.unit)}],
        }
        for metric in values
    ]
    return {
        "_aws": {"Timestamp": timestamp_ms, "CloudWatchMetrics": directives},
        **{str(dimension): value for dimension, value in dimensions.items()},
        **{metric.name: value for metric, value in values.items()},
    }
