"""Writing blobs (distribution spec, "Pushing blobs"): small ones in one request, larger ones in parts.

    in one request   POST uploads/ ─> Location; PUT Location?digest= with all bytes
    in parts         POST uploads/ ─> Location; PATCH Location with Content-Range, again and again;
                     PUT Location?digest=

Sending again after a lost answer is the difficult part:
    - in one request, and the first part: from a new POST, since the old upload may hold some of the bytes;
    - a later part: some registries append whatever comes, so the same part twice would be there twice. They
      are asked how far they got. Amazon ECR's answer to that may be stale, but it refuses a part that does
      not begin where the last one ended, so there the part is sent again and a refusal taken for success;
    - the last PUT: the blob is looked for before it is sent again.
Whatever goes wrong in spite of all this, the digest at the end does not match and the blob is refused.
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
"""What a registry may ask us to hold in memory (OCI-Chunk-Min-Length)."""

CANCEL_SECONDS = 5.0
"""Nobody waits longer for an upload to be given up."""

_OK = 200
_CREATED = 201
_ACCEPTED = 202
_NO_CONTENT = 204
_RANGE_NOT_SATISFIABLE = 416
_TAKEN = (_ACCEPTED, _CREATED, _NO_CONTENT)
"""A part that was taken: 202 by the spec, 201 from Amazon ECR."""

_LAST_STATUS = 600
_NUMBER = re.compile(r"[0-9]{1,12}")
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSession:
    """An upload that was session: where its bytes go, and how small its parts may be."""

    location: str
    min_part_bytes: int = 0


class Uploads:
    """Writes blobs into one repository, whose blobs lie under `url`."""

    def __init__(self, client: RegistryClient, url: str, scopes: Collection[str]) -> None:
        self._client = client
        self._url = url
        self._scopes = scopes
        self._mounting: dict[Digest, UploadSession] = {}

    def push(
        self, digest: Digest, chunks: Iterable[bytes | bytearray], *, part_bytes: int = PART_BYTES
    ) -> None:
        """Write a blob; whether the chunks are what the digest says is checked by the registry.

        Raises:
            RegistryError: it was not taken, and what had been sent is given up.
        """
        parts = parts_of(chunks, part_bytes)
        first, second = next(parts, b""), next(parts, None)
        if second is None:
            self._push_whole(digest, first)
            return
        upload = StreamedUpload(self._start(self._begin(digest)), part_bytes=part_bytes)
        try:
            for part in chain((first, second), parts):
                upload.write(part)
            upload.commit(digest)
        except BaseException:
            upload.abort()
            raise

    def start(self) -> ChunkedUpload:
        """Begin an upload in parts, whose digest need not be known yet. Raises `RegistryError`."""
        return self._start(self.begin())

    def mount(self, digest: Digest, repository: str, scopes: Collection[str]) -> bool:
        """Take a blob over from another repository of the registry; False when the registry does not."""
        query = urlencode({"mount": str(digest), "from": repository})
        request = Request(
            method="POST", url=f"{self._url}/uploads/?{query}", operation=Operation.START_UPLOAD
        )
        answer = self._client.send(request, scopes, expect=(_CREATED, _ACCEPTED))
        if answer.status == _ACCEPTED:
            self._mounting[digest] = _session_of(answer, request.url)
        return answer.status == _CREATED

    def has(self, digest: Digest, size_bytes: int, *, attempts: Attempts | None = None) -> bool:
        """Tell whether the blob is there. Raises as `has_blob` does."""
        return has_blob(
            self._client, f"{self._url}/{digest}", digest, size_bytes, self._scopes, attempts=attempts
        )

    def begin(self, *, attempts: Attempts | None = None) -> UploadSession:
        """Begin an upload. Raises `RegistryError`."""
        request = Request(method="POST", url=f"{self._url}/uploads/", operation=Operation.START_UPLOAD)
        answer = self._client.send(request, self._scopes, expect=(_ACCEPTED,), attempts=attempts)
        return _session_of(answer, request.url)

    def finish(self, location: str, digest: Digest, body: bytes, *, attempts: Attempts) -> None:
        """Send the last bytes of an upload, once. Raises `RegistryError`, and then it may have succeeded."""
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
        """Give an upload up. A registry that does not know how, or is away, forgets it after a while."""
        request = Request(method="DELETE", url=location, operation=Operation.FINISH_UPLOAD, repeatable=False)
        with suppress(SociError), cancel_after(CANCEL_SECONDS):
            self._client.send(request, self._scopes, expect=range(_OK, _LAST_STATUS))

    def _begin(self, digest: Digest, *, attempts: Attempts | None = None) -> UploadSession:
        """Begin the upload of a blob, or go on with the one that a registry made of the attempt to mount it."""
        return self._mounting.pop(digest, None) or self.begin(attempts=attempts)

    def _start(self, session: UploadSession) -> ChunkedUpload:
        return ChunkedUpload(self, self._client, self._scopes, session)

    def _push_whole(self, digest: Digest, data: bytes) -> None:
        attempts = self._client.retries.start()
        while True:
            session = self._begin(digest, attempts=attempts)
            try:
                self.finish(session.location, digest, data, attempts=attempts)
            except RegistryError as error:
                # Not found: the registry has forgotten the upload, as one that was started anew does.
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
    """An upload that goes on part by part. Every part but the last has the size that registries want."""

    def __init__(
        self, uploads: Uploads, client: RegistryClient, scopes: Collection[str], session: UploadSession
    ) -> None:
        self._uploads = uploads
        self._client = client
        self._scopes = scopes
        self.min_part_bytes = session.min_part_bytes
        """What the registry wants every part but the last to have; 0 when it does not say."""
        self._location = session.location
        self._size_bytes = 0

    def write(self, part: bytes) -> None:
        """Send the next part. Raises `RegistryError` when it is not taken."""
        attempts = self._client.retries.start()
        lost: RegistryUnavailable | None = None
        while part:
            try:
                # Refused for its place after an answer was lost: then it had arrived.
                expect = _TAKEN if lost is None else (*_TAKEN, _RANGE_NOT_SATISFIABLE)
                self._patch(part, expect, attempts)
            except RegistryUnavailable as error:
                lost = error
                attempts.wait(error)
                part = self._left_of(part, attempts)
            except RegistryError as error:
                raise lost or error from None  # what was lost may have cost the whole upload
            else:
                self._size_bytes += len(part)
                return

    def commit(self, digest: Digest) -> None:
        """End the upload: from now on the blob is there. Raises `RegistryError` when it is not taken."""
        attempts = self._client.retries.start()
        lost: RegistryError | None = None
        while True:
            try:
                self._uploads.finish(self._location, digest, b"", attempts=attempts)
            except RegistryError as error:
                # Not found: an upload that was ended is no longer there, and the answer to that may be lost.
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
        """Give it up, so that the registry need not keep what it has of it. Raises nothing."""
        self._uploads.cancel(self._location)

    def _left_of(self, part: bytes, attempts: Attempts) -> bytes:
        """Return what of a part is still to be sent after its answer was lost."""
        if self._size_bytes == 0:
            self.cancel()
            self._location = self._uploads.begin(attempts=attempts).location
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
        if response.status in _TAKEN:
            self._location = _location_of(response, self._location)

    def _fetch_size(self, attempts: Attempts) -> int:
        """Ask how many bytes the upload has; 0 when the registry does not say."""
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
    """See `ports.Upload`: bytes of any number, sent as soon as they make a part.

    A blob that is there already is sent once more, since that shows with its digest, at the end only.
    """

    def __init__(self, upload: ChunkedUpload, *, part_bytes: int = PART_BYTES) -> None:
        self._upload = upload
        self._part_bytes = max(part_bytes, upload.min_part_bytes)
        self._part = bytearray()

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises `RegistryError` when a part is not taken."""
        self._part += data
        while len(self._part) >= self._part_bytes:
            self._upload.write(bytes(self._part[: self._part_bytes]))
            del self._part[: self._part_bytes]

    def commit(self, digest: Digest) -> None:
        """Send the rest and end the upload. Raises `RegistryError`."""
        if self._part:
            self._upload.write(bytes(self._part))
            self._part.clear()
        self._upload.commit(digest)

    def abort(self) -> None:
        """Give it up: nobody could see it. Raises nothing; see `Uploads.cancel`."""
        self._part.clear()
        self._upload.cancel()


def parts_of(chunks: Iterable[bytes | bytearray], part_bytes: int) -> Iterator[bytes]:
    """Cut and join chunks into parts of one size; the last one is smaller, and nothing makes no part."""
    part = bytearray()
    for chunk in chunks:
        part += chunk
        while len(part) >= part_bytes:
            yield bytes(part[:part_bytes])
            del part[:part_bytes]
    if part:
        yield bytes(part)


def _session_of(response: Response, url: str) -> UploadSession:
    text = response.headers.get("oci-chunk-min-length", "0").strip()
    min_part_bytes = int(text) if _NUMBER.fullmatch(text) else 0
    if min_part_bytes > MAX_PART_BYTES:
        raise InvalidResponse(
            f"{redacted(url)}: wants parts of {min_part_bytes} bytes, we send {MAX_PART_BYTES} at most"
        )
    return UploadSession(location=_location_of(response, url), min_part_bytes=min_part_bytes)


def _location_of(response: Response, url: str) -> str:
    location = response.headers.get("location")
    if location is None:
        raise InvalidResponse(f"{redacted(url)}: no Location for the upload", status=response.status)
    return redirected(url, location)
