from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import zstandard

from local.registry import Answer, Behaviour, Registry, request_to
from soci.build.layer import Reused
from soci.build.recipe import convert
from soci.build.tagging import TagLeftAlone
from soci.errors import (
    BlobMissing,
    DigestMismatch,
    InvalidDocument,
    InvalidZtoc,
    NotInImage,
    RegistryUnavailable,
)
from soci.image.copy import copy_trees
from soci.image.documents import fetch_image
from soci.image.indexed import open_image
from soci.index.classify import is_soci_index
from soci.oci import media_types
from soci.oci.digest import Digest, digest_of
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.platform import Platform
from soci.places.layout.oci_layout import OciLayout
from soci.places.ports import ImageOpener, ImageStore
from soci.places.registry.connect import connect
from soci.places.registry.credentials import NoLogins
from soci.places.registry.retry import RetryPolicy
from soci.reasons import Reason
from soci.service.layer_messages import LayerOutcome
from soci.service.messages import (
    Action,
    Decision,
    ImageRequest,
    Published,
    PublishJob,
    ReadBack,
)
from soci.service.outcomes import ImageReason, Outcome
from soci.service.publish.publish_image import publish_image
from soci.service.settings.configuration import Configuration
from soci.settings import Optimization, ZstdLayers
from soci.verify import verify_image
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
)
from tests.fake_time import FakeTime
from tests.golden_images import GOLDEN_IMAGES
from tests.recipes import run
from tests.service_steps import Layouts, configured, index_all, plan_image, run_service

BASE = gzip_of(tar_of(file("base", text(300_000, "base"))))
AMD = gzip_of(tar_of(file("bin/app", text(200_000, "amd"))))
ARM = gzip_of(tar_of(file("bin/app", text(200_000, "arm"))))
ODD = gzip_of(tar_of(special("g", b"g"), file("a", noise(1_000))))
MARKED = gzip_of(tar_of(file("x", noise(90_000), pax={"SCHILY.xattr.user.k": "v"})))
TWO = multi_platform(
    image_of(BASE, AMD, platform="linux/amd64"), image_of(BASE, ARM, platform="linux/arm64/v8")
)
OTHER = image_of(AMD)


class Place:
    """A registry of either kind, with words for what tests do there."""

    def __init__(self, opener: ImageOpener) -> None:
        self._opener = opener

    def __call__(self, repository: str, reference: str) -> ImageStore:
        return self._opener(repository, reference)

    def push(self, image: Image, tag: str = "latest") -> Digest:
        store = self("app", tag)
        root = replace(image.root, platform=None)
        copy_trees(MemorySource(image), store, (root,))
        store.push_root(root, tag)
        return root.digest

    def names(self, tag: str) -> Digest | None:
        try:
            return self("app", tag).fetch_root().digest
        except NotInImage:
            return None

    def is_sound(self, reference: str) -> bool:
        report = verify_image(self("app", reference), compare_files=True)
        assert report.is_sound, report.findings
        return report.counts.ztocs > 0

    def publish(self, configuration: Configuration, **options: Any) -> Published:
        return run_service(self, configuration, **options)

    def indexed(self, configuration: Configuration, tag: str | None = "latest", **request: Any) -> PublishJob:
        decision = plan_image(self, configuration, ImageRequest(repository="app", tag=tag, **request))
        return index_all(self, configuration, decision)


@pytest.fixture(params=["layout", "registry"])
def place(request, tmp_path) -> Iterator[Place]:
    if request.param == "layout":
        yield Place(Layouts(tmp_path))
        return
    with Registry(Behaviour(rates={})) as registry:
        yield Place(connect(registry.host, logins=NoLogins()).open_image)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry(Behaviour(rates={}, immutable_tags=True, mutable_tag_patterns=("latest",))) as running:
        yield running


def test_a_published_image_is_sound_and_found_under_its_tag(place):
    root = place.push(TWO)

    published = place.publish(configured())

    assert published.outcome is Outcome.INDEXED
    assert published.v2 is not None
    assert published.v2.tag == "latest-soci"
    assert place.names("latest-soci") == published.v2.digest
    assert place.names("latest") == root
    assert place.is_sound("latest-soci")


