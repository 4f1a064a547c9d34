from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import pytest

from soci.errors import InvalidDocument
from soci.oci.digest import Digest, digest_of
from soci.oci.fields import Fields
from soci.service.message_codec import Mark, Message, decode, encode
from soci.service.outcomes import DETAIL_BYTES


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Message):
    name: str
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Message):
    digest: Digest
    colour: Annotated[Colour, Mark.REQUIRED] = Colour.RED
    seconds: float = 0.0
    is_done: bool = False
    tag: str | None = None
    base: Digest | None = None
    part: Annotated[Part, Mark.INLINE]
    parts: tuple[Part, ...] = ()
    names: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    digests: tuple[Digest, ...] = ()
    pair: tuple[str, str] | None = None
    by_colour: Mapping[Colour, int] = field(default_factory=dict)
    by_word: Mapping[str, int] = field(default_factory=dict)
    note: Annotated[str, Mark.BOUNDED] = ""
    renamed: Annotated[int, "count"] = 0
    extra: Annotated[Part | None, Mark.OMITTED] = None
    seen: Annotated[bool, Mark.INTERNAL] = False


PLAIN = Whole(digest=digest_of(b"plain"), part=Part(name="one"))
FULL = Whole(
    digest=digest_of(b"full"),
    colour=Colour.BLUE,
    seconds=1.5,
    is_done=True,
    tag="1.4",
    base=digest_of(b"base"),
    part=Part(name="one", size=1),
    parts=(Part(name="two", size=2), Part(name="three")),
    names=("a", "b"),
    numbers=(3, 1),
    digests=(digest_of(b"x"),),
    pair=("left", "right"),
    by_colour={Colour.RED: 1, Colour.BLUE: 2},
    by_word={"Some": 1, "some": 2},
    note="why",
    renamed=4,
    extra=Part(name="four"),
)


def read(document: dict[str, Any]) -> Whole:
    return Whole.from_fields(Fields(json.loads(json.dumps(document)), "whole"))


@pytest.mark.parametrize("message", [PLAIN, FULL], ids=["defaults", "every-field"])
def test_a_message_is_read_as_it_was_written(message):
    assert read(message.to_document()) == message


def test_members_stand_in_the_order_of_the_fields():
    assert list(FULL.to_document()) == [
        *("digest", "colour", "seconds", "is_done", "tag", "base", "name", "size", "parts", "names"),
        *("numbers", "digests", "pair", "by_colour", "by_word", "note", "count", "extra"),
    ]


def test_what_is_absent_is_null_unless_its_mark_omits_it():
    document = PLAIN.to_document()

    assert (document["tag"], document["base"], document["pair"]) == (None, None, None)
    assert "extra" not in document


def test_an_internal_field_stays_out_of_json():
    document = encode(Whole(digest=digest_of(b"x"), part=Part(name="one"), seen=True))

    assert "seen" not in document
    assert not read(document | {"seen": True}).seen


def test_seconds_have_one_decimal():
    assert Whole(digest=digest_of(b"x"), part=Part(name="one"), seconds=1.26).to_document()["seconds"] == 1.3


def test_a_bounded_text_is_shortened():
    document = Whole(digest=digest_of(b"x"), part=Part(name="one"), note="x" * 1000).to_document()

    assert len(str(document["note"])) == DETAIL_BYTES


def test_a_member_that_is_absent_or_null_has_its_default():
    least = {"digest": str(PLAIN.digest), "colour": "red", "name": "one"}

    assert read(least) == PLAIN
    assert read(dict.fromkeys(PLAIN.to_document()) | least) == PLAIN


def test_an_empty_text_is_none_where_none_is_allowed():
    assert read(PLAIN.to_document() | {"tag": ""}).tag is None


def test_unknown_members_of_an_enum_are_not_counted():
    assert read(PLAIN.to_document() | {"by_colour": {"blue": 2, "green": 1}}).by_colour == {Colour.BLUE: 2}


def test_a_value_that_is_given_is_not_read():
    whole = decode(Whole, Fields(PLAIN.to_document() | {"parts": "none"}, "whole"), parts=())

    assert whole == PLAIN


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"digest": None}, "digest: digest ''"),
        ({"colour": None}, "colour: expected one of red, blue"),
        ({"is_done": "yes"}, "is_done: expected boolean, got string"),
        ({"parts": [{"name": "a"}, {"name": 1}]}, r"parts\[1\]\.name: expected string, got number"),
        ({"parts": [1]}, r"parts\[0\]: expected object, got number"),
        ({"extra": {"name": "a", "size": -1}}, r"extra\.size: expected a size, got -1"),
        ({"size": "big"}, "size: expected integer, got string"),
        ({"by_word": {"a": "b"}}, r"by_word\.a: expected integer, got string"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_member_is_named_by_its_path(change, problem):
    with pytest.raises(InvalidDocument, match=f"^whole: {problem}"):
        read(PLAIN.to_document() | change)
