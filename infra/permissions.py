"""Roles with what they need and no more; what has to stay wide says why beside it.

A pattern of the rules is a pattern of an ARN just so: IAM knows `*` and `?` and means the same by them.
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
"""IAM's limit on all inline policies of a role; white space does not count."""

_LONGEST = {"AWS::Partition": len("aws-us-gov"), "AWS::Region": len("ap-southeast-1"), "AWS::AccountId": 12}
_LONGEST_NAME = 220
"""Of what has its name from the deployment: the log group's ARN, with the longest name of a stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Actions on resources. A resource with a wildcard needs a reason."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why_wide: str = ""
    denied: bool = False
    conditions: Mapping[str, object] = field(default_factory=dict, hash=False)

    def statement(self) -> iam.PolicyStatement:
        """Return it as a statement of a policy."""
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
    why_wide="ecr:GetAuthorizationToken is of the registry and takes no resource.",
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
    why_wide="The actions by which Step Functions sets up the delivery of its logs take no resource.",
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
    why_wide="Lambda makes network interfaces in the VPC, whose names are not known before, with this role.",
)

_READ = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_UPLOAD = ("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload")


def reading(repositories: NamePatterns) -> list[Grant]:
    """Grant reading images of the chosen repositories."""
    return [LOGIN, *_on(repositories, _READ)]


def uploading(repositories: NamePatterns) -> list[Grant]:
    """Grant adding blobs, which nobody sees before a manifest names them."""
    return [LOGIN, *_on(repositories, (*_READ, *_UPLOAD))]


def publishing(repositories: NamePatterns) -> list[Grant]:
    """Grant adding blobs, manifests and tags."""
    return [LOGIN, *_on(repositories, (*_READ, *_UPLOAD, "ecr:PutImage"))]


def listing(repositories: NamePatterns) -> list[Grant]:
    """Grant listing images of the chosen repositories, and the names of all."""
    return [
        LOGIN,
        Grant(
            actions=("ecr:DescribeRepositories",),
            resources=(repository_arn("*"),),
            why_wide="Listing repositories asks for the right to list all; what it gives is names.",
        ),
        *_on(repositories, (*_READ, "ecr:DescribeImages")),
    ]


def using_key(key_arn: str, actions: tuple[str, ...], *, service: str) -> Grant:
    """Grant a service of AWS the use of a key in the name of the role; by itself the role cannot use it."""
    # Services name themselves to KMS with the domain of the partition, and documents differ on that of China.
    via = {"StringLike": {"kms:ViaService": f"{service}.{Aws.REGION}.*"}}
    return Grant(actions=actions, resources=(key_arn,), conditions=via)


def telling() -> list[Grant]:
    """Grant telling the account's default event bus what came of images."""
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
        why_wide="The rules choose repositories by such a pattern.",
    )
    if not repositories.exclude:
        return [granted]
    excluded = Grant(actions=actions, resources=tuple(map(repository_arn, repositories.exclude)), denied=True)
    return [granted, excluded]


def role_for(scope: Construct, name: str, service: str, grants: Sequence[Grant]) -> iam.Role:
    """Make a role that a service of this account assumes, with all it may do in one inline policy.

    Raises:
        InvalidConfig: the policy is longer than IAM takes; only patterns of repositories can make it so.
    """
    principal = iam.ServicePrincipal(service)
    if service != "lambda.amazonaws.com":  # Lambda does not say for whose function it assumes a role
        principal = iam.ServicePrincipal(
            service, conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
        )
    policy = iam.PolicyDocument(statements=[grant.statement() for grant in grants])
    _check_length(name, Stack.of(scope).resolve(policy))
    role = iam.Role(scope, name, assumed_by=principal, inline_policies={"Permissions": policy})
    acknowledge_wide(role, grants)
    return role


def acknowledge_wide(construct: Construct, grants: Iterable[Grant]) -> None:
    """Tell cdk-nag the reason of every resource with a wildcard."""
    reasons = defaultdict(list)
    for grant in grants:
        for resource in grant.resources:
            shown = _as_nag_shows(Stack.of(construct).resolve(resource))
            if "*" in shown and not grant.denied:
                reasons[shown].append(grant.why_wide)
    for shown, whys in reasons.items():
        acknowledge(construct, f"AwsSolutions-IAM5[Resource::{shown}]", " ".join(dict.fromkeys(whys)))


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Tell cdk-nag why a rule does not hold for a construct."""
    Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))


def _check_length(role: str, policy: object) -> None:
    text = json.dumps(_written_out(policy), separators=(",", ":"))
    if (count := len(re.sub(r"\s", "", text))) > MAX_POLICY_CHARACTERS:
        raise InvalidConfig(
            f"settings.rules.repositories: got patterns that make {count} characters of policy for {role}, want "
            f"{MAX_POLICY_CHARACTERS} at most, which is what IAM takes; fewer or shorter patterns make it smaller"
        )


def _written_out(value: object) -> object:
    """Put as many characters as a deployment may have in the place of what only that knows."""
    match value:
        case {"Ref": str(name)}:
            return "x" * _LONGEST.get(name, _LONGEST_NAME)
        case {"Fn::GetAtt": _}:
            return "x" * _LONGEST_NAME
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(str(_written_out(part)) for part in parts)
        case dict():
            return {name: _written_out(item) for name, item in value.items()}
        case list():
            return [_written_out(item) for item in value]
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
