"""State machines and their executions in moto's interpreter: create, start, wait, redrive."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from local.system.frames import ExecutionTerms, Services
from local.system.interpreter import host
from local.system.moto_parser import StepFunctionsParserBackend
from local.system.record import Json, Run, Status
from local.system.template import ACCOUNT, REGION


@dataclass(slots=True, kw_only=True, eq=False)
class Execution:
    """An execution and its record. `attempts` holds one run per redrive, the latest last."""

    state_machine: str
    name: str
    input: Json
    attempts: list[Run] = field(default_factory=list)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    done: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def run(self) -> Run:
        """The record of the last attempt."""
        return self.attempts[-1]

    @property
    def status(self) -> Status:
        """The status of the last attempt."""
        return self.run.status

    @property
    def output(self) -> Json:
        """The output; None while it runs, and if it failed."""
        return self.run.output

    def wait(self, timeout_seconds: float = 120) -> Execution:
        """Wait for the end of the execution. Raises TimeoutError."""
        if not self.done.wait(timeout_seconds):
            raise TimeoutError(f"{self.name} of {self.state_machine} still runs after {timeout_seconds} s")
        return self


Ended = Callable[[str, Execution], None]
"""Gets the ARN of a state machine and an ended execution of it."""


class Workflows:
    """The state machines of a system. `time_scale` multiplies only the waits between attempts.

    `names` gives the deployed names by logical ID. `ended` is called before `Execution.wait` returns.
    """

    def __init__(
        self,
        definitions: Mapping[str, Json],
        services: Services,
        *,
        time_scale: float = 1.0,
        names: Mapping[str, str] | None = None,
        ended: Ended | None = None,
    ) -> None:
        self._ended = ended
        self._backend = StepFunctionsParserBackend(REGION, ACCOUNT)
        self._services = services
        self._time_scale = time_scale
        self._executions: list[Execution] = []
        self._lock = threading.Lock()
        role = f"arn:aws:iam::{ACCOUNT}:role/workflow"
        self._arns = {
            name: self._backend.create_state_machine(
                (names or {}).get(name, name), _for_moto(definition), role
            ).arn
            for name, definition in definitions.items()
        }

    def start(self, state_machine: str, input_: Json, *, name: str | None = None) -> Execution:
        """Start an execution and return at once."""
        execution = Execution(state_machine=state_machine, name=name or str(uuid.uuid4()), input=input_)
        self._begin(execution, resumes=None)
        with self._lock:
            self._executions.append(execution)
        return execution

    def redrive(self, execution: Execution) -> Execution:
        """Run a failed execution again from the state that failed, with that state's recorded input.

        Like RedriveExecution: earlier states and successful items of a map do not run again, a failed item starts at
        its own failed state, and the count of attempts restarts.

        Raises:
            ValueError: the execution is running or has succeeded.
        """
        if execution.status in {Status.RUNNING, Status.SUCCEEDED}:
            raise ValueError(f"{execution.name} cannot be redriven: {execution.status}")
        self._begin(execution, resumes=execution.run)
        return execution

    def executions(self, state_machine: str | None = None) -> list[Execution]:
        """Return the executions so far, oldest first."""
        with self._lock:
            return [e for e in self._executions if state_machine in {None, e.state_machine}]

    def _finish(self, arn: str, execution: Execution) -> None:
        try:
            if self._ended is not None:
                self._ended(arn, execution)
        finally:
            execution.done.set()

    def _begin(self, execution: Execution, resumes: Run | None) -> None:
        attempt = len(execution.attempts)
        name = f"{execution.name}-redrive-{attempt}" if attempt else execution.name
        run = Run(name=execution.name)
        execution.attempts.append(run)
        execution.done.clear()
        arn = self._arns[execution.state_machine]
        terms = ExecutionTerms(
            services=self._services,
            run=run,
            resumes=resumes,
            redrives=attempt,
            time_scale=self._time_scale,
            finished=lambda: self._finish(arn, execution),
        )
        host(f"{arn.replace(':stateMachine:', ':execution:')}:{name}", terms)
        self._backend.start_execution(arn, name=name, execution_input=json.dumps(execution.input))


def status_change(state_machine_arn: str, execution: Execution) -> Json:
    """Return the event that Step Functions sends at the end of an execution ("Step Functions events")."""
    run = execution.run
    succeeded = run.status is Status.SUCCEEDED
    times = [int(moment.timestamp() * 1000) for moment in (execution.started_at, datetime.now(UTC))]
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [f"{state_machine_arn.replace(':stateMachine:', ':execution:')}:{execution.name}"],
        "detail": {
            "executionArn": f"{state_machine_arn.replace(':stateMachine:', ':execution:')}:{execution.name}",
            "stateMachineArn": state_machine_arn,
            "name": execution.name,
            "status": str(run.status),
            "startDate": times[0],
            "stopDate": times[1],
            "input": json.dumps(execution.input),
            "inputDetails": {"included": True},
            "output": json.dumps(run.output) if succeeded else None,
            "outputDetails": {"included": True} if succeeded else None,
            "error": run.error,
            "cause": run.cause,
        },
    }


def _for_moto(definition: Json) -> str:
    """Return a definition as JSON. Moto's grammar needs a decimal point in ToleratedFailurePercentage."""

    def decimal(value: Json) -> Json:
        if isinstance(value, list):
            return [decimal(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            key: float(item) if key == "ToleratedFailurePercentage" else decimal(item)
            for key, item in value.items()
        }

    return json.dumps(decimal(definition))
