"""Writing blobs (distribution spec, "Pushing blobs"): small ones in one request, larger ones in parts.

    in one request   POST uploads/ ─> Location; PUT Location?digest= with all bytes
    in parts         POST uploads/ ─> Location; PATCH Location with Content-Range, again and again;
                     PUT Location?digest=

A part is what the spec calls a chunk. Retries after a lost response:
    - one request, and the first part: with a new POST, because the old session may have some of the bytes;
    - a later part: some registries append every part they receive, so a repeated part would be there twice. GET
      Location tells how many bytes arrived. Amazon ECR's number may be stale, but ECR refuses (416) a part that
      does not begin where the last one ended. So the part is sent again, and 416 then means that it had arrived;
    - the last PUT: only if the blob does not exist.
If all this fails, the digest at the end does not match and the registry refuses the blob.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from urllib.parse import urlencode

from soci.errors import InvalidResponse, RegistryError, RegistryUnavailable, SociError
from soci.oci.digest import Digest
from soci.places.cancellation import cancel_after
from soci.places.registry.blob_existence import has_blob
from soci.places.registry.client import RegistryClient
from soci.places.registry.http_messages import Operation, Request, Response
from soci.places.registry.responses import NOT_FOUND
from soci.places.registry.retry import Attempts
from soci.places.registry.urls import redacted, redirected

PART_BYTES = 10 << 20
"""Amazon ECR takes parts of 5 to 10 MiB (the last may be smaller), at most 4,200."""

MAX_PART_BYTES = 100 << 20
"""The largest part that a registry may demand (OCI-Chunk-Min-Length): a part is held in memory."""

CANCEL_SECONDS = 5.0
"""The time limit for cancelling an upload."""

_OK = 200
_CREATED = 201
_ACCEPTED = 202
_NO_CONTENT = 204
_RANGE_NOT_SATISFIABLE = 416
_PART_ACCEPTED = (_ACCEPTED, _CREATED, _NO_CONTENT)
"""The statuses of an accepted part: 202 in the spec, 201 from Amazon ECR."""

_LAST_STATUS = 600
_NUMBER = re.compile(r"[0-9]{1,12}")
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSession:
    """An upload session of the registry: its URL, and the smallest part it accepts."""

    location: str
    min_part_bytes: int = 0


class Uploads:
    """Writes blobs into one repository. `url` is the repository's, with `/blobs`."""

    def __init__(self, client: RegistryClient, url: str, scopes: Collection[str]) -> None:
        self._client = client
        self._url = url
        self._scopes = scopes
        self._sessions: dict[Digest, UploadSession] = {}

    def push(
        self, digest: Digest, chunks: Iterable[bytes | bytearray], *, part_bytes: int = PART_BYTES
    ) -> None:
        """Write a blob. The registry checks its digest.

        Raises:
            RegistryError: the registry did not accept the blob; the upload is cancelled.
        """
        parts = parts_of(chunks, part_bytes)
        first, second = next(parts, b""), next(parts, None)
        if second is None:
            self._push_whole(digest, first)
            return
        upload = StreamedUpload(self._start(self._session_for(digest)), part_bytes=part_bytes)
        try:
            for part in chain((first, second), parts):
                upload.write(part)
            upload.commit(digest)
        except BaseException:
            upload.abort()
            raise

    def start(self) -> ChunkedUpload:
        """Start an upload in parts. The digest may be unknown. Raises `RegistryError`."""
        return self._start(self.open_session())

    def mount(self, digest: Digest, repository: str, scopes: Collection[str]) -> bool:
        """Mount a blob from another repository of the registry; False when the registry does not."""
        query = urlencode({"mount": str(digest), "from": repository})
        request = Request(
            method="POST", url=f"{self._url}/uploads/?{query}", operation=Operation.START_UPLOAD
        )
        response = self._client.send(request, scopes, expect=(_CREATED, _ACCEPTED))
        if response.status == _ACCEPTED:
            self._sessions[digest] = _parse_session(response, request.url)
        return response.status == _CREATED

    def has(self, digest: Digest, size_bytes: int, *, attempts: Attempts | None = None) -> bool:
        """Tell whether the blob exists. Raises as `has_blob` does."""
        return has_blob(
            self._client, f"{self._url}/{digest}", digest, size_bytes, self._scopes, attempts=attempts
        )

    def open_session(self, *, attempts: Attempts | None = None) -> UploadSession:
        """Open an upload session. Raises `RegistryError`."""
        request = Request(method="POST", url=f"{self._url}/uploads/", operation=Operation.START_UPLOAD)
        response = self._client.send(request, self._scopes, expect=(_ACCEPTED,), attempts=attempts)
        return _parse_session(response, request.url)

    def close_session(self, location: str, digest: Digest, body: bytes, *, attempts: Attempts) -> None:
        """Close a session with its last bytes, once. It may have succeeded even if it raises `RegistryError`."""
        url = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': str(digest)})}"
        headers = {"Content-Type": "application/octet-stream"}
        request = Request(
            method="PUT",
            url=url,
            operation=Operation.FINISH_UPLOAD,
            headers=headers,
            body=body,
            repeatable=False,
        )
        self._client.send(request, self._scopes, expect=(_CREATED, _NO_CONTENT), attempts=attempts)

    def cancel(self, location: str) -> None:
        """Cancel a session. Raises nothing: a registry drops old sessions itself."""
        request = Request(method="DELETE", url=location, operation=Operation.FINISH_UPLOAD, repeatable=False)
        with suppress(SociError), cancel_after(CANCEL_SECONDS):
            self._client.send(request, self._scopes, expect=range(_OK, _LAST_STATUS))

    def _session_for(self, digest: Digest, *, attempts: Attempts | None = None) -> UploadSession:
        """Open the session for a blob, or take the one that the registry opened instead of mounting it."""
        return self._sessions.pop(digest, None) or self.open_session(attempts=attempts)

    def _start(self, session: UploadSession) -> ChunkedUpload:
        return ChunkedUpload(self, self._client, self._scopes, session)

    def _push_whole(self, digest: Digest, data: bytes) -> None:
        attempts = self._client.retries.start()
        while True:
            session = self._session_for(digest, attempts=attempts)
            try:
                self.close_session(session.location, digest, data, attempts=attempts)
            except RegistryError as error:
                # 404: the session is lost, as after a restart of the registry.
                if not isinstance(error, RegistryUnavailable) and error.status != NOT_FOUND:
                    raise
                if self.has(digest, len(data), attempts=attempts):
                    return
                if error.status != NOT_FOUND:
                    self.cancel(session.location)
                attempts.wait(error)
            else:
                return


