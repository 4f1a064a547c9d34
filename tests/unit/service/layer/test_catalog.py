"""The table of zTOCs: rows as DynamoDB keeps them, their MACs, and what becomes of a table or a key that is away."""

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

from soci.build.layer import RecompressedLayer
from soci.build.reuse import ReuseKey
from soci.errors import InvalidDocument
from soci.oci.digest import digest_of
from soci.service.layer.catalog import ROW_LIFE_SECONDS, DynamoDbCatalog, facts_of
from soci.service.layer.entry import Entry
from soci.service.layer.optional_service import PAUSE_SECONDS
from soci.service.layer.row_mac import KmsMac

TABLE, REGION = "ztocs", "eu-central-1"
KEY = ReuseKey(layer=digest_of(b"layer"), settings="output=1 gzip span=4194304 tool=A builder")
OTHER = ReuseKey(layer=KEY.layer, settings="output=1 plain")
SIBLING = ReuseKey(layer=digest_of(b"sibling"), settings=KEY.settings)
ENTRY = Entry(ztoc=digest_of(b"ztoc"), size=90_000_000_000, repositories=("team/app", "other"))
COPY = RecompressedLayer(of=KEY.layer, digest=digest_of(b"copy"), size=12)
NOW = 1_790_000_000.0


class Clock:
    """A time that goes on when it is told to."""

    seconds = NOW

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(scope="module")
def account() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        with mock_aws():
            yield


@pytest.fixture(scope="module")
def mac_key(account) -> str:  # noqa: ARG001 - in the account
    return make_key()


def make_key() -> str:
    made = boto3.client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    return str(made["KeyMetadata"]["Arn"])


@pytest.fixture
def client(account) -> Iterator[Any]:  # noqa: ARG001 - in the account
    """DynamoDB with the table as the stack has it."""
    dynamodb = boto3.client("dynamodb")
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
def catalog(client, mac_key) -> DynamoDbCatalog:  # noqa: ARG001 - the catalog makes a client of its own
    return DynamoDbCatalog(TABLE, KmsMac(mac_key), now=Clock())


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def row(client) -> dict[str, Any]:
    (item,) = client.scan(TableName=TABLE)["Items"]
    return dict(item)


@pytest.mark.parametrize(
    "entry",
    [ENTRY, Entry(ztoc=ENTRY.ztoc, size=1, repositories=("a",), recompressed=COPY)],
    ids=["plain", "with a copy"],
)
def test_a_recorded_entry_is_found(catalog, entry):
    catalog.record(KEY, entry)

    assert catalog.find(KEY) == entry
    assert catalog.find(OTHER) is None


def test_a_row_can_be_read_by_people_and_ends_by_itself(catalog, client):
    catalog.record(KEY, ENTRY)

    item = row(client)
    assert len(item.pop("mac")["S"]) == 64
    assert item == {
        "layer": {"S": str(KEY.layer)},
        "settings": {"S": KEY.settings},
        "ztoc": {"S": str(ENTRY.ztoc)},
        "size": {"N": "90000000000"},
        "repositories": {"L": [{"S": "team/app"}, {"S": "other"}]},
        "expires_at": {"N": str(int(NOW) + ROW_LIFE_SECONDS)},
    }


def test_a_row_is_overwritten_as_a_whole(catalog, client):
    catalog.record(KEY, Entry(ztoc=digest_of(b"wrong"), size=1, repositories=("wrong",), recompressed=COPY))

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
def test_a_row_that_lacks_a_field_is_an_error(catalog, client, missing):
    catalog.record(KEY, ENTRY)
    item = row(client)
    del item[missing]
    client.put_item(TableName=TABLE, Item=item)

    with pytest.raises(InvalidDocument, match=missing):
        catalog.find(KEY)


def test_a_row_that_was_used_says_where_and_lives_on(client, mac_key):
    clock = Clock()
    catalog = DynamoDbCatalog(TABLE, KmsMac(mac_key), now=clock)
    catalog.record(KEY, ENTRY)
    before = row(client)
    clock.seconds += 3600

    catalog.also_in(KEY, ENTRY, "third")

    assert catalog.find(KEY) == ENTRY.also_in("third")
    assert row(client) == before | {
        "repositories": {"L": [{"S": name} for name in ("third", "team/app", "other")]},
        "expires_at": {"N": str(int(NOW) + 3600 + ROW_LIFE_SECONDS)},
    }


