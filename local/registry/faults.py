"""Failing on purpose: what can go wrong with an answer, and for which request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from threading import Lock

from local.registry.journal import Exchange


class Harm(Enum):
    """What happens to a transfer. An answer without body breaks, and hangs, in its head."""

    RESET_BEFORE = "reset when the head of the request is there; nothing is done"
    RESET_IN_REQUEST = "reset after half of the request's body; nothing is done"
    RESET_AFTER = "done, and reset before the answer"
    RESET_IN_BODY = "done, and reset after half of the answer"
    CUT_BODY = "done, and closed after half of the answer as if that were all"
    WRONG_BYTE = "one byte of the answer's body is wrong"
    WRONG_BYTE_SENT = "one byte of the request's body is wrong when it is there"
    HANG = "nothing is done and nothing answered until the client goes away"
    HANG_IN_BODY = "done, and silence after half of the answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """Nothing is done, and the answer is this status; 401 brings the challenge of the registry's login."""

    status: int
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Lie:
    """Done, and answered with other texts in these headers (Content-Length, Docker-Content-Digest, ...)."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Delay:
    """Done and answered rightly, but later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TimePasses:
    """The registry's clock has moved on when the request comes: what was handed out may have expired."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Done and answered rightly, but something happens besides: when the request comes, or before its answer."""

    act: Callable[[], object]
    is_done: bool = False
    """What was asked for is done when it happens."""


Fault = Harm | Answer | Lie | Delay | TimePasses | Meanwhile
Where = Callable[[Exchange], bool]


def request_to(method: str, path_pattern: str = "", *, origin: str | None = None) -> Where:
    """Choose requests by method and a regular expression that is searched for in the path."""

    def chosen(exchange: Exchange) -> bool:
        is_there = origin is None or exchange.origin == origin
        return is_there and exchange.method == method and bool(re.search(path_pattern, exchange.path))

    return chosen


def action(name: str) -> Where:
    """Choose calls of an action of ECR's own API, by its name."""
    return lambda exchange: exchange.aws_action == name


class Faults:
    """The faults that are still to come."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[tuple[Fault, Where, int | None]] = []

    def add(self, fault: Fault, where: Where, times: int | None) -> None:
        """Let the next requests that are chosen fail, as often as asked for; None: from now on."""
        with self._lock:
            self._waiting.append((fault, where, times))

    def clear(self) -> None:
        """Let nothing fail any more."""
        with self._lock:
            self._waiting.clear()

    def take(self, exchange: Exchange) -> Fault | None:
        """Give the fault for this request, if there is one, and count it off."""
        with self._lock:
            for at, (fault, where, times) in enumerate(self._waiting):
                if where(exchange):
                    left = None if times is None else times - 1
                    self._waiting[at : at + 1] = [] if left == 0 else [(fault, where, left)]
                    return fault
        return None
