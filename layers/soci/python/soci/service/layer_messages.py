"""What the states of a workflow hand to each other about one layer, as values and as JSON; see `messages`.

An image may have hundreds of layers, whose outcomes stand in one state: what the publisher can find out without a
further request does not travel.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from soci.oci.compression import Compression
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.reasons import LeftOut, Reason
from soci.service.message_codec import Message
from soci.service.outcomes import bounded

OUTCOME_BYTES = {Compression.GZIP: 335, Compression.UNCOMPRESSED: 335, Compression.ZSTD: 335}
"""What `LayerOutcome` has in JSON at most."""


class Reused(StrEnum):
    """Where the zTOC of a layer was found, so that it had not to be made."""

    HERE = "here"
    MOUNTED = "mounted"
    """In another repository, from where the registry itself took it over."""
    COPIED = "copied"
    """In another repository that did not allow that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerItem(Message):
    """A layer to index."""

    digest: Digest
    size: int
    """In bytes, compressed."""
    compression: Compression
    """Of a zstd layer, a gzip layer is made and indexed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerJob:
    """One round of the map over layers."""

    repository: str
    image: Digest
    """The root of the image that the layer belongs to."""
    layer: LayerItem
    force: bool = False
    """Make the zTOC of the layer itself, whatever is known of one that was made before."""

    def to_document(self) -> dict[str, object]:
        """Return the input of `index_layer`."""
        image = {"repository": self.repository, "digest": str(self.image)}
        return {"image": image, "layer": self.layer.to_document(), "force": self.force}

    @classmethod
    def from_document(cls, document: object) -> LayerJob:
        """Read it back. Raises `InvalidDocument` that names the path."""
        fields = Fields(document, "layer job")
        image = fields.child("image")
        return cls(
            repository=image.string("repository"),
            image=image.digest("digest"),
            layer=LayerItem.from_fields(fields.child("layer")),
            force=fields.boolean("force"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GzipCopyMade(Message):
    """The gzip copy of a zstd layer; it is in the repository, and nothing refers to it yet.

    That it unpacks to what the image's config says was checked when it was made.
    """

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOutcome:
    """What came of a layer: its zTOC, which is in the repository, or the reason why it has none."""

    layer: Digest
    ztoc: Digest | None = None
    size: int = 0
    """Of the zTOC in bytes."""
    seconds: float = 0.0
    copy: GzipCopyMade | None = None
    reused: Reused | None = None
    """None for a zTOC that was made."""
    left_out: LeftOut | None = None
    read_bytes: int = 0
    """Of a layer that was left out, before it showed why."""

    def streamed_bytes(self, layer_bytes: int) -> int:
        """Return how much of a layer of this size was streamed: all, unless it was left out or its zTOC was there."""
        if self.left_out is not None:
            return self.read_bytes
        if self.reused is None:
            return layer_bytes
        return self.copy.size if self.copy else 0  # what a copy unpacks to is looked at each time

    def to_document(self) -> dict[str, object]:
        """Return the answer of `index_layer`."""
        document: dict[str, object] = {"layer": str(self.layer), "seconds": round(self.seconds, 1)}
        if self.left_out is not None:
            detail = bounded(self.left_out.detail)
            document |= {"left_out": str(self.left_out.reason)} | ({"detail": detail} if detail else {})
            return document | ({"streamed": self.read_bytes} if self.read_bytes else {})
        document |= {"ztoc": str(self.ztoc), "size": self.size}
        if self.copy is not None:
            document["copy"] = self.copy.to_document()
        if self.reused is not None:
            document["reused"] = str(self.reused)
        return document

    @classmethod
    def from_fields(cls, fields: Fields) -> LayerOutcome:
        """Read it back. Raises `InvalidDocument` that names the path."""
        layer, seconds = fields.digest("layer"), fields.number("seconds")
        if fields.has("left_out"):
            reason = fields.choice("left_out", Reason)
            left_out = LeftOut(reason=reason, detail=fields.string("detail"))
            return cls(
                layer=layer,
                seconds=seconds,
                left_out=left_out,
                read_bytes=fields.size("streamed") if fields.has("streamed") else 0,
            )
        copy = fields.optional_child("copy")
        return cls(
            layer=layer,
            ztoc=fields.digest("ztoc"),
            size=fields.size("size"),
            seconds=seconds,
            copy=GzipCopyMade.from_fields(copy) if copy else None,
            reused=fields.choice("reused", Reused) if fields.has("reused") else None,
        )
