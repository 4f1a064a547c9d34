"""The local system: a registry, the deployed stack, and the events between them."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.lambda_runtime import LambdaProcess
from local.registry import Behaviour, EcrLogin, Registry
from local.system.aws_api import AwsApi
from local.system.deliveries import DeadLetter, Deliveries
from local.system.events import EventBus, event_of, input_for
from local.system.functions import Answer, FunctionPool, Functions, LambdaRuntime
from local.system.push import Pusher
from local.system.record import Status
from local.system.synthesis import Function, synthesize
from local.system.template import ACCOUNT, REGION
from local.system.workflows import Execution, Workflows, status_change
from soci.places.ports import ImageSource

Json = Any

INDEX_IMAGE, REINDEX = "IndexImage", "ReindexRepositories"
ECR_HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


class LocalSystem:
    """A registry and a deployed stack. It runs until closed.

    `settings` and `deployment` are the sections of cdk.json. `time_scale` multiplies the waits between attempts of a
    state, which take minutes in the definitions. `processes` limits the processes of each function.
    `longest_call_seconds` shortens the timeouts of functions below what a deployment allows.
    """

    def __init__(
        self,
        *,
        settings: Mapping[str, Json] | None = None,
        deployment: Mapping[str, Json] | None = None,
        behaviour: Behaviour | None = None,
        time_scale: float = 0.01,
        processes: int = 2,
        longest_call_seconds: float = 900,
    ) -> None:
        self._longest_call_seconds = longest_call_seconds
        context = {"settings": settings or {}, "deployment": deployment or {}}
        self.events_put: list[Mapping[str, Json]] = []
        """Events that the stack itself put on the event bus."""
        with ExitStack() as open_:
            directory = open_.enter_context(tempfile.TemporaryDirectory(prefix="soci-stack-"))
            self.deployed = synthesize(context, Path(directory))
            template = self.deployed.template
            self._runtimes: list[LambdaRuntime] = []
            self.functions = Functions(
                {f.name: FunctionPool(self._starter(f), limit=processes) for f in self.deployed.functions}
            )
            open_.callback(self.functions.close)
            self.workflows = Workflows(
                template.definitions(),
                self,
                time_scale=time_scale,
                names={key: resource.name for key, resource in template.resources.items()},
                ended=lambda arn, execution: self.bus.put(status_change(arn, execution)),
            )
            self.deliveries = Deliveries(template, self.functions, self.workflows.start)
            self.bus = EventBus(template.rules(), self.deliveries.deliver)
            open_.callback(self.bus.close)
            self.aws_api = open_.enter_context(AwsApi(self.put_events))
            self._create_tables()
            self.keys = self._create_keys()
            """The ARNs of KMS keys by their ARNs in the template."""
            self.registry = open_.enter_context(Registry(behaviour, login=EcrLogin(), on_event=self.bus.put))
            self._open = open_.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes and the registry."""
        self._open.close()

    # --- actions of a user ------------------------------------------------------------------------------------

    def push(self, source: ImageSource, repository: str, tag: str | None = None) -> str:
        """Push an image and return its digest. Its events are handled in the background."""
        with Pusher(self.registry.host, repository, self.registry.issue_password()) as pusher:
            return str(pusher.push(source, tag).digest)

    def start_index(self, request: Mapping[str, Json]) -> Execution:
        """Start IndexImage by hand, as from the console."""
        return self.workflows.start(INDEX_IMAGE, dict(request))

    def start_reindex(self, request: Mapping[str, Json]) -> Execution:
        """Start ReindexRepositories by hand."""
        return self.workflows.start(REINDEX, dict(request))

    def run_schedules(self, at: datetime) -> None:
        """Run all scheduled rules as if it were this time."""
        event = {
            "source": "aws.events",
            "detail-type": "Scheduled Event",
            "time": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "detail": {},
        }
        for rule in self.deployed.template.schedules():
            for target in rule.targets:
                self.deliveries.deliver(target.arn, input_for(target, event))

    def redrive(self, execution: Execution) -> Execution:
        """Run a failed execution again from its failed state."""
        return self.workflows.redrive(execution)

    def executions(self, state_machine: str | None = None) -> list[Execution]:
        """Return the executions so far, oldest first."""
        return self.workflows.executions(state_machine)

    # --- observation --------------------------------------------------------------------------------------

    def wait_idle(self, timeout_seconds: float = 120) -> None:
        """Wait until no event is being delivered and no execution runs, including those started meanwhile.

        Raises TimeoutError, and any error of a delivery.
        """
        deadline = time.monotonic() + timeout_seconds
        settled = -1
        while settled != len(executions := self.executions()):
            settled = len(executions)
            for execution in executions:
                execution.wait(max(0.0, deadline - time.monotonic()))
            self.bus.drain()
        for error in self.bus.errors:
            raise error

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The undelivered events."""
        return self.deliveries.dead_letters

    def function(self, logical_id: str) -> FunctionPool:
        """Return the processes of a function by its logical ID."""
        return self.functions.pool(self.deployed.template.resources[logical_id].name)

    def heal(self) -> None:
        """Remove all faults in all parts."""
        for part in (self.registry, self.aws_api, self.functions, self.bus, self.deliveries):
            part.heal()

    def running(self) -> list[Execution]:
        """Return the running executions."""
        return [execution for execution in self.executions() if execution.status is Status.RUNNING]

    def logs(self) -> Iterator[str]:
        """Yield the lines that the functions have printed."""
        for runtime in list(self._runtimes):
            yield from runtime.logs()

    # --- services for states ------------------------------------------------------------------------------------

    def invoke(self, function: str, payload: bytes) -> Answer:
        """Invoke a function. See `Services`."""
        return self.functions.invoke(function, payload)

    def put_events(self, entries: Sequence[Mapping[str, Json]]) -> None:
        """Accept events as PutEvents does. See `Services`."""
        self.events_put += entries
        for entry in entries:
            self.bus.put(event_of(entry))

    def _create_tables(self) -> None:
        """Create the template's tables with the properties that matter for reading and writing rows."""
        kept = ("KeySchema", "AttributeDefinitions", "BillingMode")
        for table in self.deployed.template.of_type("AWS::DynamoDB::Table"):
            properties = {key: table.properties[key] for key in kept if key in table.properties}
            self._client("dynamodb").create_table(TableName=table.name, **properties)

    def _create_keys(self) -> dict[str, str]:
        """Create the template's keys. Returns their ARNs by those in the template."""
        kept = ("KeySpec", "KeyUsage", "Description")
        made = {}
        for key in self.deployed.template.of_type("AWS::KMS::Key"):
            asked = {name: key.properties[name] for name in kept if name in key.properties}
            policy = json.dumps(key.properties["KeyPolicy"])
            made[key.arn] = self._client("kms").create_key(Policy=policy, **asked)["KeyMetadata"]["Arn"]
        return made

    def _client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        import boto3  # noqa: PLC0415

        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.aws_api.url,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106
        )

    def _starter(self, function: Function) -> Any:  # noqa: ANN401
        def start() -> LambdaRuntime:
            runtime = LambdaRuntime(
                LambdaProcess(
                    name=function.name,
                    handler=function.handler,
                    function_dir=function.folder,
                    layer_dirs=function.layers,
                    environment=self._environment(function),
                    timeout_seconds=min(function.timeout_seconds, self._longest_call_seconds),
                    memory_mib=function.memory_mib,
                )
            )
            self._runtimes.append(runtime)
            return runtime

        return start

    def _environment(self, function: Function) -> dict[str, str]:
        """Return the function's variables, with the local registry and keys in place of AWS's."""
        own = {
            key: self.keys.get(value, value).replace(ECR_HOST, self.registry.host)
            for key, value in function.environment.items()
        }
        return {
            **own,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_ENDPOINT_URL": self.aws_api.url,
            "AWS_ENDPOINT_URL_ECR": f"http://{self.registry.host}",
            "POWERTOOLS_SERVICE_NAME": function.logical_id,
        }
