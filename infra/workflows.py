"""The two state machines: the documents of `infra.states` with roles, logs and traces.

The template holds each definition as `DefinitionString`, with references for ARNs. The logical IDs of machines and
functions are their names here (IndexImage, ReindexRepositories, ImageFilter, IndexLayer, PublishIndex, ImageLister,
OutcomeRecorder), so that a reader of the template finds them.
"""

from __future__ import annotations

import json

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra import permissions, states
from infra.config import Deployment, FunctionSize
from infra.functions import Functions
from infra.log_groups import log_group_for
from infra.permissions import Grant


class Workflows(Construct):
    """IndexImage and ReindexRepositories."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        functions: Functions,
        deployment: Deployment,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, name)
        self._deployment = deployment
        self._key = key
        tasks = _tasks(functions, deployment)
        indexing = [
            functions.image_filter,
            functions.index_layer,
            functions.publish_index,
            functions.outcome_recorder,
        ]
        self.index_image = self._machine(
            "IndexImage",
            states.index_image(
                tasks,
                layers_at_a_time=deployment.layers_at_a_time,
                timeout_seconds=deployment.image_timeout_minutes * 60,
            ),
            calls=indexing,
        )
        self.reindex_repositories = self._machine(
            "ReindexRepositories",
            states.reindex_repositories(
                tasks,
                layers_at_a_time=deployment.layers_at_a_time,
                images_at_a_time=deployment.images_at_a_time,
                timeout_seconds=deployment.reindex_timeout_hours * 3600,
            ),
            calls=[*indexing, functions.image_lister],
        )
        self._allow_map_runs(self.reindex_repositories)

    def _machine(
        self, name: str, definition: states.State, *, calls: list[lambda_.Function]
    ) -> sfn.StateMachine:
        log_group = log_group_for(
            self,
            f"{name}Logs",
            f"/aws/vendedlogs/states/{{stack}}/{name}",  # each other path takes a line of a 5 KiB resource policy
            deployment=self._deployment,
            key=self._key,
        )
        role = permissions.role_for(
            self,
            f"{name}Role",
            "states.amazonaws.com",
            [
                Grant(
                    actions=("lambda:InvokeFunction",),
                    resources=tuple(function.function_arn for function in calls),
                ),
                permissions.LOG_DELIVERY,
                permissions.SAMPLED_TRACING,
            ],
        )
        machine = sfn.StateMachine(
            self,
            name,
            # Stack.to_json_string would drop nulls, but `"ResultPath": null` has a meaning.
            definition_body=sfn.DefinitionBody.from_string(json.dumps(definition)),
            role=role.without_policy_updates(),
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False),
            tracing_enabled=True,
        )
        resource = machine.node.default_child
        assert isinstance(resource, sfn.CfnStateMachine)  # noqa: S101 - tells the type checker
        resource.override_logical_id(name)
        return machine

    def _allow_map_runs(self, machine: sfn.StateMachine) -> None:
        """Let a machine start, watch and redrive the items of its distributed maps, which are executions."""
        executions = (
            f"arn:{Aws.PARTITION}:states:{Aws.REGION}:{Aws.ACCOUNT_ID}:execution:{machine.state_machine_name}"
        )
        grants = [
            Grant(actions=("states:StartExecution",), resources=(machine.state_machine_arn,)),
            Grant(
                actions=("states:DescribeExecution", "states:StopExecution"),
                resources=(f"{executions}:*",),
                why_wide="Executions of this machine: their names are not known in advance.",
            ),
            Grant(
                actions=("states:RedriveExecution",),
                resources=tuple(f"{executions}/{label}:*" for label in states.MAP_LABELS),
                why_wide="Items of this machine's maps: their names are not known in advance.",
            ),
        ]
        policy = iam.Policy(
            self,
            "MapRunsPolicy",
            statements=[grant.statement() for grant in grants],
            roles=[self._role_of(machine)],
        )
        permissions.acknowledge_wide(policy, grants)

    def _role_of(self, machine: sfn.StateMachine) -> iam.Role:
        role = self.node.find_child(f"{machine.node.id}Role")
        assert isinstance(role, iam.Role)  # noqa: S101 - tells the type checker
        return role


def _tasks(functions: Functions, deployment: Deployment) -> states.Tasks:
    return states.Tasks(
        partition=Aws.PARTITION,
        image_filter=_task(functions.image_filter, deployment.image_filter),
        index_layer=_task(functions.index_layer, deployment.index_layer),
        publish_index=_task(functions.publish_index, deployment.publish_index),
        image_lister=_task(functions.image_lister, deployment.image_lister),
        outcome_recorder=_task(functions.outcome_recorder, deployment.outcome_recorder),
    )


def _task(function: lambda_.Function, size: FunctionSize) -> states.Task:
    return states.Task(function_arn=function.function_arn, timeout_seconds=size.timeout_seconds)
