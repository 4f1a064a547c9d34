"""The messages between the states of a workflow, as values and as JSON.

    event or request by hand ──parse_request──> ImageRequest
    ImageRequest ──decide──> Decision               with the layers to index, each content once
    LayerJob ──index_one_layer──> LayerOutcome      one for each of them
    PublishJob ──publish_image──> Published         the decision with the outcomes in place of the layers

The input or output of a state has at most 256 KiB. So texts are bounded, and some members are omitted when they have
their default.
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
from soci.service.profile_messages import PlannedProfile, PublishedProfile


class Origin(StrEnum):
    """The source of a request for an index."""

    PUSH = "push"
    REPLICATION = "replication"
    PULL_THROUGH = "pull-through"
    CONSOLE = "console"
    """A person, or a re-index."""


class Action(StrEnum):
    """What to do about an image."""

    INDEX = "index"
    TAG = "tag"
    """Set the promised tag; nothing is indexed."""
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest(Message):
    """A request for the index of an image. Its members are in every answer about the image."""

    repository: str
    tag: str | None = None
    digest: Digest | None = None
    """The digest that the event gives, or that the tag named when the filter read it."""
    force: bool = False
    """Index the image even if it is up to date, and read its layers even if their zTOCs are cached."""
    origin: Annotated[Origin, Mark.REQUIRED] = Origin.CONSOLE
    pushed_at: str | None = None
    """The time of the event, RFC 3339."""
    correlation_id: str | None = None
    """In every log line about this image: the id of the event, else the name of the execution."""
    media_type: Annotated[str, Mark.INTERNAL] = ""
    artifact_type: Annotated[str, Mark.INTERNAL] = ""
    """Both as the event gives them, if it does."""
    is_listed: Annotated[bool, Mark.INTERNAL] = False
    """A re-index found it in a list. Only the filter asks for this, which reads the request first."""

    @property
    def is_event(self) -> bool:
        """Whether an event of the registry asked for the image. A person may ask for more images."""
        return self.origin is not Origin.CONSOLE

    @property
    def is_by_hand(self) -> bool:
        """Whether a person named this image. To them a missing image is an error."""
        return not self.is_event and not self.is_listed


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPlan(Message):
    """One platform's image: which layers to index, or why none."""

    platform: str
    digest: Digest
    """Of the image manifest."""
    layers: tuple[int, ...] = ()
    """Numbers of layers of the decision, in the image's order; a layer that occurs twice is listed twice."""
    left_out: Mapping[Reason, int] = field(default_factory=dict, hash=False)
    """How many layers are left out for each reason."""
    reason: ImageReason | None = None
    """Why this platform is not indexed at all."""
    profile: Annotated[PlannedProfile | None, Mark.OMITTED] = None
    profile_problem: Annotated[str, Mark.BOUNDED, Mark.OMITTED] = ""
    """Why a start profile is not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Message):
    """What to do about an image, why, and the plan."""

    action: Action
    reason: ImageReason | None = None
    detail: Annotated[str, Mark.BOUNDED] = ""
    request: Annotated[ImageRequest, Mark.INLINE]
    """With the digest of the image."""
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
    """Its `layers` are empty: the layer numbers of its platforms are those of `outcomes`."""
    outcomes: tuple[LayerOutcome, ...]

    def to_document(self) -> dict[str, object]:
        """Return the input of `publish_index`."""
        return self.decision.to_document() | {"layers": [one.to_document() for one in self.outcomes]}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Read it back. Raises `InvalidDocument` that names the path, also of a layer without an outcome."""
        fields = Fields(document, "publish job")
        decision = decode(Decision, fields, layers=())
        outcomes = tuple(LayerOutcome.from_fields(child) for child in fields.children("layers") or ())
        for platform_number, platform in enumerate(decision.platforms):
            if any(not 0 <= number < len(outcomes) for number in platform.layers):
                raise fields.invalid(
                    f"platforms[{platform_number}].layers",
                    f"a layer that is none of the {len(outcomes)} indexed ones",
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
    """One platform's image: its index, and how many of its layers have a zTOC."""

    platform: str
    image: Digest
    index: Digest | None
    """Of the index manifest of version 2, or of version 1 if only that is made."""
    layers_indexed: int
    left_out: Mapping[Reason, int] = field(default_factory=dict, hash=False)
    profile: Annotated[PublishedProfile | None, Mark.OMITTED] = None
    profile_problem: Annotated[str, Mark.BOUNDED, Mark.OMITTED] = ""
    """Why a start profile was not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack(Message):
    """How much was read back after it was published. All of it was right."""

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
    """The result of publishing: the output of an execution."""

    outcome: Outcome
    reason: ImageReason | None = None
    detail: Annotated[str, Mark.BOUNDED] = ""
    request: Annotated[ImageRequest, Mark.INLINE]
    v2: PublishedImage | None = None
    v1: tuple[Digest, ...] | None = None
    """The index manifests of version 1; None when the settings do not ask for it."""
    platforms: tuple[PublishedPlatform, ...] = ()
    layer_bytes: int = 0
    """Of the layers of these platforms, compressed, each content once; 0 when nothing is indexed."""
    ztoc_bytes: int = 0
    streamed_bytes: int = 0
    """Of the layers, as far as they were read."""
    reused_bytes: int = 0
    """Of layers whose zTOC was cached."""
    read_back: ReadBack = field(default_factory=ReadBack)
    work: Work = field(default_factory=Work, compare=False)

    def to_document(self) -> dict[str, object]:
        """Return the answer of `publish_index`."""
        v1 = None if self.v1 is None else {"indexes": [str(digest) for digest in self.v1]}
        return encode(self) | {"v1": v1}
