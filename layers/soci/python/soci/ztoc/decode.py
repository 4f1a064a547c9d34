"""Decode a zTOC. Its bytes may be hostile. formats.md 1.1 lists the tables and slots."""

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
from soci.ztoc.toc import FILE_SLOTS, FILE_VTABLE_BYTES

_UINT16, _INT32, _UINT32 = struct.Struct("<H"), struct.Struct("<i"), struct.Struct("<I")

_FILE_BYTES = 64
"""The smallest size of an entry in the buffer, if no two entries share a table."""

_ABSENT = (0,)
_TYPES = {name: name.decode() for name in TYPE_NAMES.values()}

_COMPRESSIONS = {code: compression for compression, code in COMPRESSION_CODES.items()}

_MAX_STRINGS_FACTOR = 4
"""Entries may share strings. But if all strings together are this many times larger than the buffer, it is a bomb."""

_XATTR_BYTES = 24
"""The size of an Xattr table with two empty strings: what each counts at least."""

_MAX_LAYOUTS = 1024
"""Honest zTOCs have at most 128 layouts: the ways to leave fields out and align the rest."""


def decode_ztoc(data: bytes | bytearray | memoryview) -> Ztoc:
    """Return a zTOC as values. The windows of its checkpoints are views of `data`.

    Raises:
        InvalidZtoc: the bytes are not a zTOC, or a count, an enum value or a position is wrong.
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
    """Return the build tool identifier. Raises InvalidZtoc, as `decode_ztoc`."""
    return _text(TableReader.root(data).string(1))


def decode_span_count(data: bytes | bytearray | memoryview) -> int:
    """Return the number of spans that a zTOC claims, before any of them is read. Raises InvalidZtoc."""
    return TableReader.root(data).table(5).number(1, "i") + 1


def decode_compression_info(data: bytes | bytearray | memoryview) -> CompressionInfo:
    """Return spans and checkpoints, without the files. Raises InvalidZtoc, as `decode_ztoc`."""
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
"""A file table with its strings still unread: the table's position; the position of each slot in the table, 0 if
absent; the value of each slot, which for a string is its distance from the field. A plain tuple is cheap, and there
is one per file."""


def scan_files(
    data: bytes | bytearray | memoryview, *, slot_count: int = len(FILE_SLOTS)
) -> Iterator[FileRow]:
    """Yield the first slots of the file tables in order, which is far cheaper than whole entries.

    Raises:
        InvalidZtoc: a table lies outside the zTOC, or its fields overlap.
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
                vtable_bytes = min(_UINT16.unpack_from(data, vtable)[0], FILE_VTABLE_BYTES)
                layout = layouts[vtable] = _layout(bytes(data[vtable : vtable + vtable_bytes]), slot_count)
            yield position, layout.positions, layout.pick(layout.unpack(data, position) + _ABSENT)
        except struct.error:
            raise InvalidZtoc(f"file table at byte {position} lies outside the zTOC") from None


def read_text(data: bytes | bytearray | memoryview, row: FileRow, slot: int) -> bytes:
    """Return one string of a file table; empty if absent. Raises InvalidZtoc."""
    table, positions, values = row
    position = positions[slot]
    if not position:
        return b""
    start = table + position + values[slot] + 4
    if start > len(data):
        raise InvalidZtoc(f"file table at byte {table} has a string at byte {start - 4} of {len(data)}")
    end = start + int(_UINT32.unpack_from(data, start - 4)[0])
    if end > len(data):
        raise InvalidZtoc(f"string at byte {start - 4} reaches byte {end} of {len(data)}")
    return bytes(data[start:end])


def decode_files(data: bytes | bytearray | memoryview) -> Iterator[FileEntry]:
    """Yield the table of contents in tar order. Raises InvalidZtoc."""
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
    """Tell whether a file has extended attributes, or marks a directory as opaque. Raises InvalidZtoc."""
    return any(
        read_text(data, row, 0).endswith(OPAQUE_MARKER)
        or any(key.startswith(XATTR_PREFIX) for key, _ in _xattrs(data, row))
        for row in scan_files(data)
    )


class _Layout(NamedTuple):
    unpack: Callable[[bytes | bytearray | memoryview, int], tuple[int, ...]]
    pick: Callable[[tuple[int, ...]], tuple[int, ...]]
    positions: tuple[int, ...]


def _layout(vtable: bytes, slot_count: int) -> _Layout:
    """Turn a vtable into one `unpack` of all fields. `pick` puts them in slot order, 0 for absent ones."""
    count = min((len(vtable) - 4) // 2, slot_count)
    if len(vtable) < 4:
        raise InvalidZtoc(f"file vtable of {len(vtable)} bytes is too short")
    positions = struct.unpack_from(f"<{count}H", vtable, 4) + (0,) * (slot_count - count)
    order = sorted((position, slot) for slot, position in enumerate(positions) if position)
    format_, at = "<", 0
    for position, slot in order:
        if position < at:
            raise InvalidZtoc("fields of a file table overlap")
        format_ += f"{position - at}x{FILE_SLOTS[slot]}"
        at = position + struct.calcsize("<" + FILE_SLOTS[slot])
    indices = {slot: index for index, (_, slot) in enumerate(order)}
    pick = operator.itemgetter(*(indices.get(slot, len(order)) for slot in range(slot_count)))
    return _Layout(struct.Struct(format_).unpack_from, pick, positions)


def _xattrs(data: bytes | bytearray | memoryview, row: FileRow) -> Iterator[tuple[bytes, bytes]]:
    table, positions, values = row
    position = positions[13]
    if not position:
        return
    vector = table + position + values[13]
    content = read_bytes(data, vector, element_bytes=4)
    if len(content) > len(data) // 4:
        raise InvalidZtoc(f"xattr vector at byte {vector} is larger than its content can be")
    for index, (distance,) in enumerate(_UINT32.iter_unpack(content)):
        xattr = TableReader(data, vector + 4 + 4 * index + distance)
        yield xattr.string(0), xattr.string(1)


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
