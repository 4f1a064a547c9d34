from __future__ import annotations

import pytest

from soci.build.plan import plan_layer, plan_layers
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.manifest import ImageManifest
from soci.reasons import LeftOut, Reason
from tests.builders import describe
from tests.recipes import settings_of

OCI = "application/vnd.oci.image.layer"
DOCKER = "application/vnd.docker.image.rootfs"
GZIP, PLAIN = Compression.GZIP, Compression.UNCOMPRESSED
ELSEWHERE = ("https://example.invalid/layer",)


def decide(media_type: str, *, size: int = 100, minimum: int = 100, urls: tuple[str, ...] = ()):
    layer = describe(bytes(size), media_type, urls=urls)
    return plan_layer(layer, settings_of(min_layer_size_bytes=minimum))


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        (f"{OCI}.v1.tar+gzip", GZIP),
        (f"{OCI}.v1.tar", PLAIN),
        (f"{DOCKER}.diff.tar.gzip", GZIP),
        (f"{DOCKER}.diff.tar", PLAIN),
        (f"{OCI}.nondistributable.v1.tar+gzip", GZIP),
        (f"{DOCKER}.foreign.diff.tar.gzip", GZIP),
        (f"{DOCKER}.foreign.diff.tar", PLAIN),
    ],
)
def test_a_layer_is_read_as_its_media_type_says(media_type, compression):
    assert decide(media_type) is compression


@pytest.mark.parametrize(
    ("media_type", "reason"),
    [
        (f"{OCI}.v1.tar+zstd", Reason.ZSTD),
        (f"{DOCKER}.diff.tar.zstd", Reason.ZSTD),
        (f"{OCI}.v1.tar+gzip+encrypted", Reason.ENCRYPTED),
        (f"{OCI}.v1.tar+encrypted", Reason.ENCRYPTED),
        (f"{OCI}.v1.tar+zstd+encrypted", Reason.ENCRYPTED),
        (f"{OCI}.v1.tar+br", Reason.UNKNOWN_COMPRESSION),
        (f"{OCI}.v1.erofs", Reason.UNKNOWN_COMPRESSION),
        (f"{DOCKER}.diff.tar+gzip", Reason.UNKNOWN_COMPRESSION),
        (f"{OCI}.nondistributable.v1.tar", Reason.FOREIGN),
        ("application/vnd.in-toto+json", Reason.NOT_A_LAYER),
        ("application/vnd.amazon.soci.prefetch.v1+json", Reason.NOT_A_LAYER),
        ("application/octet-stream", Reason.NOT_A_LAYER),
        ("", Reason.NOT_A_LAYER),
    ],
)
def test_a_type_that_cannot_be_loaded_lazily_has_its_reason_and_fails_nothing(media_type, reason):
    decision = decide(media_type)

    assert isinstance(decision, LeftOut)
    assert decision.reason is reason


@pytest.mark.parametrize(
    ("size", "minimum", "is_indexed"),
    [(99, 100, False), (100, 100, True), (101, 100, True), (0, 0, True), (0, 1, False)],
)
def test_a_layer_of_exactly_the_minimum_is_indexed(size, minimum, is_indexed):
    decision = decide(media_types.OCI_LAYER_GZIP, size=size, minimum=minimum)

    assert decision is GZIP if is_indexed else isinstance(decision, LeftOut)


def test_a_layer_that_is_too_small_says_by_how_much():
    decision = decide(media_types.OCI_LAYER_GZIP, size=99)

    assert decision == LeftOut(reason=Reason.BELOW_MIN_SIZE, detail="99 bytes, the minimum is 100")


@pytest.mark.parametrize("media_type", [f"{OCI}.nondistributable.v1.tar+gzip", f"{DOCKER}.foreign.diff.tar"])
def test_a_foreign_layer_that_lies_elsewhere_is_left_out_with_its_address(media_type):
    assert decide(media_type, urls=ELSEWHERE) == LeftOut(reason=Reason.FOREIGN, detail=ELSEWHERE[0])


def test_an_ordinary_layer_that_lies_elsewhere_as_well_is_indexed():
    assert decide(media_types.OCI_LAYER_GZIP, urls=ELSEWHERE) is GZIP


@pytest.mark.parametrize(
    ("media_type", "size", "reason"),
    [
        ("application/octet-stream", 1, Reason.NOT_A_LAYER),
        (f"{OCI}.v1.tar+zstd+encrypted", 1, Reason.BELOW_MIN_SIZE),
        (f"{OCI}.nondistributable.v1.tar+zstd+encrypted", 100, Reason.ENCRYPTED),
        (f"{OCI}.nondistributable.v1.tar+zstd", 100, Reason.ZSTD),
        (f"{OCI}.nondistributable.v1.tar+br", 100, Reason.FOREIGN),
    ],
    ids=[
        "no layer before size",
        "size before encrypted",
        "encrypted before zstd",
        "zstd before foreign",
        "foreign",
    ],
)
def test_of_several_reasons_the_first_in_order_is_given(media_type, size, reason):
    decision = decide(media_type, size=size, urls=ELSEWHERE)

    assert isinstance(decision, LeftOut)
    assert decision.reason is reason


def test_layers_are_planned_in_order_and_a_repeated_one_is_listed_twice():
    small, large = (describe(bytes(size), media_types.OCI_LAYER_GZIP) for size in (1, 100))
    manifest = ImageManifest(config=small, layers=(large, small, large))

    planned = plan_layers(manifest, settings_of(min_layer_size_bytes=100))

    assert [one.descriptor for one in planned] == [large, small, large]
    assert [one.decision is GZIP for one in planned] == [True, False, True]


def test_an_image_without_layers_has_nothing_to_plan():
    assert plan_layers(ImageManifest(config=describe(b"", ""), layers=None), settings_of()) == ()
