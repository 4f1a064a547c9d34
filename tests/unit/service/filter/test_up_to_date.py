from __future__ import annotations

import json
from dataclasses import replace

import pytest
import zstandard

from local.registry import Answer
from soci.build.plan import plan_layers
from soci.errors import RegistryUnavailable
from soci.image.documents import Platforms, choose_images, fetch_image
from soci.oci import annotations as keys
from soci.oci import media_types
from soci.oci.digest import digest_of
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.platform import Platform
from soci.reasons import LeftOut
from soci.service.filter.platforms import PlannedImage
from soci.service.filter.up_to_date import has_v1, has_v2
from soci.service.settings.configuration import Configuration
from soci.start.prefetch_source import UsedProfile
from soci.start.profile import FileRead, encode_profile, make_profile
from tests.builders import (
    Image,
    MemorySource,
    describe,
    file,
    gzip_of,
    image_of,
    multi_platform,
    soci_index_of,
    tar_of,
    text,
    with_soci_index,
    with_soci_v1_index,
)
from tests.unit.service.places import Place, by_hand, configuration, index

BASE = gzip_of(tar_of(file("base", text(200_000, "base"))))
APP = gzip_of(tar_of(file("app", text(100_000, "app"))))
TINY = gzip_of(tar_of(file("motd", b"hello")))
ZSTD = zstandard.compress(tar_of(file("data", text(90_000, "zstd"))))

AMD = image_of(BASE, APP, platform="linux/amd64")
ARM = image_of(BASE, TINY, platform="linux/arm64")
THE_BUILDERS = {"build_tool_identifier": "AWS SOCI CLI v0.2"}
"""The identifier of indexes that tests.builders makes."""


def is_there(place: Place, settings: Configuration, tag: str = "1.4", output: str = "1.4-soci") -> bool:
    """Ask for all platforms of an image, as the settings plan them."""
    source = place("app", tag)
    image = fetch_image(source)
    planned = [
        PlannedImage(image=one, layers=plan_layers(one.manifest, settings.index.settings))
        for one in choose_images(image, Platforms.ALL)
    ]
    if settings.index.makes_v1:
        return has_v1(source, planned, settings.index.settings)
    return has_v2(place("app", output), image, planned, settings.index.settings)


def indexed(place: Place, image, settings: Configuration) -> Place:
    place.put("app", image, "1.4")
    index(place, by_hand("app", "1.4"), settings)
    return place


IMAGES = {
    "single": AMD,
    "two platforms": multi_platform(AMD, ARM),
    "a layer twice": image_of(BASE, APP, BASE),
}


VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


@VERSIONS
@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_an_index_made_with_the_same_settings_is_up_to_date(place, image, version):
    settings = configuration(index={"version": version, "min_layer_size_bytes": 500})

    indexed(place, image, settings)

    assert is_there(place, settings)


