"""Requests and answers as values, and what both sides may know about an address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from soci.errors import InvalidResponse, RegistryUnavailable
from soci.places.registry.urls import redacted

DOCUMENT_SECONDS = 60.0
"""How long an answer that is read as a whole may take: 4 MiB, the largest, at 70 KiB/s."""


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


def read_body(stream: BodyStream, limit_bytes: int, *, within_seconds: float = DOCUMENT_SECONDS) -> Response:
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


def read_start(stream: BodyStream, limit_bytes: int) -> Response:
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
