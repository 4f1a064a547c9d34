"""The manifests of a repository and what they lead to. Each is read once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from soci.errors import MISSING_OR_CORRUPT, IntegrityError
from soci.index.classify import is_soci_index
from soci.index.original import original_config
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.ports import ImageOpener
from soci.upkeep.inventory import Listed

_CONCURRENT_READS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFacts:
    """The facts that matter here about one image index or image manifest. They never change."""

    children: frozenset[Digest] | None = None
    """The documents that an image index lists; None for an image manifest."""
    is_enabled: bool = False
    """Whether an image index lists a SOCI index."""
    config: Digest | None = None
    """Of an image manifest: the config of the image that it was made of."""
    named_index: Digest | None = None
    """The SOCI index that an image manifest names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All manifests of a repository that could be read."""

    facts: Mapping[Digest, ManifestFacts] = field(repr=False)
    children: Mapping[Digest, frozenset[Digest]]
    """The documents that each image index lists."""
    enabled_indexes: tuple[Digest, ...]
    """Image indexes that list a SOCI index."""
    named_indexes: Mapping[Digest, Digest]
    """The SOCI index that an image manifest names, by manifest."""
    configs: Mapping[Digest, Digest]
    """The config of each image manifest."""
    configs_of_originals: frozenset[Digest]
    """The configs of all image manifests that name no SOCI index."""
    unreadable: tuple[Digest, ...]
    """Image indexes and image manifests that are archived, broken, or deleted meanwhile."""

    def configs_of_converted(self, digest: Digest) -> frozenset[Digest]:
        """Return the configs of the indexed platforms of a converted image; the original has the same."""
        manifests = self.children.get(digest, frozenset({digest}))
        return frozenset(self.configs[one] for one in manifests if one in self.named_indexes)


def read_contents(
    open_image: ImageOpener,
    repository: str,
    listed: Sequence[Listed],
    known: Mapping[Digest, ManifestFacts],
    *,
    with_unlisted: bool,
) -> Contents:
    """Read all image indexes and image manifests of a repository. Other artifacts are known from the list.

    `known` documents are not read again. `with_unlisted` also reads what image indexes refer to and the list lacks.

    Raises:
        SourceError: the registry cannot be read.
    """
    archived = {one.digest for one in listed if one.is_archived}

    def read(digests: Iterable[Digest]) -> dict[Digest, ManifestFacts]:
        readable = [one for one in digests if one not in archived]
        new = [one for one in readable if one not in known]
        with ThreadPoolExecutor(_CONCURRENT_READS) as pool:
            found = pool.map(lambda one: _read(open_image, repository, one), new)
            fresh = {one: facts for one, facts in zip(new, found, strict=True) if facts is not None}
        return {one: known[one] for one in readable if one in known} | fresh

    images = [one.digest for one in listed if _may_be_image(one)]
    facts = read(images)
    unreadable = tuple(one for one in images if one not in facts)
    if with_unlisted:
        below = {child for one in facts.values() for child in one.children or ()}
        facts |= read(below - set(images))
    return _contents_of(facts, unreadable)


def _contents_of(facts: Mapping[Digest, ManifestFacts], unreadable: tuple[Digest, ...]) -> Contents:
    named = {digest: one.named_index for digest, one in facts.items() if one.named_index is not None}
    configs = {digest: one.config for digest, one in facts.items() if one.config is not None}
    return Contents(
        facts=facts,
        children={digest: one.children for digest, one in facts.items() if one.children is not None},
        enabled_indexes=tuple(digest for digest, one in facts.items() if one.is_enabled),
        named_indexes=named,
        configs=configs,
        configs_of_originals=frozenset(config for digest, config in configs.items() if digest not in named),
        unreadable=unreadable,
    )


def _may_be_image(one: Listed) -> bool:
    is_artifact = one.artifact_type and not media_types.is_config(one.artifact_type)
    return media_types.is_index(one.media_type) or not is_artifact


def _read(open_image: ImageOpener, repository: str, digest: Digest) -> ManifestFacts | None:
    source = open_image(repository, str(digest))
    what = f"manifest {digest}"
    try:
        root = source.fetch_root()
        data = source.fetch_manifest(root)
        if not media_types.is_index(root.media_type):
            return _facts_of_manifest(ImageManifest.parse(data, what))
        return _facts_of_index(ImageIndex.parse(data, what))
    except MISSING_OR_CORRUPT:
        return None


def _facts_of_index(index: ImageIndex) -> ManifestFacts:
    entries = index.manifests or ()
    return ManifestFacts(
        children=frozenset(entry.digest for entry in entries), is_enabled=any(map(is_soci_index, entries))
    )


def _facts_of_manifest(manifest: ImageManifest) -> ManifestFacts:
    named = None
    with suppress(IntegrityError):
        named = Digest.parse(manifest.annotations.get(SOCI_INDEX_DIGEST, ""))
    return ManifestFacts(config=original_config(manifest), named_index=named)
