"""The loop of a re-index: count what came of the last page, give the next one, until all is listed or too much fails.

    state: request, cursor, summary, failed, results  ->  the same with images and done

    images not empty    index them, put what comes of each into `results`, ask again
    done, is_retry      try the failures once more, put what comes of them into `results`, ask again
    done, failed        they failed again: ask with `execution`, which raises `ImagesFailed` until there is a redrive
    done, none failed   the summary is the output
    else                ask again: a call gives up after a while

A call depends on its state alone, so it can be repeated. The cursor says besides where the next page begins whether
`results` are those of the failures. Of images without a result nothing is known, so they are failures.
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
"""Of one execution, whose history has 25,000 events: a page takes eleven, and some are left for what is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Message):
    """How far a re-index has come; `cursor` in the state."""

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
    """How many of the indexed images `metrics_of` has counted. After a redrive it counts only the later ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """A re-index between two calls, its results counted in."""

    request: ReindexRequest
    progress: Progress
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
            what is asked is whether failures that were tried twice are to be tried again.
        fetch_page: lists images.

    Raises:
        InvalidRequest: naming every bad field of the request, and repositories that are not there.
        InvalidDocument: naming the path of what is wrong in the rest of the state.
        SourceError: images cannot be listed.
        ImagesFailed: images failed twice, and the execution was not redriven since.
    """
    fields = Fields(_without_nulls(document), "re-index")
    before = _read(fields, document)
    execution = fields.optional_child("execution")
    if execution is not None:
        return _after_redrive(before, execution.integer("RedriveCount") or 0)
    state = _bounded(_with_results(before, fields))
    if before.progress.is_retry and state.failed and not _have_healed(before, state):
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
    """Leave out the results of images that failed where nothing can be caught."""
    if not isinstance(document, Mapping) or not isinstance(document.get("results"), list):
        return document
    return {**document, "results": [one for one in document["results"] if one is not None]}


def _after_redrive(state: _State, redrives: int) -> Document:
    """Send the failures once more if the execution has been redriven since; otherwise it is to fail here."""
    if redrives <= state.progress.redrives:
        raise ImagesFailed(json.dumps(state.summary.to_document()))
    progress = replace(state.progress, is_retry=True, redrives=redrives)
    return replace(state, progress=progress).answer(is_done=True)


def _have_healed(before: _State, after: _State) -> bool:
    """Tell whether failures that stopped the list were healed by half, so that it can go on."""
    return not after.progress.has_ended and 2 * len(after.failed) <= len(before.failed)


def _bounded(state: _State) -> _State:
    """End the list where the history of the execution would."""
    progress = state.progress
    if progress.calls < MAX_CALLS or progress.has_ended:
        return state
    stopped = (
        f"{progress.calls} pages are all that one execution holds: listing stopped {_where(progress)}; "
        "start again with only_missing"
    )
    summary = replace(state.summary, stopped=stopped)
    return replace(state, progress=replace(progress, cursor=None, has_ended=True), summary=summary)


def _where(progress: Progress) -> str:
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
    """Return what makes the line about a step carry metrics: at the end of a re-index that a schedule asked for.

    Failures that remain keep nothing back: an image that fails each day must not hide those that were missed. What a
    redrive mends is told besides, each image once. What somebody asks for by hand is no surprise if it is missing, so
    nothing is counted then.

    Args:
        before: the state that the step was taken from.
        after: what `next_step` gave.
        stack: whose re-index it is.
        timestamp_ms: when it was, in milliseconds of the Unix epoch.
    """
    state = _read(Fields(after, "re-index"), after)
    if not state.request.scheduled or after["done"] is not True or state.progress.is_retry:
        return {}
    told = _progress_of(Fields(before, "re-index")).counted
    missed = {metrics.IMAGES_MISSED: state.progress.counted - told}
    return metrics.embedded(missed, {metrics.Dimension.STACK: stack}, timestamp_ms=timestamp_ms)


def _read(fields: Fields, document: object) -> _State:
    members = document if isinstance(document, Mapping) else {}
    return _State(
        request=ReindexRequest.parse(members.get("request")),
        progress=_progress_of(fields),
        summary=Summary.from_document(members.get("summary") or {}),
        failed=tuple(FailedImage.from_fields(one) for one in fields.children("failed") or ()),
    )


def _progress_of(fields: Fields) -> Progress:
    """Read the cursor; a state without one is at the beginning."""
    cursor = fields.optional_child("cursor")
    return Progress() if cursor is None else Progress.from_fields(cursor)


def _with_results(state: _State, fields: Fields) -> _State:
    """Count the results of the images that were sent in; those of the failures take the place of the failures."""
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
