"""Starts for tests: an image in memory, a profile, and what comes of both."""

from __future__ import annotations

from soci.image.filesystem import FileSystem
from soci.oci.digest import digest_of
from soci.oci.platform import Platform
from soci.start.front import LayerTable, plan_fronts
from soci.start.image_start import ImageStart, make_image_start
from soci.start.loads import LayerShape, program_of
from soci.start.needs import plan_needs
from soci.start.profile import FileRead, ReadRange, StartProfile, make_profile
from soci.start.readers import DEFAULT_NETWORK, SNAPSHOTTER, Network, Reader
from soci.start.start_report import StartReport, make_report
from soci.ztoc.decode import decode_compression_info, decode_files
from tests.builders import Member, gzip_of, index_layer, tar_of

SPAN = 65_536
"""The size of the spans."""


def read(path: str, *ranges: tuple[int, int, int], first_ms: int = 0) -> FileRead:
    """A file that a start reads: parts of it as (start, end, first_ms), or all of it."""
    parts = tuple(ReadRange(start=start, end=end, first_ms=ms) for start, end, ms in ranges)
    times = [part.first_ms for part in parts] or [first_ms]
    return FileRead(path=path.encode(), first_ms=min(times), last_ms=max(times), ranges=parts)


def start_of(
    profile: StartProfile,
    *layers: list[Member],
    without_ztoc: tuple[int, ...] = (),
    network: Network = DEFAULT_NETWORK,
    reader: Reader = SNAPSHOTTER,
    gzip: bool = False,
) -> ImageStart:
    """The start of an image. Its layers are uncompressed, or gzip on request."""
    tars = [tar_of(*members) for members in layers]
    indexed = [index_layer(gzip_of(tar) if gzip else tar, span_size_bytes=SPAN) for tar in tars]
    shapes = tuple(
        LayerShape(
            compressed_bytes=one.compressed_bytes,
            uncompressed_bytes=one.uncompressed_bytes,
            files=one.files,
            ztoc_bytes=None if number in without_ztoc else len(one.ztoc),
            spans=None if number in without_ztoc else decode_compression_info(one.ztoc).spans,
        )
        for number, one in enumerate(indexed)
    )
    entries = [tuple(decode_files(one.ztoc)) for one in indexed]
    needs = plan_needs(profile, FileSystem.of(entries), [shape.spans for shape in shapes])
    tables = [
        LayerTable(entries=of_layer, spans=shape.spans, archive_bytes=shape.uncompressed_bytes)
        for of_layer, shape in zip(entries, shapes, strict=True)
    ]
    return make_image_start(
        tuple(one.layer_digest for one in indexed),
        shapes,
        plan_fronts(needs, tables),
        needs,
        program_of(needs),
        span_size_bytes=SPAN,
        network=network,
        reader=reader,
    )


def report_of(reads: list[FileRead], *layers: list[Member], name: str = "app:1", **options) -> StartReport:
    """The report on the start of an image. Options are those of `start_of`."""
    profile = make_profile(reads, program=b"/bin/app")
    start = start_of(profile, *layers, **options)
    return make_report(name, digest_of(b"manifest"), Platform.parse("linux/amd64"), profile, start)
