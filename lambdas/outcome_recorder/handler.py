"""The function that records the outcome of an image: it sends an event, then logs one line.

The event comes first. If it cannot be sent, the call fails, nothing is counted, and the workflow retries. If only the
answer is lost, a retry sends and counts a second time. So both happen at least once.
"""

# ruff: noqa: INP001 - Lambda imports the file by its name, out of a folder of its own

from __future__ import annotations

import json
import os

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from soci.service.cost import FunctionSizes
from soci.service.failure_log import log_failure
from soci.service.outcome.event_bus import EventBus, detail_type
from soci.service.outcome.log_line import outcome_line
from soci.service.outcome.record import parse_record

logger = Logger(service="soci-index-builder")
bus = EventBus()

Document = dict[str, object]


@logger.inject_lambda_context
def handler(event: Document, context: LambdaContext) -> Document:  # noqa: ARG001 - Lambda's signature
    """Record an outcome, in a form of `soci.service.outcome.record`; return the detail type of the event."""
    with log_failure(logger, "not told") as about:
        record = parse_record(event)
        logger.set_correlation_id(record.correlation_id)
        about["execution"] = record.execution.arn
        sizes = FunctionSizes.from_document(json.loads(os.environ["SOCI_FUNCTION_SIZES"]))
        line = outcome_line(record, stack=os.environ["SOCI_STACK"], sizes=sizes)
        bus.put(record)
    logger.info("outcome", extra=line)
    return {"told": detail_type(record.outcome)}
