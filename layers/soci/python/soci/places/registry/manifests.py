"""Manifests of a repository, by digest or tag. The headers of a response must fit its bytes."""

from __future__ import annotations

from collections.abc import Mapping

from soci.errors import (
    DeletionRefused,
    DigestMismatch,
    InvalidResponse,
    NotInImage,
    RegistryError,
    RegistryUnavailable,
    TagImmutable,
    TagNotDeletable,
)
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.manifest import sniff_media_type
from soci.places.registry.client import REDIRECTS, RegistryClient
from soci.places.registry.http_messages import Operation, Request, Response
from soci.places.registry.responses import (
    NOT_FOUND,
    OK,
    check_content_digest,
    content_type_of,
    describe_errors,
    error_from,
)
from soci.places.registry.retry import Attempts
from soci.places.registry.token_scopes import Scopes
from soci.places.registry.urls import redacted

TAG_SECONDS = 45.0
"""The deadline for setting a tag: one read timeout, and another attempt."""

_CREATED = 201
_ACCEPTED = 202
_NO_CONTENT = 204
_REFUSALS = (400, 403, 409, 412)
"""Statuses of registries whose tag may not move. They do not agree on one, so the message decides."""

_KEEPS = (400, 403, 405, 409)
"""Statuses of registries that refuse to delete something; they do not agree on one."""
_KEEPS_TAG = (400, 405)
"""Statuses of registries that delete manifests, but no tag by itself."""
_ADVICE = {
    401: "deleting needs a permission of its own",
    403: "deleting needs a permission of its own, and nothing may refer to the manifest",
    405: "this registry does not delete: its operator can enable that",
}

_MEDIA_TYPES = (
    media_types.OCI_INDEX,
    media_types.OCI_MANIFEST,
    media_types.DOCKER_MANIFEST_LIST,
    media_types.DOCKER_MANIFEST,
)
_NO_MEDIA_TYPE = frozenset({"", "application/json", "application/octet-stream", "binary/octet-stream"})
"""Content types of servers that do not know manifests, such as file servers. They fit every manifest."""

_WEB_PAGE = "text/html"
_ACCEPT = {"Accept": ", ".join(_MEDIA_TYPES)}


