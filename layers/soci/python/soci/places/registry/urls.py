"""URLs of registries: origins, redirects, and the form without secrets that messages show."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urljoin, urlsplit

from soci.errors import InvalidResponse

_DEFAULT_PORTS = {"http": 80, "https": 443}


def redacted(url: str) -> str:
    """Return a URL without user and query, for messages: the query of a signed URL is a credential."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?..." if parts.query else "")


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port. URLs with the same origin lead to the same server.

    Raises:
        InvalidResponse: not an absolute HTTP URL.
    """
    parts = split_url(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]


def split_url(url: str) -> SplitResult:
    """Split an absolute HTTP URL. Raises `InvalidResponse` for any other text."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _DEFAULT_PORTS and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        usable = None
    if not usable:
        raise InvalidResponse(f"expected an absolute http or https URL, got {redacted_or_nothing(url)}")
    return parts


def redacted_or_nothing(url: str) -> str:
    """Return a URL that may be malformed, as messages show it."""
    try:
        return repr(redacted(url)[:200])
    except ValueError:
        return "a malformed one"


def is_private(url: str) -> bool:
    """Tell whether nobody can listen: the URL is HTTPS, or on this machine."""
    scheme, host, _ = origin(url)
    return scheme == "https" or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine. `host` has no port and no brackets."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def joined(url: str, reference: str) -> str:
    """Resolve a URL of a header against the URL of its response. Raises `InvalidResponse` for a malformed one."""
    try:
        target = urljoin(url, reference)
    except ValueError:
        raise InvalidResponse(f"{redacted(url)}: a header with a malformed URL") from None
    split_url(target)
    return target


def redirected(url: str, location: str) -> str:
    """Return the URL of a Location header. Raises `InvalidResponse` if it is empty or leaves HTTPS."""
    if not location:
        raise InvalidResponse(f"{redacted(url)}: a redirect without Location")
    target = joined(url, location)
    if origin(url)[0] == "https" and origin(target)[0] != "https":
        raise InvalidResponse(f"{redacted(url)}: a redirect from HTTPS to plain HTTP, {redacted(target)}")
    return target
