"""What we ask a token server for, per repository: no more than the request at hand needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scopes:
    """The scopes of one repository (distribution's token specification, "Resource scope")."""

    repository: str

    @property
    def pull(self) -> tuple[str, ...]:
        """To read."""
        return (f"repository:{self.repository}:pull",)

    @property
    def push(self) -> tuple[str, ...]:
        """To write."""
        return (f"repository:{self.repository}:pull,push",)

    @property
    def delete(self) -> tuple[str, ...]:
        """To delete."""
        return (f"repository:{self.repository}:delete",)

    def mount_from(self, other: Scopes) -> tuple[str, ...]:
        """To write here what can be read there."""
        return (*self.push, *other.pull)
