"""The engine against the zTOCs that the format's owner made, and against what the owner refuses."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from pathlib import Path

import pytest

from soci.errors import GzipError, TarError
from soci.layer.checkpoint import Checkpoint
from soci.layer.chunks import WINDOW_BYTES, Ring
from soci.layer.gzip import GzipReader
from soci.layer.inflate import Engine, open_libz, open_zlib_ng
from soci.oci.compression import Compression
from soci.oci.digest import digest_of
from soci.reasons import LeftOut, Reason
from soci.ztoc.decode import decode_compression_info
from tests.builders import try_index_layer

LAYERS = Path(__file__).parent / "layers"
EXPECTED = json.loads((LAYERS / "expected.json").read_text())
ALGORITHMS = {"gzip": Compression.GZIP, "uncompressed": Compression.UNCOMPRESSED}

LEFT_OUT = {
    "contiguous-type.tar.gz": (Reason.UNSUPPORTED_ENTRY_TYPE, "type b'7', entry opt/app/beta-0.txt"),
    "pax-global-header.tar.gz": (Reason.GLOBAL_PAX_HEADER, "entry ././@PaxHeader"),
    "sparse-gnu.tar.gz": (Reason.SPARSE_FILE, "entry holes"),
    "sparse-posix.tar.gz": (Reason.SPARSE_FILE, "entry holes"),
}
"""Sound layers that get no zTOC. The owner builds one for sparse-posix, but no reader can load it."""

DAMAGED = {
    "bad-crc.tar.gz": (GzipError, "incorrect data check"),
    "bad-empty.tar.gz": (GzipError, "cut short after 0 bytes"),
    "bad-flipped-byte.tar.gz": (GzipError, "damaged at byte"),
    "bad-garbage-after.tar.gz": (GzipError, "ends at byte 473861, but bytes that are no gzip member follow"),
    "bad-length.tar.gz": (GzipError, "incorrect length check"),
    "bad-no-trailer.tar.gz": (GzipError, "cut short after 473853 bytes"),
    "bad-not-gzip.tar.gz": (GzipError, "is not gzip"),
    "bad-not-tar.tar.gz": (TarError, "tar header at byte 0 is invalid"),
    "bad-tar-checksum.tar.gz": (TarError, "tar header at byte 0 is invalid: checksum is 0, want 5997"),
    "bad-tar-cut.tar.gz": (TarError, "data should reach byte 37815, the stream ends at 3000"),
    "bad-truncated.tar.gz": (GzipError, "cut short after 236930 bytes"),
    "bad-zeros-after.tar.gz": (GzipError, "ends at byte 473861, but bytes that are no gzip member follow"),
}
ACCEPTED = sorted(EXPECTED.keys() - LEFT_OUT.keys() - DAMAGED.keys())
GZIP = [name for name in ACCEPTED if EXPECTED[name]["algorithm"] == "gzip"]
SPAN_SIZES = sorted({result["span_size"] for of in EXPECTED.values() for result in of["results"]})

SMALL_BYTES = 20_000
"""Layers up to this size are cheap to feed one byte per call."""

LARGE_IN_THE_GATE = ("tiny-blocks.tar.gz", "many-members.tar.gz", "uncompressed.tar")
"""Large layers that the gate also feeds byte by byte: many short blocks, many members, no compression."""

ENGINES = [open_zlib_ng(), open_libz()]
each_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
each_span_size = pytest.mark.parametrize("span_size_bytes", SPAN_SIZES)


def read(name: str) -> bytes:
    return (LAYERS / name).read_bytes()


def index(name: str, *, span_size_bytes: int = SPAN_SIZES[0], **options):
    """Index a golden layer, by default in one piece."""
    layer = read(name)
    compression = ALGORITHMS[EXPECTED[name]["algorithm"]]
    options.setdefault("chunk_bytes", len(layer) or 1)
    return try_index_layer(layer, compression=compression, span_size_bytes=span_size_bytes, **options)


def of_owner(name: str, span_size_bytes: int) -> dict[str, object]:
    return next(result for result in EXPECTED[name]["results"] if result["span_size"] == span_size_bytes)


def test_every_golden_layer_is_as_it_was_when_its_ztoc_was_made():
    digests = {name: hashlib.sha256(read(name)).hexdigest() for name in EXPECTED}

    assert digests == {name: of["sha256"] for name, of in EXPECTED.items()}


def test_every_golden_layer_is_either_accepted_or_refused_for_a_reason_of_its_own():
    refused = {name for name, of in EXPECTED.items() if any("error" in result for result in of["results"])}

    assert refused == (LEFT_OUT.keys() | DAMAGED.keys()) - {"sparse-posix.tar.gz"}
    assert len(ACCEPTED) >= 20
    assert len(SPAN_SIZES) == 3


@each_engine
@each_span_size
@pytest.mark.parametrize("name", ACCEPTED)
def test_a_layer_fed_whole_gives_the_owners_ztoc(name, span_size_bytes, engine):
    expected = of_owner(name, span_size_bytes)

    indexed = index(name, span_size_bytes=span_size_bytes, engine=engine)

    assert str(indexed.digest) == expected["ztoc_digest"]
    assert len(indexed.ztoc) == expected["ztoc_size"]
    assert (indexed.files, indexed.spans) == (expected["files"], expected["spans"])


@each_engine
@each_span_size
@pytest.mark.parametrize("chunk_bytes", [7_919, 65_537])
@pytest.mark.parametrize("name", ACCEPTED)
def test_a_layer_fed_in_odd_chunks_gives_the_same_ztoc(name, chunk_bytes, span_size_bytes, engine):
    indexed = index(name, chunk_bytes=chunk_bytes, span_size_bytes=span_size_bytes, engine=engine)

    assert str(indexed.digest) == of_owner(name, span_size_bytes)["ztoc_digest"]


@each_engine
@each_span_size
@pytest.mark.parametrize("name", [name for name in ACCEPTED if EXPECTED[name]["size"] <= SMALL_BYTES])
def test_a_small_layer_fed_and_worked_on_byte_by_byte_gives_the_same_ztoc(name, span_size_bytes, engine):
    indexed = index(name, chunk_bytes=1, piece_bytes=1, span_size_bytes=span_size_bytes, engine=engine)

    assert str(indexed.digest) == of_owner(name, span_size_bytes)["ztoc_digest"]


@each_engine
@each_span_size
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in LARGE_IN_THE_GATE else pytest.mark.exhaustive)
        for name in ACCEPTED
        if EXPECTED[name]["size"] > SMALL_BYTES
    ],
)
def test_a_large_layer_fed_in_tiny_chunks_gives_the_same_ztoc(name, span_size_bytes, engine):
    # Byte by byte at one span size only, and worked on in larger pieces: all of it would be twenty million calls.
    chunk_bytes = 1 if span_size_bytes == SPAN_SIZES[0] else 251

    indexed = index(
        name, chunk_bytes=chunk_bytes, piece_bytes=1021, span_size_bytes=span_size_bytes, engine=engine
    )

    assert str(indexed.digest) == of_owner(name, span_size_bytes)["ztoc_digest"]


def test_the_gate_has_a_large_layer_of_each_class():
    assert all(EXPECTED[name]["size"] > SMALL_BYTES for name in LARGE_IN_THE_GATE)


@functools.cache
def owners_checkpoints(name: str) -> tuple[Checkpoint, ...]:
    """The checkpoints of the zTOC, which equals the owner's."""
    indexed = index(name)
    assert str(indexed.digest) == of_owner(name, SPAN_SIZES[0])["ztoc_digest"]
    return decode_compression_info(bytes(indexed.ztoc)).checkpoints


