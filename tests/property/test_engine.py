"""The engine on every archive that Python can write, and on random bytes."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from soci.errors import DamagedLayer, InvalidZtoc, TarError
from soci.layer.gzip_header import gzip_header_bytes
from soci.layer.inflate import Engine, open_libz, open_zlib_ng
from soci.layer.pax import parse_decimal, parse_number, parse_records, parse_time
from soci.oci.compression import Compression
from soci.reasons import LeftOut
from soci.ztoc.checks import check_ztoc
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.extract import SpanReader
from soci.ztoc.indexer import LayerIndexer
from soci.ztoc.model import IndexedLayer, LayerTask, Ztoc
from tests.builders import BUILD_TOOL, Member, gzip_header, gzip_of, index_layer, special, tar_of
from tests.unit.layer.deflate import (
    EMPTY_STORED,
    checkpoints_by_stopping_at_each_block,
    inflate_in_pieces,
    member,
    stored_block,
)
from tests.unit.layer.tar_blocks import header

ENGINES = [open_zlib_ng(), open_libz()]
READABLE = (Compression.GZIP, Compression.UNCOMPRESSED)
EXAMPLES = settings().max_examples

# --- tars that Python's tarfile writes ------------------------------------------------------------------------

RAW_NAMES = st.binary(min_size=1, max_size=280).filter(lambda name: b"\0" not in name)
NAMES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=120),
    RAW_NAMES.map(lambda name: name.decode("utf-8", "surrogateescape")),
    st.lists(st.sampled_from(["a", "b", ".", "..", "", "long" * 30]), min_size=1, max_size=6).map(
        lambda parts: "/".join(parts) or "x"
    ),
)
OWNERS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
IDS = st.integers(0, 2**21 - 1) | st.sampled_from([2**21, 2**31, 2**32 - 1])
TIMES = st.integers(-(2**31), 2**36) | st.integers(-(2**36), 2**36).map(lambda n: n / 64)
"""Without very small numbers: Python writes them with an exponent, which Go's reader refuses."""
PAX_KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0="), min_size=1, max_size=20).filter(
    lambda key: (
        key not in tarfile.PAX_FIELDS and not key.startswith("GNU.sparse") and key not in ("atime", "ctime")
    )
)
PAX_RECORDS = st.dictionaries(
    PAX_KEYS | st.sampled_from(["SCHILY.xattr.user.k", "comment"]),
    st.text(st.characters(codec="utf-8")),
    max_size=3,
)
CONTENTS = st.one_of(
    st.binary(max_size=1500),
    st.tuples(st.binary(min_size=1, max_size=40), st.integers(1, 2000)).map(lambda part: part[0] * part[1]),
)
TYPES = {
    tarfile.REGTYPE: "reg",
    tarfile.AREGTYPE: "reg",
    tarfile.LNKTYPE: "hardlink",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.DIRTYPE: "dir",
    tarfile.FIFOTYPE: "fifo",
}
FORMATS: list[Literal[0, 1, 2]] = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    """A tar with entries of all types, each in any of the three formats. Hard links have targets."""
    parts: list[bytes] = []
    linkable: list[str] = []
    for _ in range(draw(st.integers(0, 6))):
        type_ = draw(st.sampled_from(sorted(TYPES)))
        if type_ == tarfile.LNKTYPE and not linkable:
            type_ = tarfile.REGTYPE
        written = draw(members(type_, linkable))
        format_ = draw(st.sampled_from(FORMATS))
        try:
            parts.append(tar_of(written, format=format_, end_blocks=0))
        except ValueError:  # what USTAR cannot hold
            parts.append(tar_of(written, format=tarfile.PAX_FORMAT, end_blocks=0))
        if type_ == tarfile.REGTYPE:
            linkable.append(written.info.name)
    return b"".join(parts) + bytes(512 * draw(st.sampled_from([0, 1, 2, 20])))


@st.composite
def members(draw: st.DrawFn, type_: bytes, linkable: Sequence[str]) -> Member:
    link = draw(st.sampled_from(linkable)) if type_ == tarfile.LNKTYPE else draw(st.just("") | NAMES)
    # For the old type, tarfile tells a directory by the short name, and Go by the long one.
    name = draw(NAMES if type_ != tarfile.AREGTYPE else st.sampled_from(["old", "older/still", "directory/"]))
    is_directory = type_ == tarfile.AREGTYPE and name.endswith("/")
    return special(
        name,
        type_,
        data=draw(CONTENTS) if TYPES[type_] == "reg" and not is_directory else b"",
        linkname=link,
        mode=draw(st.integers(0, 0o7777777)),
        uid=draw(IDS),
        gid=draw(IDS),
        uname=draw(OWNERS),
        gname=draw(OWNERS),
        mtime=draw(TIMES),
        devmajor=draw(st.integers(0, 2**20)),
        devminor=draw(st.integers(0, 2**20)),
        pax=draw(PAX_RECORDS),
    )


