"""The Lambda functions, what they share, and the role of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import permissions
from infra.config import Deployment, FunctionSize, InvalidConfig, Network
from infra.packaging import Assets
from infra.permissions import Grant
from soci.service.configuration import Configuration

MAX_SETTINGS_BYTES = 3584
"""Lambda takes 4 KiB of environment in all."""

RUNTIME = lambda_.Runtime.PYTHON_3_13


class Functions(Construct):
    """Four functions: what to index, one layer, the whole index, and pages of images for a re-index."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        assets: Assets,
        settings: Configuration,
        deployment: Deployment,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, name)
        self._deployment = deployment
        self._key = key
        self._assets = assets
        self._environment = {
            "SOCI_SETTINGS": compact_settings(settings),
            "SOCI_REGISTRY": f"{Aws.ACCOUNT_ID}.dkr.ecr.{Aws.REGION}.{Aws.URL_SUFFIX}",
        }
        self._architecture = lambda_.Architecture.custom(deployment.lambda_architecture)
        self._layers = [
            self._layer("CoreLayer", assets.core_layer, "soci: the core of the SOCI index builder"),
            self._layer("DependenciesLayer", assets.dependencies_layer, "What the core needs at run time"),
        ]
        repositories = settings.rules.repositories
        self.image_filter = self._function(
            "ImageFilter",
            "Decides whether an image is indexed, and which layers of it",
            "image_filter",
            size=deployment.image_filter,
            grants=permissions.reading(repositories),
        )
        self.index_layer = self._function(
            "IndexLayer",
            "Indexes one layer and pushes its zTOC",
            "index_builder",
            handler="handler.index_layer",
            size=deployment.index_layer,
            grants=permissions.uploading(repositories),
        )
        self.publish_index = self._function(
            "PublishIndex",
            "Publishes the index of an image and reads it back",
            "index_builder",
            handler="handler.publish_index",
            size=deployment.publish_index,
            grants=permissions.publishing(repositories),
        )
        self.image_lister = self._function(
            "ImageLister",
            "Lists images to index again, page by page",
            "image_lister",
            size=deployment.image_lister,
            grants=permissions.listing(repositories),
        )

    def _layer(self, name: str, folder: Path, description: str) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            self,
            name,
            code=lambda_.Code.from_asset(str(folder)),
            compatible_runtimes=[RUNTIME],
            compatible_architectures=[self._architecture],
            description=description,
        )

    def _function(
        self,
        name: str,
        description: str,
        folder: str,
        *,
        size: FunctionSize,
        grants: Sequence[Grant],
        handler: str = "handler.handler",
    ) -> lambda_.Function:
        log_group = log_group_for(
            self, f"{name}Logs", f"/aws/lambda/{{stack}}/{name}", deployment=self._deployment, key=self._key
        )
        in_vpc = bool(self._deployment.vpc.subnet_ids)
        role = permissions.role_for(
            self,
            f"{name}Role",
            "lambda.amazonaws.com",
            [
                *grants,
                Grant(
                    actions=("logs:CreateLogStream", "logs:PutLogEvents"),
                    resources=(log_group.log_group_arn,),
                ),
                permissions.TRACING,
                *([permissions.NETWORK_INTERFACES] if in_vpc else []),
                *([Grant(actions=("kms:Decrypt",), resources=(self._key.key_arn,))] if self._key else []),
            ],
        )
        function = lambda_.Function(
            self,
            name,
            description=description,
            code=lambda_.Code.from_asset(str(self._assets.functions[folder])),
            handler=handler,
            runtime=RUNTIME,
            architecture=self._architecture,
            layers=self._layers,
            memory_size=size.memory_mib,
            timeout=Duration.seconds(size.timeout_seconds),
            reserved_concurrent_executions=size.reserved_concurrency,
            environment=self._environment,
            environment_encryption=self._key,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            role=role.without_policy_updates(),
        )
        resource = function.node.default_child
        assert isinstance(resource, lambda_.CfnFunction)  # noqa: S101 - tells the type checker
        resource.override_logical_id(name)
        if in_vpc:
            resource.vpc_config = _vpc_config(self._deployment.vpc)
        permissions.acknowledge(
            function,
            "AwsSolutions-L1",
            "The wheels of the layer are built and tested for this version of Python, which AWS maintains until 2029.",
        )
        return function


def compact_settings(settings: Configuration) -> str:
    """Return the settings as the functions read them.

    Raises:
        InvalidConfig: they do not fit into a function's environment.
    """
    text = json.dumps(settings.to_document(), ensure_ascii=False, separators=(",", ":"))
    if (size := len(text.encode())) > MAX_SETTINGS_BYTES:
        raise InvalidConfig(
            f"settings: {size} bytes of JSON, want {MAX_SETTINGS_BYTES} at most, which is what fits into a function's "
            "environment; fewer or shorter patterns and prefetch_files make them smaller"
        )
    return text


def log_group_for(
    scope: Construct, name: str, path: str, *, deployment: Deployment, key: kms.IKey | None
) -> logs.LogGroup:
    """Make a log group that goes with the stack. `{stack}` in the path becomes the stack's name."""
    group = logs.LogGroup(
        scope,
        name,
        log_group_name=path.format(stack=Stack.of(scope).stack_name),
        encryption_key=key,
        removal_policy=RemovalPolicy.DESTROY,  # else a stack of the same name could not be made again
    )
    resource = group.node.default_child
    assert isinstance(resource, logs.CfnLogGroup)  # noqa: S101 - tells the type checker
    resource.retention_in_days = deployment.log_retention_days
    return group


def _vpc_config(vpc: Network) -> lambda_.CfnFunction.VpcConfigProperty:
    return lambda_.CfnFunction.VpcConfigProperty(
        subnet_ids=[*vpc.subnet_ids], security_group_ids=[*vpc.security_group_ids]
    )
