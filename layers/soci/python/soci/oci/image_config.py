"""Image configs: the fields that indexing needs (OCI image spec, config.md)."""

from __future__ import annotations

from dataclasses import dataclass

from soci.oci import gojson
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.oci.platform import Platform

CONFIG_LIMIT_BYTES = 8 * 1024 * 1024
"""Registries do not limit the size of a config. Long histories and labels reach some hundred KiB. This limit
leaves room for ten times that, and still fits in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """An image's platform, not normalized, and the digest of each layer's uncompressed tar."""

    platform: Platform
    diff_ids: tuple[Digest, ...]

    @classmethod
    def parse(cls, data: bytes, what: str = "image config") -> ImageConfig:
        """Parse a config. `what` names it in messages. Raises `InvalidDocument`, which names the bad field."""
        fields = Fields(gojson.decode(data, what, limit_bytes=CONFIG_LIMIT_BYTES), what)
        rootfs = fields.optional_child("rootfs")
        return cls(
            platform=Platform.from_json(fields),
            diff_ids=() if rootfs is None else rootfs.digests("diff_ids"),
        )
