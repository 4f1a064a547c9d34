"""The content of a layout that is in use: everything reachable from its entry points."""

from __future__ import annotations

from collections.abc import Iterable

from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.ports import ImageSource


def reachable_from(source: ImageSource, roots: Iterable[Descriptor]) -> set[Digest]:
    """Return the digests of the roots and of everything below them. Missing content is skipped.

    Raises:
        IntegrityError, SourceError: a document exists but cannot be read.
    """
    found: set[Digest] = set()
    todo = list(roots)
    while todo:
        descriptor = todo.pop()
        if descriptor.digest in found:
            continue
        found.add(descriptor.digest)
        if source.has_blob(descriptor):
            todo += _children(source, descriptor)
    return found


def _children(source: ImageSource, descriptor: Descriptor) -> tuple[Descriptor, ...]:
    what = f"document {descriptor.digest}"
    if media_types.is_index(descriptor.media_type):
        return ImageIndex.parse(source.fetch_manifest(descriptor), what).manifests or ()
    if media_types.is_manifest(descriptor.media_type):
        manifest = ImageManifest.parse(source.fetch_manifest(descriptor), what)
        return (manifest.config, *(manifest.layers or ()))
    return ()
