"""zTOCs that were made before: found, checked, taken over; or else made, whatever the catalog says."""

from __future__ import annotations

import gzip
import json
import logging
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import zstandard

from local.registry import Answer, Behaviour, Registry, request_to
from soci.build.layer import RecompressedLayer, Reused
from soci.build.reuse import ReuseKey
from soci.errors import DigestMismatch, InvalidDocument, RegistryUnavailable
from soci.image.copy import copy_trees
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.digest import Digest, digest_of
from soci.places.registry.connect import connect
from soci.places.registry.credentials import NoLogins
from soci.places.registry.retry import RetryPolicy
from soci.service.layer.entry import MAX_REPOSITORIES, Entry
from soci.service.layer.index_layer import index_one_layer
from soci.service.layer_messages import (
    LayerItem,
    LayerJob,
    LayerOutcome,
)
from soci.service.settings.configuration import Configuration
from tests.builders import Image, MemorySource, file, gzip_of, image_of, index_layer, noise, tar_of
from tests.fake_time import FakeTime
from tests.service_steps import configured

SPAN_BYTES = 65_536
TAR = tar_of(file("srv/data", noise(1_000_000)))
LAYER = gzip_of(TAR, level=0)
SIBLING = gzip_of(tar_of(file("srv/data", noise(1_000_000, "sibling"))), level=0)
"""A layer of the same size."""
ZSTD = zstandard.compress(TAR)
RECOMPRESS = {"zstd_layers": "recompress"}


@dataclass
class Rows:
    """A catalog in memory, as JSON."""

    rows: dict[ReuseKey, Any] = field(default_factory=dict)

    def find(self, key: ReuseKey) -> Entry | None:
        row = self.rows.get(key)
        return None if row is None else Entry.from_document(json.loads(json.dumps(row)), key)

    def record(self, key: ReuseKey, entry: Entry) -> None:
        self.rows[key] = entry.to_document()

    def also_in(self, key: ReuseKey, entry: Entry, repository: str) -> None:
        assert self.find(key) == entry
        self.rows[key] = entry.also_in(repository).to_document()

    @property
    def only(self) -> dict[str, Any]:
        (row,) = self.rows.values()
        return dict(row)


class World:
    """A registry, a catalog, and layers that are indexed in some repository."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.catalog = Rows()
        retries = RetryPolicy(attempts=2, clock=FakeTime().clock())
        self.open = connect(registry.host, logins=NoLogins(), retries=retries).open_image

    def push(self, repository: str, *layers: bytes) -> Image:
        types = {place: media_types.OCI_LAYER_ZSTD for place, layer in enumerate(layers) if layer == ZSTD}
        image = image_of(*layers, layer_types=types)
        copy_trees(MemorySource(image), self.open(repository, "latest"), (image.root,))
        return image

    def index(
        self, repository: str, layer: bytes = LAYER, compression: str = "gzip", **settings: Any
    ) -> LayerOutcome:
        """Push an image with the layer, forget all requests, and index it."""
        image = self.push(repository, layer)
        self.registry.forget_requests()
        return self.index_again(repository, image, layer, compression, configured(**settings))

    def index_again(
        self,
        repository: str,
        image: Image,
        layer: bytes,
        compression: str = "gzip",
        configuration: Configuration | None = None,
        *,
        force: bool = False,
    ) -> LayerOutcome:
        item = LayerItem(digest=digest_of(layer), size=len(layer), compression=Compression(compression))
        job = LayerJob(repository=repository, image=image.root.digest, layer=item, force=force)
        return index_one_layer(job, configuration or configured(), self.open, self.catalog)

    def read_bytes(self, blob: bytes | Digest) -> int:
        """How much of a blob's content left the registry since the last push."""
        digest = blob if isinstance(blob, Digest) else digest_of(blob)
        return sum(
            seen.sent_bytes
            for seen in self.registry.requests
            if seen.method == "GET" and digest.hex in seen.path and seen.status in (200, 206)
        )

    def put(self, repository: str, data: bytes) -> Entry:
        """Put a blob there, and make a row that says that it is the zTOC."""
        self.registry.repository(repository).put_blob(bytes(data))
        return Entry(ztoc=digest_of(data), size=len(data), repositories=(repository,))

    def has(self, repository: str, digest: Digest | None) -> bool:
        return str(digest) in self.registry.repository(repository).blobs

    def poison(self, row: Entry | dict[str, Any]) -> None:
        """Make a row say something else."""
        (key,) = self.catalog.rows
        self.catalog.rows[key] = row.to_document() if isinstance(row, Entry) else row


