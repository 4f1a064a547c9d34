"""The files of a recording in an image: where paths lead, in which layer and which spans the bytes lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from soci.errors import NotInImage
from soci.image.files import LayerFiles, open_layer_files
from soci.image.filesystem import FileSystem, Node
from soci.image.indexed import IndexedImage
from soci.oci.digest import Digest
from soci.places.ports import ImageSource
from soci.start.interpreters import HEAD_BYTES, interpreter_of
from soci.start.needs import spans_of_range
from soci.start.profile import FileRead, ReadRange
from soci.ztoc.model import Span

_MAX_INTERPRETERS = 5
"""The kernel follows as many scripts that name scripts (exec_binprm in Linux)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContent:
    """What recordings are compared with: the merged files of an image, and its layers from the bottom up."""

    files: FileSystem
    layers: tuple[Digest, ...]
    spans: tuple[Sequence[Span] | None, ...]
    """Per layer those of its zTOC; None without one."""
    contents: tuple[LayerFiles, ...]

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
        """Complete a file of the image with size, layer and spans. Ranges are cut to the size.

        Ranges that all lie behind it stay: without ranges the file would count as read whole.
        """
        node = self.find(read.path)
        if node is None or node.data is None:
            raise NotInImage(f"the image has no file {read.path!r}")
        size_bytes = node.data.uncompressed_size
        ranges = tuple(
            replace(one, end=min(one.end, size_bytes)) for one in read.ranges if one.start < size_bytes
        )
        parts = ranges if read.ranges or not size_bytes else (ReadRange(start=0, end=size_bytes, first_ms=0),)
        spans = self.spans[node.data_layer] or ()
        found = {
            span for one in parts for span in spans_of_range(node.data, one.start, one.end, spans) if spans
        }
        return replace(
            read,
            size_bytes=size_bytes,
            ranges=ranges or read.ranges,
            layer=self.layers[node.data_layer],
            spans=tuple(sorted(found)),
        )

    def interpreters_of(self, path: bytes) -> Iterator[bytes]:
        """Yield what the kernel reads to execute a program of the image, after the program itself.

        Raises:
            IntegrityError, DamagedLayer, SourceError: the program could not be read.
        """
        for _ in range(_MAX_INTERPRETERS):
            node = self.find(path)
            if node is None or node.data is None:
                return
            found = interpreter_of(_head(self.contents[node.data_layer].read(node.data)))
            if found is None or self.find(found) is None:
                return
            yield found
            path = found

    def is_program(self, path: bytes) -> bool:
        """Tell whether a path leads to a file that may be executed."""
        node = self.find(path)
        return node is not None and node.entry is not None and bool(node.entry.mode & 0o111)


def open_image_content(source: ImageSource, image: IndexedImage) -> ImageContent:
    """Read what an image holds: through its zTOCs; a layer without one is read whole.

    Raises:
        IntegrityError, DamagedLayer, SourceError: a layer could not be read.
    """
    contents = tuple(open_layer_files(source, layer) for layer in image.layers)
    return ImageContent(
        files=FileSystem.of([one.entries for one in contents]),
        layers=tuple(layer.descriptor.digest for layer in image.layers),
        spans=tuple(one.spans for one in contents),
        contents=contents,
    )


def _head(pieces: Iterator[bytes]) -> bytes:
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= HEAD_BYTES:
            break
    return head
