"""Image manifests and image indexes, OCI and Docker schema 2, parsed and written as Go does.

A rewritten image has to equal the format owner's output (docs/formats.md, "convert"). So unknown fields and empty
annotations vanish, and a missing list of layers is written as null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from soci.errors import InvalidDocument
from soci.oci import gojson, media_types
from soci.oci.descriptor import Descriptor
from soci.oci.fields import Fields

MANIFEST_LIMIT_BYTES = 4 * 1024 * 1024
"""Registries accept 4 MiB and may refuse more (OCI distribution spec, "Pushing Manifests")."""

INDEX_LIMIT_BYTES = 4 * 1024 * 1024
"""An index is pushed as a manifest, so the same limit holds: enough for some ten thousand entries."""

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageManifest:
    """An image manifest (OCI image spec, manifest.md).

    `layers` is None when the document has no list. None is written as null, an empty list as [].
    """

    media_type: str = media_types.OCI_MANIFEST
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...] | None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "annotations", MappingProxyType(dict(self.annotations)))

    @classmethod
    def parse(cls, data: bytes, what: str = "image manifest") -> ImageManifest:
        """Parse a manifest. `what` names it in messages. Raises `InvalidDocument`, which names the bad field."""
        fields = _parse_fields(data, what, MANIFEST_LIMIT_BYTES)
        # Another reader would read a document that is both as another image.
        if media_types.is_index(fields.string("mediaType")) or fields.has("manifests"):
            raise InvalidDocument(f"{what}: an image index, where an image manifest was expected")
        return cls(
            media_type=fields.string("mediaType"),
            artifact_type=fields.string("artifactType"),
            config=Descriptor.from_json(fields.child("config")),
            layers=_descriptors(fields, "layers"),
            subject=_subject(fields),
            annotations=fields.string_map("annotations"),
        )

    def encode(self) -> bytes:
        """Return the document as compact JSON with keys in Go's order."""
        members: dict[str, object] = {
            "config": self.config.to_json(),
            "layers": None if self.layers is None else [layer.to_json() for layer in self.layers],
        }
        return _encode(self, members)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIndex:
    """An image index (OCI image spec, image-index.md) or a Docker manifest list.

    `manifests` is None when the document has no list, as in `ImageManifest`.
    """

    media_type: str = media_types.OCI_INDEX
    artifact_type: str = ""
    manifests: tuple[Descriptor, ...] | None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "annotations", MappingProxyType(dict(self.annotations)))

    @classmethod
    def parse(cls, data: bytes, what: str = "image index") -> ImageIndex:
        """Parse an index. `what` names it in messages. Raises `InvalidDocument`, which names the bad field."""
        fields = _parse_fields(data, what, INDEX_LIMIT_BYTES)
        is_manifest = media_types.is_manifest(fields.string("mediaType"))
        if is_manifest or fields.has("config") or fields.has("layers"):
            raise InvalidDocument(f"{what}: an image manifest, where an image index was expected")
        return cls(
            media_type=fields.string("mediaType"),
            artifact_type=fields.string("artifactType"),
            manifests=_descriptors(fields, "manifests"),
            subject=_subject(fields),
            annotations=fields.string_map("annotations"),
        )

    def encode(self) -> bytes:
        """Return the document as compact JSON with keys in Go's order."""
        manifests = None if self.manifests is None else [entry.to_json() for entry in self.manifests]
        return _encode(self, {"manifests": manifests})


def sniff_media_type(data: bytes, what: str) -> str:
    """Return the media type of a manifest or index by its content. Raises `InvalidDocument` if it is neither."""
    fields = _parse_fields(data, what, MANIFEST_LIMIT_BYTES)
    media_type = fields.string("mediaType")
    if media_types.is_index(media_type) or media_types.is_manifest(media_type):
        return media_type
    if fields.has("manifests"):
        return media_types.OCI_INDEX
    if fields.has("config"):
        return media_types.OCI_MANIFEST
    raise InvalidDocument(f"{what}: neither manifest nor index, mediaType {media_type[:100]!r}")


def _parse_fields(data: bytes, what: str, limit_bytes: int) -> Fields:
    fields = Fields(gojson.decode(data, what, limit_bytes=limit_bytes), what)
    version = fields.integer("schemaVersion")
    if version != SCHEMA_VERSION:
        raise fields.invalid("schemaVersion", f"expected {SCHEMA_VERSION}, got {version or 'nothing'}")
    return fields


def _descriptors(fields: Fields, name: str) -> tuple[Descriptor, ...] | None:
    children = fields.children(name)
    return None if children is None else tuple(Descriptor.from_json(child) for child in children)


def _subject(fields: Fields) -> Descriptor | None:
    subject = fields.optional_child("subject")
    return None if subject is None else Descriptor.from_json(subject)


def _encode(document: ImageManifest | ImageIndex, content: dict[str, object]) -> bytes:
    members: dict[str, object] = {"schemaVersion": SCHEMA_VERSION}
    if document.media_type:
        members["mediaType"] = document.media_type
    if document.artifact_type:
        members["artifactType"] = document.artifact_type
    members |= content
    if document.subject is not None:
        members["subject"] = document.subject.to_json()
    if document.annotations:
        members["annotations"] = gojson.sorted_map(document.annotations)
    return gojson.encode(members)
