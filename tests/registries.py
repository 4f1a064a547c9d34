"""Registries for contract tests: Debian's, and the one in memory as ECR and as plain as possible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.registry import Behaviour, Registry
from soci.oci.reference import RegistryRef
from soci.places.registry.connect import connect
from soci.places.registry.repository import RegistryRepository
from tests.debian_registry import debian_registry

REGISTRIES = ("docker-registry", "in memory, as ECR", "in memory, plain")


@contextmanager
def running_registry(kind: str, directory: Path) -> Iterator[str]:
    """Run one of them; yields its host."""
    if kind == "docker-registry":
        with debian_registry(directory) as host:
            yield host
    else:
        # Without ECR's rates: skopeo gives up when it is told to wait.
        behaviour = Behaviour(rates={}) if kind == "in memory, as ECR" else Behaviour.plain()
        with Registry(behaviour) as registry:
            yield registry.host


def open_repository(reference: RegistryRef, **options: Any) -> RegistryRepository:
    """Open the repository that a reference names, through a client of its own with the options of `connect`."""
    registry = connect(reference.host, **options)
    return registry.open_repository(reference.repository, tag=reference.tag, digest=reference.digest)
