from __future__ import annotations

from itertools import pairwise

import pytest

from soci.image.documents import Platforms, choose_images, fetch_image
from soci.service.filter.platforms import EvaluatedPlatform, most_telling
from soci.service.filter.rules import Rejection
from soci.service.outcomes import ImageReason
from tests.builders import MemorySource, file, gzip_of, image_of, tar_of

[PLATFORM] = choose_images(
    fetch_image(MemorySource(image_of(gzip_of(tar_of(file("a", b"a")))))), Platforms.ALL
)
NEAREST_FIRST = [
    ImageReason.NO_LAYER_TO_INDEX,
    ImageReason.IMAGE_TOO_SMALL,
    ImageReason.IMAGE_TOO_LARGE,
    ImageReason.ARCHITECTURE_EXCLUDED,
    ImageReason.NOT_LINUX,
    ImageReason.NOT_AN_IMAGE,
]
"""The reason of a platform that came nearer to an index comes first."""


def rejected(reason: ImageReason) -> EvaluatedPlatform:
    return EvaluatedPlatform(image=PLATFORM, rejection=Rejection(reason=reason, detail=str(reason)))


@pytest.mark.parametrize(("nearer", "farther"), list(pairwise(NEAREST_FIRST)))
def test_an_image_has_the_reason_of_the_platform_that_came_nearest_to_an_index(nearer, farther):
    for reasons in ([nearer, farther], [farther, nearer]):
        rejection = most_telling([rejected(reason) for reason in reasons])

        assert rejection == Rejection(reason=nearer, detail=str(nearer))


def test_an_image_without_platforms_is_no_image():
    assert most_telling([]).reason is ImageReason.NOT_AN_IMAGE
