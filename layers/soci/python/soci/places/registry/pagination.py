"""Paginated lists. The Link header of a page has the URL of the next one (RFC 8288)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from soci.errors import InvalidResponse
from soci.places.registry.client import RegistryClient
from soci.places.registry.http_messages import Operation, Request, Response
from soci.places.registry.urls import joined, origin, redacted

MAX_PAGES = 10_000
_OK = 200
_NEXT = re.compile(r"""<([^>]*)>\s*(?:;[^,]*)?;\s*rel="?next"?""", re.IGNORECASE)


def fetch_pages(
    client: RegistryClient, url: str, scopes: Collection[str], *, expect: Collection[int] = (_OK,)
) -> Iterator[Response]:
    """Yield the pages of a list, beginning at `url`. A page whose status is not 200 is the last.

    Raises:
        InvalidResponse: the next page was there before, or is on another server.
        RegistryError: a request failed.
    """
    seen = set()
    for _ in range(MAX_PAGES):
        seen.add(url)
        page = client.send(Request(method="GET", url=url, operation=Operation.LIST), scopes, expect=expect)
        yield page
        match = _NEXT.search(page.headers.get("link", ""))
        if match is None or page.status != _OK:
            return
        following = joined(url, match[1])
        if following in seen or origin(following) != origin(url):
            raise InvalidResponse(
                f"{redacted(url)}: the next page is {redacted(following)}, a page seen before or of another server"
            )
        url = following
    raise InvalidResponse(f"{redacted(url)}: more than {MAX_PAGES} pages")
