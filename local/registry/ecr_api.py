"""ECR's own API (AWS JSON 1.1): the actions for the login, and for lists of repositories and images.

A call is a POST with the action in X-Amz-Target. It must be signed, but the signature is not checked. The cursor of the
next page is opaque and images are unordered, as in ECR.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local.registry.behaviour import Behaviour
from local.registry.login import EcrLogin, Login
from local.registry.messages import Refused, Request, Response, json_response
from local.registry.push_events import ACCOUNT, REGION
from local.registry.service import Service
from local.registry.store import INDEX_TYPES, Manifest, Repository

JSON_TYPE = "application/x-amz-json-1.1"
_PER_PAGE, _MOST_PER_PAGE = 100, 1_000
_MOST_NAMES = 100
_ANY = "ANY"
_CURSOR_PREFIX = b"after:"
_CODES = {401: "AccessDeniedException", 403: "AccessDeniedException", 429: "ThrottlingException"}

Document = dict[str, Any]


def answer(service: Service, login: Login | None, request: Request) -> Response:
    """Answer a call. Raises `Refused`, whose code is the name of the API's error."""
    if not request.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 "):
        raise Refused(400, "MissingAuthenticationTokenException", "Missing Authentication Token")
    try:
        document = json.loads(request.body)
    except ValueError:
        raise Refused(400, "SerializationException", "no JSON") from None
    actions: dict[str, Callable[[], Document]] = {
        "GetAuthorizationToken": lambda: _get_authorization_token(service, login, request),
        "DescribeRepositories": lambda: _describe_repositories(service, request, document),
        "DescribeImages": lambda: _describe_images(service, document),
        "ListImages": lambda: _list_images(service, document),
    }
    act = actions.get(request.aws_action or "")
    if act is None:
        raise Refused(400, "UnknownOperationException", "")
    return json_response(act(), headers={"Content-Type": JSON_TYPE})


def refusal(refused: Refused) -> Response:
    """Return a refusal in the format of the API. Errors of the distribution protocol get a name of the API."""
    is_own = refused.code.endswith("Exception")
    code = refused.code if is_own else _CODES.get(refused.status, "ServerException")
    document = {"__type": code, "message": refused.message}
    headers = {**refused.headers, "Content-Type": JSON_TYPE}
    return json_response(document, status=refused.status, headers=headers)


def _get_authorization_token(service: Service, login: Login | None, request: Request) -> Document:
    if login is not None and not isinstance(login, EcrLogin):
        raise Refused(400, "ServerException", "this registry has a login of another kind")
    now = service.clock.now()
    password = secrets.token_urlsafe(96) if login is None else login.issue(now)
    lifetime = EcrLogin().lifetime_seconds if login is None else login.lifetime_seconds
    token = base64.b64encode(f"AWS:{password}".encode()).decode()
    data = {"authorizationToken": token, "expiresAt": now + lifetime, "proxyEndpoint": request.base_url}
    return {"authorizationData": [data]}


def _describe_repositories(service: Service, request: Request, asked: Document) -> Document:
    host = request.base_url.partition("//")[2]
    names = asked.get("repositoryNames")
    if names is None:
        page, cursor = _page(service, asked, sorted(service.store.repositories))
    else:
        if len(names) > _MOST_NAMES or "maxResults" in asked or "nextToken" in asked:
            raise _invalid("repositoryNames")
        page, cursor = names, {}
    return {"repositories": [_describe_repository(service, host, name) for name in page], **cursor}


def _describe_mutability(behaviour: Behaviour) -> Document:
    if not behaviour.immutable_tags:
        return {"imageTagMutability": "MUTABLE"}
    if not behaviour.mutable_tag_patterns:
        return {"imageTagMutability": "IMMUTABLE"}
    return {
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [
            {"filterType": "WILDCARD", "filter": pattern} for pattern in behaviour.mutable_tag_patterns
        ],
    }


def _describe_repository(service: Service, host: str, name: str) -> Document:
    return {
        "repositoryArn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}",
        "registryId": ACCOUNT,
        "repositoryName": name,
        "repositoryUri": f"{host}/{name}",
        "createdAt": _repository(service, name).created_at,
        **_describe_mutability(service.behaviour),
        "imageScanningConfiguration": {"scanOnPush": False},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    }


