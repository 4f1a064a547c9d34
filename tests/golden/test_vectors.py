"""Handmade layers whose zTOCs the format's owner has built too (docs/formats.md 10)."""

from __future__ import annotations

import hashlib
import io
import itertools
import struct
import tarfile
import zlib

import pytest

from soci.layer.inflate import open_libz, open_zlib_ng
from soci.ztoc.decode import decode_ztoc
from tests.builders import gzip_header, index_layer

STORED_BLOCK_BYTES = 50_000
MIB = 1 << 20


def tar_a() -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("f")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    return written.getvalue()


def tar_b() -> bytes:
    content = bytes(range(256)) * 800
    file_fields = {
        "size": len(content),
        "mode": 0o4755,
        "uid": 1000,
        "gid": 1001,
        "uname": "u",
        "gname": "g",
        "mtime": 1.5,
        "pax_headers": {"SCHILY.xattr.user.k": "v"},
    }
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, fields, data in (
            ("d", {"type": tarfile.DIRTYPE, "mode": 0o755}, b""),
            ("./d/s", {"type": tarfile.SYMTYPE, "linkname": "../f", "mode": 0o777}, b""),
            ("f", file_fields, content),
            ("h", {"type": tarfile.LNKTYPE, "linkname": "f"}, b""),
            ("n", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, b""),
        ):
            info = tarfile.TarInfo(name)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return written.getvalue()


def stored(data: bytes, header: bytes) -> bytes:
    """A gzip member of stored blocks alone, so that each byte of it is known."""
    starts = range(0, len(data), STORED_BLOCK_BYTES)
    blocks = [data[at : at + STORED_BLOCK_BYTES] for at in starts]
    body = b"".join(
        struct.pack("<BHH", block is blocks[-1], len(block), len(block) ^ 0xFFFF) + block for block in blocks
    )
    return header + body + struct.pack("<II", zlib.crc32(data), len(data))


A, B = tar_a(), tar_b()
C = stored(B, gzip_header())
D = stored(B, gzip_header(name=b"layer.tar"))
E = stored(B[:100_000], gzip_header()) + stored(B[100_000:], gzip_header())
EMPTY = bytes(1024)

VECTORS = {
    "A": (A, 4 * MIB, "6616115f79c843c4c5453a4b2c5f1fdea3efd16e61058c0338a54d99f2314c7d", 448),
    "B": (B, 4 * MIB, "91d43a3d776764b4fe35a1bd6785a1178b4a0b076cd7e655f12930b82da3079e", 1208),
    "B in 4 spans": (B, 65_536, "cf15556e3d7f4abf98c777fddb457ad4481295de45c1d45db1694aa0479fe0cf", 1448),
    "C": (C, 4 * MIB, "5f248439e39034b1896e3be35bd271d2c6227e74214134bce5a59184814c1611", 33_952),
    "C in 3 spans": (C, 65_536, "eb15ac5c19e6e4c91fc2d8bb4442b76b8cd0f83de07b70c7c7544152374eef88", 99_688),
    "D in 3 spans": (D, 65_536, "86bbe98dde2bfa8a1a6edfd23604f6db5091d80c935fc8d5b4572bdcb1c16361", 99_688),
    "E in 3 spans": (E, 65_536, "9def5ede6358d5fd846f0b9f1ce38a306faf5e356f2c5704d9ac1ba653dba6ff", 99_688),
    "empty": (EMPTY, 4 * MIB, "b9801d474a9e314e3ea0a153179a0aa36cdc2459861624b9b97d3ff5bf80031d", 280),
}


def test_the_layers_are_made_as_they_were_for_the_owner():
    digests = [hashlib.sha256(layer).hexdigest() for layer in (A, B)]

    assert digests == [
        "9d8ecafe6d4b233ab5df0ab453b058e36bb57037839768743a08989cc0f6de72",
        "a8ba77145b9e0c25e000d30fe23fcb803ae14f2e870d93ea53769f1c5c4e5128",
    ]
    assert [len(layer) for layer in (A, B, C, D, E)] == [10_240, 215_040, 215_083, 215_093, 215_101]
    assert hashlib.sha256(C).hexdigest()[:8] == "f4f3d91f"
    assert hashlib.sha256(C).hexdigest()[-6:] == "597d99"


BY_BYTE_IN_THE_GATE = {("A", "zlib-ng"), ("empty", "zlib"), ("E in 3 spans", "zlib-ng")}
"""Feeding the others byte by byte takes three seconds each: `make test-all` does."""


