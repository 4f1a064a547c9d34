"""How far the listing of repositories has come, kept between two pages.

Repositories are sorted by name. The images of a repository come in the pages of ECR's API, and within such a page by
digest and tag. A cursor may be kept for hours while images come and go: every image that was there before the first
page and stays is listed. An image that arrives meanwhile has an event of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from soci.oci.fields import Fields
from soci.service.message_codec import Message, decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor(Message):
    """Where the next page of images begins."""

    repository: str
    page_token: Annotated[str | None, "mark"] = None
    """Of a page of the API; None is the first page."""
    next_token: Annotated[str | None, "next_mark"] = None
    """Of the following page, as it was when this page was begun. Images that have moved up since are on both pages."""
    after: tuple[str, str] | None = None
    """Digest and tag of the last image that was listed; None when the page is not begun."""
    is_second_try: bool = False
    """Whether the API had forgotten a page token, so that the repository was begun again."""

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it back. Raises `InvalidDocument` that names the path."""
        after = fields.strings("after")
        if len(after) not in (0, 2):
            raise fields.invalid("after", f"expected digest and tag, got {len(after)} texts")
        return decode(cls, fields)