def test_the_answer_counts_platforms_layers_and_what_was_read_back(place):
    place.push(multi_platform(image_of(BASE, AMD, ODD), image_of(BASE, platform="linux/arm64/v8")))

    published = place.publish(configured(), platforms=["linux/amd64"])

    amd, arm = published.platforms
    assert (amd.platform, amd.layers_indexed, amd.left_out) == (
        "linux/amd64",
        2,
        {Reason.GLOBAL_PAX_HEADER: 1},
    )
    assert (arm.platform, arm.layers_indexed, arm.index) == ("linux/arm64/v8", 0, None)
    index = ImageIndex.parse(
        place("app", "latest-soci").fetch_manifest(place("app", "latest-soci").fetch_root())
    )
    assert [entry.digest for entry in index.manifests or () if is_soci_index(entry)] == [amd.index]
    ztocs = [index_layer(layer).ztoc for layer in (BASE, AMD)]
    assert published.ztoc_bytes == sum(map(len, ztocs))
    assert (published.read_back.manifests, published.read_back.ztocs, published.read_back.spans) == (4, 2, 2)


def test_in_a_registry_it_is_the_image_that_the_command_line_makes(place, tmp_path):
    zstd = zstandard.compress(tar_of(file("opt/data", noise(200_000))))
    image = multi_platform(
        image_of(BASE, zstd, MARKED, layer_types={1: media_types.OCI_LAYER_ZSTD}),
        image_of(BASE, ARM, platform="linux/arm64/v8"),
    )
    place.push(image)
    configuration = configured(
        zstd_layers="recompress", optimizations=["xattr"], prefetch_files=["/base", "/opt/*"]
    )

    published = place.publish(configuration)

    store = OciLayout(layout_of(tmp_path / "cli", image), tag="latest")
    expected = run(
        convert,
        store,
        store,
        zstd_layers=ZstdLayers.RECOMPRESS,
        optimizations=frozenset({Optimization.XATTR}),
        prefetch_patterns=("/base", "/opt/*"),
        marks_patterns=True,
    )
    assert expected.root is not None
    assert published.v2 is not None
    assert published.v2.digest == expected.root.digest
    assert place.is_sound("latest-soci")


def golden(name: str) -> tuple[OciLayout, Image]:
    """A golden image, read into memory."""
    layout = OciLayout(GOLDEN_IMAGES / name, tag="latest")
    files = (GOLDEN_IMAGES / name / "blobs/sha256").iterdir()
    blobs = {Digest(algorithm="sha256", hex=path.name): path.read_bytes() for path in files}
    return layout, Image(root=replace(layout.fetch_root(), annotations={}), blobs=blobs)


@pytest.mark.parametrize(
    "name",
    ["oci-index-with-attestation", "docker-manifest-list", "docker-plain-tar-layer", "oci-single-arm64"],
)
def test_golden_images_have_the_same_digest_in_a_registry(place, tmp_path, name):
    _, image = golden(name)
    place.push(image)

    published = place.publish(configured())

    store = OciLayout(layout_of(tmp_path / "cli", image), tag="latest")
    expected = run(convert, store, store).root
    assert expected is not None
    assert published.v2 is not None
    assert published.v2.digest == expected.digest
    assert place.names("latest-soci") == expected.digest


