from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from soci.build.recipe import convert
from soci.errors import BlobMissing, DigestMismatch, GzipError, SociError, TarError
from soci.image.documents import Platforms
from soci.index.classify import is_soci_index
from soci.index.manifest import EMPTY_CONFIG
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.platform import Platform
from soci.places.layout.oci_layout import OciLayout
from soci.reasons import LeftOut, Reason
from soci.settings import Optimization
from soci.verify import verify_image
from soci.ztoc.model import IndexedLayer
from tests.builders import (
    Image,
    MemorySource,
    describe,
    file,
    gzip_of,
    image_of,
    index_layer,
    layout_of,
    multi_platform,
    noise,
    special,
    tar_of,
    text,
    whiteout,
)
from tests.recipes import (
    CONVERTED,
    Watcher,
    blobs_of,
    convert_layout,
    create_in_layout,
    document_in,
    entries_in,
    files_of,
    index_in,
    run,
)

BASE = gzip_of(tar_of(file("base", text(300_000, "base"))))
AMD = gzip_of(tar_of(file("bin/app", text(200_000, "amd"), mtime=1_700_000_000)))
ARM = gzip_of(tar_of(file("bin/app", text(200_000, "arm"))))
SMALL = gzip_of(tar_of(file("etc/small", b"x")))
PLATFORMS = ("linux/amd64", "linux/arm64/v8")

AMD_IMAGE = image_of(BASE, AMD, platform="linux/amd64")
ARM_IMAGE = image_of(BASE, ARM, platform="linux/arm64/v8")
TWO = multi_platform(AMD_IMAGE, ARM_IMAGE)


@pytest.fixture
def two(tmp_path):
    """A layout with an image for two platforms that share a layer."""
    return layout_of(tmp_path / "layout", TWO)


def soci_indexes(layout: Path) -> list[Descriptor]:
    return [entry for entry in entries_in(layout) if is_soci_index(entry)]


def layers_in(layout: Path, index: Descriptor) -> list[dict[str, Any]]:
    return list(document_in(layout, index.digest)["layers"])


def is_sound(layout: Path, tag: str = CONVERTED) -> bool:
    report = verify_image(OciLayout(layout, tag=tag), compare_files=True)
    assert report.is_sound, report.findings
    return report.counts.ztocs > 0


