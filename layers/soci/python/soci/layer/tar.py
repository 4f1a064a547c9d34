"""An incremental tar reader with the semantics of Go's archive/tar (formats.md 2).

    offset  bytes  field                  | offset  bytes  field
    0       100    name                   | 257     8      magic and version
    100     24     mode, uid, gid (8 each)| 265     64     user and group name (32 each)
    124     12     size                   | 329     16     device major, minor (8 each)
    136     12     modification time      | 345     155    prefix (USTAR); 131, atime, ctime (STAR);
    148     8      checksum               |                atime, ctime, ... (GNU)
    156     1      type                   | 500     12     padding; "tar\\0" at 508 (STAR)
    157     100    link name              |

File data is skipped without being touched. An ordinary header costs a few microseconds: fields that repeat from
file to file (owners, times, checksums) are parsed once and looked up after that.
"""

from __future__ import annotations

import enum
import struct
import zlib
from typing import NamedTuple, TypeVar

from soci.errors import TarError
from soci.layer.chunks import WINDOW_BYTES, Chunk
from soci.layer.pax import is_sparse, parse_decimal, parse_number, parse_octal, parse_records, parse_time
from soci.reasons import LeftOut, Reason

Value = TypeVar("Value")

BLOCK_BYTES = 512

MAX_SPECIAL_BYTES = 1 << 20
"""Go's own limit for the content of a pax header or a GNU long name."""

_CACHE_ENTRIES = 4096
"""Each cache is emptied when it grows past this: hostile headers that never repeat must not fill the memory."""

_HEADER = struct.Struct("100s 24s 12s 12s 8s c 100s 8s 80s 155s 12s")
_FILE_TYPES = frozenset((b"\0", b"0", b"1", b"2", b"3", b"4", b"5", b"6"))
_USTAR = b"ustar\0"
_GNU = b"ustar  \0"
_ZERO_BLOCK = bytes(BLOCK_BYTES)
_NO_PREFIX = bytes(155)
_SPACES_SUM = 8 * 0x20


class TarEntry(NamedTuple):
    """One file of the layer, as its headers tell it; names are raw bytes exactly as stored."""

    name: bytes
    type: bytes
    """Type flag b"0" to b"6", after Go's rule for the old flag NUL."""
    offset: int
    """Position of the first data byte in the uncompressed layer."""
    size: int
    """Size as declared, also where the type has no data."""
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
    pax_records: dict[bytes, bytes] | None


class _State(enum.Enum):
    HEADER = enum.auto()
    SPECIAL = enum.auto()
    ZERO_BLOCK = enum.auto()
    END = enum.auto()


