"""Blobs: checks and downloads, directly or by signed URLs of a second origin as in ECR."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import urlencode

from local.registry.messages import Refused, Request, Response
from local.registry.service import Service

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_OBJECT_PATH = re.compile(r"/layers/(?P<name>.+)/(?P<digest>[^/]+)")
_ALGORITHM = "AWS4-HMAC-SHA256"


def head_blob(service: Service, request: Request, name: str, digest: str) -> Response:  # noqa: ARG001
    """Answer with the size of a blob."""
    data = _find(service, name, digest)
    return Response(status=200, headers=_headers(digest), body=memoryview(data))


def get_blob(service: Service, request: Request, name: str, digest: str) -> Response:
    """Answer with a blob, or with a redirect to its signed URL."""
    data = _find(service, name, digest)
    if not service.behaviour.redirects_blobs:
        return _content(service, request, data, _headers(digest))
    return Response(status=307, headers={"Location": _signed_url(service, f"/layers/{name}/{digest}")})


def get_object(service: Service, request: Request) -> Response:
    """Answer a signed URL as S3 does: without Authorization header, with the signed method, before it expires."""
    if "Authorization" in request.headers:
        message = "Only one auth mechanism allowed; the query or the Authorization header, not both"
        return _s3_error(400, "InvalidArgument", message)
    query = request.query
    date, lifetime = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
    expected = _signature(service, request.method, request.path, date, lifetime)
    if not hmac.compare_digest(expected, query.get("X-Amz-Signature", "")):
        return _s3_error(403, "SignatureDoesNotMatch", "The signature is not that of this request")
    if service.clock.now() >= float(date) + float(lifetime):
        return _s3_error(403, "AccessDenied", "Request has expired")
    found = _OBJECT_PATH.fullmatch(request.path)
    repository = service.store.repositories.get(found["name"]) if found else None
    data = repository.blobs.get(found["digest"]) if found and repository else None
    if data is None:
        return _s3_error(404, "NoSuchKey", "The specified key does not exist.")
    headers = {"Content-Type": "application/octet-stream", "ETag": f'"{request.path[-32:]}"'}
    return _content(service, request, data, headers)


def _find(service: Service, name: str, digest: str) -> bytes:
    try:
        return service.repository(name).blobs[digest]
    except KeyError:
        raise Refused(404, "BLOB_UNKNOWN", "blob unknown to registry") from None


def _headers(digest: str) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}


def _content(service: Service, request: Request, data: bytes, headers: dict[str, str]) -> Response:
    """Answer with one range (RFC 9110, 14.2), or with everything if there are several ranges or none."""
    found = _RANGE.fullmatch(request.headers.get("Range", "")) if service.behaviour.ranges else None
    if service.behaviour.ranges:
        headers["Accept-Ranges"] = "bytes"
    if found is None or found.groups() == ("", ""):
        return Response(status=200, headers=headers, body=memoryview(data))
    first, last = found.groups()
    start = int(first) if first else max(len(data) - int(last), 0)
    end = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= len(data) or (first and last and int(first) > int(last)):
        return Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Response(status=206, headers=headers, body=memoryview(data)[start:end])


def _signed_url(service: Service, path: str) -> str:
    now, lifetime = f"{service.clock.now():.3f}", f"{service.behaviour.url_lifetime_seconds:g}"
    query = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Date": now,
        "X-Amz-Expires": lifetime,
        "X-Amz-Signature": _signature(service, "GET", path, now, lifetime),
    }
    return f"{service.objects_url()}{path}?{urlencode(query)}"


def _signature(service: Service, method: str, path: str, date: str, lifetime: str) -> str:
    """Sign a URL. The date is in seconds, unlike S3's, since clients do not read it."""
    signed = f"{_ALGORITHM}\n{method}\n{path}\n{date}\n{lifetime}".encode()
    return hmac.new(service.signing_key, signed, hashlib.sha256).hexdigest()


def _s3_error(status: int, code: str, message: str) -> Response:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'
    return Response(status=status, headers={"Content-Type": "application/xml"}, body=document.encode())
