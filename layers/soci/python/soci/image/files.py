"""The files of a layer and their content, through its zTOC, or without one by reading the whole layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from soci.errors import NotInImage, TarError
from soci.image.filesystem import FileSystem, Node
from soci.image.indexed import ImageLayer, IndexedImage, fetch_ztoc, open_spans
from soci.layer.decompress import decompress_layer
from soci.layer.tar import TarReader
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.integrity import checked
from soci.places.ports import ImageSource
from soci.reasons import LeftOut, Reason
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.entries import file_entry_of
from soci.ztoc.model import FileEntry, Span


class LayerFiles(Protocol):
    """A layer's entries, in the order of its tar, and their content."""

    @property
    def entries(self) -> Sequence[FileEntry]:
        """All entries, or the entries before the first one that cannot be read."""

    @property
    def left_out(self) -> LeftOut | None:
        """Why entries are missing; None if all are there."""

    @property
    def spans(self) -> tuple[Span, ...] | None:
        """The spans of the layer's zTOC; None without one."""

    def read(self, entry: FileEntry) -> Iterator[bytes]:
        """Yield the content of an entry of type reg, in pieces of bounded size."""


class ImageFiles:
    """The merged files of an image. `tree` finds them, `read` returns their content."""

    def __init__(self, layers: Sequence[LayerFiles]) -> None:
        self._layers = layers
        self.tree = FileSystem.of([layer.entries for layer in layers])
        self.left_out = {number: layer.left_out for number, layer in enumerate(layers) if layer.left_out}
        """Why some files of a layer are missing, by the layer's number."""

    def read(self, node: Node) -> Iterator[bytes]:
        """Yield a file's content.

        Raises:
            NotInImage: the node is no file, or a hard link without a target.
            IntegrityError, DamagedLayer, SourceError: the content could not be read.
        """
        if node.data is None or node.type != "reg":
            raise NotInImage(f"{node} is no file, its type is {node.type}")
        yield from self._layers[node.data_layer].read(node.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerContents:
    """The entries of a layer without a zTOC, and the reason if only some could be read."""

    entries: tuple[FileEntry, ...]
    left_out: LeftOut | None


def open_image_files(source: ImageSource, image: IndexedImage) -> ImageFiles:
    """Open the files of an image. A layer without a zTOC is read whole. Raises as `open_layer_files` does."""
    return ImageFiles([open_layer_files(source, layer) for layer in image.layers])


def open_layer_files(source: ImageSource, layer: ImageLayer) -> LayerFiles:
    """Open one layer.

    Raises:
        IntegrityError, DamagedLayer, SourceError: the zTOC, or the layer without one, could not be read.
    """
    if layer.ztoc is None:
        if media_types.is_foreign(layer.descriptor.media_type) and not source.has_blob(layer.descriptor):
            return _NoFiles(LeftOut(reason=Reason.FOREIGN))
        return _StreamedFiles(source, layer.descriptor)
    return _IndexedFiles(source, layer.descriptor, fetch_ztoc(source, layer.ztoc))


def contents_of_layer(source: ImageSource, layer: Descriptor) -> LayerContents:
    """Read a whole layer for its entries. Size and digest are checked. Raises as `open_layer_files` does."""
    tar = TarReader()
    entries: list[FileEntry] = []
    end = 0
    with source.open_blob(layer) as chunks:
        for chunk in decompress_layer(checked(layer, chunks)):
            entries += map(file_entry_of, tar.feed(chunk))
            end = chunk.offset + len(chunk.data)
    tar.finish(end)
    return LayerContents(entries=tuple(entries), left_out=tar.left_out)


class _IndexedFiles:
    """A layer that is read through its spans."""

    def __init__(self, source: ImageSource, layer: Descriptor, ztoc_bytes: bytes) -> None:
        ztoc = decode_ztoc(ztoc_bytes)
        self.entries = ztoc.files
        self.left_out = None
        self.spans = ztoc.compression.spans
        self._reader = open_spans(source, layer, ztoc.compression)

    def read(self, entry: FileEntry) -> Iterator[bytes]:
        return self._reader.read_file(entry)


class _NoFiles:
    """A foreign layer that is missing: its files cannot be read, here or through a lazy reader."""

    def __init__(self, left_out: LeftOut) -> None:
        self.entries: tuple[FileEntry, ...] = ()
        self.left_out = left_out
        self.spans = None

    def read(self, entry: FileEntry) -> Iterator[bytes]:
        raise NotInImage(f"{entry.name!r}: its layer is missing")


class _StreamedFiles:
    """A layer that is read from its beginning: once for its entries, and again for each file."""

    def __init__(self, source: ImageSource, layer: Descriptor) -> None:
        self._source = source
        self._layer = layer
        contents = contents_of_layer(source, layer)
        self.entries = contents.entries
        self.left_out = contents.left_out
        self.spans = None

    def read(self, entry: FileEntry) -> Iterator[bytes]:
        at, end = entry.uncompressed_offset, entry.uncompressed_offset + entry.uncompressed_size
        if at == end:
            return
        with self._source.open_blob(self._layer) as pieces:
            for chunk in decompress_layer(pieces):
                piece = bytes(chunk.data[max(0, at - chunk.offset) : end - chunk.offset])
                if piece:
                    at += len(piece)
                    yield piece
                if at == end:
                    return
        raise TarError(f"layer {self._layer.digest} ends at byte {at} of the uncompressed tar, want {end}")