@pytest.mark.parametrize(
    ("vector", "chunk_bytes", "engine"),
    [
        pytest.param(*case, id=f"{vector}-{chunk_bytes}-{engine.name}", marks=marks)
        for case in itertools.product(VECTORS, [1, 509, MIB], [open_zlib_ng(), open_libz()])
        for vector, chunk_bytes, engine in [case]
        for in_the_gate in [chunk_bytes > 1 or (vector, engine.name) in BY_BYTE_IN_THE_GATE]
        for marks in [() if in_the_gate else pytest.mark.exhaustive]
    ],
)
def test_the_ztoc_is_the_owners_to_the_byte(vector, chunk_bytes, engine):
    layer, span_size_bytes, digest, size_bytes = VECTORS[vector]

    indexed = index_layer(layer, span_size_bytes=span_size_bytes, chunk_bytes=chunk_bytes, engine=engine)

    assert len(indexed.ztoc) == size_bytes
    assert indexed.digest.hex == digest


@pytest.mark.parametrize(
    ("layer", "span_size_bytes", "expected"),
    [
        pytest.param(C, 4 * MIB, [(10, 0, 0)], id="one behind a plain header"),
        pytest.param(
            C, 65_536, [(10, 0, 0), (100_020, 100_000, 0), (200_030, 200_000, 0)], id="behind stored blocks"
        ),
        pytest.param(
            D,
            65_536,
            [(20, 0, 0), (100_030, 100_000, 0), (200_040, 200_000, 0)],
            id="behind a header with a name",
        ),
        pytest.param(
            E,
            65_536,
            [(10, 0, 0), (100_038, 100_000, 0), (200_048, 200_000, 0)],
            id="behind the second header",
        ),
    ],
)
def test_checkpoints_lie_where_the_owner_puts_them(layer, span_size_bytes, expected):
    ztoc = decode_ztoc(index_layer(layer, span_size_bytes=span_size_bytes).ztoc)

    assert [tuple(checkpoint[:3]) for checkpoint in ztoc.compression.checkpoints] == expected


def test_a_window_is_the_output_before_its_checkpoint_and_zeros_before_the_first():
    checkpoints = decode_ztoc(index_layer(C).ztoc).compression.checkpoints

    assert [bytes(checkpoint.window) for checkpoint in checkpoints] == [
        bytes(32_768),
        B[100_000 - 32_768 : 100_000],
        B[200_000 - 32_768 : 200_000],
    ]


def test_each_span_of_stored_blocks_is_hashed_from_its_checkpoint_to_the_next():
    spans = decode_ztoc(index_layer(E).ztoc).compression.spans

    starts_and_ends = [(10, 100_038), (100_038, 200_048), (200_048, len(E))]
    assert [(span.start, span.end) for span in spans] == starts_and_ends
    assert [span.digest.hex for span in spans] == [
        hashlib.sha256(E[start:end]).hexdigest() for start, end in starts_and_ends
    ]


def test_a_plain_layer_has_spans_of_even_size_and_no_checkpoints():
    compression = decode_ztoc(index_layer(B).ztoc).compression

    assert [(span.start, span.end) for span in compression.spans] == [
        (0, 65_536),
        (65_536, 131_072),
        (131_072, 196_608),
        (196_608, 215_040),
    ]
    assert compression.checkpoints == ()
    assert compression.span_size_bytes == 65_536


@pytest.mark.parametrize(
    ("layer", "expected"),
    [(A, 2048), (B, 209_408), (C, 209_408), (EMPTY, 1024)],
    ids=["A", "B", "C", "empty"],
)
def test_the_uncompressed_size_ends_with_the_second_zero_block_not_with_the_padding(layer, expected):
    assert decode_ztoc(index_layer(layer).ztoc).uncompressed_archive_size == expected


def test_an_entrys_offset_is_that_of_its_data_and_its_fields_are_those_of_its_headers():
    f = decode_ztoc(index_layer(B).ztoc).files[2]

    assert B[f.uncompressed_offset :][: f.uncompressed_size] == bytes(range(256)) * 800
    assert (f.name, f.type, f.mode, f.uid, f.gid) == (b"f", "reg", 0o4755, 1000, 1001)
    assert (f.user_name, f.group_name, f.mod_time) == (b"u", b"g", "1970-01-01T00:00:01.5Z")
    assert f.xattrs == ((b"SCHILY.xattr.user.k", b"v"), (b"mtime", b"1.5"))
