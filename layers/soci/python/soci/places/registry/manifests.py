"""Manifests of a repository, by digest or by tag. What the registry says of them has to fit their bytes."""

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
"""How long a tag is tried: one time-out of an answer, and another attempt."""

_CREATED = 201
_ACCEPTED = 202
_NO_CONTENT = 204
_REFUSALS = (400, 403, 409, 412)
"""What registries answer when a tag may not move; it differs between them, so the message decides."""

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
"""What servers say that know nothing of manifests, such as stores of files: it contradicts none."""

_WEB_PAGE = "text/html"
_ACCEPT = {"Accept": ", ".join(_MEDIA_TYPES)}


class Manifests:
    """Reads and writes the manifests of one repository, whose URL is that of its API without `/manifests`."""

    def __init__(self, client: RegistryClient, url: str, scopes: Scopes) -> None:
        self._client = client
        self._url = f"{url}/manifests"
        self._where = f"{client.host}/{scopes.repository}"
        self._scopes = scopes

    def fetch(
        self, reference: Digest | str, *, attempts: Attempts | None = None
    ) -> tuple[Descriptor, bytes] | None:
        """Return a manifest and its description, None when there is none.

        Raises:
            DigestMismatch: its bytes are not those of the digest asked for.
            InvalidResponse: the registry calls it by another digest or media type than its own.
            InvalidDocument: it is neither manifest nor index.
            RegistryError: it cannot be read, or somebody else answers.
        """
        response = self._get(reference, attempts)
        if response.status == NOT_FOUND:
            return None
        return self._describe(reference, response), response.body

    def fetch_existing(self, reference: Digest | str) -> tuple[Descriptor, bytes]:
        """Return a manifest and its description. Raises `NotInImage` with the registry's words, and as `fetch`."""
        response = self._get(reference, None)
        if response.status == NOT_FOUND:
            says = describe_errors(response)
            raise NotInImage(f"{self._where}: no image {reference}" + (f": {says}" if says else ""))
        return self._describe(reference, response), response.body

    def has(self, digest: Digest) -> bool:
        """Tell whether a manifest is there. Raises `RegistryError`, and as `fetch` where a HEAD is redirected.

        A redirect says nothing of what lies at its end: then the manifest is read.
        """
        request = self._request("HEAD", digest, Operation.GET_MANIFEST, _ACCEPT)
        answer = self._client.send(request, self._scopes.pull, expect=(OK, NOT_FOUND, *REDIRECTS))
        if answer.status == NOT_FOUND:
            return False
        check_content_digest(answer, digest)
        return answer.status == OK or self.fetch(digest) is not None

    def put(self, descriptor: Descriptor, data: bytes) -> Mapping[str, str]:
        """Write a manifest under its digest, which may be done twice; return the headers of the answer."""
        request = self._put_request(descriptor.digest, descriptor, data)
        response = self._client.send(request, self._scopes.push, expect=(_CREATED, OK))
        check_content_digest(response, descriptor.digest, data)
        return response.headers

    def put_tag(self, tag: str, descriptor: Descriptor, data: bytes) -> None:
        """Point a tag to a manifest; nothing is sent when it does so already.

        A lost answer is no reason to send it again: somebody else may have moved the tag meanwhile, and a tag
        that cannot move would be refused though it is as we want it. So it is looked at each time.

        All of it ends after `TAG_SECONDS`: what the tag should mean was decided before, and may have changed.

        Raises:
            TagImmutable: it points to another manifest and may not be moved.
            RegistryError: it was not taken.
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
                # Unlike a digest, a tag takes whatever arrives: if that was something else it must not stay.
                attempts.wait(error)
                continue
            return

    def delete(self, reference: Digest | str) -> bool:
        """Take a manifest with all its tags away, or a tag alone; False when it is not there.

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
            raise error_from(request, response)  # of a proxy, or of a server that is no registry
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
            raise InvalidResponse(f"{where}: given as {given}, but it is {media_type}")
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
    says = describe_errors(response)
    if "immutable" in says.lower():  # no code of its own: TAG_INVALID is also a tag that is none
        return TagImmutable(f"{request}: tag {tag} may not be moved: {says}", status=response.status)
    return error_from(request, response)
