from __future__ import annotations

import copy
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.events.models import EventPattern

from infra.event_patterns import MAX_PATTERN_CHARACTERS, event_patterns
from local.system.template import Template
from soci.service.settings.configuration import NamePatterns, Rules, UntaggedImages
from tests.architecture.source import ROOT
from tests.infra.stacks import NARROW, resources, template_of

PUSH = {
    "version": "0",
    "source": "aws.ecr",
    "detail-type": "ECR Image Action",
    "detail": {
        "result": "SUCCESS",
        "repository-name": "team/app",
        "image-digest": "sha256:" + "7f" * 32,
        "action-type": "PUSH",
        "image-tag": "1.4",
    },
}
REPLICATION = {
    "source": "aws.ecr",
    "detail-type": "ECR Replication Action",
    "detail": {
        "result": "SUCCESS",
        "repository-name": "team/app",
        "image-digest": "sha256:" + "7f" * 32,
        "source-account": "123456789012",
        "action-type": "REPLICATE",
        "source-region": "us-west-2",
        "image-tag": "1.4",
    },
}
PULL_THROUGH = {
    "source": "aws.ecr",
    "detail-type": "ECR Pull Through Cache Action",
    "detail": {
        "rule-version": "1",
        "sync-status": "SUCCESS",
        "ecr-repository-prefix": "docker-hub",
        "repository-name": "docker-hub/library/python",
        "upstream-registry-url": "registry-1.docker.io",
        "image-tag": "3.13",
        "image-digest": "sha256:" + "7f" * 32,
    },
}
EVENTS = {"push": PUSH, "replication": REPLICATION, "pull-through": PULL_THROUGH}
each_event = pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

HERE = {"account": [{"Ref": "AWS::AccountId"}], "region": [{"Ref": "AWS::Region"}]}
"""What the stack adds to every pattern."""

SAMPLES = ROOT / "tests/events"
STARTING = {
    "pull-through-cache",
    "push",
    "push-docker",
    "push-image-index",
    "push-without-media-types",
    "replication",
}

names = st.text("ab-/", max_size=6)
globs = st.text("ab*?-/", min_size=1, max_size=6)


def matches(event, rules):
    """Whether one of the patterns matches the event, as EventBridge does."""
    patterns = event_patterns(rules).values()
    return any(EventPattern.load(json.dumps(one.to_document())).matches_event(event) for one in patterns)


def passes(event, **rules):
    return matches(event, Rules.from_document(rules))


def changed(event, **detail):
    """An event with other details; `None` removes one."""
    event = copy.deepcopy(event)
    event["detail"] |= {name.replace("_", "-"): value for name, value in detail.items()}
    event["detail"] = {name: value for name, value in event["detail"].items() if value is not None}
    return event


def is_meant(name, patterns):
    def any_of(globs):
        regexes = (re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".") for glob in globs)
        return any(re.fullmatch(regex, name, re.DOTALL) for regex in regexes)

    return any_of(patterns.include) and not any_of(patterns.exclude)


@each_event
def test_each_kind_of_event_starts_an_execution(event):
    assert passes(event)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_real_events_about_images_start_an_execution_and_others_do_not(path):
    assert passes(json.loads(path.read_text())) is (path.stem in STARTING)


@pytest.mark.parametrize(
    "types",
    [
        {"manifest_media_type": DOCKER_MANIFEST, "artifact_media_type": DOCKER_CONFIG},
        {"manifest_media_type": OCI_MANIFEST, "artifact_media_type": OCI_CONFIG},
        {"manifest_media_type": OCI_INDEX},
        {"manifest_media_type": DOCKER_LIST},
        {"manifest_media_type": OCI_INDEX, "artifact_media_type": ""},
        {},
    ],
    ids=["docker", "oci", "oci index", "docker list", "empty artifact type", "no types"],
)
def test_images_with_any_media_type_or_none_start_an_execution(types):
    assert passes(changed(PUSH, **types))


@pytest.mark.parametrize(
    "detail",
    [
        {"action_type": "DELETE"},
        {"result": "FAILURE"},
        {
            "manifest_media_type": OCI_MANIFEST,
            "artifact_media_type": "application/vnd.amazon.soci.index.v1+json",
        },
        {
            "manifest_media_type": OCI_MANIFEST,
            "artifact_media_type": "application/vnd.amazon.soci.index.v2+json",
        },
        {
            "manifest_media_type": OCI_MANIFEST,
            "artifact_media_type": "application/vnd.cncf.helm.config.v1+json",
        },
        {
            "manifest_media_type": OCI_MANIFEST,
            "artifact_media_type": "application/vnd.soci-index-builder.start-profile.v1+json",
            "image_tag": "soci-profile-linux-amd64",
        },
        {"manifest_media_type": "application/vnd.docker.distribution.manifest.v1+prettyjws"},
        {"image_tag": ""},
        {"image_tag": None},
    ],
    ids=[
        "delete",
        "failed",
        "soci v1",
        "soci v2",
        "chart",
        "start profile",
        "schema 1",
        "empty tag",
        "no tag",
    ],
)
def test_what_the_filter_would_skip_starts_nothing(detail):
    assert not passes(changed(PUSH, **detail))


