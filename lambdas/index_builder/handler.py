"""The functions `index_layer`, called for each layer, and `publish_index`, called for each image. Both log a line."""
# ruff: noqa: INP001 - Lambda imports the file by its name, out of a folder of its own

from __future__ import annotations

import json
import os
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from aws_lambda_powertools.utilities.typing import LambdaContext

from soci.places.ports import ImageOpener
from soci.places.registry.connect import connect
from soci.service.deadline import within_deadline
from soci.service.failure_log import log_failure
from soci.service.layer.catalog import DynamoDbCatalog
from soci.service.layer.index_layer import index_one_layer
from soci.service.layer_messages import LayerJob
from soci.service.messages import PublishJob
from soci.service.settings.configuration import Configuration

logger = Logger(service="soci-index-builder")
copy_config_to_registered_loggers(logger, include={"soci"})  # it warns of bad entries in the catalog of zTOCs
Document = dict[str, object]


@cache
def _deployed() -> tuple[Configuration, ImageOpener]:
    settings = Configuration.from_document(json.loads(os.environ["SOCI_SETTINGS"]))
    return settings, connect(os.environ["SOCI_REGISTRY"], is_ecr=True).open_image


_catalog = cache(lambda: DynamoDbCatalog.from_environment(os.environ))


@logger.inject_lambda_context(correlation_id_path="correlation_id")
def index_layer(event: Document, context: LambdaContext) -> Document:  # noqa: ARG001 - Lambda's signature
    """Build and push the zTOC of one layer: take a `LayerJob`, return a `LayerOutcome`."""
    with log_failure(logger, "layer failed") as about:
        job = LayerJob.from_document(event)
        about.update(repository=job.repository, image=str(job.image))
        about.update(layer=str(job.layer.digest), layer_bytes=job.layer.size)
        answer = index_one_layer(job, *_deployed(), _catalog()).to_document()
    logger.info("layer done", extra=about | answer)
    return answer


@logger.inject_lambda_context(correlation_id_path="correlation_id")
def publish_index(event: Document, context: LambdaContext) -> Document:
    """Publish the index of an image: take a `PublishJob`, return a `Published`, the output of the execution."""
    from soci.service.publish.publish_image import publish_image  # noqa: PLC0415 - a layer starts without it

    with log_failure(logger, "image failed") as about:
        job = PublishJob.from_document(event)
        about.update(job.decision.request.to_document())
        with within_deadline(context.get_remaining_time_in_millis()):
            answer = publish_image(job, *_deployed()).to_document()
    logger.info("image done", extra=about | answer)
    return answer
