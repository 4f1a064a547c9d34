"""The repositories that a command line names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import typer

from soci.places.registry.connect import connect
from soci.upkeep.inventory import Inventory, RepositoryName

RepositoriesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="REPOSITORY...",
        help="HOST/NAME, without a tag; in ECR a name may contain `*` and `?`",
        show_default=False,
    ),
]
EcrHostOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ecr-host",
        metavar="HOST",
        envvar="SOCI_REGISTRY",
        help="A host that is ECR under another name; may be repeated.",
    ),
]


class Inventories:
    """The registries of one run, each opened once."""

    def __init__(self, ecr_hosts: Sequence[str] | None) -> None:
        self._ecr_hosts = frozenset(ecr_hosts or ())
        self._opened: dict[str, Inventory] = {}

    def open(self, host: str) -> Inventory:
        """Open a registry. Nothing is asked yet."""
        if host not in self._opened:
            self._opened[host] = Inventory(connect(host, is_ecr=host in self._ecr_hosts))
        return self._opened[host]

    def find(self, repositories: Iterable[str]) -> Iterator[tuple[Inventory, str]]:
        """Yield the named repositories, each once, in the order of the command line.

        Raises:
            InvalidReference: a name does not parse.
            NotInImage, RegistryError: the repository does not exist, or the registry does not answer.
        """
        names = [RepositoryName.parse(text) for text in repositories]
        found = {
            (wanted.host, name): None
            for wanted in names
            for name in self.open(wanted.host).fetch_names(wanted)
        }
        for host, name in found:
            yield self.open(host), name
