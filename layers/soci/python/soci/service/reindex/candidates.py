"""Images in a list: which of them are worth a request. The list decides or, in doubt, the content of the image."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from soci.errors import BlobMissing, IntegrityError, NotInImage
from soci.image.documents import Image, TooManyManifests, fetch_image
from soci.index.classify import LIMITS, Content, classify, has_own_index
from soci.oci import media_types
from soci.oci.digest import Digest
from soci.places.ports import ImageOpener, ImageSource, ReferrerSource
from soci.places.registry.ecr_api import EcrImage
from soci.service.filter.promised_tag import promised_tag
from soci.service.filter.requests import LISTED_FIELD
from soci.service.filter.rules import evaluate_names, evaluate_platform
from soci.service.messages import ImageRequest
from soci.service.reindex.image_indexes import config_digests
from soci.service.settings.configuration import Configuration

_SIGNATURE_TAG = re.compile(r"sha(256|512)-[0-9a-f]{64,}(\..+)?")
"""The tags of artifacts that belong to an image. Some of these artifacts have the types of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An image under one of its tags, or under its digest alone."""

    repository: str
    image: EcrImage
    tag: str | None
    force: bool

    @property
    def key(self) -> tuple[str, str]:
        """Digest and tag: candidates of a repository are sorted by it."""
        return str(self.image.digest), self.tag or ""

    def to_document(self) -> dict[str, object]:
        """Return the request for the image."""
        name = {"digest": str(self.image.digest)} if self.tag is None else {"tag": self.tag}
        return {"repository": self.repository, **name, "force": self.force, LISTED_FIELD: True}

    @property
    def request(self) -> ImageRequest:
        """The names of the image as the filter sees them."""
        return ImageRequest(repository=self.repository, tag=self.tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """Tells which candidates are worth a request. Shared by threads."""

    configuration: Configuration
    open_image: ImageOpener
    only_missing: bool
    """Whether images that have an index are left out."""
    may_move: Callable[[str, str], bool]
    """Whether a tag of a repository may be set on another image."""

    def evaluate_listed(self, candidate: Candidate) -> bool | None:
        """Tell from the list alone whether an image is worth a request; None when only the content tells."""
        image, original = candidate.image, self.configuration.original_tag(candidate.tag)
        if image.artifact_type and not media_types.is_config(image.artifact_type):
            return False
        if original is not None and original in image.tags:
            return False  # the promised tag, which is set on the image itself
        if self.only_missing and evaluate_names(candidate.request, self.configuration) is not None:
            return False  # it never has an index
        in_doubt = (
            candidate.tag is None
            or original is not None
            or not (media_types.is_index(image.media_type) or image.artifact_type)
            or _SIGNATURE_TAG.fullmatch(candidate.tag) is not None
        )
        return None if in_doubt or self.only_missing else True

    def needs_converted(self, candidate: Candidate) -> bool:
        """Tell whether `evaluate_content` needs to know the images that have a SOCI-enabled image."""
        return self.only_missing and self.configuration.index.makes_v2 and self._tag_stays(candidate)

    def evaluate_content(self, candidate: Candidate, converted: frozenset[Digest] = frozenset()) -> bool:
        """Tell whether an image is worth a request: it is one, not made by indexing, and lacks an index if that counts.

        Args:
            candidate: the image.
            converted: configs of the images that have a SOCI-enabled image. They count where no tag can lead to it.

        Raises:
            SourceError: the registry cannot be read.
        """
        source = self.open_image(candidate.repository, str(candidate.image.digest))
        try:
            root = source.fetch_root()
            if classify(root, source.fetch_manifest(root)) is not Content.IMAGE:
                return False
            image = fetch_image(source, root, limits=LIMITS)
        except (NotInImage, BlobMissing):
            return False  # deleted since it was listed
        except TooManyManifests:
            return not (self.only_missing and self._has_promised(candidate))  # it is never indexed
        except IntegrityError:
            return True  # its request fails and names what is corrupt
        if has_own_index(image, source):
            is_output = candidate.tag is None or self.configuration.original_tag(candidate.tag) is not None
            return not (is_output or self.only_missing)
        is_done = self._needs_none(candidate, image) or self._has_index(candidate, source, image, converted)
        return not (self.only_missing and is_done)

    def _tag_stays(self, candidate: Candidate) -> bool:
        """Tell whether no tag can lead to the SOCI-enabled image: none is set, or the tag is set and may not move."""
        tag = self.configuration.output_tag(candidate.tag)
        return tag is None or not self.may_move(candidate.repository, tag)

    def _needs_none(self, candidate: Candidate, image: Image) -> bool:
        """Tell whether the rules reject every platform, and the promised tag is set."""
        return self._has_promised(candidate) and all(
            evaluate_platform(one, self.configuration.rules) for one in image.images
        )

    def _has_promised(self, candidate: Candidate) -> bool:
        """Tell whether an image has the tag that was promised to it, if one was."""
        promised = promised_tag(candidate.request, self.configuration)
        return promised in (None, *candidate.image.tags)

    def _has_index(
        self, candidate: Candidate, source: ImageSource, image: Image, converted: frozenset[Digest]
    ) -> bool:
        """Tell whether an image has an index of each version that the settings ask for, made with any settings."""
        index = self.configuration.index
        return (not index.makes_v1 or self._has_v1(source, image)) and (
            not index.makes_v2 or self._has_v2(candidate, image, converted)
        )

    def _has_v1(self, source: ImageSource, image: Image) -> bool:
        rules = self.configuration.rules
        meant = [one for one in image.images if evaluate_platform(one, rules) is None]
        return (
            bool(meant)
            and isinstance(source, ReferrerSource)
            and all(source.fetch_referrers(one.descriptor.digest, media_types.SOCI_INDEX_V1) for one in meant)
        )

    def _has_v2(self, candidate: Candidate, image: Image, converted: frozenset[Digest]) -> bool:
        configs, tag = config_digests(image), self.configuration.output_tag(candidate.tag)
        # Where the tag stays, publishing again would change nothing.
        is_converted = self._tag_stays(candidate) and configs <= converted
        if tag is None or tag == candidate.tag:
            return is_converted
        output = self.open_image(candidate.repository, tag)
        try:
            there = fetch_image(output, limits=LIMITS)
        except (NotInImage, BlobMissing):
            return False  # a tag that is not set can be set
        except IntegrityError:
            return is_converted
        return is_converted or (has_own_index(there, output) and configs <= config_digests(there))
