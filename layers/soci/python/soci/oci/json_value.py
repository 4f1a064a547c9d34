"""A JSON value with its path, which collects its problems, so that one error names every bad field.

    >>> problems = []
    >>> request = JsonValue({"tag": 5, "force": "yes"}, "", problems)
    >>> request.member("tag").text(), request.member("force").flag()
    ('', False)
    >>> problems
    ['tag: got 5, want a string', 'force: got yes, want true or false']

This is for documents that people write: settings, requests, task definitions. `fields` is for documents of other
programs: it matches keys as Go does, and raises the first problem.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SHOWN_CHARACTERS = 60
_WORD = re.compile(r"(?!(true|false|null|nothing)$)[A-Za-z_][\w.-]*")
"""A text that nobody takes for a number, true, false or null. It is shown without quotes."""


@dataclass(frozen=True, slots=True)
class JsonValue:
    """A value, where it stands in its document, and the list that its problems are added to."""

    value: object
    path: str
    problems: list[str]

    def member(self, name: str) -> JsonValue:
        """Return the member of an object; its value is None when it is absent, or when this is no object."""
        value = self.value.get(name) if isinstance(self.value, Mapping) else None
        return JsonValue(value, join_path(self.path, name), self.problems)

    def items(self) -> list[JsonValue]:
        """Return the items of a list; none when this is no list."""
        items: Sequence[object] = self.value if isinstance(self.value, list | tuple) else ()
        return [JsonValue(item, f"{self.path}[{number}]", self.problems) for number, item in enumerate(items)]

    def text(self, want: str = "a string") -> str:
        """Return a text; "" when it is absent or no text, which is a problem."""
        if self.value is not None and not isinstance(self.value, str):
            self.refuse(want)
        return self.value if isinstance(self.value, str) else ""

    def flag(self) -> bool:
        """Return true or false; false when it is absent or neither, which is a problem."""
        if self.value is not None and not isinstance(self.value, bool):
            self.refuse("true or false")
        return self.value is True

    def is_object(self) -> bool:
        """Tell whether this is an object; anything else is a problem."""
        if not isinstance(self.value, Mapping):
            self.refuse("an object")
        return isinstance(self.value, Mapping)

    def refuse(self, want: str) -> None:
        """Add the problem that this is not what is wanted."""
        self.report(f"got {shown(self.value)}, want {want}")

    def report(self, problem: str) -> None:
        """Add a problem."""
        self.problems.append(f"{self.path}: {problem}" if self.path else problem)


def join_path(path: str, name: str) -> str:
    """Return the path of a member."""
    return f"{path}.{name}" if path else name


def shown(value: object) -> str:
    """Return a value as a message shows it: a word as it is, anything else as Python writes it, both shortened."""
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) and _WORD.fullmatch(value) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
