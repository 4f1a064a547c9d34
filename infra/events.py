"""Rules on the account's event bus: what starts IndexImage by itself, and what tells of executions that failed.

What cannot be delivered ends in one queue, see `infra.undelivered`.
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
"""The most that EventBridge does. Indexing late is better than not at all, and harmless: the tag is read again."""


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
                    # What other accounts and regions forward to this bus is about repositories that lie there.
                    account=[Aws.ACCOUNT_ID],
                    region=[Aws.REGION],
                    detail_type=[pattern.detail_type],
                    detail=pattern.detail,
                ),
                targets=[target],
            )
        self._record_failures(index_image, outcome_recorder)

    def _record_failures(self, index_image: sfn.StateMachine, outcome_recorder: lambda_.IFunction) -> None:
        """Have failures recorded from outside: an execution that fails has no last state."""
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
