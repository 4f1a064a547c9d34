"""zTOC bytes as values; the bytes may be hostile (formats.md 1.1 gives the tables and slots)."""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from soci.errors import InvalidDocument, InvalidZtoc
from soci.layer.checkpoint import Checkpoint
from soci.oci.compression import Compression
from soci.oci.digest import Digest
from soci.ztoc.checkpoints import decode_gzip_checkpoints, decode_plain_checkpoints
from soci.ztoc.encode import COMPRESSION_CODES
from soci.ztoc.entries import OPAQUE_MARKER, TYPE_NAMES, XATTR_PREFIX
from soci.ztoc.flatbuffer import TableReader, read_bytes
from soci.ztoc.model import VERSION, CompressionInfo, FileEntry, Span, Ztoc
from soci.ztoc.toc import SLOT_COUNT

_FILE_SLOTS = "IIqqIqIIIIIqqI"
"""The `struct` code of each slot of FileMetadata; `I` is a reference but for uid and gid."""

_UINT16, _INT32, _UINT32 = struct.Struct("<H"), struct.Struct("<i"), struct.Struct("<I")

_FILE_BYTES = 64
"""What an entry takes in the buffer at least, if no two of them are the same table."""

_ABSENT = (0,)
_TYPES = {name: name.decode() for name in TYPE_NAMES.values()}

_COMPRESSIONS = {code: compression for compression, code in COMPRESSION_CODES.items()}

_MAX_STRINGS_FACTOR = 4
"""Strings may be shared in principle, but a buffer whose strings add up to a multiple of it is a bomb."""

_XATTR_BYTES = 24
"""What an Xattr table with two empty strings takes up, and so what it counts at least."""

_MAX_VTABLE_BYTES = 4 + 2 * SLOT_COUNT
"""Later versions of a table may have more slots; nobody reads them here."""

_MAX_LAYOUTS = 1024
"""There are 128 ways to leave out fields and to align the rest."""


def decode_ztoc(data: bytes | bytearray | memoryview) -> Ztoc:
    """Return a zTOC as values; the checkpoints' windows are views of `data`.

    Raises:
        InvalidZtoc: the bytes are no zTOC, or contradict themselves (a count, an enum value, a position).
    """
    root = TableReader.root(data)
    version = _text(root.string(0))
    if version != VERSION:
        raise InvalidZtoc(f"zTOC version is {version[:40]!r}, want {VERSION!r}")
    return Ztoc(
        version=version,
        build_tool_identifier=decode_build_tool(data),
        compressed_archive_size=root.number(2, "q"),
        uncompressed_archive_size=root.number(3, "q"),
        compression=decode_compression_info(data),
        files=tuple(decode_files(data)),
    )


def decode_build_tool(data: bytes | bytearray | memoryview) -> str:
    """Return who made a zTOC. Raises InvalidZtoc as `decode_ztoc` does."""
    return _text(TableReader.root(data).string(1))


def decode_compression_info(data: bytes | bytearray | memoryview) -> CompressionInfo:
    """Return spans and checkpoints without the files. Raises InvalidZtoc as `decode_ztoc` does."""
    root = TableReader.root(data)
    info = root.table(5)
    algorithm = _algorithm(info.number(0, "b", default=COMPRESSION_CODES[Compression.GZIP]))
    compressed, uncompressed = root.number(2, "q"), root.number(3, "q")
    digests = [_digest(read_bytes(data, at)) for at in info.references(2)]
    max_span_id = info.number(1, "i")
    if len(digests) != max_span_id + 1:
        raise InvalidZtoc(f"zTOC has {len(digests)} span digests, but its last span is number {max_span_id}")
    checkpoints: Sequence[Checkpoint] = ()
    if algorithm is Compression.GZIP:
        checkpoints, span_size_bytes = decode_gzip_checkpoints(info.view(3))
        spans = _gzip_spans(checkpoints, digests, compressed, uncompressed)
    else:
        span_size_bytes, layer_bytes = decode_plain_checkpoints(info.view(3))
        if layer_bytes != compressed:
            raise InvalidZtoc(
                f"checkpoint blob says {layer_bytes} bytes of layer, the zTOC says {compressed}"
            )
        spans = _plain_spans(span_size_bytes, digests, compressed)
    return CompressionInfo(
        algorithm=algorithm, span_size_bytes=span_size_bytes, spans=spans, checkpoints=tuple(checkpoints)
    )


