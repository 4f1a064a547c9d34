from __future__ import annotations

import pytest

from soci.build.recipe import convert
from soci.image.documents import fetch_image
from soci.service.filter.conversion import is_conversion_of
from tests.builders import image_of, multi_platform
from tests.recipes import run
from tests.unit.service.filter.test_up_to_date import AMD, APP, ARM, BASE, IMAGES, ZSTD, indexed
from tests.unit.service.places import by_hand, configuration, index


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("span_size", [65_536, 131_072])
def test_a_conversion_with_any_settings_is_found(place, image, span_size):
    settings = configuration(index={"min_layer_size_bytes": 500, "span_size_bytes": span_size})

    indexed(place, image, settings)

    assert is_conversion_of(place("app", "1.4-soci"), fetch_image(place("app", "1.4")))


def test_a_conversion_with_recompressed_layers_is_found(place):
    settings = configuration(index={"zstd_layers": "recompress"})

    indexed(place, image_of(BASE, ZSTD), settings)

    assert is_conversion_of(place("app", "1.4-soci"), fetch_image(place("app", "1.4")))


def test_a_conversion_with_its_platforms_in_another_order_is_found(place):
    place.put("app", IMAGES["two platforms"], "1.4")
    store = place("app", "1.4")
    run(convert, store, store, platforms=["linux/arm64", "linux/amd64"], tag="1.4-soci")

    assert is_conversion_of(place("app", "1.4-soci"), fetch_image(store))


def test_the_conversion_of_another_image_is_not_taken(place):
    indexed(place, multi_platform(AMD, ARM), configuration())
    image = fetch_image(place("app", "1.4"))
    place.put("app", multi_platform(AMD, image_of(APP, platform="linux/arm64")), "other")
    index(place, by_hand("app", "other"), configuration())

    assert not is_conversion_of(place("app", "1.4"), image)
    assert not is_conversion_of(place("app", "none"), image)
    assert not is_conversion_of(place("app", "other-soci"), image)