@pytest.fixture(params=[True, False], ids=["mounts", "no mounts"])
def mounts(request) -> bool:
    return bool(request.param)


@pytest.fixture
def world():
    with Registry(Behaviour(rates={})) as registry:
        yield World(registry)


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def facts(outcome: LayerOutcome) -> tuple[Any, ...]:
    return outcome.layer, outcome.ztoc, outcome.size, outcome.recompressed, outcome.left_out


def test_a_layer_is_streamed_once_and_not_again_in_the_same_repository(world):
    first = world.index("app")
    assert world.read_bytes(LAYER) >= len(LAYER)

    second = world.index("app")

    assert (first.reused, second.reused) == (None, Reused.HERE)
    assert facts(second) == facts(first)
    assert second.streamed_bytes(len(LAYER)) == 0
    assert world.read_bytes(LAYER) < len(LAYER) // 2, "its header, and three spans"


def test_another_repository_takes_the_ztoc_over_and_streams_no_layer(mounts):
    with Registry(Behaviour(rates={}, mounts=mounts)) as registry:
        world = World(registry)
        first = world.index("app")

        other = world.index("other")

        assert other.reused is (Reused.MOUNTED if mounts else Reused.COPIED)
        assert facts(other) == facts(first)
        assert world.has("other", first.ztoc)
        assert world.read_bytes(LAYER) < len(LAYER) // 2
        assert world.catalog.only["repositories"] == ["other", "app"]
        assert world.index("other").reused is Reused.HERE


def test_a_forced_job_streams_the_layer_and_writes_the_row_anew(world):
    first = world.index("app")
    right = world.catalog.only
    world.poison(world.put("app", b"known to be wrong"))
    image = world.push("app", LAYER)
    world.registry.forget_requests()

    forced = world.index_again("app", image, LAYER, force=True)

    assert (forced.reused, facts(forced)) == (None, facts(first))
    assert world.read_bytes(LAYER) >= len(LAYER)
    assert world.catalog.only == right
    assert world.index("app").reused is Reused.HERE


def test_a_forced_job_does_not_look_for_a_ztoc_made_before(world):
    first = world.index("app")

    forced = world.index_again("app", world.push("app", LAYER), LAYER, force=True)

    assert (forced.reused, facts(forced)) == (None, facts(first))


def test_without_a_catalog_each_layer_is_streamed(world):
    image = world.push("app", LAYER)
    item = LayerItem(digest=digest_of(LAYER), size=len(LAYER), compression=Compression.GZIP)
    job = LayerJob(repository="app", image=image.root.digest, layer=item)

    outcomes = [index_one_layer(job, configured(), world.open) for _ in range(2)]

    assert [one.reused for one in outcomes] == [None, None]