@pytest.mark.parametrize("there", [None, Entry(ztoc=digest_of(b"new"), size=1, repositories=("new",))])
def test_a_row_that_was_replaced_meanwhile_is_not_changed(catalog, caplog, there):
    if there:
        catalog.record(KEY, there)

    catalog.also_in(KEY, ENTRY, "third")

    assert catalog.find(KEY) == there
    assert warnings(caplog) == []


class TestMac:
    """Only what a builder of this stack has written is a row."""

    @pytest.mark.parametrize(
        "change",
        [
            {"ztoc": {"S": str(digest_of(b"other"))}},
            {"size": {"N": "90000000001"}},
            {"copy": {"M": {"digest": {"S": str(COPY.digest)}, "size": {"N": "12"}}}},
            {"mac": {"S": "0" * 64}},
            {"mac": {"S": "0" * 62}},
            {"mac": {"S": "0" * 20_000}},
            {"mac": {"S": "no MAC"}},
            {"mac": {"S": ""}},
        ],
        ids=lambda change: str(change)[:60],
    )
    def test_a_row_that_somebody_changed_is_an_error(self, catalog, client, caplog, change):
        catalog.record(KEY, ENTRY)
        client.put_item(TableName=TABLE, Item=row(client) | change)

        with pytest.raises(InvalidDocument, match="mac: not that of a builder"):
            catalog.find(KEY)
        assert warnings(caplog) == [], "the key was there to ask"

    def test_a_row_without_a_mac_is_an_error(self, catalog, client):
        catalog.record(KEY, ENTRY)
        item = row(client)
        del item["mac"]
        client.put_item(TableName=TABLE, Item=item)

        with pytest.raises(InvalidDocument, match="mac: not that of a builder"):
            catalog.find(KEY)

    @pytest.mark.parametrize("other", [OTHER, SIBLING], ids=["settings", "layer"])
    def test_a_row_of_another_key_is_an_error(self, catalog, client, other):
        catalog.record(KEY, ENTRY)
        key = {"layer": {"S": str(other.layer)}, "settings": {"S": other.settings}}
        client.put_item(TableName=TABLE, Item=row(client) | key)

        with pytest.raises(InvalidDocument, match="mac: not that of a builder"):
            catalog.find(other)
        assert catalog.find(KEY) == ENTRY

    def test_a_row_of_another_stack_is_an_error(self, catalog):
        DynamoDbCatalog(TABLE, KmsMac(make_key()), now=Clock()).record(KEY, ENTRY)

        with pytest.raises(InvalidDocument, match="mac: not that of a builder"):
            catalog.find(KEY)

    def test_the_repositories_of_a_row_are_not_under_its_mac(self, catalog, client):
        catalog.record(KEY, ENTRY)
        client.put_item(TableName=TABLE, Item=row(client) | {"repositories": {"L": [{"S": "moved"}]}})

        assert catalog.find(KEY) == Entry(ztoc=ENTRY.ztoc, size=ENTRY.size, repositories=("moved",))

    def test_no_two_rows_have_the_same_facts(self):
        entries = [
            ENTRY,
            Entry(ztoc=ENTRY.ztoc, size=ENTRY.size, repositories=(), recompressed=COPY),
            Entry(ztoc=COPY.digest, size=ENTRY.size, repositories=()),
            Entry(ztoc=ENTRY.ztoc, size=9, repositories=()),
        ]
        keys = [KEY, OTHER, SIBLING, ReuseKey(layer=KEY.layer, settings=KEY.settings + '"')]

        assert len({facts_of(key, entry) for key in keys for entry in entries}) == 16

    def test_the_longest_key_is_not_too_long_for_kms(self, catalog):
        key = ReuseKey(layer=KEY.layer, settings="\U0001f40b" * 256)

        catalog.record(key, ENTRY)

        assert catalog.find(key) == ENTRY


