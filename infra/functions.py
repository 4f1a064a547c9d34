"""The Lambda functions, their layers and their roles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aws_cdk import Aws, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import permissions
from infra.config import Deployment, FunctionSize, InvalidConfig, Network
from infra.log_groups import log_group_for
from infra.packaging import Assets
from infra.permissions import Grant
from infra.undelivered import Undelivered
from infra.ztoc_table import ZtocTable
from soci.service.settings.configuration import Configuration, NamePatterns

MAX_SETTINGS_BYTES = 3584
"""Lambda limits the whole environment to 4 KiB."""

RUNTIME = lambda_.Runtime.PYTHON_3_13


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The properties of one function."""

    description: str
    folder: str
    """In `lambdas`."""
    handler: str = "handler.handler"
    size: FunctionSize
    grants: Sequence[Grant]
    environment: Mapping[str, str] = field(default_factory=dict)
    """In addition to the variables of all functions."""
    dead_letters: sqs.IQueue | None = None
    """The queue for events of asynchronous invocations that failed."""


class Functions(Construct):
    """The five functions: ImageFilter, IndexLayer, PublishIndex, ImageLister and OutcomeRecorder."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        assets: Assets,
        settings: Configuration,
        deployment: Deployment,
        undelivered: Undelivered,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, name)
        self._assets = assets
        self._deployment = deployment
        self._key = key
        self._environment = {
            "SOCI_SETTINGS": compact_settings(settings),
            "SOCI_REGISTRY": f"{Aws.ACCOUNT_ID}.dkr.ecr.{Aws.REGION}.{Aws.URL_SUFFIX}",
            "SOCI_STACK": Stack.of(self).stack_name,
        }
        self._architecture = lambda_.Architecture.custom(deployment.lambda_architecture)
        self._layers = [
            self._layer("CoreLayer", assets.core_layer, "soci: the core of the SOCI index builder"),
            self._layer("DependenciesLayer", assets.dependencies_layer, "The dependencies of the core"),
        ]
        self.ztoc_table = ZtocTable(self, "Ztocs", key=key)
        parts = _parts(deployment, settings.rules.repositories, self.ztoc_table, undelivered)
        self.image_filter = self._function("ImageFilter", parts["ImageFilter"])
        self.index_layer = self._function("IndexLayer", parts["IndexLayer"])
        assert self.index_layer.role is not None  # noqa: S101 - tells the type checker
        self.ztoc_table.let_vouch(self.index_layer.role)
        self.publish_index = self._function("PublishIndex", parts["PublishIndex"])
        self.image_lister = self._function("ImageLister", parts["ImageLister"])
        self.outcome_recorder = self._function("OutcomeRecorder", parts["OutcomeRecorder"])

    def _layer(self, name: str, folder: Path, description: str) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            self,
            name,
            code=lambda_.Code.from_asset(str(folder)),
            compatible_runtimes=[RUNTIME],
            compatible_architectures=[self._architecture],
            description=description,
        )

    def _function(self, name: str, part: Part) -> lambda_.Function:
        log_group = log_group_for(
            self, f"{name}Logs", f"/aws/lambda/{{stack}}/{name}", deployment=self._deployment, key=self._key
        )
        function = lambda_.Function(
            self,
            name,
            description=part.description,
            code=lambda_.Code.from_asset(str(self._assets.functions[part.folder])),
            handler=part.handler,
            runtime=RUNTIME,
            architecture=self._architecture,
            layers=self._layers,
            memory_size=part.size.memory_mib,
            timeout=Duration.seconds(part.size.timeout_seconds),
            reserved_concurrent_executions=part.size.reserved_concurrency,
            environment={**self._environment, **part.environment},
            environment_encryption=self._key,
            dead_letter_queue=part.dead_letters,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            role=self._role(f"{name}Role", part, log_group).without_policy_updates(),
        )
        resource = function.node.default_child
        assert isinstance(resource, lambda_.CfnFunction)  # noqa: S101 - tells the type checker
        resource.override_logical_id(name)
        resource.vpc_config = _vpc_config(self._deployment.vpc)
        permissions.acknowledge(
            function,
            "AwsSolutions-L1",
            "The wheels of the layer are built and tested for this version of Python, which AWS maintains until 2029.",
        )
        return function

    def _role(self, name: str, part: Part, log_group: logs.LogGroup) -> iam.Role:
        grants = [
            *part.grants,
            Grant(
                actions=("logs:CreateLogStream", "logs:PutLogEvents"), resources=(log_group.log_group_arn,)
            ),
            permissions.TRACING,
        ]
        if self._deployment.vpc.subnet_ids:
            grants.append(permissions.NETWORK_INTERFACES)
        if self._key:
            # Lambda decrypts the function's environment with it.
            grants.append(permissions.using_key(self._key.key_arn, ("kms:Decrypt",), service="lambda"))
        return permissions.role_for(self, name, "lambda.amazonaws.com", grants)


def _parts(
    deployment: Deployment, repositories: NamePatterns, ztoc_table: ZtocTable, undelivered: Undelivered
) -> dict[str, Part]:
    return {
        "ImageFilter": Part(
            description="Decides whether to index an image, and which of its layers",
            folder="image_filter",
            size=deployment.image_filter,
            grants=permissions.reading(repositories),
        ),
        "IndexLayer": Part(
            description="Indexes one layer and pushes its zTOC",
            folder="index_builder",
            handler="handler.index_layer",
            size=deployment.index_layer,
            grants=[*permissions.uploading(repositories), *ztoc_table.grants()],
            environment=ztoc_table.environment,
        ),
        "PublishIndex": Part(
            description="Publishes the index of an image and reads it back",
            folder="index_builder",
            handler="handler.publish_index",
            size=deployment.publish_index,
            grants=permissions.publishing(repositories),
        ),
        "ImageLister": Part(
            description="Lists images to index again, page by page",
            folder="image_lister",
            size=deployment.image_lister,
            grants=permissions.listing(repositories),
        ),
        "OutcomeRecorder": Part(
            description="Records the outcome of an image and sends it to EventBridge",
            folder="outcome_recorder",
            size=deployment.outcome_recorder,
            grants=[*permissions.sending_outcomes(), *undelivered.grants()],
            dead_letters=undelivered.queue,  # a rule also invokes it, asynchronously
            environment={"SOCI_FUNCTION_SIZES": _sizes(deployment)},
        ),
    }


def _sizes(deployment: Deployment) -> str:
    """Return the function sizes for the cost estimate of an outcome: see `soci.service.cost.FunctionSizes`."""
    sizes = {
        "architecture": str(deployment.lambda_architecture),
        "image_filter": deployment.image_filter.memory_mib,
        "index_layer": deployment.index_layer.memory_mib,
        "publish_index": deployment.publish_index.memory_mib,
        "outcome_recorder": deployment.outcome_recorder.memory_mib,
    }
    return json.dumps(sizes, separators=(",", ":"))


def compact_settings(settings: Configuration) -> str:
    """Return the settings as compact JSON for the functions.

    Raises:
        InvalidConfig: the settings do not fit into a function's environment.
    """
    text = json.dumps(settings.to_document(), ensure_ascii=False, separators=(",", ":"))
    if (size := len(text.encode())) > MAX_SETTINGS_BYTES:
        raise InvalidConfig(
            f"settings: {size} bytes of JSON, want {MAX_SETTINGS_BYTES} at most, which is what fits into a function's "
            "environment; use fewer or shorter patterns and prefetch_files"
        )
    return text


def _vpc_config(vpc: Network) -> lambda_.CfnFunction.VpcConfigProperty | None:
    if not vpc.subnet_ids:
        return None
    return lambda_.CfnFunction.VpcConfigProperty(
        subnet_ids=[*vpc.subnet_ids], security_group_ids=[*vpc.security_group_ids]
    )
