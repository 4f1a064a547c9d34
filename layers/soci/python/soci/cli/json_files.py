"""JSON documents that are named on the command line: events, settings, task definitions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from soci.errors import InvalidOption, InvalidRequest
from soci.places.layout.extents import storage_errors
from soci.service.settings.configuration import Configuration

DEFAULT_SETTINGS = Path("cdk.json")
_FILE_LIMIT_BYTES = 1 << 20

SettingsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A cdk.json or a settings document; without it ./cdk.json if there is one, else the defaults.",
    ),
]


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Read a file. Raises `StorageError`, `InvalidRequest` for what is no JSON."""
    with storage_errors(path), path.open("rb") as file:
        data = file.read(_FILE_LIMIT_BYTES + 1)
    if len(data) > _FILE_LIMIT_BYTES:
        raise InvalidRequest(f"{path}: more than {_FILE_LIMIT_BYTES} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path}: not valid JSON: {error}") from None


def read_settings(path: Path | None) -> Configuration:
    """Read the settings that a deployment would have. Raises `InvalidOption` that names file and fields."""
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
