"""Requests and answers as values, and what both sides may know about an address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from urllib.parse import SplitResult, urljoin, urlsplit

from soci.errors import InvalidResponse, RegistryUnavailable

DOCUMENT_SECONDS = 60.0
"""How long an answer that is read as a whole may take: 4 MiB, the largest, at 70 KiB/s."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Operation(StrEnum):
    """What a request is for: registries limit the rate of each on its own."""

    LOGIN = "login"
    GET_MANIFEST = "get-manifest"
    PUT_MANIFEST = "put-manifest"
    DELETE_MANIFEST = "delete-manifest"
    HEAD_BLOB = "head-blob"
    GET_BLOB = "get-blob"
    START_UPLOAD = "start-upload"
    UPLOAD_PART = "upload-part"
    FINISH_UPLOAD = "finish-upload"
    LIST = "list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, with an absolute URL. The body is always in memory, so that it can be sent again."""

    method: str
    url: str
    operation: Operation
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    repeatable: bool = True
    """Whether sending it twice does what sending it once does, also when the first answer was lost."""

    def __str__(self) -> str:
        return f"{self.method} {redacted(self.url)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer whose body is in memory. Names of headers are in lower case."""

    status: int
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


class BodyStream(Protocol):
    """An answer whose body is still to be read."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names in lower case."""

    @property
    def url(self) -> str:
        """Where it comes from."""

    def chunks(self, *, within_seconds: float | None = None) -> Iterator[bytes]:
        """Yield the body. Raises `RegistryUnavailable` when it breaks off, or comes too slowly.

        Too slowly is later than `within_seconds` from now on; without, it only has to get on.
        """


def whole(stream: BodyStream, limit_bytes: int, *, within_seconds: float = DOCUMENT_SECONDS) -> Response:
    """Read the body of an answer into memory.

    Raises `InvalidResponse` when it is larger than the limit, `RegistryUnavailable` as `BodyStream.chunks`.
    """
    body = bytearray()
    for chunk in stream.chunks(within_seconds=within_seconds):
        body += chunk
        if len(body) > limit_bytes:
            raise InvalidResponse(
                f"{redacted(stream.url)}: the answer has more than {limit_bytes} bytes", status=stream.status
            )
    return Response(status=stream.status, url=stream.url, headers=stream.headers, body=bytes(body))


def beginning(stream: BodyStream, limit_bytes: int) -> Response:
    """Read as much of an answer's body as comes, up to a limit: of an error the status says the most."""
    body = bytearray()
    try:
        for chunk in stream.chunks(within_seconds=DOCUMENT_SECONDS):
            body += chunk[: limit_bytes - len(body)]
            if len(body) == limit_bytes:
                break
    except RegistryUnavailable:
        pass  # it broke off, or the rest is not worth waiting for
    return Response(status=stream.status, url=stream.url, headers=stream.headers, body=bytes(body))


def redacted(url: str) -> str:
    """Return what of a URL may stand in a message: no user, no query (a signed one is a credential)."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?..." if parts.query else "")


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port: two URLs of one origin lead to the same server.

    Raises:
        InvalidResponse: it is no absolute HTTP URL.
    """
    parts = split_url(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]


def split_url(url: str) -> SplitResult:
    """Split an absolute HTTP URL. Raises `InvalidResponse` when it is none."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _DEFAULT_PORTS and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        usable = None
    if not usable:
        raise InvalidResponse(f"expected an absolute http or https URL, got {redacted_or_nothing(url)}")
    return parts


def redacted_or_nothing(url: str) -> str:
    """Return what of a possibly malformed URL may stand in a message."""
    try:
        return repr(redacted(url)[:200])
    except ValueError:
        return "a malformed one"


def is_private(url: str) -> bool:
    """Tell whether nobody can listen: HTTPS, or a connection that does not leave this machine."""
    scheme, host, _ = origin(url)
    return scheme == "https" or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Tell whether a host, without port and brackets, is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def joined(url: str, reference: str) -> str:
    """Complete what a header refers to by where it came from. Raises `InvalidResponse` when it is no URL."""
    try:
        target = urljoin(url, reference)
    except ValueError:
        raise InvalidResponse(f"{redacted(url)}: a header with a malformed URL") from None
    split_url(target)
    return target


def redirected(url: str, location: str) -> str:
    """Return the URL that a Location leads to. Raises `InvalidResponse` for none, or out of HTTPS."""
    if not location:
        raise InvalidResponse(f"{redacted(url)}: a redirect without Location")
    target = joined(url, location)
    if origin(url)[0] == "https" and origin(target)[0] != "https":
        raise InvalidResponse(f"{redacted(url)}: a redirect from HTTPS to plain HTTP, {redacted(target)}")
    return target
