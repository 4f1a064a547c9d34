"""From a rule to its target, and into the dead-letter queue where that does not go.

EventBridge starts executions, and leaves what it cannot start in the queue by its own hand; a function it hands over to
Lambda, which tries three times when nobody waits and then leaves the event in the queue, without the target.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.system.functions import Functions
from local.system.template import Template

Json = Any

_UNANSWERED_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What the queue holds: what the target was to be given, and the target if EventBridge left it."""

    event: Json = field(repr=False)
    target_arn: str | None


class Deliveries:
    """Delivers at once what it is given. `start` begins an execution of a state machine by its logical ID."""

    def __init__(
        self, template: Template, functions: Functions, start: Callable[[str, Json], object]
    ) -> None:
        self._template = template
        self._functions = functions
        self._start = start
        self._refuses: Callable[[str], bool] | None = None
        self.dead_letters: list[DeadLetter] = []

    def deliver(self, arn: str, input_: Json) -> None:
        """Give a target its input."""
        if self._refuses is not None and self._refuses(arn):
            self.dead_letters.append(DeadLetter(event=input_, target_arn=arn))
            return
        target = self._template.by_arn(arn)
        if target.type == "AWS::Lambda::Function":
            self._invoke_unanswered(arn, input_)
        else:
            self._start(target.logical_id, input_)

    def refuse(self, chosen: Callable[[str], bool] = lambda _: True) -> None:
        """Let nothing get to the targets whose ARNs are chosen, as where a role has lost its right to it."""
        self._refuses = chosen

    def heal(self) -> None:
        """Refuse no more deliveries."""
        self._refuses = None

    def _invoke_unanswered(self, arn: str, input_: Json) -> None:
        for _ in range(_UNANSWERED_ATTEMPTS):
            if self._functions.invoke(arn, json.dumps(input_).encode()).function_error is None:
                return
        self.dead_letters.append(DeadLetter(event=input_, target_arn=None))
