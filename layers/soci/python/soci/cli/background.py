"""A command that goes on in the background once it is ready, and whose caller learns how its start went."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import typer


@contextmanager
def detached() -> Iterator[Callable[[], None]]:
    """Fork. The block runs in the child, which leaves the terminal when it calls what is yielded.

    The parent waits for that call and then exits with status 0; if the child ends before, with the child's status.
    Call it before any thread is started.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child:
        os.close(write_end)
        raise typer.Exit(_wait_for(child, read_end))
    os.close(read_end)

    def leave_terminal() -> None:
        os.setsid()
        with suppress(OSError):
            sys.stdout.flush()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        os.close(nowhere)
        os.write(write_end, b"r")
        os.close(write_end)

    yield leave_terminal


def _wait_for(child: int, read_end: int) -> int:
    """Return 0 when the child is ready, else its exit status."""
    try:
        with open(read_end, "rb", buffering=0) as pipe:
            if pipe.read(1):
                return 0
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except BaseException:  # a signal: the child gets it, too, if it came from the terminal
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
