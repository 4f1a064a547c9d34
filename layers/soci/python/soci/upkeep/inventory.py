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

if TYPE_CHECKING:  # the HTTP client takes 100 ms to import, at every start of the command
    from soci.places.registry.client import RegistryClient
    from soci.places.registry.repository import RegistryRepository

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
    """A registry and what it holds. Shared by threads.

    `is_ecr` says that the registry is one of Amazon ECR whatever its name: a name of one's own before it, say.
    """

    def __init__(self, host: str, *, is_ecr: bool = False) -> None:
        self.host = host
        from soci.places.registry.ecr import parse_ecr_host  # noqa: PLC0415 - see above
        from soci.places.registry.ecr_api import EcrApi  # noqa: PLC0415

        self._api = EcrApi(host) if is_ecr or parse_ecr_host(host) else None
        self._client = _open_client(host, is_ecr=self._api is not None)
        self._names: list[str] | None = None

    @property
    def has_api(self) -> bool:
        """Whether lists tell what has no tag, and when something was pushed."""
        return self._api is not None

    def open_image(self, repository: str, reference: str) -> RegistryRepository:
        """Open a repository at a tag or a digest: the `ImageOpener` of this registry. Raises `InvalidReference`."""
        is_digest = ":" in reference
        place = RegistryRef(
            host=self.host,
            repository=repository,
            tag=None if is_digest else reference,
            digest=Digest.parse(reference) if is_digest else None,
        )
        return self._open(place)

    def open_repository(self, repository: str) -> RegistryRepository:
        """Open a repository as a whole."""
        return self._open(RegistryRef(host=self.host, repository=repository))

    def _open(self, place: RegistryRef) -> RegistryRepository:
        from soci.places.registry.repository import RegistryRepository  # noqa: PLC0415 - see above

        return RegistryRepository(self._client, place)

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
        mark: str | None = None
        while True:
            page = self._api.fetch_images(
                repository, only_tagged=only_tagged, mark=mark, with_archived=with_archived
            )
            if page is None:
                raise InvalidResponse(f"DescribeImages of {repository}: the mark of its next page is refused")
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
            mark = page.next_mark
            if mark is None:
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


def _open_client(host: str, *, is_ecr: bool) -> RegistryClient:
    from soci.places.registry.client import RegistryClient  # noqa: PLC0415 - see above
    from soci.places.registry.connect import base_url  # noqa: PLC0415
    from soci.places.registry.credentials import DockerConfig  # noqa: PLC0415
    from soci.places.registry.ecr import EcrLogins  # noqa: PLC0415
    from soci.places.registry.rate_limit import ECR_RATES_PER_SECOND, Pace  # noqa: PLC0415
    from soci.places.registry.retry import RetryPolicy  # noqa: PLC0415
    from soci.places.registry.transport import Transport  # noqa: PLC0415

    retries = RetryPolicy()
    return RegistryClient(
        base_url(host),
        host,
        transport=Transport(None),
        logins=EcrLogins(any_host=True) if is_ecr else DockerConfig(),
        retries=retries,
        pace=Pace(ECR_RATES_PER_SECOND if is_ecr else {}, retries.clock),
    )


def _subject_of(entry_point: EntryPoint) -> Digest | None:
    if not media_types.is_manifest(entry_point.root.media_type):
        return None
    subject = ImageManifest.parse(entry_point.data, f"manifest {entry_point.root.digest}").subject
    return subject.digest if subject else None
