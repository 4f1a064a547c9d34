"""Image configs: the part of them that indexing needs (OCI image spec, config.md)."""

from __future__ import annotations

from dataclasses import dataclass

from soci.oci import gojson
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.oci.platform import Platform

CONFIG_LIMIT_BYTES = 8 * 1024 * 1024
"""A config is a blob, which registries do not limit. Long histories and labels reach some hundred KiB; this
is room for ten times that, and little enough to hold in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """An image's platform as its config gives it (not normalized), and each layer's digest as a plain tar."""

    platform: Platform
    diff_ids: tuple[Digest, ...]

    @classmethod
    def parse(cls, data: bytes, what: str = "image config") -> ImageConfig:
        """Parse a config; `what` names it in messages. Raises `InvalidDocument` that names the bad field."""
        fields = Fields(gojson.decode(data, what, limit_bytes=CONFIG_LIMIT_BYTES), what)
        rootfs = fields.optional_child("rootfs")
        return cls(
            platform=Platform.from_json(fields),
            diff_ids=() if rootfs is None else rootfs.digests("diff_ids"),
        )
