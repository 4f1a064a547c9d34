"""Opening the place that a reference names: a layout, an archive or a repository."""

from __future__ import annotations

from soci.errors import InvalidReference
from soci.oci.reference import DockerArchiveRef, OciArchiveRef, OciLayoutRef, Reference, RegistryRef
from soci.places.layout.docker_archive import open_docker_archive
from soci.places.layout.extents import storage_errors
from soci.places.layout.oci_archive import OciArchive
from soci.places.layout.oci_layout import OciLayout
from soci.places.ports import ImageSource, ImageStore


def open_source(reference: Reference) -> ImageSource:
    """Open a place for reading. Raises `SourceError` when the path does not exist or is no archive.

    Only `fetch_root` finds out whether the tag or digest is there.
    """
    if isinstance(reference, RegistryRef):
        return _open_repository(reference)
    with storage_errors(reference.path):
        reference.path.stat()
    match reference:
        case OciLayoutRef(path=path, tag=tag, digest=digest):
            return OciLayout(path, tag=tag, digest=digest)
        case OciArchiveRef(path=path, tag=tag, digest=digest):
            return OciArchive(path, tag=tag, digest=digest)
        case DockerArchiveRef(path=path, tag=tag):
            return open_docker_archive(path, tag)


def open_store(reference: Reference) -> ImageStore:
    """Open a place to read an image from it and to write beside the image.

    Raises `InvalidReference` for archives, `SourceError` when the path does not exist or cannot be read.
    """
    if isinstance(reference, RegistryRef):
        return _open_repository(reference)
    if not isinstance(reference, OciLayoutRef):
        raise InvalidReference(
            f"{reference} cannot be written to; name a destination: oci:DIR[:TAG] or [HOST/]NAME[:TAG]"
        )
    with storage_errors(reference.path):
        reference.path.stat()
    return OciLayout(reference.path, tag=reference.tag, digest=reference.digest)


def open_sink(reference: Reference) -> ImageStore:
    """Open a place for writing. The first push creates a layout that does not exist yet.

    Raises `InvalidReference` for archives and digests, `StorageError` for a directory with other content.
    """
    if isinstance(reference, OciArchiveRef | DockerArchiveRef):
        raise InvalidReference(f"{reference}: archives are read only; write to a directory, oci:DIR[:TAG]")
    if reference.digest is not None:
        raise InvalidReference(
            f"{reference}: a destination has a tag or nothing, its digest follows from the content"
        )
    if isinstance(reference, RegistryRef):
        return _open_repository(reference)
    layout = OciLayout(reference.path)
    layout.check_writable()
    return layout


def _open_repository(reference: RegistryRef) -> ImageStore:
    from soci.places.registry.connect import connect  # noqa: PLC0415 - its HTTP client takes 100 ms to import

    registry = connect(reference.host)
    return registry.open_repository(reference.repository, tag=reference.tag, digest=reference.digest)
