"""Build zTOCs with FlatBuffers' own library, in the steps of docs/formats.md 1.3: the oracle of our writer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import flatbuffers  # type: ignore[import-untyped]

from soci.layer.checkpoint import Checkpoint
from soci.layer.tar import Attributes, TarEntry
from soci.oci.compression import Compression
from soci.ztoc.checkpoints import RECORD_BYTES, CheckpointBlob, encode_plain_checkpoints
from soci.ztoc.encode import encode_ztoc
from soci.ztoc.entries import TYPE_NAMES, format_time
from soci.ztoc.toc import TocWriter

TOOL = "AWS SOCI CLI v0.2"
UINT32 = 0xFFFF_FFFF
CODES = {Compression.GZIP: 1, Compression.UNCOMPRESSED: 2}


def official_ztoc(
    entries: Sequence[TarEntry],
    *,
    checkpoints: bytes = b"",
    span_digests: Sequence[bytes] = (),
    compression: Compression = Compression.GZIP,
    compressed: int = 1,
    uncompressed: int = 1,
    tool: str = TOOL,
) -> bytes:
    """Build a zTOC with the generic builder."""
    builder = flatbuffers.Builder(1024)
    version, identifier = builder.CreateString(b"0.9"), builder.CreateString(tool.encode())
    files = [_file(builder, entry) for entry in reversed(entries)]
    metadata = _vector(builder, list(reversed(files)))
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, metadata, 0)
    toc = builder.EndObject()
    blob = builder.CreateByteVector(checkpoints)
    digests = _vector(builder, [builder.CreateString(f"sha256:{digest.hex()}") for digest in span_digests])
    builder.StartObject(4)
    builder.PrependInt32Slot(1, len(span_digests) - 1, 0)
    builder.PrependUOffsetTRelativeSlot(2, digests, 0)
    builder.PrependUOffsetTRelativeSlot(3, blob, 0)
    builder.PrependInt8Slot(0, CODES[compression], 1)
    info = builder.EndObject()
    builder.StartObject(6)
    builder.PrependUOffsetTRelativeSlot(0, version, 0)
    builder.PrependUOffsetTRelativeSlot(1, identifier, 0)
    builder.PrependUOffsetTRelativeSlot(4, toc, 0)
    builder.PrependInt64Slot(2, compressed, 0)
    builder.PrependInt64Slot(3, uncompressed, 0)
    builder.PrependUOffsetTRelativeSlot(5, info, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def _file(builder: flatbuffers.Builder, entry: TarEntry) -> int:
    of = entry.attributes
    name, type_, link, user, group, time = (
        builder.CreateString(text)
        for text in (
            entry.name,
            TYPE_NAMES[of.type],
            of.link_name,
            of.user_name,
            of.group_name,
            format_time(*of.mtime),
        )
    )
    xattrs = _vector(
        builder, [_xattr(builder, *record) for record in sorted((entry.pax_records or {}).items())]
    )
    builder.StartObject(14)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUOffsetTRelativeSlot(1, type_, 0)
    builder.PrependInt64Slot(2, entry.offset, 0)
    builder.PrependInt64Slot(3, entry.size, 0)
    builder.PrependUOffsetTRelativeSlot(4, link, 0)
    builder.PrependInt64Slot(5, of.mode, 0)
    builder.PrependUint32Slot(6, of.uid & UINT32, 0)
    builder.PrependUint32Slot(7, of.gid & UINT32, 0)
    builder.PrependUOffsetTRelativeSlot(8, user, 0)
    builder.PrependUOffsetTRelativeSlot(9, group, 0)
    builder.PrependUOffsetTRelativeSlot(10, time, 0)
    builder.PrependInt64Slot(11, of.device_major, 0)
    builder.PrependInt64Slot(12, of.device_minor, 0)
    builder.PrependUOffsetTRelativeSlot(13, xattrs, 0)
    return int(builder.EndObject())


def _xattr(builder: flatbuffers.Builder, key: bytes, value: bytes) -> int:
    key_at, value_at = builder.CreateString(key), builder.CreateString(value)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, key_at, 0)
    builder.PrependUOffsetTRelativeSlot(1, value_at, 0)
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, targets: Sequence[int]) -> int:
    builder.StartVector(4, len(targets), 4)
    for target in reversed(targets):
        builder.PrependUOffsetTRelative(target)
    return int(builder.EndVector())


def our_ztoc(
    entries: Sequence[TarEntry],
    *,
    checkpoints: bytes = b"",
    span_digests: Sequence[bytes] = (),
    compression: Compression = Compression.GZIP,
    compressed: int = 1,
    uncompressed: int = 1,
    tool: str = TOOL,
) -> bytes:
    """Build the same zTOC with the writer under test."""
    toc = TocWriter()
    toc.add(entries)
    return bytes(
        encode_ztoc(
            toc=toc,
            checkpoints=bytearray(checkpoints),
            span_digests=span_digests,
            compression=compression,
            compressed_archive_size=compressed,
            uncompressed_archive_size=uncompressed,
            build_tool_identifier=tool,
        )
    )


def gzip_ztoc(
    points: Sequence[tuple[int, int, int]],
    entries: Sequence[TarEntry] = (),
    *,
    digests: int | None = None,
    cut_first: bool = False,
    **parts: Any,
) -> bytes:
    """A zTOC with the given checkpoints (in, out, bits), of version 1 if the first is cut out."""
    blob = CheckpointBlob()
    for point in points:
        blob.add(Checkpoint(*point, bytes(32_768)))
    data = blob.finish(4096)
    if cut_first:
        data = data[:12] + data[12 + RECORD_BYTES :]
    count = len(points) if digests is None else digests
    parts = {"compressed": 9000, "uncompressed": 20_000, **parts}
    return official_ztoc(entries, checkpoints=bytes(data), span_digests=[bytes(32)] * count, **parts)


def plain_ztoc(
    entries: Sequence[TarEntry] = (),
    *,
    span: int = 4096,
    layer: int = 9000,
    digests: int = 3,
    compressed: int = 9000,
) -> bytes:
    """A zTOC of an uncompressed layer."""
    return official_ztoc(
        entries,
        checkpoints=encode_plain_checkpoints(span_size_bytes=span, layer_bytes=layer),
        span_digests=[bytes(32)] * digests,
        compression=Compression.UNCOMPRESSED,
        compressed=compressed,
    )


def attributes(**fields: Any) -> Attributes:
    """The attributes of a plain regular file, with the given changes."""
    plain: dict[str, Any] = {
        "type": b"0",
        "link_name": b"",
        "mode": 0o644,
        "uid": 0,
        "gid": 0,
        "user_name": b"",
        "group_name": b"",
        "mtime": (0, 0),
        "device_major": 0,
        "device_minor": 0,
    }
    return Attributes(**{**plain, **fields})


def tar_entry(
    name: bytes = b"f",
    *,
    offset: int = 512,
    size: int = 0,
    records: dict[bytes, bytes] | None = None,
    **fields: Any,
) -> TarEntry:
    return TarEntry(name, offset, size, attributes(**fields), records)


def random_entries(seed: object, count: int, *, kinds: int = 0) -> list[TarEntry]:
    """Entries that use every field. With `kinds`, they share this number of attribute sets."""
    rng = random.Random(repr(seed))  # noqa: S311 - repeatable on purpose
    shared = [_random_attributes(rng) for _ in range(kinds)]
    entries, offset = [], 0
    for _ in range(count):
        offset += 512 * rng.randrange(1, 5)
        of = rng.choice(shared) if shared else _random_attributes(rng)
        records = None
        if rng.random() < 0.3:
            records = {_text(rng): _text(rng) for _ in range(rng.randrange(4))}
        size = rng.choice((0, 1, rng.randrange(1 << 40)))
        entries.append(TarEntry(_text(rng, 300), offset, size, of, records))
    return entries


def _random_attributes(rng: random.Random) -> Attributes:
    def number(*values: int) -> int:
        return rng.choice((0, 0, *values))

    return attributes(
        type=rng.choice(sorted(TYPE_NAMES)),
        link_name=rng.choice((b"", _text(rng, 200))),
        mode=number(0o644, 0o40755, -1, 2**62),
        uid=number(1, 1000, -1, 2**31, 2**32, 2**32 + 5),
        gid=number(1, 2**32 - 1, -(2**40)),
        user_name=_text(rng),
        group_name=_text(rng),
        mtime=rng.choice(
            ((0, 0), (1_700_000_000, 5), (rng.randrange(1 << 31), rng.randrange(10**9)), (1 << 50, 0))
        ),
        device_major=number(8, -1),
        device_minor=number(1, 2**40),
    )


def _text(rng: random.Random, most: int = 12) -> bytes:
    return rng.randbytes(rng.randrange(most))
