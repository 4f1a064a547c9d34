"""Forty images in two repositories, in every state, made as the service makes them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from soci.build.recipe import convert
from soci.oci import media_types
from soci.oci.manifest import ImageIndex
from soci.service.settings.configuration import Configuration
from soci.upkeep.status.states import IndexState
from tests.builders import Image, file, gzip_of, image_of, multi_platform, tar_of, text
from tests.recipes import run
from tests.unit.service.places import InMemory, by_hand, configuration, index

SETTINGS = configuration(rules={"min_image_size_bytes": 1_000, "tags": {"exclude": ["dev-*"]}})
OTHER_SETTINGS = configuration(index={"build_tool_identifier": "another", "span_size_bytes": 131_072})
V1 = configuration(index={"version": "v1"})

EXPECTED = {
    IndexState.INDEXED: 10,
    IndexState.OTHER_SETTINGS: 3,
    IndexState.PARTLY: 3,
    IndexState.V1_ONLY: 4,
    IndexState.OUTDATED: 4,
    IndexState.MISSING: 5,
    IndexState.LEFT_OUT: 6,
    IndexState.ORPHAN: 3,
    IndexState.BROKEN: 2,
}


def app(seed: str, platform: str = "linux/amd64", size_bytes: int = 9_000) -> Image:
    """A small image, different for each seed."""
    layer = gzip_of(tar_of(file(f"app/{seed}", text(size_bytes, seed))))
    return image_of(layer, platform=platform)


def both(seed: str) -> Image:
    return multi_platform(app(seed), app(f"{seed} arm", "linux/arm64"))


def put_forty(place: InMemory) -> None:
    """Fill a registry. Each tag begins with the expected state."""
    for repository, tag, image, settings in _indexed():
        place.put(repository, image, tag)
        index(place, by_hand(repository, tag), settings)
    for n in range(3):
        place.put("team/api", both(f"partly {n}"), f"partly-{n}")
        _index_amd64(place, f"partly-{n}")
    for n in range(5):
        place.put("app", app(f"missing {n}"), f"missing-{n}")
    for n in range(4):
        place.put("team/api", app(f"new {n}"), f"outdated-{n}")
    for n in range(2):
        place.put("app", app(f"small {n}", size_bytes=10), f"left-out-{n}")
    place.put("app", app("windows", "windows/amd64"), "left-out-2")
    place.put("app", app("dev"), "dev-left-out-3")
    _put_promised_tag(place, "left-out-4")
    _put_chart(place, "left-out-5")
    for n in range(3):
        del place.registry.repository("app").tags[f"orphan-{n}"]
    for n in range(2):
        _lose_soci_index(place, f"broken-{n}")


def _indexed() -> Iterator[tuple[str, str, Image, Configuration]]:
    for n in range(6):
        yield "app", f"indexed-{n}", app(f"indexed {n}"), SETTINGS
    for n in range(6, 10):
        yield "team/api", f"indexed-{n}", both(f"indexed {n}"), SETTINGS
    for n in range(3):
        yield "app", f"other-settings-{n}", app(f"other {n}"), OTHER_SETTINGS
        yield "app", f"orphan-{n}", app(f"orphan {n}"), SETTINGS
    for n in range(4):
        yield "team/api", f"v1-only-{n}", both(f"v1 {n}"), V1
        yield "team/api", f"outdated-{n}", app(f"old {n}"), SETTINGS
    for n in range(2):
        yield "app", f"broken-{n}", app(f"broken {n}"), SETTINGS


def _index_amd64(place: InMemory, tag: str) -> None:
    """Index one platform of two, as the command does."""
    store = place("team/api", tag)
    run(convert, store, store, platforms=["linux/amd64"], tag=f"{tag}-soci")


def _put_promised_tag(place: InMemory, tag: str) -> None:
    place.put("app", app("too small", size_bytes=20), tag, f"{tag}-soci")


def _put_chart(place: InMemory, tag: str) -> None:
    there = place.registry.repository("app")
    config = there.put_blob(b"{}")
    document = {
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config, "size": 2},
        "layers": [],
    }
    there.put_manifest(json.dumps(document).encode(), tag=tag)


def _lose_soci_index(place: InMemory, tag: str) -> None:
    """Delete the SOCI index that the converted image lists."""
    there = place.registry.repository("app")
    copy = there.find(f"{tag}-soci")
    assert copy is not None
    for entry in ImageIndex.parse(copy.data).manifests or ():
        if entry.artifact_type == media_types.SOCI_INDEX_V2:
            del there.manifests[str(entry.digest)]
