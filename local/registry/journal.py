"""A record of every request, so that tests count requests and bytes and see where credentials went."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

REGISTRY = "registry"
OBJECTS = "objects"
"""The two origins: the registry, and the store that its blobs are redirected to."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and what became of it. Of query and headers only Range and an action's name are kept.

    It is in the record before it is answered, and bytes are counted before they are sent: whoever has the
    answer finds it counted. `status` is 0 while there is no answer, and stays so if there is none.
    """

    number: int
    origin: str
    method: str
    path: str
    header_names: frozenset[str]
    range: str | None
    aws_action: str | None = None
    """The action of ECR's own API that it asks for; None for the distribution protocol."""
    status: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0

    @property
    def has_authorization(self) -> bool:
        """Tell whether a credential came with it in a header."""
        return "authorization" in self.header_names


class Journal:
    """The exchanges of both origins, numbered from 1 in the order in which they began."""

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
        """Write a request down."""
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
        """Give all so far."""
        with self._lock:
            return list(self._exchanges)

    def clear(self) -> None:
        """Forget all and count from 1 again."""
        with self._lock:
            self._exchanges.clear()
