"""The configuration of a deployment: the CDK context, read and validated once.

`settings` says what is indexed and how; the functions read it too (`soci.service.settings.configuration`).
`deployment` configures the stack. The tables in docs/settings.md are generated from both.
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
from soci.oci.json_value import JsonValue
from soci.service.settings.configuration import Configuration
from soci.service.settings.schema import Choice, Declared, Flag, Integer, ListOf, Nullable, Setting, Text

KEYS = ("stack_name", "settings", "deployment")
"""The context keys of this app."""

TASK_MARGIN_SECONDS = 30
"""A task waits this much longer than its function may run, so the function's timeout is reported first."""

LEAST_LAYER_SECONDS = 375
"""A function's timeout is not retried, but an unavailable registry is. So the retries of two requests, for an earlier
zTOC and for the layer, must end before this time; see `RetryPolicy` and `Timeouts`."""

DEFAULT_STACK_NAME = "soci-index-builder"
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""The values that CloudWatch Logs accepts."""

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
    """The CDK context has invalid values; the message names each of them."""


class LambdaArchitecture(StrEnum):
    """The processor architectures of Lambda."""

    ARM64 = "arm64"
    X86_64 = "x86_64"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several whole numbers."""

    numbers: tuple[int, ...]

    @property
    def accepted(self) -> str:
        """See `soci.service.settings.schema.Kind`."""
        return f"one of {', '.join(map(str, self.numbers))}"

    def read(self, at: JsonValue) -> object:
        """See `soci.service.settings.schema.Kind`."""
        if isinstance(at.value, bool) or at.value not in self.numbers:
            at.refuse(self.accepted)
        return at.value


