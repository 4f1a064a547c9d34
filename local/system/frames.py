"""The data that hooks keep in each frame of the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from local.system.functions import Answer
from local.system.moto_parser import Environment, Program
from local.system.record import Json, Run, Visit


class Services(Protocol):
    """The services that states call."""

    def invoke(self, function: str, payload: bytes) -> Answer:
        """Invoke a function by its ARN or name."""

    def put_events(self, entries: Sequence[Mapping[str, Json]]) -> None:
        """Accept the entries of a PutEvents call."""


@dataclass(slots=True, kw_only=True)
class ExecutionTerms:
    """The terms of an execution: its services, its record and its callbacks."""

    services: Services
    run: Run
    resumes: Run | None
    redrives: int
    time_scale: float
    finished: Callable[[], None]


_T = TypeVar("_T")


@dataclass(slots=True, kw_only=True)
class FrameData:
    """The data of one frame. Inner frames start with the data of the outer one."""

    terms: ExecutionTerms | None = None
    run: Run | None = None
    visit: Visit | None = None
    branches: Sequence[Program] = ()
    resumes: Visit | None = None
    """The failed visit that the next state repeats."""


def data_of(env: Environment) -> FrameData:
    """Return the data of a frame."""
    data: FrameData = env.__dict__.setdefault("_soci_data", FrameData())
    return data


def required(value: _T | None) -> _T:
    """Return a value that a hook must have set. Raises RuntimeError if it is missing."""
    if value is None:
        raise RuntimeError("the interpreter did not call a hook: see local/system/moto_parser.py")
    return value


def visit_of(env: Environment) -> Visit:
    """Return the visit to the current state."""
    return required(data_of(env).visit)


def terms_of(env: Environment) -> ExecutionTerms:
    """Return the terms of the execution."""
    return required(data_of(env).terms)
