"""A deadline for requests, before Lambda ends the process: a request that hangs becomes an error to retry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from soci.errors import RegistryUnavailable, Stopped
from soci.places.cancellation import cancel_after

MARGIN_SECONDS = 15.0
"""Time for a connection that is being opened, which cannot be cancelled, and for the answer of the function."""


@contextmanager
def within_deadline(milliseconds_left: int) -> Iterator[None]:
    """Cancel the requests of the calling thread shortly before the time of the function ends.

    Raises:
        RegistryUnavailable: the requests were cancelled.
    """
    left = milliseconds_left / 1000
    seconds = left - min(MARGIN_SECONDS, left / 4)
    try:
        with cancel_after(seconds):
            yield
    except Stopped:
        raise RegistryUnavailable(f"the registry did not answer within {seconds:.0f} seconds") from None