class TestVersions:
    def test_version_1_refers_to_the_image_and_sets_no_tag(self, place):
        root = place.push(TWO)

        published = place.publish(configured(version="v1"))

        assert published.v2 is None
        assert published.v1 is not None
        assert len(published.v1) == 2
        assert place.names("latest-soci") is None
        assert place.names("latest") == root
        assert [one.index for one in published.platforms] == list(published.v1)
        assert place.is_sound("latest")
        assert published.read_back.manifests == 4

    def test_both_make_both(self, place):
        place.push(TWO)

        published = place.publish(configured(version="both"))

        assert published.v1 is not None
        assert published.v2 is not None
        assert published.v2.tag == "latest-soci"
        assert {one.index for one in published.platforms}.isdisjoint(published.v1)
        assert place.is_sound("latest")
        assert place.is_sound("latest-soci")
        assert published.read_back.ztocs == 3

    def test_where_the_tag_moves_version_1_refers_to_the_image_that_it_names_then(self, place):
        zstd = zstandard.compress(tar_of(file("a", noise(100_000))))
        image = image_of(BASE, zstd, layer_types={1: media_types.OCI_LAYER_ZSTD})
        root = place.push(image)
        configuration = configured(version="both", zstd_layers="recompress", tagging={"policy": "replace"})

        published = place.publish(configuration)

        assert published.v2 is not None
        assert published.v1 is not None
        store = place("app", "latest")
        [converted] = fetch_image(store).images
        referrers = store.fetch_referrers(converted.descriptor.digest, media_types.SOCI_INDEX_V1)
        assert tuple(one.digest for one in referrers) == published.v1
        assert not store.fetch_referrers(root, media_types.SOCI_INDEX_V1)
        [index] = (ImageManifest.parse(store.fetch_manifest(one)) for one in referrers)
        assert len(index.layers or ()) == 2, (
            "in the image that the tag names, a gzip copy is a layer like others"
        )
        assert place.is_sound("latest")
        assert place.publish(configuration).v1 == published.v1

    def test_platforms_with_the_same_layers_share_an_index(self, place):
        place.push(multi_platform(image_of(BASE), image_of(BASE, platform="linux/arm64/v8")))

        published = place.publish(configured(version="both", tagging={"policy": "replace"}))

        amd, arm = published.platforms
        assert amd.index == arm.index
        assert published.v1 is not None
        assert len(set(published.v1)) == 2
        assert published.read_back == ReadBack(manifests=6, ztocs=1, spans=1)
        for platform in ("linux/amd64", "linux/arm64"):
            [layer] = open_image(place("app", "latest"), Platform.parse(platform)).layers
            assert layer.ztoc is not None

    def test_version_1_ignores_recompressed_layers(self, place):
        zstd = zstandard.compress(tar_of(file("a", noise(100_000))))
        place.push(image_of(BASE, zstd, layer_types={1: media_types.OCI_LAYER_ZSTD}))

        published = place.publish(configured(version="both", zstd_layers="recompress"))

        assert place.is_sound("latest")
        assert place.is_sound("latest-soci")
        [platform] = published.platforms
        assert platform.layers_indexed == 2

    def test_zstd_layers_alone_give_no_version_1_but_a_version_2(self, place):
        zstd = zstandard.compress(tar_of(file("a", noise(100_000))))
        place.push(image_of(zstd, layer_types={0: media_types.OCI_LAYER_ZSTD}))

        published = place.publish(configured(version="both", zstd_layers="recompress"))

        assert published.outcome is Outcome.INDEXED
        assert published.v1 == ()
        assert place.is_sound("latest-soci")


class TestTags:
    def test_replace_moves_the_tag_of_the_image(self, place):
        root = place.push(TWO)

        published = place.publish(configured(tagging={"policy": "replace"}))

        assert published.v2 is not None
        assert published.v2.tag == "latest"
        assert place.names("latest") == published.v2.digest != root
        assert place.names("latest-soci") is None

    def test_digest_only_sets_none(self, place):
        root = place.push(TWO)

        published = place.publish(configured(tagging={"policy": "digest-only"}))

        assert published.v2 is not None
        assert (published.v2.tag, published.v2.tag_left_alone) == (None, None)
        assert place.names("latest") == root
        assert place.names("latest-soci") is None
        assert place.is_sound(str(published.v2.digest))

    @pytest.mark.parametrize("policy", ["suffix", "replace", "digest-only"])
    def test_an_image_that_was_asked_for_by_digest_gets_none(self, place, policy):
        root = place.push(TWO)

        published = place.publish(configured(tagging={"policy": policy}), tag=None, digest=root)

        assert published.v2 is not None
        assert (published.v2.tag, published.v2.tag_left_alone) == (None, None)
        assert place.names("latest") == root
        assert place.names("latest-soci") is None
        assert place.is_sound(str(published.v2.digest))

    @pytest.mark.parametrize("policy", ["suffix", "replace"])
    def test_a_tag_that_names_another_image_by_now_is_not_followed(self, place, policy):
        place.push(TWO)
        configuration = configured(tagging={"policy": policy})
        job = place.indexed(configuration)
        newer = place.push(OTHER)

        published = publish_image(job, configuration, place)

        assert published.outcome is Outcome.INDEXED
        assert published.v2 is not None
        assert (published.v2.tag, published.v2.tag_left_alone) == (None, TagLeftAlone.SOURCE_MOVED)
        assert "out of date" in published.detail
        assert place.names("latest") == newer
        assert place.names("latest-soci") is None
        assert place.is_sound(str(published.v2.digest))

    def test_a_tag_that_may_not_move_is_left_alone(self, registry):
        place = Place(connect(registry.host, logins=NoLogins()).open_image)
        place.push(TWO)
        old = place.publish(configured())

        again = place.publish(configured())
        other = place.publish(configured(span_size_bytes=131_072))

        assert again.v2 == old.v2
        assert other.outcome is Outcome.INDEXED
        assert other.v2 is not None
        assert other.v2.tag_left_alone is TagLeftAlone.IMMUTABLE
        assert old.v2 is not None
        assert place.names("latest-soci") == old.v2.digest != other.v2.digest


