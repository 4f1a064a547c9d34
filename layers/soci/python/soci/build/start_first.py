"""Layers written anew with the files of a start in front (docs/adr/0054).

    first reading    the layer is indexed as always: its table of files and its spans
    second reading   the front, in the order of need, through the spans      gathered in memory, FRONT_BYTES at a time
                     then the whole layer as a stream, without the front     its digest and diff ID are checked
    in the same pass the new tar is compressed, indexed and uploaded

Nothing is written to a disk. A zstd layer has no spans to read the front through, so it is streamed once more for
each FRONT_BYTES of it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from soci.build.assemble import contents_if_readable
from soci.build.index_layers import Front, LayerResult, run_side_by_side, watched
from soci.build.layer import RecompressedLayer
from soci.build.plan import PlannedLayer
from soci.build.recompress import Recompression, compress_and_index
from soci.errors import InvalidZtoc
from soci.image.filesystem import FileSystem
from soci.image.indexed import open_spans
from soci.image.progress import Progress
from soci.layer.chunks import Chunk
from soci.layer.decompress import decompress_layer
from soci.layer.ranges import leave_ranges, pick_ranges
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.integrity import checked
from soci.places.ports import ArtifactSink, ImageSource
from soci.reasons import LeftOut
from soci.settings import IndexSettings
from soci.start.front import LayerTable, plan_fronts
from soci.start.needs import plan_needs
from soci.start.profile import StartProfile
from soci.start.successors import fit_profile
from soci.ztoc.decode import decode_files, decode_ztoc
from soci.ztoc.model import IndexedLayer, Ztoc
from soci.ztoc.reorder import Reordering, has_same_entries

FRONT_BYTES = 128 << 20
"""How much of the front is in memory at once, for each layer that is rewritten. The order of need jumps to and fro in
the layer, so the front is gathered in the layer's order and written in its own. A larger file is not gathered."""

