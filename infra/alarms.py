"""What the alarms watch, as plain values. What to do when one goes off stands in docs/operations.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.dashboard import WAITING
from infra.watched import Series, Watched
from soci.service import metrics

NEAR = 0.8
"""Of a time-out."""

FUNCTIONS_THAT_GROW = ("IndexLayer", "PublishIndex")
"""With the image; the others take seconds."""

_MINUTES = 60
_HOURS = 60 * _MINUTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Goes off as soon as the sum of some series reaches a threshold in one period."""

    name: str
    meaning: str
    series: tuple[Series, ...]
    threshold: float
    period_seconds: int = 5 * _MINUTES
    is_silence_good: bool = True
    """What happens without data: it goes back. Otherwise it stays as it is."""


def alarms(watched: Watched, *, push_to_index_minutes: int, is_searched: bool) -> Iterator[Alarm]:
    """Yield the alarms of a stack.

    Args:
        watched: the names of the stack's parts.
        push_to_index_minutes: how long one image in twenty may take, or longer.
        is_searched: whether there is a daily search for images without an index.
    """
    yield Alarm(
        name="IndexingFailed",
        meaning="Images have no index, because an execution of IndexImage failed or timed out.",
        series=watched.failures(watched.index_image),
        threshold=1,
    )
    yield Alarm(
        name="ReindexFailed",
        meaning="A re-index failed, or images of it failed twice.",
        series=watched.failures(watched.reindex_repositories),
        threshold=1,
    )
    yield Alarm(
        name="EventsNotDelivered",
        meaning="Events wait in the dead-letter queue, for 14 days; their images have no index.",
        series=(watched.queue(WAITING),),
        threshold=1,
        is_silence_good=False,  # SQS tells nothing of a queue that nobody touches, whatever waits in it
    )
    yield Alarm(
        name="EventsLost",
        meaning="Events could neither be delivered nor be kept in the dead-letter queue.",
        series=watched.lost("OutcomeRecorder"),
        threshold=1,
    )
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
            meaning=f"An invocation of {name} took {NEAR:.0%} of its time-out; a larger layer or image would fail.",
            series=(watched.longest(name),),
            threshold=watched.functions[name].timeout_seconds * 1000 * NEAR,
        )
    if is_searched:
        yield Alarm(
            name="ImagesMissed",
            meaning="The daily search found images without an index, and indexed them; their events were lost.",
            series=(watched.own(metrics.IMAGES_MISSED, "Sum"),),
            threshold=1,
        )
