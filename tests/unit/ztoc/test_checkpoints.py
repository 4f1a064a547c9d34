from __future__ import annotations

import struct

import flatbuffers  # type: ignore[import-untyped]
import pytest

from soci.errors import InvalidZtoc
from soci.layer.checkpoint import Checkpoint
from soci.ztoc.checkpoints import (
    RECORD_BYTES,
    CheckpointBlob,
    decode_gzip_checkpoints,
    decode_plain_checkpoints,
    encode_plain_checkpoints,
)
from tests.builders import noise

WINDOWS = [bytes(32_768), noise(32_768), noise(32_768, "another")]
POINTS = [
    Checkpoint(10, 0, 0, WINDOWS[0]),
    Checkpoint(70_000, 100_000, 3, WINDOWS[1]),
    Checkpoint(2**40, 2**50, 7, WINDOWS[2]),
]


def blob_of(points: list[Checkpoint], span_size_bytes: int = 65_536) -> bytearray:
    blob = CheckpointBlob()
    for point in points:
        blob.add(point)
    return blob.finish(span_size_bytes)


def decode(data: bytes | bytearray) -> tuple[list[Checkpoint], int]:
    points, span_size_bytes = decode_gzip_checkpoints(memoryview(data))
    return [point._replace(window=bytes(point.window)) for point in points], span_size_bytes


def test_a_blob_is_packed_little_endian_without_gaps():
    data = blob_of(POINTS[:2])

    assert bytes(data) == (
        struct.pack("<iq", 2, 65_536)
        + struct.pack("<qqB", 10, 0, 0)
        + WINDOWS[0]
        + struct.pack("<qqB", 70_000, 100_000, 3)
        + WINDOWS[1]
    )
    assert RECORD_BYTES == 32_785


def test_a_blob_knows_how_many_checkpoints_and_bytes_it_has():
    blob = CheckpointBlob()
    sizes = [blob.size_bytes]
    blob.add(POINTS[0])
    sizes.append(blob.size_bytes)

    assert sizes == [12, 12 + RECORD_BYTES]
    assert blob.count == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_blob_of_version_2_decodes_to_its_checkpoints(count):
    assert decode(blob_of(POINTS[:count])) == (POINTS[:count], 65_536)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_blob_of_version_1_gets_its_first_checkpoint_back(count):
    data = blob_of(POINTS[:count])
    version_1 = data[:12] + data[12 + RECORD_BYTES :]

    assert decode(version_1) == (POINTS[:count], 65_536)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(11),
        struct.pack("<iq", 0, 1),
        struct.pack("<iq", -1, 1),
        struct.pack("<iq", 2, 1),
        struct.pack("<iq", 2**31 - 1, 1),
        bytes(blob_of(POINTS))[:-1],
        bytes(blob_of(POINTS)) + b"\0",
        struct.pack("<iq", 5, 1) + bytes(3 * RECORD_BYTES),
    ],
    ids=[
        "empty",
        "short header",
        "none",
        "negative",
        "two missing",
        "most",
        "cut",
        "too long",
        "wrong count",
    ],
)
def test_a_blob_whose_length_fits_neither_version_is_invalid(data):
    with pytest.raises(InvalidZtoc, match="checkpoint blob"):
        decode(data)


@pytest.mark.parametrize(
    "point",
    [Checkpoint(10, 0, 8, WINDOWS[0]), Checkpoint(-1, 0, 0, WINDOWS[0]), Checkpoint(10, -1, 0, WINDOWS[0])],
    ids=["eight bits", "negative in", "negative out"],
)
def test_an_impossible_checkpoint_is_invalid(point):
    with pytest.raises(InvalidZtoc, match="checkpoint at byte 32797 of its blob is impossible"):
        decode(blob_of([POINTS[0], point]))


def official_plain_blob(span_size_bytes: int, layer_bytes: int) -> bytes:
    builder = flatbuffers.Builder(0)
    builder.StartObject(3)
    builder.PrependInt32Slot(0, 2, 0)
    builder.PrependInt64Slot(1, span_size_bytes, 0)
    builder.PrependInt64Slot(2, layer_bytes, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


@pytest.mark.parametrize("layer_bytes", [0, 1, 4096, 2**62])
@pytest.mark.parametrize("span_size_bytes", [1, 65_536, 4 << 20])
def test_the_blob_of_a_plain_layer_equals_the_official_librarys(span_size_bytes, layer_bytes):
    blob = encode_plain_checkpoints(span_size_bytes=span_size_bytes, layer_bytes=layer_bytes)

    assert blob == official_plain_blob(span_size_bytes, layer_bytes)
    assert decode_plain_checkpoints(blob) == (span_size_bytes, layer_bytes)


@pytest.mark.parametrize(("span_size_bytes", "layer_bytes"), [(0, 10), (-1, 10), (1, -10)])
def test_impossible_sizes_of_a_plain_layer_are_invalid(span_size_bytes, layer_bytes):
    with pytest.raises(
        InvalidZtoc, match=f"span size {span_size_bytes} or layer size {layer_bytes} is impossible"
    ):
        decode_plain_checkpoints(official_plain_blob(span_size_bytes, layer_bytes))


def test_bytes_that_are_not_a_plain_blob_are_invalid():
    with pytest.raises(InvalidZtoc):
        decode_plain_checkpoints(b"\xff" * 20)
