"""What the states of a workflow hand to each other, as values and as JSON.

    event or request by hand ──parse_request──> ImageRequest
    ImageRequest ──decide──> Decision               with the layers to index, each content once
    LayerJob ──index_one_layer──> LayerOutcome      one for each of them
    PublishJob ──publish_image──> Published         the decision with the outcomes in place of the layers

A state's input and output may have 256 KiB, so texts are bounded and what has its usual value is not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Self

from soci.build.tagging import TagLeftAlone
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.reasons import Reason
from soci.service.layer_messages import LayerItem, LayerOutcome
from soci.service.message_codec import Mark, Message, decode, encode
from soci.service.outcomes import ImageReason, Outcome


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
class ImageRequest(Message):
    """An image that may have to be indexed. Its members stand in every answer about the image."""

    repository: str
    tag: str | None = None
    digest: Digest | None = None
    """What the tag named when it was pushed, or once it was looked up; of an untagged image, the image."""
    force: bool = False
    """Index it even if it has an index with the same settings, and read its layers even if they were indexed before."""
    origin: Annotated[Origin, Mark.REQUIRED] = Origin.CONSOLE
    pushed_at: str | None = None
    """When the event says that it happened, RFC 3339."""
    correlation_id: str | None = None
    """Stands in every line of the log about this image: the id of the event, else the name of the execution."""
    media_type: Annotated[str, Mark.INTERNAL] = ""
    artifact_type: Annotated[str, Mark.INTERNAL] = ""
    """Both as the event gives them, which it need not."""
    is_listed: Annotated[bool, Mark.INTERNAL] = False
    """A re-index found it in a list. Only the filter asks for this, which reads the request first."""

    @property
    def is_event(self) -> bool:
        """Whether the registry told of the image; a person may ask for more."""
        return self.origin is not Origin.CONSOLE

    @property
    def is_by_hand(self) -> bool:
        """Whether a person named this very image, who wants to know if there is no such thing."""
        return not self.is_event and not self.is_listed


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPlan(Message):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Message):
    """What is to be done about an image, why, and the plan."""

    action: Action
    reason: ImageReason | None = None
    detail: Annotated[str, Mark.BOUNDED] = ""
    request: Annotated[ImageRequest, Mark.INLINE]
    """With the digest that was found."""
    layers: tuple[LayerItem, ...] = ()
    """Each content once, the largest first."""
    platforms: tuple[PlatformPlan, ...] = ()

    def to_document(self) -> dict[str, object]:
        """Return the answer of the filter, which becomes the state; `outcome` is that of a skipped image."""
        document = encode(self)
        outcome = str(Outcome.SKIPPED) if self.action is Action.SKIP else None
        return {"action": document["action"], "outcome": outcome, **document}

    @classmethod
    def from_document(cls, document: object) -> Decision:
        """Read it back. Raises `InvalidDocument` that names the path."""
        return cls.from_fields(Fields(document, "decision"))


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
        decision = decode(Decision, fields, layers=())
        outcomes = tuple(LayerOutcome.from_fields(child) for child in fields.children("layers") or ())
        for number, platform in enumerate(decision.platforms):
            if any(not 0 <= place < len(outcomes) for place in platform.layers):
                raise fields.invalid(
                    f"platforms[{number}].layers", f"a layer that is none of the {len(outcomes)} indexed ones"
                )
        return cls(decision=decision, outcomes=outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedImage(Message):
    """The SOCI-enabled image of version 2."""

    digest: Digest
    tag: str | None
    tag_left_alone: TagLeftAlone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPlatform(Message):
    """One platform's image: its index, and what became of its layers."""

    platform: str
    image: Digest
    index: Digest | None
    """Of the index manifest of version 2, or of version 1 if that alone is made."""
    layers_indexed: int
    left_out: Mapping[Reason, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack(Message):
    """How many things were read again after they had been published, and were right."""

    manifests: int = 0
    ztocs: int = 0
    spans: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Message):
    """What the functions did for an image, besides deciding on it and recording it."""

    layers: Annotated[int, Mark.REQUIRED] = 0
    """How often the function that indexes a layer was called, without retries."""
    layer_seconds: float = 0.0
    """Of all layers together."""
    publish_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published(Message):
    """What was published: the output of an execution."""

    outcome: Outcome
    reason: ImageReason | None = None
    detail: Annotated[str, Mark.BOUNDED] = ""
    request: Annotated[ImageRequest, Mark.INLINE]
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
        v1 = None if self.v1 is None else {"indexes": [str(digest) for digest in self.v1]}
        return encode(self) | {"v1": v1}
