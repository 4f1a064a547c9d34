from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import zstandard

from soci.build.layer import RecompressedLayer, Reused
from soci.errors import BlobMissing, DigestMismatch, GzipError, SizeMismatch, StorageError
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.fields import Fields
from soci.places.layout.oci_layout import OciLayout
from soci.reasons import LeftOut, Reason
from soci.service.layer.index_layer import index_one_layer
from soci.service.layer_messages import (
    OUTCOME_BYTES,
    LayerItem,
    LayerJob,
    LayerOutcome,
)
from tests.builders import (
    Image,
    describe,
    file,
    gzip_of,
    image_of,
    index_layer,
    layout_of,
    noise,
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
        compression=Compression(compression),
    )
    return LayerJob(repository="app", image=image.root.digest, layer=item)


def test_the_ztoc_is_pushed_and_the_answer_describes_it(place):
    image = place.push(LAYER)
    before = files_of(place.layout)

    outcome = index_one_layer(job(image, LAYER), configured(), place)

    expected = index_layer(LAYER)
    assert (outcome.layer, outcome.ztoc) == (digest_of(LAYER), expected.digest)
    assert outcome.size == len(expected.ztoc)
    assert outcome.seconds > 0
    assert (outcome.reused, outcome.streamed_bytes(len(LAYER))) == (None, len(LAYER))
    new = {name: data for name, data in files_of(place.layout).items() if name not in before}
    assert list(new.values()) == [bytes(expected.ztoc)]


def test_a_plain_layer_is_read_as_such(place):
    image = place.push(TAR)

    outcome = index_one_layer(job(image, TAR, "none"), configured(), place)

    assert outcome.ztoc == index_layer(TAR).digest


def test_a_layer_that_cannot_be_loaded_lazily_is_left_out_with_its_reason(place):
    layer = gzip_of(tar_of(special("g", b"g"), file("a")))
    image = place.push(layer)
    before = files_of(place.layout)

    outcome = index_one_layer(job(image, layer), configured(), place)

    assert outcome.left_out is not None
    assert outcome.left_out.reason is Reason.GLOBAL_PAX_HEADER
    assert outcome.streamed_bytes(len(layer)) == len(layer)
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


def test_a_zstd_layer_is_recompressed_and_the_gzip_layer_indexed(place):
    layer = zstandard.compress(TAR)
    image = place.push(layer, layer_types={0: media_types.OCI_LAYER_ZSTD})

    outcome = index_one_layer(job(image, layer, "zstd"), configured(zstd_layers="recompress"), place)

    blobs = blobs_of(place.layout)
    assert outcome.recompressed is not None
    copy = blobs[str(outcome.recompressed.digest)]
    assert outcome.recompressed.size == len(copy)
    assert gzip.decompress(copy) == TAR
    assert outcome.ztoc == index_layer(copy).digest
    assert str(outcome.ztoc) in blobs


def test_a_zstd_layer_that_cannot_be_loaded_lazily_leaves_no_upload(place):
    layer = zstandard.compress(tar_of(special("g", b"g"), file("a")))
    image = place.push(layer, layer_types={0: media_types.OCI_LAYER_ZSTD})
    before = files_of(place.layout)

    outcome = index_one_layer(job(image, layer, "zstd"), configured(zstd_layers="recompress"), place)

    assert outcome.left_out is not None
    assert files_of(place.layout) == before


def test_a_zstd_layer_with_another_tar_than_the_config_lists_is_refused(place):
    layer = zstandard.compress(TAR)
    image = image_of(LAYER, layer, layer_types={1: media_types.OCI_LAYER_ZSTD})
    manifest = json.loads(image.document)
    wrong = json.loads(image.blobs[Digest.parse(manifest["config"]["digest"])])
    wrong["rootfs"]["diff_ids"][1] = str(digest_of(b"other"))
    config = json.dumps(wrong).encode()
    manifest["config"] |= {"digest": str(digest_of(config)), "size": len(config)}
    data = json.dumps(manifest).encode()
    root = describe(data, media_types.OCI_MANIFEST)
    blobs = {**image.blobs, digest_of(config): config, root.digest: data}
    image = Image(root=root, blobs=blobs)
    layout_of(place.layout, image)
    before = files_of(place.layout)

    with pytest.raises(DigestMismatch, match=f"{digest_of(layer)} unpacks to .*the image's config says"):
        index_one_layer(job(image, layer, "zstd"), configured(zstd_layers="recompress"), place)

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

    assert outcome.left_out == LeftOut(reason=Reason.FOREIGN)
    assert outcome.streamed_bytes(len(LAYER)) == 0


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


def test_a_ztoc_that_cannot_be_pushed_is_an_error(place, tmp_path):
    image = place.push(LAYER)

    with pytest.raises(StorageError, match="no space"):
        index_one_layer(job(image, LAYER), configured(), Layouts(tmp_path, FullLayout))


class DeafLayout(OciLayout):
    """A layout that does not tell what it has."""

    def has_blob(self, descriptor: Descriptor) -> bool:
        raise StorageError(f"no answer about {descriptor.digest}")


def test_a_recompressed_layer_that_cannot_be_committed_leaves_no_upload(place, tmp_path):
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


def extreme_outcomes(layer: Digest) -> dict[str, LayerOutcome]:
    """Answers about a layer that are as long as can be."""
    left_out = LeftOut(reason=max(Reason, key=len), detail="/very/long/name" * 100)
    made = LayerOutcome(layer=layer, ztoc=layer, size=900_000_000, seconds=899.9)
    copy = RecompressedLayer(of=layer, digest=layer, size=20_000_000_000)
    return {
        "made": made,
        "reused": replace(made, reused=Reused.MOUNTED),
        "copied as gzip": replace(made, recompressed=copy),
        "copied as gzip and reused": replace(made, recompressed=copy, reused=Reused.MOUNTED),
        "left out by a name of control characters": LayerOutcome(
            layer=layer,
            left_out=replace(left_out, detail="\x01" * 1_000),
            read_bytes=20_000_000_000,
            seconds=899.9,
        ),
        "left out": LayerOutcome(layer=layer, left_out=left_out, read_bytes=20_000_000_000, seconds=899.9),
    }


EXTREMES = [*extreme_outcomes(some_digest(0))]


@pytest.mark.parametrize("kind", EXTREMES)
def test_an_answer_is_no_longer_than_a_plan_reckons_with(kind):
    document = extreme_outcomes(some_digest(0))[kind].to_document()

    assert len(json.dumps(document, separators=(",", ":"))) + 1 <= min(OUTCOME_BYTES.values())


@pytest.mark.parametrize("kind", EXTREMES)
def test_the_answers_for_635_layers_fit_well_into_one_state(kind):
    layers = [extreme_outcomes(some_digest(n))[kind].to_document() for n in range(635)]
    platforms = [{"digest": str(some_digest(n)), "layers": list(range(n, n + 127))} for n in range(5)]

    state = json.dumps({"layers": layers, "platforms": platforms}, separators=(",", ":"))

    assert len(state.encode()) < 0.82 * STATE_LIMIT_BYTES


@pytest.mark.parametrize("kind", EXTREMES)
def test_an_answer_comes_out_of_its_json_again(kind):
    outcome = extreme_outcomes(some_digest(0))[kind]

    again = LayerOutcome.from_fields(Fields(through_json(outcome.to_document()), "outcome"))

    assert again.to_document() == outcome.to_document()
    assert again.streamed_bytes(7) == outcome.streamed_bytes(7)
