"""Log groups of functions and state machines, with retention and encryption. They are deleted with the stack."""

from __future__ import annotations

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import Deployment


def log_group_for(
    scope: Construct, name: str, path: str, *, deployment: Deployment, key: kms.IKey | None
) -> logs.LogGroup:
    """Create a log group. `{stack}` in the path becomes the stack's name."""
    group = logs.LogGroup(
        scope,
        name,
        log_group_name=path.format(stack=Stack.of(scope).stack_name),
        encryption_key=key,
        removal_policy=RemovalPolicy.DESTROY,  # a leftover group would block a new stack of the same name
    )
    resource = group.node.default_child
    assert isinstance(resource, logs.CfnLogGroup)  # noqa: S101 - tells the type checker
    resource.retention_in_days = deployment.log_retention_days
    return group
