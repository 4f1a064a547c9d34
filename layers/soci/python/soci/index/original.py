"""Which image a converted image was made of. Pure.

Conversion keeps the config, so the config's digest tells. If it put files of layers in another order, the config had
to change with the diff IDs. Then an annotation beside the one that names the SOCI index has the digest of the first
config (docs/adr/0054). Like that one, anyone can write it: it says which image to compare with, and proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from soci.errors import IntegrityError
from soci.oci.annotations import ORIGINAL_CONFIG_DIGEST, SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest


def original_config(manifest: ImageManifest) -> Digest:
    """Return the config digest of the image that a manifest was made of; its own if it names no SOCI index."""
    if SOCI_INDEX_DIGEST in manifest.annotations:
        with suppress(IntegrityError):
            return Digest.parse(manifest.annotations.get(ORIGINAL_CONFIG_DIGEST, ""))
    return manifest.config.digest


def is_reordered(manifest: ImageManifest) -> bool:
    """Tell whether an image manifest says that files of its layers were put in another order."""
    return original_config(manifest) != manifest.config.digest


def reordered_manifest(
    original: ImageManifest, layers: Sequence[Descriptor], config: Descriptor
) -> ImageManifest:
    """Return an image manifest with reordered layers and their config. It remembers the first config."""
    annotations = {**original.annotations, ORIGINAL_CONFIG_DIGEST: str(original_config(original))}
    return replace(
        original,
        config=replace(original.config, digest=config.digest, size=config.size),
        layers=tuple(layers),
        annotations=annotations,
    )
