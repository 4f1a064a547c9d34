from __future__ import annotations

import threading
import tracemalloc

import pytest

from soci.errors import DamagedLayer, DigestMismatch, GzipError, SizeMismatch, TarError
from soci.layer.inflate import open_libz, open_zlib_ng
from soci.oci.compression import Compression
from soci.oci.digest import digest_of
from soci.reasons import LeftOut, Reason
from soci.ztoc import indexer as builder
from soci.ztoc.checkpoints import RECORD_BYTES
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.indexer import PIECE_BYTES, LayerIndexer
from soci.ztoc.model import IndexedLayer, LayerTask
from tests.builders import (
    BUILD_TOOL,
    directory,
    file,
    gzip_header,
    gzip_of,
    hardlink,
    index_layer,
    noise,
    opaque,
    special,
    symlink,
    tar_of,
    text,
    try_index_layer,
)

GZIP, PLAIN = Compression.GZIP, Compression.UNCOMPRESSED
TAR = tar_of(directory("d/"), file("d/a", text(200_000)), file("d/b", noise(3_000_000)), symlink("d/c", "a"))
LAYER = gzip_of(TAR, level=1)
OTHER = digest_of(b"other bytes")

NOT_TAR = gzip_of(b"no tar at all " * 1000)
TRUNCATED = LAYER[:-5]
GLOBAL_HEADER = gzip_of(tar_of(special("pax_global_header", b"g"), file("a")))


def reason_of(layer: bytes) -> Reason:
    left_out = try_index_layer(layer)
    assert isinstance(left_out, LeftOut), left_out
    return left_out.reason


# --- what comes out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [LAYER, TAR], ids=["gzip", "plain"])
def test_an_indexed_layer_has_its_sizes_and_digests(layer):
    indexed = index_layer(layer)

    assert indexed.digest == digest_of(indexed.ztoc)
    assert indexed.layer_digest == digest_of(layer)
    assert (indexed.compressed_bytes, indexed.uncompressed_bytes) == (len(layer), len(TAR))
    assert indexed.files == 4
    assert indexed.spans == len(decode_ztoc(indexed.ztoc).compression.spans) > 40


@pytest.mark.parametrize(
    ("members", "needs"),
    [([file("a")], False), ([file("a", pax={"SCHILY.xattr.user.k": "v"})], True), ([opaque("d")], True)],
    ids=["none", "an attribute", "an opaque directory"],
)
def test_an_indexed_layer_says_whether_it_needs_extended_attributes(members, needs):
    assert index_layer(gzip_of(tar_of(*members))).needs_xattrs is needs


def test_the_build_tool_and_the_span_size_are_part_of_the_ztoc():
    task = LayerTask(compression=GZIP, span_size_bytes=100_000, build_tool_identifier="other tool")
    with LayerIndexer(task) as indexer:
        indexer.feed(LAYER)
        indexed = indexer.finish()

    assert isinstance(indexed, IndexedLayer)
    ztoc = decode_ztoc(indexed.ztoc)
    assert (ztoc.build_tool_identifier, ztoc.compression.span_size_bytes) == ("other tool", 100_000)
    assert indexed.digest != index_layer(LAYER, span_size_bytes=100_000).digest


@pytest.mark.parametrize("chunk_bytes", [1000, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, len(LAYER)])
@pytest.mark.parametrize("engine", [open_zlib_ng(), open_libz()], ids=lambda engine: engine.name)
@pytest.mark.parametrize("layer", [LAYER, TAR], ids=["gzip", "plain"])
def test_neither_chunks_nor_the_engine_change_a_byte(layer, chunk_bytes, engine):
    indexed = index_layer(layer, chunk_bytes=chunk_bytes, engine=engine)

    assert indexed.digest == index_layer(layer).digest


