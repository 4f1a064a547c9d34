from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from soci.build.index_layers import index_layers
from soci.build.layer import RecompressedLayer, Reused
from soci.build.plan import PlannedLayer, plan_layer
from soci.build.reuse import KnownZtoc, KnownZtocs, NothingKnown
from soci.errors import BlobMissing, DigestMismatch, GzipError, SizeMismatch, TarError
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.cancellation import cancellable_sleep
from soci.places.layout.oci_layout import OciLayout
from soci.reasons import LeftOut, Reason
from soci.settings import MultiMember
from soci.ztoc.model import IndexedLayer
from tests.builders import (
    Image,
    MemorySource,
    describe,
    file,
    gzip_of,
    index_layer,
    noise,
    special,
    tar_of,
    text,
)
from tests.recipes import Watcher, settings_of

LAYERS = [gzip_of(tar_of(file("a", text(size, str(size))))) for size in (1_000, 300_000, 60_000)]
CHUNK_BYTES = 1_000


class LayerSource(MemorySource):
    """Layers in memory, in small chunks; counts how often and in which order each is opened."""

    def __init__(self, *layers: bytes) -> None:
        blobs = {describe(layer, "").digest: layer for layer in layers}
        super().__init__(Image(root=describe(b"", ""), blobs=blobs))
        self.opened: list[Digest] = []
        self.chunks_read: Counter[Digest] = Counter()

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        self.opened.append(descriptor.digest)
        data = self.fetch_range(descriptor, 0, 1 << 40)
        yield self._chunks(descriptor, data)

    def _chunks(self, descriptor: Descriptor, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), CHUNK_BYTES):
            self.chunks_read[descriptor.digest] += 1
            yield data[at : at + CHUNK_BYTES]


def planned(layer: Descriptor, **settings) -> PlannedLayer:
    return PlannedLayer(descriptor=layer, decision=plan_layer(layer, settings_of(**settings)))


def gzip_layer(data: bytes, **fields) -> PlannedLayer:
    return planned(describe(data, media_types.OCI_LAYER_GZIP, **fields))


def index(
    source: MemorySource,
    *layers: PlannedLayer,
    jobs: int = 1,
    progress: Watcher | None = None,
    known: KnownZtocs | None = None,
    **settings,
):
    untouched = OciLayout(Path("no-such-directory"))
    return index_layers(
        source,
        layers,
        settings_of(**settings),
        sink=untouched,
        jobs=jobs,
        progress=progress or Watcher(),
        known=known or NothingKnown(),
    )


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_each_layer_gets_its_ztoc_however_many_are_indexed_at_a_time(jobs):
    layers = [gzip_layer(layer) for layer in LAYERS]

    results = index(LayerSource(*LAYERS), *layers, jobs=jobs)

    assert list(results) == layers
    for layer, data in zip(layers, LAYERS, strict=True):
        outcome = results[layer].outcome
        assert isinstance(outcome, IndexedLayer)
        assert outcome.digest == index_layer(data).digest
        assert results[layer].descriptor == layer.descriptor
        assert results[layer].seconds > 0


def test_the_largest_layer_is_begun_first():
    source = LayerSource(*LAYERS)

    index(source, *(gzip_layer(layer) for layer in LAYERS))

    assert source.opened == [describe(LAYERS[n], "").digest for n in (1, 2, 0)]


def test_a_repeated_layer_is_read_once_and_has_a_result_under_each_descriptor():
    source = LayerSource(LAYERS[0])
    once, again = gzip_layer(LAYERS[0]), gzip_layer(LAYERS[0], annotations={"again": "1"})

    results = index(source, once, again, once)

    assert len(source.opened) == 1
    assert [results[one].descriptor for one in (once, again)] == [once.descriptor, again.descriptor]
    assert results[once].outcome is results[again].outcome


def test_one_layer_with_two_sizes_is_an_error():
    layer = gzip_layer(LAYERS[0])
    lie = replace(layer, descriptor=replace(layer.descriptor, size=layer.descriptor.size + 1))

    for order in [(layer, lie), (lie, layer)]:
        with pytest.raises(SizeMismatch):
            index(LayerSource(LAYERS[0]), *order)