class TestNothingToIndex:
    def test_the_promised_tag_is_set_on_the_image_itself(self, place):
        root = place.push(image_of(ODD))

        published = place.publish(configured())

        assert (published.outcome, published.reason) == (Outcome.TAGGED, ImageReason.NO_LAYER_TO_INDEX)
        assert place.names("latest-soci") == root
        assert published.platforms[0].left_out == {Reason.GLOBAL_PAX_HEADER: 1}

    def test_a_decision_to_tag_does_that_alone(self, place):
        root = place.push(image_of(BASE))
        request = ImageRequest(repository="app", tag="latest", digest=root)
        decision = Decision(action=Action.TAG, request=request, reason=ImageReason.IMAGE_TOO_SMALL)

        published = publish_image(PublishJob(decision=decision, outcomes=()), configured(), place)

        assert (published.outcome, published.reason) == (Outcome.TAGGED, ImageReason.IMAGE_TOO_SMALL)
        assert place.names("latest-soci") == root

    @pytest.mark.parametrize(
        "configuration",
        [
            configured(tagging={"when_nothing_to_index": False}),
            configured(tagging={"policy": "replace"}),
            configured(tagging={"policy": "digest-only"}),
            configured(version="v1"),
        ],
        ids=["not wanted", "replace", "digest only", "version 1"],
    )
    def test_without_a_promise_nothing_is_done(self, place, configuration):
        root = place.push(image_of(ODD))

        published = place.publish(configuration)

        assert published.outcome is Outcome.NOTHING_TO_INDEX
        assert place.names("latest-soci") is None
        assert place.names("latest") == root

    @pytest.mark.parametrize("tag", ["1.0-soci", "1.0-soci-debug", "-soci"[1:] + "-soci"])
    def test_a_tag_that_contains_the_suffix_gets_no_further_tag(self, place, tag):
        place.push(image_of(ODD), tag)

        published = place.publish(configured(), tag=tag)

        assert published.outcome is Outcome.NOTHING_TO_INDEX
        assert place.names(f"{tag}-soci") is None

    def test_a_tag_that_has_moved_on_is_not_followed(self, place):
        place.push(image_of(ODD))
        job = place.indexed(configured())
        place.push(OTHER)

        published = publish_image(job, configured(), place)

        assert published.outcome is Outcome.NOTHING_TO_INDEX
        assert published.v2 is not None
        assert published.v2.tag_left_alone is TagLeftAlone.SOURCE_MOVED
        assert place.names("latest-soci") is None


