"""Work that ends before its process is ended: what hangs is then an error that the workflow tries again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from soci.errors import RegistryUnavailable, Stopped
from soci.places.cancellation import cancel_after

MARGIN_SECONDS = 15.0
"""For a connection that is being made when time is up, which nothing cuts short, and for the answer."""


@contextmanager
def in_time(milliseconds_left: int) -> Iterator[None]:
    """Stop the requests of the calling thread a while before its time is up.

    Raises:
        RegistryUnavailable: there was no answer for so long, however many requests that were.
    """
    left = milliseconds_left / 1000
    seconds = left - min(MARGIN_SECONDS, left / 4)
    try:
        with cancel_after(seconds):
            yield
    except Stopped:
        raise RegistryUnavailable(f"the registry did not answer within {seconds:.0f} seconds") from None
