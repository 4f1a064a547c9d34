from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from local.registry import OBJECTS, REGISTRY, Behaviour, Registry
from soci.errors import BlobMissing, DigestMismatch, InvalidDocument, InvalidZtoc, SizeMismatch
from soci.image.copy import copy_trees
from soci.index.classify import is_soci_index
from soci.oci import media_types
from soci.oci.annotations import SOCI_IMAGE_MANIFEST_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.layout.oci_layout import OciLayout
from soci.places.ports import ImageSource
from soci.places.registry.connect import connect
from soci.places.registry.credentials import NoLogins
from soci.service.messages import ReadBack
from soci.service.publish.check_ztocs import LARGE_BYTES, LayerAndZtoc, for_each
from soci.service.publish.read_back import Bound, read_back
from tests.builders import (
    MemorySource,
    describe,
    file,
    gzip_of,
    image_of,
    layout_of,
    multi_platform,
    noise,
    tar_of,
    text,
)
from tests.recipes import convert_layout, create_in_layout

BASE = gzip_of(tar_of(file("base", text(500_000, "base"))))
AMD = gzip_of(tar_of(file("app", noise(300_000, "amd"))))
ARM = gzip_of(tar_of(file("app", noise(300_000, "arm"))))
IMAGE = multi_platform(image_of(BASE, AMD), image_of(BASE, ARM, platform="linux/arm64/v8"))
SPAN_SIZE_BYTES = 65_536


@dataclass(frozen=True)
class Publication:
    """A SOCI-enabled image in a layout: what is to be read back, by what it is."""

    layout: Path
    root: Descriptor
    bound: tuple[Bound, ...]
    blobs: dict[str, Descriptor]

    def read_back(self, source: ImageSource | None = None) -> ReadBack:
        source = source or OciLayout(self.layout, digest=self.root.digest)
        return read_back(source, [self.root], self.bound, span_size_bytes=SPAN_SIZE_BYTES)

    def path(self, kind: str) -> Path:
        return self.layout / "blobs/sha256" / self.blobs[kind].digest.hex


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Publication:
    layout = layout_of(tmp_path_factory.mktemp("read back") / "layout", IMAGE)
    convert_layout(layout, prefetch_patterns=("/app",))
    source = OciLayout(layout, tag="latest-soci")
    root = replace(source.fetch_root(), annotations={})
    entries = ImageIndex.parse(source.fetch_manifest(root)).manifests or ()
    images = {str(entry.digest): entry for entry in entries}
    bound = tuple(
        Bound(image=images[entry.annotations[SOCI_IMAGE_MANIFEST_DIGEST]], index=entry)
        for entry in entries
        if is_soci_index(entry)
    )
    index = ImageManifest.parse(source.fetch_manifest(bound[0].index))
    image = ImageManifest.parse(source.fetch_manifest(bound[0].image))
    *_, ztoc, prefetch = index.layers or ()
    assert prefetch.media_type == media_types.PREFETCH
    blobs = {
        "root": root,
        "image manifest": bound[0].image,
        "index manifest": bound[0].index,
        "config": index.config,
        "zTOC": ztoc,
        "prefetch artifact": prefetch,
        "layer": (image.layers or ())[-1],
    }
    return Publication(layout=layout, root=root, bound=bound, blobs=blobs)


@pytest.fixture
def published(original: Publication, tmp_path) -> Publication:
    """A copy to do harm to."""
    shutil.copytree(original.layout, tmp_path / "layout", copy_function=shutil.copyfile)
    return replace(original, layout=tmp_path / "layout")


def test_everything_is_read_once(original):
    assert original.read_back() == ReadBack(manifests=5, ztocs=3, spans=3)


@pytest.mark.parametrize(
    "kind", ["root", "image manifest", "index manifest", "config", "zTOC", "prefetch artifact", "layer"]
)
def test_missing_content_is_named(published, kind):
    published.path(kind).unlink()

    with pytest.raises(BlobMissing, match=published.blobs[kind].digest.hex):
        published.read_back()