def test_progress_counts_each_byte():
    watcher = Watcher()

    index(LayerSource(*LAYERS), *(gzip_layer(layer) for layer in LAYERS), progress=watcher)

    digests = [describe(layer, "").digest for layer in LAYERS]
    assert watcher.advanced == {digest: len(layer) for digest, layer in zip(digests, LAYERS, strict=True)}
    assert sorted(watcher.started, key=str) == sorted(watcher.finished, key=str) == sorted(digests, key=str)


def test_a_layer_that_is_planned_to_be_left_out_is_not_read():
    source, watcher = LayerSource(LAYERS[0]), Watcher()
    layer = planned(describe(LAYERS[0], media_types.OCI_LAYER_ZSTD))

    result = index(source, layer, progress=watcher)[layer]

    assert result.outcome is layer.decision
    assert (source.opened, watcher.started) == ([], [])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip_of(tar_of(special("g", b"g"), file("a"))), Reason.GLOBAL_PAX_HEADER),
        (gzip_of(tar_of(special("c", b"7"))), Reason.UNSUPPORTED_ENTRY_TYPE),
        (gzip_of(tar_of(special("l", b"1", linkname="nothing"))), Reason.HARD_LINK_TO_NOTHING),
        (gzip_of(tar_of(file("a")), flush_at=[0]), Reason.EMPTY_FIRST_BLOCK),
    ],
    ids=["global pax header", "contiguous file", "hard link to nothing", "empty first block"],
)
def test_a_layer_that_turns_out_not_to_be_loadable_is_left_out_and_the_others_are_indexed(data, reason):
    odd, good = gzip_layer(data), gzip_layer(LAYERS[0])

    results = index(LayerSource(data, LAYERS[0]), odd, good)

    assert isinstance(results[good].outcome, IndexedLayer)
    assert isinstance(results[odd].outcome, LeftOut)
    assert results[odd].outcome.reason is reason


@pytest.mark.parametrize("policy", list(MultiMember))
def test_layers_of_several_members_are_indexed_or_not_as_the_settings_say(policy):
    layer = gzip_of(tar_of(file("a", b"x" * 5_000)), members=3)

    outcome = index(LayerSource(layer), gzip_layer(layer), multi_member=policy)[gzip_layer(layer)].outcome

    if policy is MultiMember.INDEX:
        assert isinstance(outcome, IndexedLayer)
    else:
        assert outcome == LeftOut(reason=Reason.MULTI_MEMBER_GZIP, detail="3 members")


def foreign(data: bytes) -> PlannedLayer:
    return planned(describe(data, media_types.DOCKER_FOREIGN_LAYER_GZIP))


def test_a_foreign_layer_is_indexed_if_the_source_has_it_and_left_out_if_not():
    here, gone = foreign(LAYERS[0]), foreign(LAYERS[1])

    results = index(LayerSource(LAYERS[0]), here, gone)

    assert isinstance(results[here].outcome, IndexedLayer)
    assert results[gone].outcome == LeftOut(reason=Reason.FOREIGN)


class Recording(NothingKnown):
    """Knows nothing, and notes the layers that it is asked for."""

    def __init__(self) -> None:
        self.asked: list[Digest] = []

    def find(self, layer: PlannedLayer) -> None:
        self.asked.append(layer.descriptor.digest)


def test_a_foreign_layer_is_built_each_time():
    known, layers = Recording(), (foreign(LAYERS[0]), gzip_layer(LAYERS[1]))

    index(LayerSource(*LAYERS), *layers, known=known)

    assert known.asked == [layers[1].descriptor.digest]


class KnowsOne(NothingKnown):
    """Knows the zTOC of one layer, and notes the layers whose zTOCs are recorded."""

    def __init__(self, layer: PlannedLayer, indexed: IndexedLayer) -> None:
        self.layer = layer
        self.found = KnownZtoc(indexed=indexed, reused=Reused.CACHED)
        self.recorded: list[PlannedLayer] = []

    def find(self, layer: PlannedLayer) -> KnownZtoc | None:
        return self.found if layer == self.layer else None

    def record(
        self,
        layer: PlannedLayer,
        indexed: IndexedLayer,  # noqa: ARG002 - a port's method
        recompressed: RecompressedLayer | None,  # noqa: ARG002
    ) -> None:
        self.recorded.append(layer)