class Manifests:
    """The manifests of one repository. `url` is the repository's, without `/manifests`."""

    def __init__(self, client: RegistryClient, url: str, scopes: Scopes) -> None:
        self._client = client
        self._url = f"{url}/manifests"
        self._where = f"{client.host}/{scopes.repository}"
        self._scopes = scopes

    def fetch(
        self, reference: Digest | str, *, attempts: Attempts | None = None
    ) -> tuple[Descriptor, bytes] | None:
        """Return a manifest and its descriptor; None when it does not exist.

        Raises:
            DigestMismatch: the bytes have another digest than the one requested.
            InvalidResponse: a header has another digest or media type than the bytes.
            InvalidDocument: the document is neither a manifest nor an index.
            RegistryError: the request failed, or the server is no registry.
        """
        response = self._get(reference, attempts)
        if response.status == NOT_FOUND:
            return None
        return self._describe(reference, response), response.body

    def fetch_existing(self, reference: Digest | str) -> tuple[Descriptor, bytes]:
        """Return a manifest and its descriptor. Raises `NotInImage` with the registry's message, else as `fetch`."""
        response = self._get(reference, None)
        if response.status == NOT_FOUND:
            message = describe_errors(response)
            raise NotInImage(f"{self._where}: no image {reference}" + (f": {message}" if message else ""))
        return self._describe(reference, response), response.body

    def has(self, digest: Digest) -> bool:
        """Tell whether a manifest exists. Raises `RegistryError`.

        If the HEAD is redirected, the manifest is read; that raises as `fetch` does.
        """
        request = self._request("HEAD", digest, Operation.GET_MANIFEST, _ACCEPT)
        response = self._client.send(request, self._scopes.pull, expect=(OK, NOT_FOUND, *REDIRECTS))
        if response.status == NOT_FOUND:
            return False
        check_content_digest(response, digest)
        return response.status == OK or self.fetch(digest) is not None

    def put(self, descriptor: Descriptor, data: bytes) -> Mapping[str, str]:
        """Write a manifest under its digest; return the headers of the response. Idempotent."""
        request = self._put_request(descriptor.digest, descriptor, data)
        response = self._client.send(request, self._scopes.push, expect=(_CREATED, OK))
        check_content_digest(response, descriptor.digest, data)
        return response.headers

    def put_tag(self, tag: str, descriptor: Descriptor, data: bytes) -> None:
        """Point a tag to a manifest, unless it points there already.

        Each attempt reads the tag first. After a lost response the tag may be set: sending it again would undo
        another client's change, and would fail if the tag is immutable.

        All of it ends after `TAG_SECONDS`: the caller chose the manifest before, and its choice becomes stale.

        Raises:
            TagImmutable: it points to another manifest and may not move.
            RegistryError: the request failed.
        """
        attempts = self._client.retries.start(deadline_seconds=TAG_SECONDS)
        while True:
            current = self.fetch(tag, attempts=attempts)
            if current is not None and current[0].digest == descriptor.digest:
                return
            request = self._put_request(tag, descriptor, data, repeatable=False)
            try:
                response = self._client.send(
                    request, self._scopes.push, expect=(_CREATED, OK, *_REFUSALS), attempts=attempts
                )
            except RegistryUnavailable as error:
                attempts.wait(error)
                continue
            if response.status in _REFUSALS:
                raise _refusal(request, response, tag)
            try:
                check_content_digest(response, descriptor.digest, data)
            except InvalidResponse as error:
                # A tag accepts any bytes, unlike a digest. If other bytes arrived, they must not stay.
                attempts.wait(error)
                continue
            return

    def delete(self, reference: Digest | str) -> bool:
        """Delete a manifest with all its tags, or a single tag; False when it does not exist.

        Raises:
            TagNotDeletable: the registry deletes manifests only.
            DeletionRefused: the registry keeps it.
            RegistryError: the request failed.
        """
        request = self._request("DELETE", reference, Operation.DELETE_MANIFEST, {})
        expect = (OK, _ACCEPTED, _NO_CONTENT, NOT_FOUND)
        try:
            return self._client.send(request, self._scopes.delete, expect=expect).status != NOT_FOUND
        except RegistryError as error:
            raise _deletion_error(error, is_tag=isinstance(reference, str)) from error

    def _get(self, reference: Digest | str, attempts: Attempts | None) -> Response:
        request = self._request("GET", reference, Operation.GET_MANIFEST, _ACCEPT)
        response = self._client.send(request, self._scopes.pull, expect=(OK, NOT_FOUND), attempts=attempts)
        if response.status == NOT_FOUND and content_type_of(response) == _WEB_PAGE:
            raise error_from(request, response)  # by a proxy, or a server that is no registry
        return response

    def _request(
        self, method: str, reference: Digest | str, operation: Operation, headers: Mapping[str, str]
    ) -> Request:
        return Request(method=method, url=f"{self._url}/{reference}", operation=operation, headers=headers)

    def _put_request(
        self, reference: Digest | str, descriptor: Descriptor, data: bytes, *, repeatable: bool = True
    ) -> Request:
        return Request(
            method="PUT",
            url=f"{self._url}/{reference}",
            operation=Operation.PUT_MANIFEST,
            headers={"Content-Type": descriptor.media_type},
            body=data,
            repeatable=repeatable,
        )

    def _describe(self, reference: Digest | str, response: Response) -> Descriptor:
        where = redacted(response.url)
        asked = reference if isinstance(reference, Digest) else None
        digest = digest_of(response.body, asked.algorithm if asked else "sha256")
        if asked is not None and digest != asked:
            raise DigestMismatch(f"{where}: the manifest's digest is {digest}")
        check_content_digest(response, digest, response.body)
        media_type = sniff_media_type(response.body, where)
        given = content_type_of(response)
        if given != media_type and given not in _NO_MEDIA_TYPE:
            raise InvalidResponse(f"{where}: the Content-Type is {given}, but the document is {media_type}")
        return Descriptor(media_type=media_type, digest=digest, size=len(response.body))


def _deletion_error(error: RegistryError, *, is_tag: bool) -> RegistryError:
    """Return the error of a failed deletion, with advice about the permission that may be missing."""
    if error.status not in _KEEPS and error.status not in _ADVICE:
        return error
    kind = type(error)
    if error.status in _KEEPS:
        kind = TagNotDeletable if is_tag and error.status in _KEEPS_TAG else DeletionRefused
    advice = _ADVICE.get(error.status or 0)
    return kind(f"{error}; {advice}" if advice else str(error), status=error.status)


def _refusal(request: Request, response: Response, tag: str) -> RegistryError:
    message = describe_errors(response)
    if "immutable" in message.lower():  # no error code says this: TAG_INVALID also means a malformed tag
        return TagImmutable(f"{request}: tag {tag} may not move: {message}", status=response.status)
    return error_from(request, response)
