"""Verdicts on single images in the in-memory registry."""

from __future__ import annotations

import pytest

from soci.oci.manifest import ImageManifest
from soci.places.registry.connect import connect
from soci.service.filter.rules import image_size_bytes
from soci.service.settings.configuration import Configuration
from soci.upkeep.check_task.definition import parse_task_definition
from soci.upkeep.check_task.evaluate import Circumstances, evaluate_task
from soci.upkeep.check_task.verdicts import Loading, TaskReason, Verdict
from soci.upkeep.inventory import Inventory
from tests.aws_environment import as_aws
from tests.builders import file, gzip_of, image_of, noise, tar_of
from tests.unit.service.places import InMemory, by_hand, configuration, in_memory, index
from tests.unit.upkeep.status.forty import app

SETTINGS = configuration()


@pytest.fixture
def place():
    with in_memory() as place, as_aws(place.registry):
        yield place


def evaluate(place: InMemory, tag: str, settings: Configuration = SETTINGS) -> Verdict:
    container = {"name": "web", "image": f"{place.registry.host}/app:{tag}"}
    circumstances = Circumstances(
        configuration=settings, open_registry=lambda host: Inventory(connect(host, is_ecr=True))
    )
    [verdict] = evaluate_task(parse_task_definition({"containerDefinitions": [container]}), circumstances)
    return verdict


def test_a_layer_that_an_image_has_twice_counts_once(place):
    layer = gzip_of(tar_of(file("app", noise(9_000))))
    place.put("app", image_of(layer, layer), "1")
    index(place, by_hand("app", "1"), SETTINGS)

    verdict = evaluate(place, "1-soci")

    assert (verdict.loading, verdict.detail.partition(",")[0]) == (Loading.LAZY, "1 of 1 layers")


def test_an_image_of_the_minimum_size_is_not_too_small(place):
    image = app("1")
    place.put("app", image, "1")
    size_bytes = image_size_bytes(ImageManifest.parse(image.document))

    reasons = [
        evaluate(place, "1", configuration(rules={"min_image_size_bytes": minimum})).reason
        for minimum in (size_bytes, size_bytes + 1)
    ]

    assert reasons == [TaskReason.NO_INDEX, TaskReason.IMAGE_TOO_SMALL]


def test_the_converted_image_of_another_image_is_not_recommended(place):
    place.put("app", app("old"), "1")
    index(place, by_hand("app", "1"), SETTINGS)
    place.put("app", app("new"), "1")

    assert evaluate(place, "1").reason is TaskReason.NO_INDEX


def test_the_tag_of_the_converted_image_is_recommended_rather_than_version_1(place):
    place.put("app", app("1"), "1")
    index(place, by_hand("app", "1"), configuration(index={"version": "both"}))

    verdict = evaluate(place, "1")

    assert (verdict.reason, verdict.detail.endswith("/app:1-soci")) == (TaskReason.OTHER_TAG, True)
