"""The remedies of docs/operations.md, and the APIs that its commands call, answered by the system under test."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from local.system.system import INDEX_IMAGE, REINDEX, LocalSystem
from local.system.workflows import Execution, status_change
from tests.docs.manual import blocks

Json = Any
PAGE = "operations.md"
SETUP, *COMMANDS = (block for block in blocks(PAGE, "bash"))


def command(heading: str, word: str) -> str:
    """Return the command below a heading that contains a word."""
    (found,) = (block.text for block in COMMANDS if block.heading == heading and word in block.text)
    return found


REDRIVE, REPLAY, ANEW, SEARCH, NEXT_SEARCH, REDRIVE_SEARCH = (
    "run failures again",
    "replay",
    "index each image",
    "search for what is missing",
    "none: the next daily search",
    "run the search again",
)
SCRIPTS = {
    REDRIVE: command("Run failures again", "while read"),
    REPLAY: command("Replay events that were not delivered", "while"),
    SEARCH: command("Search for what is missing", "start-execution"),
    # "As above, but with the other state machine."
    REDRIVE_SEARCH: command("Run failures again", "while read").replace("$INDEX_IMAGE", "$REINDEX"),
}


class Aws:
    """The APIs that the commands call, answered by the system."""

    def __init__(self, system: LocalSystem) -> None:
        self._system = system
        self._in_hand: list[Json] = []
        self.answers: Mapping[tuple[str, str], Callable[[Mapping[str, Json]], Json]] = {
            ("cloudformation", "DescribeStacks"): self._describe_stacks,
            ("stepfunctions", "ListExecutions"): self._list_executions,
            ("stepfunctions", "RedriveExecution"): self._redrive,
            ("stepfunctions", "StartExecution"): self._start,
            ("sqs", "ReceiveMessage"): self._receive,
            ("sqs", "DeleteMessage"): self._delete,
            ("sqs", "GetQueueAttributes"): self._count,
            ("lambda", "Invoke"): self._invoke,
        }

    def _arn(self, logical_id: str) -> str:
        return self._system.deployed.template.resources[logical_id].arn

    def _describe_stacks(self, _: Mapping[str, Json]) -> Json:
        outputs = {
            "IndexImageArn": self._arn(INDEX_IMAGE),
            "ReindexRepositoriesArn": self._arn(REINDEX),
            "OutcomeRecorderArn": self._arn("OutcomeRecorder"),
            "UndeliveredUrl": "https://sqs.local/undelivered",
        }
        return {"Stacks": [{"Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in outputs.items()]}]}

    def _named(self, machine_arn: str) -> dict[str, Execution]:
        machine = self._system.deployed.template.by_arn(machine_arn).logical_id
        return {
            status_change(machine_arn, one)["detail"]["executionArn"]: one
            for one in self._system.executions(machine)
        }

    def _list_executions(self, asked: Mapping[str, Json]) -> Json:
        found = self._named(asked["stateMachineArn"])
        return {
            "executions": [
                {"executionArn": arn} for arn, one in found.items() if one.status == asked["statusFilter"]
            ]
        }

    def _redrive(self, asked: Mapping[str, Json]) -> Json:
        executions = self._named(self._arn(INDEX_IMAGE)) | self._named(self._arn(REINDEX))
        self._system.redrive(executions[asked["executionArn"]])
        return {}

    def _start(self, asked: Mapping[str, Json]) -> Json:
        machine = self._system.deployed.template.by_arn(asked["stateMachineArn"]).logical_id
        self._system.workflows.start(machine, json.loads(asked["input"]))
        return {}

    def _receive(self, _: Mapping[str, Json]) -> Json:
        waiting = [letter for letter in self._system.dead_letters if letter not in self._in_hand]
        if not waiting:
            return {}
        self._in_hand.append(letter := waiting[0])
        attributes = {"TARGET_ARN": {"StringValue": letter.target_arn}} if letter.target_arn else {}
        receipt = str(self._in_hand.index(letter))
        body = json.dumps(letter.event)
        return {"Messages": [{"Body": body, "ReceiptHandle": receipt, "MessageAttributes": attributes}]}

    def _delete(self, asked: Mapping[str, Json]) -> Json:
        self._system.dead_letters.remove(self._in_hand[int(asked["ReceiptHandle"])])
        return {}

    def _count(self, _: Mapping[str, Json]) -> Json:
        in_hand = [letter for letter in self._in_hand if letter in self._system.dead_letters]
        waiting = len(self._system.dead_letters) - len(in_hand)
        counts = {"": waiting, "NotVisible": len(in_hand)}
        return {"Attributes": {f"ApproximateNumberOfMessages{kind}": str(n) for kind, n in counts.items()}}

    def _invoke(self, asked: Mapping[str, Json]) -> Json:
        answer = self._system.functions.invoke(asked["FunctionName"], asked["Payload"])
        failed = {"FunctionError": answer.function_error} if answer.function_error else {}
        return {"StatusCode": 200, **failed}
