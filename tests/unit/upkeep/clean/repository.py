"""A repository of a few documents for the search for orphans, in place of an `Inventory`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from soci.errors import DeletionRefused, NotInImage
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.upkeep.clean import Orphans, Wanted, find_orphans
from soci.upkeep.inventory import Listed

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@dataclass
class Repository:
    """An `Inventory` of one repository."""

    has_api: bool = True
    listed: dict[Digest, Listed] = field(default_factory=dict)
    documents: dict[Digest, bytes] = field(default_factory=dict)
    reads: list[Digest] = field(default_factory=list)
    refuses: set[Digest] = field(default_factory=set)
    """Manifests that it refuses to delete."""
    after_listing: Callable[[], object] = lambda: None

    def put(self, document: dict[str, Any], *tags: str, **facts: Any) -> Digest:
        """Add a manifest; the facts are what the list says of it."""
        data = json.dumps({"schemaVersion": 2, **document}).encode()
        digest = digest_of(data)
        self.documents[digest] = data
        media_type = media_types.OCI_INDEX if "manifests" in document else media_types.OCI_MANIFEST
        fields: dict[str, Any] = {"artifact_type": "", "subject": None, "pushed_at": NOW, **facts}
        self.listed[digest] = Listed(digest=digest, tags=tags, media_type=media_type, **fields)
        return digest

    def put_image(self, seed: str, *tags: str, soci_index: Digest | None = None, **facts: Any) -> Digest:
        config = {"mediaType": media_types.OCI_CONFIG, "digest": str(digest_of(seed.encode())), "size": 2}
        annotations = {"annotations": {SOCI_INDEX_DIGEST: str(soci_index)}} if soci_index else {}
        return self.put({"config": config, "layers": [], **annotations}, *tags, **facts)

    def put_soci_index(self, seed: str, version: str = media_types.SOCI_INDEX_V2, **facts: Any) -> Digest:
        config = {"mediaType": version, "digest": str(digest_of(b"{}")), "size": 2}
        document = {"config": config, "layers": [], "annotations": {"seed": seed}}
        return self.put(document, artifact_type=version, **facts)

    def put_converted(self, seed: str, *tags: str, **facts: Any) -> tuple[Digest, Digest, Digest]:
        """Add the converted image of `put_image(seed)`: its index, image manifest and SOCI index."""
        soci_index = self.put_soci_index(seed)
        manifest = self.put_image(seed, soci_index=soci_index)
        entries = [
            {"mediaType": media_types.OCI_MANIFEST, "digest": str(manifest), "size": 2},
            {
                "mediaType": media_types.OCI_MANIFEST,
                "digest": str(soci_index),
                "size": 2,
                "artifactType": media_types.SOCI_INDEX_V2,
            },
        ]
        return self.put({"manifests": entries}, *tags, **facts), manifest, soci_index

    def find(self, suffix: str | None = None, **wanted: Any) -> Orphans:
        inventory: Any = self
        return find_orphans(inventory, "app", Wanted(suffix=suffix, **wanted))

    # What the search and the deletion call

    def fetch_images(self, _: str, **__: bool) -> Sequence[Listed]:
        listed = list(self.listed.values())
        self.after_listing()
        return listed

    def open_image(self, _: str, reference: str) -> _Source:
        tagged = {tag: one.digest for one in self.listed.values() for tag in one.tags}
        return _Source(self, Digest.parse(reference) if ":" in reference else tagged.get(reference))

    def open_repository(self, _: str) -> Repository:
        return self

    def delete_manifest(self, digest: Digest, *, subject: Digest | None) -> None:
        assert subject == self.listed[digest].subject
        if digest in self.refuses:
            raise DeletionRefused(f"{digest} is in use", status=403)
        del self.listed[digest], self.documents[digest]


@dataclass
class _Source:
    repository: Repository
    digest: Digest | None

    def fetch_root(self) -> Descriptor:
        if self.digest is None or self.digest not in self.repository.documents:
            raise NotInImage(f"no {self.digest}")
        document = json.loads(self.repository.documents[self.digest])
        media_type = media_types.OCI_INDEX if "manifests" in document else media_types.OCI_MANIFEST
        return Descriptor(media_type=media_type, digest=self.digest, size=2)

    def fetch_manifest(self, root: Descriptor) -> bytes:
        self.repository.reads.append(root.digest)
        return self.repository.documents[root.digest]