def test_a_ztoc_that_was_found_is_not_recorded_again():
    layers = [gzip_layer(layer) for layer in LAYERS[:2]]
    outcome = index(LayerSource(*LAYERS), layers[0])[layers[0]].outcome
    assert isinstance(outcome, IndexedLayer)
    known = KnowsOne(layers[0], outcome)

    results = index(LayerSource(*LAYERS), *layers, known=known)

    assert results[layers[0]].reused is Reused.CACHED
    assert known.recorded == [layers[1]]


def test_an_ordinary_layer_that_is_missing_is_an_error():
    with pytest.raises(BlobMissing, match=describe(LAYERS[0], "").digest.hex):
        index(LayerSource(), gzip_layer(LAYERS[0]))


GOOD = gzip_of(tar_of(file("a", noise(5_000))))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (GOOD[:-9], GzipError),
        (GOOD[:-8] + b"1234" + GOOD[-4:], GzipError),
        (GOOD + b"garbage", GzipError),
        (b"no gzip at all", GzipError),
        (gzip_of(noise(2_048)), TarError),
        (gzip_of(tar_of(file("a", noise(5_000)))[:3_000]), TarError),
    ],
    ids=["cut short", "checksum", "garbage behind", "no gzip", "no tar", "tar cut short"],
)
def test_damage_is_an_error(data, error):
    with pytest.raises(error):
        index(LayerSource(data), gzip_layer(data))


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        (gzip_of(tar_of(file("a", noise(5_001)))), DigestMismatch),
        (GOOD + b"x", SizeMismatch),
        (GOOD[1:], SizeMismatch),
    ],
    ids=["other bytes", "more bytes", "fewer bytes"],
)
def test_bytes_that_are_not_those_of_the_descriptor_are_an_error_whatever_they_are(stored, error):
    layer = gzip_layer(GOOD)
    stored = stored if error is SizeMismatch else stored[: len(GOOD)].ljust(len(GOOD), b"\0")
    source = MemorySource(Image(root=layer.descriptor, blobs={layer.descriptor.digest: stored}))

    with pytest.raises(error, match=layer.descriptor.digest.hex):
        index(source, layer)


class WaitingSource(LayerSource):
    """Serves one layer at once; of the others a chunk, and the next when that one is done with."""

    def __init__(self, first: bytes, *others: bytes) -> None:
        super().__init__(first, *others)
        self._first = describe(first, "").digest
        self._is_done = threading.Event()

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        try:
            with super().open_blob(descriptor) as chunks:
                yield chunks
        finally:
            if descriptor.digest == self._first:
                self._is_done.set()

    def _chunks(self, descriptor: Descriptor, data: bytes) -> Iterator[bytes]:
        for chunk in super()._chunks(descriptor, data):
            yield chunk
            if descriptor.digest != self._first:
                assert self._is_done.wait(10)


def test_a_damaged_layer_gives_up_the_others():
    damaged = gzip_of(noise(30_000))
    running, waiting = (gzip_of(tar_of(file("a", noise(size))), level=0) for size in (20_000_000, 10_000))
    source, watcher = WaitingSource(damaged, running, waiting), Watcher()

    with pytest.raises(TarError):
        index(source, *map(gzip_layer, (waiting, damaged, running)), jobs=2, progress=watcher)

    read = source.chunks_read[describe(running, "").digest]
    assert 0 < read < len(running) // CHUNK_BYTES
    assert watcher.finished == []


def test_threads_end_with_the_work():
    before = threading.active_count()

    with pytest.raises(GzipError):
        index(LayerSource(GOOD[:-9], *LAYERS), *map(gzip_layer, (GOOD[:-9], *LAYERS)), jobs=4)

    assert threading.active_count() == before


class StuckSource(LayerSource):
    """Serves the larger layers at once, and waits after the first chunk of a smaller one."""

    def _chunks(self, descriptor: Descriptor, data: bytes) -> Iterator[bytes]:
        for chunk in super()._chunks(descriptor, data):
            yield chunk
            if descriptor.size < 20_000:
                cancellable_sleep(30)


def test_a_damaged_layer_does_not_wait_for_one_that_is_stuck():
    damaged, stuck = gzip_of(noise(30_000)), gzip_of(tar_of(file("a", noise(10_000))), level=0)
    started = time.monotonic()

    with pytest.raises(TarError):
        index(StuckSource(damaged, stuck), *map(gzip_layer, (damaged, stuck)), jobs=2)

    assert time.monotonic() - started < 10
