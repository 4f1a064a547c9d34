"""Lists of repositories, tags and referrers."""

from __future__ import annotations

from local.registry.messages import Refused, Request, Response, json_response, not_found
from local.registry.pages import page_of
from local.registry.service import Service
from local.registry.store import OCI_INDEX

_NAMES_PER_PAGE = 1_000
_TAGS_PER_PAGE, _MOST_TAGS_PER_PAGE = 100, 1_000
_REFERRERS_PER_PAGE = 50


def get_base(service: Service, request: Request) -> Response:  # noqa: ARG001 - operations have one shape
    """Answer the version check."""
    return json_response({})


def list_repositories(service: Service, request: Request) -> Response:
    """Answer with a page of repository names."""
    limit = service.page_limit(_NAMES_PER_PAGE)
    page, link = page_of(request, sorted(service.store.repositories), default=limit, largest=limit)
    return json_response({"repositories": page}, headers=link)


def list_tags(service: Service, request: Request, name: str) -> Response:
    """Answer with a page of a repository's tags."""
    tags = sorted(service.repository(name).tags)
    limit = service.page_limit(_MOST_TAGS_PER_PAGE)
    page, link = page_of(request, tags, default=_TAGS_PER_PAGE, largest=limit)
    return json_response({"name": name, "tags": page}, headers=link)


def list_referrers(service: Service, request: Request, name: str, digest: str) -> Response:
    """Answer with a page of the manifests with this subject, filtered by artifact type on request."""
    if not service.behaviour.referrers_api:
        return not_found()
    if ":" not in digest:
        raise Refused(400, "DIGEST_INVALID", f"{digest[:80]!r} is no digest")
    wanted = request.query.get("artifactType")
    found = {
        manifest.digest: manifest.descriptor()
        for manifest in service.repository(name).referrers(digest)
        if wanted in (None, manifest.artifact_type)
    }
    limit = service.page_limit(_REFERRERS_PER_PAGE)
    page, headers = page_of(request, sorted(found), default=limit, largest=limit)
    if wanted is not None:
        headers["OCI-Filters-Applied"] = "artifactType"
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [found[entry] for entry in page]}
    return json_response(document, headers={**headers, "Content-Type": OCI_INDEX})