class TestConvert:
    def test_a_converted_image_is_sound_in_place(self, two):
        result = convert_layout(two)

        assert is_sound(two)
        assert result.root == replace(OciLayout(two, tag=CONVERTED).fetch_root(), annotations={})
        assert len(soci_indexes(two)) == 2

    def test_a_converted_image_is_sound_in_another_place_that_need_not_exist(self, two, tmp_path):
        before = files_of(two)

        convert_layout(two, tmp_path / "new" / "place")

        assert is_sound(tmp_path / "new" / "place")
        assert files_of(two) == before

    def test_in_both_places_it_is_the_same_image(self, two, tmp_path):
        elsewhere = convert_layout(two, tmp_path / "to").root

        assert convert_layout(two).root == elsewhere

    def test_only_what_the_new_image_needs_is_copied(self, two, tmp_path):
        convert_layout(two, tmp_path / "to")

        originals = {str(one.root.digest) for one in (TWO, AMD_IMAGE, ARM_IMAGE)}
        assert not originals & blobs_of(tmp_path / "to").keys()

    def test_the_original_image_stays_as_it_is(self, two):
        before = blobs_of(two)

        convert_layout(two)

        assert before.items() <= blobs_of(two).items()
        assert OciLayout(two, tag="latest").fetch_root().digest == TWO.root.digest

    def test_a_layer_that_two_platforms_share_has_one_ztoc(self, two):
        watcher = Watcher()

        convert_layout(two, progress=watcher)

        shared = [{layer["digest"] for layer in layers_in(two, index)} for index in soci_indexes(two)]
        assert len(shared[0] & shared[1]) == 1
        assert Counter(watcher.started).most_common(1)[0][1] == 1

    def test_a_repeated_layer_is_listed_twice(self, tmp_path):
        layout = layout_of(tmp_path, image_of(BASE, AMD, BASE))

        convert_layout(layout, prefetch_patterns=("/base",))

        first, second, third, *prefetch = layers_in(layout, soci_indexes(layout)[0])
        assert first == third != second
        assert len(prefetch) == 2
        assert prefetch[0] == prefetch[1]

    def test_ztocs_stand_in_the_order_of_the_layers_whichever_is_done_first(self, tmp_path):
        layers = [gzip_of(tar_of(file("a", text(size, str(size))))) for size in (5, 500_000, 50_000, 1_000)]
        layout = layout_of(tmp_path, image_of(*layers))

        convert_layout(layout, jobs=4)

        listed = [layer["annotations"] for layer in layers_in(layout, soci_indexes(layout)[0])]
        key = "com.amazon.soci.image-layer-digest"
        assert [annotations[key] for annotations in listed] == [str(digest_of(layer)) for layer in layers]

    def test_the_number_of_jobs_does_not_matter(self, two, tmp_path):
        roots = {convert_layout(two, tmp_path / str(jobs), jobs=jobs).root for jobs in (1, 2, 8)}

        assert len(roots) == 1

    def test_the_result_lists_each_layer_with_its_outcome(self, tmp_path):
        odd = gzip_of(tar_of(special("g", b"g")))
        layout = layout_of(tmp_path, image_of(BASE, odd, SMALL))

        [layers] = convert_layout(layout, min_layer_size_bytes=len(SMALL) + 1).layers

        assert [layer.descriptor.digest for layer in layers] == list(map(digest_of, (BASE, odd, SMALL)))
        base, left_out, small = (layer.outcome for layer in layers)
        assert isinstance(base, IndexedLayer)
        assert isinstance(left_out, LeftOut)
        assert left_out.reason in (Reason.GLOBAL_PAX_HEADER, Reason.BELOW_MIN_SIZE)
        assert isinstance(small, LeftOut)

    def test_a_platform_with_nothing_to_index_is_passed_over(self, tmp_path):
        layout = layout_of(tmp_path, multi_platform(AMD_IMAGE, image_of(SMALL, platform="linux/arm64")))

        result = convert_layout(layout, min_layer_size_bytes=len(SMALL) + 1)

        assert [one.index is None for one in result.platforms] == [False, True]
        assert [str(index.platform) for index in soci_indexes(layout)] == ["linux/amd64"]
        assert is_sound(layout)

    @pytest.mark.parametrize("recipe", [convert_layout, create_in_layout])
    def test_where_there_is_nothing_to_index_nothing_is_written(self, two, tmp_path, recipe):
        before = files_of(two)

        results = [recipe(two, to, min_layer_size_bytes=1 << 30) for to in (None, tmp_path / "to")]

        assert [result.root for result in results] == [None, None]
        assert files_of(two) == before
        assert not (tmp_path / "to").exists()


class TestConvertingAgain:
    def test_changes_nothing(self, two):
        first = convert_layout(two)
        before = files_of(two)

        again = convert_layout(two, of=CONVERTED)

        assert again.root == first.root
        assert files_of(two) == before

    def test_changes_nothing_for_a_docker_image(self, tmp_path):
        docker = ImageManifest.parse(AMD_IMAGE.document)
        docker = replace(
            docker,
            media_type=media_types.DOCKER_MANIFEST,
            config=replace(docker.config, media_type=media_types.DOCKER_CONFIG),
        )
        root = describe(docker.encode(), media_types.DOCKER_MANIFEST)
        image = Image(root=root, blobs={**AMD_IMAGE.blobs, root.digest: docker.encode()})
        layout = layout_of(tmp_path, image)

        first = convert_layout(layout)

        assert convert_layout(layout, of=CONVERTED).root == first.root

    def test_platform_by_platform_gives_what_all_at_once_gives(self, two, tmp_path):
        at_once = convert_layout(two, tmp_path / "at once", platforms=PLATFORMS).root

        convert_layout(two, platforms=PLATFORMS[:1])
        one_by_one = convert_layout(two, of=CONVERTED, platforms=PLATFORMS[1:]).root

        assert one_by_one == at_once
        assert is_sound(two)

    def test_for_another_platform_keeps_the_index_and_the_manifest_of_the_first(self, two):
        convert_layout(two, platforms=PLATFORMS[:1])
        amd, _, amd_index = entries_in(two)

        convert_layout(two, of=CONVERTED, platforms=PLATFORMS[1:])

        entries = entries_in(two)
        assert [entries[0], entries[2]] == [amd, amd_index]
        assert [str(entry.platform) for entry in entries[2:]] == list(PLATFORMS)

    def test_with_other_options_replaces_the_entry(self, two):
        convert_layout(two)
        before = entries_in(two)

        convert_layout(two, of=CONVERTED, span_size_bytes=131_072, platforms=PLATFORMS[:1])

        after = entries_in(two)
        assert [one.platform for one in after] == [one.platform for one in before]
        assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, False, True]
        assert is_sound(two)

    def test_a_platform_without_a_layer_to_index_keeps_its_earlier_index(self, tmp_path):
        layout = layout_of(tmp_path, multi_platform(AMD_IMAGE, image_of(SMALL, platform="linux/arm64")))
        convert_layout(layout)
        before = entries_in(layout)

        convert_layout(layout, of=CONVERTED, min_layer_size_bytes=len(SMALL) + 1)

        assert entries_in(layout) == before
        assert is_sound(layout)


