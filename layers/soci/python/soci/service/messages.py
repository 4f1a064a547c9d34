"""What the states of a workflow hand to each other, as values and as JSON.

    event or request by hand ──parse_request──> ImageRequest
    ImageRequest ──decide──> Decision               with the layers to index, each content once
    LayerJob ──index_one_layer──> LayerOutcome      one for each of them
    PublishJob ──publish_image──> Published         the decision with the outcomes in place of the layers

A state's input and output may have 256 KiB, so texts are bounded and what has its usual value is not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Self

from soci.build.tagging import TagLeftAlone
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.reasons import Reason
from soci.service.cost import Work
from soci.service.layer_messages import LayerItem, LayerOutcome
from soci.service.outcomes import ImageReason, Outcome, bounded


class Origin(StrEnum):
    """What asked for an image to be indexed."""

    PUSH = "push"
    REPLICATION = "replication"
    PULL_THROUGH = "pull-through"
    CONSOLE = "console"
    """A person, or a re-index of repositories."""


class Action(StrEnum):
    """What is to be done about an image."""

    INDEX = "index"
    TAG = "tag"
    """Nothing to index, but the tag that was promised is to be set."""
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """An image that may have to be indexed."""

    repository: str
    tag: str | None = None
    digest: Digest | None = None
    """What the tag named when it was pushed, or once it was looked up; of an untagged image, the image."""
    force: bool = False
    """Index it even if it has an index with the same settings, and read its layers even if they were indexed before."""
    origin: Origin = Origin.CONSOLE
    pushed_at: str | None = None
    """When the event says that it happened, RFC 3339."""
    correlation_id: str | None = None
    """Stands in every line of the log about this image: the id of the event, else the name of the execution."""
    media_type: str = ""
    artifact_type: str = ""
    """Both as the event gives them, which it need not."""
    is_listed: bool = False
    """A re-index found it in a list. Not written: who decides is the first to read a request, and the last to ask."""

    @property
    def is_event(self) -> bool:
        """Whether the registry told of the image; a person may ask for more."""
        return self.origin is not Origin.CONSOLE

    @property
    def is_by_hand(self) -> bool:
        """Whether a person named this very image, who wants to know if there is no such thing."""
        return not self.is_event and not self.is_listed

    def to_document(self) -> dict[str, object]:
        """Return the fields that every answer about an image has."""
        return {
            "repository": self.repository,
            "tag": self.tag,
            "digest": None if self.digest is None else str(self.digest),
            "force": self.force,
            "origin": str(self.origin),
            "pushed_at": self.pushed_at,
            "correlation_id": self.correlation_id,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> ImageRequest:
        """Read them back. Raises `InvalidDocument` that names the path."""
        return cls(
            repository=fields.string("repository"),
            tag=fields.string("tag") or None,
            digest=fields.digest("digest") if fields.has("digest") else None,
            force=fields.boolean("force"),
            origin=fields.choice("origin", Origin),
            pushed_at=fields.string("pushed_at") or None,
            correlation_id=fields.string("correlation_id") or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPlan:
    """One platform's image: which layers to index, or why none."""

    platform: str
    digest: Digest
    """Of its image manifest."""
    layers: tuple[int, ...] = ()
    """Places in the decision's layers, in the image's order; a layer that occurs twice stands twice."""
    left_out: Mapping[Reason, int] = field(default_factory=dict, hash=False)
    """How many layers are left out for which reason."""
    reason: ImageReason | None = None
    """Why this platform is not indexed at all."""

    def to_document(self) -> dict[str, object]:
        """Return it as part of a decision."""
        return {
            "platform": self.platform,
            "digest": str(self.digest),
            "layers": list(self.layers),
            "left_out": {str(reason): count for reason, count in self.left_out.items()},
            "reason": self.reason and str(self.reason),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> PlatformPlan:
        """Read it back. Raises `InvalidDocument` that names the path."""
        left_out = fields.optional_child("left_out")
        return cls(
            platform=fields.string("platform"),
            digest=fields.digest("digest"),
            layers=fields.integers("layers"),
            left_out={reason: left_out.size(reason) for reason in Reason if left_out.has(reason)}
            if left_out
            else {},
            reason=fields.choice("reason", ImageReason) if fields.has("reason") else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done about an image, why, and the plan."""

    action: Action
    request: ImageRequest
    """With the digest that was found."""
    reason: ImageReason | None = None
    detail: str = ""
    layers: tuple[LayerItem, ...] = ()
    """Each content once, the largest first."""
    platforms: tuple[PlatformPlan, ...] = ()

    def to_document(self) -> dict[str, object]:
        """Return the answer of the filter, which becomes the state."""
        return {
            "action": str(self.action),
            "outcome": str(Outcome.SKIPPED) if self.action is Action.SKIP else None,
            "reason": self.reason and str(self.reason),
            "detail": bounded(self.detail),
            **self.request.to_document(),
            "layers": [layer.to_document() for layer in self.layers],
            "platforms": [platform.to_document() for platform in self.platforms],
        }

    @classmethod
    def from_document(cls, document: object) -> Decision:
        """Read it back. Raises `InvalidDocument` that names the path."""
        fields = Fields(document, "decision")
        layers = tuple(LayerItem.from_fields(child) for child in fields.children("layers") or ())
        return replace(cls._without_layers(fields), layers=layers)

    @classmethod
    def _without_layers(cls, fields: Fields) -> Decision:
        return cls(
            action=fields.choice("action", Action),
            request=ImageRequest.from_fields(fields),
            reason=fields.choice("reason", ImageReason) if fields.has("reason") else None,
            detail=fields.string("detail"),
            platforms=tuple(PlatformPlan.from_fields(child) for child in fields.children("platforms") or ()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishJob:
    """A decision whose layers have been indexed."""

    decision: Decision
    """Its `layers` are empty; the places in its platforms are those of `outcomes`."""
    outcomes: tuple[LayerOutcome, ...]

    def to_document(self) -> dict[str, object]:
        """Return the state before the last step."""
        return self.decision.to_document() | {"layers": [one.to_document() for one in self.outcomes]}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Read it back. Raises `InvalidDocument` that names the path, also of a layer without an outcome."""
        fields = Fields(document, "publish job")
        decision = Decision._without_layers(fields)  # noqa: SLF001 - the same document, but for its layers
        outcomes = tuple(LayerOutcome.from_fields(child) for child in fields.children("layers") or ())
        for number, platform in enumerate(decision.platforms):
            if any(not 0 <= place < len(outcomes) for place in platform.layers):
                raise fields.invalid(
                    f"platforms[{number}].layers", f"a layer that is none of the {len(outcomes)} indexed ones"
                )
        return cls(decision=decision, outcomes=outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedImage:
    """The SOCI-enabled image of version 2."""

    digest: Digest
    tag: str | None
    tag_left_alone: TagLeftAlone | None = None

    def to_document(self) -> dict[str, object]:
        """Return it as part of an execution's output."""
        left_alone = self.tag_left_alone and str(self.tag_left_alone)
        return {"digest": str(self.digest), "tag": self.tag, "tag_left_alone": left_alone}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPlatform:
    """One platform's image: its index, and what became of its layers."""

    platform: str
    image: Digest
    index: Digest | None
    """Of the index manifest of version 2, or of version 1 if that alone is made."""
    layers_indexed: int
    left_out: Mapping[Reason, int] = field(default_factory=dict, hash=False)

    def to_document(self) -> dict[str, object]:
        """Return it as part of an execution's output."""
        return {
            "platform": self.platform,
            "image": str(self.image),
            "index": None if self.index is None else str(self.index),
            "layers_indexed": self.layers_indexed,
            "left_out": {str(reason): count for reason, count in self.left_out.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """How many things were read again after they had been published, and were right."""

    manifests: int = 0
    ztocs: int = 0
    spans: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was published: the output of an execution."""

    outcome: Outcome
    request: ImageRequest
    reason: ImageReason | None = None
    detail: str = ""
    v2: PublishedImage | None = None
    v1: tuple[Digest, ...] | None = None
    """The index manifests of version 1; None when it was not asked for."""
    platforms: tuple[PublishedPlatform, ...] = ()
    layer_bytes: int = 0
    """What the layers of these platforms weigh, compressed, each content once; 0 where nothing was to be indexed."""
    ztoc_bytes: int = 0
    streamed_bytes: int = 0
    """Of the layers, as far as they had to be read."""
    reused_bytes: int = 0
    """Of layers whose zTOC had been made before."""
    read_back: ReadBack = field(default_factory=ReadBack)
    work: Work = field(default_factory=Work, compare=False)

    def to_document(self) -> dict[str, object]:
        """Return the answer of `publish_index`."""
        return {
            "outcome": str(self.outcome),
            "reason": self.reason and str(self.reason),
            "detail": bounded(self.detail),
            **self.request.to_document(),
            "v2": self.v2 and self.v2.to_document(),
            "v1": None if self.v1 is None else {"indexes": [str(digest) for digest in self.v1]},
            "platforms": [platform.to_document() for platform in self.platforms],
            "layer_bytes": self.layer_bytes,
            "ztoc_bytes": self.ztoc_bytes,
            "streamed_bytes": self.streamed_bytes,
            "reused_bytes": self.reused_bytes,
            "read_back": asdict(self.read_back),
            "work": self.work.to_document(),
        }