@pytest.mark.parametrize(
    "settings",
    [
        {"span_size_bytes": 131_072},
        {"build_tool_identifier": "Another"},
        {"multi_member_gzip": "leave-out"},
        {"optimizations": ["xattr"]},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_other_settings_are_another_ztoc(world, settings):
    world.index("app")

    assert world.index("app", **settings).reused is None
    assert world.index("app", **settings).reused is Reused.HERE
    assert len(world.catalog.rows) == 2


def test_the_same_bytes_read_in_another_way_are_another_ztoc(world):
    world.index("app", TAR, "none")

    with pytest.raises(Exception, match="gzip"):
        world.index("app", TAR, "gzip")


def test_a_layer_that_is_left_out_is_in_no_row(world):
    layer = gzip_of(TAR, members=3)

    world.index("app", layer, multi_member_gzip="leave-out")

    assert world.catalog.rows == {}


def test_a_row_lists_no_more_repositories_than_are_needed(world):
    for number in range(MAX_REPOSITORIES + 2):
        world.index(f"app-{number}")

    listed = world.catalog.only["repositories"]
    assert listed[0] == f"app-{MAX_REPOSITORIES + 1}"
    assert len(listed) == MAX_REPOSITORIES


def test_a_ztoc_that_was_deleted_everywhere_is_built_and_recorded_again(world, caplog):
    first = world.index("app")
    del world.registry.repository("app").blobs[str(first.ztoc)]

    again = world.index("other")

    assert (again.reused, facts(again)) == (None, facts(first))
    assert world.catalog.only["repositories"] == ["other"]
    assert warnings(caplog) == []


def test_a_repository_that_is_deleted_or_forbidden_is_skipped(world):
    world.index("app")
    world.poison(world.catalog.only | {"repositories": ["gone", "closed", "app"]})
    world.registry.fail(Answer(403), where=request_to("GET", "/closed/"), times=None)

    other = world.index("other")

    assert other.reused is Reused.MOUNTED


def test_a_registry_that_is_too_busy_elsewhere_is_not_asked_again_and_again(world):
    first = world.index("app")
    world.poison(world.catalog.only | {"repositories": ["busy-1", "busy-2", "app"]})
    world.registry.fail(Answer(503), where=request_to("GET", "/busy-"), times=None)

    other = world.index("other")

    assert (other.reused, facts(other)) == (None, facts(first))
    assert not [seen for seen in world.registry.requests if "busy-2" in seen.path]


def test_a_mount_that_is_refused_is_no_failure(world):
    world.index("app")
    image = world.push("other", LAYER)
    world.registry.fail(Answer(403), where=request_to("POST", "/other/"), times=1)

    assert world.index_again("other", image, LAYER).reused is Reused.COPIED


def test_a_registry_that_fails_is_an_error_that_may_be_tried_again(world):
    world.index("app")
    image = world.push("app", LAYER)
    world.registry.fail(Answer(503), where=request_to("HEAD", "/blobs/"), times=None)

    with pytest.raises(RegistryUnavailable):
        world.index_again("app", image, LAYER)


def refused_by_readers() -> bytes:
    """A zTOC of the layer whose only file lies within its own header."""
    ztoc = bytearray(index_layer(LAYER, span_size_bytes=SPAN_BYTES).ztoc)
    at = ztoc.find((512).to_bytes(8, "little"))
    ztoc[at : at + 8] = (256).to_bytes(8, "little")
    return bytes(ztoc)


POISON = {
    "no zTOC": b"no zTOC at all" * 100,
    "of another layer": bytes(index_layer(gzip_of(tar_of(file("a", noise(5_000))))).ztoc),
    "of a layer of the same size": bytes(index_layer(SIBLING, span_size_bytes=SPAN_BYTES).ztoc),
    "of other settings": bytes(index_layer(LAYER, span_size_bytes=2 * SPAN_BYTES).ztoc),
    "refused by readers": refused_by_readers(),
}


@pytest.mark.parametrize("where", ["app", "elsewhere"])
@pytest.mark.parametrize("kind", POISON)
def test_a_row_that_leads_to_a_wrong_ztoc_is_detected(world, caplog, kind, where):
    assert len(SIBLING) == len(LAYER)
    first = world.index("app")
    world.poison(world.put(where, POISON[kind]))

    again = world.index("app")

    assert (again.reused, facts(again)) == (None, facts(first))
    (warning,) = warnings(caplog)
    assert warning.startswith(f"poisoned: the entry for the zTOC of layer {digest_of(LAYER)}")
    assert world.catalog.only["ztoc"] == str(first.ztoc), "the row is right again"
    if where == "elsewhere":
        assert not world.has("app", digest_of(POISON[kind])), "it did not get here"
    assert world.index("app").reused is Reused.HERE


@pytest.mark.parametrize(
    "change",
    [
        {"ztoc": "sha256:1"},
        {"ztoc": 7},
        {"size": -1},
        {"size": "large"},
        {"repositories": "app"},
        {"repositories": [1]},
        {"copy": {"digest": str(digest_of(LAYER)), "size": len(LAYER)}},
        {"ztoc": str(digest_of(b"?")), "repositories": ["../Elsewhere"]},
        {"ztoc": str(digest_of(b"?")), "repositories": ["elsewhere"], "size": 1 << 40},
    ],
    ids=str,
)
def test_a_row_that_cannot_be_read_is_detected(world, caplog, change):
    first = world.index("app")
    world.poison(world.catalog.only | change)

    again = world.index("app")

    assert (again.reused, facts(again)) == (None, facts(first))
    assert [text.partition(":")[0] for text in warnings(caplog)] == ["poisoned"]
    assert world.index("app").reused is Reused.HERE


def test_a_row_with_a_wrong_size_is_of_no_use_and_does_no_harm(world):
    first = world.index("app")
    world.poison(world.catalog.only | {"size": first.size + 1})

    again = world.index("app")

    assert (again.reused, facts(again)) == (None, facts(first))
    assert world.index("app").reused is Reused.HERE


def test_a_layer_that_does_not_match_its_digest_is_an_error(world):
    world.index("app")
    image = world.push("app", LAYER)
    world.registry.repository("app").blobs[str(digest_of(LAYER))] = SIBLING

    with pytest.raises(DigestMismatch):
        world.index_again("app", image, LAYER)


class TestZstdLayers:
    def test_a_recompressed_layer_is_reused(self, world):
        first = world.index("app", ZSTD, "zstd", **RECOMPRESS)

        again = world.index("app", ZSTD, "zstd", **RECOMPRESS)

        assert first.recompressed is not None
        assert (again.reused, facts(again)) == (Reused.HERE, facts(first))
        assert world.read_bytes(ZSTD) == 0
        assert again.streamed_bytes(len(ZSTD)) == first.recompressed.size, (
            "it is unpacked, to see what is in it"
        )

    def test_another_repository_mounts_it(self, world):
        first = world.index("app", ZSTD, "zstd", **RECOMPRESS)

        other = world.index("other", ZSTD, "zstd", **RECOMPRESS)

        assert (other.reused, facts(other)) == (Reused.MOUNTED, facts(first))
        assert first.recompressed is not None
        assert world.has("other", first.recompressed.digest)
        assert world.read_bytes(ZSTD) == 0

    def test_a_recompressed_layer_that_cannot_be_mounted_is_built_again(self):
        with Registry(Behaviour(rates={}, mounts=False)) as registry:
            world = World(registry)
            first = world.index("app", ZSTD, "zstd", **RECOMPRESS)

            other = world.index("other", ZSTD, "zstd", **RECOMPRESS)

            assert (other.reused, facts(other)) == (None, facts(first))

    def test_another_gzip_level_is_another_layer(self, world):
        world.index("app", ZSTD, "zstd", **RECOMPRESS)

        other = world.index("app", ZSTD, "zstd", **RECOMPRESS, gzip_level=1)

        assert other.reused is None

    @pytest.mark.parametrize("kind", ["another layer", "damaged", "no copy"])
    def test_a_row_with_a_wrong_recompressed_layer_is_detected(self, world, caplog, kind):
        """An image whose layer is another one would be another image."""
        first = world.index("app", ZSTD, "zstd", **RECOMPRESS)
        copy = SIBLING if kind == "another layer" else gzip.compress(TAR)[:-9] + b"\0" * 9
        row = world.put("app", bytes(index_layer(SIBLING, span_size_bytes=SPAN_BYTES).ztoc))
        world.put("app", copy)
        made = RecompressedLayer(of=digest_of(ZSTD), digest=digest_of(copy), size=len(copy))
        world.poison(replace(row, recompressed=None if kind == "no copy" else made))

        again = world.index("app", ZSTD, "zstd", **RECOMPRESS)

        assert (again.reused, facts(again)) == (None, facts(first))
        assert [text.partition(":")[0] for text in warnings(caplog)] == ["poisoned"]


def test_an_entry_comes_out_of_its_document_again():
    key = ReuseKey(layer=digest_of(b"layer"), settings="zstd")
    copy = RecompressedLayer(of=key.layer, digest=digest_of(b"copy"), size=2)
    entry = Entry(ztoc=digest_of(b"z"), size=1, repositories=("a", "b"), recompressed=copy)

    assert Entry.from_document(entry.to_document(), key) == entry
    with pytest.raises(InvalidDocument, match=r"^row of layer .*: copy\.size"):
        Entry.from_document(entry.to_document() | {"copy": {"digest": str(copy.digest)}}, key)
