"""The alarms as plain values. docs/operations.md says what to do when one goes off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.dashboard import WAITING
from infra.watched import Series, Watched
from soci.service import metrics

NEAR = 0.8
"""The share of a timeout at which an alarm goes off."""

FUNCTIONS_THAT_GROW = ("IndexLayer", "PublishIndex")
"""Their duration grows with the image; the others take seconds."""

_MINUTES = 60
_HOURS = 60 * _MINUTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm that goes off when the sum of its series reaches the threshold in one period."""

    name: str
    meaning: str
    series: tuple[Series, ...]
    threshold: float
    period_seconds: int = 5 * _MINUTES
    is_silence_good: bool = True
    """Whether the alarm resets when there is no data; otherwise it keeps its state."""


def alarms(watched: Watched, *, push_to_index_minutes: int, is_searched: bool) -> Iterator[Alarm]:
    """Yield the alarms of a stack.

    Args:
        watched: the names of the stack's parts.
        push_to_index_minutes: the alarm goes off when one image in twenty takes this long.
        is_searched: whether there is a daily search for images without an index.
    """
    yield from _failed_executions(watched)
    yield from _undelivered_events(watched)
    yield from _slowness(watched, push_to_index_minutes)
    if is_searched:
        yield Alarm(
            name="ImagesMissed",
            meaning="The daily search found images without an index, and indexed them; their events were lost.",
            series=(watched.own(metrics.IMAGES_MISSED, "Sum"),),
            threshold=1,
        )


def _failed_executions(watched: Watched) -> Iterator[Alarm]:
    yield Alarm(
        name="IndexingFailed",
        meaning="An image has no index: an execution of IndexImage failed or timed out.",
        series=watched.failures(watched.index_image),
        threshold=1,
    )
    yield Alarm(
        name="ReindexFailed",
        meaning="A re-index failed, or images of it failed twice.",
        series=watched.failures(watched.reindex_repositories),
        threshold=1,
    )


def _undelivered_events(watched: Watched) -> Iterator[Alarm]:
    yield Alarm(
        name="EventsNotDelivered",
        meaning="Events are in the dead-letter queue, which keeps them for 14 days; their images have no index.",
        series=(watched.queue(WAITING),),
        threshold=1,
        is_silence_good=False,  # SQS sends no data for an idle queue, even if it holds messages
    )
    yield Alarm(
        name="EventsLost",
        meaning="Events could neither be delivered nor put into the dead-letter queue.",
        series=watched.lost("OutcomeRecorder"),
        threshold=1,
    )


def _slowness(watched: Watched, push_to_index_minutes: int) -> Iterator[Alarm]:
    yield Alarm(
        name="SlowIndexing",
        meaning=f"One image in twenty waited {push_to_index_minutes} minutes or longer for its index.",
        series=(watched.own(metrics.PUSH_TO_INDEX, "p95"),),
        threshold=push_to_index_minutes * _MINUTES,
        period_seconds=_HOURS,
    )
    for name in FUNCTIONS_THAT_GROW:
        yield Alarm(
            name=f"{name}NearTimeout",
            meaning=f"An invocation of {name} took {NEAR:.0%} of its timeout; a larger layer or image would fail.",
            series=(watched.longest(name),),
            threshold=watched.functions[name].timeout_seconds * 1000 * NEAR,
        )
