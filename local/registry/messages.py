"""What comes in and what goes out, apart from sockets: requests, answers and refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus

AWS_TARGET = "AmazonEC2ContainerRegistry_V20150921."
"""What stands before the action in the header X-Amz-Target of a call to ECR's own API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, read to its end. `base_url` is the origin it came to, without a slash at its end."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes = field(repr=False)
    base_url: str

    @property
    def aws_action(self) -> str | None:
        """The action of ECR's own API that is asked for; None for the distribution protocol."""
        return aws_action_of(self.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer. An answer to HEAD holds what GET would give; the server leaves the body away."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview = field(default=b"", repr=False)


class Refused(Exception):
    """The request is answered with an error document of the distribution specification ("Error Codes")."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def response(self) -> Response:
        """Encode the refusal."""
        document = {"errors": [{"code": self.code, "message": self.message}]}
        return json_response(document, status=self.status, headers=self.headers)


def aws_action_of(headers: Message) -> str | None:
    """Read the action of ECR's own API from a request's headers, if it is for that."""
    target = headers.get("X-Amz-Target", "")
    return target.removeprefix(AWS_TARGET) if target.startswith(AWS_TARGET) else None


def json_response(
    document: object, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with a JSON document."""
    named = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Response(status=status, headers=named, body=json.dumps(document).encode())


def not_found() -> Response:
    """Answer as a server does that does not know the path at all."""
    plain = {"Content-Type": "text/plain; charset=utf-8"}
    return Response(status=HTTPStatus.NOT_FOUND, headers=plain, body=b"404 page not found\n")
