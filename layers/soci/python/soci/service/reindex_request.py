"""Which images of the account's repositories to index: the input of a re-index by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated

from soci.errors import InvalidOption, InvalidRequest
from soci.service.declared import Declared, Flag, ListOf, Nullable, Setting, Text

EVERY_NAME = ("*",)
_WILDCARDS = frozenset("*?[")
_GLOB = Text(pattern=r"\S{1,300}", accepted="globs")
_TIME = Text(
    pattern=r"\d{4}-\d\d-\d\d([T ].{1,40})?", accepted="a date, 2026-01-31, or a time, 2026-01-31T12:00:00Z"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReindexRequest(Declared):
    """All images that match; the rules of the deployment hold besides."""

    repositories: Annotated[
        tuple[str, ...], Setting(ListOf(item=_GLOB, minimum_items=1), "names or globs of repositories")
    ] = ()
    tags: Annotated[
        tuple[str, ...], Setting(ListOf(item=_GLOB, minimum_items=1), "names or globs of tags")
    ] = EVERY_NAME
    pushed_since: Annotated[
        str | None, Setting(Nullable(_TIME), "leave out images that were pushed before; UTC")
    ] = None
    only_missing: Annotated[
        bool, Setting(Flag(), "leave out images that have an index, with whatever settings it was made")
    ] = False
    force: Annotated[bool, Setting(Flag(), "index again what has an index with the same settings")] = False

    @classmethod
    def parse(cls, document: object) -> ReindexRequest:
        """Read the JSON object. Raises `InvalidRequest` naming every field that is missing, unknown or wrong."""
        try:
            return cls.from_document(document, "request")
        except InvalidOption as error:
            raise InvalidRequest(str(error)) from None

    def conflicts(self) -> Iterable[str]:
        """See `Declared`."""
        if self.pushed_since is not None and _parse_time(self.pushed_since) is None:
            yield f"pushed_since: got {self.pushed_since}, want {_TIME.accepted}"
        elif self.only_missing and self.force:
            yield "force: got true, want false with only_missing, which leaves out what has an index"

    @property
    def since(self) -> datetime | None:
        """The earliest time of a push that is meant."""
        return None if self.pushed_since is None else _parse_time(self.pushed_since)

    @property
    def takes_untagged(self) -> bool:
        """Whether images without a tag are meant too: no tags were asked for."""
        return self.tags == EVERY_NAME

    @property
    def is_narrow(self) -> bool:
        """Whether few of a repository's images may be meant."""
        return not self.takes_untagged or self.pushed_since is not None

    @property
    def named_repositories(self) -> dict[int, str]:
        """The repositories that are named in full, by their place in the request."""
        return {at: name for at, name in enumerate(self.repositories) if not _WILDCARDS & set(name)}

    def means_repository(self, name: str) -> bool:
        """Tell whether a repository is meant."""
        return any(fnmatchcase(name, pattern) for pattern in self.repositories)

    def means_tag(self, tag: str) -> bool:
        """Tell whether a tag is meant."""
        return any(fnmatchcase(tag, pattern) for pattern in self.tags)


def _parse_time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