@VERSIONS
@pytest.mark.parametrize(
    "change",
    [
        {"span_size_bytes": 131_072},
        {"build_tool_identifier": "another"},
        {"min_layer_size_bytes": len(APP) + 1},
        {"optimizations": ["xattr"]},
        {"prefetch_files": ["/app"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_index_made_with_other_settings_is_out_of_date(layouts, change, version):
    ours, others = (
        configuration(index={"version": version}),
        configuration(index={"version": version} | change),
    )
    indexed(layouts, AMD, others)

    assert not is_there(layouts, ours)
    indexed(layouts, AMD, ours)
    assert is_there(layouts, ours)


@VERSIONS
def test_xattr_annotations_must_be_as_the_settings_say(layouts, version):
    with_them = configuration(index={"version": version, "optimizations": ["xattr"]})
    indexed(layouts, AMD, with_them)

    assert is_there(layouts, with_them)
    assert not is_there(layouts, configuration(index={"version": version}))


@VERSIONS
def test_an_index_with_files_to_prefetch_is_up_to_date_until_the_patterns_change(layouts, version):
    settings = configuration(index={"version": version, "prefetch_files": ["/app"]})
    indexed(layouts, AMD, settings)

    assert is_there(layouts, settings)
    assert not is_there(layouts, configuration(index={"version": version, "prefetch_files": ["/bin"]}))
    assert not is_there(layouts, configuration(index={"version": version}))


@VERSIONS
def test_a_prefetch_of_unknown_origin_is_out_of_date(layouts, version):
    settings = configuration(index={"version": version, "prefetch_files": ["/app"]})
    layouts.put("app", AMD, "1.4")
    index(layouts, by_hand("app", "1.4"), settings, marks_patterns=False)

    assert not is_there(layouts, settings)
    assert not is_there(layouts, configuration(index={"version": version}))


def with_profile(place: Place, settings: Configuration, profile: UsedProfile | None) -> bool:
    """Tell whether the index is up to date for a profile."""
    source = place("app", "1.4")
    image = fetch_image(source)
    planned = [
        PlannedImage(
            image=one,
            layers=plan_layers(one.manifest, settings.index.settings),
            profile=profile.digest if profile else None,
        )
        for one in image.images
    ]
    if settings.index.makes_v1:
        return has_v1(source, planned, settings.index.settings)
    return has_v2(place("app", "1.4-soci"), image, planned, settings.index.settings)


def profile_of(*paths: bytes) -> UsedProfile:
    profile = make_profile([FileRead(path=path, first_ms=0, last_ms=1) for path in paths])
    return UsedProfile(profile=profile, digest=digest_of(encode_profile(profile)))


@VERSIONS
@pytest.mark.parametrize("whole_layers", ["never", "auto"])
def test_an_index_is_up_to_date_for_the_profile_that_it_was_made_with_and_for_no_other(
    layouts, version, whole_layers
):
    settings = configuration(index={"version": version, "whole_layers": whole_layers})
    ours, others = profile_of(b"/app"), profile_of(b"/base")
    layouts.put("app", AMD, "1.4")

    index(layouts, by_hand("app", "1.4"), settings, profile=ours)

    assert with_profile(layouts, settings, ours)
    assert not with_profile(layouts, settings, others), "a new profile"
    assert not with_profile(layouts, settings, None), "a profile that was removed"
    less = configuration(index={"version": version, "whole_layers": whole_layers, "prefetch_budget_bytes": 9})
    assert not with_profile(layouts, less, ours), "another budget"
    index(layouts, by_hand("app", "1.4"), settings)
    assert with_profile(layouts, settings, None)
    if version == "v2":  # of version 1, the older index still refers to the image
        assert not with_profile(layouts, settings, ours)


def test_a_layer_may_lack_its_ztoc_only_if_a_profile_left_it_whole(layouts):
    auto = configuration(index={"whole_layers": "auto"})
    profile = profile_of(b"/app")  # nearly all of the upper layer
    layouts.put("app", AMD, "1.4")

    made = index(layouts, by_hand("app", "1.4"), auto, profile=profile)

    outcomes = [part.outcome for part in made.platforms[0].parts]
    assert [isinstance(one, LeftOut) for one in outcomes] == [False, True]
    assert with_profile(layouts, auto, profile)
    assert not with_profile(layouts, configuration(), profile), "the settings leave no layer whole"


@VERSIONS
def test_an_index_made_with_any_profile_counts_for_those_who_only_wait(layouts, version):
    settings = configuration(index={"version": version})
    layouts.put("app", AMD, "1.4")
    index(layouts, by_hand("app", "1.4"), settings, profile=profile_of(b"/app"))
    source = layouts("app", "1.4")
    image = fetch_image(source)
    planned = [
        PlannedImage(image=one, layers=plan_layers(one.manifest, settings.index.settings))
        for one in image.images
    ]

    if version == "v1":
        assert has_v1(source, planned, settings.index.settings, any_profile=True)
    else:
        output = layouts("app", "1.4-soci")
        assert has_v2(output, image, planned, settings.index.settings, any_profile=True)


@pytest.mark.parametrize(
    ("converted", "is_found"),
    [
        (with_soci_index(AMD), True),
        (with_soci_index(AMD, skip=[1]), False),
        (with_soci_index(image_of(APP, BASE)), False),
        (with_soci_index(image_of(BASE, APP, platform="linux/arm64")), False),
        (with_soci_index(AMD, extra=ARM), False),
        (AMD, False),
    ],
    ids=[
        "the same",
        "a layer without zTOC",
        "other layers",
        "another platform",
        "one image more",
        "no index",
    ],
)
def test_only_the_conversion_of_this_image_is_up_to_date(place, converted, is_found):
    place.put("app", AMD, "1.4")
    place.put("app", converted, "1.4-soci")

    assert is_there(place, configuration(index=THE_BUILDERS)) is is_found


def test_a_zstd_layer_is_compared_by_its_recompressed_layer(place):
    settings = configuration(index={"zstd_layers": "recompress"})
    indexed(place, image_of(BASE, ZSTD), settings)

    assert is_there(place, settings)
    assert not is_there(place, configuration())


def test_an_index_without_recompressed_layers_is_out_of_date_if_they_are_wanted(layouts):
    indexed(layouts, image_of(BASE, ZSTD), configuration())

    assert is_there(layouts, configuration())
    assert not is_there(layouts, configuration(index={"zstd_layers": "recompress"}))


def test_version_1_is_up_to_date_without_zstd_layers(layouts):
    indexed(layouts, image_of(BASE, ZSTD), configuration(index={"version": "v1"}))
    source = layouts("app", "1.4")
    [one] = fetch_image(source).images
    recompressing = configuration(index={"zstd_layers": "recompress"}).index.settings
    planned = PlannedImage(image=one, layers=plan_layers(one.manifest, recompressing))

    assert has_v1(source, [planned], recompressing)


def test_platforms_that_share_a_config_are_compared_each_with_its_own_conversion(place):
    tar = tar_of(file("app", text(100_000, "app")))
    fast, small = (image_of(gzip_of(tar, level=level), platform="linux/amd64") for level in (1, 9))
    arm = replace(small, root=replace(small.root, platform=Platform.parse("linux/arm64")))
    settings = configuration()

    indexed(place, multi_platform(fast, arm), settings)

    assert is_there(place, settings)


@VERSIONS
def test_an_index_of_only_some_platforms_is_out_of_date(layouts, version):
    settings = configuration(index={"version": version})
    indexed(layouts, multi_platform(AMD, ARM), settings)
    layouts.put("app", multi_platform(AMD, ARM, image_of(APP, platform="linux/s390x")), "1.4")

    assert not is_there(layouts, settings)


def test_one_referrer_of_several_is_enough(layouts):
    theirs = with_soci_v1_index(AMD, span_size_bytes=131_072)
    layouts.put("app", theirs, "1.4")
    settings = configuration(index={"version": "v1"})
    assert not is_there(layouts, settings)

    index(layouts, by_hand("app", "1.4"), settings)

    assert is_there(layouts, settings)


def broken_index(how: str) -> Image:
    """A SOCI-enabled image whose SOCI index cannot be used."""
    soci_index, _ = soci_index_of(AMD)
    if how == "missing":
        return with_soci_index(AMD).damaged(digest_of(soci_index.encode()), None)
    if how == "not JSON":
        return with_soci_index(AMD, document=b"{]")
    layers = tuple(replace(one, annotations={}) for one in soci_index.layers or ())
    return with_soci_index(AMD, document=replace(soci_index, layers=layers).encode())


@pytest.mark.parametrize("how", ["missing", "not JSON", "no digests"])
def test_a_corrupt_index_is_out_of_date(layouts, how):
    layouts.put("app", AMD, "1.4")
    layouts.put("app", broken_index(how), "1.4-soci")

    assert not is_there(layouts, configuration(index=THE_BUILDERS))


def test_an_image_whose_annotation_is_not_a_digest_is_out_of_date(layouts):
    annotated = replace(ImageManifest.parse(AMD.document), annotations={keys.SOCI_INDEX_DIGEST: "nonsense"})
    data = annotated.encode()
    root = describe(data, media_types.OCI_MANIFEST, platform=AMD.root.platform)
    layouts.put("app", AMD, "1.4")
    layouts.put("app", multi_platform(Image(root=root, blobs={**AMD.blobs, root.digest: data})), "1.4-soci")

    assert not is_there(layouts, configuration())


def test_a_soci_index_that_the_image_does_not_list_is_out_of_date(layouts):
    converted = with_soci_index(AMD)
    annotated = (ImageIndex.parse(converted.document).manifests or ())[0]
    alone = replace(converted, root=replace(annotated, platform=AMD.root.platform))
    layouts.put("app", AMD, "1.4")
    layouts.put("app", multi_platform(alone), "1.4-soci")

    assert not is_there(layouts, configuration(index=THE_BUILDERS))


def test_an_image_with_other_layers_under_the_same_config_is_another(layouts):
    manifest = ImageManifest.parse(AMD.document)
    shortened = replace(manifest, layers=(manifest.layers or ())[:1]).encode()
    root = describe(shortened, media_types.OCI_MANIFEST, platform=AMD.root.platform)
    short = Image(root=root, blobs={**AMD.blobs, root.digest: shortened})
    layouts.put("app", AMD, "1.4")
    layouts.put("app", with_soci_index(short), "1.4-soci")

    assert not is_there(layouts, configuration(index=THE_BUILDERS))


def test_a_corrupt_or_missing_referrer_is_passed_over(memory):
    settings = configuration(index={"version": "v1"})
    root = memory.put("app", AMD, "1.4")
    subject = {"mediaType": root.media_type, "digest": str(root.digest), "size": root.size}
    broken = {"schemaVersion": 2, "config": {"mediaType": media_types.SOCI_INDEX_V1}, "subject": subject}
    repository = memory.registry.repository("app")
    for number in (1, 2):
        last = repository.put_manifest(json.dumps(broken | {"layers": number}).encode())
    memory.registry.fail(Answer(404), where=lambda seen: seen.path.endswith(last), times=None)
    assert not is_there(memory, settings)

    index(memory, by_hand("app", "1.4"), settings)

    assert is_there(memory, settings)


def test_a_place_without_referrers_has_no_index_of_version_1():
    source = MemorySource(AMD)
    [one] = fetch_image(source).images
    settings = configuration().index.settings
    planned = [PlannedImage(image=one, layers=plan_layers(one.manifest, settings))]

    assert not has_v1(source, planned, settings)
    assert has_v1(source, [PlannedImage(image=one, layers=())], settings)


def test_an_image_without_the_output_tag_is_out_of_date(place):
    place.put("app", AMD, "1.4")

    assert not is_there(place, configuration())


@VERSIONS
def test_a_registry_that_does_not_answer_is_an_error(memory, version):
    settings = configuration(index={"version": version})
    indexed(memory, AMD, settings)
    memory.registry.fail(
        Answer(503), where=lambda seen: "soci" in seen.path or "referrers" in seen.path, times=None
    )

    with pytest.raises(RegistryUnavailable):
        is_there(memory, settings)
