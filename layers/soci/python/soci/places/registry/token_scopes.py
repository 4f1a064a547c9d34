"""Token scopes: the permissions that a request needs, and no more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scopes:
    """The scopes of one repository (distribution's token specification, "Resource scope")."""

    repository: str

    @property
    def pull(self) -> tuple[str, ...]:
        """Permission to read."""
        return (f"repository:{self.repository}:pull",)

    @property
    def push(self) -> tuple[str, ...]:
        """Permission to read and write."""
        return (f"repository:{self.repository}:pull,push",)

    @property
    def delete(self) -> tuple[str, ...]:
        """Permission to delete."""
        return (f"repository:{self.repository}:delete",)

    def mount_from(self, other: Scopes) -> tuple[str, ...]:
        """Permission to write here and to read another repository."""
        return (*self.push, *other.pull)
