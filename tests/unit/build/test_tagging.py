from __future__ import annotations

import pytest

from soci.build.tagging import TagLeftAlone, push_tagged
from soci.errors import NotInImage, SourceError, TagImmutable
from soci.oci import media_types
from tests.builders import describe

INDEXED = describe(b"indexed", media_types.OCI_INDEX)
MADE = describe(b"made", media_types.OCI_INDEX)
OTHER = describe(b"pushed meanwhile", media_types.OCI_INDEX)


class Place:
    """A source whose reference means one thing after the other, and a sink that may refuse tags."""

    def __init__(self, *meanings, refuses: Exception | None = None) -> None:
        self._meanings = list(meanings)
        self._refuses = refuses
        self.pushed: list[tuple[object, str | None]] = []

    def fetch_root(self):
        meaning = self._meanings.pop(0)
        if isinstance(meaning, Exception):
            raise meaning
        return meaning

    def push_root(self, descriptor, tag):
        if tag is not None and self._refuses:
            raise self._refuses
        self.pushed.append((descriptor, tag))


def push(place: Place, tag: str | None):
    return push_tagged(place, INDEXED, place, MADE, tag)  # type: ignore[arg-type]


def test_a_tag_is_set_while_the_source_names_the_same_image():
    place = Place(INDEXED)

    assert push(place, "1.0-soci") is None
    assert place.pushed == [(MADE, "1.0-soci")]


def test_a_tag_that_another_run_moved_to_the_same_result_is_set():
    place = Place(MADE)

    assert push(place, "1.0") is None
    assert place.pushed == [(MADE, "1.0")]


@pytest.mark.parametrize("now", [OTHER, NotInImage("gone")], ids=["moved", "gone"])
def test_a_tag_is_left_alone_when_the_source_has_moved_on(now):
    place = Place(now)

    assert push(place, "1.0-soci") is TagLeftAlone.SOURCE_MOVED
    assert place.pushed == [(MADE, None)]


def test_without_a_tag_the_source_is_not_asked():
    place = Place()

    assert push(place, None) is None
    assert place.pushed == [(MADE, None)]


def test_a_tag_that_may_not_move_leaves_the_image_under_its_digest():
    place = Place(INDEXED, refuses=TagImmutable("no"))

    assert push(place, "1.0-soci") is TagLeftAlone.IMMUTABLE
    assert place.pushed == [(MADE, None)]


def test_another_refusal_is_an_error():
    with pytest.raises(SourceError, match="full"):
        push(Place(INDEXED, refuses=SourceError("full")), "1.0-soci")


@pytest.mark.parametrize("reason", TagLeftAlone)
def test_each_reason_is_a_sentence(reason):
    assert reason.sentence.endswith(".")
