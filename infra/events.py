"""Rules on the account's event bus: they start IndexImage and record failed executions.

Undelivered events go to one queue, see `infra.undelivered`.
"""

from __future__ import annotations

from aws_cdk import Aws, Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra import permissions
from infra.event_patterns import SOURCE, event_patterns
from infra.permissions import Grant
from soci.service.outcome.record import ENDED_IN_FAILURE, STATUS_CHANGE
from soci.service.settings.configuration import Rules

RETRY_ATTEMPTS = 185
RETRY_HOURS = 24
"""The maximum of EventBridge. A late start does no harm: the tag is read again."""


class ImageEvents(Construct):
    """Rules on the account's default event bus."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        index_image: sfn.StateMachine,
        outcome_recorder: lambda_.IFunction,
        undelivered: sqs.IQueue,
        rules: Rules,
    ) -> None:
        super().__init__(scope, name)
        self._undelivered = undelivered
        starting = Grant(actions=("states:StartExecution",), resources=(index_image.state_machine_arn,))
        role = permissions.role_for(self, "StartRole", "events.amazonaws.com", [starting])
        target = targets.SfnStateMachine(
            index_image,
            role=role.without_policy_updates(),
            dead_letter_queue=undelivered,
            retry_attempts=RETRY_ATTEMPTS,
            max_event_age=Duration.hours(RETRY_HOURS),
        )
        for kind, pattern in event_patterns(rules).items():
            events.Rule(
                self,
                kind,
                description=f"Starts {index_image.node.id} for images: {kind}",
                event_pattern=events.EventPattern(
                    source=[SOURCE],
                    # Events forwarded from other accounts and regions concern other repositories.
                    account=[Aws.ACCOUNT_ID],
                    region=[Aws.REGION],
                    detail_type=[pattern.detail_type],
                    detail=pattern.detail,
                ),
                targets=[target],
            )
        self._record_failures(index_image, outcome_recorder)

    def _record_failures(self, index_image: sfn.StateMachine, outcome_recorder: lambda_.IFunction) -> None:
        """Record failed executions from outside: they never reach the state Record."""
        events.Rule(
            self,
            "Failure",
            description=f"Records executions of {index_image.node.id} that failed, timed out or were stopped",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=[STATUS_CHANGE],
                detail={"status": [*ENDED_IN_FAILURE], "stateMachineArn": [index_image.state_machine_arn]},
            ),
            targets=[
                targets.LambdaFunction(
                    outcome_recorder,
                    dead_letter_queue=self._undelivered,
                    retry_attempts=RETRY_ATTEMPTS,
                    max_event_age=Duration.hours(RETRY_HOURS),
                )
            ],
        )
