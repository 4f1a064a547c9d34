"""The files of a recording in an image: where paths lead, in which layer and which spans the bytes lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from soci.errors import NotInImage
from soci.image.files import open_layer_files
from soci.image.filesystem import FileSystem, Node
from soci.image.indexed import IndexedImage, fetch_ztoc
from soci.oci.digest import Digest
from soci.places.ports import ImageSource
from soci.start.needs import spans_of_range
from soci.start.profile import FileRead, ReadRange
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.model import FileEntry, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContent:
    """What recordings are compared with: the merged files of an image, and its layers from the bottom up."""

    files: FileSystem
    layers: tuple[Digest, ...]
    spans: tuple[Sequence[Span] | None, ...]
    """Per layer those of its zTOC; None without one."""

    def find(self, path: bytes) -> Node | None:
        """Return the regular file that a path leads to, through links; None without one."""
        try:
            node = self.files.lookup(path)
        except NotInImage:
            return None
        return node if node.type == "reg" and node.data is not None else None

    def resolve(self, path: bytes) -> bytes | None:
        """Return the path of the file that a path leads to, without links; None without one."""
        node = self.find(path)
        return node.path if node else None

    def locate(self, read: FileRead) -> FileRead:
        """Complete a file of the image with size, layer and spans. Ranges are cut to the size."""
        node = self.find(read.path)
        if node is None or node.data is None:
            raise NotInImage(f"the image has no file {read.path!r}")
        size_bytes = node.data.uncompressed_size
        ranges = tuple(
            replace(one, end=min(one.end, size_bytes)) for one in read.ranges if one.start < size_bytes
        )
        spans: set[int] = set()
        layer_spans = self.spans[node.data_layer]
        for one in ranges or (ReadRange(start=0, end=max(size_bytes, 1), first_ms=0),):
            if layer_spans and size_bytes:
                spans.update(spans_of_range(node.data, one.start, one.end, layer_spans))
        return replace(
            read,
            size_bytes=size_bytes,
            ranges=ranges,
            layer=self.layers[node.data_layer],
            spans=tuple(sorted(spans)),
        )

    def is_program(self, path: bytes) -> bool:
        """Tell whether a path leads to a file that may be executed."""
        node = self.find(path)
        return node is not None and node.entry is not None and bool(node.entry.mode & 0o111)


def open_image_content(source: ImageSource, image: IndexedImage) -> ImageContent:
    """Read what an image holds: through its zTOCs; a layer without one is read whole.

    Raises:
        IntegrityError, DamagedLayer, SourceError: a layer could not be read.
    """
    entries: list[Sequence[FileEntry]] = []
    spans: list[Sequence[Span] | None] = []
    for layer in image.layers:
        if layer.ztoc is None:
            entries.append(open_layer_files(source, layer).entries)
            spans.append(None)
        else:
            ztoc = decode_ztoc(fetch_ztoc(source, layer.ztoc))
            entries.append(ztoc.files)
            spans.append(ztoc.compression.spans)
    return ImageContent(
        files=FileSystem.of(entries),
        layers=tuple(layer.descriptor.digest for layer in image.layers),
        spans=tuple(spans),
    )
