"""What the repositories of a registry hold, by ECR's own API where there is one, else by their tags.

The API knows what has no tag, and when something was pushed. Other registries tell tags alone: what is known by its
digest only cannot be seen there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from soci.errors import InvalidReference, InvalidResponse, NotInImage
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
    """One manifest of a repository, as far as the list tells."""

    digest: Digest
    tags: tuple[str, ...]
    media_type: str
    artifact_type: str
    """Its own or the type of its config; "" if unknown."""
    subject: Digest | None
    """The manifest that it refers to."""
    pushed_at: datetime | None
    """None where the registry does not tell."""
    is_archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryName:
    """`HOST/NAME` as it is written on a command line; the name may be a pattern."""

    host: str
    name: str

    @classmethod
    def parse(cls, text: str) -> RepositoryName:
        """Read it. Raises `InvalidReference`, also for a tag or a digest."""
        bare = text.removeprefix("docker://")
        host, _, name = bare.partition("/")
        if _GLOB & set(name) and ":" not in name:
            RegistryRef(host=host, repository="x")  # is it a host?
            return cls(host=host, name=name)
        reference = parse_reference(text)
        if not isinstance(reference, RegistryRef) or reference.tag or reference.digest:
            raise InvalidReference(f"{text!r}: want a repository of a registry, HOST/NAME, without a tag")
        return cls(host=reference.host, name=reference.repository)

    @property
    def is_pattern(self) -> bool:
        """Whether it may stand for several."""
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
        """Return the repositories that a name or a pattern stands for.

        Raises:
            NotInImage: ECR has none of them.
            InvalidReference: a pattern, for a registry that does not tell what repositories it has.
            RegistryError: the API cannot be asked.
        """
        if self._api is None:
            if wanted.is_pattern:
                raise InvalidReference(f"{wanted}: patterns are for registries of ECR, name each repository")
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
        """Yield what a repository holds, in no order; other registries than ECR tell of tags alone.

        Raises:
            RegistryError: the list cannot be had.
        """
        if self._api is None:
            yield from self._fetch_by_tags(repository)
            return
        page_token: str | None = None
        while True:
            page = self._api.fetch_images(
                repository, only_tagged=only_tagged, page_token=page_token, with_archived=with_archived
            )
            if page is None:
                raise InvalidResponse(
                    f"DescribeImages of {repository}: the token of its next page is refused"
                )
            for one in page.images:
                yield Listed(
                    digest=one.digest,
                    tags=one.tags,
                    media_type=one.media_type,
                    artifact_type=one.artifact_type,
                    subject=one.subject,
                    pushed_at=one.pushed_at,
                    is_archived=one.is_archived,
                )
            page_token = page.next_token
            if page_token is None:
                return

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
