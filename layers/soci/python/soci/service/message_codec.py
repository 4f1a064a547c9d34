"""Messages as JSON: the fields of a dataclass are the one definition that both writes and reads them.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Layer(Message):
        digest: Digest                                # required
        size: int = 0                                 # optional: its default when absent
        base: str | None = None                       # written as null
        note: Annotated[str, Mark.BOUNDED] = ""       # shortened when written
        copies: Annotated[int, "copy_count"] = 0      # has another name in JSON

    Layer(...).to_document()                          the JSON object, its members in the order of the fields
    Layer.from_fields(fields)                         the message; errors name the path of the bad member

A `Mark` says what the type of a field does not. Where JSON differs by more, a message overrides one of the two
methods and calls `encode` or `decode` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import Enum, StrEnum, auto
from functools import cache
from types import NoneType
from typing import Annotated, Any, Self, TypeVar, get_args, get_origin, get_type_hints

from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.service.outcomes import bounded

_SECONDS_DECIMALS = 1


class Mark(Enum):
    """How a field is written or read, besides what its type says."""

    INLINE = auto()
    """A message whose members stand among those of the message that holds it."""
    BOUNDED = auto()
    """A text that is shortened when written."""
    OMITTED = auto()
    """Not written when it has its default."""
    REQUIRED = auto()
    """Must be there when read, although it has a default."""
    INTERNAL = auto()
    """Neither written nor read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A value that one state of a workflow hands to another as JSON."""

    def to_document(self) -> dict[str, object]:
        """Return the JSON object."""
        return encode(self)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read the message. Raises `InvalidDocument` that names the path."""
        return decode(cls, fields)


_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """One field of a message."""

    field: str
    name: str
    """In JSON."""
    type: Any
    marks: frozenset[Mark]
    default: object
    """`MISSING` when there is no default, or when a factory makes it."""
    is_optional: bool


def encode(message: Message) -> dict[str, object]:
    """Return a message as a JSON object, by its fields alone."""
    document: dict[str, object] = {}
    for member in _members(type(message)):
        value = getattr(message, member.field)
        if Mark.INTERNAL in member.marks or (Mark.OMITTED in member.marks and value == member.default):
            continue
        if Mark.INLINE in member.marks:
            document |= value.to_document()
        else:
            document[member.name] = bounded(value) if Mark.BOUNDED in member.marks else _as_json(value)
    return document


def decode(kind: type[_M], fields: Fields, **given: object) -> _M:
    """Read a message by its fields alone.

    Args:
        kind: its class.
        fields: the JSON object.
        given: values of fields that are not read.

    Raises:
        InvalidDocument: naming the path of the first bad member.
    """
    values = dict(given)
    for member in _members(kind):
        if member.field in given or Mark.INTERNAL in member.marks:
            continue
        if Mark.INLINE in member.marks:
            values[member.field] = member.type.from_fields(fields)
        elif fields.has(member.name) or not member.is_optional:
            values[member.field] = _read(fields, member.name, member.type)
    return kind(**values)


def _members(kind: type[Message]) -> tuple[_Member, ...]:
    return _members_of(kind)  # type: ignore[arg-type] # mypy takes the class of a dataclass for unhashable


@cache
def _members_of(kind: type[Message]) -> tuple[_Member, ...]:
    hints = get_type_hints(kind, include_extras=True)
    members = []
    for field in fields(kind):
        of, *marks = get_args(hints[field.name]) if _is_annotated(hints[field.name]) else [hints[field.name]]
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        member = _Member(
            field=field.name,
            name=next((mark for mark in marks if isinstance(mark, str)), field.name),
            type=of,
            marks=frozenset(mark for mark in marks if isinstance(mark, Mark)),
            default=field.default,
            is_optional=has_default and Mark.REQUIRED not in marks,
        )
        members.append(member)
    return tuple(members)


def _is_annotated(hint: object) -> bool:
    return get_origin(hint) is Annotated


def _as_json(value: object) -> object:
    match value:
        case Message():
            return value.to_document()
        case Digest() | StrEnum():
            return str(value)
        case float():
            return round(value, _SECONDS_DECIMALS)
        case tuple():
            return [_as_json(item) for item in value]
        case Mapping():
            return {str(name): item for name, item in value.items()}
        case _:
            return value


_SCALARS: Mapping[type, Callable[[Fields, str], object]] = {
    str: Fields.string,
    bool: Fields.boolean,
    int: Fields.size,
    float: Fields.number,
    Digest: Fields.digest,
}
_LISTS: Mapping[type, Callable[[Fields, str], object]] = {
    str: Fields.strings,
    int: Fields.integers,
    Digest: Fields.digests,
}


def _read(fields: Fields, name: str, of: Any) -> object:  # noqa: ANN401 - any type that a field may have
    of, is_nullable = _without_none(of)
    if get_origin(of) is tuple:
        value: object = _read_list(fields, name, get_args(of)[0])
    elif get_origin(of) is Mapping:
        value = _read_counts(fields, name, get_args(of)[0])
    elif of in _SCALARS:
        value = _SCALARS[of](fields, name)
    elif issubclass(of, StrEnum):
        value = fields.choice(name, of)
    else:
        value = of.from_fields(fields.child(name))
    return (value or None) if is_nullable else value


def _without_none(of: Any) -> tuple[Any, bool]:  # noqa: ANN401 - see `_read`
    """Return the type of `X | None`, and whether None is allowed."""
    types = [one for one in get_args(of) if one is not NoneType]
    return (types[0], True) if NoneType in get_args(of) else (of, False)


def _read_list(fields: Fields, name: str, of: Any) -> object:  # noqa: ANN401 - see `_read`
    if read := _LISTS.get(of):
        return read(fields, name)
    return tuple(of.from_fields(child) for child in fields.children(name) or ())


def _read_counts(fields: Fields, name: str, of: type[str]) -> Mapping[str, int]:
    """Read a map of counts; of a map by an enum the known members, in the order of the enum."""
    counts = fields.counts(name)
    return {key: counts[key] for key in of if key in counts} if issubclass(of, StrEnum) else counts
