"""The stack: composes the constructs."""

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
    """One index builder for one account and region. Nothing in it has a name that a second stack would need."""

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
        self._tell_machine(
            workflows.index_image, "Indexes an image by hand: start it with its repository and tag"
        )
        self._tell_machine(workflows.reindex_repositories, "Indexes what repositories hold already")
        for name, (value, what) in {
            "UndeliveredUrl": (
                undelivered.queue.queue_url,
                "The queue of events that could not be delivered",
            ),
            "ZtocTableName": (functions.ztoc_table.table.table_name, "The table of zTOCs that were made"),
            "OutcomeRecorderArn": (
                functions.outcome_recorder.function_arn,
                "Records what came of an image",
            ),
        }.items():
            CfnOutput(self, name, value=value, description=f"{what}: see docs/operations.md")

    def _tell_machine(self, machine: sfn.StateMachine, description: str) -> None:
        name = machine.node.id
        CfnOutput(self, f"{name}Arn", value=machine.state_machine_arn, description=description)
        CfnOutput(self, f"{name}Name", value=machine.state_machine_name)
