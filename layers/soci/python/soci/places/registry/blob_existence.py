"""Whether a repository has a blob, by HEAD.

A registry that keeps blobs in another store redirects the HEAD, with or without the blob's digest. A proxy with a
login page redirects everything. So a redirect without a digest is followed, by a GET of one byte, because a URL
that is signed for GET refuses HEAD. The blob exists if the size at the end is right.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from soci.oci.digest import Digest
from soci.places.registry.client import REDIRECTS, RegistryClient
from soci.places.registry.http_messages import BodyStream, Operation, Request
from soci.places.registry.responses import NOT_FOUND, OK, check_content_digest
from soci.places.registry.retry import Attempts

_PARTIAL = 206
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


def has_blob(
    client: RegistryClient,
    url: str,
    digest: Digest,
    size_bytes: int,
    scopes: Collection[str],
    *,
    attempts: Attempts | None = None,
) -> bool:
    """Tell whether the blob at a URL exists, with its full size.

    Raises `RegistryError`; `InvalidResponse` when the response has another digest.
    """
    attempts = attempts or client.retries.start()
    head = Request(method="HEAD", url=url, operation=Operation.HEAD_BLOB)
    response = client.send(head, scopes, expect=(OK, NOT_FOUND, *REDIRECTS), attempts=attempts)
    if response.status == NOT_FOUND:
        return False
    check_content_digest(response, digest)
    if response.status == OK:
        return response.headers.get("content-length", "") in ("", str(size_bytes))
    if "docker-content-digest" in response.headers:
        return True
    headers = {"Range": "bytes=0-0"} if size_bytes else {}
    get = Request(method="GET", url=url, operation=Operation.GET_BLOB, headers=headers)
    with client.open(get, scopes, expect=(OK, _PARTIAL, NOT_FOUND), attempts=attempts) as stream:
        if stream.status == NOT_FOUND:
            return False
        check_content_digest(stream, digest)
        return _size_of(stream) == str(size_bytes)


def _size_of(stream: BodyStream) -> str:
    if stream.status == OK:
        return stream.headers.get("content-length", "")
    match = _TOTAL.fullmatch(stream.headers.get("content-range", ""))
    return match[1] if match else ""