class TestAgain:
    @pytest.mark.parametrize("policy", ["suffix", "replace"])
    def test_a_duplicate_gives_the_same_digest_and_one_tag(self, place, policy):
        place.push(TWO)
        configuration = configured(tagging={"policy": policy})
        job = place.indexed(configuration)

        first, second = (publish_image(job, configuration, place) for _ in range(2))

        assert first == second
        assert first.v2 is not None
        assert first.v2.tag is not None
        assert place.names(first.v2.tag) == first.v2.digest

    @pytest.mark.parametrize("policy", ["suffix", "replace"])
    @pytest.mark.parametrize("version", ["v2", "both"])
    def test_two_runs_at_the_same_time_have_one_result(self, place, policy, version):
        place.push(TWO)
        configuration = configured(version=version, tagging={"policy": policy})
        decision = plan_image(place, configuration, ImageRequest(repository="app", tag="latest"))
        together = threading.Barrier(2)

        def once(_: int) -> Published:
            together.wait(10)
            return publish_image(index_all(place, configuration, decision), configuration, place)

        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(once, range(2))

        assert first.v2 == second.v2
        assert first.v1 == second.v1
        assert first.v2 is not None
        assert first.v2.tag is not None
        assert place.names(first.v2.tag) == first.v2.digest
        assert place.is_sound(first.v2.tag)

    def test_a_converted_image_is_converted_again_with_other_settings(self, place):
        place.push(TWO)
        old = place.publish(configured(tagging={"policy": "replace"}))
        other = configured(tagging={"policy": "replace"}, span_size_bytes=131_072)

        new = place.publish(other)

        assert old.v2 is not None
        assert new.v2 is not None
        assert place.names("latest") == new.v2.digest != old.v2.digest
        assert place.is_sound("latest")
        back = place.publish(configured(tagging={"policy": "replace"}))
        assert back.v2 == old.v2


class TestStaleMessages:
    """The layers of a message have to be those that the image's plan asks for."""

    def expect(self, place: Place, job: PublishJob, match: str, configuration: Configuration | None = None):
        configuration = configuration or configured()
        with pytest.raises(InvalidDocument, match=match):
            publish_image(job, configuration, place)
        assert place.names("latest-soci") is None

    def test_a_layer_too_few(self, place):
        place.push(TWO)
        job = place.indexed(configured())
        [amd, arm] = job.decision.platforms
        fewer = replace(job.decision, platforms=(replace(amd, layers=amd.layers[:1]), arm))

        self.expect(
            place, replace(job, decision=fewer), rf"linux/amd64.*without an outcome: {digest_of(AMD)}"
        )

    def test_a_layer_too_many(self, place):
        place.push(TWO)
        job = place.indexed(configured())

        self.expect(
            place, job, rf"does not ask for: {digest_of(AMD)}", configured(min_layer_size_bytes=len(AMD) + 1)
        )

    def test_a_layer_that_no_platform_has(self, place):
        place.push(TWO)
        job = place.indexed(configured())
        stranger = LayerOutcome(layer=digest_of(ODD), ztoc=digest_of(b""), size=1)

        self.expect(
            place, replace(job, outcomes=(*job.outcomes, stranger)), rf"no platform has: {digest_of(ODD)}"
        )

    def test_layers_in_another_order(self, place):
        place.push(image_of(BASE, AMD))
        job = place.indexed(configured())
        [platform] = job.decision.platforms
        swapped = replace(job.decision, platforms=(replace(platform, layers=platform.layers[::-1]),))

        self.expect(place, replace(job, decision=swapped), "in another order")

    def test_another_image(self, place):
        place.push(TWO)
        job = place.indexed(configured())
        other = place.push(OTHER)
        request = replace(job.decision.request, digest=other)

        self.expect(
            place, replace(job, decision=replace(job.decision, request=request)), "has no linux/amd64"
        )

    def test_a_recompressed_layer_that_the_plan_does_not_ask_for(self, place):
        zstd = zstandard.compress(tar_of(file("a", noise(100_000))))
        place.push(image_of(BASE, zstd, layer_types={1: media_types.OCI_LAYER_ZSTD}))
        configuration = configured(zstd_layers="recompress")
        job = place.indexed(configuration)
        outcomes = tuple(replace(outcome, recompressed=None) for outcome in job.outcomes)

        self.expect(
            place,
            replace(job, outcomes=outcomes),
            f"{digest_of(zstd)} has no recompressed layer",
            configuration,
        )

    def test_neither_a_ztoc_nor_a_reason(self, place):
        place.push(image_of(BASE))
        job = place.indexed(configured())
        outcomes = (LayerOutcome(layer=digest_of(BASE)),)

        self.expect(place, replace(job, outcomes=outcomes), "neither a zTOC nor a reason")

    def test_a_decision_to_skip(self, place):
        root = place.push(TWO)
        request = ImageRequest(repository="app", tag="latest", digest=root)

        self.expect(
            place,
            PublishJob(decision=Decision(action=Action.SKIP, request=request), outcomes=()),
            "action skip",
        )


