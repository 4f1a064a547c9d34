"""The functions that index: `index_layer`, once for each layer, and `publish_index`, once for each image.

Errors pass through: the workflow knows by their names which to try again. Each call leaves one line in the log.
"""
# ruff: noqa: INP001 - Lambda imports the file by its name, out of a folder of its own

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from aws_lambda_powertools.utilities.typing import LambdaContext

from soci.errors import SociError
from soci.service.builder import Builder
from soci.service.deadline import in_time
from soci.service.layer_messages import LayerJob
from soci.service.messages import PublishJob

logger = Logger(service="soci-index-builder")
Document = dict[str, object]
# What is known of a zTOC may be wrong, and is then told.
copy_config_to_registered_loggers(logger, include={"soci"})


@cache
def _builder() -> Builder:
    return Builder.from_environment(os.environ)


@logger.inject_lambda_context(correlation_id_path="correlation_id")
def index_layer(event: Document, context: LambdaContext) -> Document:  # noqa: ARG001 - Lambda's signature
    """Build and push the zTOC of one layer: a `LayerJob` in, a `LayerOutcome` out."""
    with _logged("layer") as line:
        job = LayerJob.from_document(event)
        line.update(repository=job.repository, image=str(job.image))
        line.update(layer=str(job.layer.digest), layer_bytes=job.layer.size)
        line.update(answer := _builder().index_layer(job).to_document())
    return answer


@logger.inject_lambda_context(correlation_id_path="correlation_id")
def publish_index(event: Document, context: LambdaContext) -> Document:
    """Publish the index of an image: a `PublishJob` in, a `Published` out, the output of the execution."""
    with _logged("image") as line:
        job = PublishJob.from_document(event)
        line.update(job.decision.request.to_document())
        with in_time(context.get_remaining_time_in_millis()):
            line.update(answer := _builder().publish(job).to_document())
    return answer


@contextmanager
def _logged(kind: str) -> Iterator[Document]:
    """Log a line with all that stands in it at the end; an error comes into it, and goes on."""
    line: Document = {}
    try:
        yield line
    except SociError as error:
        line.update(error=type(error).__name__, detail=str(error))
        logger.error("%s failed", kind, extra=line)  # noqa: TRY400 - Lambda itself logs the trace
        raise
    logger.info("%s done", kind, extra=line)
