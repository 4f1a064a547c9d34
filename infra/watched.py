"""What can be seen of a stack: the numbers over time that the dashboard draws and the alarms watch.

Those of the service are declared in `soci.service.metrics`; the others are those that AWS keeps by itself of Step
Functions, Lambda, EventBridge and SQS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from soci.service import metrics
from soci.service.metrics import Dimension, Metric
from soci.service.outcomes import Outcome

MACHINES, FUNCTIONS, EVENTS, QUEUES = "AWS/States", "AWS/Lambda", "AWS/Events", "AWS/SQS"
FAILURES = ("ExecutionsFailed", "ExecutionsTimedOut")
"""Ends of an execution that nobody chose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric under one set of dimensions, and what is made of its values in each period."""

    namespace: str
    metric: str
    dimensions: Mapping[str, str]
    statistic: str
    """As CloudWatch names them: `Sum`, `Maximum`, `p95`."""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedFunction:
    """A function, by the name that CloudWatch knows it by."""

    name: str
    timeout_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The names of what a stack consists of."""

    stack: str
    region: str
    index_image: str
    """The ARN of a state machine, which is how CloudWatch tells them apart."""
    reindex_repositories: str
    functions: Mapping[str, WatchedFunction]
    """By what they are called here."""
    undelivered: str
    """The name of the queue."""
    rules: tuple[str, ...] = field(default=())

    def own(
        self, metric: Metric, statistic: str, *, label: str = "", outcome: Outcome | None = None
    ) -> Series:
        """Return a metric of the service; of all images, or of those with an outcome."""
        dimensions = {str(Dimension.STACK): self.stack}
        if outcome is not None:
            dimensions[str(Dimension.OUTCOME)] = str(outcome)
        return Series(
            namespace=metrics.NAMESPACE,
            metric=metric.name,
            dimensions=dimensions,
            statistic=statistic,
            label=label,
        )

    def failures(self, machine_arn: str) -> tuple[Series, ...]:
        """Return how often a state machine failed."""
        dimensions = {"StateMachineArn": machine_arn}
        return tuple(
            Series(namespace=MACHINES, metric=name, dimensions=dimensions, statistic="Sum")
            for name in FAILURES
        )

    def longest(self, function: str) -> Series:
        """Return the duration of the longest invocation of a function, in milliseconds."""
        dimensions = {"FunctionName": self.functions[function].name}
        return Series(namespace=FUNCTIONS, metric="Duration", dimensions=dimensions, statistic="Maximum")

    def queue(self, metric: str, label: str = "") -> Series:
        """Return a metric of the queue of events that could not be delivered."""
        dimensions = {"QueueName": self.undelivered}
        return Series(
            namespace=QUEUES, metric=metric, dimensions=dimensions, statistic="Maximum", label=label
        )

    def lost(self, function: str) -> tuple[Series, ...]:
        """Return, for each rule and a function that has the queue too, how many events could not be put into it."""
        of_rules = [
            Series(
                namespace=EVENTS,
                metric="InvocationsFailedToBeSentToDlq",
                dimensions={"RuleName": rule},
                statistic="Sum",
            )
            for rule in self.rules
        ]
        dimensions = {"FunctionName": self.functions[function].name}
        of_function = Series(
            namespace=FUNCTIONS, metric="DeadLetterErrors", dimensions=dimensions, statistic="Sum"
        )
        return *of_rules, of_function
