"""The dashboard, the alarms with their topic, and queries for the log of outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Aws, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.alarms import Alarm, alarms
from infra.config import Deployment, Schedule, StackConfig
from infra.dashboard import dashboard
from infra.functions import Functions
from infra.watched import Series, Watched, WatchedFunction
from infra.workflows import Workflows

QUERIES = {
    "What came of images": "fields @timestamp, outcome, reason, repository, tag, new_tag, seconds_since_push\n"
    '| filter message = "outcome"\n| sort @timestamp desc\n| limit 200',
    "Failed images": "fields @timestamp, repository, tag, image_digest, reason_text, detail, execution\n"
    '| filter message = "outcome" and outcome = "failed"\n| sort @timestamp desc\n| limit 200',
}
"""Queries for CloudWatch Logs Insights by name. They cost nothing until run."""


class Observability(Construct):
    """The dashboard and the alarms, if the deployment enables them, and the queries."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        functions: Functions,
        workflows: Workflows,
        undelivered: sqs.IQueue,
        config: StackConfig,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, name)
        self._key = key
        watched = _watched(self, functions, workflows, undelivered, config.deployment)
        self._stack = Stack.of(self)
        deployment = config.deployment
        limit = deployment.alarms.push_to_index_minutes
        made: list[cloudwatch.CfnAlarm] = []
        if deployment.alarms.enabled:
            topics = self._topics(deployment.alarms.email, deployment.alarms.topic_arn)
            is_searched = deployment.reconcile.schedule is not Schedule.OFF
            watches = alarms(watched, push_to_index_minutes=limit, is_searched=is_searched)
            made = [self._alarm(alarm, topics) for alarm in watches]
        if deployment.dashboard:
            body = dashboard(watched, alarm_arns=[one.attr_arn for one in made], push_to_index_minutes=limit)
            # Dashboards are global, so a stack of the same name in another region needs another name.
            cloudwatch.CfnDashboard(
                self,
                "Dashboard",
                dashboard_name=f"{self._stack.stack_name}-{Aws.REGION}",
                dashboard_body=self._stack.to_json_string(body),
            )
        for title, query in QUERIES.items():
            logs.CfnQueryDefinition(
                self,
                title.replace(" ", ""),
                name=f"{self._stack.stack_name}/{title}",
                log_group_names=[functions.outcome_recorder.log_group.log_group_name],
                query_string=query,
            )

    def _topics(self, email: str | None, topic_arn: str | None) -> list[str]:
        """Return the ARNs of the topics that alarms are published to."""
        topics = [topic_arn] if topic_arn else []
        if email:
            topic = sns.Topic(self, "Topic", master_key=self._key, enforce_ssl=True)
            topic.add_to_resource_policy(
                iam.PolicyStatement(
                    principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                    actions=["sns:Publish"],
                    resources=[topic.topic_arn],
                    conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
                )
            )
            sns.Subscription(
                self, "Email", topic=topic, protocol=sns.SubscriptionProtocol.EMAIL, endpoint=email
            )
            topics.append(topic.topic_arn)
        return topics

    def _alarm(self, alarm: Alarm, topics: Sequence[str]) -> cloudwatch.CfnAlarm:
        made = cloudwatch.CfnAlarm(
            self,
            alarm.name,
            alarm_name=f"{self._stack.stack_name}-{alarm.name}",
            alarm_description=f"{alarm.meaning} See docs/operations.md, {alarm.name}.",
            comparison_operator="GreaterThanOrEqualToThreshold",
            threshold=alarm.threshold,
            evaluation_periods=1,
            treat_missing_data="notBreaching" if alarm.is_silence_good else "ignore",
            alarm_actions=[*topics],
        )
        if len(alarm.series) == 1:
            _watch_one(made, alarm.series[0], alarm.period_seconds)
        else:
            made.metrics = [*_sum_of(alarm.series, alarm.period_seconds)]
        return made


def _watched(
    scope: Construct,
    functions: Functions,
    workflows: Workflows,
    undelivered: sqs.IQueue,
    deployment: Deployment,
) -> Watched:
    parts = {
        "ImageFilter": (functions.image_filter, deployment.image_filter),
        "IndexLayer": (functions.index_layer, deployment.index_layer),
        "PublishIndex": (functions.publish_index, deployment.publish_index),
        "ImageLister": (functions.image_lister, deployment.image_lister),
        "OutcomeRecorder": (functions.outcome_recorder, deployment.outcome_recorder),
    }
    stack = Stack.of(scope)
    return Watched(
        stack=stack.stack_name,
        region=Aws.REGION,
        index_image=workflows.index_image.state_machine_arn,
        reindex_repositories=workflows.reindex_repositories.state_machine_arn,
        functions={
            name: WatchedFunction(name=function.function_name, timeout_seconds=size.timeout_seconds)
            for name, (function, size) in parts.items()
        },
        undelivered=undelivered.queue_name,
        rules=tuple(one.rule_name for one in stack.node.find_all() if isinstance(one, events.Rule)),
    )


def _watch_one(made: cloudwatch.CfnAlarm, series: Series, period_seconds: int) -> None:
    made.namespace = series.namespace
    made.metric_name = series.metric
    made.dimensions = [
        cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value)
        for name, value in series.dimensions.items()
    ]
    made.period = period_seconds
    if series.statistic.startswith("p"):
        made.extended_statistic = series.statistic
    else:
        made.statistic = series.statistic


def _sum_of(many: Sequence[Series], period_seconds: int) -> list[cloudwatch.CfnAlarm.MetricDataQueryProperty]:
    """Return the sum of some series, each of which may have no data for months."""
    queries = [
        cloudwatch.CfnAlarm.MetricDataQueryProperty(
            id=f"m{number}",
            return_data=False,
            metric_stat=cloudwatch.CfnAlarm.MetricStatProperty(
                metric=cloudwatch.CfnAlarm.MetricProperty(
                    namespace=series.namespace,
                    metric_name=series.metric,
                    dimensions=[
                        cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value)
                        for name, value in series.dimensions.items()
                    ],
                ),
                period=period_seconds,
                stat=series.statistic,
            ),
        )
        for number, series in enumerate(many)
    ]
    total = cloudwatch.CfnAlarm.MetricDataQueryProperty(
        id="total", expression="SUM(FILL(METRICS(), 0))", return_data=True
    )
    return [total, *queries]
