"""Build the zTOC of a layer in one pass.

    feed ─> inflate, checkpoints ─┬─> chunks ─────────> tar entries ─> file tables   (a thread)
            (the caller's thread) └─> bytes and cuts ─> layer and span digests        (a thread)

Data only moves to the right. Inflating and hashing free the GIL, so the three threads share two cores well. The
queues between them are short, so memory does not grow with the layer, except for the zTOC itself.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from soci.errors import DamagedLayer, DigestMismatch, SizeMismatch
from soci.layer import gzip_header
from soci.layer.chunks import Chunk, Ring
from soci.layer.gzip import GzipReader
from soci.layer.inflate import Engine, default_engine
from soci.layer.plain import PlainReader
from soci.layer.spans import Cut, SpanHasher
from soci.layer.tar import TarReader
from soci.layer.worker import Worker
from soci.oci.compression import Compression
from soci.oci.digest import Digest, digest_of
from soci.reasons import LeftOut, Reason
from soci.ztoc.checkpoints import CheckpointBlob, encode_plain_checkpoints
from soci.ztoc.checks import check_ztoc
from soci.ztoc.encode import encode_ztoc
from soci.ztoc.model import MAX_ZTOC_BYTES, IndexedLayer, LayerTask
from soci.ztoc.toc import TocWriter

PIECE_BYTES = 2 << 20
"""The size of the pieces to work on. Smaller ones are gathered, larger ones are cut."""


class LayerIndexer:
    """Builds the zTOC of one layer: `feed` all its bytes, then `finish`. The `with` block ends the threads.

    `engine` is the inflate library, and `piece_bytes` the size of a piece. Neither changes the result.
    """

    def __init__(
        self, task: LayerTask, *, engine: Engine | None = None, piece_bytes: int = PIECE_BYTES
    ) -> None:
        self._task = task
        self._piece_bytes = piece_bytes
        self._gathered = bytearray()
        self._head = bytearray()
        self._fed_bytes = 0
        self._damage: DamagedLayer | None = None
        self._ring = ring = Ring()
        self._reader: GzipReader | PlainReader
        if task.compression is Compression.GZIP:
            self._reader = GzipReader(
                span_size_bytes=task.span_size_bytes, engine=engine or default_engine(), ring=ring
            )
        else:
            self._reader = PlainReader(ring=ring)
        self._files = _FileCollector(ring)
        self._hashes = _Hashes(task)
        self._checkpoints = CheckpointBlob()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.worker.stop()
        self._hashes.worker.stop()

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the layer, any number of them.

        Raises:
            SizeMismatch: the layer is longer than its descriptor says.
        """
        self._fed_bytes += len(data)
        if self._task.expected_bytes is not None and self._fed_bytes > self._task.expected_bytes:
            raise SizeMismatch(
                f"{self._name} is longer than the {self._task.expected_bytes} bytes it should have"
            )
        rest = memoryview(data)
        piece_bytes = self._piece_bytes
        if self._gathered or len(rest) < piece_bytes:
            missing = piece_bytes - len(self._gathered)
            self._gathered += rest[:missing]
            rest = rest[missing:]
            if len(self._gathered) == piece_bytes:
                self._index_gathered()
        while len(rest) >= piece_bytes:
            self._index(bytes(rest[:piece_bytes]))
            rest = rest[piece_bytes:]
        self._gathered += rest

    def finish(self) -> IndexedLayer | LeftOut:
        """Return the zTOC, checked by the reader's rules, or the reason why the layer gets none.

        Raises:
            DigestMismatch, SizeMismatch: the bytes do not match the descriptor.
            DamagedLayer: the bytes match, but the gzip or tar stream is broken.
        """
        try:
            return self._finish()
        except DamagedLayer as error:
            if self._task.expected_digest is None:  # the caller knows the layer's name
                raise
            raise type(error)(f"{self._name}: {error}") from None

    def _finish(self) -> IndexedLayer | LeftOut:
        self._index_gathered()
        if self._damage is None:
            try:
                for chunk in self._reader.finish():
                    self._files.worker.put(chunk)
            except DamagedLayer as error:
                self._damage = error
        self._hashes.worker.finish()
        layer_digest = self._check_identity()
        if self._damage is not None:
            raise self._damage
        self._files.worker.finish()
        self._ring.release()
        tar_bytes = self._files.tar.finish(self._reader.uncompressed_bytes)
        if self._files.tar.left_out is not None:
            return self._files.tar.left_out
        if isinstance(self._reader, GzipReader) and self._reader.members > 1 and not self._task.multi_member:
            return LeftOut(reason=Reason.MULTI_MEMBER_GZIP, detail=f"{self._reader.members} members")
        if self._files.toc.size_bytes + self._checkpoints.size_bytes > MAX_ZTOC_BYTES:
            return LeftOut(reason=Reason.ZTOC_TOO_LARGE, detail=f"more than {MAX_ZTOC_BYTES} bytes")
        return self._assemble(layer_digest, tar_bytes)

    @property
    def _name(self) -> str:
        return f"layer {self._task.expected_digest}" if self._task.expected_digest else "the layer"

    def _index_gathered(self) -> None:
        if self._gathered:
            self._index(bytes(self._gathered))
            self._gathered.clear()

    def _index(self, piece: bytes) -> None:
        self._head += piece[: gzip_header.MAX_BYTES - len(self._head)]
        cuts: list[Cut] = []
        if self._damage is None:
            # A damaged layer is still read to its end. Its digest tells whether the layer or the download is wrong.
            try:
                for chunk in self._reader.feed(piece):
                    self._files.worker.put(chunk)
                cuts = self._take_cuts(len(piece))
            except DamagedLayer as error:
                self._damage = error
        self._hashes.worker.put((piece, cuts))

    def _take_cuts(self, piece_bytes: int) -> list[Cut]:
        """Return the starts of spans in the piece just read, and keep its checkpoints."""
        if isinstance(self._reader, GzipReader):
            checkpoints = self._reader.checkpoints
            self._reader.checkpoints = []
            for checkpoint in checkpoints:
                if self._checkpoints.size_bytes <= MAX_ZTOC_BYTES:
                    self._checkpoints.add(checkpoint)
            return [Cut(checkpoint.compressed, checkpoint.bits != 0) for checkpoint in checkpoints]
        span = self._task.span_size_bytes
        end = self._reader.compressed_bytes
        first = -(-(end - piece_bytes) // span) * span
        return [Cut(position, shared=False) for position in range(first, end, span)]

    def _check_identity(self) -> Digest:
        expected_bytes, expected_digest = self._task.expected_bytes, self._task.expected_digest
        if expected_bytes is not None and self._fed_bytes != expected_bytes:
            raise SizeMismatch(f"{self._name} has {self._fed_bytes} bytes, want {expected_bytes}")
        digest = self._hashes.layer_digest()
        if expected_digest is not None and digest != expected_digest:
            raise DigestMismatch(f"{self._name} hashes to {digest}: its bytes are not the pushed ones")
        return digest

    def _assemble(self, layer_digest: Digest, tar_bytes: int) -> IndexedLayer | LeftOut:
        task = self._task
        if task.compression is Compression.GZIP:
            checkpoints = self._checkpoints.finish(task.span_size_bytes)
        else:
            checkpoints = bytearray(
                encode_plain_checkpoints(span_size_bytes=task.span_size_bytes, layer_bytes=self._fed_bytes)
            )
        span_digests = self._hashes.spans.finish()
        ztoc = encode_ztoc(
            toc=self._files.toc,
            checkpoints=checkpoints,
            span_digests=span_digests,
            compression=task.compression,
            compressed_archive_size=self._fed_bytes,
            uncompressed_archive_size=tar_bytes,
            build_tool_identifier=task.build_tool_identifier,
        )
        with ThreadPoolExecutor(1) as pool:
            digest = pool.submit(digest_of, ztoc)
            left_out = check_ztoc(ztoc, head=bytes(self._head))
        return left_out or IndexedLayer(
            ztoc=ztoc,
            digest=digest.result(),
            layer_digest=layer_digest,
            compressed_bytes=self._fed_bytes,
            uncompressed_bytes=self._reader.uncompressed_bytes,
            files=self._files.count,
            spans=len(span_digests),
            needs_xattrs=self._files.toc.needs_xattrs,
        )


class _FileCollector:
    """The thread that reads the tar and writes the file tables."""

    def __init__(self, ring: Ring) -> None:
        self.count = 0
        self.tar = TarReader()
        self.toc = TocWriter()
        self.worker = Worker(self._read, drop=ring.give_back)
        self._ring = ring

    def _read(self, chunk: Chunk) -> None:
        entries = self.tar.feed(chunk)
        self._ring.give_back(chunk)
        if self.toc.size_bytes <= MAX_ZTOC_BYTES:
            self.toc.add(entries)
        self.count += len(entries)


class _Hashes:
    """The thread that hashes the layer and its spans."""

    def __init__(self, task: LayerTask) -> None:
        self._algorithm = task.expected_digest.algorithm if task.expected_digest else "sha256"
        self._layer = hashlib.new(self._algorithm)
        self.spans = SpanHasher()
        self.worker = Worker(self._update)

    def layer_digest(self) -> Digest:
        return Digest(algorithm=self._algorithm, hex=self._layer.hexdigest())

    def _update(self, item: tuple[bytes, list[Cut]]) -> None:
        piece, cuts = item
        self._layer.update(piece)
        self.spans.feed(memoryview(piece), cuts)
