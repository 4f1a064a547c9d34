"""What hooks into the interpreter know of the frame that they run in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from local.system.functions import Answer
from local.system.moto_parser import Environment, Program
from local.system.record import Json, Run, Visit


class Services(Protocol):
    """What the states call."""

    def invoke(self, function: str, payload: bytes) -> Answer:
        """Run a function, by its ARN or name."""

    def put_events(self, entries: Sequence[Mapping[str, Json]]) -> None:
        """Take the entries of a PutEvents call."""


@dataclass(slots=True, kw_only=True)
class Hosted:
    """What is known of an execution before it begins: where its calls go, and what becomes of it."""

    services: Services
    run: Run
    resumes: Run | None
    redrives: int
    time_scale: float
    finished: Callable[[], None]


_T = TypeVar("_T")


@dataclass(slots=True, kw_only=True)
class Here:
    """What is known of a frame of the interpreter; frames within it begin with the same."""

    hosted: Hosted | None = None
    run: Run | None = None
    visit: Visit | None = None
    branches: Sequence[Program] = ()
    resumes: Visit | None = None
    """The failed visit that the next state redrives."""


def here_of(env: Environment) -> Here:
    """Give what is known of a frame."""
    here: Here = env.__dict__.setdefault("_here", Here())
    return here


def known(value: _T | None) -> _T:
    """Insist that a hook was called. Raises RuntimeError."""
    if value is None:
        raise RuntimeError("the interpreter does not work as it did: a hook was not called")
    return value


def visit_of(env: Environment) -> Visit:
    """Give the visit to the state that is being evaluated."""
    return known(here_of(env).visit)


def terms_of(env: Environment) -> Hosted:
    """Give what the execution runs under."""
    return known(here_of(env).hosted)