@pytest.mark.parametrize("kind", ["root", "image manifest", "index manifest", "zTOC"])
def test_content_with_other_bytes_is_named(published, kind):
    data = bytearray(published.path(kind).read_bytes())
    data[len(data) // 2] ^= 1
    published.path(kind).write_bytes(data)

    with pytest.raises(DigestMismatch, match=published.blobs[kind].digest.hex):
        published.read_back()


def test_a_layer_whose_middle_span_has_other_bytes_is_named(published):
    data = bytearray(published.path("layer").read_bytes())
    data[len(data) // 2] ^= 1
    published.path("layer").write_bytes(data)

    with pytest.raises(DigestMismatch, match=rf"layer {published.blobs['layer'].digest}: span \d"):
        published.read_back()


def test_a_layer_that_ends_too_soon_is_named(published):
    published.path("layer").write_bytes(published.path("layer").read_bytes()[:1_000])

    with pytest.raises((SizeMismatch, BlobMissing), match=published.blobs["layer"].digest.hex):
        published.read_back()


def test_an_index_for_another_image_is_named(original):
    amd, arm = original.bound
    swapped = replace(original, bound=(Bound(image=arm.image, index=amd.index),))

    with pytest.raises(InvalidDocument, match=f"layer {digest_of(AMD)} is not in image {arm.image.digest}"):
        swapped.read_back()


def test_each_layer_is_asked_for_one_span_and_each_ztoc_by_its_head(original):
    with Registry(Behaviour(rates={})) as registry:
        place = connect(registry.host, logins=NoLogins()).open_image
        store = place("app", "latest-soci")
        copy_trees(OciLayout(original.layout, tag="latest-soci"), store, (original.root,))
        registry.forget_requests()

        counts = original.read_back(place("app", str(original.root.digest)))

        seen = registry.requests
    assert counts == original.read_back()
    manifests = [one.path for one in seen if one.method == "GET" and "/manifests/" in one.path]
    assert len(manifests) == len(set(manifests)) == 5
    heads = {one.path.rpartition("/")[2] for one in seen if one.method == "HEAD" and one.origin == REGISTRY}
    assert {str(original.blobs[kind].digest) for kind in ("config", "zTOC", "prefetch artifact")} <= heads
    for layer in (BASE, AMD, ARM):
        ranges = [one.range for one in seen if one.origin == OBJECTS and digest_of(layer).hex in one.path]
        [asked] = ranges
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked or "")
        assert found is not None
        start, end = int(found[1]), int(found[2])
        assert 0 < start < len(layer) // 2 + SPAN_SIZE_BYTES
        assert end - start < 2 * SPAN_SIZE_BYTES


class TestVersion1:
    def bound(self, layout: Path) -> tuple[Bound, ...]:
        result = create_in_layout(layout)
        return tuple(
            Bound(image=one.image.descriptor, index=one.index.descriptor)
            for one in result.platforms
            if one.index is not None
        )

    def read(self, layout: Path, bound: Sequence[Bound]) -> ReadBack:
        return read_back(OciLayout(layout, tag="latest"), (), bound, span_size_bytes=SPAN_SIZE_BYTES)

    def test_its_indexes_are_found_from_their_images(self, tmp_path):
        layout = layout_of(tmp_path, IMAGE)

        assert self.read(layout, self.bound(layout)) == ReadBack(manifests=4, ztocs=3, spans=3)

    def test_one_that_is_there_but_is_not_listed_is_named(self, tmp_path):
        layout = layout_of(tmp_path, IMAGE)
        bound = self.bound(layout)
        OciLayout(layout).delete_manifest(bound[1].index.digest)

        with pytest.raises(BlobMissing, match=f"{bound[1].index.digest} .* is not among the referrers"):
            self.read(layout, bound)

    def test_a_place_without_referrers_is_not_asked(self):
        image = image_of(BASE)

        counts = read_back(MemorySource(image), [image.root], (), span_size_bytes=SPAN_SIZE_BYTES)

        assert counts == ReadBack(manifests=1)


class TestForEach:
    """Of hundreds of zTOCs memory holds a few, and of large ones a single one."""

    def pairs(self, *sizes: int) -> list[LayerAndZtoc]:
        layer = describe(b"layer", media_types.OCI_LAYER_GZIP)
        return [
            LayerAndZtoc(
                layer=layer,
                ztoc=Descriptor(media_type=media_types.ZTOC, digest=digest_of(str(n).encode()), size=size),
            )
            for n, size in enumerate(sizes)
        ]

    def most_bytes_at_a_time(self, sizes: Sequence[int], *, span_size_bytes: int = 0) -> tuple[int, int]:
        lock = threading.Lock()
        held: dict[Digest, int] = {}
        most = count = 0

        def work(pair: LayerAndZtoc) -> None:
            nonlocal most, count
            with lock:
                held[pair.ztoc.digest] = pair.ztoc.size + span_size_bytes
                most = max(most, sum(held.values()))
                count += 1
            time.sleep(0.002)
            with lock:
                del held[pair.ztoc.digest]

        for_each(self.pairs(*sizes), work, span_size_bytes=span_size_bytes)
        return most, count

    def test_each_ztoc_is_checked_and_few_are_held_in_memory(self):
        most, count = self.most_bytes_at_a_time([1_000_000] * 635)

        assert count == 635
        assert most <= 4_000_000

    def test_a_large_ztoc_is_held_alone(self):
        sizes = [LARGE_BYTES * 40, LARGE_BYTES + 1, LARGE_BYTES * 10, *[LARGE_BYTES] * 6]

        most, count = self.most_bytes_at_a_time(sizes)

        assert count == len(sizes)
        assert most == LARGE_BYTES * 40

    def test_large_spans_count_as_well(self):
        most, _ = self.most_bytes_at_a_time([1_000] * 8, span_size_bytes=LARGE_BYTES)

        assert most == LARGE_BYTES + 1_000

    @pytest.mark.parametrize("size", [10, LARGE_BYTES + 1], ids=["small", "large"])
    def test_the_first_error_ends_it(self, size):
        done = []

        def work(pair: LayerAndZtoc) -> None:
            done.append(pair)
            raise InvalidZtoc(str(pair))

        with pytest.raises(InvalidZtoc, match=r"zTOC sha256:.* of layer sha256:"):
            for_each(self.pairs(*[size] * 200), work, span_size_bytes=0)

        assert len(done) < 200
