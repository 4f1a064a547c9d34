from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import boto3
import jsonschema
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from botocore.stub import ANY, Stubber
from moto.events.models import EventPattern

from soci.build.tagging import TagLeftAlone
from soci.errors import EventBusUnavailable, EventRefused
from soci.service.messages import ImageRequest, PublishedImage
from soci.service.outcome.event_bus import SOURCE, EventBus, detail_type, event_detail
from soci.service.outcome.record import parse_record
from soci.service.outcomes import ImageReason, Outcome
from tests.unit.service.example_outcomes import (
    BY_HAND,
    CAUGHT,
    DOCS,
    EXECUTION,
    IMAGE,
    PUBLISHED,
    SCHEMA,
    SKIPPED,
    assert_as_promised,
    result,
    status_change,
)
from tests.unit.service.places import event

TAGGED = replace(
    PUBLISHED,
    outcome=Outcome.TAGGED,
    reason=ImageReason.NO_LAYER_TO_INDEX,
    v1=None,
    platforms=(),
    v2=PublishedImage(digest=IMAGE, tag="1.4-soci"),
)
TOLD = {
    "indexed": result(PUBLISHED),
    "indexed, tag left alone": result(
        replace(
            PUBLISHED,
            v2=PublishedImage(
                digest=IMAGE,
                tag=None,
                tag_left_alone=TagLeftAlone.IMMUTABLE,
            ),
        )
    ),
    "version 1 alone": result(replace(PUBLISHED, v2=None)),
    "untagged": result(
        replace(
            PUBLISHED,
            request=replace(PUBLISHED.request, tag=None),
            v2=PublishedImage(digest=IMAGE, tag=None),
        )
    ),
    "by hand": result(
        replace(PUBLISHED, request=ImageRequest(repository="app", tag="1", digest=PUBLISHED.request.digest))
    ),
    "tagged": result(TAGGED),
    "nothing to index": result(replace(TAGGED, outcome=Outcome.NOTHING_TO_INDEX, v2=None)),
    "skipped": result(SKIPPED),
    "failure of a re-index": CAUGHT,
    "failure of a push": status_change(event("push")),
    "timeout": status_change(BY_HAND, status="TIMED_OUT", error=None, cause=None),
    "no request": status_change("nothing of the kind", error="InvalidRequest"),
}
each_outcome = pytest.mark.parametrize("told", TOLD.values(), ids=TOLD.keys())


class Bus:
    """EventBridge as far as one call goes: what it is sent, and what it answers."""

    def __init__(self, **answer):
        self.client = boto3.client(
            "events", region_name="eu-central-1", aws_access_key_id="none", aws_secret_access_key="none"
        )
        self.entries = []
        self.client.meta.events.register("provide-client-params.events.PutEvents", self.note)
        self.stub = Stubber(self.client)
        self.stub.activate()
        self.answer = answer or {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}

    def note(self, params, **_):
        self.entries += params["Entries"]

    def put(self, told):
        self.stub.add_response("put_events", self.answer, {"Entries": ANY})
        EventBus(lambda: self.client).put(parse_record(told))


@each_outcome
def test_every_event_fits_the_schema_in_the_manual(told):
    bus = Bus()

    bus.put(told)

    (entry,) = bus.entries
    assert_as_promised(entry)
    assert (entry["Source"], entry["Resources"]) == ("soci.index-builder", [EXECUTION])
    assert "EventBusName" not in entry  # the default one


def test_the_schema_is_valid_and_refuses_other_events():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    record = parse_record(result(PUBLISHED))
    entry = {
        "Source": "soci.index-builder",
        "DetailType": "SOCI Index Skipped",
        "Resources": [EXECUTION],
        "Time": "now",
        "Detail": json.dumps(event_detail(record)),
    }

    with pytest.raises(jsonschema.ValidationError):
        assert_as_promised(entry)
    with pytest.raises(jsonschema.ValidationError):
        assert_as_promised(entry | {"DetailType": "SOCI Index Created", "Detail": '{"outcome": "indexed"}'})


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        (Outcome.INDEXED, "SOCI Index Created"),
        (Outcome.TAGGED, "SOCI Index Skipped"),
        (Outcome.NOTHING_TO_INDEX, "SOCI Index Skipped"),
        (Outcome.SKIPPED, "SOCI Index Skipped"),
        (Outcome.FAILED, "SOCI Index Failed"),
    ],
)
def test_the_detail_type_of_an_event_says_what_it_means_for_a_deployment(outcome, name):
    assert detail_type(outcome) == name


