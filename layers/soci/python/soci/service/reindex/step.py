"""The loop of a re-index: count the results of the last page and return the next, until the end or too many failures.

    state: request, cursor, summary, failed, results  ->  the same with images and done

    images not empty    index them, put their results into `results`, call again
    done, is_retry      index the failures again, put their results into `results`, call again
    done, failed        they failed again: call with `execution`, which raises `ImagesFailed` until there is a redrive
    done, none failed   the summary is the output
    else                call again: one call searches only so many images

A call depends on its state alone, so it can be repeated. The cursor has where the next page begins, and whether
`results` are those of the failures. An image without a result counts as a failure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from soci.errors import ImagesFailed
from soci.oci.fields import Fields
from soci.service import metrics
from soci.service.message_codec import Message
from soci.service.outcomes import Outcome
from soci.service.reindex.cursor import Cursor
from soci.service.reindex.listing import Page
from soci.service.reindex.request import ReindexRequest
from soci.service.reindex.summary import FailedImage, Summary, are_too_many, failures_of, without_outcome

PageSource = Callable[[ReindexRequest, Cursor | None], Page]
"""As `Lister.fetch_page`."""

Document = dict[str, object]

MAX_CALLS = 1_800
"""Of one execution, whose history holds 25,000 events: a page takes eleven, and some are left for the retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position(Message):
    """How far a re-index has come. The member `cursor` of the state holds it."""

    cursor: Annotated[Cursor | None, "place"] = None
    """Where the next page begins; None at the first image, and at the end."""
    has_ended: bool = False
    """Whether all images have been listed."""
    is_retry: bool = False
    """Whether the next results are those of the failures."""
    calls: int = 0
    """How often images were asked for."""
    redrives: int = 0
    """Of the execution, when the failures were last sent again."""
    counted: int = 0
    """How many indexed images the metrics have already. After a redrive they get only the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """A re-index between two calls, its results counted."""

    request: ReindexRequest
    progress: Position
    summary: Summary
    failed: tuple[FailedImage, ...]

    def answer(self, images: Sequence[Mapping[str, object]] = (), *, is_done: bool) -> Document:
        progress = self.progress
        if is_done and not progress.is_retry:  # the end, with or without failures
            progress = replace(progress, counted=self.summary.outcomes.get(Outcome.INDEXED, 0))
        return {
            "request": self.request.to_document(),
            "cursor": progress.to_document(),
            "summary": self.summary.to_document(),
            "failed": [one.to_document() for one in self.failed],
            "results": [],
            "images": list(images),
            "done": is_done,
        }


def next_step(document: object, fetch_page: PageSource) -> Document:
    """Take the state of a re-index a step further.

    Args:
        document: the state; at the beginning `request` is enough. With `execution`, the context object of the workflow,
            the step decides whether to index again the failures that failed twice.
        fetch_page: lists images.

    Raises:
        InvalidRequest: naming every bad field of the request, and repositories that do not exist.
        InvalidDocument: naming the path of the bad field in the rest of the state.
        SourceError: images cannot be listed.
        ImagesFailed: images failed twice, and the execution has not been redriven since.
    """
    fields = Fields(_without_nulls(document), "re-index")
    before = _read(fields, document)
    execution = fields.optional_child("execution")
    if execution is not None:
        return _after_redrive(before, execution.integer("RedriveCount") or 0)
    state = _bounded(_with_results(before, fields))
    if before.progress.is_retry and state.failed and not _are_mended(before, state):
        return state.answer(is_done=True)
    if (
        state.failed
        and not before.progress.is_retry
        and (state.progress.has_ended or are_too_many(state.failed))
    ):
        return _retry(state)
    if state.progress.has_ended or before.progress.is_retry:
        return state.answer(is_done=state.progress.has_ended)
    return _list(state, fetch_page)


def _without_nulls(document: object) -> object:
    """Leave out the null results, of images whose failure could not be caught."""
    if not isinstance(document, Mapping) or not isinstance(document.get("results"), list):
        return document
    return {**document, "results": [one for one in document["results"] if one is not None]}


def _after_redrive(state: _State, redrives: int) -> Document:
    """Send the failures again if the execution has been redriven since; otherwise fail."""
    if redrives <= state.progress.redrives:
        raise ImagesFailed(json.dumps(state.summary.to_document()))
    progress = replace(state.progress, is_retry=True, redrives=redrives)
    return replace(state, progress=progress).answer(is_done=True)


def _are_mended(before: _State, after: _State) -> bool:
    """Tell whether a retry mended half of the failures that stopped the listing, so that it can go on."""
    return not after.progress.has_ended and 2 * len(after.failed) <= len(before.failed)


def _bounded(state: _State) -> _State:
    """End the listing before the history of the execution is full."""
    progress = state.progress
    if progress.calls < MAX_CALLS or progress.has_ended:
        return state
    stopped = (
        f"{progress.calls} pages are all that one execution holds: listing stopped {_where(progress)}; "
        "start again with only_missing"
    )
    summary = replace(state.summary, stopped=stopped)
    return replace(state, progress=replace(progress, cursor=None, has_ended=True), summary=summary)


def _where(progress: Position) -> str:
    return f"at {progress.cursor.repository}" if progress.cursor else "at the beginning"


def _retry(state: _State) -> Document:
    summary, progress = state.summary, state.progress
    if not progress.has_ended:
        summary = replace(
            summary, stopped=f"{len(state.failed)} images failed: listing stopped {_where(progress)}"
        )
    return replace(state, summary=summary, progress=replace(progress, is_retry=True)).answer(is_done=True)


def _list(state: _State, fetch_page: PageSource) -> Document:
    page = fetch_page(state.request, state.progress.cursor)
    has_ended = page.next_cursor is None
    summary = replace(state.summary, pages=state.summary.pages + bool(page.images), stopped=None)
    is_over = has_ended and not page.images
    progress = replace(
        state.progress,
        cursor=page.next_cursor,
        has_ended=has_ended,
        calls=state.progress.calls + 1,
        is_retry=is_over and bool(state.failed),
    )
    return replace(state, progress=progress, summary=summary).answer(page.images, is_done=is_over)


def metrics_of(before: object, after: Document, *, stack: str, timestamp_ms: int) -> Document:
    """Return the members that make a log line carry metrics, at the end of a re-index that a schedule asked for.

    They count the images that were missed. Images that still fail do not delay them: an image that fails every day must
    not hide the others. After a redrive only the images that it mended are counted. A re-index by hand counts nothing.

    Args:
        before: the state before the step.
        after: the state that `next_step` returned.
        stack: the name of the stack.
        timestamp_ms: the time of the step, in milliseconds of the Unix epoch.
    """
    state = _read(Fields(after, "re-index"), after)
    if not state.request.scheduled or after["done"] is not True or state.progress.is_retry:
        return {}
    counted_before = _progress_of(Fields(before, "re-index")).counted
    missed = {metrics.IMAGES_MISSED: state.progress.counted - counted_before}
    return metrics.embedded(missed, {metrics.Dimension.STACK: stack}, timestamp_ms=timestamp_ms)


def _read(fields: Fields, document: object) -> _State:
    members = document if isinstance(document, Mapping) else {}
    return _State(
        request=ReindexRequest.parse(members.get("request")),
        progress=_progress_of(fields),
        summary=Summary.from_document(members.get("summary") or {}),
        failed=tuple(FailedImage.from_fields(one) for one in fields.children("failed") or ()),
    )


def _progress_of(fields: Fields) -> Position:
    """Read the progress; a state without a cursor is at the beginning."""
    cursor = fields.optional_child("cursor")
    return Position() if cursor is None else Position.from_fields(cursor)


def _with_results(state: _State, fields: Fields) -> _State:
    """Count the results of the images that were sent. The results of a retry replace the failures."""
    is_retry = state.progress.is_retry
    results = fields.children("results") or ()
    lost = without_outcome(fields.children("failed" if is_retry else "images") or (), results)
    failed = (*failures_of(results), *lost)
    summary = state.summary.without_failures(state.failed) if is_retry else state.summary
    summary = summary.with_results(results).with_failures(lost)
    kept = () if is_retry else state.failed
    return replace(
        state, summary=summary, failed=(*kept, *failed), progress=replace(state.progress, is_retry=False)
    )
