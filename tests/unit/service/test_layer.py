from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard

from soci.errors import BlobMissing, DigestMismatch, GzipError, SizeMismatch, StorageError
from soci.layout.oci_layout import OciLayout
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.reasons import LeftOut, Reason
from soci.service.layer import index_one_layer
from soci.service.messages import GzipCopyMade, LayerCompression, LayerItem, LayerJob, LayerOutcome
from tests.builders import (
    Image,
    file,
    gzip_of,
    image_of,
    index_layer,
    layout_of,
    noise,
    opaque,
    special,
    tar_of,
    text,
)
from tests.recipes import blobs_of, files_of
from tests.service_steps import Layouts, configured, through_json

TAR = tar_of(file("usr/share/words", text(300_000)))
LAYER = gzip_of(TAR)
STATE_LIMIT_BYTES = 256 * 1024


@pytest.fixture
def place(tmp_path):
    """A registry on disk, to which an image of some layers can be pushed."""

    class Place(Layouts):
        layout = tmp_path / "app"

        def push(self, *layers: bytes, missing: bytes | None = None, **options) -> Image:
            image = image_of(*layers, **options)
            layout_of(self.layout, image if missing is None else image.damaged(digest_of(missing), None))
            return image

    return Place(tmp_path)


def job(image: Image, layer: bytes, compression: str = "gzip", *, size: int | None = None) -> LayerJob:
    item = LayerItem(
        digest=digest_of(layer),
        size=len(layer) if size is None else size,
        compression=LayerCompression(compression),
    )
    return LayerJob(repository="app", image=image.root.digest, layer=item)


def test_the_ztoc_is_pushed_and_the_answer_describes_it(place):
    image = place.push(LAYER)
    before = files_of(place.layout)

    outcome = index_one_layer(job(image, LAYER), configured(), place)

    expected = index_layer(LAYER)
    assert (outcome.layer, outcome.ztoc) == (digest_of(LAYER), expected.digest)
    assert (outcome.size, outcome.needs_xattrs) == (len(expected.ztoc), False)
    assert outcome.seconds > 0
    new = {name: data for name, data in files_of(place.layout).items() if name not in before}
    assert list(new.values()) == [bytes(expected.ztoc)]


def test_a_plain_layer_is_read_as_such(place):
    image = place.push(TAR)

    outcome = index_one_layer(job(image, TAR, "none"), configured(), place)

    assert outcome.ztoc == index_layer(TAR).digest


def test_whether_readers_need_extended_attributes_is_part_of_the_answer(place):
    layer = gzip_of(tar_of(opaque("etc"), file("etc/a")))
    image = place.push(layer)

    assert index_one_layer(job(image, layer), configured(), place).needs_xattrs


def test_a_layer_that_cannot_be_loaded_lazily_is_left_out_with_its_reason(place):
    layer = gzip_of(tar_of(special("g", b"g"), file("a")))
    image = place.push(layer)
    before = files_of(place.layout)

    outcome = index_one_layer(job(image, layer), configured(), place)

    assert outcome.left_out is not None
    assert outcome.left_out.reason is Reason.GLOBAL_PAX_HEADER
    assert files_of(place.layout) == before


@pytest.mark.parametrize("policy", ["index", "leave-out"])
def test_layers_of_several_members_are_indexed_or_not_as_the_settings_say(place, policy):
    layer = gzip_of(TAR, members=3)
    image = place.push(layer)

    outcome = index_one_layer(job(image, layer), configured(multi_member_gzip=policy), place)

    if policy == "index":
        assert outcome.ztoc is not None
    else:
        assert outcome.left_out == LeftOut(reason=Reason.MULTI_MEMBER_GZIP, detail="3 members")


def test_of_a_zstd_layer_the_gzip_copy_is_there_and_indexed(place):
    layer = zstandard.compress(TAR)
    image = place.push(layer, layer_types={0: media_types.OCI_LAYER_ZSTD})

    outcome = index_one_layer(job(image, layer, "zstd"), configured(zstd_layers="recompress"), place)

    blobs = blobs_of(place.layout)
    assert outcome.copy is not None
    copy = blobs[str(outcome.copy.digest)]
    assert (outcome.copy.size, outcome.copy.diff_id) == (len(copy), digest_of(TAR))
    assert outcome.ztoc == index_layer(copy).digest
    assert str(outcome.ztoc) in blobs


def test_a_zstd_layer_whose_copy_cannot_be_loaded_leaves_nothing_behind(place):
    layer = zstandard.compress(tar_of(special("g", b"g"), file("a")))
    image = place.push(layer, layer_types={0: media_types.OCI_LAYER_ZSTD})
    before = files_of(place.layout)

    outcome = index_one_layer(job(image, layer, "zstd"), configured(zstd_layers="recompress"), place)

    assert outcome.left_out is not None
    assert files_of(place.layout) == before


