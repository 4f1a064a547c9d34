"""Which manifests refer to another one (distribution spec, "Listing Referrers").

A registry with the referrers API keeps track by itself. In one without, clients keep an image index under
the fallback tag, `sha256-<hex of the subject>`, that lists the referrers; whoever pushes one puts it in.

Such a registry cannot say "unless somebody was faster", so two writers may each put back the list without the
other's entry. Within a process they take turns. Others are found out by looking at the list again, several times
and at random moments, for a second or so: an entry that is gone is put in anew. What remains is a writer who needs
longer than that from reading the list to writing it; his list lacks what came meanwhile, and nobody notices.
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
"""Of all pages of one list: some ten thousand referrers. Nobody has as many to one manifest."""

_OK = 200
_NO_API = (400, 404, 405, 406)
"""What registries answer that do not know the API; the spec has 404 alone."""

_MAX_ROUNDS = 10
_CHECKS = 3
_CHECK_SECONDS = (0.25, 0.75)
"""How long a change rests, at least and at most, before each look at whether it is still there."""

_FALLBACK_TAG = re.compile(r"sha256-[0-9a-f]{64}|sha512-[0-9a-f]{64}")

_Change = Callable[[ImageIndex], ImageIndex]


_TURNS: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
_TURNS_LOCK = threading.Lock()


class Referrers:
    """The referrers of one repository's manifests, whose URL is that of its API without `/referrers`."""

    def __init__(self, client: RegistryClient, url: str, scopes: Scopes, manifests: Manifests) -> None:
        self._client = client
        self._url = f"{url}/referrers"
        self._scopes = scopes
        self._manifests = manifests

    def fetch(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Describe all manifests whose subject this is, in the registry's order.

        Raises `RegistryError`; `InvalidResponse` for more of them than `REFERRERS_LIMIT_BYTES`.
        """
        found: list[Descriptor] = []
        size_bytes = 0
        for page in fetch_pages(
            self._client, f"{self._url}/{subject}", self._scopes.pull, expect=(_OK, *_NO_API)
        ):
            given = page.headers.get("content-type", "").partition(";")[0].strip()
            if page.status != _OK or given != media_types.OCI_INDEX:
                if size_bytes:  # a registry that had a page knows the API; the rest must not get lost
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
        """Put a referrer into the list under the fallback tag, as its first. Raises `RegistryError`."""
        self._change(
            subject,
            lambda index: with_referrer(index, referrer),
            lambda index: _is_listed(index, referrer.digest),
        )

    def remove(self, subject: Digest, referrer: Digest) -> Descriptor | None:
        """Take a referrer out of the list under the fallback tag; return its entry, if it had one.

        A list that is empty then goes with its tag. Raises `RegistryError`.
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
        """Change the list until it stays changed."""
        tag = fallback_tag(subject)
        replaced: set[Digest] = set()
        with _turn_at(f"{self._url}/{tag}"):
            for number in range(_MAX_ROUNDS):
                descriptor, listed = self._fetch_list(subject)
                changed = change(listed)
                if changed != listed:
                    replaced |= self._replace(tag, descriptor, changed)
                elif number == 0:
                    return
                if all(is_done(index) for index in self._later(subject)):
                    self._delete_replaced(subject, replaced)
                    return
        raise RegistryUnavailable(f"{self._url}: tag {tag} is changed by others again and again")

    def _replace(self, tag: str, old: Descriptor | None, index: ImageIndex) -> set[Digest]:
        """Write a list in place of another, an empty one not at all; return those that may soon be of no use."""
        if old is not None and not index.manifests and self._delete(old.digest):
            return set()
        data = index.encode()
        document = Descriptor(media_type=media_types.OCI_INDEX, digest=digest_of(data), size=len(data))
        self._manifests.put_tag(tag, document, data)
        return {document.digest} if old is None else {old.digest, document.digest}

    def _later(self, subject: Digest) -> Iterator[ImageIndex]:
        """Read the list again and again, each time a random moment later."""
        clock = self._client.retries.clock
        least, most = _CHECK_SECONDS
        for _ in range(_CHECKS):
            clock.sleep(least + clock.random() * (most - least))
            yield self._fetch_list(subject)[1]

    def _delete_replaced(self, subject: Digest, lists: Iterable[Digest]) -> None:
        """Delete old lists where that is allowed: registries keep what any list refers to, old or new."""
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
            raise InvalidResponse(f"{self._url}: tag {fallback_tag(subject)} is no list of referrers")
        return descriptor, ImageIndex.parse(data, f"referrers of {subject}")


def fallback_tag(subject: Digest) -> str:
    """Return the tag under which the referrers of a manifest are listed (at most 97 characters)."""
    return f"{subject.algorithm[:32]}-{subject.hex[:64]}"


def is_fallback_tag(tag: str) -> bool:
    """Tell whether a tag is one under which referrers are listed."""
    return _FALLBACK_TAG.fullmatch(tag) is not None


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
    """Return the list with a referrer at its head: of several SOCI indexes, readers take the first."""
    others = without_referrer(index, referrer.digest).manifests or ()
    return replace(index, manifests=(referrer, *others))


def without_referrer(index: ImageIndex, digest: Digest) -> ImageIndex:
    """Return the list without a referrer."""
    listed = index.manifests or ()
    return replace(index, manifests=tuple(entry for entry in listed if entry.digest != digest))


def _is_listed(index: ImageIndex, digest: Digest) -> bool:
    return any(entry.digest == digest for entry in index.manifests or ())


def _turn_at(url: str) -> threading.Lock:
    """Return the lock of all in this process who change one list."""
    with _TURNS_LOCK:
        return _TURNS.setdefault(url, threading.Lock())
