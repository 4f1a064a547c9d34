"""A thread that handles items in order. It runs beside C code that frees the GIL (inflate, hashes)."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

QUEUED_ITEMS = 4
"""Enough to bridge short delays. Together with the size of an item, this bounds the memory."""

SWITCH_INTERVAL_SECONDS = 0.0002


def switch_threads_often() -> None:
    """Switch between Python's threads every 0.2 ms instead of every 5 ms, in the whole process.

    A call to inflate takes less than a millisecond. If it then waited 5 ms for the interpreter, while another thread
    reads tar headers, the two would hardly run side by side. Programs call this function at their start. The library
    does not, since the setting belongs to the process.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)


class Worker(Generic[Item]):
    """Calls `handle` for each `put` item, on its own thread. `finish` waits and raises the thread's error.

    After an error the remaining items go to `drop`, so `put` never waits for a dead thread.
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
        """Queue an item. Waits while the queue is full."""
        self._items.put(item)

    def finish(self) -> None:
        """Wait until all items are handled and end the thread. Raises the error of `handle`."""
        self.stop()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Handle the queued items and end the thread, without raising. Further calls do nothing."""
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
            except Exception as error:  # noqa: BLE001 - raised by `finish` in the caller's thread
                self.error = error
                self._drop(item)