Memory = Annotated[
    int, Setting(Integer(minimum=128, maximum=10240), "1769 MiB give one full processor", unit="MiB")
]
Timeout = Annotated[
    int, Setting(Integer(minimum=30, maximum=900), "the limit of an invocation", unit="seconds")
]
LongTimeout = Annotated[
    int, Setting(Integer(minimum=240, maximum=900), "the limit of an invocation", unit="seconds")
]
"""For functions that move data or read lists: longer than the retries of ECR's API take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSize(Declared):
    """The resources of a function. New accounts get at most 3008 MiB per function, and low concurrency."""

    memory_mib: Memory = 512
    timeout_seconds: Timeout = 120
    reserved_concurrency: Annotated[
        int | None,
        Setting(
            Nullable(Integer(minimum=1, maximum=10_000)),
            "concurrent invocations reserved for this function; `null`: it shares the account's",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLayerSize(FunctionSize):
    """IndexLayer streams whole layers and indexes on two threads."""

    memory_mib: Memory = 3008
    timeout_seconds: Annotated[
        int,
        Setting(
            Integer(minimum=LEAST_LAYER_SECONDS, maximum=900),
            "the limit of an invocation; after a timeout there is no retry",
            unit="seconds",
        ),
    ] = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishIndexSize(FunctionSize):
    """PublishIndex assembles an index, publishes it and reads it back."""

    memory_mib: Memory = 1769
    timeout_seconds: LongTimeout = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageListerSize(FunctionSize):
    """ImageLister lists images page by page."""

    timeout_seconds: LongTimeout = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRecorderSize(FunctionSize):
    """OutcomeRecorder writes a log line and an event."""

    timeout_seconds: Timeout = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(Declared):
    """The VPC of the functions; without IDs they run outside of VPCs."""

    subnet_ids: Annotated[
        tuple[str, ...],
        Setting(
            ListOf(item=_SUBNET_ID),
            "the subnets of the functions; they need a route to ECR, S3, EventBridge, DynamoDB and KMS",
        ),
    ] = ()
    security_group_ids: Annotated[
        tuple[str, ...], Setting(ListOf(item=_SECURITY_GROUP_ID), "the security groups of the functions")
    ] = ()

    def conflicts(self) -> Iterable[str]:
        """See `Declared`."""
        if bool(self.subnet_ids) != bool(self.security_group_ids):
            yield "subnet_ids: want both subnets and security groups, or neither"


class Schedule(StrEnum):
    """How often a search runs."""

    OFF = "off"
    DAILY = "daily"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile(Declared):
    """The search for recent images without an index: the registry may lose events."""

    schedule: Annotated[
        Schedule, Setting(Choice(Schedule), "search for recent images without an index, and index them")
    ] = Schedule.DAILY
    hour_utc: Annotated[
        int, Setting(Integer(minimum=0, maximum=23), "the search starts 15 minutes past this hour, UTC")
    ] = 3
    days: Annotated[
        int,
        Setting(
            Integer(minimum=2, maximum=90), "the search covers images pushed in the last days", unit="days"
        ),
    ] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms(Declared):
    """The alarms, and who is notified."""

    enabled: Annotated[bool, Setting(Flag(), "create CloudWatch alarms")] = True
    email: Annotated[
        str | None,
        Setting(Nullable(_EMAIL), "address to notify, through a topic of the stack; it has to confirm once"),
    ] = None
    topic_arn: Annotated[
        str | None,
        Setting(Nullable(_TOPIC_ARN), "your own topic to notify; its policy must let CloudWatch publish"),
    ] = None
    push_to_index_minutes: Annotated[
        int,
        Setting(
            Integer(minimum=1, maximum=1440),
            "an alarm goes off when one image in twenty takes this long from push to index",
            unit="minutes",
        ),
    ] = 30

    def conflicts(self) -> Iterable[str]:
        """See `Declared`."""
        topics = {"email": self.email, "topic_arn": self.topic_arn}
        for name, value in topics.items():
            if value is not None and not self.enabled:
                yield f"{name}: got {value}, want null, or alarms enabled"
                return


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(Declared):
    """The resources of the stack."""

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
        Setting(Integer(minimum=1, maximum=40), "layers of one image that are indexed in parallel"),
    ] = 8
    images_at_a_time: Annotated[
        int,
        Setting(
            Integer(minimum=1, maximum=30),
            "images that a re-index works on in parallel; ECR accepts 10 manifests per second, and an image needs 2 "
            "per platform plus 2",
        ),
    ] = 5
    image_timeout_minutes: Annotated[
        int,
        Setting(Integer(minimum=15, maximum=1440), "the limit for indexing one image", unit="minutes"),
    ] = 360
    reindex_timeout_hours: Annotated[
        int, Setting(Integer(minimum=1, maximum=8760), "the limit of a re-index", unit="hours")
    ] = 168
    log_retention_days: Annotated[
        int, Setting(OneOf(RETENTION_DAYS), "how long logs are kept", unit="days")
    ] = 90
    permissions_boundary_arn: Annotated[
        str | None, Setting(Nullable(_POLICY_ARN), "permissions boundary of all roles of the stack")
    ] = None
    kms_key_arn: Annotated[
        str | None,
        Setting(
            Nullable(_KEY_ARN),
            "key for logs, the functions' environment, the table of zTOCs, the queue of undelivered events and the "
            "alarms' topic; its policy must let CloudWatch Logs, EventBridge and CloudWatch use it. `null`: keys of "
            "AWS",
        ),
    ] = None
    vpc: Network = field(default_factory=Network)
    reconcile: Reconcile = field(default_factory=Reconcile)
    alarms: Alarms = field(default_factory=Alarms)
    dashboard: Annotated[bool, Setting(Flag(), "create a CloudWatch dashboard")] = True

    def conflicts(self) -> Iterable[str]:
        """See `Declared`."""
        chain = (self.image_filter, self.index_layer, self.publish_index, self.outcome_recorder)
        least_minutes = -(-sum(size.timeout_seconds + TASK_MARGIN_SECONDS for size in chain) // 60)
        if self.image_timeout_minutes < least_minutes:
            yield (
                f"image_timeout_minutes: got {self.image_timeout_minutes}, want at least {least_minutes}, "
                "the sum of the timeouts of its functions"
            )
        if self.reindex_timeout_hours * 60 < self.image_timeout_minutes:
            yield (
                f"reindex_timeout_hours: got {self.reindex_timeout_hours}, want at least the "
                f"{self.image_timeout_minutes} minutes of image_timeout_minutes"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """The whole configuration of one deployment."""

    stack_name: str = DEFAULT_STACK_NAME
    settings: Configuration
    deployment: Deployment

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> StackConfig:
        """Read the configuration from an app's context; absent values get their defaults.

        Raises:
            InvalidConfig: names every unknown key, and every value of the wrong type or out of range.
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
    """Tell whether an unknown context key looks like a misspelled key of this app.

    Other keys are ignored: the CDK stores its own values in the context.
    """
    sections = {one.name for of in (Configuration, Deployment) for one in fields(of)}
    return key not in KEYS and bool(get_close_matches(key, {*KEYS, *sections}, cutoff=0.75))


def _section(of: type[S], key: str, context: Mapping[str, object], problems: list[str]) -> S:
    document = context.get(key, {})
    if isinstance(document, str):  # from the command line: cdk deploy --context 'settings={...}'
        try:
            document = json.loads(document)
        except ValueError as error:
            problems.append(f"{key}: got invalid JSON ({error})")
            return of()
    try:
        return of.from_document(document, key)
    except InvalidOption as error:
        problems.append(str(error))
        return of()
