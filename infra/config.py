"""What a deployment can choose: the CDK context, read and checked once.

`settings` says what is indexed and how. The functions read it too (`soci.service.settings.configuration`). `deployment`
says what the stack is made of. The manual's tables are made from both declarations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, TypeVar

from soci.errors import InvalidOption
from soci.service.settings.configuration import Configuration
from soci.service.settings.schema import Choice, Declared, Flag, Integer, ListOf, Nullable, Setting, Text

KEYS = ("stack_name", "settings", "deployment")
"""The keys of the context that are ours."""

TASK_MARGIN_SECONDS = 30
"""A task waits longer than its function may run, so that the function's own time-out is what is reported."""

LEAST_LAYER_SECONDS = 375
"""A layer that takes all its time is not tried again, but a registry that hangs is: so its own patience with two
requests, one for the zTOC of before and one for the layer, has to end earlier, see `RetryPolicy` and `Timeouts`."""

DEFAULT_STACK_NAME = "soci-index-builder"
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""What CloudWatch Logs takes."""

S = TypeVar("S", bound=Declared)

_STACK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
_POLICY_ARN = Text(
    pattern=r"arn:[a-z0-9-]+:iam::(\d{12}|aws):policy/[\w+=,.@/-]+", accepted="ARN of a policy"
)
_KEY_ARN = Text(pattern=r"arn:[a-z0-9-]+:kms:[a-z0-9-]+:\d{12}:key/[\w-]+", accepted="ARN of a KMS key")
_TOPIC_ARN = Text(pattern=r"arn:[a-z0-9-]+:sns:[a-z0-9-]+:\d{12}:[\w-]+", accepted="ARN of an SNS topic")
_EMAIL = Text(pattern=r"[^\s@]{1,64}@[^\s@]{1,255}", accepted="e-mail address")
_SUBNET_ID = Text(pattern=r"subnet-[0-9a-f]{8,17}", accepted="subnet IDs")
_SECURITY_GROUP_ID = Text(pattern=r"sg-[0-9a-f]{8,17}", accepted="security group IDs")


class InvalidConfig(ValueError):
    """The CDK context has values that the stack cannot be made with; the message names each of them."""


class LambdaArchitecture(StrEnum):
    """Processors that Lambda has."""

    ARM64 = "arm64"
    X86_64 = "x86_64"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few whole numbers."""

    numbers: tuple[int, ...]

    @property
    def accepted(self) -> str:
        """See `soci.service.settings.schema.Kind`."""
        return f"one of {', '.join(map(str, self.numbers))}"

    def read(self, value: object, path: str, problems: list[str]) -> object:
        """See `soci.service.settings.schema.Kind`."""
        if isinstance(value, bool) or value not in self.numbers:
            problems.append(f"{path}: got {value!r}, want {self.accepted}")
        return value


