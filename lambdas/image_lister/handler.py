"""The function that lists what repositories hold, page by page, and counts what came of each page.

Errors pass through: the workflow knows by their names which to try again. Each call leaves one line in the log.
"""

# ruff: noqa: INP001 - Lambda imports the file by its name, out of a folder of its own

from __future__ import annotations

import json
import os
import time
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from soci.errors import SociError
from soci.service.deadline import in_time
from soci.service.registry import SHORT, RegistryPlace
from soci.service.reindex.listing import Lister
from soci.service.reindex.step import metrics_of, next_step
from soci.service.settings.configuration import Configuration

logger = Logger(service="soci-index-builder")

Document = dict[str, object]


@cache
def _lister() -> Lister:
    """Read what the function was deployed with; login and connections last as long as the process."""
    place = RegistryPlace(os.environ["SOCI_REGISTRY"], retries=SHORT)
    settings = Configuration.from_document(json.loads(os.environ["SOCI_SETTINGS"]))
    return Lister(place.api, place.open_image, settings)


@logger.inject_lambda_context
def handler(event: Document, context: LambdaContext) -> Document:
    """Take a re-index a step further: its state in, the same with the next images out."""
    try:
        with in_time(context.get_remaining_time_in_millis()):
            state = next_step(event, lambda request, place: _lister().fetch_page(request, place))
    except SociError as error:
        failure: Document = {"error": type(error).__name__, "detail": str(error)}
        logger.error("no page", extra={"request": event.get("request")} | failure)  # noqa: TRY400 - Lambda logs the trace
        raise
    told = ("request", "cursor", "summary", "done")
    metrics = metrics_of(event, state, stack=os.environ["SOCI_STACK"], timestamp_ms=int(time.time() * 1000))
    logger.info("listed", extra={name: state[name] for name in told} | _counts(state) | metrics)
    return state


def _counts(state: Document) -> Document:
    return {name: len(items) for name, items in state.items() if isinstance(items, list)}
