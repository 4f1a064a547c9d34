r"""Numbers, times and records of tar headers (formats.md 2).

The rules are those of Go's archive/tar:

    octal     without spaces and NULs on both sides, up to the first NUL inside; empty is 0
    base-256  the first bit is set: two's complement, bit 6 is the sign, at most 63 bits
    record    "LEN key=value\n"; LEN counts itself; the key ends at the first "="
    pax time  seconds, optionally "." and digits, of which nine count; a "-" applies to the fraction, too
"""

from __future__ import annotations

import re

from soci.errors import TarError

_INT64 = 1 << 63
_DECIMAL = re.compile(rb"([+-]?)0*([0-9]{1,19})")
"""A 64-bit number after any number of zeros. int() alone refuses some thousand digits."""

_SPARSE_PAIRS = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_TEXT_KEYS = (b"path", b"linkpath", b"uname", b"gname")
_USUAL_LENGTH_DIGITS = 7
_MIN_RECORD_BYTES = 5
_NANOSECOND_DIGITS = 9


def parse_octal(field: bytes) -> int:
    """Return the value of an octal field as a signed 64-bit number. Raises TarError."""
    text = field.strip(b" \0").split(b"\0", 1)[0]
    if not text:
        return 0
    try:
        value = int(text, 8) if text.isdigit() else -1
    except ValueError:
        value = -1
    if not 0 <= value < 2 * _INT64:
        raise TarError(f"bad octal number {field!r} in a tar header")
    return value if value < _INT64 else value - 2 * _INT64


def parse_number(field: bytes) -> int:
    """Return the value of a numeric field, octal or base-256. Raises TarError."""
    if not field[0] & 0x80:
        return parse_octal(field)
    negative = field[0] & 0x40
    raw = bytes(byte ^ 0xFF for byte in field) if negative else field
    value = int.from_bytes(bytes((raw[0] & 0x7F,)) + raw[1:], "big")
    if value >= _INT64:
        raise TarError(f"number {field!r} in a tar header needs more than 63 bits")
    return ~value if negative else value


def parse_decimal(value: bytes, *, key: bytes) -> int:
    """Return the decimal number of a pax record. Raises TarError unless it is a number of 64 bits."""
    number = _decimal(value)
    if number is None:
        raise TarError(f"pax record {key.decode()} is not a 64-bit number: {value[:40]!r}")
    return number


def _decimal(text: bytes) -> int | None:
    match = _DECIMAL.fullmatch(text)
    number = int(match[1] + match[2]) if match else _INT64
    return number if -_INT64 <= number < _INT64 else None


def parse_time(value: bytes, *, key: bytes) -> tuple[int, int]:
    """Return (seconds, nanoseconds) since 1970, nanoseconds in [0, 10^9). Raises TarError."""
    whole, _, fraction = value.partition(b".")
    seconds = parse_decimal(whole, key=key)
    if not fraction:
        return seconds, 0
    if not fraction.isdigit():
        raise TarError(f"pax record {key.decode()} is not a time: {value[:40]!r}")
    nanoseconds = int(fraction[:_NANOSECOND_DIGITS].ljust(_NANOSECOND_DIGITS, b"0"))
    if whole.startswith(b"-") and nanoseconds:
        return seconds - 1, 1_000_000_000 - nanoseconds
    return seconds, nanoseconds


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """Return the records of a pax header. The last of equal keys counts. Pairs of sparse 0.0 become one map.

    Raises:
        TarError: a record does not follow the format.
    """
    records: dict[bytes, bytes] = {}
    sparse_map: list[bytes] = []
    at = 0
    while at < len(data):
        key, value, at = _parse_record(data, at)
        if key in _SPARSE_PAIRS:
            if key != _SPARSE_PAIRS[len(sparse_map) % 2] or b"," in value:
                raise TarError(f"bad pax record {key.decode()}: offset and numbytes must alternate")
            sparse_map.append(value)
        else:
            records[key] = value
    if sparse_map:
        records[b"GNU.sparse.map"] = b",".join(sparse_map)
    return records


def _parse_record(data: bytes, at: int) -> tuple[bytes, bytes, int]:
    space = data.find(b" ", at)
    text = data[at:space] if space >= 0 else b""
    length = int(text) if text.isdigit() and len(text) <= _USUAL_LENGTH_DIGITS else _decimal(text) or 0
    end = at + length
    if length < _MIN_RECORD_BYTES or end > len(data) or end <= space + 1 or data[end - 1] != 0x0A:
        raise TarError(f"bad pax record {data[at : at + 40]!r}: wrong length")
    key, equals, value = data[space + 1 : end - 1].partition(b"=")
    if not key or not equals or b"\0" in (value if key in _TEXT_KEYS else key):
        raise TarError(f"bad pax record {data[at : at + 40]!r}: no valid key")
    return key, value, end


def is_sparse(records: dict[bytes, bytes]) -> bool:
    """Tell whether a pax header announces a sparse file of form 0.0, 0.1 or 1.0."""
    version = records.get(b"GNU.sparse.major", b""), records.get(b"GNU.sparse.minor", b"")
    if version in ((b"0", b"0"), (b"0", b"1"), (b"1", b"0")):
        return True
    return version == (b"", b"") and bool(records.get(b"GNU.sparse.map"))
