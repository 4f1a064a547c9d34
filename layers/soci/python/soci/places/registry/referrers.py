"""The manifests that refer to another one (distribution spec, "Listing Referrers").

A registry with the referrers API keeps the list itself. Without the API, clients keep an image index of the
referrers under the fallback tag, `sha256-<hex of the subject>`. The client that pushes a referrer adds it there.

Such a registry has no conditional writes, so two clients may overwrite each other's entry. A lock orders the
threads of this process. Against other processes, the list is read again several times at random moments, for about
a second; a lost entry is written again. One gap remains: a client that takes longer than that between its read and
its write loses the entries of others, unnoticed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from weakref import WeakValueDictionary

from soci.errors import InvalidResponse, RegistryError, RegistryUnavailable
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.manifest import MANIFEST_LIMIT_BYTES, ImageIndex, ImageManifest
from soci.places.registry.client import RegistryClient
from soci.places.registry.manifests import Manifests
from soci.places.registry.pagination import fetch_pages
from soci.places.registry.token_scopes import Scopes
from soci.places.registry.urls import redacted

REFERRERS_LIMIT_BYTES = 4 * MANIFEST_LIMIT_BYTES
"""For all pages of one list: about ten thousand referrers, more than any manifest has."""

_OK = 200
_NO_API = (400, 404, 405, 406)
"""Statuses of registries without the API. The spec allows 404 only."""

_MAX_ROUNDS = 10
_CHECKS = 3
_CHECK_SECONDS = (0.25, 0.75)
"""The least and the greatest delay before each check that a change is still there."""

_FALLBACK_TAG = re.compile(r"sha256-[0-9a-f]{64}|sha512-[0-9a-f]{64}")

_Change = Callable[[ImageIndex], ImageIndex]


_LOCKS: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
_LOCKS_LOCK = threading.Lock()


class Referrers:
    """The referrers of one repository's manifests. `url` is the repository's, without `/referrers`."""

    def __init__(self, client: RegistryClient, url: str, scopes: Scopes, manifests: Manifests) -> None:
        self._client = client
        self._url = f"{url}/referrers"
        self._scopes = scopes
        self._manifests = manifests

    def fetch(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Describe all manifests with this subject, in the registry's order.

        Raises `RegistryError`; `InvalidResponse` for more of them than `REFERRERS_LIMIT_BYTES`.
        """
        found: list[Descriptor] = []
        size_bytes = 0
        for page in fetch_pages(
            self._client, f"{self._url}/{subject}", self._scopes.pull, expect=(_OK, *_NO_API)
        ):
            given = page.headers.get("content-type", "").partition(";")[0].strip()
            if page.status != _OK or given != media_types.OCI_INDEX:
                if (
                    size_bytes
                ):  # the first page shows that the registry has the API; the rest must not be lost
                    raise InvalidResponse(
                        f"{redacted(page.url)}: expected a further page of referrers, got status {page.status},"
                        f" {given[:100] or 'no media type'}",
                        status=page.status,
                    )
                return self._fetch_list(subject)[1].manifests or ()
            size_bytes += len(page.body)
            if size_bytes > REFERRERS_LIMIT_BYTES:
                raise InvalidResponse(
                    f"{redacted(page.url)}: more than {REFERRERS_LIMIT_BYTES} bytes of referrers"
                )
            found += ImageIndex.parse(page.body, redacted(page.url)).manifests or ()
        return tuple(found)

    def add(self, subject: Digest, referrer: Descriptor) -> None:
        """Add a referrer to the list under the fallback tag, at the head. Raises `RegistryError`."""
        self._change(
            subject,
            lambda index: with_referrer(index, referrer),
            lambda index: _is_listed(index, referrer.digest),
        )

    def remove(self, subject: Digest, referrer: Digest) -> Descriptor | None:
        """Remove a referrer from the list under the fallback tag; return its entry, None without one.

        An empty list is deleted with its tag. Raises `RegistryError`.
        """
        entry = next(
            (one for one in self._fetch_list(subject)[1].manifests or () if one.digest == referrer), None
        )
        if entry is not None:
            self._change(
                subject,
                lambda index: without_referrer(index, referrer),
                lambda index: not _is_listed(index, referrer),
            )
        return entry

    def _change(self, subject: Digest, change: _Change, is_done: Callable[[ImageIndex], bool]) -> None:
        """Change the list. Repeat the change while other clients overwrite it."""
        tag = fallback_tag(subject)
        replaced: set[Digest] = set()
        with _lock_of(f"{self._url}/{tag}"):
            for number in range(_MAX_ROUNDS):
                descriptor, listed = self._fetch_list(subject)
                changed = change(listed)
                if changed != listed:
                    replaced |= self._replace(tag, descriptor, changed)
                elif number == 0:
                    return
                if all(is_done(index) for index in self._reread(subject)):
                    self._delete_replaced(subject, replaced)
                    return
        raise RegistryUnavailable(f"{self._url}: other clients keep changing tag {tag}")

    def _replace(self, tag: str, old: Descriptor | None, index: ImageIndex) -> set[Digest]:
        """Replace a list, or delete it if the new one is empty; return the lists that may be obsolete."""
        if old is not None and not index.manifests and self._delete(old.digest):
            return set()
        data = index.encode()
        document = Descriptor(media_type=media_types.OCI_INDEX, digest=digest_of(data), size=len(data))
        self._manifests.put_tag(tag, document, data)
        return {document.digest} if old is None else {old.digest, document.digest}

    def _reread(self, subject: Digest) -> Iterator[ImageIndex]:
        """Read the list several times, each after a random delay."""
        clock = self._client.retries.clock
        least, most = _CHECK_SECONDS
        for _ in range(_CHECKS):
            clock.sleep(least + clock.random() * (most - least))
            yield self._fetch_list(subject)[1]

    def _delete_replaced(self, subject: Digest, lists: Iterable[Digest]) -> None:
        """Delete old lists if the registry allows it: a registry may keep manifests that an old list refers to."""
        current, _ = self._fetch_list(subject)
        for digest in lists:
            if current is None or digest != current.digest:
                self._delete(digest)

    def _delete(self, digest: Digest) -> bool:
        with suppress(RegistryError):
            self._manifests.delete(digest)
            return True
        return False

    def _fetch_list(self, subject: Digest) -> tuple[Descriptor | None, ImageIndex]:
        found = self._manifests.fetch(fallback_tag(subject))
        if found is None:
            return None, ImageIndex(manifests=())
        descriptor, data = found
        if not media_types.is_index(descriptor.media_type):
            raise InvalidResponse(f"{self._url}: tag {fallback_tag(subject)} is not a list of referrers")
        return descriptor, ImageIndex.parse(data, f"referrers of {subject}")


