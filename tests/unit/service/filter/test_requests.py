from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soci.errors import InvalidRequest
from soci.oci.digest import digest_of
from soci.service.filter.requests import EVENT_KINDS, parse_request
from soci.service.messages import ImageRequest, Origin
from tests.unit.service.places import EVENTS, event

DIGEST = digest_of(b"image")
TAKEN = {
    "push": ("team/app", "1.4", Origin.PUSH),
    "push-docker": ("team/app", "1.4", Origin.PUSH),
    "push-image-index": ("team/app", "1.4", Origin.PUSH),
    "push-without-media-types": ("team/app", "1.4", Origin.PUSH),
    "push-empty-tag": ("team/app", None, Origin.PUSH),
    "push-no-tag-field": ("team/app", None, Origin.PUSH),
    "push-soci-index-v1": ("team/app", None, Origin.PUSH),
    "push-soci-index-v2": ("team/app", None, Origin.PUSH),
    "push-helm-chart": ("charts/app", "0.3.1", Origin.PUSH),
    "replication": ("team/app", "1.4", Origin.REPLICATION),
    "pull-through-cache": ("docker-hub/library/postgres", "17.2", Origin.PULL_THROUGH),
}
REFUSED = {
    "push-failed": r"detail\.result: got FAILURE, want SUCCESS",
    "delete": r"detail\.action-type: got DELETE, want PUSH",
    "replication-failed": r"detail\.result: got FAILED, want SUCCESS",
    "pull-through-cache-failed": r"detail\.sync-status: got FAILED, want SUCCESS",
    "scan": r"detail-type: got 'ECR Image Scan', want one of ECR Image Action, ",
    "referrer-activated": r"detail-type: got 'ECR Referrer Action', want one of ",
    "other-source": r"source: got com\.example\.registry, want aws\.ecr",
}


def test_every_event_file_is_tested_here():
    assert {path.stem for path in EVENTS.glob("*.json")} == TAKEN.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", TAKEN)
def test_an_event_about_an_image_that_arrived_is_accepted(name):
    request = parse_request(event(name))

    assert (request.repository, request.tag, request.origin) == TAKEN[name]
    assert str(request.digest) == event(name)["detail"]["image-digest"]
    assert request.pushed_at == event(name)["time"]
    assert request.is_event
    assert not request.force


@pytest.mark.parametrize("name", REFUSED)
def test_another_event_is_refused_by_the_field_that_differs(name):
    with pytest.raises(InvalidRequest, match=f"^request: {REFUSED[name]}"):
        parse_request(event(name))


def test_media_types_of_an_event_are_kept():
    given_types = parse_request(event("push-soci-index-v1"))

    assert given_types.artifact_type == "application/vnd.amazon.soci.index.v1+json"
    assert parse_request(event("push-without-media-types")).media_type == ""


def test_an_event_of_the_upstream_cache_may_lack_the_digest():
    document = event("pull-through-cache")
    del document["detail"]["image-digest"]

    assert parse_request(document).digest is None
    del document["detail"]["image-tag"]
    with pytest.raises(InvalidRequest, match="detail: want image-tag or image-digest, got neither"):
        parse_request(document)


