"""A record of every request, so that tests can count requests and bytes and check for credentials."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

REGISTRY = "registry"
OBJECTS = "objects"
"""The two origins: the registry, and the store for its blobs."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and its response. Of query and headers only the Range and the action are kept.

    A request is recorded before its response, and bytes are counted before they are sent, so a client that has the
    response finds it counted. `status` is 0 without a response.
    """

    number: int
    origin: str
    method: str
    path: str
    header_names: frozenset[str]
    range: str | None
    aws_action: str | None = None
    """The action of ECR's API; None for the distribution protocol."""
    status: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0

    @property
    def has_authorization(self) -> bool:
        """Whether it had an Authorization header."""
        return "authorization" in self.header_names


class Journal:
    """The exchanges of both origins, numbered from 1 in the order of their start."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._exchanges: list[Exchange] = []

    def begin(
        self,
        *,
        origin: str,
        method: str,
        path: str,
        header_names: frozenset[str],
        range_: str | None,
        aws_action: str | None = None,
    ) -> Exchange:
        """Record a request."""
        with self._lock:
            exchange = Exchange(
                number=len(self._exchanges) + 1,
                origin=origin,
                method=method,
                path=path,
                header_names=header_names,
                range=range_,
                aws_action=aws_action,
            )
            self._exchanges.append(exchange)
        return exchange

    def exchanges(self) -> list[Exchange]:
        """Return all exchanges so far."""
        with self._lock:
            return list(self._exchanges)

    def clear(self) -> None:
        """Clear the record and restart the numbers at 1."""
        with self._lock:
            self._exchanges.clear()
