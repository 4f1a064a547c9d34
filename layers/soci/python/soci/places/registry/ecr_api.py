"""What ECR's own API tells that the distribution protocol does not: names, times and kinds, in pages."""

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
"""Of both lists."""

_ACTIVE = "ACTIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrImage:
    """What the API says of one manifest."""

    digest: Digest
    tags: tuple[str, ...]
    """All there are, sorted."""
    pushed_at: datetime
    media_type: str
    """Of the manifest."""
    artifact_type: str
    """Of what it holds: its artifact type or the type of its config; "" if unknown, as of an index."""
    subject: Digest | None = None
    """The manifest that this one refers to, if it is a referrer."""
    is_archived: bool = False
    """Whether it is there, but cannot be read before it is restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrRepository:
    """What the API says of a repository."""

    name: str
    tags_move: bool = True
    """Whether a tag that is set may be set on another image."""
    excepted_tags: tuple[str, ...] = ()
    """Patterns of the tags for which the contrary holds; `*` stands for any characters."""

    def may_move(self, tag: str) -> bool:
        """Tell whether a tag that is set may be set on another image."""
        return self.tags_move is not any(fnmatchcase(tag, pattern) for pattern in self.excepted_tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePage:
    """Part of a repository's images, and the page_token of the next part."""

    images: tuple[EcrImage, ...]
    next_token: str | None


def _repository(described: Mapping[str, Any]) -> EcrRepository:
    mutability = str(described.get("imageTagMutability", "MUTABLE"))
    filters = described.get("imageTagMutabilityExclusionFilters", ())
    return EcrRepository(
        name=str(described["repositoryName"]),
        tags_move=mutability.startswith("MUTABLE"),
        excepted_tags=tuple(str(one.get("filter", "")) for one in filters),
    )


class EcrApi:
    """The API of the account and region that a registry's host belongs to. `make_client` as of `EcrLogins`."""

    def __init__(self, host: str, make_client: Callable[[EcrHost | None], Any] | None = None) -> None:
        self._host = host
        self._make_client = make_client or boto3_client

    def fetch_repositories(self) -> Iterator[EcrRepository]:
        """Yield all repositories, in the API's order. Raises `RegistryError`."""
        where = "DescribeRepositories"
        arguments: dict[str, Any] = {"maxResults": MAX_PER_PAGE}
        while True:
            with self._errors(where):
                answer = self._client.describe_repositories(**arguments)
            yield from map(_repository, answer.get("repositories", ()))
            if not answer.get("nextToken"):
                return
            arguments["nextToken"] = answer["nextToken"]

    def fetch_images(
        self,
        repository: str,
        *,
        only_tagged: bool,
        page_token: str | None,
        limit: int = MAX_PER_PAGE,
        with_archived: bool = False,
    ) -> ImagePage | None:
        """Return a page of a repository's images, the first without a token. Archived ones only if asked.

        A repository that is not there has no images. None: the page_token is not, or no longer, one of this list.

        Raises:
            RegistryError: the API cannot be asked.
        """
        import botocore.exceptions  # noqa: PLC0415 - slow to import, and there only with the extra `aws`

        where = f"DescribeImages of {repository}"
        arguments: dict[str, Any] = {"repositoryName": repository, "maxResults": limit}
        chosen = {"tagStatus": "TAGGED"} if only_tagged else {}
        if with_archived:  # without a word about it, the API leaves them out
            chosen["imageStatus"] = "ANY"
        if chosen:
            arguments["filter"] = chosen
        if page_token is not None:
            arguments["nextToken"] = page_token
        with self._errors(where):
            try:
                answer = self._client.describe_images(**arguments)
            except botocore.exceptions.ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code == "RepositoryNotFoundException":
                    return ImagePage(images=(), next_token=None)
                if code == "InvalidParameterException" and page_token is not None:
                    return None
                raise
        images = (_parse(one, where) for one in answer.get("imageDetails", ()))
        return ImagePage(
            images=tuple(one for one in images if with_archived or not one.is_archived),
            next_token=answer.get("nextToken"),
        )

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        return self._make_client(parse_ecr_host(self._host))

    @contextmanager
    def _errors(self, where: str) -> Iterator[None]:
        """Let errors of boto3 become ours."""
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
