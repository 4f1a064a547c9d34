"""ECR's own API: repositories and images with facts that the distribution protocol lacks, such as push times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from soci.errors import InvalidDocument, InvalidResponse
from soci.oci.digest import Digest
from soci.places.registry.ecr import EcrHost, boto3_client, error_from_aws, parse_ecr_host

MAX_PER_PAGE = 1_000
"""The API's limit for both lists."""

_ACTIVE = "ACTIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrImage:
    """One manifest, as DescribeImages describes it."""

    digest: Digest
    tags: tuple[str, ...]
    """All tags of the manifest, sorted."""
    pushed_at: datetime
    media_type: str
    """The media type of the manifest."""
    artifact_type: str
    """The artifact type, or the media type of the config; "" if unknown, as for an index."""
    subject: Digest | None = None
    """The manifest that this one refers to; None if it is no referrer."""
    is_archived: bool = False
    """Whether it must be restored before it can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrRepository:
    """One repository, as DescribeRepositories describes it."""

    name: str
    tags_move: bool = True
    """Whether tags are mutable: a tag may move to another image."""
    excepted_tags: tuple[str, ...] = ()
    """Patterns of tags with the opposite rule; `*` stands for any characters."""

    def may_move(self, tag: str) -> bool:
        """Tell whether this tag may move to another image."""
        return self.tags_move is not any(fnmatchcase(tag, pattern) for pattern in self.excepted_tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePage:
    """A page of a repository's images."""

    images: tuple[EcrImage, ...]
    next_token: str | None
    """The token of the next page; None on the last one."""


def _repository(described: Mapping[str, Any]) -> EcrRepository:
    mutability = str(described.get("imageTagMutability", "MUTABLE"))
    filters = described.get("imageTagMutabilityExclusionFilters", ())
    return EcrRepository(
        name=str(described["repositoryName"]),
        tags_move=mutability.startswith("MUTABLE"),
        excepted_tags=tuple(str(one.get("filter", "")) for one in filters),
    )


class EcrApi:
    """The API for the account and region of a registry's host. `make_client` as for `EcrLogins`."""

    def __init__(self, host: str, make_client: Callable[[EcrHost | None], Any] | None = None) -> None:
        self._host = host
        self._make_client = make_client or boto3_client

    def fetch_repositories(self) -> Iterator[EcrRepository]:
        """Yield all repositories, in the order of the API. Raises `RegistryError`."""
        where = "DescribeRepositories"
        arguments: dict[str, Any] = {"maxResults": MAX_PER_PAGE}
        while True:
            with self._errors(where):
                response = self._client.describe_repositories(**arguments)
            yield from map(_repository, response.get("repositories", ()))
            if not response.get("nextToken"):
                return
            arguments["nextToken"] = response["nextToken"]

    def fetch_images(
        self,
        repository: str,
        *,
        only_tagged: bool,
        page_token: str | None,
        limit: int = MAX_PER_PAGE,
        with_archived: bool = False,
    ) -> ImagePage | None:
        """Return a page of a repository's images: the first one without a token. Archived images only if asked.

        A repository that does not exist has no images. None means that the token is invalid or has expired.

        Raises:
            RegistryError: the API call failed.
        """
        import botocore.exceptions  # noqa: PLC0415 - slow to import, and there only with the extra `aws`

        where = f"DescribeImages of {repository}"
        arguments: dict[str, Any] = {"repositoryName": repository, "maxResults": limit}
        chosen = {"tagStatus": "TAGGED"} if only_tagged else {}
        if with_archived:  # by default, the API leaves them out
            chosen["imageStatus"] = "ANY"
        if chosen:
            arguments["filter"] = chosen
        if page_token is not None:
            arguments["nextToken"] = page_token
        with self._errors(where):
            try:
                response = self._client.describe_images(**arguments)
            except botocore.exceptions.ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code == "RepositoryNotFoundException":
                    return ImagePage(images=(), next_token=None)
                if code == "InvalidParameterException" and page_token is not None:
                    return None
                raise
        images = (_parse(one, where) for one in response.get("imageDetails", ()))
        return ImagePage(
            images=tuple(one for one in images if with_archived or not one.is_archived),
            next_token=response.get("nextToken"),
        )

    def fetch_all_images(
        self, repository: str, *, only_tagged: bool, with_archived: bool = False
    ) -> Iterator[EcrImage]:
        """Yield all images of a repository, in no order.

        Raises:
            RegistryError: an API call failed, or the API refused the token of its own next page.
        """
        token: str | None = None
        while True:
            page = self.fetch_images(
                repository, only_tagged=only_tagged, page_token=token, with_archived=with_archived
            )
            if page is None:
                raise token_refused(repository)
            yield from page.images
            token = page.next_token
            if token is None:
                return

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        return self._make_client(parse_ecr_host(self._host))

    @contextmanager
    def _errors(self, where: str) -> Iterator[None]:
        """Translate the errors of boto3."""
        import botocore.exceptions  # noqa: PLC0415 - see `fetch_images`

        try:
            yield
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise error_from_aws(where, error, with_text=True) from None


def _parse(detail: dict[str, Any], where: str) -> EcrImage:
    try:
        return EcrImage(
            digest=Digest.parse(detail["imageDigest"]),
            tags=tuple(sorted(detail.get("imageTags", ()))),
            pushed_at=detail["imagePushedAt"],
            media_type=detail.get("imageManifestMediaType", ""),
            artifact_type=detail.get("artifactMediaType", ""),
            subject=Digest.parse(subject) if (subject := detail.get("subjectManifestDigest")) else None,
            is_archived=detail.get("imageStatus", _ACTIVE) != _ACTIVE,
        )
    except (KeyError, InvalidDocument) as error:
        raise InvalidResponse(f"{where}: {error}") from None


def token_refused(repository: str) -> InvalidResponse:
    """Make the error for a page token of ECR's API that the API refuses."""
    return InvalidResponse(f"DescribeImages of {repository}: the token of its next page is refused")
