"""Faults on request: what goes wrong, and for which requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from threading import Lock

from local.registry.journal import Exchange


class Harm(Enum):
    """A broken transfer. A response without a body breaks or hangs in its head."""

    RESET_BEFORE = "reset after the head of the request; not executed"
    RESET_IN_REQUEST = "reset after half of the request's body; not executed"
    RESET_AFTER = "executed, reset before the response"
    RESET_IN_BODY = "executed, reset after half of the response"
    CUT_BODY = "executed, closed regularly after half of the response"
    WRONG_BYTE = "one byte of the response's body is wrong"
    WRONG_BYTE_SENT = "one byte of the request's body is wrong on arrival"
    HANG = "not executed, no response until the client closes"
    HANG_IN_BODY = "executed, hangs after half of the response"


@dataclass(frozen=True, slots=True)
class Answer:
    """Not executed; the response has this status, and for 401 the challenge of the login."""

    status: int
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Lie:
    """Executed; the response has wrong values in these headers (Content-Length, Docker-Content-Digest, ...)."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Delay:
    """Executed and answered correctly, but late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TimePasses:
    """The registry's clock advances before the request: tokens and URLs may expire."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Executed and answered correctly, but `act` runs first, or before the response."""

    act: Callable[[], object]
    is_done: bool = False
    """Whether the request is executed before `act` runs."""


Fault = Harm | Answer | Lie | Delay | TimePasses | Meanwhile
Where = Callable[[Exchange], bool]


def request_to(method: str, path_pattern: str = "", *, origin: str | None = None) -> Where:
    """Choose requests by method and by a regular expression for the path."""

    def chosen(exchange: Exchange) -> bool:
        is_there = origin is None or exchange.origin == origin
        return is_there and exchange.method == method and bool(re.search(path_pattern, exchange.path))

    return chosen


def action(name: str) -> Where:
    """Choose calls of an action of ECR's own API, by its name."""
    return lambda exchange: exchange.aws_action == name


class Faults:
    """The remaining faults."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[tuple[Fault, Where, int | None]] = []

    def add(self, fault: Fault, where: Where, times: int | None) -> None:
        """Let chosen requests fail, `times` times; None means always."""
        with self._lock:
            self._waiting.append((fault, where, times))

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._waiting.clear()

    def take(self, exchange: Exchange) -> Fault | None:
        """Return the fault for this request and count it; None if there is none."""
        with self._lock:
            for at, (fault, where, times) in enumerate(self._waiting):
                if where(exchange):
                    left = None if times is None else times - 1
                    self._waiting[at : at + 1] = [] if left == 0 else [(fault, where, left)]
                    return fault
        return None
