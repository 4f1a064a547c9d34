"""The functions of a system: for each a pool of warm processes, as Lambda keeps them.

A process takes one invocation at a time. Where none is free a new one is started, up to a limit; beyond that callers
wait, where Lambda would answer with TooManyRequestsException, since one machine has so many cores only.
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


class FunctionProcess(Protocol):
    """A process that serves one function; after a crash it starts anew by itself."""

    def invoke(self, payload: bytes) -> Answer:
        """Run the handler; a crash and a time-out are answers too."""

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
        self.invocations = 0

    def invoke(self, payload: bytes) -> Answer:
        """Run the handler in a process that is free, or in a new one."""
        with self._places, self._borrowed() as process:
            return process.invoke(payload)

    def close(self) -> None:
        """End all processes, those that are at work too."""
        with self._lock:
            self._closed = True
            running, self._all = self._all, set()
            self._idle.clear()
        for process in running:
            process.close()

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

    def invoke(self, function: str, payload: bytes) -> Answer:
        """Invoke a function by its ARN or its name. Raises KeyError if there is none."""
        return self._pools[function.removesuffix(":$LATEST").rpartition(":")[2]].invoke(payload)

    def invocations(self) -> dict[str, int]:
        """Count the invocations so far by the function's name."""
        return {name: pool.invocations for name, pool in self._pools.items()}

    def close(self) -> None:
        """End all processes."""
        for pool in self._pools.values():
            pool.close()
