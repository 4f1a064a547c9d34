"""The dashboard and the alarms, compared with the metrics that the functions write."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import pytest

from infra.config import Deployment, StackConfig
from local.system.template import Template
from soci.errors import InvalidOption, RegistryUnavailable
from soci.service import metrics
from soci.service.cost import FunctionSizes
from soci.service.outcome.log_line import known_reasons, outcome_line
from soci.service.outcome.record import parse_record
from soci.service.outcomes import ImageReason, Outcome
from soci.service.reindex.step import metrics_of
from tests.infra.stacks import EVERYTHING, KEY_ARN, TOPIC_ARN, resources, template_of

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
STACK = "soci-index-builder"
OF_AWS = {
    "AWS/States": {"ExecutionsFailed", "ExecutionsTimedOut"},
    "AWS/Lambda": {"Duration", "DeadLetterErrors"},
    "AWS/SQS": {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"},
    "AWS/Events": {"InvocationsFailedToBeSentToDlq"},
}
"""Documented metrics of AWS that this stack uses."""

LIST_PRICES = {"alarm": 0.10, "dashboard": 3.00, "metric": 0.30}
"""US dollars per month, us-east-1, 2026."""


def resolved(context):
    return _resolved(json.dumps(context, sort_keys=True))


@functools.cache  # the names of what is deployed differ each time
def _resolved(context):
    name = StackConfig.from_context(json.loads(context)).stack_name
    return Template(template_of(json.loads(context)), stack_name=name)


def widgets(context=None):
    (dashboard,) = resolved(context or {}).of_type("AWS::CloudWatch::Dashboard")
    return json.loads(dashboard.properties["DashboardBody"])["widgets"]


def alarms(context=None):
    """The properties of the alarms, by their names in the manual."""
    return {
        alarm.properties["AlarmName"].removeprefix(f"{STACK}-"): alarm.properties
        for alarm in resolved(context or {}).of_type("AWS::CloudWatch::Alarm")
    }


def drawn():
    """The metrics that the dashboard draws: namespace, name, and the names of the dimensions."""
    for widget in widgets():
        for line in widget["properties"].get("metrics", ()):
            if isinstance(line[0], str):
                namespace, name, *pairs, _ = line
                yield namespace, name, frozenset(pairs[::2])
            elif line[0]["expression"].startswith("SEARCH"):
                yield searched(line[0]["expression"])


def searched(expression):
    found = re.fullmatch(
        r"SEARCH\('\{(.+?)\} MetricName=\"(\w+)\"((?: \w+=\"[^\"]+\")*)', 'Sum', 300\)", expression
    )
    assert found is not None, expression
    namespace, *dimensions = found[1].split(",")
    assert set(re.findall(r"(\w+)=", found[3])) <= set(dimensions)
    return namespace, found[2], frozenset(dimensions)


def watched(context=None):
    """The metrics that alarms watch, in the same form."""
    for alarm in alarms(context).values():
        queries = [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", ()) if "MetricStat" in one]
        for metric in queries or [alarm]:
            names = frozenset(dimension["Name"] for dimension in metric["Dimensions"])
            yield metric["Namespace"], metric["MetricName"], names


def outcome_lines():
    """The log lines about images, one for every outcome and reason."""
    sizes = FunctionSizes(
        architecture="arm64", image_filter=1, index_layer=1, publish_index=1, outcome_recorder=1
    )
    execution = {"id": "a:b", "started_at": "2026-01-31T00:00:00Z", "ended_at": "2026-01-31T00:01:00Z"}
    image = {"repository": "app", "tag": "1", "origin": "push", "pushed_at": "2026-01-31T00:00:00Z"}
    results = [
        {"result": {**image, "outcome": str(outcome), "reason": str(reason)}, "execution": execution}
        for outcome in Outcome
        for reason in ImageReason
    ]
    failure = {"Error": RegistryUnavailable.__name__, "Cause": "no answer"}
    failed = {"request": image, "error": failure, "execution": execution}
    return [outcome_line(parse_record(one), stack=STACK, sizes=sizes) for one in [*results, failed]]


def told():
    """The metrics that the functions write into their logs, in the same form."""
    search: dict[str, object] = {
        "request": {"repositories": ["*"], "scheduled": True},
        "summary": {"outcomes": {"indexed": 2}},
        "done": True,
    }
    for line in [*outcome_lines(), metrics_of({}, search, stack=STACK, timestamp_ms=0)]:
        for directive in line["_aws"]["CloudWatchMetrics"]:
            for metric in directive["Metrics"]:
                for names in directive["Dimensions"]:
                    assert {*names} <= line.keys()
                    yield directive["Namespace"], metric["Name"], frozenset(names)


def declared():
    return {
        (metrics.NAMESPACE, metric.name, frozenset(map(str, names)))
        for metric in metrics.METRICS
        for names in metric.dimensions
    }


def own(series):
    return {one for one in series if one[0] == metrics.NAMESPACE}


def test_dashboard_and_alarms_use_only_metrics_that_the_functions_write():
    assert own(drawn()) <= set(told())
    assert own(watched()) <= set(told())


def test_the_functions_write_exactly_the_declared_metrics():
    assert set(told()) == declared()


def test_every_declared_metric_is_drawn():
    assert {name for _, name, _ in own(drawn())} == {metric.name for metric in metrics.METRICS}


def test_only_documented_metrics_of_aws_are_used():
    others = {*drawn(), *watched(EVERYTHING)} - declared()

    assert {name for _, name, _ in others if name not in set().union(*OF_AWS.values())} == set()
    assert {namespace for namespace, _, _ in others} == set(OF_AWS)


def test_the_dashboard_draws_exactly_the_possible_outcomes():
    outcomes = {
        line[line.index("outcome") + 1]
        for widget in widgets()
        for line in widget["properties"].get("metrics", ())
        if "outcome" in line
    }

    assert outcomes == set(map(str, Outcome))


def test_reasons_are_few_enough_for_metrics():
    assert len(known_reasons()) < 100


def test_widgets_lie_side_by_side_without_gaps():
    places = [(one["x"], one["y"], one["width"], one["height"]) for one in widgets()]
    taken = [(x + i, y + j) for x, y, width, height in places for i in range(width) for j in range(height)]

    assert len(taken) == len(set(taken)) == 24 * max(y + height for _, y, _, height in places)


def test_the_dashboard_names_what_is_deployed():
    template = resolved({})
    text = json.dumps(widgets())

    for kind in ("AWS::Lambda::Function", "AWS::SQS::Queue"):
        assert all(resource.name in text for resource in template.of_type(kind))
    for alarm in template.of_type("AWS::CloudWatch::Alarm"):
        assert alarm.arn in text


@pytest.mark.parametrize(
    "expected", ["Skipped, by reason", "Failed, by reason", "Not delivered", "Layers, bytes"]
)
def test_the_dashboard_answers_what_is_asked_first(expected):
    assert expected in {widget["properties"]["title"] for widget in widgets()}


def test_every_alarm_is_explained_in_the_manual():
    headings = set(re.findall(r"^### (\w+)$", OPERATIONS.read_text(), re.MULTILINE))

    assert headings == set(alarms())
    for name, alarm in alarms().items():
        assert alarm["AlarmDescription"].endswith(f" See docs/operations.md, {name}.")


def test_no_news_is_good_news_but_of_a_queue_and_one_bad_period_is_enough():
    for name, alarm in alarms().items():
        expected = "ignore" if name == "EventsNotDelivered" else "notBreaching"
        assert alarm["TreatMissingData"] == expected
        assert alarm["EvaluationPeriods"] == 1
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"


def test_limits_come_from_the_deployment():
    limits = {name: alarm["Threshold"] for name, alarm in alarms(EVERYTHING).items()}

    assert limits["SlowIndexing"] == 600
    assert limits["IndexLayerNearTimeout"] == 640_000  # milliseconds, of 800 seconds
    assert limits["PublishIndexNearTimeout"] == 480_000


def test_an_alarm_on_several_metrics_watches_their_sum():
    total, *parts = alarms()["EventsLost"]["Metrics"]

    assert (total["Expression"], total["ReturnData"]) == ("SUM(FILL(METRICS(), 0))", True)
    assert not any(part["ReturnData"] for part in parts)
    *rules, recorder = (part["MetricStat"]["Metric"] for part in parts)
    names = {rule["Dimensions"][0]["Value"] for rule in rules}
    assert names == {rule.name for rule in resolved({}).of_type("AWS::Events::Rule")}
    (queued,) = (
        one for one in resolved({}).of_type("AWS::Lambda::Function") if "DeadLetterConfig" in one.properties
    )
    assert recorder["MetricName"] == "DeadLetterErrors"
    assert recorder["Dimensions"] == [{"Name": "FunctionName", "Value": queued.name}]


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({}, True),
        ({"deployment": {"reconcile": {"schedule": "off"}}}, False),
        ({"settings": {"tagging": {"policy": "digest-only"}}}, True),
        ({"settings": {"tagging": {"policy": "digest-only"}, "index": {"version": "v1"}}}, True),
    ],
    ids=["defaults", "no search", "no tag leads to an index", "version 1"],
)
def test_missed_images_are_an_alarm_wherever_there_is_a_search(context, expected):
    assert ("ImagesMissed" in alarms(context)) is expected


def test_by_default_there_is_no_topic_and_nobody_is_notified():
    template = template_of({})

    assert not resources(template, "AWS::SNS::Topic")
    assert all(alarm["AlarmActions"] == [] for alarm in alarms().values())


def test_a_given_address_and_a_given_topic_are_notified():
    template = resolved(EVERYTHING)
    (topic,) = template.of_type("AWS::SNS::Topic")
    (subscription,) = template.of_type("AWS::SNS::Subscription")

    assert (subscription.properties["Protocol"], subscription.properties["Endpoint"]) == (
        "email",
        "ops@example.com",
    )
    for alarm in alarms(EVERYTHING).values():
        assert alarm["AlarmActions"] == [TOPIC_ARN, topic.arn]


def test_the_topic_is_encrypted_with_the_chosen_key_and_takes_alarms_of_this_account_alone():
    template = template_of(EVERYTHING)
    (topic,) = resources(template, "AWS::SNS::Topic").values()
    (policy,) = resources(template, "AWS::SNS::TopicPolicy").values()
    conditions = {one["Effect"]: one["Condition"] for one in policy["PolicyDocument"]["Statement"]}
    (allowed,) = (one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow")

    assert topic["KmsMasterKeyId"] == KEY_ARN
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert conditions == {
        "Allow": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
        "Deny": {"Bool": {"aws:SecureTransport": "false"}},
    }


def test_dashboard_and_alarms_can_be_left_out():
    template = template_of({"deployment": {"dashboard": False, "alarms": {"enabled": False}}})

    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert not kinds & {"AWS::CloudWatch::Dashboard", "AWS::CloudWatch::Alarm", "AWS::SNS::Topic"}


def test_a_dashboard_without_alarms_has_no_row_for_them():
    shown = widgets({"deployment": {"alarms": {"enabled": False}}})

    assert {widget["type"] for widget in shown} == {"metric"}
    assert min(widget["y"] for widget in shown) == 0


def test_names_differ_between_stacks_and_between_regions():
    template = template_of({})
    (dashboard,) = resources(template, "AWS::CloudWatch::Dashboard").values()
    others = resources(template_of({"stack_name": "other"}), "AWS::CloudWatch::Alarm").values()

    assert {"Ref": "AWS::Region"} in dashboard["DashboardName"]["Fn::Join"][1]
    assert not {alarm["AlarmName"] for alarm in others} & {f"{STACK}-{name}" for name in alarms()}


def test_queries_read_the_log_of_outcomes_by_fields_that_it_has():
    template = resolved({})
    (log,) = (one for one in template.of_type("AWS::Logs::LogGroup") if "OutcomeRecorder" in one.name)
    line = outcome_lines()[0]
    for query in template.of_type("AWS::Logs::QueryDefinition"):
        fields, filter_, *_ = query.properties["QueryString"].split("\n")
        assert query.properties["LogGroupNames"] == [log.name]
        assert set(re.findall(r"\w+", fields)[1:]) - {"timestamp"} <= line.keys()
        assert 'message = "outcome"' in filter_


def test_the_cost_in_the_manual_is_correct():
    watched_metrics = len([*watched()])
    told_of_a_stack = {one for one in told() if "reason" not in one[2]}
    text = OPERATIONS.read_text()

    assert f"| alarms, {watched_metrics} metrics | {watched_metrics * LIST_PRICES['alarm']:.2f} |" in text
    assert f"| the dashboard | {LIST_PRICES['dashboard']:.2f} |" in text
    ever = len(told_of_a_stack) - 1 + len(Outcome)
    assert (
        f"| metrics, {ever} and one per reason | {ever * LIST_PRICES['metric']:.2f} and 0.30 each |" in text
    )


def test_an_address_without_alarms_is_refused_by_its_path():
    document = {"alarms": {"enabled": False, "email": "ops@example.com"}}

    with pytest.raises(InvalidOption, match=r"deployment\.alarms\.email: got ops@example\.com, want null"):
        Deployment.from_document(document, "deployment")
