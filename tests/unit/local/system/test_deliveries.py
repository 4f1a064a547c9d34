from __future__ import annotations

import json

import pytest

from local.system.deliveries import DeadLetter, Deliveries
from local.system.functions import Answer, FunctionPool, Functions
from local.system.template import Template

EVENT = {"source": "aws.ecr"}
TEMPLATE = Template(
    {
        "Resources": {
            "Recorder": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "recorder"}},
            "Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": {}},
        }
    },
    stack_name="stack",
)
RECORDER, MACHINE = (TEMPLATE.resources[name].arn for name in ("Recorder", "Machine"))


class Recorder:
    """A process that fails so many times, and then notes what it is given."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.given: list[object] = []

    def invoke(self, payload: bytes) -> Answer:
        if self.failures:
            self.failures -= 1
            return Answer(payload=b"{}", function_error="Unhandled")
        self.given.append(json.loads(payload))
        return Answer(payload=b"null")

    def kill(self) -> None:
        pass

    def let_time_run_out(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def started() -> list[tuple[str, object]]:
    return []


@pytest.fixture
def deliveries_to(started):
    def make(recorder: Recorder) -> Deliveries:
        functions = Functions({"recorder": FunctionPool(lambda: recorder, limit=1)})
        return Deliveries(TEMPLATE, functions, lambda name, input_: started.append((name, input_)))

    return make


def test_a_state_machine_is_started_and_a_function_invoked(deliveries_to, started):
    deliveries = deliveries_to(recorder := Recorder(failures=0))

    for arn in (MACHINE, RECORDER):
        deliveries.deliver(arn, EVENT)

    assert (started, recorder.given) == ([("Machine", EVENT)], [EVENT])
    assert deliveries.dead_letters == []


@pytest.mark.parametrize(("failures", "kept"), [(2, []), (3, [DeadLetter(event=EVENT, target_arn=None)])])
def test_an_event_is_kept_without_its_target_after_three_attempts_of_a_function(
    deliveries_to, failures, kept
):
    deliveries = deliveries_to(recorder := Recorder(failures))

    deliveries.deliver(RECORDER, EVENT)

    assert deliveries.dead_letters == kept
    assert recorder.failures == 0


def test_refused_deliveries_are_kept_with_their_target_until_healed(deliveries_to, started):
    deliveries = deliveries_to(recorder := Recorder(failures=0))
    deliveries.refuse(lambda arn: arn == MACHINE)

    for arn in (MACHINE, RECORDER):
        deliveries.deliver(arn, EVENT)
    deliveries.heal()
    deliveries.deliver(MACHINE, EVENT)

    assert deliveries.dead_letters == [DeadLetter(event=EVENT, target_arn=MACHINE)]
    assert (started, recorder.given) == ([("Machine", EVENT)], [EVENT])
