"""The registry for tests and programs: two origins with state, faults and a record of requests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from local.registry.behaviour import Behaviour
from local.registry.clock import Clock
from local.registry.faults import Fault, Faults, Where
from local.registry.http_server import OriginServer, Site
from local.registry.journal import OBJECTS, REGISTRY, Exchange, Journal
from local.registry.login import EcrLogin, Login
from local.registry.messages import Request, Response
from local.registry.rates import RateLimits
from local.registry.routes import Answerer
from local.registry.service import Event, Service
from local.registry.store import Repository


class Registry:
    """A running registry. Use it as a context manager, or close it.

    `on_event` gets an "ECR Image Action" event for each pushed manifest, before the answer.
    """

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        login: Login | None = None,
        port: int = 0,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        behaviour = behaviour or Behaviour()
        self._login = login
        self._clock = Clock()
        self._journal = Journal()
        self._faults = Faults()
        self._service = Service(
            behaviour=behaviour, clock=self._clock, objects_url=lambda: f"http://{self._objects.host}"
        )
        rates = RateLimits(behaviour.rates, behaviour.retry_after_seconds)
        answerer = Answerer(service=self._service, login=login, rates=rates, on_event=on_event)
        with ExitStack() as started:
            self._objects = OriginServer(self._site(OBJECTS, answerer.answer_object, answerer), 0)
            started.callback(self._objects.close)
            self._registry = OriginServer(self._site(REGISTRY, answerer.answer, answerer), port)
            started.callback(self._registry.close)
            self._running = started.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop both origins and end their connections."""
        self._running.close()

    @property
    def host(self) -> str:
        """Address and port of the registry, as in an image's name."""
        return self._registry.host

    @property
    def objects_host(self) -> str:
        """Address and port of the origin for blobs."""
        return self._objects.host

    @property
    def requests(self) -> list[Exchange]:
        """All requests so far, to both origins, in order."""
        return self._journal.exchanges()

    def repository(self, name: str) -> Repository:
        """Return the content of a repository, for inspection and direct changes."""
        return self._service.store.create(name)

    def fail(
        self,
        fault: Fault,
        *,
        number: int | None = None,
        where: Where | None = None,
        times: int | None = 1,
    ) -> None:
        """Let requests fail: the one with this number, those chosen by `where`, or else the next.

        `times` is the number of failures; None means all. Numbers count the requests to both origins from 1, again
        after `forget_requests`.
        """

        def chosen(exchange: Exchange) -> bool:
            return (number is None or exchange.number == number) and (where is None or where(exchange))

        self._faults.add(fault, chosen, times)

    def heal(self) -> None:
        """Remove all remaining faults."""
        self._faults.clear()

    def forget_requests(self) -> None:
        """Clear the record of requests."""
        self._journal.clear()

    def let_time_pass(self, seconds: float) -> None:
        """Advance the registry's clock, by which tokens and signed URLs expire."""
        self._clock.ahead_seconds += seconds

    def issue_password(self) -> str:
        """Create a password for the user AWS. Requires an `EcrLogin`."""
        if not isinstance(self._login, EcrLogin):
            raise TypeError("only a registry with EcrLogin hands out passwords")
        return self._login.issue(self._clock.now())

    def _site(self, name: str, answer: Callable[[Request], Response], answerer: Answerer) -> Site:
        return Site(
            name=name,
            answer=answer,
            challenge=answerer.challenge,
            refusal=answerer.refusal,
            journal=self._journal,
            faults=self._faults,
            clock=self._clock,
        )
