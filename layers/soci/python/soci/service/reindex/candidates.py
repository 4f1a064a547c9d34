"""Images that a list names: which of them are worth a request, told from the list or, in doubt, from their content."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from soci.errors import BlobMissing, IntegrityError, NotInImage
from soci.image.documents import Image, TooManyManifests, fetch_image
from soci.index.classify import LIMITS, Content, classify, has_own_index, is_converted
from soci.oci import media_types
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex
from soci.places.ports import ImageOpener, ImageSource, ReferrerSource
from soci.places.registry.ecr_api import EcrImage
from soci.service.filter.promised_tag import original_tag, promised_tag
from soci.service.filter.requests import LISTED_FIELD
from soci.service.filter.rules import evaluate_names, evaluate_platform
from soci.service.messages import ImageRequest
from soci.service.settings.configuration import Configuration

_SIGNATURE_TAG = re.compile(r"sha(256|512)-[0-9a-f]{64,}(\..+)?")
"""What tools call artifacts that belong to an image; some pretend to be images themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An image under one of its tags, or under its digest alone."""

    repository: str
    image: EcrImage
    tag: str | None
    force: bool

    @property
    def key(self) -> tuple[str, str]:
        """Its place among all of the repository."""
        return str(self.image.digest), self.tag or ""

    def to_document(self) -> dict[str, object]:
        """Return the request that it leads to."""
        name = {"digest": str(self.image.digest)} if self.tag is None else {"tag": self.tag}
        return {"repository": self.repository, **name, "force": self.force, LISTED_FIELD: True}

    def original_tag(self, configuration: Configuration) -> str | None:
        """Return the tag whose output this one would be. See `rules.original_tag`."""
        return original_tag(self.request, configuration)

    @property
    def request(self) -> ImageRequest:
        """The request for its index."""
        return ImageRequest(repository=self.repository, tag=self.tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """Tells which candidates are worth a request. Shared by threads."""

    configuration: Configuration
    open_image: ImageOpener
    only_missing: bool
    may_move: Callable[[str, str], bool]
    """Whether a tag that is set in a repository may be set on another image."""

    def judge(self, candidate: Candidate) -> bool | None:
        """Tell from the list alone whether an image is worth a request; None: only its content tells."""
        image, original = candidate.image, candidate.original_tag(self.configuration)
        is_index = media_types.is_index(image.media_type)
        if image.artifact_type and not media_types.is_config(image.artifact_type):
            return False
        if original is not None and original in image.tags:
            return False  # set on the image itself, for want of an index
        if self.only_missing and evaluate_names(candidate.request, self.configuration) is not None:
            return False  # it never has one
        in_doubt = (
            candidate.tag is None
            or original is not None
            or not (is_index or image.artifact_type)
            or _SIGNATURE_TAG.fullmatch(candidate.tag) is not None
        )
        return None if in_doubt or self.only_missing else True

    def seeks_nameless(self, candidate: Candidate) -> bool:
        """Whether it matters if the image has a SOCI-enabled one that no tag leads to."""
        tag = self.configuration.output_tag(candidate.tag)
        may_move = tag is not None and self.may_move(candidate.repository, tag)
        return self.only_missing and self.configuration.index.makes_v2 and not may_move

    def examine(self, candidate: Candidate, converted: frozenset[Digest] = frozenset()) -> bool:
        """Tell whether an image is worth a request: an image, not made by indexing, and without an index if asked.

        `converted` are the configs of what has a SOCI-enabled image, for candidates whose own has no tag.

        Raises `SourceError` when the registry cannot be read.
        """
        source = self.open_image(candidate.repository, str(candidate.image.digest))
        try:
            root = source.fetch_root()
            if classify(root, source.fetch_manifest(root)) is not Content.IMAGE:
                return False
            image = fetch_image(source, root, limits=LIMITS)
        except (NotInImage, BlobMissing):
            return False  # gone since it was listed
        except TooManyManifests:
            return not (self.only_missing and self._has_promised(candidate))  # it is not indexed for good
        except IntegrityError:
            return True  # whoever indexes it will say what is broken
        if has_own_index(image, source):
            is_output = candidate.tag is None or candidate.original_tag(self.configuration) is not None
            return not (is_output or self.only_missing)
        is_done = self._needs_none(candidate, image) or self._has_index(candidate, source, image, converted)
        return not (self.only_missing and is_done)

    def _needs_none(self, candidate: Candidate, image: Image) -> bool:
        """Tell whether the rules leave out every platform, and the tag that is promised all the same is set."""
        return self._has_promised(candidate) and all(
            evaluate_platform(one, self.configuration.rules) for one in image.images
        )

    def _has_promised(self, candidate: Candidate) -> bool:
        """Tell whether the tag is set that is promised to an image of which nothing is indexed."""
        promised = promised_tag(candidate.request, self.configuration)
        return promised in (None, *candidate.image.tags)

    def _has_index(
        self, candidate: Candidate, source: ImageSource, image: Image, converted: frozenset[Digest]
    ) -> bool:
        """Tell whether an image has an index of each version that the settings ask for, however it was made."""
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
        tag = self.configuration.output_tag(candidate.tag)
        is_converted = bool(image.images) and _configs(image) <= converted
        if tag is None:
            return is_converted
        # A tag that stays where it is cannot lead to it: publishing again would change nothing.
        stays = not self.may_move(candidate.repository, tag)
        if tag == candidate.tag:
            return stays and is_converted  # else the image itself would be SOCI-enabled
        try:
            output = self.open_image(candidate.repository, tag)
            there = fetch_image(output, limits=LIMITS)
        except (NotInImage, BlobMissing):
            return False
        except IntegrityError:
            return stays and is_converted
        leads_to_it = has_own_index(there, output) and _configs(image) <= _configs(there)
        return leads_to_it or (stays and is_converted)


def converted_configs(source: ImageSource) -> frozenset[Digest]:
    """Return the configs of a converted image that has its index; of an image index that is none, no configs.

    An image index that is gone or broken has no configs either.

    Raises `SourceError` when the source cannot be read.
    """
    try:
        root = source.fetch_root()
        index = ImageIndex.parse(source.fetch_manifest(root), f"index {root.digest}")
        if not is_converted(Image(root=root, index=index, images=())):
            return frozenset()  # conversion annotates the entries too, so no manifest need be fetched
        image = fetch_image(source, root, limits=LIMITS)
        return _configs(image) if has_own_index(image, source) else frozenset()
    except (NotInImage, BlobMissing, IntegrityError):
        return frozenset()


def _configs(image: Image) -> frozenset[Digest]:
    """Return what tells an image from another one whatever was done to its documents."""
    return frozenset(one.manifest.config.digest for one in image.images)
