"""JSON files that a command line names: events, settings, task definitions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from soci.errors import InvalidOption, InvalidRequest
from soci.places.layout.extents import storage_errors
from soci.service.cost import USD_PER_GB_SECOND, FunctionSizes
from soci.service.settings.configuration import Configuration
from soci.upkeep.estimate.one_image import DEFAULT_SIZES

DEFAULT_SETTINGS = Path("cdk.json")
_FILE_LIMIT_BYTES = 1 << 20

SettingsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A cdk.json or a settings document. Without it ./cdk.json if it exists, else the defaults.",
    ),
]


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Read a file. Raises `StorageError`, or `InvalidRequest` if it is not JSON."""
    with storage_errors(path), path.open("rb") as file:
        data = file.read(_FILE_LIMIT_BYTES + 1)
    if len(data) > _FILE_LIMIT_BYTES:
        raise InvalidRequest(f"{path}: more than {_FILE_LIMIT_BYTES} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path}: not valid JSON: {error}") from None


def read_settings(path: Path | None) -> Configuration:
    """Read the settings that a deployment would have.

    Raises:
        InvalidOption: a value is invalid; the message names file and fields.
    """
    if path is None and not DEFAULT_SETTINGS.is_file():
        return Configuration()
    document = read_json(path or DEFAULT_SETTINGS)
    where = ""
    if isinstance(document, Mapping) and isinstance(context := document.get("context"), Mapping):
        document, where = context.get("settings", {}), "settings"
    try:
        return Configuration.from_document(document, where)
    except InvalidOption as error:
        raise InvalidOption(f"{path or DEFAULT_SETTINGS}: {error}") from None


def read_sizes(path: Path | None) -> FunctionSizes:
    """Read the memory and processor of the functions that a deployment would have.

    Raises:
        InvalidOption: a value is invalid; the message names file and field.
    """
    if path is None and not DEFAULT_SETTINGS.is_file():
        return DEFAULT_SIZES
    document = read_json(path or DEFAULT_SETTINGS)
    context = document.get("context") if isinstance(document, Mapping) else None
    deployment = context.get("deployment", {}) if isinstance(context, Mapping) else {}
    if not isinstance(deployment, Mapping):
        raise InvalidOption(f"{path or DEFAULT_SETTINGS}: deployment: got {deployment!r}, want an object")
    architecture = deployment.get("lambda_architecture", DEFAULT_SIZES.architecture)
    if architecture not in USD_PER_GB_SECOND:
        raise InvalidOption(
            f"{path or DEFAULT_SETTINGS}: deployment.lambda_architecture: got {architecture!r}"
        )

    def memory(name: str, usual: int) -> int:
        function = deployment.get(name, {})
        found = function.get("memory_mib", usual) if isinstance(function, Mapping) else None
        if not isinstance(found, int) or isinstance(found, bool) or found <= 0:
            raise InvalidOption(f"{path or DEFAULT_SETTINGS}: deployment.{name}.memory_mib: got {found!r}")
        return found

    return FunctionSizes(
        architecture=architecture,
        image_filter=memory("image_filter", DEFAULT_SIZES.image_filter),
        index_layer=memory("index_layer", DEFAULT_SIZES.index_layer),
        publish_index=memory("publish_index", DEFAULT_SIZES.publish_index),
        outcome_recorder=memory("outcome_recorder", DEFAULT_SIZES.outcome_recorder),
    )
