"""The function that lists the images of repositories, page by page, and counts the results of each page.

Errors are raised: the workflow decides by their names which calls to retry. Each call logs one line.
"""

# ruff: noqa: INP001 - Lambda imports the file by its name, out of a folder of its own

from __future__ import annotations

import json
import os
import time
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from soci.places.registry.connect import connect
from soci.places.registry.ecr_api import EcrApi
from soci.places.registry.retry import SHORT_RETRIES
from soci.service.deadline import within_deadline
from soci.service.failure_log import log_failure
from soci.service.reindex.listing import Lister
from soci.service.reindex.step import metrics_of, next_step
from soci.service.settings.configuration import Configuration

logger = Logger(service="soci-index-builder")

Document = dict[str, object]


@cache
def _lister() -> Lister:
    """Read the function's environment once per process, and keep the login and the connections."""
    registry = connect(os.environ["SOCI_REGISTRY"], is_ecr=True, retries=SHORT_RETRIES)
    settings = Configuration.from_document(json.loads(os.environ["SOCI_SETTINGS"]))
    return Lister(EcrApi(registry.host), registry.open_image, settings)


@logger.inject_lambda_context
def handler(event: Document, context: LambdaContext) -> Document:
    """Take the state of a re-index; return the state after the next step, with the next images."""
    with log_failure(logger, "no page") as about:
        about["request"] = event.get("request")
        with within_deadline(context.get_remaining_time_in_millis()):
            state = next_step(event, lambda request, cursor: _lister().fetch_page(request, cursor))
    logged = ("request", "cursor", "summary", "done")
    metrics = metrics_of(event, state, stack=os.environ["SOCI_STACK"], timestamp_ms=int(time.time() * 1000))
    logger.info("listed", extra={name: state[name] for name in logged} | _counts(state) | metrics)
    return state


def _counts(state: Document) -> Document:
    return {name: len(items) for name, items in state.items() if isinstance(items, list)}
