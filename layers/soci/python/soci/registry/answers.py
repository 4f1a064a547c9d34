"""What an answer with an error status means: the registry's own words, bounded, under the right error."""

from __future__ import annotations

import json
from collections.abc import Iterator

from soci.errors import RegistryError, RegistryUnavailable, Throttled, Unauthorized
from soci.registry.messages import BodyStream, Request, Response, whole
from soci.registry.retry import TOO_MANY_REQUESTS, TRANSIENT_STATUSES

UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
MAX_DETAIL_CHARACTERS = 300
ERROR_LIMIT_BYTES = 1 << 20


def fetch_error(request: Request, stream: BodyStream) -> RegistryError:
    """Make the error for an answer that is none of those expected, and whose body is still to be read."""
    try:
        return error_of(request, whole(stream, ERROR_LIMIT_BYTES))
    except RegistryUnavailable:  # what the registry has to say broke off; its status says enough
        return error_of(request, Response(status=stream.status, url=stream.url))


def error_of(request: Request, response: Response) -> RegistryError:
    """Make the error for an answer that is none of those expected."""
    status = response.status
    message = f"{request}: status {status}"
    if detail := describe_errors(response):
        message += f", {detail}"
    if status in (UNAUTHORIZED, FORBIDDEN):
        return Unauthorized(message, status=status)
    if status == TOO_MANY_REQUESTS:
        return Throttled(message, status=status)
    if status in TRANSIENT_STATUSES:
        return RegistryUnavailable(message, status=status)
    return RegistryError(message, status=status)


def describe_errors(response: Response) -> str:
    """Return the registry's codes and messages (distribution spec, "Error Codes"), in one line."""
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