FileRow = tuple[int, tuple[int, ...], tuple[int, ...]]
"""A file table before its strings are read: its position; where in it each slot lies, 0 when it is absent; the
slots' numbers, which for a string are the distance from the field to it. A plain tuple, as one is made per file."""


def scan_files(data: bytes | bytearray | memoryview, *, slot_count: int = SLOT_COUNT) -> Iterator[FileRow]:
    """Yield the first slots of the file tables in order, at a fraction of what whole entries cost.

    Raises:
        InvalidZtoc: a table leads out of the zTOC, or its fields overlap.
    """
    layouts: dict[int, _Layout] = {}
    for position in TableReader.root(data).table(4).references(0):
        try:
            vtable = position - _INT32.unpack_from(data, position)[0]
            if vtable < 0:
                raise InvalidZtoc(f"file table at byte {position} has its vtable at {vtable}")
            layout = layouts.get(vtable)
            if layout is None:
                if len(layouts) >= _MAX_LAYOUTS:
                    layouts.clear()
                vtable_bytes = min(_UINT16.unpack_from(data, vtable)[0], _MAX_VTABLE_BYTES)
                layout = layouts[vtable] = _layout(bytes(data[vtable : vtable + vtable_bytes]), slot_count)
            yield position, layout.places, layout.pick(layout.unpack(data, position) + _ABSENT)
        except struct.error:
            raise InvalidZtoc(f"file table at byte {position} leads out of the zTOC") from None


def read_text(data: bytes | bytearray | memoryview, row: FileRow, slot: int) -> bytes:
    """Return one string of a file table; empty where it is absent. Raises InvalidZtoc."""
    position, places, values = row
    place = places[slot]
    if not place:
        return b""
    start = position + place + values[slot] + 4
    if start > len(data):
        raise InvalidZtoc(f"file table at byte {position} has a string at byte {start - 4} of {len(data)}")
    end = start + int(_UINT32.unpack_from(data, start - 4)[0])
    if end > len(data):
        raise InvalidZtoc(f"string at byte {start - 4} reaches byte {end} of {len(data)}")
    return bytes(data[start:end])


def decode_files(data: bytes | bytearray | memoryview) -> Iterator[FileEntry]:
    """Yield the table of contents, in tar order. Raises InvalidZtoc."""
    string_bytes = 0
    for row in scan_files(data):
        name, type_, link, user, group, time = (read_text(data, row, slot) for slot in (0, 1, 4, 8, 9, 10))
        xattrs = tuple(_xattrs(data, row))
        string_bytes += _FILE_BYTES + len(name) + len(link) + len(user) + len(group) + len(time)
        string_bytes += sum(_XATTR_BYTES + len(key) + len(value) for key, value in xattrs)
        if string_bytes > _MAX_STRINGS_FACTOR * len(data):
            raise InvalidZtoc("strings of the zTOC overlap: together they are larger than the file")
        if type_ not in _TYPES:
            raise InvalidZtoc(f"entry {name[:80]!r} has the unknown type {type_[:20]!r}")
        values = row[2]
        yield FileEntry(
            name=name,
            type=_TYPES[type_],
            uncompressed_offset=values[2],
            uncompressed_size=values[3],
            link_name=link,
            mode=values[5],
            uid=values[6],
            gid=values[7],
            user_name=user,
            group_name=group,
            mod_time=_text(time),
            device_major=values[11],
            device_minor=values[12],
            xattrs=xattrs,
        )


