"""Settings declared once. They are read from JSON with every bad field named, written back, and described.

A section is a frozen dataclass. Each field declares the values that it accepts, or is a section itself:

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Limits(Declared):
        max_size_bytes: Annotated[int, Setting(Integer(minimum=0), "the largest file", unit="bytes")] = 1024

    Limits.from_document({"max_size_bytes": 2048}).max_size_bytes      2048
    Limits.from_document({"max_size": "2"})                            InvalidOption, naming each bad field
    markdown_table(describe(Limits))                                   the table for the manual
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, Self, get_type_hints

from soci.errors import InvalidOption
from soci.oci.json_value import JsonValue, join_path, shown
from soci.settings import is_printable


class Kind(Protocol):
    """A kind of value that settings accept."""

    @property
    def accepted(self) -> str:
        """The values that are accepted, in a few words."""

    def read(self, at: JsonValue) -> object:
        """Return the value of a setting; its problems are collected."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The declaration of a setting, besides its name, type and default."""

    kind: Kind
    meaning: str
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One setting as the manual shows it."""

    name: str
    """The path in the document: `rules.tags.include`."""
    default: str
    """As JSON."""
    unit: str
    accepted: str
    meaning: str


class Declared:
    """A section of settings. A section that exists is valid.

    Raises:
        InvalidOption: naming every field that is not valid.
    """

    __slots__ = ()

    def __post_init__(self) -> None:
        problems: list[str] = []
        for name, kind in _kinds(type(self)).items():
            value = getattr(self, name)
            if not isinstance(value, Declared):  # a section checked itself
                kind.read(JsonValue(_as_json(value), name, problems))
        problems += [] if problems else self.conflicts()
        if problems:
            raise InvalidOption("; ".join(problems))

    def conflicts(self) -> Iterable[str]:
        """Return at most one problem between fields that are each valid. It begins with a field's name."""
        return ()

    @classmethod
    def from_document(cls, document: object, path: str = "") -> Self:
        """Read a section from decoded JSON; absent fields have their defaults.

        Args:
            document: the JSON object.
            path: of the section in a larger document, for messages.

        Raises:
            InvalidOption: naming every field that is unknown, of the wrong type or out of range.
        """
        problems: list[str] = []
        is_object = isinstance(document, Mapping)
        made = Section(cls).read(JsonValue(document, path if is_object else path or "settings", problems))
        if problems or not isinstance(made, cls):
            raise InvalidOption("; ".join(problems))
        return made

    def to_document(self) -> dict[str, object]:
        """Return the JSON object with all fields, in their declared order."""
        return {name: _as_json(getattr(self, name)) for name in _kinds(type(self))}


def describe(of: type[Declared], path: str = "") -> Iterator[Row]:
    """Yield a row for every setting of a section and its sections. `path` is put before the names."""
    defaults = of()
    for name, declared in _declared(of).items():
        full_name = join_path(path, name)
        if isinstance(declared, Setting):
            yield Row(
                name=full_name,
                default=json.dumps(_as_json(getattr(defaults, name))),
                unit=declared.unit,
                accepted=declared.kind.accepted,
                meaning=declared.meaning,
            )
        else:
            yield from describe(declared.of, full_name)


