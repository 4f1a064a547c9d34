"""The state that all operations of the registry share."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.registry.behaviour import Behaviour
from local.registry.clock import Clock
from local.registry.messages import Refused
from local.registry.store import Repository, Store

Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The state and the behaviour. Operations are functions of it and run one at a time."""

    behaviour: Behaviour
    clock: Clock
    objects_url: Callable[[], str]
    store: Store = field(default_factory=Store)
    events: list[Event] = field(default_factory=list)
    signing_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def repository(self, name: str) -> Repository:
        """Return a repository. Raises `Refused` if there is none of this name."""
        try:
            return self.store.repositories[name]
        except KeyError:
            message = f"The repository with name '{name}' does not exist in the registry"
            raise Refused(404, "NAME_UNKNOWN", message) from None

    def repository_to_push(self, name: str) -> Repository:
        """Return a repository; create it if pushes do so."""
        return self.store.create(name) if self.behaviour.creates_repositories else self.repository(name)

    def page_limit(self, usual: int) -> int:
        """Return the maximum number of entries per page."""
        return min(usual, self.behaviour.max_page_entries or usual)