Memory = Annotated[
    int, Setting(Integer(minimum=128, maximum=10240), "a processor comes with 1769 MiB", unit="MiB")
]
Timeout = Annotated[int, Setting(Integer(minimum=30, maximum=900), "an invocation ends then", unit="seconds")]
LongTimeout = Annotated[
    int, Setting(Integer(minimum=240, maximum=900), "an invocation ends then", unit="seconds")
]
"""Of functions that move data or go through lists: more than the patience with ECR's own API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSize(Declared):
    """What a function gets. A new account has at most 3008 MiB for each, and few invocations at a time."""

    memory_mib: Memory = 512
    timeout_seconds: Timeout = 120
    reserved_concurrency: Annotated[
        int | None,
        Setting(
            Nullable(Integer(minimum=1, maximum=10_000)),
            "invocations at a time that are kept for it alone; `null`: what the account has left",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLayerSize(FunctionSize):
    """Streams whole layers, and indexes on two threads."""

    memory_mib: Memory = 3008
    timeout_seconds: Annotated[
        int,
        Setting(
            Integer(minimum=LEAST_LAYER_SECONDS, maximum=900),
            "an invocation ends then, and is not repeated by itself",
            unit="seconds",
        ),
    ] = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishIndexSize(FunctionSize):
    """Assembles an index, and reads back what it published."""

    memory_mib: Memory = 1769
    timeout_seconds: LongTimeout = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageListerSize(FunctionSize):
    """Asks the registry for pages of images."""

    timeout_seconds: LongTimeout = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRecorderSize(FunctionSize):
    """Writes a line, and tells EventBridge."""

    timeout_seconds: Timeout = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(Declared):
    """The VPC of the functions, by the IDs of what is in it; without any they run outside of VPCs."""

    subnet_ids: Annotated[
        tuple[str, ...],
        Setting(
            ListOf(item=_SUBNET_ID),
            "where the functions run; they need a way to ECR, S3, EventBridge, DynamoDB and KMS from there",
        ),
    ] = ()
    security_group_ids: Annotated[
        tuple[str, ...], Setting(ListOf(item=_SECURITY_GROUP_ID), "what the functions may reach")
    ] = ()

    def conflicts(self) -> Iterable[str]:
        """See `Declared`."""
        if bool(self.subnet_ids) != bool(self.security_group_ids):
            yield "subnet_ids: want subnets and security groups together, or none of both"


class Schedule(StrEnum):
    """How often something is done by itself."""

    OFF = "off"
    DAILY = "daily"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile(Declared):
    """A search for recent images without an index: the registry sends its events as well as it can, no better."""

    schedule: Annotated[
        Schedule, Setting(Choice(Schedule), "search for images that have no index, and index them")
    ] = Schedule.DAILY
    hour_utc: Annotated[
        int, Setting(Integer(minimum=0, maximum=23), "the search begins a quarter past this hour, UTC")
    ] = 3
    days: Annotated[
        int,
        Setting(Integer(minimum=2, maximum=90), "images are searched that were pushed since", unit="days"),
    ] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms(Declared):
    """What is watched, and who is told."""

    enabled: Annotated[bool, Setting(Flag(), "alarms in CloudWatch")] = True
    email: Annotated[
        str | None,
        Setting(
            Nullable(_EMAIL), "told of alarms, through a topic of the stack's own; it has to confirm once"
        ),
    ] = None
    topic_arn: Annotated[
        str | None, Setting(Nullable(_TOPIC_ARN), "a topic of yours, whose policy lets CloudWatch publish")
    ] = None
    push_to_index_minutes: Annotated[
        int,
        Setting(
            Integer(minimum=1, maximum=1440),
            "an alarm goes off when one image in twenty takes longer from push to index",
            unit="minutes",
        ),
    ] = 30

    def conflicts(self) -> Iterable[str]:
        """See `Declared`."""
        told = {"email": self.email, "topic_arn": self.topic_arn}
        for name, value in told.items():
            if value is not None and not self.enabled:
                yield f"{name}: got {value}, want null without alarms, or enabled"
                return


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(Declared):
    """What the stack is made of."""

    lambda_architecture: Annotated[
        LambdaArchitecture, Setting(Choice(LambdaArchitecture), "processor of the functions")
    ] = LambdaArchitecture.ARM64
    image_filter: FunctionSize = field(default_factory=FunctionSize)
    index_layer: IndexLayerSize = field(default_factory=IndexLayerSize)
    publish_index: PublishIndexSize = field(default_factory=PublishIndexSize)
    image_lister: ImageListerSize = field(default_factory=ImageListerSize)
    outcome_recorder: OutcomeRecorderSize = field(default_factory=OutcomeRecorderSize)
    layers_at_a_time: Annotated[
        int,
        Setting(Integer(minimum=1, maximum=40), "layers of one image that are indexed side by side"),
    ] = 8
    images_at_a_time: Annotated[
        int,
        Setting(
            Integer(minimum=1, maximum=30),
            "images that a re-index works on side by side; ECR takes 10 manifests per second, an image needs 2 "
            "for each platform and 2 more",
        ),
    ] = 5
    image_timeout_minutes: Annotated[
        int,
        Setting(Integer(minimum=15, maximum=1440), "an image has to be indexed by then", unit="minutes"),
    ] = 360
    reindex_timeout_hours: Annotated[
        int, Setting(Integer(minimum=1, maximum=8760), "a re-index ends then", unit="hours")
    ] = 168
    log_retention_days: Annotated[
        int, Setting(OneOf(RETENTION_DAYS), "logs are kept so long", unit="days")
    ] = 90
    permissions_boundary_arn: Annotated[
        str | None, Setting(Nullable(_POLICY_ARN), "a policy that bounds what each role of the stack may do")
    ] = None
    kms_key_arn: Annotated[
        str | None,
        Setting(
            Nullable(_KEY_ARN),
            "encrypts logs, the functions' environment, the table of zTOCs, the queue of undelivered events and "
            "the alarms' topic; its policy has to let CloudWatch Logs, EventBridge and CloudWatch use it. `null`: "
            "keys of AWS",
        ),
    ] = None
    vpc: Network = field(default_factory=Network)
    reconcile: Reconcile = field(default_factory=Reconcile)
    alarms: Alarms = field(default_factory=Alarms)
    dashboard: Annotated[bool, Setting(Flag(), "a dashboard in CloudWatch")] = True

    def conflicts(self) -> Iterable[str]:
        """See `Declared`."""
        chain = (self.image_filter, self.index_layer, self.publish_index, self.outcome_recorder)
        least_minutes = -(-sum(size.timeout_seconds + TASK_MARGIN_SECONDS for size in chain) // 60)
        if self.image_timeout_minutes < least_minutes:
            yield (
                f"image_timeout_minutes: got {self.image_timeout_minutes}, want at least {least_minutes}, "
                "what one call of each of its functions may take by their timeout_seconds"
            )
        if self.reindex_timeout_hours * 60 < self.image_timeout_minutes:
            yield (
                f"reindex_timeout_hours: got {self.reindex_timeout_hours}, want at least the "
                f"{self.image_timeout_minutes} minutes of image_timeout_minutes"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """The choices of one deployment."""

    stack_name: str = DEFAULT_STACK_NAME
    settings: Configuration
    deployment: Deployment

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> StackConfig:
        """Read the choices from the whole context of an app; what is absent has its default.

        Raises:
            InvalidConfig: naming every key that is unknown, and every value of the wrong type or out of range.
        """
        problems = [
            f"{key}: no such key, there are {', '.join(KEYS)}" for key in context if _is_misplaced(key)
        ]
        name = context.get("stack_name", DEFAULT_STACK_NAME)
        if not isinstance(name, str) or not _STACK_NAME.fullmatch(name):
            problems.append(
                f"stack_name: got {name!r}, want 1 to 128 letters, digits, hyphens, first a letter"
            )
        settings = _section(Configuration, "settings", context, problems)
        deployment = _section(Deployment, "deployment", context, problems)
        if problems:
            raise InvalidConfig("; ".join(problems))
        return cls(stack_name=str(name), settings=settings, deployment=deployment)


def _is_misplaced(key: str) -> bool:
    """Tell whether a key of the context is meant for us and not ours.

    Others are let be: the CDK's command line and its features put what they like there.
    """
    sections = {one.name for of in (Configuration, Deployment) for one in fields(of)}
    return key not in KEYS and bool(get_close_matches(key, {*KEYS, *sections}, cutoff=0.75))


def _section(of: type[S], key: str, context: Mapping[str, object], problems: list[str]) -> S:
    document = context.get(key, {})
    if isinstance(document, str):  # of the command line: cdk deploy --context 'settings={...}'
        try:
            document = json.loads(document)
        except ValueError as error:
            problems.append(f"{key}: got text that is no JSON ({error})")
            return of()
    try:
        return of.from_document(document, key)
    except InvalidOption as error:
        problems.append(str(error))
        return of()
