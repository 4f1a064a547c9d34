"""Ending work of other threads at once: their waits, for time or for bytes, are cut short.

    stop = Stop()
    with stop.governs():        in a thread of the work
        pause(20)               raises `Stopped` as soon as somebody calls stop.set()

A thread asks no caller for its stop, so functions between need not pass one on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from soci.errors import Stopped


class Stop:
    """The wish that some work ends. Set by any thread, for good."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._acts: dict[object, Callable[[], None]] = {}

    def is_set(self) -> bool:
        """Tell whether the work is to end."""
        return self._event.is_set()

    def set(self) -> None:
        """End the work: waits end now, and what `on_set` has noted is called."""
        self._event.set()
        with self._lock:
            acts = list(self._acts.values())
        for act in acts:
            act()

    @contextmanager
    def on_set(self, act: Callable[[], None]) -> Iterator[None]:
        """Have something called when the stop is set during the block; at once if it is set already."""
        key = object()
        with self._lock:
            self._acts[key] = act
        try:
            if self.is_set():
                act()
            yield
        finally:
            with self._lock:
                del self._acts[key]

    @contextmanager
    def governs(self) -> Iterator[None]:
        """Let this stop end the waits of the calling thread inside the block."""
        outer = current_stop()
        _thread.stop = self
        try:
            yield
        finally:
            _thread.stop = outer

    def check(self) -> None:
        """Raise `Stopped` if the stop is set."""
        if self.is_set():
            raise Stopped("given up, since other work has failed or was ended")

    def sleep(self, seconds: float) -> None:
        """Wait. Raises `Stopped` when the stop is set, before or meanwhile."""
        self._event.wait(seconds)
        self.check()


@contextmanager
def for_at_most(seconds: float) -> Iterator[None]:
    """Stop the waits of the calling thread inside the block when that time is up, and for nothing else."""
    stop = Stop()
    timer = threading.Timer(seconds, stop.set)
    timer.start()
    try:
        with stop.governs():
            yield
    finally:
        timer.cancel()
        timer.join()


def threads_of_caller(count: int) -> ThreadPoolExecutor:
    """Make threads for parts of the caller's work: the stop that governs the caller governs them as well."""
    return ThreadPoolExecutor(count, initializer=_obey, initargs=(current_stop(),))


def _obey(stop: Stop) -> None:
    _thread.stop = stop


_thread = threading.local()
_NEVER = Stop()


def current_stop() -> Stop:
    """Return the stop that governs the calling thread; one that is never set if there is none."""
    stop: Stop = getattr(_thread, "stop", _NEVER)
    return stop


def pause(seconds: float) -> None:
    """Wait, as `time.sleep` does. Raises `Stopped` when the stop that governs the thread is set."""
    current_stop().sleep(seconds)
