"""From a reference to the file or directory it names; `soci.places.open` knows registries as well."""

from __future__ import annotations

from soci.errors import InvalidReference
from soci.oci.reference import DockerArchiveRef, FileReference, OciArchiveRef, OciLayoutRef
from soci.places.layout.archive import OciArchive
from soci.places.layout.docker_archive import open_docker_archive
from soci.places.layout.extents import storage_errors
from soci.places.layout.oci_layout import OciLayout
from soci.places.ports import ImageSource, ImageStore


def open_source(reference: FileReference) -> ImageSource:
    """Open the place a reference names. Raises `SourceError` when there is nothing or no archive.

    Whether the tag or digest is there shows in `fetch_root`.
    """
    with storage_errors(reference.path):
        reference.path.stat()
    match reference:
        case OciLayoutRef(path=path, tag=tag, digest=digest):
            return OciLayout(path, tag=tag, digest=digest)
        case OciArchiveRef(path=path, tag=tag, digest=digest):
            return OciArchive(path, tag=tag, digest=digest)
        case DockerArchiveRef(path=path, tag=tag):
            return open_docker_archive(path, tag)


def open_store(reference: FileReference) -> ImageStore:
    """Open a layout to read an image from it and to write beside it.

    Raises `InvalidReference` for archives, `SourceError` when there is nothing, or nothing that can be read.
    """
    if not isinstance(reference, OciLayoutRef):
        raise InvalidReference(
            f"{reference} cannot be written to; name a destination: oci:DIR[:TAG] or [HOST/]NAME[:TAG]"
        )
    with storage_errors(reference.path):
        reference.path.stat()
    return OciLayout(reference.path, tag=reference.tag, digest=reference.digest)


def open_sink(reference: FileReference) -> ImageStore:
    """Open the layout a reference names for writing; its tag is up to `push_root`.

    Nothing is made before the first push. Raises `InvalidReference` for archives, `StorageError` for a
    directory with other content.
    """
    if not isinstance(reference, OciLayoutRef):
        raise InvalidReference(f"{reference}: archives are read only; write to a directory, oci:DIR[:TAG]")
    if reference.digest is not None:
        raise InvalidReference(
            f"{reference}: a destination has a tag or nothing, its digest follows from the content"
        )
    layout = OciLayout(reference.path)
    layout.check_writable()
    return layout