@pytest.mark.parametrize(
    "event",
    [
        changed(REPLICATION, result="FAILED"),
        changed(REPLICATION, image_tag=""),
        changed(PULL_THROUGH, sync_status="FAILURE"),
        PUSH | {"detail-type": "ECR Image Scan"},
        PUSH | {"detail-type": "ECR Referrer Action"},
        PUSH | {"source": "com.example"},
    ],
    ids=["replication failed", "replicated part", "pull failed", "scan", "referrer", "other source"],
)
def test_other_events_start_nothing(event):
    assert not passes(event)


@each_event
@pytest.mark.parametrize("tag", ["", None], ids=["empty", "absent"])
def test_untagged_images_start_an_execution_if_the_rules_ask_for_them(event, tag):
    assert passes(changed(event, image_tag=tag), untagged_images="index")


@each_event
def test_only_chosen_repositories_start_an_execution(event):
    chosen = {"include": ["team/*", "*-base", "docker-hub/*/python", "exact"]}

    for name in ("team/app", "os-base", "docker-hub/library/python", "exact"):
        assert passes(changed(event, repository_name=name), repositories=chosen)
    for name in ("Team/app", "teams/app", "os-base-2", "docker-hub/python", "exactly"):
        assert not passes(changed(event, repository_name=name), repositories=chosen)


def test_excluded_repositories_and_tags_start_nothing():
    rules = {
        "repositories": {"include": ["*"], "exclude": ["*lambda*", "x"]},
        "tags": {"include": ["*"], "exclude": ["latest", "tmp-*"]},
    }

    assert passes(PUSH, **rules)
    assert not passes(changed(PUSH, repository_name="team/lambda-thumbnails"), **rules)
    assert not passes(changed(PUSH, repository_name="x"), **rules)
    assert not passes(changed(PUSH, image_tag="latest"), **rules)


def test_only_chosen_tags_start_an_execution():
    rules = {"tags": {"include": ["v*", "stable"]}}

    assert passes(changed(PUSH, image_tag="v1"), **rules)
    assert passes(changed(PUSH, image_tag="stable"), **rules)
    assert not passes(changed(PUSH, image_tag="dev"), **rules)
    assert not passes(changed(PUSH, image_tag=""), **rules)


@given(
    name=names,
    tag=names,
    repositories=st.builds(
        NamePatterns,
        include=st.lists(globs, min_size=1, max_size=3, unique=True).map(tuple),
        exclude=st.lists(globs, max_size=3, unique=True).map(tuple),
    ),
    tags=st.builds(
        NamePatterns,
        include=st.lists(globs, min_size=1, max_size=3, unique=True).map(tuple),
        exclude=st.lists(globs, max_size=3, unique=True).map(tuple),
    ),
    untagged=st.sampled_from(UntaggedImages),
)
def test_no_image_that_the_rules_select_is_dropped(name, tag, repositories, tags, untagged):
    rules = Rules(repositories=repositories, tags=tags, untagged_images=untagged)
    tag_is_meant = is_meant(tag, tags) if tag else untagged is UntaggedImages.INDEX

    if is_meant(name, repositories) and tag_is_meant:
        assert matches(changed(PUSH, repository_name=name, image_tag=tag), rules)


def test_many_long_patterns_still_fit_and_drop_no_selected_image():
    include = [f"department-{number}/product-{'x' * 40}/*" for number in range(60)]
    rules = Rules.from_document({"repositories": {"include": include}, "tags": {"include": ["v*"]}})

    for pattern in event_patterns(rules).values():
        here = {"account": ["123456789012"], "region": ["ap-southeast-1"]}
        assert len(json.dumps(pattern.to_document() | here)) <= MAX_PATTERN_CHARACTERS
    assert matches(changed(PUSH, repository_name=include[59].replace("*", "app"), image_tag="v1"), rules)
    assert not matches(changed(PUSH, image_tag="dev"), rules)


def test_simple_patterns_use_no_wildcards_since_their_number_is_limited():
    rules = Rules.from_document(
        {"repositories": {"include": ["team/*", "*-base", "exact"]}, "tags": {"exclude": ["latest"]}}
    )

    text = json.dumps([pattern.to_document() for pattern in event_patterns(rules).values()])

    assert "wildcard" not in text


def test_the_rules_of_the_stack_have_these_patterns():
    deployed = resources(template_of({"settings": NARROW}), "AWS::Events::Rule").values()
    patterns = event_patterns(Rules.from_document(NARROW["rules"])).values()

    def as_text(documents):
        return sorted(json.dumps(document, sort_keys=True) for document in documents)

    assert as_text(
        rule["EventPattern"] for rule in deployed if rule.get("EventPattern", {}).get("source") == ["aws.ecr"]
    ) == as_text(pattern.to_document() | HERE for pattern in patterns)


@pytest.mark.parametrize("name", sorted(STARTING))
def test_events_that_another_account_or_region_forwards_start_nothing(name):
    event = json.loads((SAMPLES / f"{name}.json").read_text())
    patterns = [
        EventPattern.load(rule.pattern)
        for rule in Template(template_of({}), stack_name="soci").rules()
        if f'"{event["detail-type"]}"' in rule.pattern
    ]

    def starts(**where):
        return any(pattern.matches_event(event | where) for pattern in patterns)

    assert starts()
    assert not starts(account="210987654321")
    assert not starts(region="eu-west-1")
