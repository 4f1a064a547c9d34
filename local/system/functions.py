"""The functions of a system: a pool of warm processes for each, as in Lambda.

A process takes one invocation at a time. If none is free, a new one starts, up to a limit. Beyond it callers wait,
since a machine has few cores; Lambda would answer with TooManyRequestsException. Tests can request that answer, and the
end of a process in the middle of its work.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from local.lambda_runtime import LambdaError, LambdaProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of an invocation: the JSON payload, and Lambda's FunctionError if the payload is an error."""

    payload: bytes = field(repr=False)
    function_error: str | None = None


_THROTTLED = Answer(
    payload=json.dumps(
        LambdaError("Lambda.TooManyRequestsException", "Rate Exceeded.").to_payload()
    ).encode(),
    function_error="Unhandled",
)
"""With the error name that Step Functions uses."""


class FunctionProcess(Protocol):
    """A process of one function. It restarts by itself after a crash."""

    def invoke(self, payload: bytes) -> Answer:
        """Run the handler. Crashes and timeouts are answers, too."""

    def kill(self) -> None:
        """Kill the process in the middle of its work. The call fails; the next one starts a new process."""

    def let_time_run_out(self) -> None:
        """End the current call as a timeout does."""

    def close(self) -> None:
        """End the process, even in the middle of its work."""


class LambdaRuntime:
    """A function's process with Lambda's own runtime client."""

    def __init__(self, process: LambdaProcess) -> None:
        self._process = process

    def invoke(self, payload: bytes) -> Answer:
        """Run the handler. A failure has the payload that Lambda would report."""
        try:
            document, error = self._process.invoke(json.loads(payload)), None
        except LambdaError as failed:
            document, error = failed.to_payload(), "Unhandled"
        return Answer(payload=json.dumps(document).encode(), function_error=error)

    def logs(self) -> list[str]:
        """Return the lines that the handler has printed."""
        return self._process.logs

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def let_time_run_out(self) -> None:
        """End the current call as a timeout does."""
        self._process.let_time_run_out()

    def close(self) -> None:
        """End the process."""
        self._process.close()


class FunctionPool:
    """The warm processes of one function."""

    def __init__(self, start: Callable[[], FunctionProcess], *, limit: int) -> None:
        self._start = start
        self._slots = threading.BoundedSemaphore(limit)
        self._lock = threading.Lock()
        self._idle: list[FunctionProcess] = []
        self._all: set[FunctionProcess] = set()
        self._closed = False
        self._throttled: int | None = 0
        self.invocations = 0
        self.refusals = 0
        """The number of calls answered with TooManyRequestsException."""

    def invoke(self, payload: bytes) -> Answer:
        """Run the handler in a free process or a new one."""
        if self._is_refused():
            return _THROTTLED
        with self._slots, self._borrowed() as process:
            return process.invoke(payload)

    def throttle(self, *, times: int | None = None) -> None:
        """Refuse the next `times` calls, or all, as Lambda does when the concurrency is used up."""
        self._throttled = times

    def heal(self) -> None:
        """Stop refusing calls."""
        self._throttled = 0

    def renew(self) -> None:
        """End the idle processes, so that the next calls start cold."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._all.difference_update(idle)
        for process in idle:
            process.close()

    def is_at_work(self) -> bool:
        """Tell whether a call is running."""
        return bool(self._at_work())

    def kill(self) -> None:
        """Kill each busy process."""
        for process in self._at_work():
            process.kill()

    def let_time_run_out(self) -> None:
        """End each running call as a timeout does."""
        for process in self._at_work():
            process.let_time_run_out()

    def close(self) -> None:
        """End all processes, also busy ones."""
        with self._lock:
            self._closed = True
            running, self._all = self._all, set()
            self._idle.clear()
        for process in running:
            process.close()

    def _at_work(self) -> set[FunctionProcess]:
        with self._lock:
            return self._all.difference(self._idle)

    def _is_refused(self) -> bool:
        with self._lock:
            if self._throttled == 0:
                return False
            if self._throttled is not None:
                self._throttled -= 1
            self.refusals += 1
            return True

    @contextmanager
    def _borrowed(self) -> Iterator[FunctionProcess]:
        with self._lock:
            self.invocations += 1
            process = self._idle.pop() if self._idle else None
        process = process or self._started()
        try:
            yield process
        finally:
            with self._lock:
                if not self._closed:
                    self._idle.append(process)

    def _started(self) -> FunctionProcess:
        process = self._start()
        with self._lock:
            self._all.add(process)
            is_late = self._closed
        if is_late:
            process.close()
        return process


class Functions:
    """All functions of a system, by ARN or name."""

    def __init__(self, pools: Mapping[str, FunctionPool]) -> None:
        self._pools = pools

    def pool(self, function: str) -> FunctionPool:
        """Return the processes of a function by its ARN or name. Raises KeyError if there is none."""
        return self._pools[function.removesuffix(":$LATEST").rpartition(":")[2]]

    def invoke(self, function: str, payload: bytes) -> Answer:
        """Invoke a function by its ARN or name. Raises KeyError if there is none."""
        return self.pool(function).invoke(payload)

    def invocations(self) -> dict[str, int]:
        """Return the number of invocations so far by function name."""
        return {name: pool.invocations for name, pool in self._pools.items()}

    def heal(self) -> None:
        """Stop refusing calls."""
        for pool in self._pools.values():
            pool.heal()

    def close(self) -> None:
        """End all processes."""
        for pool in self._pools.values():
            pool.close()
