"""One execution environment of a function: a process that starts with the first event and stays warm."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Self

from local.lambda_runtime.environment import command_line, variables
from local.lambda_runtime.failures import EXITED, RESPONSE_TOO_LARGE, TIMED_OUT, LambdaError
from local.lambda_runtime.runtime_api import (
    Answered,
    Exited,
    Failed,
    Invocation,
    Ready,
    Report,
    RuntimeApi,
    TimeUp,
)

MAX_RESPONSE_BYTES = 6 * 1024 * 1024 + 100
"""The limit of Lambda for a synchronous invocation."""


class LambdaProcess:
    """A Lambda function: its handler in a separate process that gets events through the runtime API.

    The process sees only the function's folder, the `python` folders of its layers, the runtime client and the
    standard library. It starts with the first `invoke` and stays for the next ones. After a timeout, an exit or a
    failed import, the next `invoke` starts a new process. It handles one event at a time, like Lambda's execution
    environments: an `invoke` from another thread waits.

    `environment` holds the function's variables, with AWS credentials. The timeout starts after the import of the
    handler, which may take `init_timeout_seconds`.
    """

    def __init__(
        self,
        *,
        handler: str,
        function_dir: Path,
        layer_dirs: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float = 900,
        init_timeout_seconds: float = 60,
        memory_mib: int = 1769,
        name: str | None = None,
    ) -> None:
        self.name = name or function_dir.name
        self._handler = handler
        self._function_dir = function_dir.absolute()
        self._layer_dirs = [folder.absolute() for folder in layer_dirs]
        self._environment = dict(environment or {})
        self._timeout_seconds = timeout_seconds
        self._init_timeout_seconds = init_timeout_seconds
        self._memory_mib = memory_mib
        self._turn = Lock()
        self._running: _Running | None = None
        self._is_closed = False
        self._folder = Path(tempfile.mkdtemp(prefix="lambda-"))
        self._log = self._folder / "log"
        self._log.touch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def logs(self) -> list[str]:
        """The lines that all processes of this function have printed so far."""
        return self._log.read_text(errors="backslashreplace").splitlines()

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - any JSON value
        """Return the handler's answer to an event.

        Raises:
            LambdaError: the handler raised or could not be imported, the process ended, or time ran out.
        """
        body = json.dumps(event).encode()
        request_id = str(uuid.uuid4())
        with self._turn:
            report = self._report_on(request_id, body)
        match report:
            case Answered(payload) if len(payload) <= MAX_RESPONSE_BYTES:
                return json.loads(payload)
            case Answered(payload):
                raise _too_large(len(payload))
            case Failed(error):
                raise error
            case Exited(status):
                raise _exited(request_id, status)
            case _:
                raise _timed_out(request_id, self._timeout_seconds)

    def kill(self) -> None:
        """Kill the process in the middle of an event. The next event starts a new process."""
        if (running := self._running) is not None:
            running.kill()

    def let_time_run_out(self) -> None:
        """End the current event as a timeout does. The next event starts a new process."""
        if (running := self._running) is not None:
            running.api.reports.put(TimeUp())

    def close(self) -> None:
        """End the process, even in the middle of an event, and remove its log. No event may follow."""
        self._is_closed = True
        if (running := self._running) is not None:
            running.kill()
        with self._turn:
            self._stop()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _report_on(self, request_id: str, body: bytes) -> Report | None:
        """Give an event to the process. Starts one if there is none, and keeps it if it answers."""
        if self._is_closed:
            raise RuntimeError(f"{self.name} is closed")
        running = self._running = self._running or self._start()
        keep = False
        try:
            report = running.next_report(self._init_timeout_seconds)
            if isinstance(report, Ready):
                running.api.hand_over(self._invocation(request_id, body))
                report = running.next_report(self._timeout_seconds)
                keep = isinstance(report, Answered | Failed)
        finally:
            if not keep:
                self._stop()
        return report

    def _invocation(self, request_id: str, body: bytes) -> Invocation:
        now = time.time()
        region = self._environment.get("AWS_REGION", "us-east-1")
        return Invocation(
            request_id=request_id,
            event=body,
            deadline_ms=int((now + self._timeout_seconds) * 1000),
            function_arn=f"arn:aws:lambda:{region}:123456789012:function:{self.name}",
            trace_id=f"Root=1-{int(now):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0",
        )

    def _start(self) -> _Running:
        api = RuntimeApi()
        environment = variables(
            name=self.name,
            handler=self._handler,
            memory_mib=self._memory_mib,
            function_dir=self._function_dir,
            layer_dirs=self._layer_dirs,
            api_address=api.address,
            environment=self._environment,
        )
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command_line(self._handler),
                cwd=self._function_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return _Running(process, api)

    def _stop(self) -> None:
        if self._running is not None:
            self._running.end()
            self._running = None


class _Running:
    """A process with its runtime API."""

    def __init__(self, process: subprocess.Popen[bytes], api: RuntimeApi) -> None:
        self.api = api
        self._process = process
        self._watch = Thread(target=lambda: api.reports.put(Exited(process.wait())))
        self._watch.start()

    def next_report(self, timeout_seconds: float) -> Report | None:
        """Wait for the next report of the process; None after the timeout."""
        try:
            return self.api.reports.get(timeout=timeout_seconds)
        except queue.Empty:
            return None

    def kill(self) -> None:
        """Kill the process and its children."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill the process, wait for its end, and close its API."""
        self.kill()
        self._watch.join()
        self.api.close()


# The messages of Lambda, word for word.


def _timed_out(request_id: str, timeout_seconds: float) -> LambdaError:
    message = f"RequestId: {request_id} Error: Task timed out after {timeout_seconds:.2f} seconds"
    return LambdaError(TIMED_OUT, message)


def _exited(request_id: str, status: int) -> LambdaError:
    how = f"exit status {status}" if status >= 0 else f"signal: {signal.strsignal(-status)}"
    return LambdaError(EXITED, f"RequestId: {request_id} Error: Runtime exited with error: {how}")


def _too_large(size_bytes: int) -> LambdaError:
    limit = f"maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)"
    message = f"Response payload size ({size_bytes} bytes) exceeded {limit}."
    return LambdaError(RESPONSE_TOO_LARGE, message)
