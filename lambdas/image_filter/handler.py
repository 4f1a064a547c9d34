"""The function that decides whether to index an image, and which of its layers.

Errors are raised: the workflow decides by their names which calls to retry. Each call logs one line.
"""

# ruff: noqa: INP001 - Lambda imports the file by its name, out of a folder of its own

from __future__ import annotations

import json
import os
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from soci.places.ports import ImageOpener
from soci.places.registry.connect import connect
from soci.places.registry.retry import SHORT_RETRIES
from soci.service.deadline import within_deadline
from soci.service.failure_log import log_failure
from soci.service.filter.decide import decide
from soci.service.filter.requests import parse_request
from soci.service.settings.configuration import Configuration

logger = Logger(service="soci-index-builder")

Document = dict[str, object]


@cache
def _environment() -> tuple[Configuration, ImageOpener]:
    """Read the function's environment once per process, and keep the login and the connections."""
    settings = Configuration.from_document(json.loads(os.environ["SOCI_SETTINGS"]))
    registry = connect(os.environ["SOCI_REGISTRY"], is_ecr=True, retries=SHORT_RETRIES)
    return settings, registry.open_image


@logger.inject_lambda_context(correlation_id_path="request.id || execution")
def handler(event: Document, context: LambdaContext) -> Document:
    """Take the input and the name of an execution; return a `Decision`."""
    with log_failure(logger, "no decision") as about:
        request = parse_request(event.get("request"), event.get("execution"))
        about.update(request.to_document())
        with within_deadline(context.get_remaining_time_in_millis()):
            decision = decide(request, *_environment())
    counts = {"layers": len(decision.layers), "platforms": len(decision.platforms)}
    answer = decision.to_document()
    logger.info("decided", extra=answer | counts)
    return answer