@pytest.mark.parametrize(
    ("document", "request_"),
    [
        ({"repository": "app", "tag": "1.4"}, ImageRequest(repository="app", tag="1.4")),
        (
            {"repository": "a/b", "digest": str(DIGEST), "force": True},
            ImageRequest(repository="a/b", digest=DIGEST, force=True),
        ),
        (
            {"repository": "app", "tag": "Latest", "digest": None, "force": False},
            ImageRequest(repository="app", tag="Latest"),
        ),
        (
            {"repository": "app", "tag": "1", "outcome": "failed", "reason": "GzipError", "detail": "..."},
            ImageRequest(repository="app", tag="1", is_listed=True),
        ),
        (
            {"repository": "app", "tag": "1", "force": False, "listed": True},
            ImageRequest(repository="app", tag="1", is_listed=True),
        ),
        (
            {"repository": "docker.io/library/app", "tag": "1"},
            ImageRequest(repository="docker.io/library/app", tag="1"),
        ),
    ],
    ids=["by tag", "by digest", "nulls", "one that failed before", "one of a list", "a name like a host"],
)
def test_a_request_by_hand_names_a_repository_and_a_tag_or_a_digest(document, request_):
    assert parse_request(document) == request_
    assert not request_.is_event


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (None, "got nothing, want an event or a request"),
        ([], "got [], want an event or a request"),
        ({}, "repository: got nothing, want a name"),
        ({"repository": "app"}, "tag, digest: got neither, want one of them"),
        ({"repository": "app", "tag": "1", "digest": str(DIGEST)}, "tag, digest: got both, want one of them"),
        ({"repository": "App", "tag": "1"}, "repository: got App, want a name of lower-case letters"),
        ({"repository": 7, "tag": "1"}, "repository: got 7, want a string"),
        ({"repository": "app", "tag": "a b"}, "tag: got 'a b', want a tag of at most 128"),
        ({"repository": "app", "tag": "x" * 129}, "tag: got x"),
        ({"repository": "app", "tag": ["1"]}, "tag: got ['1'], want a string"),
        ({"repository": "app", "digest": "sha256:12"}, "digest: digest 'sha256:12': expected 64 hex digits"),
        ({"repository": "app", "tag": "1", "force": "yes"}, "force: got yes, want true or false"),
        ({"repository": "app", "tag": "1", "listed": 1}, "listed: got 1, want true or false"),
        (
            {"repository": "app", "tag": "1", "reason": 5, "outcome": [], "detail": {}},
            "outcome: got [], want a string; reason: got 5, want a string; detail: got {}, want a string",
        ),
        (
            {"repository": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app", "tag": "1"},
            "repository: got '123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app', want the name alone",
        ),
        ({"repository": "app", "tag": "1", "forced": True}, "forced: no such field, there are repository"),
        ({"source": "aws.ecr"}, "detail-type: got nothing, want one of"),
        (
            {"source": "aws.ecr", "detail-type": "ECR Image Action", "detail": []},
            "detail: got [], want an object",
        ),
        ({"detail-type": "Scheduled Event"}, "source: got nothing, want aws.ecr; detail-type: got 'Sched"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_request_names_the_wrong_field(document, problem):
    with pytest.raises(InvalidRequest) as failure:
        parse_request(document)

    assert str(failure.value).startswith(f"request: {problem}")


def test_every_bad_field_of_an_event_is_named_at_once():
    document = event("push")
    document["source"] = "elsewhere"
    document["time"] = "garbage"
    document["detail"] |= {"result": "FAILURE", "repository-name": "A", "image-tag": "?", "image-digest": 5}

    with pytest.raises(InvalidRequest) as failure:
        parse_request(document)

    named = [
        problem.partition(":")[0] for problem in str(failure.value).removeprefix("request: ").split("; ")
    ]
    assert named == [
        "source",
        *("detail.result", "detail.repository-name", "detail.image-tag", "detail.image-digest"),
        "time",
    ]


@pytest.mark.parametrize("time", [None, ""], ids=["none", "empty"])
def test_an_event_may_lack_its_time(time):
    assert parse_request(event("push") | {"time": time}).pushed_at is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from(["repository", "tag", "digest", "force", "source", "detail-type", "detail", "time"])
DETAILS = st.sampled_from(
    ["result", "action-type", "sync-status", "repository-name", "image-tag", "image-digest"]
)
TEXTS = st.sampled_from(
    ["aws.ecr", *EVENT_KINDS, "SUCCESS", "PUSH", "app", "1.4", "", str(DIGEST), "sha256:", "\ud800", "a/../b"]
)
JUNK = JSON | st.dictionaries(
    FIELDS, TEXTS | JSON | st.dictionaries(DETAILS, TEXTS | JSON, max_size=6), max_size=6
)


def outcome_of(document: object) -> ImageRequest | str:
    """The request, or the message of the documented error; any other error fails the test."""
    try:
        return parse_request(document)
    except InvalidRequest as error:
        return str(error)


@given(document=JUNK)
def test_junk_is_parsed_or_refused_with_the_documented_error(document):
    outcome = outcome_of(document)

    if isinstance(outcome, str):
        assert outcome.startswith("request: ")
    else:
        assert outcome.tag or outcome.digest
        assert json.dumps(outcome.to_document())


@given(change=st.dictionaries(DETAILS, TEXTS | JSON, max_size=3), name=st.sampled_from(sorted(TAKEN)))
def test_an_event_with_junk_in_its_fields_is_parsed_or_refused(change, name):
    document = event(name)
    document["detail"] |= change

    outcome = outcome_of(document)

    assert "detail" in outcome if isinstance(outcome, str) else outcome.repository


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"repository-name": 5}, ["detail.repository-name"]),
        ({"repository-name": "A"}, ["detail.repository-name"]),
        ({"image-tag": "?", "image-digest": None}, ["detail.image-tag"]),
        ({"image-tag": None, "image-digest": "sha256:1"}, ["detail.image-digest"]),
        ({"image-tag": None, "image-digest": None}, ["detail"]),
    ],
    ids=str,
)
def test_a_bad_field_of_an_event_is_named_once(change, named):
    document = event("push")
    document["detail"] |= change

    assert bad_fields(document) == named


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"repository": 7, "tag": "1"}, ["repository"]),
        ({"tag": "1"}, ["repository"]),
        ({"repository": "", "tag": "1"}, ["repository"]),
        ({"repository": "app", "tag": "a b"}, ["tag"]),
        ({"repository": "app", "digest": "sha256:12"}, ["digest"]),
        ({"repository": "app", "force": 1}, ["force"]),
        ({"repository": "app", "detail": 1}, ["detail"]),
        ({"repository": "app"}, ["tag, digest"]),
    ],
    ids=str,
)
def test_a_bad_field_of_a_request_by_hand_is_named_once(document, named):
    assert bad_fields(document) == named


def test_a_repository_may_have_the_name_of_a_registry():
    host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"

    assert parse_request({"repository": host, "tag": "1"}).repository == host


def bad_fields(document: object) -> list[str]:
    with pytest.raises(InvalidRequest) as failure:
        parse_request(document)
    return [problem.partition(":")[0] for problem in str(failure.value).removeprefix("request: ").split("; ")]