def with_others(tmp_path: Path) -> tuple[Path, list[Descriptor]]:
    """An image beside things that are none: a signature, a chart, a nested index, and an image left elsewhere."""
    blobs = dict(TWO.blobs)

    def put(data: bytes, media_type: str, **fields) -> Descriptor:
        descriptor = describe(data, media_type, **fields)
        blobs[descriptor.digest] = data
        return descriptor

    config = put(b"{}", media_types.OCI_EMPTY)
    payload = put(b"payload", "application/vnd.dev.cosign.simplesigning.v1+json")
    chart_config = put(b'{"name":"chart"}', "application/vnd.cncf.helm.config.v1+json")
    signature = ImageManifest(config=config, layers=(payload,), artifact_type=payload.media_type).encode()
    chart = ImageManifest(config=chart_config, layers=(payload,)).encode()
    nested = ImageIndex(manifests=(ARM_IMAGE.root,)).encode()
    others = [
        put(signature, media_types.OCI_MANIFEST, artifact_type=payload.media_type),
        put(chart, media_types.OCI_MANIFEST, annotations={"org.opencontainers.image.title": "chart"}),
        put(nested, media_types.OCI_INDEX),
        describe(b"elsewhere", media_types.OCI_MANIFEST, platform=Platform(os="linux", architecture="s390x")),
    ]
    index = ImageIndex(manifests=(AMD_IMAGE.root, *others)).encode()
    root = put(index, media_types.OCI_INDEX)
    return layout_of(tmp_path / "with others", Image(root=root, blobs=blobs)), others


@pytest.mark.parametrize("is_in_place", [True, False], ids=["in place", "elsewhere"])
def test_artifacts_keep_their_entries_and_their_bytes(tmp_path, is_in_place):
    source, others = with_others(tmp_path)
    layout = source if is_in_place else tmp_path / "to"

    convert_layout(source, None if is_in_place else layout)

    assert list(entries_in(layout)[1:5]) == others
    written, originals = blobs_of(layout), blobs_of(source)
    for other in others[:3]:
        assert written[str(other.digest)] == originals[str(other.digest)]
    assert str(ARM_IMAGE.root.digest) in written


def test_an_image_left_elsewhere_is_no_platform_to_ask_for(tmp_path):
    source, _ = with_others(tmp_path)

    with pytest.raises(SociError, match=r"no platform linux/s390x; it has linux/amd64$"):
        convert_layout(source, platforms=["linux/s390x"])


class TestCreate:
    def test_each_platform_gets_an_index_that_names_its_image_manifest(self, two):
        result = create_in_layout(two)

        source = OciLayout(two, tag="latest")
        for image, one in zip((AMD_IMAGE, ARM_IMAGE), result.platforms, strict=True):
            [index] = source.fetch_referrers(image.root.digest, media_types.SOCI_INDEX_V1)
            assert one.index is not None
            assert index == one.index.descriptor
            assert document_in(two, index.digest)["subject"]["digest"] == str(image.root.digest)
        assert is_sound(two, "latest")

    def test_the_result_is_the_first_index(self, two):
        result = create_in_layout(two, platforms=PLATFORMS[::-1])

        assert result.platforms[0].index is not None
        assert result.root == result.platforms[0].index.descriptor
        assert str(result.platforms[0].image.platform) == PLATFORMS[1]

    def test_the_image_keeps_its_bytes_and_its_entry(self, two):
        before = document_in_index_json(two)

        create_in_layout(two)

        assert document_in_index_json(two)[:1] == before

    def test_elsewhere_the_whole_image_goes_along(self, two, tmp_path):
        to = tmp_path / "to"

        create_in_layout(two, to, platforms=PLATFORMS[:1], tag="v1")

        assert is_sound(to, "v1")
        assert {str(digest) for digest in TWO.blobs} <= blobs_of(to).keys()
        assert OciLayout(to, tag="v1").fetch_root().digest == TWO.root.digest

    def test_in_place_the_image_can_be_given_one_more_tag(self, two):
        create_in_layout(two, tag="indexed")

        roots = [OciLayout(two, tag=tag).fetch_root().digest for tag in ("latest", "indexed")]
        assert roots == [TWO.root.digest] * 2

    def test_indexing_again_changes_nothing(self, two):
        create_in_layout(two)
        before = files_of(two)

        create_in_layout(two)

        assert files_of(two) == before


