"""Requests, responses and refusals, independent of sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus

AWS_TARGET = "AmazonEC2ContainerRegistry_V20150921."
"""The prefix of the action in the header X-Amz-Target of a call to ECR's API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One complete request. `base_url` is its origin without a trailing slash."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes = field(repr=False)
    base_url: str

    @property
    def aws_action(self) -> str | None:
        """The action of ECR's API; None for the distribution protocol."""
        return aws_action_of(self.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One response. A response to HEAD holds the body of GET, which the server does not send."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview = field(default=b"", repr=False)


class Refused(Exception):
    """A refused request; the response is an error document of the distribution specification ("Error Codes")."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def response(self) -> Response:
        """Return the refusal as a response."""
        document = {"errors": [{"code": self.code, "message": self.message}]}
        return json_response(document, status=self.status, headers=self.headers)


def aws_action_of(headers: Message) -> str | None:
    """Return the action of ECR's API from a request's headers; None if there is none."""
    target = headers.get("X-Amz-Target", "")
    return target.removeprefix(AWS_TARGET) if target.startswith(AWS_TARGET) else None


def json_response(
    document: object, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with a JSON document."""
    named = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Response(status=status, headers=named, body=json.dumps(document).encode())


def not_found() -> Response:
    """Return the response for an unknown path."""
    plain = {"Content-Type": "text/plain; charset=utf-8"}
    return Response(status=HTTPStatus.NOT_FOUND, headers=plain, body=b"404 page not found\n")
