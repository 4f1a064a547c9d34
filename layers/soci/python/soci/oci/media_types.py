"""All media types that this package knows."""

from __future__ import annotations

from soci.oci.compression import Compression

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_LAYER_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

SOCI_INDEX_V1 = "application/vnd.amazon.soci.index.v1+json"
SOCI_INDEX_V2 = "application/vnd.amazon.soci.index.v2+json"
PREFETCH = "application/vnd.amazon.soci.prefetch.v1+json"
ZTOC = "application/octet-stream"
REMOVAL = "application/vnd.soci-index.removal.v1"
"""The artifact type of the list that `remove` keeps while it works and deletes at its end."""
START_PROFILE = "application/vnd.soci-index-builder.start-profile.v1+json"
"""A start profile: the type of the artifact that refers to an image, and of its blob."""

_OCI_LAYER_PREFIX = "application/vnd.oci.image.layer."
_OCI_FOREIGN_PREFIX = "application/vnd.oci.image.layer.nondistributable."


LAYER_TYPES = {
    Compression.GZIP: OCI_LAYER_GZIP,
    Compression.UNCOMPRESSED: OCI_LAYER,
    Compression.ZSTD: OCI_LAYER_ZSTD,
}
"""The OCI media type of a layer by its compression."""

_DOCKER_COMPRESSIONS = {
    # Some tools give Docker's plain types to compressed layers, too. Lazy readers read these as plain tar.
    DOCKER_LAYER: Compression.UNCOMPRESSED,
    DOCKER_FOREIGN_LAYER: Compression.UNCOMPRESSED,
    DOCKER_LAYER_GZIP: Compression.GZIP,
    DOCKER_FOREIGN_LAYER_GZIP: Compression.GZIP,
    DOCKER_LAYER_ZSTD: Compression.ZSTD,
}


def is_index(media_type: str) -> bool:
    """Tell whether the type is that of an image index or a Docker manifest list."""
    return media_type in (OCI_INDEX, DOCKER_MANIFEST_LIST)


def is_manifest(media_type: str) -> bool:
    """Tell whether the type is that of an image manifest."""
    return media_type in (OCI_MANIFEST, DOCKER_MANIFEST)


def is_config(media_type: str) -> bool:
    """Tell whether the type is that of an image config."""
    return media_type in (OCI_CONFIG, DOCKER_CONFIG)


def is_soci_config(media_type: str) -> bool:
    """Tell whether a manifest with a config of this type is a SOCI index of either version."""
    return media_type in (SOCI_INDEX_V1, SOCI_INDEX_V2)


def is_layer(media_type: str) -> bool:
    """Tell whether the type is that of a file system layer, of any compression."""
    return media_type.startswith(_OCI_LAYER_PREFIX) or _base(media_type) in _DOCKER_COMPRESSIONS


def is_foreign(media_type: str) -> bool:
    """Tell whether the layer may be missing from the image's repository (foreign, nondistributable)."""
    return media_type.startswith(_OCI_FOREIGN_PREFIX) or _base(media_type) in (
        DOCKER_FOREIGN_LAYER,
        DOCKER_FOREIGN_LAYER_GZIP,
    )


def as_gzip(media_type: str) -> str:
    """Return the type that a zstd layer or a plain one gets when it is gzip."""
    if compression_of(media_type) is Compression.UNCOMPRESSED:
        return media_type + ("+gzip" if media_type.startswith(_OCI_LAYER_PREFIX) else ".gzip")
    return media_type.replace("+zstd", "+gzip").replace(".tar.zstd", ".tar.gzip")


def is_encrypted(media_type: str) -> bool:
    """Tell whether the layer is encrypted. `compression_of` gives the compression underneath."""
    return "encrypted" in media_type.split("+")[1:]


def compression_of(media_type: str) -> Compression | None:
    """Return a layer's compression by its media type alone (formats.md 5.1); None if no reader knows the type.

    The last suffix in alphabetical order counts, as in containerd. So `+gzip+encrypted` is gzip: ask
    `is_encrypted` first.
    """
    base, *suffixes = media_type.split("+")
    if base in _DOCKER_COMPRESSIONS:
        return None if suffixes else _DOCKER_COMPRESSIONS[base]
    if base not in (OCI_LAYER, OCI_FOREIGN_LAYER):
        return None
    match sorted(suffixes):
        case [*_, "gzip"]:
            return Compression.GZIP
        case [*_, "zstd"]:
            return Compression.ZSTD
        case [] if base == OCI_LAYER:
            return Compression.UNCOMPRESSED
        case _:
            return None


def _base(media_type: str) -> str:
    return media_type.partition("+")[0]
