"""Plain HTTP calls for tests that look at a server without our own client."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a registry's first error."""
        return str(self.document["errors"][0]["code"])


def call(
    host: str,
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = 5,
) -> Answer:
    """Send one request and read the whole answer."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc or host, timeout=timeout)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(status=response.status, headers=response.headers, body=response.read())
    finally:
        connection.close()


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a Basic login."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def fields_of(challenge: str) -> Mapping[str, str]:
    """The parameters of a challenge, which here have no quotes or commas within."""
    pairs = (part.split("=", 1) for part in challenge.partition(" ")[2].split('",'))
    return {name: text.strip('"') for name, text in pairs}
