"""Opening an image and a profile for the commands that report on a start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soci.build.plan import plan_layer, plan_task
from soci.cli.network_options import EstimateOptions
from soci.cli.profile_file import read_profile
from soci.cli.start_profiles import fetch_pushed_profile
from soci.cli.terminal import progress_bars
from soci.errors import NotInImage
from soci.image.documents import PlatformImage
from soci.image.files import LayerFiles, open_layer_files
from soci.image.filesystem import FileSystem
from soci.image.indexed import ImageLayer, fetch_ztoc, open_image
from soci.image.progress import Progress
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.platform import Platform
from soci.oci.reference import parse_reference
from soci.places.open import open_source
from soci.places.ports import ImageSource
from soci.settings import MAX_SPAN_SIZE_BYTES, MIN_SPAN_SIZE_BYTES, IndexSettings
from soci.start.front import LayerTable, plan_fronts
from soci.start.image_start import make_image_start
from soci.start.loads import LayerShape, program_of
from soci.start.needs import plan_needs
from soci.start.prefetch_plan import with_headers
from soci.start.profile import StartProfile
from soci.start.readers import SNAPSHOTTER
from soci.start.start_report import StartReport, make_report
from soci.ztoc.decode import decode_compression_info, decode_files
from soci.ztoc.indexer import LayerIndexer
from soci.ztoc.model import FileEntry, IndexedLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    descriptor: Descriptor
    entries: Sequence[FileEntry]
    shape: LayerShape
    is_complete: bool = True
    """Whether these are all entries of the layer."""

    @property
    def table(self) -> LayerTable:
        """The layer as the planner of fronts takes it."""
        return LayerTable(
            entries=self.entries,
            is_complete=self.is_complete,
            spans=self.shape.spans,
            archive_bytes=self.shape.uncompressed_bytes,
        )


def open_start(
    image: str,
    profile: Path | None,
    *,
    platform: str | None,
    options: EstimateOptions,
    settings: IndexSettings,
) -> StartReport:
    """Report on the start of an image, by a profile in a file or by the image's own.

    An image without an index is read whole and reported as if it had been indexed with `settings`. Nothing is
    written.

    Raises:
        NotInImage: the image has no profile of its own.
        InvalidDocument: the profile is none.
        SourceError, IntegrityError, DamagedLayer: the image or the profile could not be read.
    """
    read = None if profile is None else read_profile(profile).profile
    source = open_source(parse_reference(image))
    opened = open_image(source, None if platform is None else Platform.parse(platform))
    read = read or _fetch_profile(source, opened.image)
    with progress_bars() as progress:
        layers = [
            _indexed_layer(source, layer)
            if layer.ztoc or opened.soci_index
            else _layer_to_index(source, layer.descriptor, settings, progress)
            for layer in opened.layers
        ]
    entries, spans = [one.entries for one in layers], [one.shape.spans for one in layers]
    needs = plan_needs(read, FileSystem.of(entries), spans)
    if options.reader == SNAPSHOTTER.name:
        needs = with_headers(needs, entries, spans)
    sizes = [size for layer in opened.layers if _is_span_size(size := layer.span_size_bytes or 0)]
    start = make_image_start(
        tuple(one.descriptor.digest for one in layers),
        tuple(one.shape for one in layers),
        plan_fronts(needs, [one.table for one in layers]),
        needs,
        program_of(needs, options.run_seconds),
        span_size_bytes=sizes[0] if sizes else settings.span_size_bytes,
        network=options.network(),
        reader=options.chosen_reader(),
    )
    return make_report(image, opened.image.descriptor.digest, opened.image.platform, read, start)


def _is_span_size(size_bytes: int) -> bool:
    """Tell whether layers can be cut into such spans. An index may say any size."""
    return MIN_SPAN_SIZE_BYTES <= size_bytes <= MAX_SPAN_SIZE_BYTES


def _fetch_profile(source: ImageSource, image: PlatformImage) -> StartProfile:
    """Fetch the profile that was pushed for an image, or for the image that it was converted from."""
    if found := fetch_pushed_profile(source, image):
        return found.used.profile
    raise NotInImage(
        f"no start profile was pushed for image {image.descriptor.digest}; name a file, or see docs/profiles.md"
    )


def _indexed_layer(source: ImageSource, layer: ImageLayer) -> _Layer:
    if layer.ztoc is None:
        return _whole_layer(layer.descriptor, open_layer_files(source, layer))
    data = fetch_ztoc(source, layer.ztoc)
    return _lazy_layer(layer.descriptor, data)


def _layer_to_index(
    source: ImageSource, layer: Descriptor, settings: IndexSettings, progress: Progress
) -> _Layer:
    """Read a layer as `convert` would, to learn its spans."""
    decision = plan_layer(layer, settings)
    if isinstance(decision, Compression):
        progress.start(layer)
        with (
            source.open_blob(layer) as chunks,
            LayerIndexer(plan_task(settings, decision, layer)) as indexer,
        ):
            for chunk in chunks:
                indexer.feed(chunk)
                progress.advance(layer, len(chunk))
            outcome = indexer.finish()
        progress.finish(layer)
        if isinstance(outcome, IndexedLayer):
            return _lazy_layer(layer, outcome.ztoc)
    unread = ImageLayer(descriptor=layer, ztoc=None)
    return _whole_layer(layer, open_layer_files(source, unread))


def _lazy_layer(layer: Descriptor, ztoc: bytes | bytearray) -> _Layer:
    spans = decode_compression_info(ztoc).spans
    entries = tuple(decode_files(ztoc))
    shape = LayerShape(
        compressed_bytes=layer.size,
        uncompressed_bytes=spans[-1].uncompressed_end if spans else 0,
        files=len(entries),
        ztoc_bytes=len(ztoc),
        spans=spans,
    )
    return _Layer(descriptor=layer, entries=entries, shape=shape)


def _whole_layer(layer: Descriptor, files: LayerFiles) -> _Layer:
    ends = (entry.uncompressed_offset + entry.uncompressed_size for entry in files.entries)
    shape = LayerShape(
        compressed_bytes=layer.size,
        uncompressed_bytes=max(ends, default=0),
        files=len(files.entries),
        ztoc_bytes=None,
        spans=None,
    )
    return _Layer(descriptor=layer, entries=files.entries, shape=shape, is_complete=files.left_out is None)
