"""The stack, composed of the constructs of this package."""

from __future__ import annotations

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.config import Schedule, StackConfig
from infra.events import ImageEvents
from infra.functions import Functions
from infra.observability import Observability
from infra.packaging import Assets
from infra.reconcile import DailyReconcile
from infra.undelivered import Undelivered
from infra.workflows import Workflows


class SociStack(Stack):
    """An index builder for one account and region. No fixed names: a second stack can stand beside it."""

    def __init__(self, scope: Construct, *, config: StackConfig, assets: Assets) -> None:
        super().__init__(
            scope,
            "Soci",
            stack_name=config.stack_name,
            description="Builds SOCI indexes for the container images that are pushed to Amazon ECR",
        )
        deployment = config.deployment
        key = kms.Key.from_key_arn(self, "Key", deployment.kms_key_arn) if deployment.kms_key_arn else None
        undelivered = Undelivered(self, "Undelivered", key=key)
        functions = Functions(
            self,
            "Functions",
            assets=assets,
            settings=config.settings,
            deployment=deployment,
            undelivered=undelivered,
            key=key,
        )
        workflows = Workflows(self, "Workflows", functions=functions, deployment=deployment, key=key)
        ImageEvents(
            self,
            "ImageEvents",
            index_image=workflows.index_image,
            outcome_recorder=functions.outcome_recorder,
            undelivered=undelivered.queue,
            rules=config.settings.rules,
        )
        if deployment.reconcile.schedule is Schedule.DAILY:
            DailyReconcile(
                self,
                "Reconcile",
                reindex_repositories=workflows.reindex_repositories,
                undelivered=undelivered.queue,
                deployment=deployment,
            )
        Observability(
            self,
            "Observability",
            functions=functions,
            workflows=workflows,
            undelivered=undelivered.queue,
            config=config,
            key=key,
        )
        if deployment.permissions_boundary_arn:
            boundary = iam.ManagedPolicy.from_managed_policy_arn(
                self, "Boundary", deployment.permissions_boundary_arn
            )
            iam.PermissionsBoundary.of(self).apply(boundary)
        self._add_outputs(functions, workflows, undelivered)

    def _add_outputs(self, functions: Functions, workflows: Workflows, undelivered: Undelivered) -> None:
        self._output_machine(workflows.index_image, "Indexes one image: start it with a repository and tag")
        self._output_machine(
            workflows.reindex_repositories, "Indexes the images that repositories already hold"
        )
        for name, (value, what) in {
            "UndeliveredUrl": (
                undelivered.queue.queue_url,
                "The queue of undelivered events",
            ),
            "ZtocTableName": (functions.ztoc_table.table.table_name, "The table of zTOCs"),
            "OutcomeRecorderArn": (
                functions.outcome_recorder.function_arn,
                "Records the outcome of an image",
            ),
        }.items():
            CfnOutput(self, name, value=value, description=f"{what}: see docs/operations.md")

    def _output_machine(self, machine: sfn.StateMachine, description: str) -> None:
        name = machine.node.id
        CfnOutput(self, f"{name}Arn", value=machine.state_machine_arn, description=description)
        CfnOutput(self, f"{name}Name", value=machine.state_machine_name)
