"""Typed reading of decoded JSON. Every error names the path of the bad field.

    >>> Fields({"config": {"size": "12"}}, "image manifest").child("config").integer("size")
    InvalidDocument: image manifest: config.size: expected integer, got string

Keys match as in Go's encoding/json: case does not matter, and the last match counts. A null field counts as
absent. An absent field has Go's zero value. For repeated keys, Go does more than this module: Go type-checks
the earlier values, merges repeated objects, and keeps a string or number when its repetition is null.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from soci.errors import InvalidDocument
from soci.oci.digest import Digest

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)

_KINDS = {str: "string", int: "integer", list: "list", dict: "object", float: "number", bool: "boolean"}

_MAX_INT64 = 2**63 - 1


class Fields:
    """The members of one JSON object by name. Messages name the document and the path in it."""

    __slots__ = ("_by_folded_name", "_document", "_path")

    def __init__(self, value: object, document: str, path: str = "") -> None:
        if not isinstance(value, dict):
            where = f"{document}: {path}" if path else document
            raise InvalidDocument(f"{where}: expected object, got {_kind(value)}")
        self._document = document
        self._path = path
        self._by_folded_name = {fold_key(key): member for key, member in value.items()}

    def string(self, name: str) -> str:
        """Return a string; "" when absent."""
        return self._typed(name, str) or ""

    def integer(self, name: str) -> int | None:
        """Return a signed 64-bit integer; None when absent."""
        value = self._get(name)
        return None if value is None else self._check_integer(name, value)

    def number(self, name: str) -> float:
        """Return a number; 0 when absent."""
        value = self._get(name)
        return float(value) if type(value) is int else self._typed(name, float) or 0.0

    def boolean(self, name: str) -> bool:
        """Return a boolean; False when absent."""
        value = self._get(name)
        if value not in (None, True, False) or type(value) is int:
            raise self.invalid(name, f"expected boolean, got {_kind(value)}")
        return value is True

    def choice(self, name: str, of: type[_E]) -> _E:
        """Return a member of an enum by its value. The field is required."""
        text = self.string(name)
        try:
            return of(text)
        except ValueError:
            raise self.invalid(name, f"expected one of {', '.join(of)}, got {text[:40]!r}") from None

    def size(self, name: str) -> int:
        """Return a number of bytes, not negative. The field is required."""
        return self._check_size(name, self._get(name))

    def digest(self, name: str) -> Digest:
        """Return a digest. The field is required."""
        return self._parse_digest(name, self.string(name))

    def digests(self, name: str) -> tuple[Digest, ...]:
        """Return a list of digests; empty when absent."""
        return tuple(self._parse_digest(f"{name}[{i}]", text) for i, text in enumerate(self.strings(name)))

    def data(self, name: str) -> bytes:
        """Decode base64; empty when absent."""
        text = self.string(name).replace("\r", "").replace("\n", "")  # Go's decoder skips line ends, too
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except ValueError as error:
            raise self.invalid(name, f"expected base64: {error}") from None

    def strings(self, name: str) -> tuple[str, ...]:
        """Return a list of strings; empty when absent."""
        items: list[object] = self._typed(name, list) or []
        return tuple(self._check(f"{name}[{i}]", item, str) for i, item in enumerate(items))

    def integers(self, name: str) -> tuple[int, ...]:
        """Return a list of integers; empty when absent."""
        items: list[object] = self._typed(name, list) or []
        return tuple(self._check(f"{name}[{i}]", item, int) for i, item in enumerate(items))

    def string_map(self, name: str) -> Mapping[str, str]:
        """Return an immutable map of strings (annotations); empty when absent. Its keys keep their case."""
        members: dict[str, object] = self._typed(name, dict) or {}
        return MappingProxyType(
            {
                key: "" if value is None else self._check(f"{name}[{key!r}]", value, str)
                for key, value in members.items()
            }
        )

    def counts(self, name: str) -> Mapping[str, int]:
        """Return a map of counts, empty when absent. Keys are matched exactly."""
        members: dict[str, object] = self._typed(name, dict) or {}
        return {key: self._check_size(f"{name}.{key}", count) for key, count in members.items()}

    def child(self, name: str) -> Fields:
        """Return a nested object. The field is required."""
        return Fields(self._get(name), self._document, self._path_of(name))

    def optional_child(self, name: str) -> Fields | None:
        """Return a nested object; None when absent."""
        return None if self._get(name) is None else self.child(name)

    def children(self, name: str) -> tuple[Fields, ...] | None:
        """Return a list of nested objects; None when absent, which in Go differs from an empty list."""
        items: list[object] | None = self._typed(name, list)
        if items is None:
            return None
        path = self._path_of(name)
        return tuple(Fields(item, self._document, f"{path}[{i}]") for i, item in enumerate(items))

    def has(self, name: str) -> bool:
        """Tell whether the field is present and not null."""
        return self._get(name) is not None

    def invalid(self, name: str, problem: str) -> InvalidDocument:
        """Return the error for a field, with document, path and problem."""
        return InvalidDocument(f"{self._document}: {self._path_of(name)}: {problem}")

    def _get(self, name: str) -> object:
        return self._by_folded_name.get(fold_key(name))

    def _typed(self, name: str, wanted: type[_T]) -> _T | None:
        value = self._get(name)
        return None if value is None else self._check(name, value, wanted)

    def _check(self, name: str, value: object, wanted: type[_T]) -> _T:
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise self.invalid(name, f"expected {_KINDS[wanted]}, got {_kind(value)}")
        return value

    def _check_integer(self, name: str, value: object) -> int:
        number = self._check(name, value, int)
        if not -_MAX_INT64 <= number <= _MAX_INT64:
            raise self.invalid(name, f"{number} does not fit in 64 bits")
        return number

    def _check_size(self, name: str, value: object) -> int:
        size = self._check_integer(name, value)
        if size < 0:
            raise self.invalid(name, f"expected a size, got {size}")
        return size

    def _parse_digest(self, name: str, text: str) -> Digest:
        try:
            return Digest.parse(text)
        except InvalidDocument as error:
            raise self.invalid(name, str(error)) from None

    def _path_of(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def fold_key(key: str) -> str:
    """Fold the case of a key as Go does.

    In Go two letters fold to ASCII: the Kelvin sign, which `lower` turns into k, and the long s. `casefold`
    would be wrong: it also turns ligatures and the sharp s into ASCII letters.
    """
    return key.lower().replace("\u017f", "s")


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return "number" if type(value) is int else _KINDS[type(value)]