DAMAGED = {
    "gzip": (LAYER[:-8] + b"1234" + LAYER[-4:], None, GzipError),
    "longer": (LAYER, len(LAYER) - 1, SizeMismatch),
    "shorter": (LAYER, len(LAYER) + 1, SizeMismatch),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_layer_is_an_error_that_names_it_and_nothing_is_pushed(place, damage):
    layer, size, error = DAMAGED[damage]
    image = place.push(layer)
    before = files_of(place.layout)

    with pytest.raises(error, match=str(digest_of(layer))):
        index_one_layer(job(image, layer, size=size), configured(), place)

    assert files_of(place.layout) == before


def test_other_bytes_than_those_of_the_digest_are_an_error(place):
    image = place.push(LAYER)
    (place.layout / "blobs/sha256" / digest_of(LAYER).hex).write_bytes(
        gzip_of(TAR, level=1)[: len(LAYER)].ljust(len(LAYER), b"\0")
    )

    with pytest.raises(DigestMismatch):
        index_one_layer(job(image, LAYER), configured(), place)


def test_a_layer_that_is_not_there_is_an_error(place):
    image = place.push(LAYER, missing=LAYER)

    with pytest.raises(BlobMissing, match=digest_of(LAYER).hex):
        index_one_layer(job(image, LAYER), configured(), place)


def test_a_foreign_layer_that_is_not_there_is_left_out(place):
    image = place.push(LAYER, missing=LAYER, layer_types={0: media_types.DOCKER_FOREIGN_LAYER_GZIP})

    outcome = index_one_layer(job(image, LAYER), configured(), place)

    assert outcome == LayerOutcome(layer=digest_of(LAYER), left_out=LeftOut(reason=Reason.FOREIGN))


def test_doing_it_again_or_twice_at_a_time_gives_the_same(place):
    image = place.push(LAYER)

    def once(_: int) -> LayerOutcome:
        return index_one_layer(job(image, LAYER), configured(), place)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(once, range(8)))

    assert len({(outcome.ztoc, outcome.size) for outcome in outcomes}) == 1
    blobs = blobs_of(place.layout)
    assert digest_of(blobs[str(outcomes[0].ztoc)]) == outcomes[0].ztoc
    assert len(blobs) == len(image.blobs) + 1


class FullLayout(OciLayout):
    """A layout that takes no blob whose digest is known."""

    def push_blob(self, descriptor: Descriptor, chunks) -> None:  # noqa: ARG002 - a port's method
        raise StorageError(f"no space for {descriptor.digest}")


def test_when_the_ztoc_cannot_be_pushed_that_is_an_error(place, tmp_path):
    image = place.push(LAYER)

    with pytest.raises(StorageError, match="no space"):
        index_one_layer(job(image, LAYER), configured(), Layouts(tmp_path, FullLayout))


class DeafLayout(OciLayout):
    """A layout that does not tell what it has."""

    def has_blob(self, descriptor: Descriptor) -> bool:
        raise StorageError(f"no answer about {descriptor.digest}")


def test_when_a_gzip_copy_cannot_be_committed_nothing_is_left_of_it(place, tmp_path):
    layer = zstandard.compress(TAR)
    image = place.push(layer, layer_types={0: media_types.OCI_LAYER_ZSTD})
    before = files_of(place.layout)

    with pytest.raises(StorageError, match="no answer"):
        index_one_layer(
            job(image, layer, "zstd"), configured(zstd_layers="recompress"), Layouts(tmp_path, DeafLayout)
        )

    assert files_of(place.layout) == before


def some_digest(number: int) -> Digest:
    return digest_of(noise(8, str(number)))


def state_bytes(outcomes: list[LayerOutcome]) -> int:
    """How large the state is after the map: outcomes, and for each of five platforms its places."""
    layers = [through_json(outcome.to_document()) for outcome in outcomes]
    platforms = [{"digest": str(some_digest(n)), "layers": list(range(n, n + 127))} for n in range(5)]
    return len(json.dumps({"layers": layers, "platforms": platforms}).encode())


def test_the_answers_for_635_layers_fit_well_into_one_state():
    indexed = [
        LayerOutcome(
            layer=some_digest(n), ztoc=some_digest(-n), size=90_000_000, needs_xattrs=True, seconds=899.9
        )
        for n in range(635)
    ]
    left_out = [
        LayerOutcome(
            layer=some_digest(n),
            left_out=LeftOut(reason=Reason.HARD_LINK_TO_NOTHING, detail="/very/long/name" * 100),
        )
        for n in range(635)
    ]

    assert state_bytes(indexed) < 0.65 * STATE_LIMIT_BYTES
    assert state_bytes(left_out) < 0.8 * STATE_LIMIT_BYTES


def test_the_answers_for_gzip_copies_of_four_platforms_fit_into_one_state():
    copied = [
        LayerOutcome(
            layer=some_digest(n),
            ztoc=some_digest(-n),
            size=90_000_000,
            seconds=899.9,
            copy=GzipCopyMade(digest=some_digest(n + 1), size=20_000_000_000, diff_id=some_digest(n + 2)),
        )
        for n in range(4 * 127)
    ]

    assert state_bytes(copied) < 0.85 * STATE_LIMIT_BYTES