class ChunkedUpload:
    """An upload in parts. All parts but the last must have at least `min_part_bytes`."""

    def __init__(
        self, uploads: Uploads, client: RegistryClient, scopes: Collection[str], session: UploadSession
    ) -> None:
        self._uploads = uploads
        self._client = client
        self._scopes = scopes
        self.min_part_bytes = session.min_part_bytes
        """The smallest part that the registry accepts, except for the last; 0 when it does not say."""
        self._location = session.location
        self._size_bytes = 0

    def write(self, part: bytes) -> None:
        """Send the next part. Raises `RegistryError` when the registry does not accept it."""
        attempts = self._client.retries.start()
        lost: RegistryUnavailable | None = None
        while part:
            try:
                # 416 after a lost response: the part had arrived.
                expect = _PART_ACCEPTED if lost is None else (*_PART_ACCEPTED, _RANGE_NOT_SATISFIABLE)
                self._patch(part, expect, attempts)
            except RegistryUnavailable as error:
                lost = error
                attempts.wait(error)
                part = self._left_of(part, attempts)
            except RegistryError as error:
                raise lost or error from None  # the lost request may have ended the session
            else:
                self._size_bytes += len(part)
                return

    def commit(self, digest: Digest) -> None:
        """Close the session: the blob exists from now on. Raises `RegistryError` when the registry refuses it."""
        attempts = self._client.retries.start()
        lost: RegistryError | None = None
        while True:
            try:
                self._uploads.close_session(self._location, digest, b"", attempts=attempts)
            except RegistryError as error:
                # 404: the session was closed before, if its response was lost.
                if not isinstance(error, RegistryUnavailable) and error.status != NOT_FOUND:
                    raise
                if self._uploads.has(digest, self._size_bytes, attempts=attempts):
                    return
                if error.status == NOT_FOUND:
                    raise lost or error from None
                lost = error
                attempts.wait(error)
            else:
                return

    def cancel(self) -> None:
        """Cancel the session, so that the registry can free its bytes. Raises nothing."""
        self._uploads.cancel(self._location)

    def _left_of(self, part: bytes, attempts: Attempts) -> bytes:
        """Return the rest of a part to send after its response was lost."""
        if self._size_bytes == 0:
            self.cancel()
            self._location = self._uploads.open_session(attempts=attempts).location
            return part
        taken = self._fetch_size(attempts)
        if not self._size_bytes < taken <= self._size_bytes + len(part):
            return part
        rest = part[taken - self._size_bytes :]
        self._size_bytes = taken
        return rest

    def _patch(self, data: bytes, expect: Collection[int], attempts: Attempts) -> None:
        end = self._size_bytes + len(data)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{self._size_bytes}-{end - 1}",
        }
        request = Request(
            method="PATCH",
            url=self._location,
            operation=Operation.UPLOAD_PART,
            headers=headers,
            body=data,
            repeatable=False,
        )
        response = self._client.send(request, self._scopes, expect=expect, attempts=attempts)
        if response.status in _PART_ACCEPTED:
            self._location = _location_of(response, self._location)

    def _fetch_size(self, attempts: Attempts) -> int:
        """Return how many bytes the session has; 0 when the registry does not say."""
        request = Request(method="GET", url=self._location, operation=Operation.UPLOAD_PART)
        try:
            response = self._client.send(
                request, self._scopes, expect=(_OK, _NO_CONTENT, _ACCEPTED), attempts=attempts
            )
        except RegistryError:
            return 0
        if "location" in response.headers:
            self._location = _location_of(response, self._location)
        match = _RANGE.fullmatch(response.headers.get("range", ""))
        return int(match[1]) + 1 if match else 0


