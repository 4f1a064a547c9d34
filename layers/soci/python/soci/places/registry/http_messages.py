"""HTTP requests and responses as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from soci.errors import InvalidResponse, RegistryUnavailable
from soci.places.registry.urls import redacted

DOCUMENT_SECONDS = 60.0
"""The time limit for a body that is read into memory: 4 MiB, the largest, at 70 KiB/s."""


class Operation(StrEnum):
    """The purpose of a request. Registries limit the rate of each separately."""

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
    """A request to an absolute URL. The body is in memory, so a retry can send it again."""

    method: str
    url: str
    operation: Operation
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    repeatable: bool = True
    """Whether sending it twice has the same effect as sending it once (idempotent)."""

    def __str__(self) -> str:
        return f"{self.method} {redacted(self.url)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response whose body is in memory. Header names are in lower case."""

    status: int
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


class BodyStream(Protocol):
    """A response whose body is still to be read."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, with names in lower case."""

    @property
    def url(self) -> str:
        """The URL that sent it, after redirects."""

    def chunks(self, *, within_seconds: float | None = None) -> Iterator[bytes]:
        """Yield the body. Raises `RegistryUnavailable` when it breaks off or is too slow.

        `within_seconds` limits the whole body; without it, there is a limit for each chunk.
        """


def read_body(stream: BodyStream, limit_bytes: int, *, within_seconds: float = DOCUMENT_SECONDS) -> Response:
    """Read the whole body into memory.

    Raises `InvalidResponse` for a body larger than the limit, `RegistryUnavailable` as `BodyStream.chunks`.
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
    """Read the body up to a limit, or until it breaks off. For errors, where the status matters more than the body."""
    body = bytearray()
    try:
        for chunk in stream.chunks(within_seconds=DOCUMENT_SECONDS):
            body += chunk[: limit_bytes - len(body)]
            if len(body) == limit_bytes:
                break
    except RegistryUnavailable:
        pass  # the part that arrived is enough
    return Response(status=stream.status, url=stream.url, headers=stream.headers, body=bytes(body))
