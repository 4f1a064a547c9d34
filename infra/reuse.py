"""The table of zTOCs that were made, so that a layer is not streamed twice; see `soci.service.catalog`.

Its rows are hints, checked before use: without them everything works, only slower. So it goes with the stack.
"""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra import permissions
from infra.permissions import Grant

_KEY_ACTIONS = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
"""DynamoDB uses the key in the name of whoever reads or writes."""


class ZtocTable(Construct):
    """A table that is paid by request, and forgets what nobody uses."""

    def __init__(self, scope: Construct, name: str, *, key: kms.IKey | None) -> None:
        super().__init__(scope, name)
        self._key = key
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="layer", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="settings", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute="expires_at",
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED
            if key
            else dynamodb.TableEncryption.AWS_MANAGED,
            encryption_key=key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=RemovalPolicy.DESTROY,
        )
        resource = self.table.node.default_child
        assert isinstance(resource, dynamodb.CfnTable)  # noqa: S101 - tells the type checker
        resource.override_logical_id("ZtocTable")

    @property
    def environment(self) -> dict[str, str]:
        """What a function that uses the table is told."""
        return {"SOCI_ZTOC_TABLE": self.table.table_name}

    def grants(self) -> list[Grant]:
        """Grant looking rows up and writing them, one at a time."""
        grants = [
            Grant(actions=("dynamodb:GetItem", "dynamodb:UpdateItem"), resources=(self.table.table_arn,))
        ]
        if self._key:
            grants.append(permissions.using_key(self._key.key_arn, _KEY_ACTIONS, service="dynamodb"))
        return grants
