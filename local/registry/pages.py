"""Lists in pages, after the distribution specification ("Listing Tags", "Listing Referrers").

The cursor of the next page is opaque, as in ECR: clients must follow the Link and cannot construct it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from local.registry.messages import Refused, Request

_CURSOR_PREFIX = b"after:"


def page_of(
    request: Request, entries: Sequence[str], *, default: int, largest: int
) -> tuple[list[str], dict[str, str]]:
    """Return the requested page of sorted entries, and its Link header if there is a next page."""
    size = _page_size(request.query.get("n"), default=default, largest=largest)
    after = _decode(request.query["last"]) if "last" in request.query else ""
    rest = [entry for entry in entries if entry > after]
    page = rest[:size]
    if len(page) == len(rest) or not page:
        return page, {}
    query = {**request.query, "n": str(size), "last": _encode(page[-1])}
    return page, {"Link": f'<{quote(request.path)}?{urlencode(query)}>; rel="next"'}


def _page_size(text: str | None, *, default: int, largest: int) -> int:
    if text is None:
        return min(default, largest)
    if not text.isdecimal():
        raise Refused(400, "PAGINATION_NUMBER_INVALID", f"n: expected a number, got {text!r}")
    return min(int(text), largest)


def _encode(entry: str) -> str:
    return base64.urlsafe_b64encode(_CURSOR_PREFIX + entry.encode()).decode()


def _decode(cursor: str) -> str:
    try:
        decoded = base64.urlsafe_b64decode(cursor)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded.startswith(_CURSOR_PREFIX):
        raise Refused(400, "UNSUPPORTED", "Invalid parameter at 'nextToken'")
    return decoded.removeprefix(_CURSOR_PREFIX).decode()
