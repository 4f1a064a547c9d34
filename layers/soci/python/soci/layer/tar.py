r"""An incremental tar reader with the semantics of Go's archive/tar (formats.md 2).

    offset  bytes  field                  | offset  bytes  field
    0       100    name                   | 257     8      magic and version
    100     24     mode, uid, gid (8 each)| 265     64     user and group name (32 each)
    124     12     size                   | 329     16     device major, minor (8 each)
    136     12     modification time      | 345     155    prefix (USTAR); 131, atime, ctime (STAR);
    148     8      checksum               |                atime, ctime, ... (GNU)
    156     1      type                   | 500     12     padding; "tar\0" at 508 (STAR)
    157     100    link name              |

File data is skipped. An ordinary header costs a few microseconds: values that repeat from file to file (owner,
mode, time, checksum) are parsed once and then looked up.
"""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from soci.errors import TarError
from soci.layer.chunks import WINDOW_BYTES, Chunk
from soci.layer.pax import is_sparse, parse_decimal, parse_number, parse_octal, parse_records, parse_time
from soci.reasons import LeftOut, Reason

Value = TypeVar("Value")

BLOCK_BYTES = 512

MAX_SPECIAL_BYTES = 1 << 20
"""Go's limit for the content of a pax header or a GNU long name."""

_CACHE_ENTRIES = 4096
"""The limit of each cache. A full cache is emptied, so hostile headers that never repeat cannot fill the memory."""

_HEADER = struct.Struct("100s 24s 12s 12s 8s 189s 155s 12s")
"""Name, ids, size, time, checksum, type to device numbers, prefix, padding."""

_REGULAR = b"0"
_TYPES_WITHOUT_DATA = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))
_FILE_TYPES = _TYPES_WITHOUT_DATA | {b"\0", _REGULAR}
_MODIFIERS = frozenset((b"x", b"L", b"K"))
"""Types of headers that describe the next entry."""

_REASONS = {b"g": Reason.GLOBAL_PAX_HEADER, b"S": Reason.SPARSE_FILE}
_ONLY_PATH = {b"path"}
"""Most pax headers hold a long name only, and so do not change the attributes."""

_USTAR = b"ustar\0"
_GNU = b"ustar  \0"
_ZERO_BLOCK = bytes(BLOCK_BYTES)
_ASCII = bytes(range(128))
_NO_PREFIX = bytes(155)
_SPACES_SUM = 8 * 0x20
_MAX_SHOWN_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attributes:
    """The facts of a file's headers besides its name, size and position.

    Files with equal facts share one object. Objects are compared by identity.
    """

    type: bytes
    """Type flag b"0" to b"6". The old flag NUL is replaced by Go's rule."""
    link_name: bytes
    mode: int
    uid: int
    gid: int
    user_name: bytes
    group_name: bytes
    mtime: tuple[int, int]
    """Seconds since 1970 and nanoseconds."""
    device_major: int
    device_minor: int


class TarEntry(NamedTuple):
    """One file of the layer by its headers. Names are raw bytes, as stored."""

    name: bytes
    offset: int
    """Position of the first data byte in the uncompressed layer."""
    size: int
    """The declared size, even if the type has no data."""
    attributes: Attributes
    pax_records: dict[bytes, bytes] | None


class _State(enum.Enum):
    HEADER = enum.auto()
    SPECIAL = enum.auto()
    ZERO_BLOCK = enum.auto()
    END = enum.auto()


_HEADER_STATE, _SPECIAL_STATE = _State.HEADER, _State.SPECIAL