@pytest.mark.parametrize("portion", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_may_be_fed(portion):
    with LayerIndexer(
        LayerTask(compression=GZIP, span_size_bytes=65_536, build_tool_identifier=BUILD_TOOL)
    ) as indexer:
        indexer.feed(portion(LAYER[:100]))
        indexer.feed(portion(b""))
        indexer.feed(portion(LAYER[100:]))
        indexed = indexer.finish()

    assert isinstance(indexed, IndexedLayer)
    assert indexed.digest == index_layer(LAYER).digest


def test_a_buffer_may_be_used_again_once_it_is_fed():
    buffer = bytearray(2 * PIECE_BYTES)
    with LayerIndexer(
        LayerTask(compression=PLAIN, span_size_bytes=65_536, build_tool_identifier=BUILD_TOOL)
    ) as indexer:
        for at in range(0, len(TAR), len(buffer)):
            portion = TAR[at : at + len(buffer)]
            buffer[: len(portion)] = portion
            indexer.feed(memoryview(buffer)[: len(portion)])
        buffer[:] = bytes(len(buffer))
        indexed = indexer.finish()

    assert isinstance(indexed, IndexedLayer)
    assert indexed.digest == index_layer(TAR).digest


def test_an_empty_plain_layer_is_an_empty_tar():
    indexed = index_layer(b"")

    ztoc = decode_ztoc(indexed.ztoc)
    assert (ztoc.files, ztoc.compression.spans) == ((), ())
    assert (ztoc.compressed_archive_size, ztoc.uncompressed_archive_size) == (0, 0)


# --- are these the bytes that were promised? ------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_layer_with_the_promised_digest_and_size_passes(algorithm):
    promised = digest_of(LAYER, algorithm)

    indexed = index_layer(LAYER, expected_digest=promised, expected_bytes=len(LAYER))

    assert indexed.layer_digest == promised
    assert indexed.digest == index_layer(LAYER).digest


@pytest.mark.parametrize(
    "layer", [LAYER, TRUNCATED, NOT_TAR, GLOBAL_HEADER], ids=["sound", "cut", "no tar", "left out"]
)
def test_a_wrong_digest_is_reported_before_other_damage(layer):
    with pytest.raises(
        DigestMismatch, match=f"layer {OTHER} hashes to {digest_of(layer)}: its bytes are not"
    ):
        try_index_layer(layer, compression=GZIP, expected_digest=OTHER)


@pytest.mark.parametrize(
    ("layer", "error"), [(TRUNCATED, GzipError), (NOT_TAR, TarError)], ids=["cut", "no tar"]
)
def test_damage_is_reported_only_if_the_digest_is_right(layer, error):
    with pytest.raises(error):
        try_index_layer(layer, expected_digest=digest_of(layer), expected_bytes=len(layer))


def test_a_layer_that_is_too_short_fails_with_its_size():
    with pytest.raises(SizeMismatch, match=f"layer {OTHER} has {len(LAYER) - 5} bytes, want {len(LAYER)}"):
        try_index_layer(TRUNCATED, expected_digest=OTHER, expected_bytes=len(LAYER))


def test_a_layer_that_is_too_long_fails_at_once():
    task = LayerTask(
        compression=GZIP, span_size_bytes=65_536, build_tool_identifier=BUILD_TOOL, expected_bytes=len(LAYER)
    )
    with LayerIndexer(task) as indexer:
        indexer.feed(LAYER)
        with pytest.raises(
            SizeMismatch, match=f"the layer is longer than the {len(LAYER)} bytes it should have"
        ):
            indexer.feed(b"x")


# --- damage ---------------------------------------------------------------------------------------------------


def test_a_broken_gzip_stream_is_reported_before_a_broken_tar():
    with pytest.raises(GzipError):
        try_index_layer(NOT_TAR[:-1])


def test_damage_after_the_end_of_the_tar_is_found():
    layer = gzip_of(tar_of(file("a", b"x")) + noise(100_000))
    damaged = bytearray(layer)
    damaged[-5_000] ^= 1

    assert index_layer(layer).files == 1
    with pytest.raises(GzipError):
        try_index_layer(bytes(damaged))


def test_damage_after_an_entry_that_leaves_the_layer_out_is_found():
    with pytest.raises(GzipError, match="cut short"):
        try_index_layer(GLOBAL_HEADER[:-3])


@pytest.mark.parametrize("compression", [GZIP, PLAIN])
@pytest.mark.parametrize("layer", [b"x" * 600, bytes(512) + b"x" * 512, b"\x1f\x8b\x08" + b"x" * 997])
def test_bytes_that_are_neither_gzip_nor_tar_are_damaged(layer, compression):
    with pytest.raises(DamagedLayer):
        try_index_layer(layer, compression=compression)


def test_a_gzip_layer_read_as_a_plain_one_is_not_a_tar():
    with pytest.raises(TarError, match="tar header at byte 0 is invalid"):
        try_index_layer(LAYER, compression=PLAIN)


def test_a_plain_layer_read_as_gzip_is_not_gzip():
    with pytest.raises(GzipError, match="not gzip"):
        try_index_layer(TAR, compression=GZIP)


def test_a_layer_that_is_damaged_early_is_still_read_to_its_end():
    layer = gzip_header() + b"\x07" + noise(9 * PIECE_BYTES)

    with pytest.raises(GzipError, match="damaged at byte"):
        try_index_layer(layer, expected_digest=digest_of(layer))


def test_a_tar_that_is_damaged_early_does_not_block_the_rest():
    with pytest.raises(TarError, match="tar header at byte 0"):
        try_index_layer(b"x" * 512 + bytes(30 * PIECE_BYTES))


# --- layers that are left out ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (GLOBAL_HEADER, Reason.GLOBAL_PAX_HEADER),
        (gzip_of(tar_of(special("f", b"7"))), Reason.UNSUPPORTED_ENTRY_TYPE),
        (gzip_of(tar_of(file("f", pax={"GNU.sparse.map": "0,1"}))), Reason.SPARSE_FILE),
        (gzip_of(tar_of(file("f"), hardlink("h", "f", size=600))), Reason.SIZE_ON_LINK),
        (gzip_of(tar_of(directory("d/", size=1))), Reason.SIZE_ON_LINK),
        (gzip_of(tar_of(hardlink("h", "f"), file("f"))), Reason.HARD_LINK_TO_NOTHING),
        (gzip_of(TAR, flush_at=[0]), Reason.EMPTY_FIRST_BLOCK),
        (gzip_of(b"") + LAYER, Reason.EMPTY_FIRST_BLOCK),
        (gzip_of(TAR, header=gzip_header(name=b"n" * 600)), Reason.UNREADABLE_SPANS),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else "",
)
def test_a_sound_layer_that_cannot_be_loaded_lazily_is_left_out(layer, reason):
    assert reason_of(layer) is reason


