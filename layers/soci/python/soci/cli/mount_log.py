"""Where a mount's log goes: standard error, or a file."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soci.cli.terminal import printable
from soci.places.layout.extents import storage_errors

_NAMES = ("soci.mount", "fuse")
"""Loggers of the mount and of mfusepy."""


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return one line in which control characters are escaped: a file's name must not move the cursor."""
        return printable(super().format(record))


@contextmanager
def mount_log(path: Path | None) -> Iterator[None]:
    """Send warnings of the mount to a file, or to standard error. Raises `StorageError`."""
    if path is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_OneLine("soci-index: %(message)s"))
    else:
        with storage_errors(path):
            handler = logging.FileHandler(path.absolute())
        handler.setFormatter(_OneLine("%(asctime)s %(message)s"))
    loggers = [logging.getLogger(name) for name in _NAMES]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