def document_in_index_json(layout: Path) -> list[Descriptor]:
    return list(ImageIndex.parse((layout / "index.json").read_bytes()).manifests or ())


def damaged(layer: bytes) -> bytes:
    return layer[:-8] + b"1234" + layer[-4:]


DAMAGED_IMAGES = {
    "gzip checksum": (
        multi_platform(AMD_IMAGE, image_of(BASE, damaged(ARM), platform="linux/arm64")),
        GzipError,
    ),
    "gzip cut short": (image_of(BASE, AMD[:-20]), GzipError),
    "no tar": (image_of(BASE, gzip_of(noise(5_000))), TarError),
    "other bytes": (TWO.damaged(digest_of(ARM), ARM[:-1] + b"x"), DigestMismatch),
    "bytes missing": (TWO.damaged(digest_of(ARM), ARM[:-1]), SociError),
    "layer missing": (TWO.damaged(digest_of(ARM), None), BlobMissing),
}


@pytest.mark.parametrize("recipe", [convert_layout, create_in_layout])
@pytest.mark.parametrize("damage", DAMAGED_IMAGES)
def test_of_an_image_with_a_damaged_layer_nothing_is_written(tmp_path, damage, recipe):
    image, error = DAMAGED_IMAGES[damage]
    layout = layout_of(tmp_path / "layout", image)
    before = files_of(tmp_path)

    for to in (None, tmp_path / "to" / "new"):
        with pytest.raises(error):
            recipe(layout, to)

    assert files_of(tmp_path) == before


class Interrupter(Watcher):
    """Interrupts, like a person, once some bytes of a layer are read."""

    def advance(self, layer: Descriptor, size_bytes: int) -> None:
        super().advance(layer, size_bytes)
        raise KeyboardInterrupt


class FullStore(OciLayout):
    """A layout that takes blobs, and fails at the first manifest."""

    def push_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        def chunks() -> Iterator[bytes]:
            yield data[:10]
            raise KeyboardInterrupt

        self.push_blob(descriptor, chunks())


def test_a_run_that_is_interrupted_while_it_reads_leaves_nothing(two, tmp_path):
    before = files_of(tmp_path)

    for to in (None, tmp_path / "to"):
        with pytest.raises(KeyboardInterrupt):
            convert_layout(two, to, progress=Interrupter())

    assert files_of(tmp_path) == before


def test_a_run_that_is_interrupted_while_it_writes_leaves_whole_blobs_and_no_image(two):
    before = files_of(two)
    store = FullStore(two, tag="latest")

    with pytest.raises(KeyboardInterrupt):
        run(convert, store, store)

    after = files_of(two)
    assert before.items() <= after.items()
    new = {Path(name).name: data for name, data in after.items() if name not in before}
    assert all(data is not None and digest_of(data).hex == name for name, data in new.items())
    assert convert_layout(two).root is not None
    assert is_sound(two)