def fallback_tag(subject: Digest) -> str:
    """Return the tag of the list of a manifest's referrers (at most 97 characters)."""
    return f"{subject.algorithm[:32]}-{subject.hex[:64]}"


def is_fallback_tag(tag: str) -> bool:
    """Tell whether a tag has the form of a fallback tag."""
    return _FALLBACK_TAG.fullmatch(tag) is not None


def describe_referrer(descriptor: Descriptor, document: ImageManifest | ImageIndex) -> Descriptor:
    """Describe a manifest as an entry of a list of referrers: with artifact type and annotations."""
    config_type = document.config.media_type if isinstance(document, ImageManifest) else ""
    return Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size,
        artifact_type=document.artifact_type or config_type,
        annotations=document.annotations,
    )


def with_referrer(index: ImageIndex, referrer: Descriptor) -> ImageIndex:
    """Return the list with a referrer at the head: readers use the first of several SOCI indexes."""
    others = without_referrer(index, referrer.digest).manifests or ()
    return replace(index, manifests=(referrer, *others))


def without_referrer(index: ImageIndex, digest: Digest) -> ImageIndex:
    """Return the list without a referrer."""
    listed = index.manifests or ()
    return replace(index, manifests=tuple(entry for entry in listed if entry.digest != digest))


def _is_listed(index: ImageIndex, digest: Digest) -> bool:
    return any(entry.digest == digest for entry in index.manifests or ())


def _lock_of(url: str) -> threading.Lock:
    """Return the lock for changes of one list in this process."""
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(url, threading.Lock())
