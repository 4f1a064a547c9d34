"""The function that records what came of an image: an event for whoever waits for it, then one line in the log.

The event comes first: if it cannot be sent, the call fails and is repeated, and nothing has been counted. A call whose
answer is lost is repeated as well, and tells and counts a second time: both come at least once.
"""

# ruff: noqa: INP001 - Lambda imports the file by its name, out of a folder of its own

from __future__ import annotations

import json
import os

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from soci.errors import SociError
from soci.service.cost import FunctionSizes
from soci.service.outcome.event_bus import EventBus, detail_type
from soci.service.outcome.log_line import outcome_line
from soci.service.outcome.record import parse_record

logger = Logger(service="soci-index-builder")
bus = EventBus()

Document = dict[str, object]


@logger.inject_lambda_context
def handler(event: Document, context: LambdaContext) -> Document:  # noqa: ARG001 - Lambda's signature
    """Record an outcome: see `soci.service.outcome.record` for what comes in; out goes the name of what was told."""
    about: Document = {}
    try:
        record = parse_record(event)
        logger.set_correlation_id(record.correlation_id)
        about = {"execution": record.execution.arn}
        sizes = FunctionSizes.from_document(json.loads(os.environ["SOCI_FUNCTION_SIZES"]))
        line = outcome_line(record, stack=os.environ["SOCI_STACK"], sizes=sizes)
        bus.put(record)
    except SociError as error:
        failure: Document = {"error": type(error).__name__, "detail": str(error)}
        logger.error("not told", extra=about | failure)  # noqa: TRY400 - as elsewhere
        raise
    logger.info("outcome", extra=line)
    return {"told": detail_type(record.outcome)}
