"""From a response to an error with the registry's own message; the headers that describe content."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus

from soci.errors import (
    InvalidDocument,
    InvalidResponse,
    RegistryError,
    RegistryUnavailable,
    Throttled,
    Unauthorized,
)
from soci.oci.digest import Digest, digest_of
from soci.places.registry.http_messages import BodyStream, Request, Response, read_start
from soci.places.registry.retry import TRANSIENT_STATUSES, parse_retry_after
from soci.places.registry.urls import redacted

OK = 200
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
_NOT_ALLOWED = 405
_WRITING = frozenset({"POST", "PUT", "PATCH"})
MAX_DETAIL_CHARACTERS = 300
ERROR_LIMIT_BYTES = 1 << 20


def read_error(request: Request, stream: BodyStream) -> RegistryError:
    """Return the error for an unexpected status. Reads the body."""
    return error_from(request, read_start(stream, ERROR_LIMIT_BYTES))


def error_from(request: Request, response: Response) -> RegistryError:
    """Return the error for an unexpected status."""
    status = response.status
    message = f"{request}: status {status}"
    if detail := describe_errors(response):
        message += f", {detail}"
    if status == _NOT_ALLOWED and request.method in _WRITING:
        message += "; the registry may be read-only"
    pause = parse_retry_after(response.headers.get("retry-after"))
    return _kind_of(status)(message, status=status, retry_after_seconds=pause)


def _kind_of(status: int) -> type[RegistryError]:
    if status in (UNAUTHORIZED, FORBIDDEN):
        return Unauthorized
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled
    return RegistryUnavailable if status in TRANSIENT_STATUSES else RegistryError


def content_type_of(response: Response) -> str:
    """Return the media type of the Content-Type header, in lower case; "" without one."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_content_digest(response: Response | BodyStream, digest: Digest, data: bytes | None = None) -> None:
    """Compare the Docker-Content-Digest header with the real digest. Raises `InvalidResponse` if they differ.

    A missing header is accepted. A digest of another algorithm is compared only if `data` is given.
    """
    given = response.headers.get("docker-content-digest", str(digest))
    try:
        said = Digest.parse(given)
    except InvalidDocument:
        said = None
    if said is not None and said.algorithm != digest.algorithm:
        digest = said if data is None else digest_of(data, said.algorithm)
    if said != digest:
        raise InvalidResponse(
            f"{redacted(response.url)}: Docker-Content-Digest is {given[:150]!r}, but the digest is {digest}"
        )


def describe_errors(response: Response) -> str:
    """Return the error codes and messages of a body (distribution spec, "Error Codes"), in one line."""
    texts = [f"{code}: {message}" if message else code for code, message in _errors(response)]
    text = "; ".join(texts) if texts else response.body[: MAX_DETAIL_CHARACTERS * 4].decode(errors="replace")
    text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())[:MAX_DETAIL_CHARACTERS]


def _errors(response: Response) -> Iterator[tuple[str, str]]:
    try:
        errors = json.loads(response.body)["errors"]
        for error in errors:
            yield str(error.get("code", "")), str(error.get("message", "") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
