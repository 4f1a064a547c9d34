from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import pytest

from soci.errors import InvalidOption
from soci.service.settings.schema import (
    Choice,
    Declared,
    Flag,
    Integer,
    ListOf,
    Nullable,
    Row,
    Setting,
    Text,
    describe,
    markdown_table,
)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box(Declared):
    width: Annotated[int, Setting(Integer(minimum=1, maximum=9), "from side to side", unit="metres")] = 2
    height: Annotated[int | None, Setting(Nullable(Integer(minimum=1)), "`null`: open at the top")] = None
    labels: Annotated[
        tuple[str, ...], Setting(ListOf(item=Text(pattern="[a-z]+", accepted="words")), "on the side")
    ] = ()

    def conflicts(self) -> Iterable[str]:
        if self.height is not None and self.height < self.width:
            yield f"height: got {self.height}, want at least the width, {self.width}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop(Declared):
    colours: Annotated[
        tuple[Colour, ...], Setting(ListOf(item=Choice(Colour), minimum_items=1), "of the boxes")
    ] = (Colour.RED,)
    is_open: Annotated[bool, Setting(Flag(), "on Sundays")] = True
    box: Box = field(default_factory=Box)


def problems_of(document: object, path: str = "") -> list[str]:
    with pytest.raises(InvalidOption) as failure:
        Shop.from_document(document, path)
    return str(failure.value).split("; ")


def test_absent_fields_have_their_defaults_and_given_ones_their_values():
    shop = Shop.from_document({"colours": ["blue", "red"], "box": {"height": 3, "labels": ["fragile"]}})

    assert shop == Shop(colours=(Colour.BLUE, Colour.RED), box=Box(height=3, labels=("fragile",)))
    assert shop.is_open
    assert shop.box.width == 2


def test_a_section_is_read_as_it_was_written():
    shop = Shop(colours=(Colour.BLUE,), is_open=False, box=Box(width=9, height=9, labels=("a", "b")))

    document = shop.to_document()

    assert Shop.from_document(document) == shop
    assert document == {
        "colours": ["blue"],
        "is_open": False,
        "box": {"width": 9, "height": 9, "labels": ["a", "b"]},
    }


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "settings: got [], want an object"),
        ({"door": 1}, "door: no such setting, there are colours, is_open, box"),
        ({"box": None}, "box: got nothing, want an object"),
        ({"box": {"depth": 1}}, "box.depth: no such setting, there are width, height, labels"),
        ({"box": {"width": "2"}}, "box.width: got '2', want a whole number, 1 to 9"),
        ({"is_open": "true"}, "is_open: got 'true', want true or false"),
        ({"box": {"width": True}}, "box.width: got True, want a whole number, 1 to 9"),
        ({"box": {"width": 2.0}}, "box.width: got 2.0, want a whole number, 1 to 9"),
        ({"box": {"width": 10}}, "box.width: got 10, want a whole number, 1 to 9"),
        ({"box": {"height": 0}}, "box.height: got 0, want a whole number, 1 or more"),
        ({"box": {"height": 1}}, "box.height: got 1, want at least the width, 2"),
        ({"box": {"labels": "a"}}, "box.labels: got a, want a list"),
        ({"box": {"labels": ["a", "B"]}}, "box.labels[1]: got B, want words"),
        ({"box": {"labels": ["a", 3]}}, "box.labels[1]: got 3, want words"),
        ({"box": {"labels": ["a", "a"]}}, "box.labels[1]: a is listed twice"),
        ({"colours": []}, "colours: 0 items, want at least 1"),
        ({"colours": ["green"]}, "colours[0]: got green, want one of red, blue"),
        ({"colours": [{}]}, "colours[0]: got {}, want one of red, blue"),
        ({"is_open": "yes"}, "is_open: got yes, want true or false"),
        ({"is_open": 1}, "is_open: got 1, want true or false"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_field_is_named_with_its_value_and_what_is_wanted(document, problem):
    assert problems_of(document) == [problem]


def test_every_bad_field_is_named_at_once():
    document = {"colours": ["green"], "is_open": 0, "box": {"width": -1, "labels": ["", "x"]}, "door": None}

    named = [problem.partition(":")[0] for problem in problems_of(document)]

    assert named == ["door", "colours[0]", "is_open", "box.width", "box.labels[0]"]


def test_messages_begin_where_the_section_lies_in_a_larger_document():
    assert problems_of({"box": {"height": 1}}, "context.shop") == [
        "context.shop.box.height: got 1, want at least the width, 2"
    ]


def test_a_long_value_is_shortened_in_the_message():
    [problem] = problems_of({"is_open": "x" * 1_000})

    assert len(problem) < 120


@pytest.mark.parametrize(
    ("fields", "problem"),
    [({"width": 0}, "width: got 0"), ({"height": 1}, "height: got 1"), ({"labels": ("A",)}, r"labels\[0\]")],
    ids=["range", "conflict", "item"],
)
def test_a_section_made_in_code_is_checked(fields, problem):
    with pytest.raises(InvalidOption, match=f"^{problem}"):
        Box(**fields)


def test_every_setting_is_described_by_its_path_default_and_meaning():
    rows = list(describe(Shop, "shop"))

    assert [row.name for row in rows] == [
        "shop.colours",
        "shop.is_open",
        "shop.box.width",
        "shop.box.height",
        "shop.box.labels",
    ]
    assert rows[0] == Row(
        name="shop.colours",
        default='["red"]',
        unit="",
        accepted='list of `"red"`, `"blue"`',
        meaning="of the boxes",
    )


def test_the_table_has_a_line_for_each_setting():
    lines = markdown_table(describe(Box)).splitlines()

    assert lines[:3] == [
        "| setting | default | takes | meaning |",
        "| --- | --- | --- | --- |",
        "| `width` | `2` | 1 to 9 (metres) | from side to side |",
    ]
    assert lines[3] == "| `height` | `null` | `null`, 1 or more | `null`: open at the top |"
