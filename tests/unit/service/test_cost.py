from __future__ import annotations

from dataclasses import replace

import pytest

from soci.errors import InvalidDocument
from soci.oci.fields import Fields
from soci.service.cost import FunctionSizes, estimate_usd
from soci.service.messages import Work
from tests.unit.service.example_outcomes import SIZES


def test_a_skipped_image_costs_two_short_calls_three_states_and_an_event():
    seconds = 0.5 * 1.0 * 0.0000133334
    assert estimate_usd(Work(), SIZES) == pytest.approx(seconds + 2 * 2e-7 + 3 * 2.5e-5 + 1e-6)


def test_layers_cost_their_seconds_a_call_and_a_state_each():
    one, two = (
        estimate_usd(Work(layers=n, layer_seconds=10.0 * n, publish_seconds=1.0), SIZES) for n in (1, 2)
    )

    assert two - one == pytest.approx(10 * 3008 / 1024 * 0.0000133334 + 2e-7 + 2.5e-5)


def test_more_memory_and_the_other_processor_cost_more():
    work = Work(layers=4, layer_seconds=30.0, publish_seconds=2.0)
    large, intel = replace(SIZES, index_layer=6016), replace(SIZES, architecture="x86_64")

    assert estimate_usd(work, SIZES) < estimate_usd(work, intel) < estimate_usd(work, large)


def test_work_is_read_back_as_it_was_written():
    work = Work(layers=3, layer_seconds=12.3, publish_seconds=4.5)

    assert Work.from_fields(Fields(work.to_document(), "work")) == work


def test_sizes_are_read_and_a_wrong_one_is_named():
    document = {
        "architecture": "arm64",
        "image_filter": 512,
        "index_layer": 3008,
        "publish_index": 1769,
        "outcome_recorder": 512,
    }

    assert FunctionSizes.from_document(document) == SIZES
    with pytest.raises(InvalidDocument, match="architecture: expected one of arm64, x86_64"):
        FunctionSizes.from_document(document | {"architecture": "mips"})
