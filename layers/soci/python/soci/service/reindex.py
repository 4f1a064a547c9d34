"""The loop of a re-index: count what came of the last page, give the next one, until all is listed or too much fails.

    state: request, cursor, summary, failed, results  ->  the same with images and done

    images not empty    index them, put what comes of each into `results`, ask again
    done, failed        try the failures once more, put what comes of them into `results`, ask again
    done, none failed   the summary is the output
    else                ask again: a call gives up after a while

A call depends on its state alone, so it can be repeated. The cursor says besides where the next page begins whether
`results` are those of the failures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from soci.oci.fields import Fields
from soci.service import metrics
from soci.service.listing import Page, Place
from soci.service.outcomes import Outcome
from soci.service.reindex_request import ReindexRequest
from soci.service.summary import FailedImage, Summary, are_too_many, failures_of

PageSource = Callable[[ReindexRequest, Place | None], Page]
"""As `Lister.fetch_page`."""

Document = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a re-index has come."""

    place: Place | None = None
    """Where the next page begins; None: with the first image, or nowhere if it has ended."""
    has_ended: bool = False
    """All images have been listed."""
    is_retry: bool = False
    """The next results are those of the failures."""

    def to_document(self) -> Document:
        """Return it as JSON; nobody else reads it."""
        place = None if self.place is None else self.place.to_document()
        return {"place": place, "has_ended": self.has_ended, "is_retry": self.is_retry}

    @classmethod
    def from_fields(cls, fields: Fields | None) -> Cursor:
        """Read it back; None is the beginning. Raises `InvalidDocument` that names the path."""
        if fields is None:
            return cls()
        place = fields.optional_child("place")
        return cls(
            place=None if place is None else Place.from_fields(place),
            has_ended=fields.boolean("has_ended"),
            is_retry=fields.boolean("is_retry"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """A re-index between two calls, its results counted in."""

    request: ReindexRequest
    cursor: Cursor
    summary: Summary
    failed: tuple[FailedImage, ...]

    def answer(self, images: Sequence[Mapping[str, object]] = (), *, is_done: bool) -> Document:
        return {
            "request": self.request.to_document(),
            "cursor": self.cursor.to_document(),
            "summary": self.summary.to_document(),
            "failed": [one.to_document() for one in self.failed],
            "results": [],
            "images": list(images),
            "done": is_done,
        }


def next_step(document: object, fetch_page: PageSource) -> Document:
    """Take the state of a re-index a step further.

    Args:
        document: the state; at the beginning `request` is enough.
        fetch_page: lists images.

    Raises:
        InvalidRequest: naming every bad field of the request, and repositories that are not there.
        InvalidDocument: naming the path of what is wrong in the rest of the state.
        SourceError: images cannot be listed.
    """
    fields = Fields(document, "re-index")
    before = _read(fields, document)
    state = _with_results(before, fields.children("results") or ())
    cursor = state.cursor
    if before.cursor.is_retry:
        return state.answer(is_done=cursor.has_ended)
    if state.failed and (cursor.has_ended or are_too_many(state.failed)):
        summary = state.summary
        if not cursor.has_ended:
            where = f"at {cursor.place.repository}" if cursor.place else "at the beginning"
            summary = replace(summary, stopped=f"{len(state.failed)} images failed: listing stopped {where}")
        return replace(state, summary=summary, cursor=replace(cursor, is_retry=True)).answer(is_done=True)
    if cursor.has_ended:
        return state.answer(is_done=True)
    page = fetch_page(state.request, cursor.place)
    has_ended = page.next_place is None
    summary = replace(state.summary, pages=state.summary.pages + bool(page.images), stopped=None)
    listed = replace(state, cursor=Cursor(place=page.next_place, has_ended=has_ended), summary=summary)
    if has_ended and not page.images and listed.failed:
        listed = replace(listed, cursor=replace(listed.cursor, is_retry=True))
    return listed.answer(page.images, is_done=has_ended and not page.images)


def metrics_of(state: Document, *, stack: str, timestamp_ms: int) -> Document:
    """Return what makes the line about a state carry metrics: at the end of a re-index that a schedule asked for.

    What somebody asks for by hand is no surprise if it is missing, so nothing is counted then.
    """
    after = _read(Fields(state, "re-index"), state)
    if not after.request.scheduled or state["done"] is not True or after.failed:
        return {}
    missed = after.summary.outcomes.get(Outcome.INDEXED, 0)
    dimensions = {metrics.Dimension.STACK: stack}
    return metrics.embedded({metrics.IMAGES_MISSED: missed}, dimensions, timestamp_ms=timestamp_ms)


def _read(fields: Fields, document: object) -> _State:
    members = document if isinstance(document, Mapping) else {}
    return _State(
        request=ReindexRequest.parse(members.get("request")),
        cursor=Cursor.from_fields(fields.optional_child("cursor")),
        summary=Summary.from_document(members.get("summary") or {}),
        failed=tuple(FailedImage.from_fields(one) for one in fields.children("failed") or ()),
    )


def _with_results(state: _State, results: Sequence[Fields]) -> _State:
    """Count results in; those of the failures take the place of the failures."""
    failed = failures_of(results)
    if not state.cursor.is_retry:
        summary = state.summary.with_results(results)
        return replace(state, summary=summary, failed=(*state.failed, *failed))
    summary = state.summary.without_failures(state.failed).with_results(results)
    return replace(state, summary=summary, failed=failed, cursor=replace(state.cursor, is_retry=False))
