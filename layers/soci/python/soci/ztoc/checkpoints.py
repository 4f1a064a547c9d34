"""The checkpoint blob of a zTOC ("zinfo", formats.md 3.1 and 4.2), packed and unpacked.

gzip layers, little endian, no padding:

    offset          bytes   meaning
    0               4       number of checkpoints
    4               8       span size, as requested
    12 + 32785 i    8       compressed bytes consumed; a partly consumed byte counts
    ... + 8         8       uncompressed bytes produced
    ... + 16        1       unread bits of the last consumed byte, 0 to 7
    ... + 17        32768   the uncompressed bytes before this point, padded in front with zeros

Version 1 does not store the first checkpoint, but counts it. Readers assume byte 10, bit 0, output 0 for it. Only
the length of the blob shows the version. Uncompressed layers have a flatbuffer table instead: version (int32,
always 2), span size (int64), blob size (int64).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from soci.errors import InvalidZtoc
from soci.layer.checkpoint import Checkpoint
from soci.layer.chunks import WINDOW_BYTES
from soci.layer.gzip_header import FIXED_BYTES
from soci.ztoc.flatbuffer import BackwardWriter, Field, TableReader

_HEADER = struct.Struct("<iq")
_POSITION = struct.Struct("<qqB")
RECORD_BYTES = _POSITION.size + WINDOW_BYTES
"""17 + 32,768 = 32,785"""

_VERSION_1_FIRST = Checkpoint(FIXED_BYTES, 0, 0, bytes(WINDOW_BYTES))
_MAX_BITS = 7


class CheckpointBlob:
    """The blob of a gzip layer. It grows with the checkpoints, so each window is in memory once."""

    def __init__(self) -> None:
        self.count = 0
        self._data = bytearray(_HEADER.size)

    @property
    def size_bytes(self) -> int:
        """The size of the blob so far."""
        return len(self._data)

    def add(self, checkpoint: Checkpoint) -> None:
        """Append one checkpoint."""
        self.count += 1
        self._data += _POSITION.pack(checkpoint.compressed, checkpoint.uncompressed, checkpoint.bits)
        self._data += checkpoint.window

    def finish(self, span_size_bytes: int) -> bytearray:
        """Write the header and return the blob, which then belongs to the caller."""
        _HEADER.pack_into(self._data, 0, self.count, span_size_bytes)
        return self._data


def decode_gzip_checkpoints(blob: memoryview) -> tuple[Sequence[Checkpoint], int]:
    """Return the checkpoints of a blob of version 1 or 2, and the span size in bytes. Windows are views of the blob.

    Raises:
        InvalidZtoc: the length fits no version, or a position is impossible.
    """
    if len(blob) < _HEADER.size:
        raise InvalidZtoc(f"checkpoint blob has {len(blob)} bytes, at least {_HEADER.size} are needed")
    count, span_size_bytes = _HEADER.unpack_from(blob)
    stored = count - 1 if len(blob) == _HEADER.size + RECORD_BYTES * (count - 1) else count
    if count < 1 or len(blob) != _HEADER.size + RECORD_BYTES * stored:
        raise InvalidZtoc(
            f"checkpoint blob of {len(blob)} bytes cannot hold {count} checkpoints of either version"
        )
    checkpoints = [_VERSION_1_FIRST] if stored < count else []
    for at in range(_HEADER.size, len(blob), RECORD_BYTES):
        compressed, uncompressed, bits = _POSITION.unpack_from(blob, at)
        if bits > _MAX_BITS or compressed < 0 or uncompressed < 0:
            raise InvalidZtoc(
                f"checkpoint at byte {at} of its blob is impossible: bits {bits}, in {compressed}"
            )
        window = blob[at + _POSITION.size : at + RECORD_BYTES]
        checkpoints.append(Checkpoint(compressed, uncompressed, bits, window))
    return checkpoints, span_size_bytes


def encode_plain_checkpoints(*, span_size_bytes: int, layer_bytes: int) -> bytes:
    """Return the blob of an uncompressed layer."""
    writer = BackwardWriter()
    fields = [Field(0, "i", 2), Field(1, "q", span_size_bytes), Field(2, "q", layer_bytes)]
    return writer.finish(writer.table([field for field in fields if field.value], slot_count=3))


def decode_plain_checkpoints(blob: bytes | memoryview) -> tuple[int, int]:
    """Return the span size and layer size in bytes of an uncompressed layer. Raises InvalidZtoc."""
    table = TableReader.root(blob)
    span_size_bytes, layer_bytes = table.number(1, "q"), table.number(2, "q")
    if span_size_bytes < 1 or layer_bytes < 0:
        raise InvalidZtoc(f"span size {span_size_bytes} or layer size {layer_bytes} is impossible")
    return span_size_bytes, layer_bytes