class TarReader:
    """Turns chunks of a tar stream into entries.

    `feed(chunk)` returns the entries whose headers are complete; `finish(total)` checks the end and returns the
    number of bytes that belong to the tar (formats.md 1.4, uncompressed_archive_size). When an entry cannot
    be expressed in a zTOC, `left_out` says why and the rest of the stream is ignored.

    Raises:
        TarError: a header is malformed or the stream is cut short.
    """

    def __init__(self) -> None:
        self.left_out: LeftOut | None = None
        self._state = _State.HEADER
        self._next = 0
        """Position of the next byte to look at; everything before it has been dealt with."""
        self._data_end = 0
        self._special_type = b""
        self._special = bytearray()
        self._pax: dict[bytes, bytes] | None = None
        self._long_name = b""
        self._long_link = b""
        self._sums: dict[bytes, int] = {}
        self._times: dict[bytes, tuple[int, int]] = {}
        self._ids: dict[bytes, tuple[int, int, int]] = {}
        self._owners: dict[bytes, tuple[bytes, bytes, int, int]] = {}

    def feed(self, chunk: Chunk) -> list[TarEntry]:
        """Read all blocks that are complete with this chunk, which must follow the one before."""
        entries: list[TarEntry] = []
        if self.left_out:
            return entries
        buffer, end = chunk.buffer, chunk.end
        shift = WINDOW_BYTES - chunk.offset  # from a position in the stream to an index of the buffer
        last_block = end - BLOCK_BYTES
        while (at := self._next + shift) <= last_block or (self._state is _State.SPECIAL and at < end):
            if self._state is _State.SPECIAL:
                self._collect(buffer, at, end)
                continue
            if self._state is _State.END:
                break
            block = buffer[at : at + BLOCK_BYTES]
            if block[0] == 0 and block == _ZERO_BLOCK:
                self._next += BLOCK_BYTES
                self._state = _State.END if self._state is _State.ZERO_BLOCK else _State.ZERO_BLOCK
                continue
            if self._state is _State.ZERO_BLOCK:
                raise TarError(f"tar header at byte {self._next} follows a single zero block")
            try:
                entry = self._read_header(block)
            except TarError as error:
                raise TarError(f"tar header at byte {self._next} is invalid: {error}") from None
            if entry is not None:
                entries.append(entry)
            elif self.left_out:
                break
        return entries

    def finish(self, total_bytes: int) -> int:
        """Check that the stream may end after `total_bytes`; return how many of them belong to the tar."""
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
            raise TarError(f"tar is cut short in the header at byte {self._next}, the stream ends at {total_bytes}")
        return total_bytes

    def _read_header(self, block: bytearray) -> TarEntry | None:
        """Read the header block at `_next`; None when it is no file's own header."""
        (name, ids, size, mtime, checksum, type_flag, link, magic, owner, prefix, tail) = _HEADER.unpack(block)
        self._check_sum(block, checksum)
        mode, uid, gid = self._ids.get(ids) or self._parse_ids(ids)
        declared = parse_number(size)
        time = self._times.get(mtime) or self._parse_mtime(mtime)
        owner = magic + owner
        user, group, major, minor = self._owners.get(owner) or self._parse_owner(owner)
        name = name.split(b"\0", 1)[0]
        if prefix != _NO_PREFIX:
            name = _parse_prefix(magic, prefix, tail) + name
        link = link.split(b"\0", 1)[0]

        if type_flag not in _FILE_TYPES:
            return self._begin_special(type_flag, declared, name)
        pax = self._pax
        if pax is not None:
            self._pax = None
            if is_sparse(pax):
                return self._leave_out(Reason.SPARSE_FILE, name)
            name = pax.get(b"path") or name
            link = pax.get(b"linkpath") or link
            user = pax.get(b"uname") or user
            group = pax.get(b"gname") or group
            uid = _override(pax, b"uid", uid)
            gid = _override(pax, b"gid", gid)
            declared = _override(pax, b"size", declared)
            time = _override_time(pax, time)
        if self._long_name:
            name, self._long_name = self._long_name, b""
        if self._long_link:
            link, self._long_link = self._long_link, b""
        if type_flag == b"\0":
            type_flag = b"5" if name.endswith(b"/") else b"0"
        data_bytes = declared if type_flag == b"0" else 0
        self._skip(data_bytes)
        offset = self._data_end - data_bytes
        return TarEntry(
            name, type_flag, offset, declared, link, mode, uid, gid, user, group, time, major, minor, pax
        )

    def _skip(self, data_bytes: int) -> None:
        """Move behind this header block, its data and the padding."""
        if data_bytes < 0:
            raise TarError(f"negative size {data_bytes}")
        self._data_end = self._next + BLOCK_BYTES + data_bytes
        self._next = -(-self._data_end // BLOCK_BYTES) * BLOCK_BYTES

    def _check_sum(self, block: bytearray, field: bytes) -> None:
        """Compare the checksum, exactly but fast: Adler-32's low half is the byte sum plus one while that is
        below 65,521, which holds for any block of bytes under 128."""
        total = self._sums.get(field)
        if total is None:
            total = _remember(self._sums, field, parse_octal(field) - _SPACES_SUM + sum(field))
        if block.isascii() and zlib.adler32(block) & 0xFFFF == total + 1:
            return
        spaced = block[:148] + b" " * 8 + block[156:]
        unsigned = sum(spaced)
        signed = unsigned - 256 * sum(byte > 127 for byte in spaced)
        stored = parse_octal(field)
        if stored not in (unsigned, signed):
            raise TarError(f"checksum is {stored}, want {unsigned}")

    def _parse_ids(self, field: bytes) -> tuple[int, int, int]:
        mode, uid, gid = (parse_number(field[at : at + 8]) for at in (0, 8, 16))
        return _remember(self._ids, field, (mode, uid, gid))

    def _parse_mtime(self, field: bytes) -> tuple[int, int]:
        return _remember(self._times, field, (parse_number(field), 0))

    def _parse_owner(self, field: bytes) -> tuple[bytes, bytes, int, int]:
        owner = (b"", b"", 0, 0)
        if field[:6] == _USTAR or field[:8] == _GNU:
            user, group = (field[at : at + 32].split(b"\0", 1)[0] for at in (8, 40))
            owner = (user, group, parse_number(field[72:80]), parse_number(field[80:88]))
        return _remember(self._owners, field, owner)

    def _begin_special(self, type_flag: bytes, size: int, name: bytes) -> None:
        if type_flag == b"g":
            return self._leave_out(Reason.GLOBAL_PAX_HEADER, name)
        if type_flag == b"S":
            return self._leave_out(Reason.SPARSE_FILE, name)
        if type_flag not in (b"x", b"L", b"K"):
            return self._leave_out(Reason.UNSUPPORTED_ENTRY_TYPE, name, f"type {type_flag!r}, ")
        if not 0 <= size <= MAX_SPECIAL_BYTES:
            raise TarError(f"extended header of {size} bytes, at most {MAX_SPECIAL_BYTES} are allowed")
        self._special_type = type_flag
        self._special = bytearray()
        self._next += BLOCK_BYTES
        self._data_end = self._next + size
        self._state = _State.SPECIAL
        if not size:
            self._end_special()
        return None

    def _leave_out(self, reason: Reason, name: bytes, detail: str = "") -> None:
        self.left_out = LeftOut(reason=reason, detail=f"{detail}entry {name.decode('utf-8', 'backslashreplace')}")

    def _collect(self, buffer: bytearray, at: int, end: int) -> None:
        """Take in what is here of an extended header's content."""
        piece = buffer[at : min(end, at + self._data_end - self._next)]
        self._special += piece
        self._next += len(piece)
        if self._next == self._data_end:
            self._end_special()

    def _end_special(self) -> None:
        content = bytes(self._special)
        self._state = _State.HEADER
        self._next = -(-self._data_end // BLOCK_BYTES) * BLOCK_BYTES
        if self._special_type == b"x":
            self._pax = parse_records(content)
        elif self._special_type == b"L":
            self._long_name = content.split(b"\0", 1)[0]
        else:
            self._long_link = content.split(b"\0", 1)[0]


def _remember(cache: dict[bytes, Value], key: bytes, value: Value) -> Value:
    if len(cache) >= _CACHE_ENTRIES:
        cache.clear()
    cache[key] = value
    return value


def _parse_prefix(magic: bytes, prefix: bytes, tail: bytes) -> bytes:
    """Return what stands before the name, with its slash; empty where the format has no prefix."""
    text = b""
    if magic[:6] == _USTAR:
        text = prefix
        if tail[8:] == b"tar\0":  # STAR: the times must parse, though nobody uses them
            text = prefix[:131]
            parse_number(prefix[131:143])
            parse_number(prefix[143:155])
    elif magic == _GNU and not _gnu_times_parse(prefix):
        # Go before 1.8 wrote a USTAR prefix under a GNU magic; its reader repairs that, and so must we.
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


def _override_time(pax: dict[bytes, bytes], time: tuple[int, int]) -> tuple[int, int]:
    for key in (b"atime", b"ctime"):
        if text := pax.get(key):
            parse_time(text, key=key)
    text = pax.get(b"mtime")
    return parse_time(text, key=b"mtime") if text else time
