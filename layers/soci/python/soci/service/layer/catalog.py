"""A `ZtocCatalog` in DynamoDB. Layers are indexed without it while it is unavailable.

layer           partition key: the layer's digest
settings        sort key: all else that decides a zTOC's bytes, as readable text
ztoc, size, copy        the entry
mac             over all of these. It proves that a builder of this stack wrote them after reading the whole layer
repositories    where to look; not under the MAC, because what is found there must match the digests above
expires_at      seconds since 1970; DynamoDB then deletes the row
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from soci.build.reuse import ReuseKey
from soci.errors import InvalidDocument
from soci.oci.fields import Fields
from soci.service.layer.entry import Entry
from soci.service.layer.optional_service import OptionalService
from soci.service.layer.row_mac import KmsMac, RowMac

ROW_LIFE_SECONDS = 90 * 24 * 3600
"""Counted from the last use. A deleted row costs one rebuild."""


class DynamoDbCatalog:
    """A table with partition key `layer` and sort key `settings`. Shared by threads.

    A table that cannot be reached, is throttled or refuses counts as empty, and one line in the log says so. A missing
    MAC key has the same effect.
    """

    def __init__(
        self,
        table: str,
        mac: RowMac,
        *,
        make_client: Callable[[], Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._mac = mac
        self._now = now
        self._dynamodb = OptionalService("dynamodb", f"table {table}", make_client=make_client, now=now)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> DynamoDbCatalog | None:
        """Return the catalog that SOCI_ZTOC_TABLE and SOCI_ZTOC_MAC_KEY name; None without them."""
        table, mac_key = environment.get("SOCI_ZTOC_TABLE"), environment.get("SOCI_ZTOC_MAC_KEY")
        return cls(table, KmsMac(mac_key)) if table and mac_key else None

    def find(self, key: ReuseKey) -> Entry | None:
        """Return the entry of a key. See `ZtocCatalog`."""
        answer = self._dynamodb.ask(lambda client: client.get_item(TableName=self._table, Key=_row_key(key)))
        item = answer and answer.get("Item")
        if not item:
            return None
        name = f"row of {key}"
        document = {field: _plain(value, name) for field, value in item.items()}
        entry = Entry.from_document(document, key)
        fields = Fields(document, name)
        is_right = self._mac.is_right(facts_of(key, entry), fields.string("mac"))
        if is_right is False:
            raise fields.invalid("mac", "not that of a builder of this stack for this row")
        return entry if is_right else None

    def record(self, key: ReuseKey, entry: Entry) -> None:
        """Write a row, unless its MAC cannot be made. See `ZtocCatalog`."""
        mac = None if self._dynamodb.is_unavailable else self._mac.make(facts_of(key, entry))
        if mac is not None:
            self._update(key, {"copy": None, **entry.to_document(), "mac": mac})

    def also_in(self, key: ReuseKey, entry: Entry, repository: str) -> None:
        """Add a repository and renew the row, if it still has this entry. See `ZtocCatalog`."""
        repositories = entry.also_in(repository).to_document()["repositories"]
        self._update(key, {"repositories": repositories}, still=entry)

    def _update(self, key: ReuseKey, values: Mapping[str, object], *, still: Entry | None = None) -> None:
        values = {**values, "expires_at": int(self._now() + ROW_LIFE_SECONDS)}
        there = {field: value for field, value in values.items() if value is not None}
        absent = [f"#{field}" for field in values if field not in there]
        expression = "SET " + ", ".join(f"#{field} = :{field}" for field in there)
        if absent:
            expression += " REMOVE " + ", ".join(absent)
        request: dict[str, Any] = {
            "TableName": self._table,
            "Key": _row_key(key),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": {f"#{field}": field for field in values},
            "ExpressionAttributeValues": {f":{field}": _attribute(value) for field, value in there.items()},
        }
        if still is not None:
            request["ConditionExpression"] = "ztoc = :still"
            request["ExpressionAttributeValues"][":still"] = _attribute(str(still.ztoc))
        self._dynamodb.ask(lambda client: _updated(client, request))


def facts_of(key: ReuseKey, entry: Entry) -> bytes:
    """Return the message of a row's MAC: a digest over all that the row says. No two rows have the same."""
    gzip = entry.recompressed
    copy = None if gzip is None else [str(gzip.digest), gzip.size]
    facts = ["zTOC row", str(key.layer), key.settings, str(entry.ztoc), entry.size, copy]
    return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).digest()


def _updated(client: Any, request: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ANN401
    try:
        answer: Mapping[str, Any] = client.update_item(**request)
    except client.exceptions.ConditionalCheckFailedException:
        return {}  # the row was deleted or replaced since it was read, which is fine
    return answer


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
