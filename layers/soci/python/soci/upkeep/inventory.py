"""The manifests in a registry's repositories: from ECR's own API, or else by their tags.

ECR's API lists manifests without a tag, and the times of pushes. Other registries list only tags, so manifests
without a tag are invisible there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from soci.errors import InvalidReference, NotInImage
from soci.oci import media_types
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest
from soci.oci.reference import RegistryRef, parse_reference
from soci.places.ports import EntryPoint

if TYPE_CHECKING:  # its HTTP client takes 100 ms to import, at every start of the CLI
    from soci.places.registry.connect import Registry

_GLOB = frozenset("*?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One manifest of a repository, as the list describes it."""

    digest: Digest
    tags: tuple[str, ...]
    media_type: str
    artifact_type: str
    """The artifact type, or the media type of the config; "" if unknown."""
    subject: Digest | None
    """The manifest that it refers to."""
    pushed_at: datetime | None
    """None if the registry does not tell."""
    is_archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryName:
    """`HOST/NAME` from a command line. The name may be a pattern."""

    host: str
    name: str

    @classmethod
    def parse(cls, text: str) -> RepositoryName:
        """Parse a name. Raises `InvalidReference`, also for a tag or a digest."""
        bare = text.removeprefix("docker://")
        host, _, name = bare.partition("/")
        if _GLOB & set(name) and ":" not in name:
            RegistryRef(host=host, repository="x")  # checks the host
            return cls(host=host, name=name)
        reference = parse_reference(text)
        if not isinstance(reference, RegistryRef) or reference.tag or reference.digest:
            raise InvalidReference(f"{text!r}: expected a repository of a registry, HOST/NAME, without a tag")
        return cls(host=reference.host, name=reference.repository)

    @property
    def is_pattern(self) -> bool:
        """Whether it may match several repositories."""
        return bool(_GLOB & set(self.name))

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"


class Inventory:
    """Lists what a registry holds, and opens it. Shared by threads."""

    def __init__(self, registry: Registry) -> None:
        from soci.places.registry.ecr_api import EcrApi  # noqa: PLC0415 - every start of the CLI imports this module

        self.host = registry.host
        self.open_image = registry.open_image
        self.open_repository = registry.open_repository
        self._api = EcrApi(registry.host) if registry.is_ecr else None
        self._names: list[str] | None = None

    @property
    def has_api(self) -> bool:
        """Whether lists include manifests without a tag, and the times of pushes."""
        return self._api is not None

    def fetch_names(self, wanted: RepositoryName) -> list[str]:
        """Return the repositories that match a name or a pattern.

        Raises:
            NotInImage: no repository of ECR matches.
            InvalidReference: a pattern for another registry, which cannot list its repositories.
            RegistryError: the API call failed.
        """
        if self._api is None:
            if wanted.is_pattern:
                raise InvalidReference(f"{wanted}: patterns work only with ECR; name each repository")
            return [wanted.name]
        if self._names is None:
            self._names = sorted(one.name for one in self._api.fetch_repositories())
        found = [name for name in self._names if fnmatchcase(name, wanted.name)]
        if not found:
            raise NotInImage(f"{wanted}: there is no such repository")
        return found

    def fetch_images(
        self, repository: str, *, only_tagged: bool, with_archived: bool = False
    ) -> Iterator[Listed]:
        """Yield the manifests of a repository, in no order; only those with a tag unless it is ECR.

        Raises:
            RegistryError: a request failed.
        """
        if self._api is None:
            yield from self._fetch_by_tags(repository)
            return
        images = self._api.fetch_all_images(repository, only_tagged=only_tagged, with_archived=with_archived)
        for one in images:
            yield Listed(
                digest=one.digest,
                tags=one.tags,
                media_type=one.media_type,
                artifact_type=one.artifact_type,
                subject=one.subject,
                pushed_at=one.pushed_at,
                is_archived=one.is_archived,
            )

    def _fetch_by_tags(self, repository: str) -> Iterator[Listed]:
        found: dict[Digest, Listed] = {}
        for entry_point in self.open_repository(repository).fetch_entry_points():
            root, tag = entry_point.root, entry_point.tag or ""
            known = found.get(root.digest)
            found[root.digest] = Listed(
                digest=root.digest,
                tags=(*(known.tags if known else ()), tag),
                media_type=root.media_type,
                artifact_type=root.artifact_type,
                subject=_subject_of(entry_point),
                pushed_at=None,
            )
        yield from found.values()


def _subject_of(entry_point: EntryPoint) -> Digest | None:
    if not media_types.is_manifest(entry_point.root.media_type):
        return None
    subject = ImageManifest.parse(entry_point.data, f"manifest {entry_point.root.digest}").subject
    return subject.digest if subject else None
