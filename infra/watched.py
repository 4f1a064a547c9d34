"""The metrics that the dashboard draws and the alarms watch.

`soci.service.metrics` declares the service's own metrics. The others are AWS's metrics of Step Functions, Lambda,
EventBridge and SQS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from soci.service import metrics
from soci.service.metrics import Dimension, Metric
from soci.service.outcomes import Outcome

MACHINES, FUNCTIONS, EVENTS, QUEUES = "AWS/States", "AWS/Lambda", "AWS/Events", "AWS/SQS"
FAILURES = ("ExecutionsFailed", "ExecutionsTimedOut")
"""Metrics of executions that ended by themselves without success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric under one set of dimensions, with a statistic."""

    namespace: str
    metric: str
    dimensions: Mapping[str, str]
    statistic: str
    """As CloudWatch writes it: `Sum`, `Maximum`, `p95`."""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedFunction:
    """A function by its name in CloudWatch."""

    name: str
    timeout_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The names of a stack's parts, as CloudWatch knows them."""

    stack: str
    region: str
    index_image: str
    """The ARN of a state machine, as CloudWatch identifies it."""
    reindex_repositories: str
    functions: Mapping[str, WatchedFunction]
    """By their names in this project."""
    undelivered: str
    """The name of the queue."""
    rules: tuple[str, ...] = field(default=())

    def own(
        self, metric: Metric, statistic: str, *, label: str = "", outcome: Outcome | None = None
    ) -> Series:
        """Return a metric of the service, for all images or for those with an outcome."""
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
        """Return the numbers of failed and timed-out executions of a state machine."""
        dimensions = {"StateMachineArn": machine_arn}
        return tuple(
            Series(namespace=MACHINES, metric=name, dimensions=dimensions, statistic="Sum")
            for name in FAILURES
        )

    def longest(self, function: str) -> Series:
        """Return the duration of a function's longest invocation, in milliseconds."""
        dimensions = {"FunctionName": self.functions[function].name}
        return Series(namespace=FUNCTIONS, metric="Duration", dimensions=dimensions, statistic="Maximum")

    def queue(self, metric: str, label: str = "") -> Series:
        """Return a metric of the queue of undelivered events."""
        dimensions = {"QueueName": self.undelivered}
        return Series(
            namespace=QUEUES, metric=metric, dimensions=dimensions, statistic="Maximum", label=label
        )

    def lost(self, function: str) -> tuple[Series, ...]:
        """Return the numbers of events that neither the rules nor a function could put into the dead-letter queue."""
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
