"""Cancelling the work of other threads: waits for time and for bytes end at once.

    cancellation = Cancellation()
    with cancellation.scope():      in a worker thread
        cancellable_sleep(20)       raises `Stopped` once any thread calls cancellation.cancel()

Each thread knows its own cancellation, so no function passes one on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from soci.errors import Stopped


class Cancellation:
    """A flag that cancels work. Any thread may set it; nothing resets it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[object, Callable[[], None]] = {}

    def is_cancelled(self) -> bool:
        """Tell whether the work is cancelled."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Cancel the work: end its waits and call the callbacks of `on_cancel`."""
        self._event.set()
        with self._lock:
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            callback()

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call a function if the work is cancelled during the block; at once if it is cancelled already."""
        key = object()
        with self._lock:
            self._callbacks[key] = callback
        try:
            if self.is_cancelled():
                callback()
            yield
        finally:
            with self._lock:
                del self._callbacks[key]

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Apply this cancellation to the calling thread inside the block."""
        outer = current_cancellation()
        _thread.cancellation = self
        try:
            yield
        finally:
            _thread.cancellation = outer

    def check(self) -> None:
        """Raise `Stopped` if the work is cancelled."""
        if self.is_cancelled():
            raise Stopped("cancelled, because other work failed or was stopped")

    def sleep(self, seconds: float) -> None:
        """Sleep. Raises `Stopped` when the work is cancelled, before or meanwhile."""
        self._event.wait(seconds)
        self.check()


@contextmanager
def cancel_after(seconds: float) -> Iterator[None]:
    """Cancel the waits of the calling thread inside the block after some seconds. An outer scope does not apply."""
    cancellation = Cancellation()
    timer = threading.Timer(seconds, cancellation.cancel)
    timer.start()
    try:
        with cancellation.scope():
            yield
    finally:
        timer.cancel()
        timer.join()


def cancellable_threads(count: int) -> ThreadPoolExecutor:
    """Start threads under the cancellation of the calling thread."""
    return ThreadPoolExecutor(count, initializer=_enter, initargs=(current_cancellation(),))


def _enter(cancellation: Cancellation) -> None:
    _thread.cancellation = cancellation


_thread = threading.local()
_NEVER = Cancellation()


def current_cancellation() -> Cancellation:
    """Return the cancellation of the calling thread; one that never happens if there is none."""
    cancellation: Cancellation = getattr(_thread, "cancellation", _NEVER)
    return cancellation


def cancellable_sleep(seconds: float) -> None:
    """Sleep as `time.sleep` does. Raises `Stopped` when the calling thread is cancelled."""
    current_cancellation().sleep(seconds)
