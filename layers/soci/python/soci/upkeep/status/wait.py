"""Waiting for the index of an image: what a pipeline asks for between its push and its deployment.

The index is ready when a deployment can name it: the tag that the settings promise leads to the SOCI-enabled image of
this very image, whole, or, if nothing of it was to be indexed, to the image itself. Version 1 sets no tag: its index
refers to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from soci.errors import BlobMissing, IntegrityError, InvalidOption, NotInImage, SociError
from soci.image.documents import Image, fetch_image
from soci.index.classify import is_soci_enabled
from soci.oci.digest import Digest
from soci.places.registry.retry import Clock
from soci.service.filter.decide import SourceOpener, decide, plan_platforms
from soci.service.filter.up_to_date import PlannedImage, has_v1, has_v2, is_conversion_of
from soci.service.messages import Action, ImageRequest
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration, TagPolicy
from soci.settings import IndexVersion
from soci.upkeep.status.find_indexes import ConvertedImage, PlatformFacts, find_converted, find_platforms

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 20.0
_GROWTH = 1.5
_NOT_THERE = (NotInImage, BlobMissing, IntegrityError)


class End(StrEnum):
    """How a wait ended. The values stand in `--json` output."""

    INDEXED = "indexed"
    NOTHING_TO_INDEX = "nothing-to-index"
    """The promised tag names the image itself."""
    SKIPPED = "skipped"
    """The settings say that there will be no index, and promise no tag either."""
    SUPERSEDED = "superseded"
    """The tag names another image by now."""
    TIMED_OUT = "timed-out"

    @property
    def is_ready(self) -> bool:
        """Whether what a deployment names is there."""
        return self in (End.INDEXED, End.NOTHING_TO_INDEX)

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return _SENTENCES[self]


_SENTENCES = {
    End.INDEXED: "The index is there.",
    End.NOTHING_TO_INDEX: "Nothing was to be indexed; the promised tag names the image itself.",
    End.SKIPPED: "The settings say that there will be no index.",
    End.SUPERSEDED: "The tag names another image by now, so this one will not get there.",
    End.TIMED_OUT: "The index was not there in time.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is of the index."""

    end: End
    tag: str | None = None
    """That a deployment has to name."""
    digest: Digest | None = None
    """Of what it names."""
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
    """An image whose index is waited for.

    `asks_rules` lets the settings say that there will be none, which is known to them alone.
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
        """Read the image as the tag names it now.

        Raises:
            InvalidOption: the settings give SOCI-enabled images no tag, so nobody can see when one is there.
            NotInImage, SourceError: there is no such image, or it cannot be read.
        """
        is_hidden = configuration.tagging.policy is TagPolicy.DIGEST_ONLY
        if configuration.index.makes_v2 and is_hidden:
            raise InvalidOption(
                "policy digest-only: the SOCI-enabled image has no tag to look at; wait for the event "
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
        """Look again and again, ever less often, until there is something to say.

        A registry that is busy or away for a while is asked again. Raises `SourceError` if it refuses.
        """
        deadline = clock.now() + timeout_seconds
        pause, trouble = FIRST_PAUSE_SECONDS, ""
        while True:
            try:
                if found := self.look():
                    return found
                trouble = ""
            except SociError as error:
                if not error.retryable:
                    raise
                trouble = str(error)
            left = deadline - clock.now()
            if left <= 0:
                return Found(end=End.TIMED_OUT, detail=trouble or self._what_is_there_instead())
            clock.sleep(min(left, pause * (0.8 + 0.4 * clock.random())))
            pause = min(pause * _GROWTH, LONGEST_PAUSE_SECONDS)

    def look(self) -> Found | None:
        """Look once; None: not yet."""
        index = self.configuration.index
        v2 = self._v2() if index.makes_v2 else None
        if v2 is not None and v2.end is End.NOTHING_TO_INDEX:
            return v2
        has_v1 = index.makes_v1 and self._has_v1()
        if (v2 is not None or not index.makes_v2) and (has_v1 or not index.makes_v1):
            versions = [IndexVersion.V1] * has_v1 + [IndexVersion.V2] * (v2 is not None)
            tag, digest = (v2.tag, v2.digest) if v2 else (self.tag, self.image.root.digest)
            return Found(end=End.INDEXED, tag=tag, digest=digest, versions=tuple(versions))
        return self._is_in_vain()

    def _v2(self) -> Found | None:
        tag = self.configuration.output_tag(self.tag)
        assert tag is not None  # noqa: S101 - the other policy was refused
        if tag != self.tag and self._names(tag) == self.image.root.digest and not is_soci_enabled(self.image):
            return Found(end=End.NOTHING_TO_INDEX, tag=tag, digest=self.image.root.digest)
        copy = find_converted(self.open_image, self.repository, tag)
        if copy is None or copy.problem or not self._is_whole(copy):
            return None
        return Found(end=End.INDEXED, tag=tag, digest=copy.digest)

    def _is_whole(self, copy: ConvertedImage) -> bool:
        """Tell whether a copy is what will be promised: of this very image, with an index for each platform meant.

        The builder replaces what was made with other settings; what those are is not always known here.
        """
        planned = plan_platforms(self.image, self.configuration)
        output = self.open_image(self.repository, str(copy.digest))
        if self.asks_rules:
            return has_v2(output, self.image, planned, self.configuration.index.settings)
        return _have(IndexVersion.V2, copy.platforms, planned) and is_conversion_of(output, self.image)

    def _has_v1(self) -> bool:
        """Tell whether an index refers to each platform meant of the image, or of what took over its tag from it."""
        source = self.open_image(self.repository, self.tag)
        try:
            image = fetch_image(source)
        except _NOT_THERE:
            return False
        if image.root.digest != self.image.root.digest and not self._was_converted():
            return False
        planned = plan_platforms(image, self.configuration)
        if self.asks_rules:
            return bool(planned) and has_v1(source, planned, self.configuration.index.settings)
        return _have(IndexVersion.V1, find_platforms(source, image), planned)

    def _is_in_vain(self) -> Found | None:
        """Say why there is nothing to wait for any more; None: there is."""
        named = self._names(self.tag)
        if named != self.image.root.digest and not self._was_converted():
            return Found(end=End.SUPERSEDED, detail=f"{self.tag} names {named or 'nothing'}")
        if not self.asks_rules:
            return None
        request = ImageRequest(repository=self.repository, tag=self.tag, digest=self.image.root.digest)
        decision = decide(request, self.configuration, self.open_image)
        if decision.action is not Action.SKIP or decision.reason is ImageReason.ALREADY_INDEXED:
            return None
        return Found(end=End.SKIPPED, reason=decision.reason, detail=decision.detail)

    def _what_is_there_instead(self) -> str:
        """Say why the SOCI-enabled image under the promised tag is not the right one; "" if there is none."""
        tag = self.configuration.output_tag(self.tag) if self.configuration.index.makes_v2 else None
        copy = None
        with suppress(SociError):
            copy = find_converted(self.open_image, self.repository, tag) if tag else None
        if copy is None:
            return ""
        if not copy.is_of(self.image):
            return f"{tag} is of another image"
        if copy.problem or self.asks_rules:
            return copy.problem or f"{tag} is not what the settings would make of the image"
        without = [str(one.platform) for one in copy.platforms if IndexVersion.V2 not in one.versions]
        lacks = f"no index for {', '.join(without)}" if without else "not the image's own documents"
        return f"{tag} has {lacks}; --settings tells what a deployment leaves out"

    def _was_converted(self) -> bool:
        copy: ConvertedImage | None = find_converted(self.open_image, self.repository, self.tag)
        return copy is not None and copy.is_of(self.image)

    def _names(self, tag: str) -> Digest | None:
        try:
            return self.open_image(self.repository, tag).fetch_root().digest
        except _NOT_THERE:
            return None


def _have(version: IndexVersion, platforms: Sequence[PlatformFacts], planned: Sequence[PlannedImage]) -> bool:
    """Tell whether each platform that is to be indexed has a version, and any at all."""
    meant = {one.image.manifest.config.digest for one in planned}
    having = [one for one in platforms if version in one.versions]
    return bool(having) and meant <= {one.config for one in having}