def test_the_rules_apply_to_plain_layers():
    assert reason_of(tar_of(hardlink("h", "f"))) is Reason.HARD_LINK_TO_NOTHING


@pytest.mark.parametrize(("layer", "members"), [(gzip_of(TAR, members=3), 3), (LAYER + gzip_of(b""), 2)])
def test_a_layer_of_several_members_is_left_out_on_request(layer, members):
    left_out = try_index_layer(layer, multi_member=False)

    assert left_out == LeftOut(reason=Reason.MULTI_MEMBER_GZIP, detail=f"{members} members")
    assert isinstance(try_index_layer(layer), IndexedLayer)


@pytest.mark.parametrize("layer", [LAYER, TAR], ids=["gzip", "plain"])
def test_a_layer_of_one_member_or_none_is_indexed_anyway(layer):
    assert index_layer(layer, multi_member=False).digest == index_layer(layer).digest


@pytest.mark.parametrize(
    "layer",
    [
        gzip_of(tar_of(*(file("n" * 5000 + str(n), bytes(100_000)) for n in range(100)))),
        gzip_of(tar_of(file("zeros", bytes(3_000_000)), file("noise", noise(2_000_000)))),
    ],
    ids=["names", "spans"],
)
def test_a_layer_with_too_large_a_ztoc_is_left_out(layer, monkeypatch):
    fits = index_layer(layer)
    monkeypatch.setattr(builder, "MAX_ZTOC_BYTES", 300_000)

    assert len(fits.ztoc) > 300_000
    assert try_index_layer(layer) == LeftOut(reason=Reason.ZTOC_TOO_LARGE, detail="more than 300000 bytes")