class TestUnavailableKey:
    @pytest.mark.parametrize(
        "code", ["ThrottlingException", "AccessDeniedException", "DisabledException", "KMSInternalException"]
    )
    def test_the_table_counts_as_unavailable_too(self, catalog, client, caplog, code):
        catalog.record(KEY, ENTRY)
        kms = boto3.client("kms")
        with Stubber(kms) as stubbed:
            stubbed.add_client_error("verify_mac", service_error_code=code, http_status_code=400)
            away = DynamoDbCatalog(TABLE, KmsMac("key", make_client=lambda: kms, now=Clock()), now=Clock())

            assert away.find(KEY) is None
            away.record(OTHER, ENTRY)

        (warning,) = warnings(caplog)
        assert warning.startswith("key key does not answer")
        assert code in warning
        assert client.scan(TableName=TABLE)["Count"] == 1, "a row without its MAC would be of no use"

    def test_a_deleted_key_counts_as_unavailable(self, client, caplog):
        catalog = DynamoDbCatalog(TABLE, KmsMac("no-such-key", now=Clock()), now=Clock())

        catalog.record(KEY, ENTRY)

        assert catalog.find(KEY) is None
        assert client.scan(TableName=TABLE)["Count"] == 0
        assert len(warnings(caplog)) == 1

    def test_an_endpoint_that_does_not_answer_is_not_waited_for(self, catalog, monkeypatch, caplog):
        catalog.record(KEY, ENTRY)
        monkeypatch.setattr("soci.service.layer.optional_service.READ_SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{server.getsockname()[1]}")

            started = time.monotonic()
            assert DynamoDbCatalog(TABLE, KmsMac("key")).find(KEY) is None

        assert time.monotonic() - started < 4
        assert "timeout" in warnings(caplog)[0].lower()


class TestUnavailableTable:
    def test_an_unavailable_table_counts_as_empty_and_is_logged_once(self, client, mac_key, caplog):
        catalog = DynamoDbCatalog("no-such-table", KmsMac(mac_key), now=Clock())

        assert catalog.find(KEY) is None
        catalog.record(KEY, ENTRY)
        assert catalog.find(KEY) is None

        (warning,) = warnings(caplog)
        assert warning.startswith("table no-such-table does not answer")
        assert client.scan(TableName=TABLE)["Count"] == 0

    def test_a_failed_table_is_asked_again_after_a_pause(self, client, mac_key, caplog):
        clock = Clock()
        catalog = DynamoDbCatalog("later", KmsMac(mac_key), now=clock)
        assert catalog.find(KEY) is None
        definition = client.describe_table(TableName=TABLE)["Table"]
        client.create_table(
            TableName="later",
            BillingMode="PAY_PER_REQUEST",
            **{name: definition[name] for name in ("KeySchema", "AttributeDefinitions")},
        )

        catalog.record(KEY, ENTRY)
        assert client.scan(TableName="later")["Count"] == 0
        clock.seconds += PAUSE_SECONDS
        catalog.record(KEY, ENTRY)

        assert catalog.find(KEY) == ENTRY
        assert len(warnings(caplog)) == 1

    @pytest.mark.parametrize(
        "code", ["ProvisionedThroughputExceededException", "ThrottlingException", "AccessDeniedException"]
    )
    def test_a_table_that_refuses_counts_as_empty(self, client, mac_key, caplog, code):
        with Stubber(client) as stubbed:
            stubbed.add_client_error("get_item", service_error_code=code, http_status_code=400)
            catalog = DynamoDbCatalog(TABLE, KmsMac(mac_key), make_client=lambda: client, now=Clock())

            assert catalog.find(KEY) is None

        assert code in warnings(caplog)[0]

    def test_a_closed_endpoint_costs_little_time(self, monkeypatch, caplog):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self._point_to(monkeypatch, port)

        started = time.monotonic()
        assert DynamoDbCatalog(TABLE, KmsMac("key")).find(KEY) is None

        assert time.monotonic() - started < 4
        assert len(warnings(caplog)) == 1

    def test_an_endpoint_that_does_not_answer_is_not_waited_for(self, monkeypatch, caplog):
        monkeypatch.setattr("soci.service.layer.optional_service.READ_SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._point_to(monkeypatch, server.getsockname()[1])

            started = time.monotonic()
            assert DynamoDbCatalog(TABLE, KmsMac("key")).find(KEY) is None

        assert time.monotonic() - started < 4
        assert "timeout" in warnings(caplog)[0].lower()

    @staticmethod
    def _point_to(monkeypatch, port: int) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
