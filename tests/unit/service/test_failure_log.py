from __future__ import annotations

from typing import Any

import pytest

from soci.errors import InvalidRequest
from soci.service.failure_log import log_failure


class Lines:
    """A logger that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, dict[str, Any]]] = []

    def error(self, msg: object, *, extra: dict[str, object]) -> None:
        self.lines.append((msg, extra))


def fail(logger: Lines) -> None:
    with log_failure(logger, "no decision") as about:
        about["repository"] = "team/app"
        raise InvalidRequest("request: no tag")


def test_a_failed_call_logs_what_it_was_about_and_raises_its_error():
    logger = Lines()

    with pytest.raises(InvalidRequest, match="no tag"):
        fail(logger)

    failure = {"error": "InvalidRequest", "detail": "request: no tag"}
    assert logger.lines == [("no decision", {"repository": "team/app"} | failure)]


def test_a_call_that_succeeds_logs_nothing_here():
    logger = Lines()

    with log_failure(logger, "no decision") as about:
        about["repository"] = "team/app"

    assert logger.lines == []


def test_an_error_that_is_not_ours_is_left_to_lambda():
    logger = Lines()

    with pytest.raises(ZeroDivisionError), log_failure(logger, "no decision"):
        raise ZeroDivisionError

    assert logger.lines == []
