"""The daily search for recent images without an index: events of the registry can be lost.

A scheduled rule starts ReindexRepositories. A rule cannot calculate, so the request names durations before the current
time. The search leaves out images that may still be in progress; the next one finds them.
"""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra import permissions
from infra.config import Deployment
from infra.events import RETRY_ATTEMPTS, RETRY_HOURS
from infra.permissions import Grant

MINUTE = 15
"""Past the hour, when fewer schedules are due."""


class DailyReconcile(Construct):
    """A rule on the account's default event bus, and the role with which it starts the re-index."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        reindex_repositories: sfn.StateMachine,
        undelivered: sqs.IQueue,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, name)
        starting = Grant(
            actions=("states:StartExecution",), resources=(reindex_repositories.state_machine_arn,)
        )
        role = permissions.role_for(self, "StartRole", "events.amazonaws.com", [starting])
        self.rule = events.Rule(
            self,
            "Daily",
            description=f"Starts {reindex_repositories.node.id} for images that were missed",
            schedule=events.Schedule.cron(minute=str(MINUTE), hour=str(deployment.reconcile.hour_utc)),
            targets=[
                targets.SfnStateMachine(
                    reindex_repositories,
                    input=events.RuleTargetInput.from_object(request(deployment)),
                    role=role.without_policy_updates(),
                    dead_letter_queue=undelivered,
                    retry_attempts=RETRY_ATTEMPTS,
                    max_event_age=Duration.hours(RETRY_HOURS),
                )
            ],
        )


def request(deployment: Deployment) -> dict[str, object]:
    """Return the input of ReindexRepositories. EventBridge puts the time in."""
    now = events.EventField.time
    return {
        "repositories": ["*"],
        "only_missing": True,
        "pushed_since": f"{now} - {deployment.reconcile.days} days",
        "pushed_before": f"{now} - {-(-deployment.image_timeout_minutes // 60)} hours",
        "scheduled": True,
    }
