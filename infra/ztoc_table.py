"""The table of finished zTOCs, so that no layer is streamed twice; see `soci.service.layer.catalog`.

Losing its rows only costs time. The table and the key of the rows' MACs are deleted with the stack.
"""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
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
"""DynamoDB uses the key with the permissions of its caller."""

_MAC_ACTIONS = ("kms:GenerateMac", "kms:VerifyMac")
_ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:EnableKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListKeyPolicies",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateKeyDescription",
)
"""What policies of the account may allow. Making MACs is not included, not even for a policy with wildcards."""


class ZtocTable(Construct):
    """A table, paid by request, whose unused rows expire; and the key of the MACs that authenticate its rows."""

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
            # DynamoDB always encrypts; its own key costs nothing and needs no permission.
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED if key else dynamodb.TableEncryption.DEFAULT,
            encryption_key=key,
            removal_policy=RemovalPolicy.DESTROY,
        )
        resource = self.table.node.default_child
        assert isinstance(resource, dynamodb.CfnTable)  # noqa: S101 - tells the type checker
        resource.override_logical_id("ZtocTable")
        permissions.acknowledge(
            self.table,
            "AwsSolutions-DDB3",
            "A lost row costs the building of one zTOC; a backup is not worth it.",
        )
        self.mac_key = kms.Key(
            self,
            "MacKey",
            description="Authenticates the rows of the table of zTOCs, which only builders of this stack can write",
            key_spec=kms.KeySpec.HMAC_256,
            key_usage=kms.KeyUsage.GENERATE_VERIFY_MAC,
            policy=iam.PolicyDocument(statements=[_by_account(_ADMINISTRATION)]),
            removal_policy=RemovalPolicy.DESTROY,
            pending_window=Duration.days(7),
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of functions that use the table."""
        return {"SOCI_ZTOC_TABLE": self.table.table_name, "SOCI_ZTOC_MAC_KEY": self.mac_key.key_arn}

    def grants(self) -> list[Grant]:
        """Grant reading and writing single rows."""
        grants = [
            Grant(actions=("dynamodb:GetItem", "dynamodb:UpdateItem"), resources=(self.table.table_arn,))
        ]
        if self._key:
            grants.append(permissions.using_key(self._key.key_arn, _KEY_ACTIONS, service="dynamodb"))
        return grants

    def let_vouch(self, role: iam.IRole) -> None:
        """Let a role make and verify the MACs of rows.

        Only the key's policy can grant this; policies of the account cannot, not even with wildcards.
        """
        self.mac_key.add_to_resource_policy(
            iam.PolicyStatement(
                actions=[*_MAC_ACTIONS],
                resources=[permissions.ANY],
                principals=[iam.ArnPrincipal(role.role_arn)],
            )
        )


def _by_account(actions: tuple[str, ...]) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        actions=[*actions], resources=[permissions.ANY], principals=[iam.AccountRootPrincipal()]
    )
