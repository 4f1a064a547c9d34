"""The messages between the states of a workflow about one layer, as values and as JSON; see `messages`.

An image may have hundreds of layers, and one state holds their outcomes. So a message has nothing that the publisher
can find out without another request.
"""

from __future__ import annotations

from dataclasses import dataclass

from soci.build.layer import RecompressedLayer, Reused
from soci.oci.compression import Compression
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.reasons import LeftOut, Reason
from soci.service.message_codec import Message
from soci.service.outcomes import bounded

OUTCOME_BYTES = {Compression.GZIP: 335, Compression.UNCOMPRESSED: 335, Compression.ZSTD: 335}
"""The most bytes that a `LayerOutcome` has in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerItem(Message):
    """A layer to index."""

    digest: Digest
    size: int
    """In bytes, compressed."""
    compression: Compression
    """A zstd layer is recompressed to gzip, and the gzip layer is indexed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerJob:
    """The input of `index_layer`: one item of the map over layers."""

    repository: str
    image: Digest
    """The root of the image that the layer belongs to."""
    layer: LayerItem
    force: bool = False
    """Build the zTOC from the layer even if one is cached."""

    def to_document(self) -> dict[str, object]:
        """Return the JSON object."""
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


def recompressed_document(layer: RecompressedLayer) -> dict[str, object]:
    """Return a recompressed layer as part of a document that names the zstd layer."""
    return {"digest": str(layer.digest), "size": layer.size}


def parse_recompressed(fields: Fields, of: Digest) -> RecompressedLayer:
    """Read a recompressed layer back; `of` is the zstd layer. Raises `InvalidDocument` that names the path."""
    return RecompressedLayer(of=of, digest=fields.digest("digest"), size=fields.size("size"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOutcome:
    """The result of indexing a layer: its zTOC, which is in the repository, or the reason why it has none."""

    layer: Digest
    ztoc: Digest | None = None
    size: int = 0
    """Of the zTOC in bytes."""
    seconds: float = 0.0
    recompressed: RecompressedLayer | None = None
    """Of a zstd layer: the gzip layer that the zTOC is for. It is in the repository, and its diff_id is checked."""
    reused: Reused | None = None
    """Where the zTOC was found; None when it was built."""
    left_out: LeftOut | None = None
    read_bytes: int = 0
    """Of a layer that was left out, how much was read before the reason was found."""

    def streamed_bytes(self, layer_bytes: int) -> int:
        """Return how much of a layer of this size was read: all, unless it was left out or its zTOC was cached."""
        if self.left_out is not None:
            return self.read_bytes
        if self.reused is None:
            return layer_bytes
        return self.recompressed.size if self.recompressed else 0  # it is unpacked each time, to be checked

    def to_document(self) -> dict[str, object]:
        """Return the answer of `index_layer`."""
        document: dict[str, object] = {"layer": str(self.layer), "seconds": round(self.seconds, 1)}
        if self.left_out is not None:
            detail = bounded(self.left_out.detail)
            document |= {"left_out": str(self.left_out.reason)} | ({"detail": detail} if detail else {})
            return document | ({"streamed": self.read_bytes} if self.read_bytes else {})
        document |= {"ztoc": str(self.ztoc), "size": self.size}
        if self.recompressed is not None:
            document["copy"] = recompressed_document(self.recompressed)
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
        reused = fields.choice("reused", Reused) if fields.has("reused") else None
        if reused is Reused.CACHED:
            raise fields.invalid("reused", "a function has no cache in a directory")
        recompressed = fields.optional_child("copy")
        return cls(
            layer=layer,
            ztoc=fields.digest("ztoc"),
            size=fields.size("size"),
            seconds=seconds,
            recompressed=parse_recompressed(recompressed, layer) if recompressed else None,
            reused=reused,
        )
