"""Wait for the index of an image: for pipelines, between push and deployment.

Version 2 is ready when the tag that the settings promise leads to the complete converted image, or to the image itself
if there was nothing to index. Version 1 is ready when an index refers to the image; it has no tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from soci.errors import MISSING_OR_CORRUPT, InvalidOption, SociError
from soci.image.documents import Image, fetch_image
from soci.index.classify import is_converted
from soci.index.original import original_config
from soci.oci.digest import Digest
from soci.places.ports import SourceOpener
from soci.places.registry.retry import Clock
from soci.service.filter.conversion import is_conversion_of
from soci.service.filter.decide import decide
from soci.service.filter.platforms import PlannedImage, plan_platforms
from soci.service.filter.up_to_date import has_v1, has_v2
from soci.service.messages import Action, ImageRequest
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration, TagPolicy
from soci.settings import IndexVersion
from soci.upkeep.status.find_indexes import ConvertedImage, PlatformFacts, find_converted, find_platforms

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 20.0
_GROWTH = 1.5


class End(StrEnum):
    """How a wait ended. The values appear in `--json` output."""

    INDEXED = "indexed"
    NOTHING_TO_INDEX = "nothing-to-index"
    """The promised tag names the image itself."""
    SKIPPED = "skipped"
    """The settings leave the image out and promise no tag."""
    SUPERSEDED = "superseded"
    """The tag names another image now."""
    TIMED_OUT = "timed-out"

    @property
    def is_ready(self) -> bool:
        """Whether the image can be deployed."""
        return self in (End.INDEXED, End.NOTHING_TO_INDEX)

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return _SENTENCES[self]


_SENTENCES = {
    End.INDEXED: "The index is ready.",
    End.NOTHING_TO_INDEX: "There was nothing to index; the promised tag names the image itself.",
    End.SKIPPED: "The settings leave the image out.",
    End.SUPERSEDED: "The tag names another image now, so this one will get no index.",
    End.TIMED_OUT: "The index was not ready in time.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How the wait ended, and what to deploy."""

    end: End
    tag: str | None = None
    """The tag to deploy."""
    digest: Digest | None = None
    """What the tag names."""
    versions: tuple[IndexVersion, ...] = ()
    reason: ImageReason | None = None
    detail: str = ""

    def to_document(self) -> dict[str, object]:
        """Return it for `--json`."""
        return {
            "ready": self.end.is_ready,
            "end": self.end,
            "tag": self.tag,
            "digest": None if self.digest is None else str(self.digest),
            "versions": list(self.versions),
            "reason": self.reason,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """An image whose index a pipeline waits for.

    With `asks_rules` the configuration is that of the deployment: its rules say whether there will be an index.
    """

    repository: str
    tag: str
    image: Image
    configuration: Configuration
    open_image: SourceOpener
    asks_rules: bool

    @classmethod
    def begin(
        cls,
        repository: str,
        tag: str,
        configuration: Configuration,
        open_image: SourceOpener,
        *,
        asks_rules: bool,
    ) -> Wait:
        """Read the image that the tag names now.

        Raises:
            InvalidOption: the settings leave converted images untagged, so no tag can show that one is ready.
            NotInImage, SourceError: there is no such image, or it cannot be read.
        """
        is_untagged = configuration.tagging.policy is TagPolicy.DIGEST_ONLY
        if configuration.index.makes_v2 and is_untagged:
            raise InvalidOption(
                "policy digest-only: the converted image has no tag to wait for; wait for the event "
                "'SOCI Index Created', which has its digest"
            )
        return cls(
            repository=repository,
            tag=tag,
            image=fetch_image(open_image(repository, tag)),
            configuration=configuration,
            open_image=open_image,
            asks_rules=asks_rules,
        )

    def until(self, timeout_seconds: float, clock: Clock) -> Found:
        """Look repeatedly, with growing pauses, until the wait ends or the time is up.

        A busy or unavailable registry is asked again. Raises `SourceError` if it refuses.
        """
        deadline = clock.now() + timeout_seconds
        pause, failure = FIRST_PAUSE_SECONDS, ""
        while True:
            try:
                if found := self.look():
                    return found
                failure = ""
            except SociError as error:
                if not error.retryable:
                    raise
                failure = str(error)
            left = deadline - clock.now()
            if left <= 0:
                return Found(end=End.TIMED_OUT, detail=failure or self._explain_missing())
            clock.sleep(min(left, pause * (0.8 + 0.4 * clock.random())))
            pause = min(pause * _GROWTH, LONGEST_PAUSE_SECONDS)

    def look(self) -> Found | None:
        """Look once. Returns None while the wait goes on."""
        index = self.configuration.index
        v2 = self._find_v2() if index.makes_v2 else None
        if v2 is not None and v2.end is End.NOTHING_TO_INDEX:
            return v2
        has_v1 = index.makes_v1 and self._has_v1()
        if (v2 is not None or not index.makes_v2) and (has_v1 or not index.makes_v1):
            versions = [IndexVersion.V1] * has_v1 + [IndexVersion.V2] * (v2 is not None)
            tag, digest = (v2.tag, v2.digest) if v2 else (self.tag, self.image.root.digest)
            return Found(end=End.INDEXED, tag=tag, digest=digest, versions=tuple(versions))
        return self._find_hopeless()

    def _find_v2(self) -> Found | None:
        tag = self.configuration.output_tag(self.tag)
        assert tag is not None  # noqa: S101 - the other policy was refused
        if (
            tag != self.tag
            and self._fetch_digest(tag) == self.image.root.digest
            and not is_converted(self.image)
        ):
            return Found(end=End.NOTHING_TO_INDEX, tag=tag, digest=self.image.root.digest)
        converted = find_converted(self.open_image, self.repository, tag)
        if converted is None or not self._is_complete(converted):
            return None
        return Found(end=End.INDEXED, tag=tag, digest=converted.digest)

    def _is_complete(self, converted: ConvertedImage) -> bool:
        """Tell whether a converted image was made from this image and has an index for each platform to index.

        If the deployment's rules are known, it must also be made with the same settings: the builder replaces others.
        Any start profile will do: a new profile of the line does not make the builder replace the index.
        """
        planned = plan_platforms(self.image, self.configuration)
        output = self.open_image(self.repository, str(converted.digest))
        if self.asks_rules:
            settings = self.configuration.index.settings
            return has_v2(output, self.image, planned, settings, any_profile=True)
        return _have(IndexVersion.V2, converted.platforms, planned) and is_conversion_of(output, self.image)

    def _has_v1(self) -> bool:
        """Tell whether each platform has a version 1 index: of the image, or of the converted image under its tag."""
        source = self.open_image(self.repository, self.tag)
        try:
            image = fetch_image(source)
        except MISSING_OR_CORRUPT:
            return False
        if image.root.digest != self.image.root.digest and not self._was_converted():
            return False
        planned = plan_platforms(image, self.configuration)
        if self.asks_rules:
            settings = self.configuration.index.settings
            return bool(planned) and has_v1(source, planned, settings, any_profile=True)
        return _have(IndexVersion.V1, find_platforms(source, image), planned)

    def _find_hopeless(self) -> Found | None:
        """Say why the index will never be ready; None if it may be."""
        named = self._fetch_digest(self.tag)
        if named != self.image.root.digest and not self._was_converted():
            return Found(end=End.SUPERSEDED, detail=f"{self.tag} names {named or 'nothing'}")
        if not self.asks_rules:
            return None
        request = ImageRequest(repository=self.repository, tag=self.tag, digest=self.image.root.digest)
        decision = decide(request, self.configuration, self.open_image)
        if decision.action is not Action.SKIP or decision.reason is ImageReason.ALREADY_INDEXED:
            return None
        return Found(end=End.SKIPPED, reason=decision.reason, detail=decision.detail)

    def _explain_missing(self) -> str:
        """Say what is wrong with the converted image under the promised tag; "" if there is none."""
        tag = self.configuration.output_tag(self.tag) if self.configuration.index.makes_v2 else None
        converted = None
        with suppress(SociError):
            converted = find_converted(self.open_image, self.repository, tag) if tag else None
        if converted is None:
            return ""
        if not converted.is_of(self.image):
            return f"{tag} was made from another image"
        if converted.problem or self.asks_rules:
            return converted.problem or f"{tag} is not the image that the settings would produce"
        without = [str(one.platform) for one in converted.platforms if IndexVersion.V2 not in one.versions]
        problem = (
            f"no index for {', '.join(without)}" if without else "documents that differ from the image's"
        )
        return f"{tag} has {problem}; with --settings, platforms that the rules leave out do not count"

    def _was_converted(self) -> bool:
        converted = find_converted(self.open_image, self.repository, self.tag)
        return converted is not None and converted.is_of(self.image)

    def _fetch_digest(self, tag: str) -> Digest | None:
        try:
            return self.open_image(self.repository, tag).fetch_root().digest
        except MISSING_OR_CORRUPT:
            return None


def _have(version: IndexVersion, platforms: Sequence[PlatformFacts], planned: Sequence[PlannedImage]) -> bool:
    """Tell whether at least one platform has an index of a version, and each planned platform does."""
    wanted = {original_config(one.image.manifest) for one in planned}
    indexed = [one for one in platforms if version in one.versions]
    return bool(indexed) and wanted <= {one.config for one in indexed}