class TestZtocs:
    """A zTOC is not believed, it is fetched and checked."""

    def expect(self, place: Place, outcome: LayerOutcome, error: type[Exception], match: str):
        place.push(image_of(BASE))
        job = place.indexed(configured())
        with pytest.raises(error, match=match):
            publish_image(replace(job, outcomes=(outcome,)), configured(), place)
        assert place.names("latest-soci") is None

    def pushed(self, place: Place, ztoc: bytes | bytearray) -> LayerOutcome:
        descriptor = describe(ztoc, media_types.ZTOC)
        place.push(image_of(BASE))
        place("app", "latest").push_blob(descriptor, (ztoc,))
        return LayerOutcome(layer=digest_of(BASE), ztoc=descriptor.digest, size=descriptor.size)

    def test_one_that_is_not_there(self, place):
        self.expect(
            place,
            LayerOutcome(layer=digest_of(BASE), ztoc=digest_of(b"gone"), size=4),
            BlobMissing,
            digest_of(b"gone").hex,
        )

    def test_one_of_other_settings(self, place):
        outcome = self.pushed(place, index_layer(BASE, span_size_bytes=131_072).ztoc)

        self.expect(
            place, outcome, InvalidZtoc, f"{outcome.ztoc} of layer .*span size in bytes: it has 131072"
        )

    def test_one_of_another_layer(self, place):
        outcome = self.pushed(place, index_layer(AMD).ztoc)

        self.expect(place, outcome, InvalidZtoc, f"{outcome.ztoc} of layer {digest_of(BASE)}: bytes of layer")

    def test_a_blob_that_is_no_ztoc(self, place):
        outcome = self.pushed(place, b"no zTOC at all")

        self.expect(place, outcome, InvalidZtoc, "zTOC")

    def test_one_of_a_layer_of_the_same_size(self, place):
        """Its rules are kept and its sizes fit: only a span that is read tells, before the tag is set."""
        ztoc = re.sub(rb"sha256:[0-9a-f]{8}", b"sha256:00000000", index_layer(BASE).ztoc)
        outcome = self.pushed(place, ztoc)
        place.push(image_of(BASE))

        job = replace(place.indexed(configured()), outcomes=(outcome,))
        with pytest.raises(DigestMismatch, match=f"{digest_of(BASE)}: span"):
            publish_image(job, configured(), place)
        assert place.names("latest-soci") is None

    def test_one_that_a_lazy_reader_refuses(self, place):
        layer = gzip_of(tar_of(file("a", b"x" * 10), file("b", b"y" * 10)))
        place.push(image_of(layer))
        ztoc = bytearray(index_layer(layer).ztoc)
        # An offset that lies within the header before it breaks the order of the table.
        at = ztoc.find((1536).to_bytes(8, "little"))
        ztoc[at : at + 8] = (512).to_bytes(8, "little")
        descriptor = describe(ztoc, media_types.ZTOC)
        place("app", "latest").push_blob(descriptor, (ztoc,))
        job = place.indexed(configured())
        wrong = LayerOutcome(layer=digest_of(layer), ztoc=descriptor.digest, size=descriptor.size)

        with pytest.raises(InvalidZtoc, match="a lazy reader refuses it"):
            publish_image(replace(job, outcomes=(wrong,)), configured(), place)


