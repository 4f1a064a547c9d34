"""From references to the places they name, of whatever kind."""

from __future__ import annotations

from soci.errors import InvalidReference
from soci.oci.reference import Reference, RegistryRef
from soci.places.layout import open as layouts
from soci.places.ports import ImageSource, ImageStore


def open_source(reference: Reference) -> ImageSource:
    """Open the place a reference names for reading.

    Whether the tag or digest is there shows in `fetch_root`. Raises `SourceError` when the place is not.
    """
    return (
        _open_repository(reference) if isinstance(reference, RegistryRef) else layouts.open_source(reference)
    )


def open_store(reference: Reference) -> ImageStore:
    """Open the place a reference names to read an image from it and to write beside it.

    Raises `InvalidReference` for archives, `SourceError` when there is nothing, or nothing that can be read.
    """
    return (
        _open_repository(reference) if isinstance(reference, RegistryRef) else layouts.open_store(reference)
    )


def open_sink(reference: Reference) -> ImageStore:
    """Open the place a reference names for writing; its tag is up to `push_root`.

    Nothing is made before the first push. Raises `InvalidReference` for archives and for a digest.
    """
    if not isinstance(reference, RegistryRef):
        return layouts.open_sink(reference)
    if reference.digest is not None:
        raise InvalidReference(
            f"{reference}: a destination has a tag or nothing, its digest follows from the content"
        )
    return _open_repository(reference)


def _open_repository(reference: RegistryRef) -> ImageStore:
    from soci.places.registry.connect import open_repository  # noqa: PLC0415 - its HTTP client takes 100 ms to import

    return open_repository(reference)
