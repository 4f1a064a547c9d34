"""Registries that contract tests run against: Debian's, and the one in memory as ECR and as simple as can be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.registry import Behaviour, Registry
from tests.debian_registry import debian_registry

REGISTRIES = ("docker-registry", "in memory, as ECR", "in memory, plain")


@contextmanager
def running_registry(kind: str, directory: Path) -> Iterator[str]:
    """Run one of them; give its host."""
    if kind == "docker-registry":
        with debian_registry(directory) as host:
            yield host
    else:
        # Without ECR's rates: skopeo gives up when it is told to wait.
        behaviour = Behaviour(rates={}) if kind == "in memory, as ECR" else Behaviour.plain()
        with Registry(behaviour) as registry:
            yield registry.host
