"""JSON as Go's encoding/json reads and writes it (docs/formats.md, "JSON as Go writes it").

A reader of a SOCI index parses it, writes it again and compares the digests. So our bytes have to equal those
that Go writes: no spaces, struct fields in declared order, map keys sorted, five characters escaped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from soci.errors import InvalidDocument

MAX_DEPTH = 100
"""The deepest nesting. Real documents stay below 10. Go stops at 10,000, Python at about 900."""

MAX_INTEGER_DIGITS = 100
"""The longest integer. Known fields have 64 bits. Longer numbers only serve to waste time."""

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPED = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(value: object) -> bytes:
    r"""Return compact JSON. Mappings keep their order: sort Go's maps with `sorted_map` first.

    Text that is not valid UTF-8 (lone surrogates in Python) becomes `\ufffd`. Raises `ValueError` for NaN and
    infinity.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # These characters occur in strings only, so they can be replaced in the finished text.
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match.group(), "\\ufffd"), text).encode()


def sorted_map(members: Mapping[str, str]) -> dict[str, str]:
    """Return a map in Go's order: by the bytes of UTF-8, which is also the order of code points."""
    return dict(sorted(members.items()))


def decode(data: bytes, what: str, *, limit_bytes: int) -> object:
    """Parse a document of at most `limit_bytes`. `what` names it in messages.

    Strings come out as in Go: each byte that is not UTF-8, and each lone surrogate, becomes U+FFFD. Of equal
    keys the last one counts. It also stands at the later position in the mapping: `soci.oci.fields` relies on
    that.

    Raises:
        InvalidDocument: the document is not JSON, too large or too deep, or a number is NaN or infinite.
    """
    if len(data) > limit_bytes:
        raise InvalidDocument(f"{what}: {len(data)} bytes, the limit for such a document is {limit_bytes}")
    # For each bad byte, surrogateescape gives one surrogate and Go one U+FFFD. "replace" may give fewer.
    text = data.decode("utf-8", "surrogateescape")
    try:
        document = json.loads(
            text,
            object_pairs_hook=_last_of_equal_keys,
            parse_int=_parse_integer,
            parse_float=_parse_number,
            parse_constant=_refuse_constant,
        )
        return _as_go_holds_it(document, depth=0)
    except RecursionError:
        raise InvalidDocument(f"{what}: nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise InvalidDocument(f"{what}: not valid JSON: {error}") from None


def _last_of_equal_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        members.pop(key, None)
        members[key] = value
    return members


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _parse_number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"number {digits[:40]} is out of range")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _as_go_holds_it(value: object, depth: int) -> object:
    if isinstance(value, str):
        return _without_surrogates(value)
    if depth == MAX_DEPTH and isinstance(value, list | dict):
        raise RecursionError
    if isinstance(value, list):
        return [_as_go_holds_it(item, depth + 1) for item in value]
    if isinstance(value, dict):
        pairs = [(_without_surrogates(key), _as_go_holds_it(item, depth + 1)) for key, item in value.items()]
        return _last_of_equal_keys(pairs)
    return value


def _without_surrogates(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