def test_streamed_and_reused_bytes_are_counted(place):
    place.push(TWO)
    job = place.indexed(configured())
    (base,) = [one for one in job.outcomes if one.layer == digest_of(BASE)]
    outcomes = tuple(replace(one, reused=Reused.HERE) if one is base else one for one in job.outcomes)

    published = publish_image(replace(job, outcomes=outcomes), configured(), place)

    assert (published.streamed_bytes, published.reused_bytes) == (len(AMD) + len(ARM), len(BASE))
    assert published.layer_bytes == len(AMD) + len(ARM) + len(BASE)


def test_patterns_that_match_no_file_are_named(place):
    place.push(image_of(BASE))

    published = place.publish(configured(prefetch_files=["/base", "/nothing"]))

    assert published.detail == "No file to prefetch matches /nothing."
    assert place.is_sound("latest-soci")


def test_an_image_that_is_gone_by_then_is_an_error(place):
    place.push(image_of(BASE))
    job = place.indexed(configured())
    request = replace(job.decision.request, digest=digest_of(b"gone"))

    with pytest.raises((NotInImage, BlobMissing), match=digest_of(b"gone").hex):
        publish_image(replace(job, decision=replace(job.decision, request=request)), configured(), place)


def test_nothing_is_visible_before_the_last_step(tmp_path):
    """Of an index that cannot be read back, there is no tag."""

    class Forgetful(OciLayout):
        """A layout that loses zTOCs once an index manifest is there."""

        def push_manifest(self, descriptor, data):
            super().push_manifest(descriptor, data)
            for path in (self.path / "blobs/sha256").iterdir():
                if path.read_bytes()[4:8] == ztoc_mark:
                    path.unlink()

    ztoc_mark = bytes(index_layer(BASE).ztoc[4:8])
    place = Place(Layouts(tmp_path, Forgetful))
    Place(Layouts(tmp_path)).push(image_of(BASE))

    with pytest.raises(BlobMissing, match=f"zTOC of layer {digest_of(BASE)}"):
        place.publish(configured())
    assert place.names("latest-soci") is None


def test_what_was_pushed_is_read_back_through_a_repository_opened_anew():
    """What a repository remembers from writing is no proof that it is there."""
    with Registry(Behaviour(rates={})) as registry:
        opener = connect(registry.host, logins=NoLogins()).open_image
        place = Place(opener)
        place.push(TWO)
        job = place.indexed(configured())

        def losing(repository: str, reference: str) -> ImageStore:
            """Open a repository that has lost its SOCI indexes."""
            manifests = registry.repository(repository).manifests
            for digest in [
                one for one, manifest in manifests.items() if b"amazon.soci.index" in manifest.data
            ]:
                del manifests[digest]
            return opener(repository, reference)

        with pytest.raises(BlobMissing):
            publish_image(job, configured(), losing)
        assert place.names("latest-soci") is None


class TestRegistryThatFails:
    @pytest.fixture
    def failing(self):
        time = FakeTime()
        with Registry(Behaviour(rates={})) as registry:
            retries = RetryPolicy(clock=time.clock())
            yield registry, Place(connect(registry.host, logins=NoLogins(), retries=retries).open_image)

    @pytest.mark.parametrize("request_", [("PUT", "/manifests/"), ("GET", "/blobs/"), ("HEAD", "/blobs/")])
    def test_for_a_while_is_waited_for(self, failing, request_):
        registry, place = failing
        place.push(TWO)
        job = place.indexed(configured())
        registry.fail(Answer(503), where=request_to(*request_), times=3)

        published = publish_image(job, configured(), place)

        assert published.outcome is Outcome.INDEXED
        assert place.is_sound("latest-soci")

    @pytest.mark.parametrize("request_", [("PUT", "/manifests/"), ("GET", "/blobs/"), ("HEAD", "/blobs/")])
    def test_for_good_is_an_error_that_may_be_tried_again_and_nothing_is_visible(self, failing, request_):
        registry, place = failing
        root = place.push(TWO)
        job = place.indexed(configured())
        registry.fail(Answer(503), where=request_to(*request_), times=None)

        with pytest.raises(RegistryUnavailable) as raised:
            publish_image(job, configured(), place)

        registry.heal()
        assert raised.value.retryable
        assert place.names("latest-soci") is None
        assert place.names("latest") == root
        assert publish_image(job, configured(), place).outcome is Outcome.INDEXED
