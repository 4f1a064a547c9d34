"""Registries for tests of decisions: OCI layouts on disk, one for each repository, or the registry in memory."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from local.registry import Behaviour, Registry
from soci.build import recipe as build
from soci.image.documents import Platforms, choose_images, fetch_image
from soci.oci import media_types
from soci.oci.annotations import SOCI_IMAGE_MANIFEST_DIGEST, SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest
from soci.oci.reference import RegistryRef
from soci.places.layout.oci_layout import OciLayout
from soci.places.ports import ImageStore
from soci.places.registry.credentials import NoLogins
from soci.places.registry.retry import RetryPolicy
from soci.service.filter.requests import parse_request
from soci.service.messages import ImageRequest
from soci.service.settings.configuration import Configuration
from soci.start.prefetch_source import UsedProfile
from tests.builders import Image, describe, multi_platform
from tests.fake_time import FakeTime
from tests.image_files import layout_files, write_files
from tests.recipes import Watcher
from tests.registries import open_repository

EVENTS = Path(__file__).parents[2] / "events"
SMALL = {
    "rules": {"min_image_size_bytes": 0},
    "index": {"min_layer_size_bytes": 0, "span_size_bytes": 65_536},
}
"""Settings that index the small images of tests."""


class Place(Protocol):
    """A registry that tests fill with images."""

    def put(self, repository: str, image: Image, *tags: str) -> Descriptor:
        """Put an image into a repository under some tags."""

    def __call__(self, repository: str, reference: str) -> ImageStore: ...


@dataclass(kw_only=True)
class Layouts:
    """A registry whose repositories are OCI layouts."""

    directory: Path

    def put(self, repository: str, image: Image, *tags: str) -> Descriptor:
        layout = OciLayout(self.directory / repository)
        for digest, data in image.blobs.items():
            layout.push_blob(Descriptor(media_type="", digest=digest, size=len(data)), (data,))
        root = replace(image.root, platform=None)
        for tag in tags or (None,):
            layout.push_root(root, tag)
        for referrer in image.referrers:
            layout.push_root(referrer, None)
        return root

    def __call__(self, repository: str, reference: str) -> ImageStore:
        path = self.directory / repository
        if not path.exists():
            write_files(path, layout_files((), ()))
        tag, digest = (None, Digest.parse(reference)) if ":" in reference else (reference, None)
        return OciLayout(path, tag=tag, digest=digest)


@dataclass(kw_only=True)
class InMemory:
    """The registry in memory, over HTTP; `events` are those of pushes over the protocol."""

    registry: Registry
    events: list[dict[str, Any]] = field(default_factory=list)

    def put(self, repository: str, image: Image, *tags: str) -> Descriptor:
        there = self.registry.repository(repository)
        for data in image.blobs.values():
            if data.startswith(b'{"schemaVersion"'):
                there.put_manifest(data, json.loads(data).get("mediaType", ""))
            else:
                there.put_blob(data)
        there.tags.update(dict.fromkeys(tags, str(image.root.digest)))
        return replace(image.root, platform=None)

    def __call__(self, repository: str, reference: str) -> ImageStore:
        tag, digest = (None, Digest.parse(reference)) if ":" in reference else (reference, None)
        return open_repository(
            RegistryRef(host=self.registry.host, repository=repository, tag=tag, digest=digest),
            retries=RetryPolicy(attempts=2, clock=FakeTime().clock()),
            logins=NoLogins(),
        )


@contextmanager
def in_memory(behaviour: Behaviour | None = None) -> Iterator[InMemory]:
    """Run a registry that sends events of pushes."""
    events: list[dict[str, Any]] = []
    with Registry(behaviour or Behaviour(rates={}), on_event=events.append) as registry:
        yield InMemory(registry=registry, events=events)


def configuration(**sections: dict[str, Any]) -> Configuration:
    """Settings for small images, with some changed: `configuration(tagging={"policy": "replace"})`."""
    document: dict[str, Any] = copy.deepcopy(SMALL)
    for name, changes in sections.items():
        document[name] = document.get(name, {}) | changes
    return Configuration.from_document(document)


def imitation(kind: str, image: Image, other: Image) -> Image:
    """An image that claims to have a SOCI index, and has none."""
    both = {**image.blobs, **other.blobs}
    if kind == "annotation":
        named = {SOCI_INDEX_DIGEST: str(other.root.digest)}
        data = replace(ImageManifest.parse(image.document), annotations=named).encode()
        root = describe(data, media_types.OCI_MANIFEST)
        return Image(root=root, blobs={**both, root.digest: data})
    if kind == "annotated entry":
        entry = replace(other.root, annotations={SOCI_IMAGE_MANIFEST_DIGEST: "x"})
        joined = multi_platform(image, extra=(entry,))
        return replace(joined, blobs={**both, **joined.blobs})
    missing = describe(b"missing", media_types.OCI_MANIFEST, artifact_type=media_types.SOCI_INDEX_V2)
    return multi_platform(image, extra=(missing,))


def event(name: str) -> Any:
    """An event as ECR sends it."""
    return json.loads((EVENTS / f"{name}.json").read_text())


def pushed(repository: str, root: Descriptor, tag: str = "") -> ImageRequest:
    """Return the request that a push leads to."""
    document = event("push-without-media-types")
    document["detail"] |= {"repository-name": repository, "image-digest": str(root.digest), "image-tag": tag}
    return parse_request(document)


def by_hand(repository: str, reference: str, *, force: bool = False) -> ImageRequest:
    """Return the request of a person, for a tag or a digest."""
    key = "digest" if ":" in reference else "tag"
    return parse_request({"repository": repository, key: reference, "force": force})


def index(
    place: Place,
    request: ImageRequest,
    settings: Configuration,
    *,
    profile: UsedProfile | None = None,
    marks_patterns: bool = True,
) -> build.BuildResult:
    """Index an image by the settings and set the output tag."""
    store = place(request.repository, request.tag or str(request.digest))
    image = fetch_image(store)
    run = build.Run(
        source=store,
        sink=store,
        image=image,
        chosen=choose_images(image, Platforms.ALL),
        settings=settings.index.settings,
        tag=settings.output_tag(request.tag),
        jobs=1,
        progress=Watcher(),
        profiles={one.descriptor.digest: profile for one in image.images} if profile else {},
        marks_patterns=marks_patterns,
    )
    if settings.index.makes_v1:
        result = build.create_index(replace(run, tag=None))
    if settings.index.makes_v2:
        result = build.convert(run)
    return result
