"""Deliver events to targets, or to the dead-letter queue.

EventBridge starts executions itself, and puts events it cannot deliver into the queue with the target's ARN. It passes
events for functions to Lambda, which invokes up to three times, then puts the event into the queue without the target.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.system.functions import Functions
from local.system.template import Template

Json = Any

_ASYNCHRONOUS_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message in the queue: the input for the target, and the target's ARN if EventBridge sent it."""

    event: Json = field(repr=False)
    target_arn: str | None


class Deliveries:
    """Delivers events immediately. `start` starts an execution of a state machine by its logical ID."""

    def __init__(
        self, template: Template, functions: Functions, start: Callable[[str, Json], object]
    ) -> None:
        self._template = template
        self._functions = functions
        self._start = start
        self._refuses: Callable[[str], bool] | None = None
        self.dead_letters: list[DeadLetter] = []

    def deliver(self, arn: str, input_: Json) -> None:
        """Deliver an input to a target."""
        if self._refuses is not None and self._refuses(arn):
            self.dead_letters.append(DeadLetter(event=input_, target_arn=arn))
            return
        target = self._template.by_arn(arn)
        if target.type == "AWS::Lambda::Function":
            self._invoke_asynchronously(arn, input_)
        else:
            self._start(target.logical_id, input_)

    def refuse(self, chosen: Callable[[str], bool] = lambda _: True) -> None:
        """Refuse deliveries to the chosen ARNs, as if the role had lost its permission."""
        self._refuses = chosen

    def heal(self) -> None:
        """Stop refusing deliveries."""
        self._refuses = None

    def _invoke_asynchronously(self, arn: str, input_: Json) -> None:
        for _ in range(_ASYNCHRONOUS_ATTEMPTS):
            if self._functions.invoke(arn, json.dumps(input_).encode()).function_error is None:
                return
        self.dead_letters.append(DeadLetter(event=input_, target_arn=None))
