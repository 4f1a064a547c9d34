"""The function that decides whether an image is ours to index, and which of its layers.

Errors pass through: the workflow knows by their names which to try again. Each call leaves one line in the log.
"""

# ruff: noqa: INP001 - Lambda imports the file by its name, out of a folder of its own

from __future__ import annotations

import json
import os
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from soci.errors import SociError
from soci.service.deadline import in_time
from soci.service.filter.decide import decide
from soci.service.filter.requests import parse_request
from soci.service.registry import SHORT, RegistryPlace
from soci.service.settings.configuration import Configuration

logger = Logger(service="soci-index-builder")

Document = dict[str, object]


@cache
def _environment() -> tuple[Configuration, RegistryPlace]:
    """Read what the function was deployed with; login and connections last as long as the process."""
    settings = Configuration.from_document(json.loads(os.environ["SOCI_SETTINGS"]))
    return settings, RegistryPlace(os.environ["SOCI_REGISTRY"], retries=SHORT)


@logger.inject_lambda_context(correlation_id_path="request.id || execution")
def handler(event: Document, context: LambdaContext) -> Document:
    """Decide on an image: what started an execution, and the execution's name, in; a `Decision` out."""
    about: Document = {}
    try:
        request = parse_request(event.get("request"), event.get("execution"))
        about = request.to_document()
        with in_time(context.get_remaining_time_in_millis()):
            decision = decide(request, *_environment())
    except SociError as error:
        failure = {"error": type(error).__name__, "detail": str(error)}
        logger.error("no decision", extra=about | failure)  # noqa: TRY400 - Lambda logs the trace
        raise
    counts = {"layers": len(decision.layers), "platforms": len(decision.platforms)}
    answer = decision.to_document()
    logger.info("decided", extra=answer | counts)
    return answer
