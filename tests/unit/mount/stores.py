"""Images, sources and stores for the tests of the mount's bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from soci.errors import SociError
from soci.image.indexed import open_image
from soci.mount.cache_directory import open_span_cache
from soci.mount.span_cache import SpanCache
from soci.mount.span_store import SpanStore, open_span_store
from soci.oci.descriptor import Descriptor
from soci.oci.platform import Platform
from soci.places.ports import ImageSource
from soci.ztoc.model import Span
from tests.builders import Image, MemorySource, file, gzip_of, image_of, tar_of, text, with_soci_index
from tests.recipes import Watcher

KIB = 1 << 10
MIB = 1 << 20
PLATFORM = Platform.parse("linux/amd64")
CONTENT = text(900 * KIB)
TAR = tar_of(file("etc/a", text(3_000, "a")), file("usr/big", CONTENT), file("usr/c", text(50_000, "c")))
LAYER = gzip_of(TAR, memory_level=4)
IMAGE = with_soci_index(image_of(LAYER))


@dataclass
class Ranges:
    """A source that notes the ranges of layers which are fetched, and can fail or wait before it answers."""

    source: ImageSource
    fetched: list[tuple[int, int]] = field(default_factory=list)
    before: Callable[[int, int], None] = lambda _start, _end: None
    change: Callable[[bytes], bytes] = lambda data: data
    streams: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch_root(self) -> Descriptor:
        return self.source.fetch_root()

    def fetch_manifest(self, descriptor: Descriptor) -> bytes:
        return self.source.fetch_manifest(descriptor)

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        self.streams += 1
        with self.source.open_blob(descriptor) as pieces:
            yield (self.change(piece) for piece in pieces)

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> bytes:
        if "layer" not in descriptor.media_type or "soci" in descriptor.media_type:
            return self.source.fetch_range(descriptor, start, end)
        with self._lock:
            self.fetched.append((start, end))
        self.before(start, end)
        return self.change(self.source.fetch_range(descriptor, start, end))

    def has_blob(self, descriptor: Descriptor) -> bool:
        return self.source.has_blob(descriptor)


def source_of(image: Image = IMAGE) -> Ranges:
    return Ranges(MemorySource(image))


@contextmanager
def cache_in(path: Path | None, *, size_bytes: int = 1 << 30) -> Iterator[SpanCache]:
    with open_span_cache(path, size_bytes=size_bytes) as cache:
        yield cache


@contextmanager
def store_of(source: ImageSource, path: Path | None, *, size_bytes: int = 1 << 30) -> Iterator[SpanStore]:
    """Open an image over a cache directory."""
    with cache_in(path, size_bytes=size_bytes) as cache, store_over(source, cache) as store:
        yield store


@contextmanager
def store_over(source: ImageSource, cache: SpanCache, progress: Watcher | None = None) -> Iterator[SpanStore]:
    with open_span_store(
        source, open_image(source, PLATFORM), cache, progress=progress or Watcher()
    ) as store:
        yield store


def fail_with(error: SociError) -> Callable[[int, int], None]:
    def fail(_start: int, _end: int) -> None:
        raise error

    return fail


def spans_in(store: SpanStore) -> tuple[Span, ...]:
    """The spans of the bottom layer."""
    return store.layers[0].spans or ()
