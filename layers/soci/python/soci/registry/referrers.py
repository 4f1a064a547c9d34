"""Which manifests refer to another one (distribution spec, "Listing Referrers").

A registry with the referrers API keeps track by itself. In one without, clients keep an image index under
the fallback tag, `sha256-<hex of the subject>`, that lists the referrers; whoever pushes one puts it in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from soci.errors import InvalidResponse, RegistryUnavailable
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.registry.client import RegistryClient
from soci.registry.manifests import Manifests
from soci.registry.messages import redacted
from soci.registry.paging import fetch_pages
from soci.registry.scopes import Scopes

_OK = 200
_NO_API = (400, 404, 405, 406)
"""What registries answer that do not know the API; the spec has 404 alone."""

_MAX_ROUNDS = 5


class Referrers:
    """The referrers of one repository's manifests, whose URL is that of its API without `/referrers`."""

    def __init__(self, client: RegistryClient, url: str, scopes: Scopes, manifests: Manifests) -> None:
        self._client = client
        self._url = f"{url}/referrers"
        self._scopes = scopes
        self._manifests = manifests

    def fetch(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Describe all manifests whose subject this is, in the registry's order. Raises `RegistryError`."""
        found: list[Descriptor] = []
        for page in fetch_pages(
            self._client, f"{self._url}/{subject}", self._scopes.pull, expect=(_OK, *_NO_API)
        ):
            given = page.headers.get("content-type", "").partition(";")[0].strip()
            if page.status != _OK or given != media_types.OCI_INDEX:
                return self._fetch_listed(subject).manifests or ()
            found += ImageIndex.parse(page.body, redacted(page.url)).manifests or ()
        return tuple(found)

    def add(self, subject: Digest, referrer: Descriptor) -> None:
        """Put a referrer into the list under the fallback tag. Raises `RegistryError`."""
        self._change(subject, lambda index: with_referrer(index, referrer))

    def remove(self, subject: Digest, referrer: Digest) -> None:
        """Take a referrer out of the list under the fallback tag, if there is one. Raises `RegistryError`."""
        self._change(subject, lambda index: without_referrer(index, referrer))

    def _change(self, subject: Digest, change: Callable[[ImageIndex], ImageIndex]) -> None:
        """Change the list until it stays changed.

        Registries have no way to say "unless somebody was faster": two writers may each put back the list
        without the other's entry. Reading it again shows that, and then it is done anew.
        """
        tag = fallback_tag(subject)
        for _ in range(_MAX_ROUNDS):
            listed = self._fetch_listed(subject)
            changed = change(listed)
            if changed == listed:
                return
            data = changed.encode()
            document = Descriptor(media_type=media_types.OCI_INDEX, digest=digest_of(data), size=len(data))
            self._manifests.put_tag(tag, document, data)
        raise RegistryUnavailable(f"{self._url}: tag {tag} is changed by others again and again")

    def _fetch_listed(self, subject: Digest) -> ImageIndex:
        found = self._manifests.fetch(fallback_tag(subject))
        if found is None:
            return ImageIndex(manifests=())
        descriptor, data = found
        if not media_types.is_index(descriptor.media_type):
            raise InvalidResponse(f"{self._url}: tag {fallback_tag(subject)} is no list of referrers")
        return ImageIndex.parse(data, f"referrers of {subject}")


def fallback_tag(subject: Digest) -> str:
    """Return the tag under which the referrers of a manifest are listed (at most 97 characters)."""
    return f"{subject.algorithm[:32]}-{subject.hex[:64]}"


def describe_referrer(descriptor: Descriptor, document: ImageManifest | ImageIndex) -> Descriptor:
    """Describe a manifest as a list of referrers does: with its artifact type and annotations."""
    config_type = document.config.media_type if isinstance(document, ImageManifest) else ""
    return Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size,
        artifact_type=document.artifact_type or config_type,
        annotations=document.annotations,
    )


def with_referrer(index: ImageIndex, referrer: Descriptor) -> ImageIndex:
    """Return the list with a referrer in it; one that is there already stays where it is."""
    listed = index.manifests or ()
    if any(entry.digest == referrer.digest for entry in listed):
        return index
    return replace(index, manifests=(*listed, referrer))


def without_referrer(index: ImageIndex, digest: Digest) -> ImageIndex:
    """Return the list without a referrer."""
    listed = index.manifests or ()
    return replace(index, manifests=tuple(entry for entry in listed if entry.digest != digest))
