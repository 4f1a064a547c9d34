"""A layer without a zTOC: loaded whole into the cache, where its content is one file."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from typing import Any

from soci.errors import SociError, SpanUnreadable, Stopped, StorageError
from soci.image.progress import Progress
from soci.layer.chunks import Ring
from soci.layer.decompress import decompress_layer
from soci.layer.plain import PlainReader
from soci.layer.tar import TarReader
from soci.mount.span_cache import SpanCache
from soci.mount.span_key import SpanKey, group_of
from soci.mount.tar_entries import FoundEntries, SparseFile, read_entries
from soci.oci.descriptor import Descriptor
from soci.oci.integrity import checked
from soci.places.cancellation import Cancellation, cancel_after, cancellable_sleep, current_cancellation
from soci.places.ports import ImageSource
from soci.reasons import LeftOut
from soci.ztoc.entries import file_entry_of
from soci.ztoc.model import FileEntry

RELOAD_SECONDS = 60.0
"""How long a read may take that finds the content lost, and a second for each MiB."""

_POLL_SECONDS = 0.05


class WholeLayer:
    """The content of a layer without a zTOC. Shared by threads."""

    def __init__(self, source: ImageSource, cache: SpanCache, descriptor: Descriptor) -> None:
        self.size_bytes = 0
        """The size of the content."""
        self.bytes_fetched = 0
        self._sparse: list[SparseFile] = []
        self.left_out: LeftOut | None = None
        """Why entries are missing."""
        self._source = source
        self._cache = cache
        self._descriptor = descriptor
        self._key = SpanKey(group_of(descriptor.digest, None), 0)
        self._lock = threading.Lock()
        self._closing = Cancellation()

    def load(self, progress: Progress) -> None:
        """Bring the layer into the cache, unless it is there, and keep it there.

        Raises:
            DamagedLayer, IntegrityError: the layer is broken or not what its descriptor says.
            SourceError: the source cannot be read, or the cache has no room.
        """
        progress.start(self._descriptor)
        with self._locked():
            if not self._cache.pin(self._key):
                self._fetch(progress)
                if not self._cache.pin(self._key):
                    raise StorageError(
                        f"cache {self._cache.path}: layer {self._descriptor.digest} is gone again"
                    )
        self.size_bytes = self._cache.size_of(self._key) or 0
        progress.finish(self._descriptor)

    def cancel(self) -> None:
        """End all reads that load the layer again."""
        self._closing.cancel()

    def read_entries(self) -> Iterator[FileEntry]:
        """Yield the layer's entries, then set `left_out` if some are missing. Raises `TarError`."""
        tar = TarReader()
        ring = Ring()
        reader = PlainReader(ring=ring)
        end = 0
        for piece in self._cache.pieces(self._key):
            for chunk in reader.feed(piece):
                yield from map(file_entry_of, tar.feed(chunk))
                end = chunk.offset + len(chunk.data)
                ring.give_back(chunk)
        for chunk in reader.finish():
            yield from map(file_entry_of, tar.feed(chunk))
            end = chunk.offset + len(chunk.data)
        tar.finish(end)
        self.left_out = tar.left_out

    def read_all_entries(self) -> Iterator[FileEntry]:
        """Yield the entries as a runtime sees them, with those that a zTOC cannot express. Raises `TarError`."""
        found = FoundEntries([])
        yield from read_entries(BufferedReader(_Content(self)), found, tar_bytes=self.size_bytes)
        self._sparse = found.sparse
        self.left_out = found.left_out

    def read(self, start: int, end: int) -> bytes:
        """Return bytes [start, end) of the content. What the cache lost is loaded again.

        Raises:
            SpanUnreadable: it cannot be loaded, or lies outside.
        """
        if end <= self.size_bytes:
            return self.read_tar(start, end)
        number = bisect_right(self._sparse, start, key=lambda file: file.start) - 1
        if number < 0 or end > self._sparse[number].start + self._sparse[number].size_bytes:
            raise SpanUnreadable(f"layer {self._descriptor.digest}: bytes {start} to {end} lie outside of it")
        return self._sparse[number].read(start, end, self.read_tar)

    def read_tar(self, start: int, end: int) -> bytes:
        """Return bytes [start, end) of the tar. Raises `SpanUnreadable`."""
        data = self._read(start, end)
        if data is not None:
            return data
        why = "it was damaged again"
        try:
            with (
                self._lock,
                cancel_after(RELOAD_SECONDS + (self._descriptor.size >> 20)),
                self._closing.on_cancel(current_cancellation().cancel),
            ):
                self.load(NoProgress())
            data = self._read(start, end)
        except Stopped:
            why = "it could not be loaded again in time"
        except SociError as error:
            why = str(error)
        if data is None:
            raise SpanUnreadable(f"layer {self._descriptor.digest}, which has no zTOC, cannot be read: {why}")
        return data

    def _read(self, start: int, end: int) -> bytes | None:
        try:
            return self._cache.read(self._key, start, end, size_bytes=self.size_bytes)
        except OSError as error:
            self._cache.complain("cannot be read", error)
            return None

    def _fetch(self, progress: Progress) -> None:
        with (
            self._cache.writing(self._key, size_bytes=None) as writer,
            self._source.open_blob(self._descriptor) as pieces,
        ):
            for chunk in decompress_layer(checked(self._descriptor, self._watched(pieces, progress))):
                writer.write(chunk.data)

    def _watched(self, pieces: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
        cancellation = current_cancellation()
        for piece in pieces:
            cancellation.check()
            self.bytes_fetched += len(piece)
            yield piece
            progress.advance(self._descriptor, len(piece))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait while another mount loads the layer."""
        lock = None
        try:
            while (lock := self._cache.try_lock(self._key, 1)) is None:
                cancellable_sleep(_POLL_SECONDS)
        except OSError as error:
            self._cache.complain("has no locks, so two mounts may load the same layer", error)
        try:
            yield
        finally:
            if lock is not None:
                os.close(lock)


class _Content(RawIOBase):
    """The tar of a layer as a file."""

    def __init__(self, layer: WholeLayer) -> None:
        self._layer = layer
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        before = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._layer.size_bytes}
        self._at = max(0, before[whence] + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a buffer; Python 3.12 has a name for it
        end = min(self._at + len(buffer), self._layer.size_bytes)
        data = self._layer.read_tar(self._at, end) if self._at < end else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class NoProgress:
    """A `Progress` that shows nothing."""

    def start(self, layer: Descriptor) -> None:
        """See `Progress`."""

    def advance(self, layer: Descriptor, size_bytes: int) -> None:
        """See `Progress`."""

    def finish(self, layer: Descriptor) -> None:
        """See `Progress`."""
