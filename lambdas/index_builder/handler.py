"""The functions that index: `index_layer`, once for each layer, and `publish_index`, once for each image.

Errors pass through: the workflow knows by their names which to try again. Each call leaves one line in the log.
"""
# ruff: noqa: INP001 - Lambda imports the file by its name, out of a folder of its own

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from soci.errors import SociError
from soci.service.configuration import Configuration
from soci.service.layer import index_one_layer
from soci.service.layer_messages import LayerJob
from soci.service.messages import PublishJob
from soci.service.publish import publish_image
from soci.service.registry import RegistryPlace

logger = Logger(service="soci-index-builder")
Document = dict[str, object]


@cache
def _environment() -> tuple[Configuration, RegistryPlace]:
    """Read what the function was deployed with; login and connections last as long as the process."""
    settings = Configuration.from_document(json.loads(os.environ["SOCI_SETTINGS"]))
    return settings, RegistryPlace(os.environ["SOCI_REGISTRY"])


@logger.inject_lambda_context(correlation_id_path="correlation_id")
def index_layer(event: Document, context: LambdaContext) -> Document:  # noqa: ARG001 - Lambda's signature
    """Build and push the zTOC of one layer: a `LayerJob` in, a `LayerOutcome` out."""
    job = LayerJob.from_document(event)
    what: Document = {"repository": job.repository, "image": str(job.image), "layer": str(job.layer.digest)}
    return _logged("layer", what, lambda: index_one_layer(job, *_environment()).to_document())


@logger.inject_lambda_context(correlation_id_path="correlation_id")
def publish_index(event: Document, context: LambdaContext) -> Document:  # noqa: ARG001 - Lambda's signature
    """Publish the index of an image: a `PublishJob` in, a `Published` out, the output of the execution."""
    job = PublishJob.from_document(event)
    image = job.decision.request.to_document()
    return _logged("image", image, lambda: publish_image(job, *_environment()).to_document())


def _logged(kind: str, what: Document, work: Callable[[], Document]) -> Document:
    try:
        answer = work()
    except SociError as error:
        failure = {"error": type(error).__name__, "detail": str(error)}
        logger.error("%s failed", kind, extra=what | failure)  # noqa: TRY400 - Lambda itself logs the trace
        raise
    logger.info("%s done", kind, extra=what | answer)
    return answer
