"""Manifests: push by tag or digest with the checks of ECR, fetch with content negotiation, delete."""

from __future__ import annotations

import json
import re

from local.registry.messages import Refused, Request, Response
from local.registry.push_events import push_event
from local.registry.service import Service
from local.registry.store import INDEX_TYPES, MANIFEST_TYPES, Manifest, Repository, digest_of

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_FOREIGN = ("nondistributable", "foreign")


def get_manifest(service: Service, request: Request, name: str, reference: str) -> Response:
    """Answer with the pushed document, if the client accepts its type."""
    manifest = service.repository(name).find(reference)
    if manifest is None:
        raise Refused(404, "MANIFEST_UNKNOWN", "Requested image not found")
    accepted = [part for line in request.headers.get_all("Accept", []) for part in line.split(",")]
    types = {part.partition(";")[0].strip() for part in accepted}
    if types and not types & {manifest.media_type, "application/*", "*/*"}:
        raise Refused(404, "MANIFEST_UNKNOWN", f"{manifest.media_type} is not in the list of accepted types")
    headers = {"Content-Type": manifest.media_type, "Docker-Content-Digest": manifest.digest}
    return Response(status=200, headers=headers, body=manifest.data)


def put_manifest(service: Service, request: Request, name: str, reference: str) -> Response:
    """Store a manifest. If the reference is a tag, move the tag to it."""
    repository = service.repository_to_push(name)
    manifest = _parse(service, request, reference)
    if service.behaviour.checks_references:
        _check_references(repository, manifest)
    tag = reference if ":" not in reference else None
    if tag is not None:
        _check_tag(service, repository, manifest, name, tag)
        repository.tags[tag] = manifest.digest
    repository.manifests.setdefault(manifest.digest, manifest)
    service.events.append(push_event(name, manifest, tag, service.clock.now()))
    headers = {"Docker-Content-Digest": manifest.digest}
    if manifest.subject is not None and service.behaviour.referrers_api:
        headers["OCI-Subject"] = manifest.subject
    if not service.behaviour.loose_answers:
        headers["Location"] = f"/v2/{name}/manifests/{manifest.digest}"
    return Response(status=201, headers=headers)


def delete_manifest(service: Service, _: Request, name: str, reference: str) -> Response:
    """Delete a tag, or a manifest with all its tags. Refuses a manifest that an index lists."""
    if not service.behaviour.deletes:
        raise Refused(405, "UNSUPPORTED", "The operation is unsupported.")
    repository = service.repository(name)
    manifest = repository.find(reference)
    if manifest is None:
        raise Refused(404, "MANIFEST_UNKNOWN", "Requested image not found")
    if ":" not in reference:
        del repository.tags[reference]
        return Response(status=202)
    parents = [other.digest for other in repository.manifests.values() if manifest.digest in other.children]
    if parents:
        raise Refused(403, "DENIED", f"{manifest.digest} is referenced by manifest list: {parents}")
    del repository.manifests[manifest.digest]
    for tag in [tag for tag, digest in repository.tags.items() if digest == manifest.digest]:
        del repository.tags[tag]
    return Response(status=202)


def _parse(service: Service, request: Request, reference: str) -> Manifest:
    limit = service.behaviour.max_manifest_bytes
    if len(request.body) > limit:
        message = f"a manifest has at most {limit} bytes, this one has {len(request.body)}"
        raise Refused(413, "MANIFEST_INVALID", message)
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip()
    if media_type not in MANIFEST_TYPES:
        raise Refused(400, "MANIFEST_INVALID", f"Content-Type {media_type!r} is no manifest's")
    digest = digest_of(
        request.body, reference.partition(":")[0] if _DIGEST.fullmatch(reference) else "sha256"
    )
    if ":" in reference and reference != digest:
        raise Refused(400, "DIGEST_INVALID", f"expected {reference}, got {digest}")
    _check_shape(request.body, media_type)
    return Manifest(digest=digest, media_type=media_type, data=request.body, pushed_at=service.clock.now())


def _check_shape(data: bytes, media_type: str) -> None:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise Refused(400, "MANIFEST_INVALID", "Invalid JSON syntax, or a schemaVersion other than 2")
    if (own := document.get("mediaType", media_type)) != media_type:
        raise Refused(400, "MANIFEST_INVALID", f"mediaType {own!r}, but Content-Type {media_type!r}")
    fields = ["manifests"] if media_type in INDEX_TYPES else ["config", "layers"]
    if missing := [field for field in fields if field not in document]:
        raise Refused(400, "MANIFEST_INVALID", f"{missing[0]!r} is missing")
    values = [document[field] for field in (*fields, "subject") if field in document]
    for value in values:
        for entry in value if isinstance(value, list) else [value]:
            if not isinstance(entry, dict) or not _DIGEST.fullmatch(str(entry.get("digest"))):
                raise Refused(400, "MANIFEST_INVALID", "a descriptor without a digest")


def _check_references(repository: Repository, manifest: Manifest) -> None:
    if manifest.media_type in INDEX_TYPES:
        if unknown := [child for child in manifest.children if child not in repository.manifests]:
            message = f"Images with digests {unknown} required for pushing image do not exist"
            raise Refused(400, "MANIFEST_BLOB_UNKNOWN", message)
        return
    for descriptor in (manifest.document["config"], *manifest.document["layers"]):
        if any(word in descriptor["mediaType"] for word in _FOREIGN):
            continue
        blob = repository.blobs.get(descriptor["digest"])
        if blob is None:
            message = f"Layers with digests [{descriptor['digest']}] required for pushing image do not exist"
            raise Refused(400, "MANIFEST_BLOB_UNKNOWN", message)
        if len(blob) != descriptor["size"]:
            message = f"{descriptor['digest']} has {len(blob)} bytes, not {descriptor['size']}"
            raise Refused(400, "MANIFEST_INVALID", message)


def _check_tag(service: Service, repository: Repository, manifest: Manifest, name: str, tag: str) -> None:
    if not _TAG.fullmatch(tag):
        raise Refused(400, "TAG_INVALID", f"{tag[:200]!r} is no tag")
    present = repository.tags.get(tag)
    if present not in (None, manifest.digest) and not service.behaviour.may_move(tag):
        message = (
            f"The image tag '{tag}' already exists in the '{name}' repository"
            " and cannot be overwritten because the tag is immutable."
        )
        raise Refused(400, "TAG_INVALID", message)
