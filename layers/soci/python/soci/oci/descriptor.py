"""Descriptors: the media type, digest and size of content (OCI image spec, descriptor.md)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from soci.oci import gojson
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.oci.platform import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A content's type, digest and size in bytes. Empty fields are absent in JSON.

    `annotations` is copied into an immutable map, so a descriptor can be shared and hashed. The hash leaves
    the annotations out.
    """

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    data: bytes = field(default=b"", repr=False)
    platform: Platform | None = None
    artifact_type: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "annotations", MappingProxyType(dict(self.annotations)))

    @classmethod
    def from_json(cls, fields: Fields) -> Descriptor:
        """Read a descriptor. Digest and size are required. Raises `InvalidDocument`, which names the path."""
        platform = fields.optional_child("platform")
        return cls(
            media_type=fields.string("mediaType"),
            digest=fields.digest("digest"),
            size=fields.size("size"),
            urls=fields.strings("urls"),
            annotations=fields.string_map("annotations"),
            data=fields.data("data"),
            platform=None if platform is None else Platform.from_json(platform),
            artifact_type=fields.string("artifactType"),
        )

    def to_json(self) -> dict[str, object]:
        """Return the object in Go's key order (docs/formats.md, "convert")."""
        optional = {
            "urls": list(self.urls),
            "annotations": gojson.sorted_map(self.annotations),
            "data": base64.b64encode(self.data).decode(),
            "platform": self.platform and self.platform.to_json(),
            "artifactType": self.artifact_type,
        }
        required = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        return required | {name: value for name, value in optional.items() if value}