HEADERS = st.builds(
    gzip_header,
    extra=st.none() | st.binary(max_size=40),
    name=st.none() | st.binary(max_size=20).filter(lambda name: b"\0" not in name),
    comment=st.none() | st.just(b"comment"),
    checksum=st.sampled_from(["", "right"]),
)
FLAVOURS = st.fixed_dictionaries(
    {
        "level": st.integers(0, 9),
        "members": st.integers(1, 4),
        "strategy": st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_RLE, zlib.Z_HUFFMAN_ONLY]),
        "memory_level": st.integers(1, 9),
        "flush_at": st.lists(st.integers(1, 20_000), max_size=8),
        "flush_mode": st.sampled_from([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH]),
        "header": HEADERS,
    }
)
SIZES = st.lists(st.integers(1, 3000), min_size=1, max_size=5)


def cut(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Cut data into pieces of these sizes, repeatedly."""
    at, turn = 0, 0
    while at < len(data):
        yield data[at : at + sizes[turn % len(sizes)]]
        at, turn = at + sizes[turn % len(sizes)], turn + 1


def feed(
    layer: bytes,
    sizes: Sequence[int],
    *,
    span: int,
    compression: Compression = Compression.GZIP,
    engine: Engine | None = None,
) -> IndexedLayer | LeftOut:
    task = LayerTask(compression=compression, span_size_bytes=span, build_tool_identifier=BUILD_TOOL)
    with LayerIndexer(task, engine=engine) as indexer:
        for piece in cut(layer, sizes):
            indexer.feed(piece)
        return indexer.finish()


def told_by_tarfile(tar: bytes) -> list[tuple[Any, ...]]:
    """All entries as tarfile reads them, with the content of files. tarfile drops trailing slashes of names."""
    if not tar:  # tarfile needs at least a zero block
        return []
    with tarfile.open(
        fileobj=io.BytesIO(tar), mode="r:", errors="surrogateescape", encoding="utf-8"
    ) as archive:
        return [
            (
                of.name.encode("utf-8", "surrogateescape").rstrip(b"/"),
                TYPES[of.type],
                of.size,
                of.linkname.encode("utf-8", "surrogateescape"),
                of.mode,
                of.uid,
                of.gid,
                tar[of.offset_data :][: of.size],
            )
            for of in archive.getmembers()
        ]


def told_by_ztoc(ztoc: Ztoc, layer: bytes) -> list[tuple[Any, ...]]:
    """The same entries through the zTOC, with the content read through the spans."""
    reader = SpanReader(ztoc.compression, lambda start, end: layer[start:end])
    return [
        (
            of.name.rstrip(b"/"),
            of.type,
            of.uncompressed_size,
            of.link_name,
            of.mode,
            of.uid,
            of.gid,
            b"".join(reader.read_file(of)),
        )
        for of in ztoc.files
    ]


@given(tar=tars(), flavour=FLAVOURS, sizes=SIZES, span=st.integers(1, 9000), engine=st.sampled_from(ENGINES))
def test_any_tar_in_any_gzip_reads_back_file_by_file(tar, flavour, sizes, span, engine):
    assume(tar)  # an empty tar in several members has an empty first block
    layer = gzip_of(tar, **flavour)

    indexed = feed(layer, sizes, span=span, engine=engine)

    assert isinstance(indexed, IndexedLayer), indexed
    assert told_by_ztoc(decode_ztoc(indexed.ztoc), layer) == told_by_tarfile(tar)


@given(tar=tars(), sizes=SIZES, span=st.integers(1, 9000))
def test_any_plain_tar_reads_back_file_by_file(tar, sizes, span):
    indexed = feed(tar, sizes, span=span, compression=Compression.UNCOMPRESSED)

    assert isinstance(indexed, IndexedLayer), indexed
    assert told_by_ztoc(decode_ztoc(indexed.ztoc), tar) == told_by_tarfile(tar)


@given(tar=tars(), flavour=FLAVOURS, sizes=SIZES, span=st.integers(1, 9000))
def test_neither_chunks_nor_engine_change_a_byte(tar, flavour, sizes, span):
    layer = gzip_of(tar, **flavour)

    outcomes = [
        feed(layer, pieces, span=span, engine=engine) for pieces in (sizes, [1 << 20]) for engine in ENGINES
    ]

    assert all(outcome == outcomes[0] for outcome in outcomes)


# --- checkpoints ----------------------------------------------------------------------------------------------

PIECES = st.binary(max_size=60) | st.binary(min_size=1, max_size=3).map(lambda part: part * 300)
MODES = st.sampled_from(
    [zlib.Z_NO_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_BLOCK]
)


@st.composite
def deflate_members(draw: st.DrawFn) -> bytes:
    """A member of pieces that zlib flushes in any way, or of stored blocks."""
    pieces = draw(st.lists(st.tuples(PIECES, MODES), max_size=12))
    data = b"".join(piece for piece, _ in pieces)
    if draw(st.booleans()):
        deflater = zlib.compressobj(draw(st.integers(0, 9)), zlib.DEFLATED, -15, draw(st.integers(1, 9)))
        body = (
            b"".join(deflater.compress(piece) + deflater.flush(mode) for piece, mode in pieces)
            + deflater.flush()
        )
    else:
        body = b"".join(stored_block(piece) + EMPTY_STORED * (mode % 3) for piece, mode in pieces)
        body += stored_block(b"", last=True)
    return member(body, data, draw(HEADERS))


@settings(max_examples=4 * EXAMPLES)
@given(
    parts=st.lists(deflate_members(), min_size=1, max_size=4),
    span=st.integers(1, 200),
    piece_bytes=st.sampled_from([1, 2, 7, 64, 1 << 20]),
    engine=st.sampled_from(ENGINES),
)
def test_checkpoints_are_those_of_a_stop_at_each_block(parts, span, piece_bytes, engine):
    layer = b"".join(parts)
    expected = checkpoints_by_stopping_at_each_block(layer, span_size_bytes=span)
    at_start = sum(not checkpoint.uncompressed for checkpoint in expected)

    inflated = inflate_in_pieces(layer, span_size_bytes=span, engine=engine, piece_bytes=piece_bytes)

    assert inflated.checkpoints == expected[:2] + expected[max(2, at_start) :]
    assert inflated.members == len(parts)


# --- anything at all ------------------------------------------------------------------------------------------


def outcome(layer: bytes, compression: Compression) -> IndexedLayer | LeftOut | None:
    """Index a layer; None when it is damaged. Any other error fails the test."""
    try:
        result = feed(layer, [1000], span=100, compression=compression)
    except DamagedLayer:
        return None
    if isinstance(result, IndexedLayer):
        assert check_ztoc(result.ztoc, head=layer) is None
        assert len(decode_ztoc(result.ztoc).files) == result.files
    return result


@given(data=st.binary(max_size=3000), compression=st.sampled_from(READABLE))
def test_random_bytes_are_not_a_layer_unless_they_are_empty(data, compression):
    assert outcome(data, compression) is None or not data.strip(b"\0")


@given(data=st.binary(max_size=3000))
def test_random_bytes_behind_a_gzip_header_are_damaged(data):
    assert outcome(gzip_header() + data, Compression.GZIP) is None


@given(data=st.binary(max_size=3000))
def test_random_bytes_in_sound_gzip_are_not_a_tar_unless_they_are_empty(data):
    found = outcome(gzip_of(data), Compression.GZIP)

    assert found is None or not data.strip(b"\0")


MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6
)


def mutate(data: bytes, mutations: Sequence[tuple[float, int]]) -> bytes:
    changed = bytearray(data)
    for position, value in mutations:
        changed[int(position * len(data))] = value
    return bytes(changed)


@given(tar=tars(), flavour=FLAVOURS, mutations=MUTATIONS)
def test_a_gzip_layer_with_bytes_changed_is_damaged_or_gives_the_same(tar, flavour, mutations):
    layer = gzip_of(tar, **flavour)
    assume(layer)

    found = outcome(mutate(layer, mutations), Compression.GZIP)

    assert found is None or isinstance(found, IndexedLayer | LeftOut)


@given(tar=tars(), mutations=MUTATIONS)
def test_a_tar_with_bytes_changed_is_indexed_left_out_or_damaged(tar, mutations):
    assume(tar)

    found = outcome(mutate(tar, mutations), Compression.UNCOMPRESSED)

    assert found is None or isinstance(found, IndexedLayer | LeftOut)


NUMBERS = st.integers(0, 2**21 - 1) | st.binary(max_size=8)
WIDE_NUMBERS = st.integers(0, 2**12) | st.binary(max_size=12)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.binary(max_size=100),
        "mode": NUMBERS,
        "uid": NUMBERS,
        "gid": NUMBERS,
        "size": WIDE_NUMBERS,
        "mtime": WIDE_NUMBERS,
        "type": st.sampled_from([*(bytes((n,)) for n in b"\x000123456xxxLKgS7"), b"\xff"]),
        "link_name": st.binary(max_size=100),
        "magic": st.sampled_from([b"ustar\x0000", b"ustar  \0", bytes(8)]),
        "device_major": NUMBERS,
        "prefix": st.binary(max_size=155),
        "trailer": st.sampled_from([b"", b"tar\0"]),
    },
)


@settings(max_examples=3 * EXAMPLES)
@given(
    blocks=st.lists(st.tuples(FIELDS, st.binary(max_size=600)), min_size=1, max_size=5),
    end=st.sampled_from([b"", bytes(512), bytes(1024)]),
)
def test_hostile_headers_with_right_checksums_are_indexed_left_out_or_damaged(blocks, end):
    tar = b"".join(header(**fields) + data + bytes(-len(data) % 512) for fields, data in blocks) + end

    found = outcome(tar, Compression.UNCOMPRESSED)

    assert found is None or isinstance(found, IndexedLayer | LeftOut)


@pytest.mark.parametrize("size", [2**33, 2**62, 2**63 - 1])
@pytest.mark.parametrize("compression", READABLE, ids=str)
def test_a_pax_size_of_up_to_8_eib_is_data_that_is_missing(size, compression):
    tar = tar_of(special("f", tarfile.REGTYPE, pax={"size": str(size)}))
    layer = gzip_of(tar) if compression is Compression.GZIP else tar

    with pytest.raises(TarError, match="tar is cut short: an entry's data should reach byte"):
        feed(layer, [1000], span=100, compression=compression)


@given(data=st.binary(max_size=200))
def test_pax_records_and_numbers_parse_or_raise_a_tar_error(data):
    for parse in (
        lambda: parse_records(data),
        lambda: parse_time(data, key=b"mtime"),
        lambda: parse_decimal(data, key=b"size"),
        lambda: parse_number(data[:12] or b"\0"),
    ):
        try:
            result: object = parse()
        except TarError as error:
            result = str(error)
        assert result is not None


@given(records=st.dictionaries(st.binary(min_size=1, max_size=9), st.binary(max_size=99), max_size=5))
def test_pax_records_that_are_well_formed_read_back(records):
    assume(not any(b"=" in key or b"\0" in key for key in records))
    written = b""
    for key, value in records.items():
        body = b" " + key + b"=" + value + b"\n"
        length = next(n for n in range(len(body), len(body) + 5) if len(str(n)) + len(body) == n)
        written += b"%d" % length + body

    assert parse_records(written) == records


@given(data=st.binary(max_size=100), fields=HEADERS)
def test_a_gzip_header_has_a_length_within_the_data_or_none(data, fields):
    length = gzip_header_bytes(fields[:4] + data)

    assert length is None or 10 <= length <= 4 + len(data)
    assert gzip_header_bytes(fields + data) == len(fields)


ZTOC = bytes(
    index_layer(
        gzip_of(
            tar_of(
                special("f", tarfile.REGTYPE, data=b"x" * 9000, pax={"k": "v"}), special("d", tarfile.DIRTYPE)
            )
        ),
        span_size_bytes=4096,
    ).ztoc
)


@given(mutations=MUTATIONS, front=st.booleans())
def test_a_ztoc_with_bytes_changed_decodes_or_is_invalid(mutations, front):
    positions = [(at * (200 / len(ZTOC)) if front else 1 - at * (600 / len(ZTOC)), n) for at, n in mutations]
    changed = mutate(ZTOC, [(min(at, 1 - 1e-9), n) for at, n in positions])

    try:
        decoded: object = decode_ztoc(changed)
        check_ztoc(changed, head=gzip_header())
    except InvalidZtoc as error:
        decoded = str(error)

    assert decoded


@given(data=st.binary(max_size=2000))
def test_random_bytes_are_not_a_ztoc(data):
    with pytest.raises(InvalidZtoc):
        decode_ztoc(data)
