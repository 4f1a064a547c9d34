"""The queue of undelivered events: those of the rules, and those that the recorder failed on."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import permissions
from infra.permissions import Grant

LONG_POLLING_SECONDS = 10
"""Short polling asks only some of the servers and may miss messages."""


class Undelivered(Construct):
    """A dead-letter queue. Its messages are the events themselves, so each can be sent again."""

    def __init__(self, scope: Construct, name: str, *, key: kms.IKey | None) -> None:
        super().__init__(scope, name)
        self._key = key
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            receive_message_wait_time=Duration.seconds(LONG_POLLING_SECONDS),
        )
        permissions.acknowledge(
            self.queue, "AwsSolutions-SQS3", "This is the dead-letter queue of the rules' targets."
        )

    def grants(self) -> list[Grant]:
        """Grant sending messages to the queue. Lambda does so with the role of the function."""
        sending = Grant(actions=("sqs:SendMessage",), resources=(self.queue.queue_arn,))
        if self._key is None:
            return [sending]
        actions = ("kms:Decrypt", "kms:GenerateDataKey")
        return [sending, permissions.using_key(self._key.key_arn, actions, service="sqs")]
