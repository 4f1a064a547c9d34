"""The functions of a system: for each a pool of warm processes, as Lambda keeps them.

A process takes one invocation at a time. Where none is free a new one is started, up to a limit; beyond that callers
wait, where Lambda would answer with TooManyRequestsException, since one machine has so many cores only. That answer,
and a process that ends in the middle of its work, are to be had on request.
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
    """What an invocation gives: the payload as JSON, and Lambda's FunctionError if that describes a failure."""

    payload: bytes = field(repr=False)
    function_error: str | None = None


_THROTTLED = Answer(
    payload=json.dumps(
        LambdaError("Lambda.TooManyRequestsException", "Rate Exceeded.").to_payload()
    ).encode(),
    function_error="Unhandled",
)
"""By the name that Step Functions has for it."""


class FunctionProcess(Protocol):
    """A process that serves one function; after a crash it starts anew by itself."""

    def invoke(self, payload: bytes) -> Answer:
        """Run the handler; a crash and a time-out are answers too."""

    def kill(self) -> None:
        """Kill what runs in the middle of its work; the call fails, and the next one starts anew."""

    def let_time_run_out(self) -> None:
        """Have the call that it is at end as if its time were up."""

    def close(self) -> None:
        """End it, also while it is at work."""


class LambdaRuntime:
    """A function's process behind Lambda's own runtime client."""

    def __init__(self, process: LambdaProcess) -> None:
        self._process = process

    def invoke(self, payload: bytes) -> Answer:
        """Run the handler; a failure has the payload by which Lambda reports it."""
        try:
            document, error = self._process.invoke(json.loads(payload)), None
        except LambdaError as failed:
            document, error = failed.to_payload(), "Unhandled"
        return Answer(payload=json.dumps(document).encode(), function_error=error)

    def logs(self) -> list[str]:
        """Give the lines that the handler has written."""
        return self._process.logs

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def let_time_run_out(self) -> None:
        """End the call as a time-out does."""
        self._process.let_time_run_out()

    def close(self) -> None:
        """End the process."""
        self._process.close()


class FunctionPool:
    """The warm processes of one function."""

    def __init__(self, start: Callable[[], FunctionProcess], *, limit: int) -> None:
        self._start = start
        self._places = threading.BoundedSemaphore(limit)
        self._lock = threading.Lock()
        self._idle: list[FunctionProcess] = []
        self._all: set[FunctionProcess] = set()
        self._closed = False
        self._throttled: int | None = 0
        self.invocations = 0
        self.refusals = 0
        """Calls that were answered with TooManyRequestsException."""

    def invoke(self, payload: bytes) -> Answer:
        """Run the handler in a process that is free, or in a new one."""
        if self._is_refused():
            return _THROTTLED
        with self._places, self._borrowed() as process:
            return process.invoke(payload)

    def throttle(self, *, times: int | None = None) -> None:
        """Refuse the next so many calls, without a number all, as Lambda does where no concurrency is left."""
        self._throttled = times

    def heal(self) -> None:
        """Refuse no more calls."""
        self._throttled = 0

    def renew(self) -> None:
        """End the processes that are warm and wait: the next calls start from nothing."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._all.difference_update(idle)
        for process in idle:
            process.close()

    def is_at_work(self) -> bool:
        """Tell whether a call is being served."""
        return bool(self._at_work())

    def kill(self) -> None:
        """Kill each process that is at work."""
        for process in self._at_work():
            process.kill()

    def let_time_run_out(self) -> None:
        """Have each call that is being served end as if its time were up."""
        for process in self._at_work():
            process.let_time_run_out()

    def close(self) -> None:
        """End all processes, those that are at work too."""
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
    """All functions of a system by ARN and by name."""

    def __init__(self, pools: Mapping[str, FunctionPool]) -> None:
        self._pools = pools

    def pool(self, function: str) -> FunctionPool:
        """Give the processes of a function by its ARN or its name. Raises KeyError if there is none."""
        return self._pools[function.removesuffix(":$LATEST").rpartition(":")[2]]

    def invoke(self, function: str, payload: bytes) -> Answer:
        """Invoke a function by its ARN or its name. Raises KeyError if there is none."""
        return self.pool(function).invoke(payload)

    def invocations(self) -> dict[str, int]:
        """Count the invocations so far by the function's name."""
        return {name: pool.invocations for name, pool in self._pools.items()}

    def heal(self) -> None:
        """Refuse no more calls."""
        for pool in self._pools.values():
            pool.heal()

    def close(self) -> None:
        """End all processes."""
        for pool in self._pools.values():
            pool.close()
