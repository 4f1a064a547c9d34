"""Stacks for the tests: synthesized once for each context, with placeholders for the packaged assets."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App
from aws_cdk.assertions import Template

from infra.config import StackConfig
from infra.packaging import Assets
from infra.stack import SociStack

ACCOUNT = "123456789012"
REGION = "eu-central-1"
KEY_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
TOPIC_ARN = f"arn:aws:sns:{REGION}:{ACCOUNT}:on-call"
BOUNDARY_ARN = f"arn:aws:iam::{ACCOUNT}:policy/boundary"

NARROW = {"rules": {"repositories": {"include": ["team/*", "shop-?"], "exclude": ["team/lambda-*"]}}}
"""Settings that choose repositories."""

EVERYTHING = {
    "settings": NARROW,
    "deployment": {
        "permissions_boundary_arn": BOUNDARY_ARN,
        "kms_key_arn": KEY_ARN,
        "log_retention_days": 30,
        "vpc": {"subnet_ids": ["subnet-0123456789abcdef0"], "security_group_ids": ["sg-0123456789abcdef0"]},
        "index_layer": {"memory_mib": 10240, "timeout_seconds": 800, "reserved_concurrency": 40},
        "lambda_architecture": "x86_64",
        "layers_at_a_time": 3,
        "images_at_a_time": 7,
        "reconcile": {"hour_utc": 22, "days": 14},
        "alarms": {"email": "ops@example.com", "topic_arn": TOPIC_ARN, "push_to_index_minutes": 10},
    },
}
"""A context that sets every option of a deployment."""


def make_stack(context: Mapping[str, Any]) -> SociStack:
    folder = Path(tempfile.mkdtemp())
    functions = ("image_filter", "index_builder", "image_lister", "outcome_recorder")
    for name in ("dependencies", "core", *functions):
        (folder / name).mkdir()
        (folder / name / "handler.py").write_text(f"# {name}\n")
    assets = Assets(
        dependencies_layer=folder / "dependencies",
        core_layer=folder / "core",
        functions={name: folder / name for name in functions},
    )
    app = App(outdir=str(folder / "cdk.out"))
    return SociStack(app, config=StackConfig.from_context(context), assets=assets)


def template_of(context: Mapping[str, Any]) -> dict[str, Any]:
    """The template as plain JSON. It is shared, so do not change it."""
    return _template(json.dumps(context, sort_keys=True))


@functools.cache
def _template(context: str) -> dict[str, Any]:
    return dict(Template.from_stack(make_stack(json.loads(context))).to_json())


def resources(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a kind, by logical ID."""
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of a role's policies, with the logical ID of the role or policy it stands in."""
    for name, role in resources(template, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            yield from ((name, statement) for statement in policy["PolicyDocument"]["Statement"])
    for name, policy in resources(template, "AWS::IAM::Policy").items():
        yield from ((name, statement) for statement in policy["PolicyDocument"]["Statement"])


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def resolved(value: Any, *, partition: str = "aws") -> str:
    """A value of the template as text, as it would be in a deployed stack."""
    pseudo = {
        "AWS::Partition": partition,
        "AWS::Region": REGION,
        "AWS::AccountId": ACCOUNT,
        "AWS::URLSuffix": "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com",
    }
    match value:
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(resolved(part, partition=partition) for part in parts)
        case {"Ref": name} if name in pseudo:
            return pseudo[name]
        case {"Ref": name} | {"Fn::GetAtt": [name, "Arn"]}:
            return f"arn:{partition}:lambda:{REGION}:{ACCOUNT}:function:{name}"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{name}.{attribute}"
    assert isinstance(value, str)
    return value


def definition(template: dict[str, Any], machine: str) -> dict[str, Any]:
    text = resources(template, "AWS::StepFunctions::StateMachine")[machine]["DefinitionString"]
    return dict(json.loads(resolved(text)))


def all_states(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every state of a machine by its name, those inside of others too."""
    for name, state in machine["States"].items():
        yield name, state
        for inner in [
            *state.get("Branches", []),
            *([state["ItemProcessor"]] if "ItemProcessor" in state else []),
        ]:
            yield from all_states(inner)
