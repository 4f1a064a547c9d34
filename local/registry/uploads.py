"""Uploads of blobs: whole, in chunks, or mounted from another repository."""

from __future__ import annotations

import re
import secrets
import uuid

from local.registry.messages import Refused, Request, Response
from local.registry.service import Service
from local.registry.store import Repository, Upload, digest_of

_CONTENT_RANGE = re.compile(r"(\d+)-(\d+)")
_ALGORITHMS = ("sha256", "sha512")


def begin_upload(service: Service, request: Request, name: str) -> Response:
    """Mount a blob, take a whole one from the body, or start an upload."""
    repository = service.repository_to_push(name)
    if service.behaviour.mounts and "mount" in request.query:
        digest = request.query["mount"]
        other = service.store.repositories.get(request.query.get("from", ""), Repository())
        if digest in other.blobs:
            repository.blobs[digest] = other.blobs[digest]
            return _created(request, name, digest)
    upload = Upload(secret=secrets.token_urlsafe(12))
    if "digest" in request.query:
        upload.data += request.body
        return _finish(repository, upload, request, name)
    session = str(uuid.uuid4())
    repository.uploads[session] = upload
    return _progress(request, name, session, upload, status=202)


def upload_status(service: Service, request: Request, name: str, session: str) -> Response:
    """Answer with the progress of an upload."""
    upload = _find(service.repository(name), request, session)
    shown = upload.first_chunk_bytes if service.behaviour.loose_answers else None
    return _progress(request, name, session, upload, status=204, shown_bytes=shown)


def patch_upload(service: Service, request: Request, name: str, session: str) -> Response:
    """Append a chunk. Size limits apply only with a Content-Range."""
    upload = _find(service.repository(name), request, session)
    _append(service, request, name, session, upload)
    if not service.behaviour.loose_answers:
        return _progress(request, name, session, upload, status=202)
    return _progress(request, name, session, upload, status=201, shown_bytes=upload.first_chunk_bytes)


def finish_upload(service: Service, request: Request, name: str, session: str) -> Response:
    """Append the last chunk, if any, and store the blob if its digest is right."""
    repository = service.repository(name)
    upload = _find(repository, request, session)
    _append(service, request, name, session, upload)
    del repository.uploads[session]
    return _finish(repository, upload, request, name)


def cancel_upload(service: Service, request: Request, name: str, session: str) -> Response:
    """Cancel an upload."""
    repository = service.repository(name)
    _find(repository, request, session)
    del repository.uploads[session]
    return Response(status=204)


def _find(repository: Repository, request: Request, session: str) -> Upload:
    upload = repository.uploads.get(session)
    if upload is None:
        raise Refused(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
    if request.query.get("_state") != upload.secret:
        # The client did not use the Location that it got.
        raise Refused(400, "BLOB_UPLOAD_INVALID", "not the Location that was given for this upload")
    return upload


def _append(service: Service, request: Request, name: str, session: str, upload: Upload) -> None:
    """Check a chunk's position and size, and append it."""
    size = len(request.body)
    if is_part := "Content-Range" in request.headers:
        _check_position(request, name, session, upload)
        if size > service.behaviour.max_part_bytes:
            raise Refused(413, "BLOB_UPLOAD_INVALID", f"a part of {size} bytes is too large")
    if size and upload.has_small_part:
        smallest = service.behaviour.min_part_bytes
        raise Refused(400, "BLOB_UPLOAD_INVALID", f"every part but the last has at least {smallest} bytes")
    upload.has_small_part |= is_part and size < service.behaviour.min_part_bytes
    upload.first_chunk_bytes = upload.first_chunk_bytes or size
    upload.data += request.body


def _check_position(request: Request, name: str, session: str, upload: Upload) -> None:
    found = _CONTENT_RANGE.fullmatch(request.headers["Content-Range"])
    if found is None:
        raise Refused(400, "BLOB_UPLOAD_INVALID", "Content-Range is not FIRST-LAST")
    first, last = int(found[1]), int(found[2])
    if first != len(upload.data):
        message = f"First byte of the layer part is {first} instead of {len(upload.data)}"
        progress = _progress(request, name, session, upload, status=416)
        raise Refused(416, "BLOB_UPLOAD_INVALID", message, headers=progress.headers)
    if last - first + 1 != len(request.body):
        message = f"Content-Range {found[0]} with a body of {len(request.body)} bytes"
        raise Refused(400, "SIZE_INVALID", message)


def _finish(repository: Repository, upload: Upload, request: Request, name: str) -> Response:
    wanted = request.query.get("digest", "")
    algorithm = wanted.partition(":")[0]
    if algorithm not in _ALGORITHMS or digest_of(upload.data, algorithm) != wanted:
        message = f"{wanted[:160]!r} is not the digest of the {len(upload.data)} bytes that came"
        raise Refused(400, "DIGEST_INVALID", message)
    repository.blobs[wanted] = bytes(upload.data)
    return _created(request, name, wanted)


def _created(request: Request, name: str, digest: str) -> Response:
    location = f"{request.base_url}/v2/{name}/blobs/{digest}"
    return Response(status=201, headers={"Location": location, "Docker-Content-Digest": digest})


def _progress(
    request: Request, name: str, session: str, upload: Upload, *, status: int, shown_bytes: int | None = None
) -> Response:
    size = len(upload.data) if shown_bytes is None else shown_bytes
    headers = {
        "Location": f"{request.base_url}/v2/{name}/blobs/uploads/{session}?_state={upload.secret}",
        "Docker-Upload-UUID": session,
        "Range": f"0-{max(size - 1, 0)}",
    }
    return Response(status=status, headers=headers)