class StreamedUpload:
    """See `ports.Upload`: sends a part as soon as it has enough bytes.

    An existing blob is sent again: the digest is known only at the end.
    """

    def __init__(self, upload: ChunkedUpload, *, part_bytes: int = PART_BYTES) -> None:
        self._upload = upload
        self._part_bytes = max(part_bytes, upload.min_part_bytes)
        self._part = bytearray()

    def write(self, data: bytes) -> None:
        """Add the next bytes. Raises `RegistryError` when the registry does not accept a part."""
        self._part += data
        while len(self._part) >= self._part_bytes:
            self._upload.write(bytes(self._part[: self._part_bytes]))
            del self._part[: self._part_bytes]

    def commit(self, digest: Digest) -> None:
        """Send the last part and close the session. Raises `RegistryError`."""
        if self._part:
            self._upload.write(bytes(self._part))
            self._part.clear()
        self._upload.commit(digest)

    def abort(self) -> None:
        """Cancel the upload. Raises nothing."""
        self._part.clear()
        self._upload.cancel()


def parts_of(chunks: Iterable[bytes | bytearray], part_bytes: int) -> Iterator[bytes]:
    """Join and split chunks into parts of one size. The last part may be smaller; no bytes make no part."""
    part = bytearray()
    for chunk in chunks:
        part += chunk
        while len(part) >= part_bytes:
            yield bytes(part[:part_bytes])
            del part[:part_bytes]
    if part:
        yield bytes(part)


def _parse_session(response: Response, url: str) -> UploadSession:
    text = response.headers.get("oci-chunk-min-length", "0").strip()
    min_part_bytes = int(text) if _NUMBER.fullmatch(text) else 0
    if min_part_bytes > MAX_PART_BYTES:
        raise InvalidResponse(
            f"{redacted(url)}: wants parts of {min_part_bytes} bytes, the limit is {MAX_PART_BYTES}"
        )
    return UploadSession(location=_location_of(response, url), min_part_bytes=min_part_bytes)


def _location_of(response: Response, url: str) -> str:
    location = response.headers.get("location")
    if location is None:
        raise InvalidResponse(f"{redacted(url)}: no Location for the upload", status=response.status)
    return redirected(url, location)
