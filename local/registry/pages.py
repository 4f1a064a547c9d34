"""Lists in pages, as the distribution specification has them ("Listing Tags", "Listing Referrers").

The mark for the next page means nothing to clients, as on ECR: whoever makes it up from the last entry goes
wrong, whoever follows the Link does not.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from local.registry.messages import Refused, Request

_MARK = b"after:"


def page_of(
    request: Request, entries: Sequence[str], *, default: int, largest: int
) -> tuple[list[str], dict[str, str]]:
    """Cut the page that the query asks for out of sorted entries; returns it and its Link header, if any."""
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
    return base64.urlsafe_b64encode(_MARK + entry.encode()).decode()


def _decode(mark: str) -> str:
    try:
        decoded = base64.urlsafe_b64decode(mark)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded.startswith(_MARK):
        raise Refused(400, "UNSUPPORTED", "Invalid parameter at 'nextToken'")
    return decoded.removeprefix(_MARK).decode()
