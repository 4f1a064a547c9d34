"""The content of a registry in memory: blobs, manifests, tags and uploads."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEX_TYPES = (OCI_INDEX, DOCKER_LIST)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST, *INDEX_TYPES)


def digest_of(data: bytes | bytearray, algorithm: str = "sha256") -> str:
    """Return the digest of content as `algorithm:hex`."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A pushed document and its digest."""

    digest: str
    media_type: str
    data: bytes = field(repr=False)
    pushed_at: float = field(default_factory=time.time, compare=False)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The parsed document, an object."""
        parsed: dict[str, Any] = json.loads(self.data)
        return parsed

    @property
    def subject(self) -> str | None:
        """The digest of its subject, if any."""
        subject = self.document.get("subject")
        return subject["digest"] if subject else None

    @property
    def artifact_type(self) -> str:
        """Its artifact type in a list of referrers: its own, or that of its config."""
        own: str = self.document.get("artifactType") or self.document.get("config", {}).get("mediaType", "")
        return own

    @property
    def children(self) -> list[str]:
        """The digests of the manifests in an index."""
        return [entry["digest"] for entry in self.document.get("manifests", [])]

    def descriptor(self) -> dict[str, Any]:
        """Return its descriptor as in the referrers API."""
        described = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}
        optional = {"artifactType": self.artifact_type, "annotations": self.document.get("annotations")}
        return described | {key: value for key, value in optional.items() if value}


@dataclass(slots=True, kw_only=True)
class Upload:
    """An upload session. `secret` is part of each of its Locations."""

    secret: str
    data: bytearray = field(default_factory=bytearray, repr=False)
    first_chunk_bytes: int = 0
    has_small_part: bool = False


@dataclass(slots=True, kw_only=True)
class Repository:
    """The content of one repository."""

    blobs: dict[str, bytes] = field(default_factory=dict, repr=False)
    manifests: dict[str, Manifest] = field(default_factory=dict, repr=False)
    tags: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict, repr=False)
    created_at: float = field(default_factory=time.time)

    def find(self, reference: str) -> Manifest | None:
        """Return a manifest by tag or digest."""
        return self.manifests.get(self.tags.get(reference, reference))

    def referrers(self, subject: str) -> Iterator[Manifest]:
        """Return the manifests with this subject, oldest first."""
        return (manifest for manifest in self.manifests.values() if manifest.subject == subject)

    def put_blob(self, data: bytes) -> str:
        """Store a blob directly and return its digest."""
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def put_manifest(
        self,
        data: bytes,
        media_type: str = OCI_MANIFEST,
        *,
        tag: str | None = None,
        pushed_at: float | None = None,
    ) -> str:
        """Store a manifest directly, without checks, and return its digest."""
        digest = digest_of(data)
        when = time.time() if pushed_at is None else pushed_at
        self.manifests[digest] = Manifest(digest=digest, media_type=media_type, data=data, pushed_at=when)
        if tag is not None:
            self.tags[tag] = digest
        return digest


@dataclass(slots=True, kw_only=True)
class Store:
    """All repositories by name."""

    repositories: dict[str, Repository] = field(default_factory=dict)

    def create(self, name: str) -> Repository:
        """Return the repository of this name; create it if it is missing."""
        return self.repositories.setdefault(name, Repository())
