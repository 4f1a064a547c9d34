"""The input of a re-index, by hand or from a schedule: which images of the account's repositories to index.

A time may be given as some days or hours before another: a schedule inserts the time, but cannot calculate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated

from soci.errors import InvalidOption, InvalidRequest
from soci.service.settings.schema import Declared, Flag, ListOf, Nullable, Setting, Text

EVERY_NAME = ("*",)
_WILDCARDS = frozenset("*?[")
_GLOB = Text(pattern=r"\S{1,300}", accepted="globs")
_AGO = re.compile(r" - (?P<count>\d{1,4}) (?P<unit>days|hours)")
_TIME = Text(
    pattern=rf"\d{{4}}-\d\d-\d\d([T ]\S{{1,40}})?({_AGO.pattern})?",
    accepted="a date, 2026-01-31, a time, 2026-01-31T12:00:00Z, or some days or hours before it, 2026-01-31 - 3 days",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReindexRequest(Declared):
    """The images to index. The rules of the deployment apply too."""

    repositories: Annotated[
        tuple[str, ...], Setting(ListOf(item=_GLOB, minimum_items=1), "names or globs of repositories")
    ] = ()
    tags: Annotated[
        tuple[str, ...], Setting(ListOf(item=_GLOB, minimum_items=1), "names or globs of tags")
    ] = EVERY_NAME
    pushed_since: Annotated[
        str | None, Setting(Nullable(_TIME), "leave out images that were pushed before; UTC")
    ] = None
    pushed_before: Annotated[
        str | None, Setting(Nullable(_TIME), "leave out images that were pushed then or later; UTC")
    ] = None
    only_missing: Annotated[
        bool, Setting(Flag(), "leave out images that have an index, made with any settings")
    ] = False
    force: Annotated[bool, Setting(Flag(), "index again what has an index with the same settings")] = False
    scheduled: Annotated[bool, Setting(Flag(), "a schedule asks: count the images that were missed")] = False

    @classmethod
    def parse(cls, document: object) -> ReindexRequest:
        """Read the JSON object. Raises `InvalidRequest` naming every field that is missing, unknown or wrong."""
        try:
            return cls.from_document(document, "request")
        except InvalidOption as error:
            raise InvalidRequest(str(error)) from None

    def conflicts(self) -> Iterable[str]:
        """See `Declared`."""
        times = {"pushed_since": self.pushed_since, "pushed_before": self.pushed_before}
        no_time = [name for name, text in times.items() if text is not None and _parse_time(text) is None]
        if no_time:
            yield f"{no_time[0]}: got {times[no_time[0]]}, want {_TIME.accepted}"
        elif self.since is not None and self.before is not None and self.since >= self.before:
            yield f"pushed_before: got {self.pushed_before}, want later than pushed_since, {self.pushed_since}"
        elif self.only_missing and self.force:
            yield "force: got true, want false with only_missing, which leaves out what has an index"

    @property
    def since(self) -> datetime | None:
        """The time of the first push that is meant."""
        return None if self.pushed_since is None else _parse_time(self.pushed_since)

    @property
    def before(self) -> datetime | None:
        """The time after the last push that is meant."""
        return None if self.pushed_before is None else _parse_time(self.pushed_before)

    def means_push_at(self, time: datetime) -> bool:
        """Tell whether an image that was pushed then is meant."""
        return (self.since is None or time >= self.since) and (self.before is None or time < self.before)

    @property
    def takes_untagged(self) -> bool:
        """Whether images without a tag are meant too: the request names no tags."""
        return self.tags == EVERY_NAME

    @property
    def is_narrow(self) -> bool:
        """Whether the request may mean only a few images of a repository."""
        return not self.takes_untagged or self.pushed_since is not None

    @property
    def named_repositories(self) -> dict[int, str]:
        """The repositories that are named in full, by their position in the request."""
        return {number: name for number, name in enumerate(self.repositories) if not _WILDCARDS & set(name)}

    def means_repository(self, name: str) -> bool:
        """Tell whether a repository is meant."""
        return any(fnmatchcase(name, pattern) for pattern in self.repositories)

    def means_tag(self, tag: str) -> bool:
        """Tell whether a tag is meant."""
        return any(fnmatchcase(tag, pattern) for pattern in self.tags)


def _parse_time(text: str) -> datetime | None:
    ago = _AGO.search(text)
    try:
        time = datetime.fromisoformat(text[: ago.start()] if ago else text)
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        return time - timedelta(**{ago["unit"]: int(ago["count"])}) if ago else time
    except (ValueError, OverflowError):  # such as the year 0
        return None
