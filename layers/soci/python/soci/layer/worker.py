"""A thread that handles items in order; C code that frees the GIL (inflate, hashes) then runs beside it."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

QUEUED_ITEMS = 4
"""Enough to smooth out a hiccup; together with the size of an item it bounds the memory."""


SWITCH_INTERVAL_SECONDS = 0.0002


def switch_threads_often() -> None:
    """Let Python's threads take turns every 0.2 ms instead of every 5 ms, in the whole process.

    A call to inflate takes less than a millisecond; waiting 5 ms for the interpreter after each one, while another
    thread reads tar headers, would keep the two from running side by side. A program calls this at its start; the
    library does not, since the setting is the process's own.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)


class Worker(Generic[Item]):
    """Calls `handle` for each item that is `put`, on its own thread; `finish` waits and raises its error.

    After an error the remaining items go to `drop`, so that whoever puts them never waits for a dead thread.
    """

    def __init__(
        self, handle: Callable[[Item], None], *, drop: Callable[[Item], None] = lambda _: None
    ) -> None:
        self.error: Exception | None = None
        self._handle = handle
        self._drop = drop
        self._items: queue.Queue[Item | None] = queue.Queue(QUEUED_ITEMS)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Queue an item; waits while the thread is behind."""
        self._items.put(item)

    def finish(self) -> None:
        """Wait until everything is handled and end the thread. Raises what `handle` raised."""
        self.stop()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """End the thread after what is queued, whatever came of it; may be called again."""
        if self._thread.is_alive():
            self._items.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            if self.error is not None:
                self._drop(item)
                continue
            try:
                self._handle(item)
            except Exception as error:  # noqa: BLE001 - handed to the thread that calls `finish`
                self.error = error
                self._drop(item)
