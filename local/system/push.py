"""Push an image as `docker push` does: missing blobs, child manifests by digest, then the root by its tag.

It uses only the standard library, like the registry, and not the core's client, which is under test.
"""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.ports import ImageSource

CHUNK_BYTES = 10 << 20
"""The size of an upload's chunks; ECR accepts 5 to 20 MiB."""


class PushRefused(RuntimeError):
    """The registry refused a request; the message has its answer."""


@dataclass(slots=True)
class Pusher:
    """A client that pushes to one repository."""

    host: str
    repository: str
    password: str = field(repr=False)
    _connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        self._connection = http.client.HTTPConnection(self.host, timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def push(self, source: ImageSource, tag: str | None = None) -> Descriptor:
        """Push the image of a source, tagged or untagged, and return its root. Raises PushRefused."""
        root = source.fetch_root()
        self._push_tree(source, root, tag or str(root.digest))
        return root

    def _push_tree(self, source: ImageSource, document: Descriptor, reference: str) -> None:
        data = source.fetch_manifest(document)
        if media_types.is_index(document.media_type):
            for entry in ImageIndex.parse(data).manifests or ():
                self._push_tree(source, entry, str(entry.digest))
        else:
            manifest = ImageManifest.parse(data)
            for blob in (manifest.config, *(manifest.layers or ())):
                self._push_blob(source, blob)
        headers = {"Content-Type": document.media_type}
        self._ask("PUT", f"/v2/{self.repository}/manifests/{reference}", data, headers, wanted=201)

    def _push_blob(self, source: ImageSource, blob: Descriptor) -> None:
        path = f"/v2/{self.repository}/blobs"
        if self._ask("HEAD", f"{path}/{blob.digest}", wanted=None).status == http.HTTPStatus.OK:
            return
        location = self._location(self._ask("POST", f"{path}/uploads/", wanted=202))
        with source.open_blob(blob) as pieces:
            for start, chunk in _chunks(pieces):
                headers = {"Content-Range": f"{start}-{start + len(chunk) - 1}"}
                answer = self._ask("PATCH", location, chunk, headers, wanted=(201, 202))
                location = self._location(answer)
        mark = "&" if "?" in location else "?"
        self._ask("PUT", f"{location}{mark}digest={blob.digest}", b"", wanted=201)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        wanted: int | tuple[int, ...] | None,
    ) -> http.client.HTTPResponse:
        if self._connection is None:
            raise PushRefused("use Pusher as a context manager")
        login = base64.b64encode(f"AWS:{self.password}".encode()).decode()
        self._connection.request(method, path, body, {"Authorization": f"Basic {login}", **(headers or {})})
        answer = self._connection.getresponse()
        text = answer.read()
        if wanted is not None and answer.status not in (wanted if isinstance(wanted, tuple) else (wanted,)):
            raise PushRefused(f"{method} {path}: {answer.status} {text.decode(errors='replace')[:300]}")
        return answer

    def _location(self, answer: http.client.HTTPResponse) -> str:
        parts = urlsplit(answer.headers["Location"])
        return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _chunks(pieces: Iterable[bytes]) -> Iterable[tuple[int, bytes]]:
    """Join pieces to chunks with their positions. Only the last chunk may be small."""
    start, waiting = 0, bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= CHUNK_BYTES:
            yield start, bytes(waiting[:CHUNK_BYTES])
            del waiting[:CHUNK_BYTES]
            start += CHUNK_BYTES
    if waiting:
        yield start, bytes(waiting)