class CountingLayout(OciLayout):
    """A layout that counts the bytes that are read of each blob, and how often one is opened."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, tag="latest")
        self.opened: Counter[Digest] = Counter()
        self.streamed: Counter[Digest] = Counter()
        self.ranged: Counter[Digest] = Counter()

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        self.opened[descriptor.digest] += 1
        with super().open_blob(descriptor) as chunks:
            yield self._counted(descriptor, chunks)

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> bytes:
        data = super().fetch_range(descriptor, start, end)
        self.ranged[descriptor.digest] += len(data)
        return data

    def _counted(self, descriptor: Descriptor, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.streamed[descriptor.digest] += len(chunk)
            yield chunk


class TestOnePass:
    """Each byte of a layer is read once, and no file is made of it."""

    LAYERS = (
        BASE,
        AMD,
        gzip_of(tar_of(file("big", noise(3_000_000)))),
        tar_of(file("plain", b"x" * 100_000)),
    )

    def test_each_byte_of_a_layer_is_read_once(self, tmp_path):
        store = CountingLayout(layout_of(tmp_path, image_of(*self.LAYERS, BASE)))

        run(convert, store, store)

        sizes = {digest_of(layer): len(layer) for layer in self.LAYERS}
        assert store.streamed == sizes
        assert store.opened == dict.fromkeys(sizes, 1)
        assert store.ranged == {}


class TestPrefetch:
    def prefetched(self, layout: Path) -> dict[str, object]:
        [index] = soci_indexes(layout)
        artifacts = [one for one in layers_in(layout, index) if one["mediaType"] == media_types.PREFETCH]
        return {
            one["annotations"]["com.amazon.soci.image-layer-digest"]: document_in(layout, one["digest"])
            for one in artifacts
        }

    def test_an_artifact_goes_with_the_layer_that_has_the_file(self, tmp_path):
        layout = layout_of(tmp_path, AMD_IMAGE)

        result = convert_layout(layout, prefetch_patterns=("/bin/*", "/nothing"))

        assert self.prefetched(layout).keys() == {str(digest_of(AMD))}
        assert result.platforms[0].unmatched_prefetch == ("/nothing",)
        assert is_sound(layout)

    def test_an_upper_layer_that_is_not_indexed_hides_files_as_well(self, tmp_path):
        upper = gzip_of(tar_of(whiteout("bin/app")))
        layout = layout_of(tmp_path, image_of(BASE, AMD, upper))

        result = convert_layout(layout, prefetch_patterns=("/bin/app",), min_layer_size_bytes=len(upper) + 1)

        assert self.prefetched(layout) == {}
        assert result.platforms[0].unmatched_prefetch == ("/bin/app",)

    def test_a_zstd_layer_above_hides_files_as_well(self, tmp_path):
        upper = zstandard.compress(tar_of(whiteout("bin/app")))
        types = {1: media_types.OCI_LAYER_ZSTD}

        result = convert_layout(
            layout_of(tmp_path, image_of(AMD, upper, layer_types=types)), prefetch_patterns=("/bin/app",)
        )

        assert result.platforms[0].unmatched_prefetch == ("/bin/app",)

    @pytest.mark.parametrize(
        ("layer", "media_type"),
        [
            (noise(2_000), f"{media_types.OCI_LAYER_GZIP}+encrypted"),
            (b'{"_type":"statement"}', "application/vnd.in-toto+json"),
            (noise(2_000), f"{media_types.OCI_LAYER}+br"),
        ],
        ids=["encrypted", "no layer", "unknown compression"],
    )
    def test_a_layer_that_cannot_be_read_is_taken_to_hide_nothing(self, tmp_path, layer, media_type):
        layout = layout_of(tmp_path, image_of(AMD, layer, layer_types={1: media_type}))

        convert_layout(layout, prefetch_patterns=("/bin/app",))

        assert self.prefetched(layout).keys() == {str(digest_of(AMD))}

    def test_a_foreign_layer_that_is_missing_hides_nothing(self, tmp_path):
        image = image_of(AMD, SMALL, layer_types={1: media_types.DOCKER_FOREIGN_LAYER_GZIP})
        layout = layout_of(tmp_path, image.damaged(digest_of(SMALL), None))

        convert_layout(layout, prefetch_patterns=("/bin/app",))

        assert self.prefetched(layout).keys() == {str(digest_of(AMD))}

    def test_without_an_index_nothing_is_prefetched(self, tmp_path):
        layout = layout_of(tmp_path, multi_platform(AMD_IMAGE, image_of(SMALL, platform="linux/arm64")))

        result = convert_layout(layout, prefetch_patterns=("/bin/app",), min_layer_size_bytes=len(SMALL) + 1)

        assert [one.unmatched_prefetch for one in result.platforms] == [(), ("/bin/app",)]


def test_the_xattr_optimization_marks_layers_without_extended_attributes(tmp_path):
    with_xattr = gzip_of(tar_of(file("x", pax={"SCHILY.xattr.user.k": "v"})))
    layout = layout_of(tmp_path, image_of(BASE, with_xattr))

    convert_layout(layout, optimizations=frozenset({Optimization.XATTR}))

    listed = [layer["annotations"] for layer in layers_in(layout, soci_indexes(layout)[0])]
    assert ["com.amazon.soci.disable-xattrs" in annotations for annotations in listed] == [True, False]


def test_the_ztoc_of_a_layer_is_the_one_that_the_layer_alone_gives(tmp_path):
    layout = layout_of(tmp_path, AMD_IMAGE)

    convert_layout(layout)

    ztocs = [bytes(index_layer(layer).ztoc) for layer in (BASE, AMD)]
    written = blobs_of(layout)
    assert [written[str(digest_of(ztoc))] for ztoc in ztocs] == ztocs
    assert written[str(EMPTY_CONFIG.descriptor.digest)] == b"{}"


def test_a_source_that_cannot_be_written_is_converted_into_a_layout(tmp_path):
    to = OciLayout(tmp_path / "to", tag=CONVERTED)

    run(convert, MemorySource(TWO), to, platforms=Platforms.ALL)

    assert is_sound(tmp_path / "to")
    assert len(index_in(tmp_path / "to").manifests or ()) == 4