def markdown_table(rows: Iterable[Row]) -> str:
    """Return rows as a table for the manual."""
    lines = ["| setting | default | takes | meaning |", "| --- | --- | --- | --- |"]
    for row in rows:
        takes = f"{row.accepted} ({row.unit})" if row.unit else row.accepted
        lines.append(f"| `{row.name}` | `{row.default}` | {takes} | {row.meaning} |")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Section:
    """A JSON object with declared fields."""

    of: type[Declared]
    accepted = "object"

    def read(self, at: JsonValue) -> Declared | None:
        """See `Kind`."""
        if not at.is_object() or not isinstance(at.value, Mapping):
            return None
        kinds = _kinds(self.of)
        known = len(at.problems)
        for name in at.value:
            if name not in kinds:
                at.member(shown(name)).report(f"no such setting, there are {', '.join(kinds)}")
        values: dict[str, Any] = {
            name: kind.read(at.member(name)) for name, kind in kinds.items() if name in at.value
        }
        if len(at.problems) > known:
            return None
        try:
            return self.of(**values)
        except InvalidOption as error:
            at.problems.append(join_path(at.path, str(error)))
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """A whole number."""

    minimum: int
    maximum: int | None = None

    @property
    def accepted(self) -> str:
        """See `Kind`."""
        return f"{self.minimum} or more" if self.maximum is None else f"{self.minimum} to {self.maximum}"

    def read(self, at: JsonValue) -> object:
        """See `Kind`."""
        if not isinstance(at.value, int) or isinstance(at.value, bool) or not self._holds(at.value):
            at.refuse(f"a whole number, {self.accepted}")
        return at.value

    def _holds(self, value: int) -> bool:
        return self.minimum <= value and (self.maximum is None or value <= self.maximum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text that matches a pattern whole."""

    pattern: str
    accepted: str

    def read(self, at: JsonValue) -> object:
        """See `Kind`."""
        if not isinstance(at.value, str) or not re.fullmatch(self.pattern, at.value):
            at.refuse(self.accepted)
        return at.value


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintableText:
    """A text that shows on one line."""

    maximum_characters: int
    accepted = "printable text"

    def read(self, at: JsonValue) -> object:
        """See `Kind`."""
        if (
            not isinstance(at.value, str)
            or not is_printable(at.value)
            or len(at.value) > self.maximum_characters
        ):
            at.refuse(self.accepted)
        return at.value


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    of: Iterable[str]

    @property
    def accepted(self) -> str:
        """See `Kind`."""
        return ", ".join(f'`"{choice}"`' for choice in self.of)

    def read(self, at: JsonValue) -> object:
        """See `Kind`."""
        choices = {str(choice): choice for choice in self.of}
        if not isinstance(at.value, str) or at.value not in choices:
            at.refuse(f"one of {', '.join(choices)}")
            return at.value
        return choices[at.value]


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no."""

    accepted = "`true`, `false`"

    def read(self, at: JsonValue) -> object:
        """See `Kind`."""
        if not isinstance(at.value, bool):
            at.refuse("true or false")
        return at.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf:
    """A list of values of one kind, as a tuple; none of them twice."""

    item: Kind
    minimum_items: int = 0

    @property
    def accepted(self) -> str:
        """See `Kind`."""
        return f"list of {self.item.accepted}"

    def read(self, at: JsonValue) -> object:
        """See `Kind`."""
        if not isinstance(at.value, list | tuple):
            at.refuse("a list")
            return ()
        items = at.items()
        if len(items) < self.minimum_items:
            at.report(f"{len(items)} items, want at least {self.minimum_items}")
        for number, item in enumerate(items):
            if item.value in at.value[:number]:
                item.report(f"{shown(item.value)} is listed twice")
        return tuple(self.item.read(item) for item in items)


@dataclass(frozen=True, slots=True)
class Nullable:
    """A value that may be null, which is None."""

    of: Kind

    @property
    def accepted(self) -> str:
        """See `Kind`."""
        return f"`null`, {self.of.accepted}"

    def read(self, at: JsonValue) -> object:
        """See `Kind`."""
        return None if at.value is None else self.of.read(at)


def _declared(of: type[Declared]) -> Mapping[str, Setting | Section]:
    """Return what a section's fields are, in their order."""
    found: dict[str, Setting | Section] = {}
    for name, hint in get_type_hints(of, include_extras=True).items():
        marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Setting)]
        found[name] = marks[0] if marks else Section(hint)
    return found


def _kinds(of: type[Declared]) -> Mapping[str, Kind]:
    return {
        name: declared.kind if isinstance(declared, Setting) else declared
        for name, declared in _declared(of).items()
    }


def _as_json(value: object) -> object:
    match value:
        case Declared():
            return value.to_document()
        case tuple():
            return [_as_json(item) for item in value]
        case StrEnum():
            return str(value)
        case _:
            return value
