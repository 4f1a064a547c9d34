"""The line that a function logs when a call fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from soci.errors import SociError


class ErrorLogger(Protocol):
    """A logger that writes extra fields, such as that of Powertools."""

    def error(self, msg: object, *, extra: dict[str, object]) -> None:
        """Log an error."""


@contextmanager
def log_failure(logger: ErrorLogger, message: str) -> Iterator[dict[str, object]]:
    """Log a failed call in one line, and raise its error again. The workflow retries by the error's name.

    Yields a dictionary. The call puts in it what it is about; the line adds the name and the detail of the error.
    """
    about: dict[str, object] = {}
    try:
        yield about
    except SociError as error:
        failure = {"error": type(error).__name__, "detail": str(error)}
        logger.error(message, extra=about | failure)  # noqa: TRY400 - Lambda logs the trace
        raise
