"""The table of zTOCs that were made, so that a layer is not streamed twice; see `soci.service.layer.catalog`.

Without its rows everything works, only slower. So it goes with the stack, and with it the key of the rows' MACs.
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
"""DynamoDB uses the key in the name of whoever reads or writes."""

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
"""What the account's own policies may allow. Making MACs is not in it, however wide a policy is."""


class ZtocTable(Construct):
    """A table that is paid by request and forgets what nobody uses, and the key that tells its rows from others."""

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
            # DynamoDB encrypts every table; by default with a key of its own, which costs nothing and asks nobody.
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
            "A row that is lost costs the building of one zTOC; none is worth a backup.",
        )
        self.mac_key = kms.Key(
            self,
            "MacKey",
            description="Tells rows of the table of zTOCs that a builder of this stack wrote from any others",
            key_spec=kms.KeySpec.HMAC_256,
            key_usage=kms.KeyUsage.GENERATE_VERIFY_MAC,
            policy=iam.PolicyDocument(statements=[_by_account(_ADMINISTRATION)]),
            removal_policy=RemovalPolicy.DESTROY,
            pending_window=Duration.days(7),
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a function that uses the table is told."""
        return {"SOCI_ZTOC_TABLE": self.table.table_name, "SOCI_ZTOC_MAC_KEY": self.mac_key.key_arn}

    def grants(self) -> list[Grant]:
        """Grant looking rows up and writing them, one at a time."""
        grants = [
            Grant(actions=("dynamodb:GetItem", "dynamodb:UpdateItem"), resources=(self.table.table_arn,))
        ]
        if self._key:
            grants.append(permissions.using_key(self._key.key_arn, _KEY_ACTIONS, service="dynamodb"))
        return grants

    def let_vouch(self, role: iam.IRole) -> None:
        """Let a role make MACs of rows and check them.

        It stands in the key's policy alone: no policy of the account gives it to anybody, however wide it is.
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
