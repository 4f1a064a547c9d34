"""`soci-index mount --record`: the profile is written at the end, on SIGUSR1, and when the time to record is over."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from soci.cli.terminal import print_error
from soci.errors import StorageError
from soci.mount.recorder import Recorder
from soci.places.layout.atomic_files import write_atomically
from soci.start.profile import StartProfile, encode_profile

_LOOK_SECONDS = 0.2
"""How often it looks whether the time to record is over."""


@contextmanager
def recording(path: Path, recorder: Recorder, make: Callable[[], StartProfile]) -> Iterator[None]:
    """Write the profile that `make` returns to a file, whenever it is due. Call it in the main thread.

    Raises:
        StorageError: the file cannot be written at the end. Before, such an error is only printed.
    """
    path = path.absolute()  # libfuse changes the working directory

    def write() -> None:
        write_atomically(path, (encode_profile(make()),))

    with _thread_at_signals(lambda: recorder.is_over, write):
        yield
    write()


@contextmanager
def _thread_at_signals(is_over: Callable[[], bool], write: Callable[[], None]) -> Iterator[None]:
    """Write on SIGUSR1 and once when it is over, in a thread: the main thread is inside libfuse all the time."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    ended = threading.Event()

    def wait() -> None:
        is_written = False
        while not ended.is_set():
            asked = bool(select.select([read_end], [], [], _LOOK_SECONDS)[0]) and _drain(read_end)
            if ended.is_set() or not (asked or (is_over() and not is_written)):
                continue
            is_written = is_over()
            try:
                write()
            except StorageError as error:
                print_error(f"profile: {error}")

    handler = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    wakeup = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    thread = threading.Thread(target=wait, name="recording")
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGUSR1, handler)
        ended.set()
        os.write(write_end, b"\0")
        thread.join()
        os.close(read_end)
        os.close(write_end)


def _drain(read_end: int) -> bool:
    """Tell whether SIGUSR1 was among the signals that came."""
    return signal.SIGUSR1 in os.read(read_end, 4096)