def decode_needs_xattrs(data: bytes | bytearray | memoryview) -> bool:
    """Tell whether a file has extended attributes or marks a directory as opaque. Raises InvalidZtoc."""
    return any(
        read_text(data, row, 0).endswith(OPAQUE_MARKER)
        or any(key.startswith(XATTR_PREFIX) for key, _ in _xattrs(data, row))
        for row in scan_files(data)
    )


class _Layout(NamedTuple):
    unpack: Callable[[bytes | bytearray | memoryview, int], tuple[int, ...]]
    pick: Callable[[tuple[int, ...]], tuple[int, ...]]
    places: tuple[int, ...]


def _layout(vtable: bytes, slot_count: int) -> _Layout:
    """Turn a vtable into one unpacking of all fields; `pick` puts them in slot order, 0 for absent ones."""
    count = min((len(vtable) - 4) // 2, slot_count)
    if len(vtable) < 4:
        raise InvalidZtoc(f"file vtable of {len(vtable)} bytes is too short")
    places = struct.unpack_from(f"<{count}H", vtable, 4) + (0,) * (slot_count - count)
    order = sorted((place, slot) for slot, place in enumerate(places) if place)
    format_, at = "<", 0
    for place, slot in order:
        if place < at:
            raise InvalidZtoc("fields of a file table overlap")
        format_ += f"{place - at}x{_FILE_SLOTS[slot]}"
        at = place + struct.calcsize("<" + _FILE_SLOTS[slot])
    indices = {slot: index for index, (_, slot) in enumerate(order)}
    pick = operator.itemgetter(*(indices.get(slot, len(order)) for slot in range(slot_count)))
    return _Layout(struct.Struct(format_).unpack_from, pick, places)


def _xattrs(data: bytes | bytearray | memoryview, row: FileRow) -> Iterator[tuple[bytes, bytes]]:
    position, places, values = row
    place = places[13]
    if not place:
        return
    vector = position + place + values[13]
    content = read_bytes(data, vector, element_bytes=4)
    if len(content) > len(data) // 4:
        raise InvalidZtoc(f"xattr vector at byte {vector} is larger than its content can be")
    for index, (distance,) in enumerate(_UINT32.iter_unpack(content)):
        table = TableReader(data, vector + 4 + 4 * index + distance)
        yield table.string(0), table.string(1)


def _gzip_spans(
    checkpoints: Sequence[Checkpoint], digests: Sequence[Digest], compressed: int, uncompressed: int
) -> tuple[Span, ...]:
    if len(checkpoints) != len(digests):
        raise InvalidZtoc(f"zTOC has {len(digests)} span digests, but {len(checkpoints)} checkpoints")
    starts = [point.compressed - bool(point.bits) for point in checkpoints]
    ends = [point.compressed for point in checkpoints[1:]] + [compressed]
    outs = [point.uncompressed for point in checkpoints] + [uncompressed]
    return tuple(map(Span, starts, ends, outs, outs[1:], digests))


def _plain_spans(span_size_bytes: int, digests: Sequence[Digest], layer_bytes: int) -> tuple[Span, ...]:
    if len(digests) != -(-layer_bytes // span_size_bytes):
        raise InvalidZtoc(f"{len(digests)} spans of {span_size_bytes} bytes do not make {layer_bytes} bytes")
    starts = range(0, layer_bytes, span_size_bytes)
    ends = [min(start + span_size_bytes, layer_bytes) for start in starts]
    return tuple(map(Span, starts, ends, starts, ends, digests))


def _digest(text: memoryview) -> Digest:
    try:
        return Digest.parse(_text(bytes(text)))
    except InvalidDocument as error:
        raise InvalidZtoc(f"span digest: {error}") from None


def _algorithm(value: int) -> Compression:
    try:
        return _COMPRESSIONS[value]
    except KeyError:
        raise InvalidZtoc(f"zTOC names compression algorithm {value}, want 1 (gzip) or 2 (none)") from None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
