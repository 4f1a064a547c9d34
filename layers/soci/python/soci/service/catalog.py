"""The table of zTOCs that were made: a `ZtocCatalog` in DynamoDB, which may be away without harm.

layer           partition key: the layer's digest
settings        sort key: all else that decides a zTOC's bytes, readable
ztoc, size, repositories, copy      the entry
expires_at      seconds since 1970: DynamoDB deletes rows that nobody has used for long
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from soci.errors import InvalidDocument
from soci.reuse import ReuseKey
from soci.service.reuse import Entry

ROW_LIFE_SECONDS = 90 * 24 * 3600
"""Counted from the last use. A row less costs the building of one zTOC."""

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 1.0, 2.0, 2
"""The table answers in milliseconds, or else it is not worth waiting for."""

REST_SECONDS = 60.0
"""A table that did not answer is left alone for so long: the next layers are not kept waiting as well."""

_log = logging.getLogger(__name__)


class DynamoDbCatalog:
    """A table with partition key `layer` and sort key `settings`. Shared by threads.

    A table that cannot be reached, is throttled or refuses is a table without rows: one line in the log says so.
    """

    def __init__(
        self,
        table: str,
        *,
        make_client: Callable[[], Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._make_client = make_client or _boto3_client
        self._now = now
        self._rests_until = 0.0

    def find(self, key: ReuseKey) -> Entry | None:
        """Return what is known. See `ZtocCatalog`."""
        answer = self._ask(lambda client: client.get_item(TableName=self._table, Key=_row_key(key)))
        item = answer and answer.get("Item")
        if not item:
            return None
        name = f"row of {key}"
        return Entry.from_document({field: _plain(value, name) for field, value in item.items()}, name)

    def record(self, key: ReuseKey, entry: Entry) -> None:
        """Write a row, or write it anew. See `ZtocCatalog`."""
        values: dict[str, object] = {"copy": None, **entry.to_document()}
        values["expires_at"] = int(self._now() + ROW_LIFE_SECONDS)
        there = {field: value for field, value in values.items() if value is not None}
        absent = [f"#{field}" for field in values if field not in there]
        expression = "SET " + ", ".join(f"#{field} = :{field}" for field in there)
        if absent:
            expression += " REMOVE " + ", ".join(absent)
        self._ask(
            lambda client: client.update_item(
                TableName=self._table,
                Key=_row_key(key),
                UpdateExpression=expression,
                ExpressionAttributeNames={f"#{field}": field for field in values},
                ExpressionAttributeValues={f":{field}": _attribute(value) for field, value in there.items()},
            )
        )

    def _ask(self, call: Callable[[Any], Mapping[str, Any]]) -> Mapping[str, Any] | None:
        import botocore.exceptions  # noqa: PLC0415 - slow to import, and there only with the extra `aws`

        if self._now() < self._rests_until:
            return None
        try:
            return call(self._client)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            self._rests_until = self._now() + REST_SECONDS
            _log.warning(
                "table %s does not answer, so zTOCs are made that may be there: %s", self._table, error
            )
            return None

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        return self._make_client()


def _boto3_client() -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    import boto3  # noqa: PLC0415 - see `DynamoDbCatalog`
    import botocore.config  # noqa: PLC0415

    config = botocore.config.Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    return boto3.client("dynamodb", config=config)


def _row_key(key: ReuseKey) -> dict[str, object]:
    return {"layer": _attribute(str(key.layer)), "settings": _attribute(key.settings)}


def _attribute(value: object) -> dict[str, object]:
    match value:
        case str():
            return {"S": value}
        case int():
            return {"N": str(value)}
        case list():
            return {"L": [_attribute(item) for item in value]}
        case dict():
            return {"M": {name: _attribute(item) for name, item in value.items()}}
        case _:
            raise TypeError(f"no attribute of a row: {value!r}")


def _plain(attribute: Mapping[str, Any], name: str) -> object:
    match attribute:
        case {"S": str(text)}:
            return text
        case {"N": str(number)} if number.isdecimal():
            return int(number)
        case {"L": list(items)}:
            return [_plain(item, name) for item in items]
        case {"M": dict(members)}:
            return {member: _plain(item, name) for member, item in members.items()}
        case _:
            raise InvalidDocument(f"{name}: an attribute of the type {', '.join(attribute)}")
