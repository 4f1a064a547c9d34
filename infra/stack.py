"""The stack: composes the constructs and makes the grants between them."""

from __future__ import annotations

from aws_cdk import Stack
from constructs import Construct

from infra.config import StackConfig


class SociStack(Stack):
    """One index builder for one account and region. It holds no resources yet."""

    def __init__(self, scope: Construct, *, config: StackConfig) -> None:
        super().__init__(
            scope,
            "Soci",
            stack_name=config.stack_name,
            description="Builds SOCI indexes for the container images that are pushed to Amazon ECR",
        )
