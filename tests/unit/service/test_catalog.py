"""The table of zTOCs: rows as DynamoDB keeps them, and what becomes of a table that is away."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from soci.errors import InvalidDocument
from soci.oci.digest import digest_of
from soci.reuse import ReuseKey
from soci.service.catalog import REST_SECONDS, ROW_LIFE_SECONDS, DynamoDbCatalog
from soci.service.layer_messages import GzipCopyMade
from soci.service.reuse import Entry

TABLE, REGION = "ztocs", "eu-central-1"
KEY = ReuseKey(layer=digest_of(b"layer"), settings="output=1 gzip span=4194304 tool=A builder")
OTHER = ReuseKey(layer=KEY.layer, settings="output=1 plain")
ENTRY = Entry(ztoc=digest_of(b"ztoc"), size=90_000_000_000, repositories=("team/app", "other"))
COPY = GzipCopyMade(digest=digest_of(b"copy"), size=12)
NOW = 1_790_000_000.0


class Clock:
    """A time that goes on when it is told to."""

    seconds = NOW

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        with mock_aws():
            yield boto3.client("dynamodb")


@pytest.fixture
def client(dynamodb) -> Iterator[Any]:
    """DynamoDB with the table as the stack has it."""
    names = ("layer", "settings")
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[
            {"AttributeName": name, "KeyType": kind}
            for name, kind in zip(names, ("HASH", "RANGE"), strict=True)
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        BillingMode="PAY_PER_REQUEST",
    )
    yield dynamodb
    dynamodb.delete_table(TableName=TABLE)


@pytest.fixture
def catalog(client) -> DynamoDbCatalog:  # noqa: ARG001 - the catalog makes a client of its own
    return DynamoDbCatalog(TABLE, now=Clock())


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def row(client) -> dict[str, Any]:
    (item,) = client.scan(TableName=TABLE)["Items"]
    return dict(item)


@pytest.mark.parametrize(
    "entry",
    [ENTRY, Entry(ztoc=ENTRY.ztoc, size=1, repositories=("a",), copy=COPY)],
    ids=["plain", "with a copy"],
)
def test_what_is_recorded_is_found(catalog, entry):
    catalog.record(KEY, entry)

    assert catalog.find(KEY) == entry
    assert catalog.find(OTHER) is None


def test_a_row_can_be_read_by_people_and_ends_by_itself(catalog, client):
    catalog.record(KEY, ENTRY)

    assert row(client) == {
        "layer": {"S": str(KEY.layer)},
        "settings": {"S": KEY.settings},
        "ztoc": {"S": str(ENTRY.ztoc)},
        "size": {"N": "90000000000"},
        "repositories": {"L": [{"S": "team/app"}, {"S": "other"}]},
        "expires_at": {"N": str(int(NOW) + ROW_LIFE_SECONDS)},
    }


def test_a_row_is_overwritten_as_a_whole(catalog, client):
    catalog.record(KEY, Entry(ztoc=digest_of(b"wrong"), size=1, repositories=("wrong",), copy=COPY))

    catalog.record(KEY, ENTRY)

    assert catalog.find(KEY) == ENTRY
    assert "copy" not in row(client)


@pytest.mark.parametrize(
    "change",
    [
        {"ztoc": {"S": "sha256:1"}},
        {"ztoc": {"N": "1"}},
        {"ztoc": {"B": b"1"}},
        {"size": {"S": "1"}},
        {"size": {"N": "1.5"}},
        {"repositories": {"SS": ["app"]}},
        {"repositories": {"L": [{"BOOL": True}]}},
        {"copy": {"M": {"digest": {"S": str(COPY.digest)}}}},
    ],
    ids=str,
)
def test_a_row_of_another_shape_is_an_error_that_names_it(catalog, client, change):
    catalog.record(KEY, ENTRY)
    client.put_item(TableName=TABLE, Item=row(client) | change)

    with pytest.raises(InvalidDocument, match=f"row of layer {KEY.layer}"):
        catalog.find(KEY)


@pytest.mark.parametrize("missing", ["ztoc", "size"])
def test_so_is_a_row_that_lacks_something(catalog, client, missing):
    catalog.record(KEY, ENTRY)
    item = row(client)
    del item[missing]
    client.put_item(TableName=TABLE, Item=item)

    with pytest.raises(InvalidDocument, match=missing):
        catalog.find(KEY)


class TestTableThatIsAway:
    def test_it_is_a_table_without_rows_and_one_line_says_so(self, client, caplog):
        catalog = DynamoDbCatalog("no-such-table", now=Clock())

        assert catalog.find(KEY) is None
        catalog.record(KEY, ENTRY)
        assert catalog.find(KEY) is None

        (warning,) = warnings(caplog)
        assert warning.startswith("table no-such-table does not answer")
        assert client.scan(TableName=TABLE)["Count"] == 0

    def test_it_is_left_alone_for_a_while_and_then_asked_again(self, client, caplog):
        clock = Clock()
        catalog = DynamoDbCatalog("later", now=clock)
        assert catalog.find(KEY) is None
        definition = client.describe_table(TableName=TABLE)["Table"]
        client.create_table(
            TableName="later",
            BillingMode="PAY_PER_REQUEST",
            **{name: definition[name] for name in ("KeySchema", "AttributeDefinitions")},
        )

        catalog.record(KEY, ENTRY)
        assert client.scan(TableName="later")["Count"] == 0
        clock.seconds += REST_SECONDS
        catalog.record(KEY, ENTRY)

        assert catalog.find(KEY) == ENTRY
        assert len(warnings(caplog)) == 1

    @pytest.mark.parametrize(
        "code", ["ProvisionedThroughputExceededException", "ThrottlingException", "AccessDeniedException"]
    )
    def test_so_it_is_when_it_refuses(self, client, caplog, code):
        with Stubber(client) as stubbed:
            stubbed.add_client_error("get_item", service_error_code=code, http_status_code=400)
            catalog = DynamoDbCatalog(TABLE, make_client=lambda: client, now=Clock())

            assert catalog.find(KEY) is None

        assert code in warnings(caplog)[0]

    def test_an_endpoint_that_nobody_listens_at_costs_little_time(self, monkeypatch, caplog):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self._point_to(monkeypatch, port)

        started = time.monotonic()
        assert DynamoDbCatalog(TABLE).find(KEY) is None

        assert time.monotonic() - started < 4
        assert len(warnings(caplog)) == 1

    def test_an_endpoint_that_does_not_answer_is_not_waited_for(self, monkeypatch, caplog):
        monkeypatch.setattr("soci.service.catalog.READ_SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._point_to(monkeypatch, server.getsockname()[1])

            started = time.monotonic()
            assert DynamoDbCatalog(TABLE).find(KEY) is None

        assert time.monotonic() - started < 4
        assert "timeout" in warnings(caplog)[0].lower()

    @staticmethod
    def _point_to(monkeypatch, port: int) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