def _describe_images(service: Service, asked: Document) -> Document:
    name = asked["repositoryName"]
    repository = _repository(service, name)
    tags = _tags_by_digest(repository)
    if "imageIds" in asked:
        if "maxResults" in asked or "nextToken" in asked:
            raise _invalid("imageIds")
        page = [_find(repository, name, image).digest for image in asked["imageIds"]]
        cursor: Document = {}
    else:
        status = asked.get("filter", {}).get("tagStatus", _ANY)
        chosen = [digest for digest in repository.manifests if status in (_ANY, _status_of(digest, tags))]
        page, cursor = _page(service, asked, sorted(chosen))
    details = [_describe_image(repository, name, digest, sorted(tags.get(digest, ()))) for digest in page]
    return {"imageDetails": details, **cursor}


def _list_images(service: Service, asked: Document) -> Document:
    repository = _repository(service, asked["repositoryName"])
    status = asked.get("filter", {}).get("tagStatus", _ANY)
    tags = _tags_by_digest(repository)
    # An image is listed once for each of its tags, or once without one.
    chosen = [
        f"{digest} {tag}"
        for digest in repository.manifests
        if status in (_ANY, _status_of(digest, tags))
        for tag in tags.get(digest, [""])
    ]
    page, cursor = _page(service, asked, sorted(chosen))
    pairs = [entry.split(" ") for entry in page]
    listed = [
        {"imageDigest": digest, "imageTag": tag} if tag else {"imageDigest": digest} for digest, tag in pairs
    ]
    return {"imageIds": listed, **cursor}


def _describe_image(repository: Repository, name: str, digest: str, tags: Sequence[str]) -> Document:
    manifest = repository.manifests[digest]
    optional = {
        "imageTags": tags,
        "artifactMediaType": manifest.artifact_type,
        "subjectManifestDigest": manifest.subject,
    }
    return {
        "registryId": ACCOUNT,
        "repositoryName": name,
        "imageDigest": digest,
        "imageSizeInBytes": _size_of(repository, manifest),
        "imagePushedAt": manifest.pushed_at,
        "imageManifestMediaType": manifest.media_type,
        "imageStatus": "ACTIVE",
        **{key: value for key, value in optional.items() if value},
    }


def _size_of(repository: Repository, manifest: Manifest) -> int:
    """Sum the config and the layers; an index is as large as the largest of its manifests."""
    if manifest.media_type in INDEX_TYPES:
        children = (repository.manifests.get(child) for child in manifest.children)
        return max((_size_of(repository, child) for child in children if child is not None), default=0)
    document = manifest.document
    return sum(int(blob["size"]) for blob in (document["config"], *document["layers"]))


def _repository(service: Service, name: str) -> Repository:
    found = service.store.repositories.get(name)
    if found is None:
        where = f"in the registry with id '{ACCOUNT}'"
        message = f"The repository with name '{name}' does not exist {where}"
        raise Refused(400, "RepositoryNotFoundException", message)
    return found


def _find(repository: Repository, name: str, image: Document) -> Manifest:
    digest, tag = image.get("imageDigest"), image.get("imageTag")
    found = repository.find(tag or digest or "")
    if found is None or (digest is not None and found.digest != digest):
        wanted = f"{{imageDigest:'{digest or 'null'}', imageTag:'{tag or 'null'}'}}"
        message = f"The image with imageId {wanted} does not exist within the repository with name '{name}'"
        raise Refused(400, "ImageNotFoundException", message)
    return found


def _tags_by_digest(repository: Repository) -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {}
    for tag, digest in repository.tags.items():
        tags.setdefault(digest, []).append(tag)
    return tags


def _status_of(digest: str, tags: Mapping[str, object]) -> str:
    return "TAGGED" if digest in tags else "UNTAGGED"


def _page(service: Service, asked: Document, entries: Sequence[str]) -> tuple[list[str], Document]:
    """Return the requested page of sorted entries, and the cursor of the next page if there is one."""
    size = asked.get("maxResults", _PER_PAGE)
    if not 1 <= size <= _MOST_PER_PAGE:
        raise _invalid("maxResults")
    after = _decode(asked["nextToken"]) if "nextToken" in asked else ""
    rest = [entry for entry in entries if entry > after]
    page = rest[: service.page_limit(size)]
    if len(page) == len(rest):
        return page, {}
    return page, {"nextToken": base64.b64encode(_CURSOR_PREFIX + page[-1].encode()).decode()}


def _decode(cursor: str) -> str:
    try:
        decoded = base64.b64decode(cursor, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded.startswith(_CURSOR_PREFIX):
        raise _invalid("nextToken")
    return decoded.removeprefix(_CURSOR_PREFIX).decode()


def _invalid(parameter: str) -> Refused:
    message = f"Invalid parameter at '{parameter}' failed to satisfy constraint"
    return Refused(400, "InvalidParameterException", message)
