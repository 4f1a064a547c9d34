"""A CloudFormation template, resolved to the values that it would have after deployment.

It covers what the CDK writes for this stack: references, attributes, joins, substitutions, conditions and pseudo
parameters. Anything else raises an error that names it, so that no value stays unresolved.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.registry.push_events import ACCOUNT, REGION

__all__ = ["ACCOUNT", "REGION", "Resource", "Rule", "Target", "Template", "UnknownValue"]

Json = Any

_NOTHING = object()
"""The value of AWS::NoValue: the property is removed."""

_NAME_KEYS = (
    "FunctionName",
    "StateMachineName",
    "RoleName",
    "LogGroupName",
    "QueueName",
    "TopicName",
    "Name",
)

_ARNS = {
    "AWS::Lambda::Function": "lambda:{region_account}:function:{name}",
    "AWS::Lambda::LayerVersion": "lambda:{region_account}:layer:{name}:1",
    "AWS::StepFunctions::StateMachine": "states:{region_account}:stateMachine:{name}",
    "AWS::Events::Rule": "events:{region_account}:rule/{name}",
    "AWS::Logs::LogGroup": "logs:{region_account}:log-group:{name}:*",
    "AWS::SQS::Queue": "sqs:{region_account}:{name}",
    "AWS::SNS::Topic": "sns:{region_account}:{name}",
    "AWS::KMS::Key": "kms:{region_account}:key/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::CloudWatch::Alarm": "cloudwatch:{region_account}:alarm:{name}",
}
_REF_IS_ARN = {"AWS::Lambda::LayerVersion", "AWS::StepFunctions::StateMachine", "AWS::SNS::Topic"}


class UnknownValue(ValueError):
    """The template has a value that cannot be resolved here; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource with its resolved properties."""

    logical_id: str
    type: str
    name: str
    arn: str
    properties: Mapping[str, Json] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A target of a rule, and how its input is made; by default it is the event itself."""

    arn: str
    input: str | None = None
    input_path: str | None = None
    input_paths: Mapping[str, str] = field(default_factory=dict)
    input_template: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An EventBridge rule: its pattern as JSON, and its targets."""

    name: str
    pattern: str
    enabled: bool
    targets: tuple[Target, ...]


class Template:
    """A template's resources, by logical ID.

    Raises:
        UnknownValue: the template has an unknown function, reference or attribute.
    """

    def __init__(self, document: Mapping[str, Json], *, stack_name: str) -> None:
        self._document = document
        # As in CloudFormation, two stacks of one template share no names.
        self._suffix = secrets.token_hex(6)
        self._pseudo = {
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": stack_name,
            "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{stack_name}/{self._suffix}",
            "AWS::NoValue": _NOTHING,
        }
        raw: Mapping[str, Json] = document.get("Resources", {})
        self._conditions = document.get("Conditions", {})
        present = {key: r for key, r in raw.items() if self._holds(r.get("Condition"))}
        self._types = {key: str(resource["Type"]) for key, resource in present.items()}
        # A given name may contain other names, so every resource first gets a default name.
        self._names = {key: f"{stack_name}-{key}-{self._suffix}"[-64:].lstrip("-") for key in present}
        self._names |= {key: self._name_of(key, resource) for key, resource in present.items()}
        self.resources = {key: self._resolved(key, resource) for key, resource in present.items()}

    def of_type(self, type_: str) -> Iterator[Resource]:
        """Yield the resources of a type."""
        return (resource for resource in self.resources.values() if resource.type == type_)

    def by_arn(self, arn: str) -> Resource:
        """Find a resource. Raises UnknownValue."""
        for resource in self.resources.values():
            if arn in {resource.arn, f"{resource.arn}:$LATEST"}:
                return resource
        raise UnknownValue(f"no resource of the template has the ARN {arn}")

    def definitions(self) -> dict[str, Json]:
        """Return the definitions of state machines by logical ID."""
        found = {}
        for machine in self.of_type("AWS::StepFunctions::StateMachine"):
            text = machine.properties.get("DefinitionString") or json.dumps(machine.properties["Definition"])
            for key, value in machine.properties.get("DefinitionSubstitutions", {}).items():
                text = text.replace(f"${{{key}}}", str(value))
            found[machine.logical_id] = json.loads(text)
        return found

    def rules(self) -> tuple[Rule, ...]:
        """Return the rules with an event pattern."""
        return tuple(
            _rule(rule, json.dumps(rule.properties["EventPattern"]))
            for rule in self.of_type("AWS::Events::Rule")
            if "EventPattern" in rule.properties
        )

    def schedules(self) -> tuple[Rule, ...]:
        """Return the scheduled rules; their pattern is empty."""
        return tuple(
            _rule(rule, "")
            for rule in self.of_type("AWS::Events::Rule")
            if "ScheduleExpression" in rule.properties
        )

    # --- names ---------------------------------------------------------------------------------------------

    def _name_of(self, logical_id: str, resource: Mapping[str, Json]) -> str:
        properties = resource.get("Properties", {})
        given = next((properties[key] for key in _NAME_KEYS if key in properties), None)
        if given is not None:
            return str(self._resolve(given))
        return self._names[logical_id]

    def _arn_of(self, logical_id: str) -> str:
        form = _ARNS.get(
            self._types[logical_id], "local:{region_account}:" + self._types[logical_id] + "/{name}"
        )
        region_account = f"{REGION}:{ACCOUNT}"
        return "arn:aws:" + form.format(
            region_account=region_account, account=ACCOUNT, name=self._names[logical_id]
        )

    def _resolved(self, logical_id: str, resource: Mapping[str, Json]) -> Resource:
        return Resource(
            logical_id=logical_id,
            type=self._types[logical_id],
            name=self._names[logical_id],
            arn=self._arn_of(logical_id),
            properties=self._resolve(resource.get("Properties", {})),
        )

    # --- values --------------------------------------------------------------------------------------------

    def _resolve(self, value: Json) -> Json:
        if isinstance(value, list):
            return [item for item in map(self._resolve, value) if item is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((key, argument),) = value.items()
            if key == "Ref" or key.startswith("Fn::"):
                return self._call(key, argument)
        resolved = {key: self._resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not _NOTHING}

    def _call(self, function: str, argument: Json) -> Json:
        known: dict[str, Callable[[Json], Json]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._attribute,
            "Fn::Join": lambda a: str(a[0]).join(map(str, self._resolve(a[1]))),
            "Fn::Sub": self._substitute,
            "Fn::Select": lambda a: self._resolve(a[1])[int(a[0])],
            "Fn::Split": lambda a: str(self._resolve(a[1])).split(a[0]),
            "Fn::If": lambda a: self._resolve(a[1] if self._holds(a[0]) else a[2]),
            "Fn::Equals": lambda a: self._resolve(a[0]) == self._resolve(a[1]),
            "Fn::Or": lambda a: any(map(self._resolve, a)),
            "Fn::And": lambda a: all(map(self._resolve, a)),
            "Fn::Not": lambda a: not self._resolve(a[0]),
            "Fn::ToJsonString": lambda a: json.dumps(self._resolve(a)),
        }
        if function not in known:
            raise UnknownValue(f"{function} is not known here, got {json.dumps(argument)}")
        return known[function](argument)

    def _ref(self, name: str) -> Json:
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._names:
            return self._arn_of(name) if self._types[name] in _REF_IS_ARN else self._names[name]
        parameter = self._document.get("Parameters", {}).get(name, {})
        if "Default" not in parameter:
            raise UnknownValue(f"Ref {name}: neither a resource nor a parameter with a default")
        return parameter["Default"]

    def _attribute(self, argument: Json) -> str:
        logical_id, _, attribute = (
            argument.partition(".") if isinstance(argument, str) else (argument[0], ".", argument[1])
        )
        if logical_id not in self._names:
            raise UnknownValue(f"Fn::GetAtt {argument}: no such resource")
        if attribute in {"Arn", "TopicArn", "RoleArn"}:
            return self._arn_of(logical_id)
        if attribute in {"Name", "QueueName", "TopicName"}:
            return self._names[logical_id]
        raise UnknownValue(f"Fn::GetAtt {argument}: the attribute is not known here")

    def _substitute(self, argument: Json) -> str:
        text, values = (argument, {}) if isinstance(argument, str) else (argument[0], argument[1])

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in values:
                return str(self._resolve(values[name]))
            return str(self._attribute(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", value, text)

    def _holds(self, condition: str | None) -> bool:
        return condition is None or bool(self._resolve(self._conditions[condition]))


def _rule(rule: Resource, pattern: str) -> Rule:
    return Rule(
        name=rule.name,
        pattern=pattern,
        enabled=rule.properties.get("State", "ENABLED") != "DISABLED",
        targets=tuple(map(_target, rule.properties.get("Targets", ()))),
    )


def _target(document: Mapping[str, Json]) -> Target:
    transformer = document.get("InputTransformer", {})
    return Target(
        arn=document["Arn"],
        input=document.get("Input"),
        input_path=document.get("InputPath"),
        input_paths=transformer.get("InputPathsMap", {}),
        input_template=transformer.get("InputTemplate"),
    )
