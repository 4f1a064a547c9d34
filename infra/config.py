"""What a deployment can choose, read from the CDK context and checked once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_STACK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")


class InvalidConfig(ValueError):
    """The CDK context has a value that the stack cannot be made with; the message names the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """The settings of one deployment. `KEYS` are those that cdk.json gives a default for."""

    stack_name: str

    def __post_init__(self) -> None:
        if not _STACK_NAME.fullmatch(self.stack_name):
            raise InvalidConfig(
                f"stack_name: got {self.stack_name!r}, want 1 to 128 letters, digits, hyphens, first a letter"
            )

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> StackConfig:
        """Read the settings from CDK context values.

        Raises:
            InvalidConfig: a key is missing or its value is of the wrong type or out of bounds.
        """
        stack_name = context.get("stack_name")
        if not isinstance(stack_name, str):
            raise InvalidConfig(f"stack_name: got {stack_name!r}, want a string")
        return cls(stack_name=stack_name)