ReadRanges = Callable[[Sequence[tuple[int, int]]], Iterator[tuple[int, bytes]]]
"""Reads ascending ranges of the uncompressed layer, in pieces with the number of their range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFirst:
    """How layers are rewritten."""

    source: ImageSource
    sink: ArtifactSink
    settings: IndexSettings
    jobs: int
    progress: Progress


def put_start_first(
    run: StartFirst,
    profile: StartProfile,
    planned: Sequence[PlannedLayer],
    results: Sequence[LayerResult],
) -> tuple[LayerResult, ...]:
    """Write those layers of an image anew that a start reads a small part of. The other results stay.

    The new layers are uploaded, but not committed: the caller commits them, or calls `abort_uploads`. That also holds
    for the results that they replace.

    Args:
        run: where to read and write.
        profile: what the start reads.
        planned: the layers of the image, in its order.
        results: their zTOCs, or why they have none.

    Raises:
        DamagedLayer, IntegrityError, SourceError: a layer could not be read again, or not be written.
    """
    tables = [_table_of(run.source, one) for one in results]
    files = FileSystem.of([table.entries for table in tables])
    needs = plan_needs(fit_profile(profile, files).profile, files, [table.spans for table in tables])
    plans = plan_fronts(needs, tables)
    todo = {
        number: plan
        for number, plan in enumerate(plans)
        if plan is not None and not media_types.is_foreign(planned[number].descriptor.media_type)
    }

    def rewrite(number: int) -> LayerResult:
        return _rewrite(run, planned[number].descriptor, results[number], todo[number])

    largest_first = sorted(todo, key=lambda number: -planned[number].descriptor.size)
    made = dict(zip(largest_first, run_side_by_side(rewrite, largest_first, run.jobs), strict=True))
    return tuple(made.get(number, result) for number, result in enumerate(results))


def _table_of(source: ImageSource, layer: LayerResult) -> LayerTable:
    if isinstance(layer.outcome, LeftOut):
        contents = contents_if_readable(source, layer.descriptor, layer.outcome)
        return LayerTable(entries=contents.entries, is_complete=contents.left_out is None)
    ztoc = decode_ztoc(layer.outcome.ztoc)
    return LayerTable(
        entries=ztoc.files, spans=ztoc.compression.spans, archive_bytes=ztoc.uncompressed_archive_size
    )


def _rewrite(run: StartFirst, layer: Descriptor, result: LayerResult, plan: Reordering) -> LayerResult:
    """Write a layer in its new order and index it. If that gives no zTOC, the layer stays as it is."""
    if not isinstance(result.outcome, IndexedLayer):
        return result
    started = time.perf_counter()
    ztoc = decode_ztoc(result.outcome.ztoc)
    is_recompressed = result.recompressed is not None
    read = _streamed(run.source, layer) if is_recompressed else _through_spans(run.source, layer, ztoc)
    tar = _ReorderedTar(run, layer, plan, read)
    run.progress.start(layer)
    outcome, diff_id, upload = compress_and_index(tar.rest(), run.sink, run.settings, front=tar.front())
    run.progress.finish(layer)
    if isinstance(outcome, LeftOut):
        upload.abort()
        return result
    if not has_same_entries(ztoc.files, plan, tuple(decode_files(outcome.ztoc))):
        upload.abort()
        raise InvalidZtoc(f"layer {layer.digest} has other entries after its files were put in another order")
    made = RecompressedLayer(
        of=layer.digest, digest=outcome.layer_digest, size=outcome.compressed_bytes, diff_id=diff_id
    )
    return replace(
        result,
        descriptor=made.describe(layer),
        outcome=outcome,
        seconds=result.seconds + time.perf_counter() - started,
        recompressed=made,
        front=Front(entries=plan.moved, size_bytes=plan.front_bytes, left=plan.left),
        recompression=Recompression(layer=made, diff_id=tar.original_diff_id, upload=upload),
        reused=None,
    )


class _ReorderedTar:
    """The tar of a layer in its new order, in two parts. `original_diff_id` is valid when `rest` is read."""

    def __init__(self, run: StartFirst, layer: Descriptor, plan: Reordering, read: ReadRanges) -> None:
        self._run = run
        self._layer = layer
        self._plan = plan
        self._read = read
        self._hash = hashlib.sha256()

    def front(self) -> Iterator[bytes]:
        """Yield the entries that were moved."""
        for batch in _batches(self._plan):
            yield from self._read_front(batch)

    def rest(self) -> Iterator[bytes]:
        """Yield the other entries and the end of the archive."""
        segments = self._plan.segments
        moved = sorted(segments[number] for number in self._plan.order[: self._plan.moved])
        with self._run.source.open_blob(self._layer) as pieces:
            seen = watched(self._layer, pieces, self._run.progress)
            yield from leave_ranges(self._hashed(decompress_layer(checked(self._layer, seen))), moved)

    @property
    def original_diff_id(self) -> Digest:
        """The digest of the tar in its old order."""
        return Digest(algorithm="sha256", hex=self._hash.hexdigest())

    def _read_front(self, batch: Sequence[int]) -> Iterator[bytes]:
        """Yield some segments in their new order. They are read in the order of the layer."""
        segments = self._plan.segments
        ascending = sorted(batch)
        pieces = self._read([segments[number] for number in ascending])
        if len(batch) == 1:
            yield from (piece for _, piece in pieces)
            return
        gathered: dict[int, list[bytes]] = {number: [] for number in batch}
        for number, piece in pieces:
            gathered[ascending[number]].append(piece)
        for number in batch:
            yield from gathered.pop(number)

    def _hashed(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            self._hash.update(chunk.data)
            yield chunk


def _batches(plan: Reordering) -> Iterator[list[int]]:
    """Yield the moved entries in parts of at most FRONT_BYTES. A larger entry is a part of its own."""
    batch: list[int] = []
    size_bytes = 0
    for number in plan.order[: plan.moved]:
        segment = plan.segments[number]
        if batch and size_bytes + segment.end - segment.start > FRONT_BYTES:
            yield batch
            batch, size_bytes = [], 0
        batch.append(number)
        size_bytes += segment.end - segment.start
    if batch:
        yield batch


def _through_spans(source: ImageSource, layer: Descriptor, ztoc: Ztoc) -> ReadRanges:
    """Return a reader of a layer's ranges. Each span is checked against its digest."""
    spans = open_spans(source, layer, ztoc.compression)

    def read(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
        for number, (start, end) in enumerate(ranges):
            for piece in spans.read_range(start, end):
                yield number, piece

    return read


def _streamed(source: ImageSource, layer: Descriptor) -> ReadRanges:
    """Return a reader of a layer's ranges that streams the whole layer, since its digest is known only at the end."""

    def read(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
        with source.open_blob(layer) as pieces:
            chunks = decompress_layer(checked(layer, pieces))
            yield from pick_ranges(chunks, ranges)
            for _ in chunks:
                pass

    return read
