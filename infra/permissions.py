"""Roles with the least permissions they need. Each wildcard states its reason.

The rules' patterns are used in ARNs as they are: `*` and `?` mean the same in IAM.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aws_cdk import Acknowledgment, Aws, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import Construct, IConstruct

from infra.config import InvalidConfig
from soci.service.settings.configuration import NamePatterns

ANY = "*"
MAX_POLICY_CHARACTERS = 10_240
"""IAM's limit for all inline policies of a role; white space does not count."""

_LONGEST = {"AWS::Partition": len("aws-us-gov"), "AWS::Region": len("ap-southeast-1"), "AWS::AccountId": 12}
_LONGEST_NAME = 220
"""The longest value known only at deployment: the log group's ARN with the longest stack name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Actions on resources. A resource with a wildcard needs a reason."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why_wide: str = ""
    denied: bool = False
    conditions: Mapping[str, object] = field(default_factory=dict, hash=False)

    def statement(self) -> iam.PolicyStatement:
        """Return the grant as a policy statement."""
        effect = iam.Effect.DENY if self.denied else iam.Effect.ALLOW
        return iam.PolicyStatement(
            effect=effect,
            actions=[*self.actions],
            resources=[*self.resources],
            conditions=dict(self.conditions) or None,
        )


LOGIN = Grant(
    actions=("ecr:GetAuthorizationToken",),
    resources=(ANY,),
    why_wide="ecr:GetAuthorizationToken belongs to the registry and takes no resource.",
)
TRACING = Grant(
    actions=("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    resources=(ANY,),
    why_wide="X-Ray has no resource for traces.",
)
SAMPLED_TRACING = Grant(
    actions=(*TRACING.actions, "xray:GetSamplingRules", "xray:GetSamplingTargets"),
    resources=(ANY,),
    why_wide=TRACING.why_wide,
)
LOG_DELIVERY = Grant(
    actions=(
        "logs:CreateLogDelivery",
        "logs:GetLogDelivery",
        "logs:UpdateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:DescribeResourcePolicies",
        "logs:DescribeLogGroups",
    ),
    resources=(ANY,),
    why_wide="The actions with which Step Functions sets up log delivery take no resource.",
)
NETWORK_INTERFACES = Grant(
    actions=(
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    ),
    resources=(ANY,),
    why_wide="Lambda creates network interfaces in the VPC with this role; their names are not known in advance.",
)

_READ = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_UPLOAD = ("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload")


def reading(repositories: NamePatterns) -> list[Grant]:
    """Grant reading images of the chosen repositories."""
    return [LOGIN, *_on(repositories, _READ)]


def uploading(repositories: NamePatterns) -> list[Grant]:
    """Grant adding blobs. They are invisible until a manifest names them."""
    return [LOGIN, *_on(repositories, (*_READ, *_UPLOAD))]


def publishing(repositories: NamePatterns) -> list[Grant]:
    """Grant adding blobs, manifests and tags."""
    return [LOGIN, *_on(repositories, (*_READ, *_UPLOAD, "ecr:PutImage"))]


def listing(repositories: NamePatterns) -> list[Grant]:
    """Grant listing the images of the chosen repositories, and the names of all repositories."""
    return [
        LOGIN,
        Grant(
            actions=("ecr:DescribeRepositories",),
            resources=(repository_arn("*"),),
            why_wide="Listing repositories requires the right to list all; it returns only names.",
        ),
        *_on(repositories, (*_READ, "ecr:DescribeImages")),
    ]


def using_key(key_arn: str, actions: tuple[str, ...], *, service: str) -> Grant:
    """Grant the role the use of a key through an AWS service only."""
    # A service's name in KMS ends with the partition's domain; the documentation of China's is inconsistent.
    via = {"StringLike": {"kms:ViaService": f"{service}.{Aws.REGION}.*"}}
    return Grant(actions=actions, resources=(key_arn,), conditions=via)


def sending_outcomes() -> list[Grant]:
    """Grant sending outcomes to the account's default event bus."""
    bus = f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:event-bus/default"
    return [Grant(actions=("events:PutEvents",), resources=(bus,))]


def repository_arn(pattern: str) -> str:
    """Return the ARN of the repositories of this account and region whose names match a pattern."""
    return f"arn:{Aws.PARTITION}:ecr:{Aws.REGION}:{Aws.ACCOUNT_ID}:repository/{pattern}"


def _on(repositories: NamePatterns, actions: tuple[str, ...]) -> list[Grant]:
    include = ("*",) if "*" in repositories.include else repositories.include
    granted = Grant(
        actions=actions,
        resources=tuple(map(repository_arn, include)),
        why_wide="The rules choose repositories by this pattern.",
    )
    if not repositories.exclude:
        return [granted]
    excluded = Grant(actions=actions, resources=tuple(map(repository_arn, repositories.exclude)), denied=True)
    return [granted, excluded]


def role_for(scope: Construct, name: str, service: str, grants: Sequence[Grant]) -> iam.Role:
    """Create a role for a service of this account, with all permissions in one inline policy.

    Raises:
        InvalidConfig: the policy exceeds IAM's limit; only patterns of repositories can cause this.
    """
    principal = iam.ServicePrincipal(service)
    if service != "lambda.amazonaws.com":  # Lambda sends no source account when it assumes a role
        principal = iam.ServicePrincipal(
            service, conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
        )
    policy = iam.PolicyDocument(statements=[grant.statement() for grant in grants])
    _check_length(name, Stack.of(scope).resolve(policy))
    role = iam.Role(scope, name, assumed_by=principal, inline_policies={"Permissions": policy})
    acknowledge_wide(role, grants)
    return role


def acknowledge_wide(construct: Construct, grants: Iterable[Grant]) -> None:
    """Give cdk-nag the reason for each resource with a wildcard."""
    reasons = defaultdict(list)
    for grant in grants:
        for resource in grant.resources:
            shown = _as_nag_shows(Stack.of(construct).resolve(resource))
            if "*" in shown and not grant.denied:
                reasons[shown].append(grant.why_wide)
    for shown, whys in reasons.items():
        acknowledge(construct, f"AwsSolutions-IAM5[Resource::{shown}]", " ".join(dict.fromkeys(whys)))


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Give cdk-nag the reason why a construct breaks a rule."""
    Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))


def _check_length(role: str, policy: object) -> None:
    text = json.dumps(_with_longest_values(policy), separators=(",", ":"))
    if (count := len(re.sub(r"\s", "", text))) > MAX_POLICY_CHARACTERS:
        raise InvalidConfig(
            f"settings.rules.repositories: got patterns that make {count} characters of policy for {role}, want "
            f"{MAX_POLICY_CHARACTERS} at most, which is the limit of IAM; use fewer or shorter patterns"
        )


def _with_longest_values(value: object) -> object:
    """Replace values known only at deployment by text of the greatest length they can have."""
    match value:
        case {"Ref": str(name)}:
            return "x" * _LONGEST.get(name, _LONGEST_NAME)
        case {"Fn::GetAtt": _}:
            return "x" * _LONGEST_NAME
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(str(_with_longest_values(part)) for part in parts)
        case dict():
            return {name: _with_longest_values(item) for name, item in value.items()}
        case list():
            return [_with_longest_values(item) for item in value]
        case _:
            return value


def _as_nag_shows(value: object) -> str:
    match value:
        case str():
            return value
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(_as_nag_shows, parts))
        case _:
            raise TypeError(f"a resource of a policy: got {value!r}, want text, Ref, Fn::GetAtt or Fn::Join")