def peak_bytes(layer: bytes) -> int:
    tracemalloc.start()
    try:
        try_index_layer(layer)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "layer",
    [
        gzip_of(tar_of(*(file("n" * 4000 + str(n)) for n in range(2500)))),
        gzip_of(bytes(40 << 20), flush_at=range(65_537, 40 << 20, 65_537)),
    ],
    ids=["names", "spans"],
)
def test_a_ztoc_that_is_too_large_is_not_collected_in_memory(layer, monkeypatch):
    ztoc_bytes = len(index_layer(layer).ztoc)
    whole = peak_bytes(layer)
    monkeypatch.setattr(builder, "MAX_ZTOC_BYTES", 300_000)

    assert ztoc_bytes > 16_000_000
    assert peak_bytes(layer) < whole - ztoc_bytes // 2


@pytest.mark.parametrize("missing_bytes", [0, 1, RECORD_BYTES], ids=["fits", "a byte", "a checkpoint"])
def test_a_ztoc_of_exactly_the_limit_is_built(missing_bytes, monkeypatch):
    layer = gzip_of(tar_of(file("f", noise(500_000))))
    spans = index_layer(layer).spans
    limit = 12 + spans * RECORD_BYTES - missing_bytes  # the last file's table is not counted
    monkeypatch.setattr(builder, "MAX_ZTOC_BYTES", limit)

    indexed = try_index_layer(layer)

    too_large = LeftOut(reason=Reason.ZTOC_TOO_LARGE, detail=f"more than {limit} bytes")
    assert spans > 3
    assert indexed == too_large if missing_bytes else isinstance(indexed, IndexedLayer)


@pytest.mark.parametrize(
    "header",
    [
        gzip_header(extra=b"x" * 34_000),
        gzip_header(extra=b"x" * 65_535, name=b"n" * 511, comment=b"c" * 511, checksum="right"),
    ],
    ids=["34 KB", "the longest"],
)
def test_a_layer_with_a_long_gzip_header_is_indexed(header):
    layer = gzip_of(TAR, header=header)

    spans = decode_ztoc(index_layer(layer, chunk_bytes=10_000).ztoc).compression.spans

    assert spans[0].start == len(header)


# --- threads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fed", [b"", LAYER, TRUNCATED, b"no gzip" * 1000], ids=["nothing", "all", "some", "garbage"]
)
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "left early"])
def test_no_thread_is_left_behind(fed, finished):
    before = threading.active_count()
    with LayerIndexer(
        LayerTask(compression=GZIP, span_size_bytes=65_536, build_tool_identifier="t")
    ) as indexer:
        during = threading.active_count()
        indexer.feed(fed)
        if finished and fed != LAYER:
            with pytest.raises(DamagedLayer):
                indexer.finish()
        elif finished:
            indexer.finish()

    assert during > before
    assert threading.active_count() == before


def test_an_error_of_the_caller_ends_the_threads():
    before = threading.active_count()

    def interrupted() -> None:
        with LayerIndexer(
            LayerTask(compression=GZIP, span_size_bytes=65_536, build_tool_identifier="t")
        ) as indexer:
            indexer.feed(LAYER)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before


def test_a_zstd_layer_has_no_ztoc():
    with pytest.raises(ValueError, match="gzip and uncompressed layers only"):
        LayerTask(compression=Compression.ZSTD, span_size_bytes=65_536, build_tool_identifier="t")
