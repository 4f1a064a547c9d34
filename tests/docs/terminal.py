"""A terminal in an account of AWS: bash, and an `aws` that takes the arguments of the AWS CLI.

What commands exist and which options they take comes from the models of AWS's APIs, as in the CLI itself, so a command
with a wrong name or option, or without one that it needs, fails. The account is moto's, but for what a test answers.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import jmespath  # type: ignore[import-untyped]
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import OperationModel, Shape
from botocore.validate import ParamValidator

Json = Any
Handler = Callable[[Mapping[str, Json]], Json]

# The program sends its arguments here, with the bytes of the files that they name, and prints the answer.
_PROGRAM = """#!{python} -SE
import base64, json, sys, urllib.request
def read(text):
    if text.startswith("fileb://"):
        return [base64.b64encode(open(text[8:], "rb").read()).decode()]
    return open(text[7:]).read() if text.startswith("file://") else text
body = json.dumps([read(text) for text in sys.argv[1:]]).encode()
answer = json.load(urllib.request.urlopen(urllib.request.Request("{url}", body)))
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
"""


class UsageError(Exception):
    """The AWS CLI has no such command or option."""


@dataclass(kw_only=True)
class Terminal:
    """Runs scripts. `answers` replace operations, by service and name, that moto does not have."""

    region: str
    programs: Path
    answers: Mapping[tuple[str, str], Handler]
    calls: list[tuple[str, str, Json]] = field(default_factory=list)
    """Service, operation and parameters of each call."""

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a bash script. It ends at the first error that it does not handle."""
        command = ["bash", "-euo", "pipefail", "-c", script]
        environment = {"PATH": f"{self.programs}:/usr/bin:/bin"}
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            cwd=self.programs,
            timeout=60,
        )

    def called(self, operation: str) -> list[Json]:
        """Return the parameters of every call of an operation."""
        return [parameters for _, name, parameters in self.calls if name == operation]

    def call(self, arguments: Sequence[Json]) -> Json:
        """Run a command; return its output and exit status."""
        try:
            return {"out": self._call(arguments), "err": "", "code": 0}
        except UsageError as error:
            return {"out": "", "err": f"{error}\n", "code": 252}
        except (BotoCoreError, ClientError) as error:
            return {"out": "", "err": f"{error}\n", "code": 254}

    def _call(self, arguments: Sequence[Json]) -> str:
        service, command, *rest = arguments
        client = boto3.client(service, region_name=self.region)
        model = client.meta.service_model
        names = {xform_name(name, "-"): name for name in model.operation_names}
        if command not in names:
            raise UsageError(f"aws {service}: no command {command}")
        operation = model.operation_model(names[command])
        parameters, options = _parsed(operation, rest)
        self.calls.append((service, operation.name, parameters))
        result = self._result(client, operation, parameters, options)
        if "query" in options:
            result = jmespath.search(options["query"], result)
        return _printed(result, options.get("output", "json"))

    def _result(
        self, client: Any, operation: OperationModel, parameters: Json, options: Mapping[str, str]
    ) -> Json:
        name = xform_name(operation.name)
        answer = self.answers.get((client.meta.service_model.service_name, operation.name))
        if answer is not None:
            problems = ParamValidator().validate(parameters, operation.input_shape)
            if problems.has_errors():
                raise UsageError(problems.generate_report())
            return answer(parameters)
        if client.can_paginate(name):
            config = {"MaxItems": int(options["max-items"])} if "max-items" in options else {}
            return (
                client.get_paginator(name).paginate(**parameters, PaginationConfig=config).build_full_result()
            )
        if "max-items" in options:
            raise UsageError(f"{operation.name} has no pages")
        answered = getattr(client, name)(**parameters)
        return {key: value for key, value in answered.items() if key != "ResponseMetadata"}


def _parsed(operation: OperationModel, arguments: Sequence[Json]) -> tuple[dict[str, Json], dict[str, str]]:
    """Return the parameters of the operation, and the options that all commands have."""
    members = operation.input_shape.members if operation.input_shape else {}
    by_option = {xform_name(member, "-"): member for member in members}
    parameters: dict[str, Json] = {}
    options: dict[str, str] = {}
    for name, values in _grouped(operation, arguments):
        if name in {"query", "output", "max-items"}:
            (options[name],) = values
        elif name in by_option:
            member = by_option[name]
            parameters[member] = _value(members[member], values)
        else:
            raise UsageError(f"{operation.name}: no option --{name}")
    missing = (
        {*operation.input_shape.required_members} - parameters.keys() if operation.input_shape else set()
    )
    if missing:
        raise UsageError(f"{operation.name}: want {', '.join(missing)}")
    return parameters, options


def _grouped(operation: OperationModel, arguments: Sequence[Json]) -> Iterator[tuple[str, list[Json]]]:
    rest = list(arguments)
    members = operation.input_shape.members if operation.input_shape else {}
    flags = {xform_name(name, "-") for name, shape in members.items() if shape.type_name == "boolean"}
    has_file = bool(operation.output_shape and operation.has_streaming_output)
    while rest:
        name = rest.pop(0)
        if has_file and str(name).startswith("/dev/") and not rest:
            return
        if not isinstance(name, str) or not name.startswith("--"):
            raise UsageError(f"{operation.name}: unexpected {name}")
        if name[2:] in flags:
            yield name[2:], [True]
            continue
        values = [rest.pop(0)]
        while rest and not (isinstance(rest[0], str) and rest[0].startswith(("--", "/dev/"))):
            values.append(rest.pop(0))
        yield name[2:], values


def _value(shape: Shape, values: list[Json]) -> Json:
    if shape.type_name == "list":
        return values
    (value,) = values
    if shape.type_name == "boolean":
        return value
    if shape.type_name == "blob":
        return base64.b64decode(value[0])
    if shape.type_name in {"integer", "long"}:
        return int(value)
    if shape.type_name in {"structure", "map"}:
        return json.loads(value)
    if not isinstance(value, str):
        raise UsageError(f"{shape.name}: got a file")
    return value


def _printed(result: Json, output: str) -> str:
    if output == "json":
        return json.dumps(result, indent=4, default=str) + "\n"
    if not isinstance(result, list):
        return f"{result}\n"
    if any(isinstance(item, list) for item in result):
        return "".join(_printed(item, output) for item in result)
    return "\t".join(map(str, result)) + "\n" if result else ""


@contextmanager
def terminal(
    directory: Path, *, region: str, answers: Mapping[tuple[str, str], Handler]
) -> Iterator[Terminal]:
    """Yield a terminal in moto's account. The caller has started moto."""
    made = Terminal(region=region, programs=directory, answers=answers)

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arguments = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps(made.call(arguments)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    program = directory / "aws"
    program.write_text(
        _PROGRAM.format(python=sys.executable, url=f"http://127.0.0.1:{server.server_address[1]}")
    )
    program.chmod(0o755)
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