def test_an_event_has_what_a_deployment_needs():
    bus = Bus()

    bus.put(result(PUBLISHED))

    detail = json.loads(bus.entries[0]["Detail"])
    assert (detail["repository"], detail["tag"]) == ("team/app", "1.4")
    assert detail["image_digest"] == str(PUBLISHED.request.digest)
    assert (detail["new_tag"], detail["new_digest"]) == (
        "1.4-soci",
        str(PUBLISHED.v2 and PUBLISHED.v2.digest),
    )
    assert [one["platform"] for one in detail["indexes"]] == ["linux/amd64"]
    assert (detail["seconds"], detail["seconds_since_push"]) == (46.1, 48.1)


def test_the_largest_image_still_fits_into_an_event():
    platforms = tuple(replace(PUBLISHED.platforms[0], platform=f"linux/arm/v{n}") for n in range(100))

    bus = Bus()
    bus.put(result(replace(PUBLISHED, platforms=platforms)))

    assert len(bus.entries[0]["Detail"]) < 250_000


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 400, EventBusUnavailable),
        ("InternalException", 500, EventBusUnavailable),
        ("ServiceUnavailable", 503, EventBusUnavailable),
        ("Whatever", 429, EventBusUnavailable),
        ("AccessDeniedException", 400, EventRefused),
        ("ValidationException", 400, EventRefused),
    ],
)
def test_a_refusal_is_retryable_or_not(code, status, kind):
    bus = Bus()
    bus.stub.add_client_error("put_events", code, "for a reason", http_status_code=status)

    with pytest.raises(EventRefused, match=f"{code}: for a reason") as caught:
        EventBus(lambda: bus.client).put(parse_record(result(PUBLISHED)))

    assert type(caught.value) is kind
    assert caught.value.retryable is (kind is EventBusUnavailable)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InternalFailure", EventBusUnavailable),
        ("ThrottlingException", EventBusUnavailable),
        ("NotAuthorized", EventRefused),
    ],
)
def test_an_entry_that_is_refused_in_a_successful_response_is_an_error(code, kind):
    failed = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": code, "ErrorMessage": "no"}]}

    with pytest.raises(kind, match=f"{code}: no"):
        Bus(**failed).put(result(PUBLISHED))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (EndpointConnectionError(endpoint_url="http://x"), EventBusUnavailable),
        (ReadTimeoutError(endpoint_url="http://x"), EventBusUnavailable),
        (NoCredentialsError(), EventRefused),
    ],
    ids=["no connection", "timeout", "no credentials"],
)
def test_no_response_is_retryable_and_no_credentials_are_not(error, kind):
    class Away:
        def put_events(self, **_):
            raise error

    with pytest.raises(EventRefused) as caught:
        EventBus(Away).put(parse_record(result(PUBLISHED)))

    assert type(caught.value) is kind


def test_the_example_in_the_manual_fits_the_schema():
    text = (DOCS / "events.md").read_text()
    example = text.partition("```json\n")[2].partition("```")[0].replace("...", "0" * 60)
    document = json.loads(example)
    for digest in ("image_digest", "new_digest"):
        document["detail"][digest] = "sha256:" + "0" * 64
    for index in document["detail"]["indexes"]:
        index |= {"image_digest": "sha256:" + "0" * 64, "index_digest": "sha256:" + "0" * 64}

    jsonschema.Draft202012Validator(SCHEMA).validate(document)


def test_the_rule_in_the_manual_matches_only_events_that_can_be_deployed():
    pattern = (DOCS / "events.md").read_text().split("```json\n")[2].partition("```")[0]
    taken = set()
    for name, told in TOLD.items():
        record = parse_record(told)
        event = {
            "source": SOURCE,
            "detail-type": detail_type(record.outcome),
            "detail": event_detail(record),
        }
        if EventPattern.load(pattern).matches_event(cast("Any", event)):
            taken.add(name)

    assert taken == {"indexed", "tagged"}


def test_the_manual_names_every_field_and_every_reason():
    text = (DOCS / "events.md").read_text()

    missing = [name for name in SCHEMA["$defs"]["detail"]["required"] if f"`{name}`" not in text]
    assert not set(missing) - {"outcome", "execution"}
    assert not [reason for reason in ImageReason if f"`{reason}`" not in text]