def inflate(layer: bytes, engine: Engine, chunk_bytes: int) -> tuple[list[Checkpoint], str]:
    """Inflate a layer; return its checkpoints and the digest of the output."""
    ring = Ring()
    reader = GzipReader(span_size_bytes=SPAN_SIZES[0], engine=engine, ring=ring)
    output = hashlib.sha256()
    pieces = (layer[at : at + chunk_bytes] for at in range(0, len(layer), chunk_bytes))
    for chunk in itertools.chain.from_iterable(itertools.chain(map(reader.feed, pieces), [reader.finish()])):
        output.update(memoryview(chunk.buffer)[WINDOW_BYTES : chunk.end])
        ring.give_back(chunk)
    return reader.checkpoints, output.hexdigest()


@each_engine
@pytest.mark.parametrize(
    ("name", "chunk_bytes"),
    [
        (name, chunk_bytes)
        for name in GZIP
        for chunk_bytes in (1, 13, 7_919, 65_537)
        if EXPECTED[name]["size"] < SMALL_BYTES or chunk_bytes > 1_000
    ],
)
def test_the_inflater_finds_the_owners_checkpoints_however_the_layer_is_cut(name, chunk_bytes, engine):
    layer = read(name)

    checkpoints, output = inflate(layer, engine, chunk_bytes)

    assert tuple(checkpoints) == owners_checkpoints(name)
    assert output == inflate(layer, engine, len(layer))[1]


def test_some_layers_are_small_enough_to_inflate_byte_by_byte():
    assert sum(EXPECTED[name]["size"] < SMALL_BYTES for name in GZIP) >= 6


@each_engine
@pytest.mark.parametrize("chunk_bytes", [None, 7_919], ids=["whole", "in odd chunks"])
@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_sound_layer_that_no_reader_can_load_is_left_out_with_its_reason(name, chunk_bytes, engine):
    reason, detail = LEFT_OUT[name]

    left_out = index(name, engine=engine, chunk_bytes=chunk_bytes or len(read(name)))

    assert isinstance(left_out, LeftOut)
    assert left_out.reason is reason
    assert left_out.detail.endswith(detail)


@each_engine
@pytest.mark.parametrize("chunk_bytes", [1 << 30, 7_919], ids=["whole", "in odd chunks"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_layer_fails_with_an_error_that_says_what_is_broken(name, chunk_bytes, engine):
    error, message = DAMAGED[name]

    with pytest.raises(error) as raised:
        index(name, engine=engine, chunk_bytes=chunk_bytes)

    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_layer_fails_the_same_when_its_digest_is_the_promised_one(name):
    error, message = DAMAGED[name]
    layer = read(name)

    with pytest.raises(error) as raised:
        index(name, expected_digest=digest_of(layer), expected_bytes=len(layer))

    assert message in str(raised.value)
