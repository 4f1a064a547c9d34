from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from soci.errors import RegistryError, RegistryUnavailable, Throttled, Unauthorized
from soci.places.registry.http_messages import Operation, Request, Response
from soci.places.registry.responses import MAX_DETAIL_CHARACTERS, describe_errors, error_from

REQUEST = Request(method="GET", url="https://h/v2/a/tags/list?n=1", operation=Operation.LIST)


def answer(status: int, body: bytes | Mapping[str, object]) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status=status, url=REQUEST.url, body=data)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, RegistryError, False),
        (401, Unauthorized, False),
        (403, Unauthorized, False),
        (404, RegistryError, False),
        (408, RegistryUnavailable, True),
        (429, Throttled, True),
        (500, RegistryUnavailable, True),
        (501, RegistryError, False),
        (503, RegistryUnavailable, True),
    ],
)
def test_each_status_has_its_error(status, kind, retryable):
    error = error_from(REQUEST, answer(status, b""))

    assert type(error) is kind
    assert (error.status, error.retryable) == (status, retryable)
    assert str(error) == f"GET https://h/v2/a/tags/list?...: status {status}"


def test_a_refused_write_may_mean_a_read_only_registry():
    request = Request(method="POST", url=REQUEST.url, operation=Operation.START_UPLOAD)

    assert str(error_from(request, answer(405, b""))).endswith("status 405; the registry may be read-only")


def test_the_message_has_the_registry_s_own_text():
    body = {"errors": [{"code": "DENIED", "message": "go\naway"}, {"code": "TWO"}, {"message": "x"}]}

    assert describe_errors(answer(403, body)) == "DENIED: go away; TWO; : x"
    assert str(error_from(REQUEST, answer(403, body))).endswith("status 403, DENIED: go away; TWO; : x")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"404 page\nnot  found\x1b[2J", "404 page not found [2J"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"errors": 5}', '{"errors": 5}'),
        (b'{"errors": ["x"]}', '{"errors": ["x"]}'),
        (b"x" * 100_000, "x" * MAX_DETAIL_CHARACTERS),
    ],
)
def test_another_body_is_quoted_in_one_short_line(body, text):
    assert describe_errors(answer(400, body)) == text
