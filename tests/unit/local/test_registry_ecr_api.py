"""ECR's own API at the in-memory registry, as boto3 sees it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.registry import Answer, BasicLogin, Behaviour, EcrLogin, Harm, Registry, action
from local.registry.store import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, digest_of
from tests.aws_environment import as_aws
from tests.http_calls import basic, call

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
SOCI = "application/vnd.amazon.soci.index.v1+json"
PUSHED_AT = 1_700_000_000.0


def image(number: int, *, config_type: str = CONFIG_TYPE, **fields: Any) -> bytes:
    config = {"mediaType": config_type, "digest": digest_of(b"config"), "size": 6}
    layer = {"mediaType": "application/octet-stream", "digest": digest_of(b"%d" % number), "size": number}
    return json.dumps({"schemaVersion": 2, "config": config, "layers": [layer], **fields}).encode()


def index(*manifests: bytes) -> bytes:
    entries = [
        {"mediaType": OCI_MANIFEST, "digest": digest_of(data), "size": len(data)} for data in manifests
    ]
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


def client(**config: Any) -> Any:
    return boto3.client("ecr", config=Config(**config))


@pytest.fixture
def registry():
    with Registry(login=EcrLogin(lifetime_seconds=60)) as running, as_aws(running):
        yield running


def test_boto3_gets_the_password_that_opens_the_registry(registry):
    data = client().get_authorization_token()["authorizationData"][0]
    user, password = base64.b64decode(data["authorizationToken"]).decode().split(":")

    assert user == "AWS"
    assert data["proxyEndpoint"] == f"http://{registry.host}"
    assert (data["expiresAt"] - datetime.now(UTC)).total_seconds() == pytest.approx(60, abs=5)
    assert call(registry.host, "GET", "/v2/", headers=basic(user, password)).status == 200
    registry.let_time_pass(60)
    assert call(registry.host, "GET", "/v2/", headers=basic(user, password)).status == 403


def test_ecr_passwords_need_a_registry_with_ecr_login_or_none():
    with Registry() as opened, as_aws(opened):
        assert client().get_authorization_token()["authorizationData"][0]["authorizationToken"]
    with (
        Registry(login=BasicLogin("a", "b")) as other,
        as_aws(other),
        pytest.raises(ClientError, match="another kind"),
    ):
        client(retries={"total_max_attempts": 1}).get_authorization_token()


def test_repositories_are_described_in_pages_as_in_ecr(registry):
    for number in range(250):
        registry.repository(f"team/app-{number:03}")

    pages = list(client().get_paginator("describe_repositories").paginate())

    assert [len(page["repositories"]) for page in pages] == [100, 100, 50]
    first = pages[0]["repositories"][0]
    assert first["repositoryName"] == "team/app-000"
    assert first["repositoryArn"] == "arn:aws:ecr:eu-central-1:123456789012:repository/team/app-000"
    assert first["repositoryUri"] == f"{registry.host}/team/app-000"
    assert (datetime.now(UTC) - first["createdAt"]).total_seconds() < 60
    assert [seen.aws_action for seen in registry.requests] == ["DescribeRepositories"] * 3


def test_repositories_are_found_by_name(registry):
    registry.repository("app")

    found = client().describe_repositories(repositoryNames=["app"])["repositories"]
    with pytest.raises(ClientError) as caught:
        client().describe_repositories(repositoryNames=["app", "none"])

    assert [one["repositoryName"] for one in found] == ["app"]
    assert caught.value.response["Error"] == {
        "Code": "RepositoryNotFoundException",
        "Message": "The repository with name 'none' does not exist in the registry with id '123456789012'",
    }
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_images_are_described_by_their_manifests(registry):
    app = registry.repository("app")
    small, large = image(10), image(1000)
    subject = {"mediaType": OCI_MANIFEST, "digest": digest_of(small), "size": len(small)}
    artifact = image(3, config_type=SOCI, subject=subject)
    app.put_manifest(small, DOCKER_MANIFEST, tag="1", pushed_at=PUSHED_AT)
    app.tags["one"] = digest_of(small)
    app.put_manifest(large)
    app.put_manifest(artifact)
    both = app.put_manifest(index(small, large), OCI_INDEX, tag="both")

    details = client().describe_images(repositoryName="app")["imageDetails"]

    found = {one["imageDigest"]: one for one in details}
    first = found[digest_of(small)]
    assert first["imageTags"] == ["1", "one"]
    assert first["imagePushedAt"] == datetime.fromtimestamp(PUSHED_AT, UTC)
    assert (first["imageManifestMediaType"], first["artifactMediaType"]) == (DOCKER_MANIFEST, CONFIG_TYPE)
    assert (first["imageSizeInBytes"], found[both]["imageSizeInBytes"]) == (16, 1006)
    assert "artifactMediaType" not in found[both]
    assert "imageTags" not in found[digest_of(large)]
    assert found[digest_of(artifact)]["artifactMediaType"] == SOCI
    assert found[digest_of(artifact)]["subjectManifestDigest"] == digest_of(small)


def test_images_come_in_pages_by_tag_status(registry):
    app = registry.repository("app")
    for number in range(2500):
        app.put_manifest(image(number), tag=f"t{number}" if number % 2 else None)

    pages = {
        status: [
            len(page["imageDetails"])
            for page in client()
            .get_paginator("describe_images")
            .paginate(repositoryName="app", filter={"tagStatus": status}, PaginationConfig={"PageSize": 1000})
        ]
        for status in ("TAGGED", "UNTAGGED", "ANY")
    }

    assert pages == {"TAGGED": [1000, 250], "UNTAGGED": [1000, 250], "ANY": [1000, 1000, 500]}


def test_a_page_starts_after_the_previous_one_despite_changes_meanwhile(registry):
    app = registry.repository("app")
    digests = sorted(app.put_manifest(image(number)) for number in range(20))

    first = client().describe_images(repositoryName="app", maxResults=10)
    for digest in digests[5:15]:
        del app.manifests[digest]
    second = client().describe_images(repositoryName="app", nextToken=first["nextToken"])

    assert [one["imageDigest"] for one in first["imageDetails"]] == digests[:10]
    assert [one["imageDigest"] for one in second["imageDetails"]] == digests[15:]
    assert "nextToken" not in second


def test_images_are_found_by_digest_and_tag(registry):
    digest = registry.repository("app").put_manifest(image(1), tag="1")
    asked = [{"imageTag": "1"}, {"imageDigest": digest}]

    found = client().describe_images(repositoryName="app", imageIds=asked)["imageDetails"]
    with pytest.raises(ClientError) as caught:
        client().describe_images(repositoryName="app", imageIds=[*asked, {"imageTag": "2"}])

    assert [one["imageDigest"] for one in found] == [digest, digest]
    assert caught.value.response["Error"]["Code"] == "ImageNotFoundException"
    assert "imageTag:'2'" in caught.value.response["Error"]["Message"]


def test_list_images_names_an_image_once_for_each_tag(registry):
    app = registry.repository("app")
    digest = app.put_manifest(image(1), tag="1")
    app.tags["2"] = digest
    untagged = app.put_manifest(image(2))

    listed = client().list_images(repositoryName="app")["imageIds"]

    assert sorted((one["imageDigest"], one.get("imageTag")) for one in listed) == sorted(
        [(digest, "1"), (digest, "2"), (untagged, None)]
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"repositoryName": "none"}, "RepositoryNotFoundException"),
        ({"repositoryName": "app", "nextToken": "made-up"}, "InvalidParameterException"),
        ({"repositoryName": "app", "maxResults": 1001}, "InvalidParameterException"),
        (
            {"repositoryName": "app", "maxResults": 10, "imageIds": [{"imageTag": "1"}]},
            "InvalidParameterException",
        ),
    ],
    ids=["no repository", "token", "page size", "both"],
)
def test_a_refused_call_has_the_name_of_ecrs_error(registry, arguments, code):
    registry.repository("app")

    with pytest.raises(ClientError) as caught:
        client(parameter_validation=False).describe_images(**arguments)

    assert caught.value.response["Error"]["Code"] == code


def test_unsigned_and_unknown_calls_are_refused(registry):
    target = {"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.DescribeImages"}
    unsigned = call(registry.host, "POST", "/", b"{}", target)

    assert (unsigned.status, unsigned.document["__type"]) == (400, "MissingAuthenticationTokenException")
    with pytest.raises(ClientError, match="UnknownOperationException"):
        client().delete_repository(repositoryName="app")


def test_faults_reach_the_api_and_boto3_retries_transient_ones(registry):
    registry.repository("app")
    registry.fail(Answer(503), where=action("DescribeRepositories"))
    registry.fail(Harm.RESET_BEFORE, where=action("DescribeRepositories"))

    found = client().describe_repositories()["repositories"]
    registry.fail(Answer(429), where=action("DescribeRepositories"), times=None)
    with pytest.raises(ClientError, match="ThrottlingException"):
        client(retries={"total_max_attempts": 1}).describe_repositories()

    assert len(found) == 1


def test_rate_limits_apply_to_actions_too():
    with Registry(Behaviour(rates={"DescribeRepositories": 2})) as limited, as_aws(limited):
        hasty = client(retries={"total_max_attempts": 1})
        for _ in range(2):
            hasty.describe_repositories()

        with pytest.raises(ClientError, match=r"ThrottlingException.*Rate exceeded"):
            hasty.describe_repositories()