class TarReader:
    """Turns chunks of a tar stream into entries.

    `feed(chunk)` returns the entries whose headers are complete. `finish(total)` checks the end and returns the
    tar's size in bytes (formats.md 1.4, uncompressed_archive_size). If a zTOC cannot express an entry, `left_out`
    gives the reason, and the reader ignores the rest of the stream.

    Raises:
        TarError: a header is malformed or the stream is cut short.
    """

    def __init__(self) -> None:
        self.left_out: LeftOut | None = None
        self._state = _State.HEADER
        self._next = 0
        """The position of the next byte to read."""
        self._data_end = 0
        self._special_type = b""
        self._special = bytearray()
        self._pax: dict[bytes, bytes] | None = None
        self._long_name = b""
        self._long_link = b""
        self._adlers: dict[bytes, int] = {}
        self._sizes: dict[bytes, int] = {}
        self._attributes: dict[bytes, Attributes] = {}

    def feed(self, chunk: Chunk) -> list[TarEntry]:
        """Read all blocks that are complete with this chunk. Chunks come in order, without gaps."""
        entries: list[TarEntry] = []
        if self.left_out:
            return entries
        buffer, end = chunk.buffer, chunk.end
        shift = WINDOW_BYTES - chunk.offset  # a position in the stream plus this is an index of the buffer
        last_block = end - BLOCK_BYTES
        while (at := self._next + shift) <= last_block or (self._state is _SPECIAL_STATE and at < end):
            if self._state is _SPECIAL_STATE:
                self._collect(buffer, at, end)
                continue
            block = buffer[at : at + BLOCK_BYTES]
            if self._state is not _HEADER_STATE or (not block[0] and block == _ZERO_BLOCK):
                if not self._read_zero_block(block):
                    break
                continue
            try:
                entry = self._read_header(block)
            except TarError as error:
                raise TarError(f"tar header at byte {self._next} is invalid: {error}") from None
            if entry is not None:
                entries.append(entry)
            elif self.left_out:
                break
        return entries

    def _read_zero_block(self, block: bytearray) -> bool:
        """Skip a zero block. Returns False after the second one, which ends the archive."""
        if self._state is _State.END:
            return False
        if block != _ZERO_BLOCK:
            raise TarError(f"tar header at byte {self._next} follows a single zero block")
        self._next += BLOCK_BYTES
        self._state = _State.END if self._state is _State.ZERO_BLOCK else _State.ZERO_BLOCK
        return True

    def finish(self, total_bytes: int) -> int:
        """Check that the stream may end after `total_bytes`. Return how many of them belong to the tar."""
        if self._state is _State.END:
            return self._next
        if self.left_out:
            return total_bytes
        if total_bytes < self._data_end:
            raise TarError(
                f"tar is cut short: an entry's data should reach byte {self._data_end}, "
                f"the stream ends at {total_bytes}"
            )
        if self._next < total_bytes:
            raise TarError(
                f"tar is cut short in the header at byte {self._next}, the stream ends at {total_bytes}"
            )
        return total_bytes

    def _read_header(self, block: bytearray) -> TarEntry | None:  # noqa: C901, PLR0912 - saves a call per file
        """Read the header block at `_next`. Returns None unless it is a file's own header."""
        name, ids, size_field, mtime, checksum, rest, prefix, tail = _HEADER.unpack(block)
        adler = self._adlers.get(checksum)
        if adler is None:
            adler = _remember(self._adlers, checksum, _expected_adler(checksum))
        if zlib.adler32(block) & 0xFFFF != adler or not block.isascii():
            _check_sum(block, checksum)
        key = ids + mtime + rest
        attributes = self._attributes.get(key)
        if attributes is None:
            attributes = _remember(self._attributes, key, _parse_attributes(ids, mtime, rest))
        size = self._sizes.get(size_field)
        if size is None:
            size = _remember(self._sizes, size_field, parse_number(size_field))
        name = name.rstrip(b"\0")
        if b"\0" in name:
            name = name[: name.index(b"\0")]
        if prefix != _NO_PREFIX:
            name = _parse_prefix(rest[101:109], prefix, tail) + name
        type_flag = attributes.type
        if size < 0 and type_flag not in _TYPES_WITHOUT_DATA:
            raise TarError(f"negative size {size}")
        if type_flag not in _FILE_TYPES:
            self._begin_special(type_flag, size, name)
            return None

        pax = self._pax
        if pax is not None:
            self._pax = None
            name = pax.get(b"path") or name
            if pax.keys() != _ONLY_PATH:
                size = _override(pax, b"size", size)
                attributes = _override_attributes(pax, attributes)
                if is_sparse(pax):
                    self._leave_out(Reason.SPARSE_FILE, pax.get(b"GNU.sparse.name") or name)
                    return None
        if self._long_name or self._long_link:
            name, attributes = self._take_long_names(name, attributes)
        if type_flag == b"\0":
            attributes = replace(attributes, type=b"5" if name.endswith(b"/") else _REGULAR)
        data_bytes = size if attributes.type == _REGULAR else 0
        if data_bytes < 0:
            raise TarError(f"negative size {data_bytes}")
        start = self._next + BLOCK_BYTES
        self._data_end = end = start + data_bytes
        self._next = -(-end // BLOCK_BYTES) * BLOCK_BYTES
        return TarEntry(name, start, size, attributes, pax)

    def _take_long_names(self, name: bytes, attributes: Attributes) -> tuple[bytes, Attributes]:
        """Apply the names of GNU long name and long link headers. They override pax records."""
        if self._long_link:
            attributes, self._long_link = replace(attributes, link_name=self._long_link), b""
        if self._long_name:
            name, self._long_name = self._long_name, b""
        return name, attributes

    def _begin_special(self, type_flag: bytes, size: int, name: bytes) -> None:
        if type_flag not in _MODIFIERS:
            reason = _REASONS.get(type_flag, Reason.UNSUPPORTED_ENTRY_TYPE)
            detail = "" if type_flag in _REASONS else f"type {type_flag!r}, "
            self._leave_out(reason, name, detail)
            return
        if size > MAX_SPECIAL_BYTES:
            raise TarError(f"extended header of {size} bytes, at most {MAX_SPECIAL_BYTES} are allowed")
        self._special_type = type_flag
        self._special.clear()
        self._next += BLOCK_BYTES
        self._data_end = self._next + size
        self._state = _SPECIAL_STATE
        if not size:
            self._end_special(b"")

    def _leave_out(self, reason: Reason, name: bytes, detail: str = "") -> None:
        self.left_out = LeftOut(reason=reason, detail=detail + describe_entry(name))

    def _collect(self, buffer: bytearray, at: int, end: int) -> None:
        """Collect the content of an extended header, as far as it is in this chunk."""
        missing = self._data_end - self._next
        if missing <= end - at and not self._special:
            self._end_special(bytes(buffer[at : at + missing]))
            return
        self._special += buffer[at : min(end, at + missing)]
        self._next += min(end - at, missing)
        if self._next == self._data_end:
            self._end_special(bytes(self._special))

    def _end_special(self, content: bytes) -> None:
        self._state = _HEADER_STATE
        self._next = -(-self._data_end // BLOCK_BYTES) * BLOCK_BYTES
        if self._special_type == b"x":
            try:
                self._pax = parse_records(content)
            except TarError as error:
                raise TarError(f"pax header that ends at byte {self._data_end} is invalid: {error}") from None
        elif self._special_type == b"L":
            self._long_name = content.split(b"\0", 1)[0]
        else:
            self._long_link = content.split(b"\0", 1)[0]


def _expected_adler(field: bytes) -> int:
    """Return the low half of Adler-32 that an ASCII block with this checksum field must have.

    The low half is the sum of the bytes plus one, modulo 65,521. 512 bytes below 128 stay under that, so the
    modulo does not matter.
    """
    return 1 + parse_octal(field) - _SPACES_SUM + sum(field)


def _check_sum(block: bytearray, field: bytes) -> None:
    """Compare the checksum with the sum of unsigned bytes, or of signed bytes, as some old tars wrote it."""
    stored = parse_octal(field)
    spaced = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(spaced)
    signed = unsigned - 256 * len(spaced.translate(None, _ASCII))
    if stored not in (unsigned, signed):
        raise TarError(f"checksum is {stored}, want {unsigned}")


def describe_entry(name: bytes) -> str:
    """Return an entry's name for a message, shortened: a hostile name can have a megabyte."""
    shown = name[:_MAX_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return f"entry {shown}..." if len(name) > _MAX_SHOWN_BYTES else f"entry {shown}"


def _remember(cache: dict[bytes, Value], key: bytes, value: Value) -> Value:
    if len(cache) >= _CACHE_ENTRIES:
        cache.clear()
    cache[key] = value
    return value


def _parse_attributes(ids: bytes, mtime: bytes, rest: bytes) -> Attributes:
    mode, uid, gid = (parse_number(ids[at : at + 8]) for at in (0, 8, 16))
    user, group, major, minor = b"", b"", 0, 0
    if rest[101:107] == _USTAR or rest[101:109] == _GNU:
        user, group = (rest[at : at + 32].split(b"\0", 1)[0] for at in (109, 141))
        major, minor = parse_number(rest[173:181]), parse_number(rest[181:189])
    return Attributes(
        type=rest[:1],
        link_name=rest[1:101].split(b"\0", 1)[0],
        mode=mode,
        uid=uid,
        gid=gid,
        user_name=user,
        group_name=group,
        mtime=(parse_number(mtime), 0),
        device_major=major,
        device_minor=minor,
    )


def _override_attributes(pax: dict[bytes, bytes], attributes: Attributes) -> Attributes:
    for key in (b"atime", b"ctime"):
        if text := pax.get(key):
            parse_time(text, key=key)
    mtime = pax.get(b"mtime")
    return replace(
        attributes,
        link_name=pax.get(b"linkpath") or attributes.link_name,
        uid=_override(pax, b"uid", attributes.uid),
        gid=_override(pax, b"gid", attributes.gid),
        user_name=pax.get(b"uname") or attributes.user_name,
        group_name=pax.get(b"gname") or attributes.group_name,
        mtime=parse_time(mtime, key=b"mtime") if mtime else attributes.mtime,
    )


def _parse_prefix(magic: bytes, prefix: bytes, tail: bytes) -> bytes:
    """Return the prefix of the name with its slash; empty if the format has no prefix."""
    text = b""
    if magic[:6] == _USTAR:
        text = prefix
        if tail[8:] == b"tar\0":  # STAR: the times must parse, even if unused
            text = prefix[:131]
            parse_number(prefix[131:143])
            parse_number(prefix[143:155])
    elif magic == _GNU and not _gnu_times_parse(prefix):
        # Go before 1.8 wrote a USTAR prefix under a GNU magic. Its reader repairs that, so we do, too.
        text = prefix
    text = text.split(b"\0", 1)[0]
    if magic == _GNU and not text.isascii():
        text = b""
    return text + b"/" if text else b""


def _gnu_times_parse(prefix: bytes) -> bool:
    try:
        for field in (prefix[:12], prefix[12:24]):
            if field[0]:
                parse_number(field)
    except TarError:
        return False
    return True


def _override(pax: dict[bytes, bytes], key: bytes, value: int) -> int:
    text = pax.get(key)
    return parse_decimal(text, key=key) if text else value
